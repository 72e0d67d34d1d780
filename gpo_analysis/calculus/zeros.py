"""Is an expression identically zero? Asked of numbers in as many digits as the expression itself spans.

An expression that is analytic on an interval vanishes there if it vanishes at enough points. It is evaluated at four of
them in a precision that grows with the ratio of the largest to the smallest number that occurs on the way, so that a
term of 1e-60 beside one of 1 is seen; where what remains is nothing but rounding (190 bits below that span), it is
zero.
"""

from __future__ import annotations

from typing import Any

import mpmath
import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS, number, numbers
from gpo_analysis.calculus.jets import JetFunction, Unsupported, jet_function

_BITS = 250
_ROUNDING = 60
#: Bits beyond which numbers of so different sizes meet that nothing is said.
_MOST_BITS = 20_000
#: erf takes a second at 5,000 bits.
_MOST_ERF_BITS = 1_000
_STEP = 256
_LINE = ("0.3721", "-1.297", "2.618", "-0.0457")
_SHARES = ("0.137", "0.391", "0.612", "0.873")
_FAILURES = (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.ComplexResult)


def vanishes(
    expression: sympy.Expr, symbol: sympy.Symbol, lower: sympy.Expr = -sympy.oo, upper: sympy.Expr = sympy.oo
) -> bool:
    """Whether a smooth expression is zero on the whole of (lower, upper).

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> vanishes(sympy.log(1 + sympy.exp(z)) - z - sympy.log(1 + sympy.exp(-z)), z)
    True
    >>> vanishes(sympy.log(1 + sympy.exp(z)) - z - sympy.log(1 + sympy.exp(-z)) + z / 10**60, z)
    False
    """
    if expression.is_Number or expression is sympy.nan:
        return bool(expression == 0)
    try:
        function = jet_function(expression, symbol)
    except Unsupported:
        return False
    # 1 − 10⁻²⁰⁰ differs from 1 by no less than what its digits can write
    digits = max(
        (abs(int(x.p)).bit_length() + int(x.q).bit_length() for x in expression.atoms(sympy.Rational)), default=0
    )
    seen = [_is_rounding(function, x, digits) for x in _points(number(lower), number(upper))]
    decided = [entry for entry in seen if entry is not None]
    return len(decided) > 0 and all(decided)


def _points(low: Any, high: Any) -> list[Any]:
    if NUMBERS.isinf(low) and NUMBERS.isinf(high):
        return [NUMBERS.mpf(x) for x in _LINE]
    shares = [NUMBERS.mpf(x) for x in _SHARES]
    if NUMBERS.isinf(high):
        return [low + 3 * x for x in shares]
    if NUMBERS.isinf(low):
        return [high - 3 * x for x in shares]
    return [low + (high - low) * x for x in shares]


def _is_rounding(function: JetFunction, x: Any, digits: int) -> bool | None:
    """Whether the value at x is zero but for rounding; None where there is none."""
    span = _span(function, x, NUMBERS)
    if span is None:
        return None
    largest, bits = span[0], span[1] + digits
    if bits > (_MOST_ERF_BITS if function.uses("erf", "erfc") else _MOST_BITS):
        return False
    precision = -(-(_BITS + 2 * bits) // _STEP) * _STEP
    context = numbers(precision)
    try:
        value = function.steps(context.mpf(x), 0, context)[-1][0]
    except _FAILURES:
        return None
    return bool(abs(value) <= largest * context.mpf(2) ** (_ROUNDING - precision))


def _span(function: JetFunction, x: Any, context: Any) -> tuple[Any, int] | None:
    """The largest number on the way to the value at x, and the bits between it and the smallest that is not 0."""
    try:
        steps = function.steps(x, 0, context)
    except _FAILURES:
        return None
    sizes = [abs(jet[0]) for jet in steps]
    if any(context.isnan(size) or context.isinf(size) for size in sizes):
        return None
    largest = max([size for size in sizes if size > 0], default=context.mpf(1))
    noise = largest * context.mpf(2) ** (-context.prec + _ROUNDING)
    sums = function.sums
    kept = [size for k, size in enumerate(sizes) if size > (noise if k in sums else 0)]  # a sum may be rounding itself
    return largest, int(context.mag(largest) - context.mag(min(kept, default=largest))) + 1
