"""The sign of an expression for all |z| ≥ R, proved from its leading term.

The term that leads far out (:mod:`gpo_analysis.calculus.expansions`) has its sign from the enclosure of its coefficient
over [0, x(R)], once that outweighs the enclosures of the other terms: Taylor's theorem with the remainder in Lagrange's
form, in interval arithmetic.
"""

from __future__ import annotations

from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import INTERVALS, NUMBERS, number, sign_of
from gpo_analysis.calculus.expansions import Term, expansion_at_infinity
from gpo_analysis.calculus.units import unit_of


def tail_sign(expression: sympy.Expr, symbol: sympy.Symbol, side: int) -> tuple[Any, int] | None:
    """(R, sign) with the expression of that sign for every z ≥ R (side +1) or z ≤ −R (side −1); None if not found.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> tail_sign(sympy.exp(-z) - z * sympy.exp(-2 * z), z, 1)[1]
    1
    """
    unit = unit_of(expression, symbol)
    found = expansion_at_infinity(expression.subs(symbol, unit * symbol) if unit != 1 else expression, symbol, side)
    if found is None:
        return None
    terms = [term for term in found.terms if not term.is_zero]
    if not terms:
        return None
    rate = number(found.rate) if found.rate is not None else None
    for doubling in range(2, 12):
        reach = NUMBERS.mpf(2) ** doubling
        sign = _sign_beyond(terms, reach, rate)
        if sign is not None:
            return reach * number(unit), sign
    return None


def _sign_beyond(terms: list[Term], reach: Any, rate: Any) -> int | None:
    """The sign for all s ≥ reach, or None."""
    small = NUMBERS.exp(-rate * reach) if rate is not None else 1 / reach
    first = terms[0]
    total = INTERVALS.mpf(0)
    for term in terms:
        index = term.order + term.shift
        enclosure = term.function.over(0, small, index)[index]
        d, e = term.order - first.order, term.power - first.power
        if d == 0 and e == 0:
            factor = INTERVALS.mpf(1)
        else:
            # x^d s^e falls beyond s = e/(c d), that is e^{−c d s} s^e, or |z|^{−d} (log |z|)^e with s = log |z|, c = 1
            s, c = (reach, rate) if rate is not None else (NUMBERS.log(reach), 1)
            if e > 0 and (d == 0 or s < e / (c * d)):
                return None
            factor = INTERVALS.mpf([0, s**e * NUMBERS.exp(-c * d * s) * (1 + NUMBERS.mpf(10) ** -30)])
        total = total + enclosure * factor
    sign = sign_of(total)
    return sign if sign else None
