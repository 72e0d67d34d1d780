"""A loss by what a person writes for it: a name of the catalogue or an expression; the one way from a text to a loss.

Of both kinds, f(z) of a margin and F(a, b) of two log-ratios; and margin losses alone, for what holds of these only.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, overload

from gpo_analysis.loss_names import is_word, normal_name, why_unknown
from gpo_analysis.losses.catalogue import margin_loss_named
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.parse import parse_loss
from gpo_analysis.losses.two_ratio import Loss, TwoRatioLoss
from gpo_analysis.losses.two_ratio_catalogue import get_two_ratio_loss


@overload
def get_loss(name: MarginLoss) -> MarginLoss: ...
@overload
def get_loss(name: TwoRatioLoss) -> TwoRatioLoss: ...
@overload
def get_loss(name: str) -> Any: ...
def get_loss(name: Any) -> Any:
    """The loss of a name, an alias or an expression, of a margin or of two log-ratios; a loss is given back as it is.

    Wherever the library takes a loss it takes what this takes.

    Parameters
    ----------
    name : str, MarginLoss or TwoRatioLoss
        A name in any case, with ``-`` or a space for ``_``; or what :func:`parse_loss` reads, such as
        ``"log(1+exp(-z))"`` or ``"log(1+exp(-a)) + b**2"``.

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
    """
    if isinstance(name, MarginLoss | TwoRatioLoss):
        return name
    try:
        return _named(name)
    except ValueError as unknown:
        if not isinstance(name, str):
            raise
        if is_word(name):
            raise ValueError(f"{unknown}; or an expression in z, or in a and b") from None
        try:
            return _typed(name)
        except ValueError as error:
            raise ValueError(f"loss {name!r} is neither a name ({unknown}) nor an expression ({error})") from None


@lru_cache(maxsize=256)
def _typed(text: str) -> Loss:
    found: Loss = parse_loss(text)
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
        raise ValueError(f"losses is {losses!r}; accepted are losses and their names, one or several in a list")
    found = [get_loss(loss) for loss in losses]
    if not found:
        raise ValueError("losses must be at least one")
    return found


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
