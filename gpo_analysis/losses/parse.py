"""A loss that a user types, in z or in a and b, read by a whitelist and never evaluated as Python.

The text is taken apart (:mod:`~gpo_analysis.losses.statement`), brought to one spelling
(:mod:`~gpo_analysis.losses.spelling`, :mod:`~gpo_analysis.losses.latex`), built
(:mod:`~gpo_analysis.losses.build`) and tried for values; of one that is refused the message has what was probably meant
(:mod:`~gpo_analysis.losses.rewrites`).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sympy

from gpo_analysis.formula_words import ACCEPTED, MAX_LENGTH, cannot_read, in_short
from gpo_analysis.loss_names import OF_TWO_RATIOS, no_loss_text, normal_name, proper_names
from gpo_analysis.losses import compile_two
from gpo_analysis.losses.build import Part, constant, formula, read_number
from gpo_analysis.losses.catalogue import margin_loss_named
from gpo_analysis.losses.compile import PROBES, evaluate_precisely
from gpo_analysis.losses.margin_loss import MARGIN, TYPED, MarginLoss
from gpo_analysis.losses.rewrites import proposals
from gpo_analysis.losses.spelling import respelled
from gpo_analysis.losses.statement import Statement, read_statement, split_parameters, written
from gpo_analysis.losses.two_ratio import CHOSEN, REJECTED, Loss, TwoRatioLoss
from gpo_analysis.losses.two_ratio_catalogue import get_two_ratio_loss
from gpo_analysis.losses.words import CONSTANTS, FUNCTIONS, REASONS, Ambiguous, Refused
from gpo_analysis.reading.visible import on_one_line

MAX_PROPOSALS = 8
SYMBOLS = {symbol.name: symbol for symbol in (MARGIN, CHOSEN, REJECTED)}


def parse_loss(text: str, name: str | None = None, **parameters: float | str) -> Any:
    r"""Read a loss: of the margin in the symbol ``z``, or of the two log-ratios in ``a`` (chosen) and ``b`` (rejected).

    Nothing is evaluated as code.

    Parameters
    ----------
    text : str
        Such as ``"log(cosh(1-z))"`` or ``"-log(sigmoid(a)) - log(sigmoid(-b))"``. Numbers are read exactly: 0.1 is
        1/10. Other ways to write the same are read where they are unambiguous: ``(1−z)²``, ``np.logaddexp(0, -z)``,
        ``lambda x: exp(-x)``, LaTeX such as ``-\log\sigma(z)``; and what the library prints of a loss.
    name : str, optional
        Its name; by default the text itself.
    **parameters : float or str
        Values of other letters in the text. They may stand in it: ``"c*exp(-z) with c=2"``. A text such as "1/3" is
        read exactly.

    Returns
    -------
    MarginLoss or TwoRatioLoss
        The second where ``a`` or ``b`` stands in the text, also where that is a function of a − b.

    Raises
    ------
    ValueError
        If the text holds anything but what is accepted (z and a or b together, say), if a letter has no value, if it is
        too large to be worked with, or if it is not a finite real number for every real z (or a and b) from −1000 to
        1000 where that was tried (overflow of a float is allowed).

    Examples
    --------
    >>> from gpo_analysis.losses import parse_loss
    >>> loss = parse_loss("log(1+exp(-z))", name="mine")
    >>> loss.expression, float(loss.derivative(0.0))
    (log(1 + exp(-z)), -0.5)
    >>> pair = parse_loss("-log(sigmoid(a)) - log(sigmoid(-b))")
    >>> type(pair).__name__, float(pair(0.0, 0.0).round(4))
    ('TwoRatioLoss', 1.3863)
    >>> scaled = parse_loss("c*exp(-z)", c=2)
    >>> scaled.expression, scaled.name
    (2*exp(-z), 'c*exp(-z) with c=2')
    >>> parse_loss("c*exp(-z)")
    Traceback (most recent call last):
    ...
    ValueError: cannot read 'c*exp(-z)': unknown name 'c', ...; write c*exp(-z) with c=1, ...
    >>> parse_loss("z.real")
    Traceback (most recent call last):
    ...
    ValueError: cannot read 'z.real': 'z.real' is not allowed; accepted: the symbol z, ...
    """
    if not isinstance(text, str):
        raise ValueError(no_loss_text(text))
    if not text.strip():
        raise ValueError(f"a loss must be a non-empty text, got {text!r}; {ACCEPTED}")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"cannot read {in_short(text)}: longer than {MAX_LENGTH} characters")
    statement = None
    try:
        statement = read_statement(text, parameters)
        expression, kind = _read(statement)
    except Refused as refused:
        raise ValueError(cannot_read(text, str(refused), _proposal(statement, refused))) from None
    loss = kind(name or _named(on_one_line(text), parameters), expression, reference=TYPED)
    return loss if name or not statement.name else _printed(loss, statement.name)


def _printed(loss: Loss, name: str) -> Loss:
    """A loss under the name that it was printed with, where that is not another's in the catalogue."""
    key = normal_name(name)
    known: Loss | None = margin_loss_named(key)
    if known is None and key in proper_names(OF_TWO_RATIOS):
        known = get_two_ratio_loss(key)
    if known is None:
        return replace(loss, name=name)
    return known if known.expression == loss.expression else loss


