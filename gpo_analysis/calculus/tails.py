"""What a function does far out, on either side.

A limit is computed symbolically where sympy does so within a second, and in every case compared with 45-digit values at
|z| = 10³, 10⁶, …; a symbolic limit that the numbers contradict is not believed. Where there is no symbolic limit the
numbers decide (and a finite limit is then a float).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.bounded import bounded
from gpo_analysis.calculus.exponentials import exponential_form, is_unwieldy
from gpo_analysis.calculus.jets import JetFunction, Unsupported, jet_function
from gpo_analysis.calculus.pieces import Piece, pieces_of
from gpo_analysis.calculus.tail_signs import tail_sign

_SECONDS = 2.0
_GROWTH_SECONDS = 1.5  # for the rates of growth and decay, where a float does too
_FAR = tuple(10**k for k in (1, 3, 6, 9, 12, 15, 18))
_ASKEW = tuple(7 * x + 3 for x in _FAR)

KINDS = {
    "flat": "constant beyond a finite z",
    "vanishing": "approaches a finite limit that it does not reach",
    "sublinear": "grows without bound, slower than |z|",
    "linear": "grows like |z|",
    "polynomial": "grows like a power of |z| above 1",
    "exponential": "grows like an exponential of |z|, or faster",
    "unbounded_below": "falls to −∞",
    "oscillating": "has no limit",
    "unknown": "could not be worked out",
}
"""Every value of :attr:`Tail.kind`, with its meaning."""


@dataclass(frozen=True)
class Tail:
    """One tail of a function.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    limit : sympy.Expr
        lim f, ±oo allowed; ``nan`` where there is none.
    slope : sympy.Expr
        lim f′, ±oo allowed; ``nan`` where there is none.
    attained : bool
        Whether the infimum of f over the tail is reached at a finite z: on a flat piece and where f rises outward it
        is, on logistic's right tail it is not.
    flat_from : sympy.Expr or None
        z beyond which f is constant, None where it is not.
    growth : sympy.Expr or None
        The power of |z| for linear and polynomial tails; the rate c of e^{c|z|} for exponential ones (oo if faster);
        for vanishing ones the rate of decay c of e^{−c|z|} towards the limit (0 if slower, oo if faster).
    """

    kind: str
    limit: sympy.Expr
    slope: sympy.Expr
    attained: bool
    flat_from: sympy.Expr | None = None
    growth: sympy.Expr | None = None


@dataclass(frozen=True)
class Tails:
    """Both tails of a function: ``left`` for z → −∞, ``right`` for z → +∞."""

    left: Tail
    right: Tail


@lru_cache(maxsize=1024)
def tails_of(expression: sympy.Expr, symbol: sympy.Symbol) -> Tails:
    """Tails of a function of one real symbol.

    Parameters
    ----------
    expression : sympy.Expr
        f, in ``symbol``.
    symbol : sympy.Symbol
        Real.

    Raises
    ------
    ValueError
        Where f is not a finite real function on the whole line.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> both = tails_of(sympy.log(1 + sympy.exp(-z)), z)
    >>> both.left.kind, both.left.slope, both.right.kind, both.right.attained
    ('linear', -1, 'vanishing', False)
    >>> tails_of(sympy.Max(0, 1 - z), z).right.flat_from
    1
    """
    cut = pieces_of(expression, symbol)
    return Tails(_tail(cut[0], symbol, -1), _tail(cut[-1], symbol, 1))


def _tail(piece: Piece, symbol: sympy.Symbol, side: int) -> Tail:
    f = exponential_form(piece.expression)  # 1 − tanh z is 2/(e^{2z} + 1), which does not cancel
    if symbol not in f.free_symbols or _is_zero(f.diff(symbol)):
        value = f.subs(symbol, piece.inner_point())
        start = piece.lower if side > 0 else piece.upper
        return Tail("flat", value, sympy.S.Zero, True, start)
    slope_expression = f.diff(symbol)
    limit = limit_at_infinity(f, symbol, side)
    slope = limit_at_infinity(slope_expression, symbol, side)
    kind, growth = _kind(f, symbol, side, limit, slope)
    return Tail(kind, limit, slope, _attained(slope_expression, symbol, side, limit), None, growth)


def _is_zero(expression: sympy.Expr) -> bool:
    return expression == 0 or bounded(lambda: bool(sympy.simplify(expression) == 0), _SECONDS, False)


def _kind(
    f: sympy.Expr, symbol: sympy.Symbol, side: int, limit: sympy.Expr, slope: sympy.Expr
) -> tuple[str, sympy.Expr | None]:
    if limit is sympy.nan:
        return ("oscillating" if f.has(sympy.sin, sympy.cos) else "unknown"), None
    if limit == -sympy.oo:
        return "unbounded_below", None
    if limit != sympy.oo:
        return "vanishing", _decay(f - limit, symbol, side)
    if slope.is_finite and not slope.is_zero:
        return "linear", sympy.S.One
    rate = side * limit_at_infinity(f.diff(symbol) / f, symbol, side, _GROWTH_SECONDS)
    if rate is not sympy.nan and rate > 0:
        return "exponential", rate
    power = limit_at_infinity(symbol * f.diff(symbol) / f, symbol, side, _GROWTH_SECONDS)
    if power is sympy.nan:
        return "unknown", None
    if power == 1:
        return "linear", power
    return ("polynomial" if power > 1 else "sublinear"), power


def _decay(gap: sympy.Expr, symbol: sympy.Symbol, side: int) -> sympy.Expr | None:
    rate = -side * limit_at_infinity(gap.diff(symbol) / gap, symbol, side, _GROWTH_SECONDS)
    return None if rate is sympy.nan else rate


def _attained(slope: sympy.Expr, symbol: sympy.Symbol, side: int, limit: sympy.Expr) -> bool:
    """The infimum over the tail is reached at a finite z unless f falls outward for ever."""
    if limit == -sympy.oo:
        return False
    if limit == sympy.oo:
        return True
    found: tuple[Any, int] | None = bounded(lambda: tail_sign(slope, symbol, side), _SECONDS, None)
    outward = found[1] if found is not None else _sampled_sign(slope, symbol, side)
    return side * outward > 0


def _sampled_sign(expression: sympy.Expr, symbol: sympy.Symbol, side: int) -> int:
    try:
        values = [jet_function(expression, symbol).at(side * x)[0] for x in _FAR[:4]]
    except Unsupported:
        return 0
    seen = [value for value in values if not NUMBERS.isnan(value) and value != 0]
    return 0 if not seen else (1 if seen[-1] > 0 else -1)


@lru_cache(maxsize=4096)
def limit_at_infinity(expression: sympy.Expr, symbol: sympy.Symbol, side: int, seconds: float = _SECONDS) -> sympy.Expr:
    """lim of a smooth expression for z → ``side``·∞: exact where possible, ±oo allowed, nan where there is none.

    Examples
    --------
    >>> import sympy
    >>> z = sympy.Symbol("z", real=True)
    >>> limit_at_infinity(sympy.log(1 + sympy.exp(z)) - z, z, 1)
    0
    """
    if symbol not in expression.free_symbols:
        return expression
    numeric = _numeric_limit(expression, symbol, side)
    if is_unwieldy(expression):
        total = _term_by_term(expression, symbol, side, seconds)
        return total if total is not sympy.nan or numeric is None else _as_float(numeric)

    def symbolic() -> sympy.Expr:
        far = sympy.Dummy("s", positive=True)
        return sympy.limit(exponential_form(expression).subs(symbol, side * far), far, sympy.oo)

    exact: sympy.Expr = bounded(symbolic, seconds, sympy.nan)
    if not exact.is_number or exact.has(sympy.Limit, sympy.AccumBounds, sympy.zoo):
        exact = sympy.nan
    if exact is not sympy.nan and (numeric is None or _agree(exact, numeric)):
        return exact
    if numeric is None:
        return sympy.nan
    if NUMBERS.isinf(numeric):
        return _as_float(numeric)
    nearest = sympy.Rational(NUMBERS.nstr(numeric, 12)).limit_denominator(1000)
    return nearest if abs(number(nearest) - numeric) < 1e-9 else _as_float(numeric)


def _as_float(numeric: Any) -> sympy.Expr:
    if NUMBERS.isinf(numeric):
        return sympy.oo if numeric > 0 else -sympy.oo
    whole = sympy.Integer(int(NUMBERS.nint(numeric)))
    return whole if abs(number(whole) - numeric) < 1e-14 else sympy.Float(NUMBERS.nstr(numeric, 15), 15)


def _term_by_term(expression: sympy.Expr, symbol: sympy.Symbol, side: int, seconds: float) -> sympy.Expr:
    """Σ cₖ gₖ by the limits of the gₖ, where these are not unwieldy themselves and do not pull apart; nan elsewhere."""
    total = sympy.S.Zero
    for term in sympy.Add.make_args(expression):
        coefficient, rest = term.as_coeff_Mul()
        if is_unwieldy(rest):
            return sympy.nan
        total += coefficient * limit_at_infinity(rest, symbol, side, seconds)
    return total


def _agree(exact: sympy.Expr, numeric: Any) -> bool:
    value = number(exact)
    if NUMBERS.isinf(value) or NUMBERS.isinf(numeric):
        return bool(value == numeric)
    return bool(abs(value - numeric) <= 1e-3 * (1 + abs(value)))


def _numeric_limit(expression: sympy.Expr, symbol: sympy.Symbol, side: int) -> Any:
    """What the values at |z| = 10 … 10¹⁸ tend to; None where they do not say."""
    try:
        function: JetFunction = jet_function(expression, symbol)
    except Unsupported:
        return None
    verdicts = [
        bounded(lambda far=far: _trend([function.at(side * x)[0] for x in far]), _SECONDS, None)  # type: ignore[misc]
        for far in (_FAR, _ASKEW)
    ]
    if None in verdicts:
        return None
    # two sequences, so that an oscillation is not taken for a trend
    alike = verdicts[0] == verdicts[1] or abs(verdicts[0] - verdicts[1]) <= 1e-6 * (1 + abs(verdicts[0]))
    return verdicts[0] if alike else None


def _trend(values: list[Any]) -> Any:
    """The tendency of a sequence, its last value left out where that is needed: digits run out at 10¹⁸ at times."""
    found = _tendency(values)
    return _tendency(values[:-1]) if found is None else found


def _tendency(values: list[Any]) -> Any:
    """What a sequence at points a thousand times apart tends to; None where it does not say."""
    values = [value for value in values if not NUMBERS.isnan(value)]
    if len(values) < 4:
        return None
    last, before, third, fourth = values[-1], values[-2], values[-3], values[-4]
    if NUMBERS.isinf(last):
        return last
    steps = third - fourth, before - third, last - before
    if abs(steps[2]) <= 1e-8 * (1 + abs(last)) and abs(steps[1]) <= 1e-6 * (1 + abs(last)):
        if abs(last) < 1e-6 and abs(last) <= abs(third):
            return NUMBERS.mpf(0)
        return before if abs(steps[1]) < abs(steps[2]) else last
    # a power of |z| approaches its limit geometrically (Aitken)
    if abs(steps[2]) <= 0.7 * abs(steps[1]) and abs(steps[1]) <= 0.7 * abs(steps[0]):
        limits = [b - d * d / (d - c) for b, c, d in ((before, *steps[:2]), (last, *steps[1:]))]
        if abs(limits[1] - limits[0]) <= 1e-6 * (1 + abs(limits[1])):
            return NUMBERS.mpf(0) if abs(limits[1]) < 1e-9 else limits[1]
        return None
    # what moves on as fast as before (log z rises by 6.9 each time) is on its way to infinity
    if abs(steps[2]) >= 0.9 * abs(steps[1]) and abs(last) > abs(before) > abs(third):
        return NUMBERS.inf if last > 0 else NUMBERS.ninf
    return None
