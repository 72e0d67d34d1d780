"""Exact derivatives of an expression at 0, and κ = f″(0)/|f′(0)|.

To second order E f(βρ) = f(0) + f′(0) β E[ρ] + ½ f″(0) β² E[ρ²]: divided by |f′(0)| β the preference term is the same
for every loss, and the regularization has the weight βκ (Tang et al. 2024, arXiv 2402.05749, §3).
"""

from __future__ import annotations

from functools import lru_cache

import sympy

from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.calculus.budget import simplified
from gpo_analysis.calculus.limits import value_at
from gpo_analysis.calculus.pieces import pieces_of
from gpo_analysis.calculus.zeros import vanishes

_TINY = 1e-35


@lru_cache(maxsize=2048)
def derivative_at_zero(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> sympy.Expr:
    """f⁽ᵏ⁾(0), exact; ``nan`` where the derivative from the left is not that from the right.

    Parameters
    ----------
    expression : sympy.Expr
        f, in ``symbol``.
    symbol : sympy.Symbol
    order : int
        k, at least 0.

    Raises
    ------
    ValueError
        Where f is not a finite real function on the whole line.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> [derivative_at_zero(sympy.log(1 + sympy.exp(-z)), z, k) for k in range(3)]
    [log(2), -1/2, 1/4]
    >>> derivative_at_zero(sympy.Abs(z), z, 1)
    nan
    """
    if order and derivative_at_zero(expression, symbol, order - 1) is sympy.nan:
        return sympy.nan
    cut = pieces_of(expression, symbol)
    sides = [next(part for part in cut if number(part.upper) >= 0)]
    sides.append(next(part for part in cut if number(part.upper) > 0))
    values = []
    for part, side in zip(dict.fromkeys(sides), (-1, 1), strict=False):
        derivative = part.expression.diff(symbol, order) if order else part.expression
        values.append(simplified(value_at(derivative, symbol, sympy.S.Zero, side)))
    if len(values) == 2 and (sympy.nan in values or not are_equal(*values)):
        return sympy.nan
    return values[0]


def are_equal(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two constants are the same number, however small both are.

    Examples
    --------
    >>> are_equal(sympy.exp(sympy.log(2) - 99), 2 * sympy.exp(-99)), are_equal(sympy.exp(-99), 2 * sympy.exp(-99))
    (True, False)
    """
    if a == b:
        return True
    if abs(number(a) - number(b)) > _TINY * (1 + abs(number(a))):
        return False
    return a.has(sympy.Float) or b.has(sympy.Float) or vanishes(a - b, sympy.Dummy())


def curvature_ratio(expression: sympy.Expr, symbol: sympy.Symbol) -> sympy.Expr:
    """κ = f″(0)/\\|f′(0)\\|, exact; ``nan`` where f′(0) is 0 or either derivative does not exist.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> curvature_ratio(sympy.log(1 + sympy.exp(-z)), z), curvature_ratio((z - 1) ** 2, z)
    (1/2, 1)
    """
    slope, curvature = (derivative_at_zero(expression, symbol, order) for order in (1, 2))
    if sympy.nan in (slope, curvature) or slope == 0:
        return sympy.nan
    return simplified(curvature / sympy.Abs(slope))
