"""A loss by what a person writes for it: a name of the catalogue or an expression; the one way from a text to a loss.

Of both kinds, f(z) of a margin and F(a, b) of two log-ratios; and margin losses alone, for what holds of these only.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, overload

from gpo_analysis.formula_words import MODIFIERS, no_loss
from gpo_analysis.loss_names import EXO, OF_TWO_RATIOS, is_word, no_loss_text, normal_name, proper_names, why_unknown
from gpo_analysis.losses.build import read_number
from gpo_analysis.losses.catalogue import margin_loss_named
from gpo_analysis.losses.exo import exo_loss
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.parse import parse_loss
from gpo_analysis.losses.spelling import unquoted
from gpo_analysis.losses.statement import split_parameters, written
from gpo_analysis.losses.two_ratio import Loss, TwoRatioLoss
from gpo_analysis.losses.two_ratio_catalogue import get_two_ratio_loss, two_ratio_parameters
from gpo_analysis.losses.words import Refused

_CALL = re.compile(r"([A-Za-z][\w -]*?)\s*\((.*)\)", re.DOTALL)
_OF_LIBRARY = re.compile(r"[A-Za-z][\w-]*:[A-Za-z][\w-]*")
_MOST_NESTED = 8


@overload
def get_loss(name: MarginLoss) -> MarginLoss: ...
@overload
def get_loss(name: TwoRatioLoss) -> TwoRatioLoss: ...
@overload
def get_loss(name: str, **parameters: float | str) -> Any: ...
def get_loss(name: Any, **parameters: float | str) -> Any:
    """The loss of a name, an alias or an expression, of a margin or of two log-ratios; a loss is given back as it is.

    Wherever the library takes a loss it takes what this takes.

    Parameters
    ----------
    name : str, MarginLoss or TwoRatioLoss
        A name in any case, with ``-`` or a space for ``_``; or what :func:`parse_loss` reads, such as
        ``"log(1+exp(-z))"`` or ``"log(1+exp(-a)) + b**2"``; or one of another, ``"smoothed(dpo, 0.1)"``.
    **parameters : float or str
        Those of a loss of the catalogue, or values of the letters in an expression; both may stand in the text:
        ``"dpop with penalty=5"``, ``"c*exp(-z) with c=2"``.

    Returns
    -------
    MarginLoss or TwoRatioLoss

    Raises
    ------
    ValueError
        Where it is neither; the message has the nearest name, says why there is none, or what of the expression is not
        understood.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> [get_loss(text).name for text in ("IPO", "bco_pair", "(1-z)**2")]
    ['squared', 'bco_pair', '(1-z)**2']
    >>> get_loss("c*exp(-z)", c=2).expression, get_loss("dpop", penalty=5).name, get_loss("robust(dpo, 0.1)").name
    (2*exp(-z), 'dpop(penalty=5)', 'robust(logistic, 0.1)')
    """
    if isinstance(name, MarginLoss | TwoRatioLoss):
        if parameters:
            raise ValueError(f"{name.name} is a loss already: parameters go with a name or an expression")
        return name
    try:
        return _named(name) if not parameters else _with_parameters(name, parameters)
    except ValueError as unknown:
        if not isinstance(name, str):
            raise
        found = _of_others(name, parameters)
        if found is not None:
            return found
        if is_word(name):
            if parameters and _is_known(name):
                raise
            raise ValueError(f"{unknown}; or an expression in z, or in a and b") from None
        try:
            typed = _typed(name) if not parameters else parse_loss(name, None, **parameters)
        except ValueError as error:
            if _OF_LIBRARY.fullmatch(name.strip()):
                raise ValueError(
                    f"unknown loss {name!r}: that is how a library's loss is written, whose β is its own; convert_beta "
                    "(gpo beta), get_convention and diagnose take such names, here a loss is a name (gpo losses lists "
                    "them) or a formula in z"
                ) from None
            why = "gpo losses lists them" if re.search(r"[^\w\s-]", name) else unknown
            raise ValueError(no_loss(name, error, why)) from None
        return _as_named(typed, name)


def _as_named(typed: Loss, text: str) -> Loss:
    """A loss typed as it was printed, ``smoothed(logistic, 0.1): f(z) = …``, as the one of that name."""
    if typed.name == text.strip() or not text.strip().startswith(f"{typed.name}:"):
        return typed
    try:
        known: Loss = get_loss(typed.name)
    except ValueError:
        return typed
    return known if known.expression == typed.expression else typed


@lru_cache(maxsize=256)
def _typed(text: str) -> Loss:
    found: Loss = parse_loss(text)
    return found


def _is_known(name: str) -> bool:
    key = normal_name(name)
    return margin_loss_named(key) is not None or key in proper_names(OF_TWO_RATIOS)


def _with_parameters(name: Any, parameters: Mapping[str, float | str]) -> Loss:
    """A loss of the catalogue with its parameters."""
    key = normal_name(name)
    if key in proper_names(OF_TWO_RATIOS):
        return get_two_ratio_loss(key, **{one: _value(one, value) for one, value in parameters.items()})
    if key in EXO:
        if set(parameters) != {"label_smoothing"}:
            raise ValueError(f"{name} has no parameter {', '.join(parameters)}; it has label_smoothing")
        return exo_loss(float(_value("label_smoothing", parameters["label_smoothing"])))
    known = margin_loss_named(key)
    if known is not None:
        base, _, of = known.name.partition("_")
        how = f"write {base}({of}, 0.2)" if base in MODIFIERS else "type its formula with one"
        raise ValueError(f"{name} has no parameter {next(iter(parameters))}; it has none ({how})")
    return _named(name)


def _value(name: str, value: float | str) -> Any:
    """A parameter's value: a rational as it is, others as floats."""
    try:
        exact = read_number(written(name, value))
    except Refused as refused:
        raise ValueError(f"{name} is {value!r}; accepted is a number ({refused})") from None
    return exact if exact.is_Rational else float(exact)