def _named(text: str, parameters: Mapping[str, float | str]) -> str:
    if not parameters:
        return text
    joint = ", " if split_parameters(text)[1] else " with "
    return text + joint + ", ".join(f"{key}={written(key, value)}" for key, value in parameters.items())


def _proposal(statement: Statement | None, refused: Refused) -> str:
    """ "; write …" with what was probably meant, where that can be read."""
    if statement is None or isinstance(refused, Ambiguous):
        return ""
    try:
        body = respelled(statement.body)
    except Refused:
        body = statement.body
    ours = ("z",) if len(statement.variables) == 1 else ("a", "b")
    own = dict(zip(statement.variables, ours, strict=False)) if len(statement.variables) == len(ours) else {}
    renamed = re.sub(r"(?<![\w.])[^\W\d]\w*", lambda name: own.get(name.group(), name.group()), body)
    first = [renamed] if statement.variables else []
    for proposed in itertools.islice(itertools.chain(first, proposals(renamed, statement.given)), MAX_PROPOSALS):
        try:
            _read(read_statement(proposed, {}))
        except Refused:
            continue
        free = [key.rstrip("_") for key in split_parameters(proposed)[1] if key not in statement.given]
        ways = (
            f", or whatever {free[0]} is (in Python {free[0]}=…, on the command line --param {free[0]}=…)"
            if free
            else ""
        )
        return f"; write {proposed}{ways}"
    return ""


def _read(statement: Statement) -> tuple[sympy.Expr, type[MarginLoss] | type[TwoRatioLoss]]:
    """The expression, and which kind of loss its symbols make it."""
    values: dict[str, Part] = {}
    for key, text in statement.given.items():
        values[key] = _parameter(key, text)
    words = {**SYMBOLS, **_variables(statement)}
    part, used = formula(respelled(statement.body), {**{key: _symbol(one) for key, one in words.items()}, **values})
    for key in values:
        if key not in used:
            raise Refused(f"the parameter {key} does not stand in {statement.body[:40]!r}")
    symbols = {words[name].name for name in used if name in words}
    if MARGIN.name in symbols and len(symbols) > 1:
        raise Refused("a and b are the two log-ratios and z is their difference a - b: write it in z, or in a and b")
    _check_values(part.expression)
    two = statement.variables == (CHOSEN.name, REJECTED.name) or symbols - {MARGIN.name}
    return part.expression, TwoRatioLoss if two else MarginLoss


def _parameter(key: str, text: str) -> Part:
    if key in SYMBOLS or key in FUNCTIONS or key in CONSTANTS or key.startswith("_"):
        raise Refused(f"{key} is taken: a parameter needs another name, such as c, k or tau")
    if key in REASONS:
        raise Refused(REASONS[key])
    try:
        return constant(read_number(text))
    except Refused:
        raise Refused(f"the parameter {key} is {text[:40]!r}; accepted is a number such as 2, 0.1, 1/3") from None


def _symbol(symbol: sympy.Symbol) -> Part:
    return Part(symbol, 1)


def _variables(statement: Statement) -> dict[str, sympy.Symbol]:
    """What the names of a definition stand for: one is the margin, two are the log-ratios where they are a and b."""
    match statement.variables:
        case () | ("z",) | ("a", "b"):
            return {}
        case (name,) if name not in (*SYMBOLS, *FUNCTIONS, *CONSTANTS, *statement.given):
            if re.search(rf"\b[{''.join(SYMBOLS)}]\b", respelled(statement.body)):
                raise Refused(f"it is defined in {name}, but another symbol of the margin stands in it")
            return {name: MARGIN}
        case (name,):
            raise Refused(f"{name} is taken: write the margin as z, or the two log-ratios as a and b")
        case names:
            raise Refused(f"it is defined in {', '.join(names)}: write the chosen log-ratio as a, the rejected as b")


def _check_values(expression: sympy.Expr) -> None:
    if expression.free_symbols & {CHOSEN, REJECTED}:
        _check_two(expression)
        return
    for point in (*PROBES, 0.0, 1.0, -1.0):
        if math.isnan(evaluate_precisely(expression, MARGIN, 0, point)):
            raise Refused(f"it is not a finite real number at z = {point:g}{_removable(expression, point)}")


def _check_two(expression: sympy.Expr) -> None:
    ends = (*compile_two.PROBES[::2], 0.0, 1.0, -1.0)
    for a, b in itertools.product(ends, ends):
        if math.isnan(compile_two.evaluate_precisely(expression, (CHOSEN, REJECTED), (0, 0), a, b)):
            raise Refused(f"it is not a finite real number at a = {a:g}, b = {b:g}")


def _removable(expression: sympy.Expr, point: float) -> str:
    """What is said of 0/0 with a limit: sinh(z)/z at 0."""
    beside = [evaluate_precisely(expression, MARGIN, 0, point + step) for step in (-1e-9, 1e-9, 1e-6)]
    if not all(math.isfinite(value) and abs(value - beside[0]) <= 1e-4 * (1 + abs(beside[0])) for value in beside):
        return ""
    return (
        f", where it is 0/0 with the limit {beside[0]:.6g}: f and its derivatives are computed at every z, so that a "
        "quotient whose denominator vanishes is not taken, though it has a limit there; write f without that division"
    )
