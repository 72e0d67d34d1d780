"""Limits of smooth expressions at infinity and at a point.

The leading term of an expansion (:mod:`gpo_analysis.calculus.expansions`) gives a limit exactly; where there is none,
the limits of the parts do if they leave nothing open (atan(exp z)); and in every case the values in 45 digits at
|z| = 10³, 10⁶, … are asked: a limit that these contradict is not believed, and where there is no exact one they decide
(a finite limit is then a float).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.expansions import leading_at, leading_at_infinity
from gpo_analysis.calculus.exponentials import exponential_form
from gpo_analysis.calculus.jets import JetFunction, Unsupported, jet_function
from gpo_analysis.calculus.units import unit_of

FAR = tuple(10**k for k in (1, 3, 6, 9, 12, 15, 18))
FURTHER = tuple(10**k for k in (60, 90, 130, 180, 240, 310))
_HALF_PI = sympy.pi / 2
#: Limits at −∞, at +∞.
_ENDS = {
    sympy.exp: (sympy.S.Zero, sympy.oo),
    sympy.sinh: (-sympy.oo, sympy.oo),
    sympy.asinh: (-sympy.oo, sympy.oo),
    sympy.cosh: (sympy.oo, sympy.oo),
    sympy.tanh: (-sympy.S.One, sympy.S.One),
    sympy.erf: (-sympy.S.One, sympy.S.One),
    sympy.erfc: (sympy.Integer(2), sympy.S.Zero),
    sympy.atan: (-_HALF_PI, _HALF_PI),
}


@lru_cache(maxsize=4096)
def limit_at_infinity(expression: sympy.Expr, symbol: sympy.Symbol, side: int) -> sympy.Expr:
    """lim of a smooth expression for z → ``side``·∞: exact where possible, ±oo allowed, nan where there is none.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> limit_at_infinity(sympy.log(1 + sympy.exp(z)) - z, z, 1)
    0
    """
    if symbol not in expression.free_symbols:
        return expression
    unit = unit_of(expression, symbol)
    if unit != 1:
        expression = expression.subs(symbol, unit * symbol)
    numeric = _numeric_limit(exponential_form(expression), symbol, side)
    leading = leading_at_infinity(expression, symbol, side)
    for exact in (leading.limit() if leading is not None else None, by_parts(expression, symbol, side)):
        if exact is not None and (numeric is None or _agree(exact, numeric)):
            return exact
        if exact is not None and exact.is_infinite:  # a coefficient of 1e-60 shows further out only
            further = _numeric_limit(exponential_form(expression), symbol, side, FURTHER)
            if further is not None and _agree(exact, further):
                return exact
    if numeric is None:
        return sympy.nan
    if NUMBERS.isinf(numeric) or numeric == 0:
        return _as_float(numeric)
    nearest = sympy.Rational(NUMBERS.nstr(numeric, 12)).limit_denominator(1000)
    return nearest if abs(number(nearest) - numeric) < 1e-9 * abs(numeric) else _as_float(numeric)


def by_parts(expression: sympy.Expr, symbol: sympy.Symbol, side: int) -> sympy.Expr | None:
    """The limit from those of the parts, None where these leave it open (∞ − ∞, 0 · ∞) or have none.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> by_parts(1 - sympy.atan(sympy.exp(sympy.exp(z))), z, 1)
    1 - pi/2
    """
    if symbol not in expression.free_symbols:
        return expression
    if expression == symbol:
        return sympy.oo if side > 0 else -sympy.oo
    parts = [by_parts(argument, symbol, side) for argument in expression.args]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if isinstance(expression, sympy.Add | sympy.Mul):
        total = expression.func(*known)
        return total if _is_determined(total) else None
    if isinstance(expression, sympy.Pow) and expression.base != sympy.E:
        return _power_limit(known[0], expression.exp) if symbol not in expression.exp.free_symbols else None
    inner = known[-1]
    if isinstance(expression, sympy.log):
        if inner == 0:
            return -sympy.oo
        return sympy.oo if inner == sympy.oo else sympy.log(inner) if number(inner) > 0 else None
    ends = _ENDS.get(expression.func)
    if ends is None:
        return None
    if inner in (sympy.oo, -sympy.oo):
        return ends[inner == sympy.oo]
    return expression.func(inner)


def _is_determined(value: sympy.Expr) -> bool:
    return bool(value.is_number and not value.has(sympy.nan, sympy.zoo, sympy.AccumBounds))


def _power_limit(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr | None:
    rising = number(exponent) > 0
    if base == sympy.oo:
        return sympy.oo if rising else sympy.S.Zero
    if base == -sympy.oo:
        if not exponent.is_Integer:
            return None
        return sympy.S.Zero if not rising else sympy.oo if int(exponent) % 2 == 0 else -sympy.oo
    if base == 0:
        return sympy.S.Zero if rising else sympy.oo if exponent.is_Integer and int(exponent) % 2 == 0 else None
    power = base**exponent
    return power if _is_determined(power) and not NUMBERS.isnan(number(power)) else None


def value_at(expression: sympy.Expr, symbol: sympy.Symbol, point: sympy.Expr, side: int) -> sympy.Expr:
    """The one-sided limit of a smooth expression at a finite point; nan where it is not found.

    By substitution, else by the leading term there (sinh z/z at 0), else by the values beside the point.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> value_at(z * sympy.log(2 + z), z, sympy.S.One, 1), value_at(1 / z, z, sympy.S.Zero, -1)
    (log(3), -oo)
    """
    value = expression.subs(symbol, point)
    if not value.has(sympy.nan, sympy.zoo, sympy.oo) and not NUMBERS.isnan(number(value)):
        return value
    leading = leading_at(expression, symbol, point, side)
    if leading is not None:
        return leading.limit()
    return _value_beside(expression, symbol, point, side)


def _value_beside(expression: sympy.Expr, symbol: sympy.Symbol, point: sympy.Expr, side: int) -> sympy.Expr:
    """What the values at distances 10⁻⁴ … 10⁻¹⁶ tend to."""
    try:
        function = jet_function(expression, symbol)
    except Unsupported:
        return sympy.nan
    x = number(point)
    steps = [side * (1 + abs(x)) * NUMBERS.mpf(10) ** -k for k in range(4, 17, 2)]
    numeric = _tendency([function.at(x + step)[0] for step in steps])
    return sympy.nan if numeric is None else _as_float(numeric)


def _askew(points: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(7 * x + 3 for x in points)


def _as_float(numeric: Any) -> sympy.Expr:
    if NUMBERS.isinf(numeric):
        return sympy.oo if numeric > 0 else -sympy.oo
    if numeric == 0:
        return sympy.S.Zero
    whole = sympy.Integer(int(NUMBERS.nint(numeric)))
    return whole if abs(number(whole) - numeric) < 1e-14 * abs(numeric) else sympy.Float(NUMBERS.nstr(numeric, 15), 15)


def _agree(exact: sympy.Expr, numeric: Any) -> bool:
    value = number(exact)
    if NUMBERS.isinf(value) or NUMBERS.isinf(numeric):
        return bool(value == numeric)
    return bool(abs(value - numeric) <= 1e-3 * (1 + abs(value)))


def _numeric_limit(
    expression: sympy.Expr, symbol: sympy.Symbol, side: int, points: tuple[int, ...] | None = None
) -> Any:
    """What the values at |z| = 10 … 10¹⁸, or at given points, tend to; None where they do not say."""
    try:
        function: JetFunction = jet_function(expression, symbol)
    except Unsupported:
        return None
    verdicts = [_trend([function.at(side * x)[0] for x in far]) for far in (points or FAR, _askew(points or FAR))]
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
        if abs(last) < 1e-6 and (abs(last) <= abs(third) / 1000 or abs(last) < 1e-30):
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