def _of_others(text: str, parameters: Mapping[str, float | str], depth: int = 0) -> Loss | None:
    """``dpop with penalty=5``, ``dpop(penalty=5)``, ``smoothed(dpo, 0.1)``, as losses are named; else None."""
    try:
        head, given = split_parameters(unquoted(text))
    except Refused:
        return None
    if given and _is_known(head):
        return _with_parameters(head, {**given, **parameters})
    call = _CALL.fullmatch(head)
    if call is None or not _is_whole(call[2]) or parameters or given or depth > _MOST_NESTED:
        return None
    name, arguments = normal_name(call[1]), call[2]
    if name in MODIFIERS:
        inner, comma, number = arguments.rpartition(",") if MODIFIERS[name] == 2 else (arguments, ",", "")
        if not comma:
            raise ValueError(f"{name} takes a loss and a number: {name}(dpo, 0.1)")
        loss = _of_others(inner, {}, depth + 1) or get_loss(inner.strip())
        change = getattr(loss, name, None)
        if change is None:
            raise ValueError(f"{name} is not made of {loss.name}")
        changed: Loss = change(*[_value("its number", number.strip())] if number else [])
        return changed
    if not arguments or not (name in proper_names(OF_TWO_RATIOS) or name in EXO):
        return None
    return _with_parameters(name, _named_arguments(name, arguments))


def _is_whole(arguments: str) -> bool:
    """Whether every bracket in it is closed in it."""
    depths = list(itertools.accumulate((letter == "(") - (letter == ")") for letter in arguments))
    return not depths or (min(depths) >= 0 and depths[-1] == 0)


def _named_arguments(name: str, arguments: str) -> dict[str, float | str]:
    """The arguments of ``kto(0, 2, 1)`` or ``kto(desirable=2)`` by their names."""
    accepted = two_ratio_parameters(name) if name in proper_names(OF_TWO_RATIOS) else ["label_smoothing"]
    found: dict[str, float | str] = {}
    for position, argument in enumerate(arguments.split(",")):
        key, equals, value = argument.partition("=")
        if not equals and position >= len(accepted):
            raise ValueError(f"{name} has {len(accepted)} parameters ({', '.join(accepted) or 'none'})")
        found[key.strip() if equals else accepted[position]] = value.strip() if equals else key.strip()
    return found


def _named(name: Any) -> Loss:
    """The loss of the catalogues of that name; a ValueError says that there is none."""
    unknown = why_unknown(name)
    if unknown is not None:
        raise ValueError(unknown)
    key = normal_name(name)
    margin = margin_loss_named(key)
    return get_two_ratio_loss(key) if margin is None else margin


def get_margin_loss(name: str | Loss) -> MarginLoss:
    """The margin loss of that name or alias; a loss of two log-ratios that is an f(a − b) as its f.

    Parameters
    ----------
    name : str, MarginLoss or TwoRatioLoss

    Raises
    ------
    ValueError
        For an unknown name, and for a loss of two log-ratios, saying what it is.

    Examples
    --------
    >>> get_margin_loss("slic").name
    'hinge'
    >>> get_margin_loss("bco_pair")
    Traceback (most recent call last):
    ...
    ValueError: bco_pair is a loss F(a, b) of two log-ratios, no function of their difference: this takes margin ...
    """
    found = get_loss(name)
    if isinstance(found, MarginLoss):
        return found
    along = found.margin_loss
    if along is not None:
        return along
    raise ValueError(
        f"{found.name} is a loss F(a, b) of two log-ratios, no function of their difference: this takes margin losses "
        "f(βρ) alone (analyze, problem.solve, solve_grid, fit_comparisons, population_loss, train and GPOTrainer take "
        "both; of the commands losses, analyze, beta, conventions and solve)"
    )


def get_losses(losses: str | Loss | Iterable[str | Loss]) -> list[Loss]:
    """One loss or several, by name or not, as a list.

    Parameters
    ----------
    losses : str, MarginLoss or TwoRatioLoss, or several

    Raises
    ------
    ValueError
        Where there is none, or for what is neither a loss nor the name of one.

    Examples
    --------
    >>> [loss.name for loss in get_losses("dpo")], [loss.name for loss in get_losses(["ipo", "slic"])]
    (['logistic'], ['squared', 'hinge'])
    """
    if isinstance(losses, str | MarginLoss | TwoRatioLoss):
        return [get_loss(losses)]
    if not isinstance(losses, Iterable):
        raise ValueError(_no_losses(losses))
    found = [get_loss(loss) for loss in losses]
    if not found:
        raise ValueError("losses must be at least one")
    return found


def _no_losses(given: object) -> str:
    """What is said of something that is neither a loss nor several."""
    if callable(given) or hasattr(given, "free_symbols"):
        return no_loss_text(given)
    return f"losses is {given!r}; accepted are losses and their names, one or several in a list"


def get_margin_losses(losses: str | Loss | Iterable[str | Loss]) -> list[MarginLoss]:
    """:func:`get_losses` of margin losses alone.

    Parameters
    ----------
    losses : str, MarginLoss or TwoRatioLoss, or several

    Raises
    ------
    ValueError
        As :func:`get_losses`, and for a loss of two log-ratios.
    """
    return [get_margin_loss(loss) for loss in get_losses(losses)]
