"""The unit of z in which an expression varies, so that what is decided of f(z) is decided of f(z/500) as well.

Signs, tails and limits are looked for on a scale of about 1. An expression that varies on another scale is rewritten
in u = z/L first, L its own unit: the longest of the lengths on which its functions change by about 1, and at which the
terms of a polynomial under a root, a logarithm, a power or a kink are of one size.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number

#: Within this factor of 1 a unit counts as 1.
NEAR = 8
_SELF_SCALED = (
    *(sympy.exp, sympy.sinh, sympy.cosh, sympy.tanh, sympy.asinh, sympy.atan, sympy.erf, sympy.erfc),
    *(sympy.sin, sympy.cos, sympy.LambertW),
)
_COMPARING = (sympy.log, sympy.Pow, sympy.Max, sympy.Min, sympy.Abs)


@lru_cache(maxsize=4096)
def unit_of(expression: sympy.Expr, symbol: sympy.Symbol) -> sympy.Rational:
    """L > 0, a rational number; 1 where the unit is within a factor 8 of it, and for polynomials.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> unit_of(1 / (1 + sympy.exp(z / 500)) ** 2, z), unit_of(sympy.log(1 + sympy.exp(-3 * z)), z)
    (500, 1)
    """
    lengths = [length for node in sympy.preorder_traversal(expression) for length in _lengths(node, symbol)]
    longest = max(lengths, default=sympy.S.One, key=number)
    size = number(longest)
    if 1 / NEAR <= size <= NEAR:
        return sympy.S.One
    if longest.is_Rational:
        return longest
    return sympy.Integer(2) ** int(NUMBERS.nint(NUMBERS.log(size, 2)))


def _lengths(node: sympy.Basic, symbol: sympy.Symbol) -> Iterator[sympy.Expr]:
    if isinstance(node, _SELF_SCALED):
        for coefficients in _polynomials(node, symbol):
            yield min((abs(c) ** sympy.Rational(-1, k) for k, c in coefficients.items() if k > 0), key=number)
    elif isinstance(node, _COMPARING):
        for coefficients in _polynomials(node, symbol):
            low = min(coefficients)
            ratios = [
                abs(coefficients[low] / c) ** sympy.Rational(1, k - low) for k, c in coefficients.items() if k > low
            ]
            yield from [min(ratios, key=number)] if ratios else []


def _polynomials(node: sympy.Basic, symbol: sympy.Symbol) -> Iterator[dict[int, sympy.Expr]]:
    """The coefficients of those arguments that are polynomials in the symbol."""
    for argument in node.args:
        if symbol in argument.free_symbols and argument.is_polynomial(symbol):
            polynomial = sympy.Poly(argument, symbol)
            if polynomial.degree() > 0:
                yield {int(k): c for (k,), c in polynomial.terms()}
