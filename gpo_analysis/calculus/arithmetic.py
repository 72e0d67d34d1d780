"""Four arithmetics behind one set of names: numbers in many digits, intervals that enclose, exact numbers.

:data:`NUMBERS` are real and complex numbers of :data:`PRECISION` bits (mpmath), :data:`INTERVALS` enclose what they
stand for, rounding included (mpmath's ``iv``), :data:`FLOATS` do so with floats as ends, :data:`EXACT` are sympy
numbers. Functions that are monotone are
evaluated at the ends of an interval, in more digits than are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import mpmath
import sympy

from gpo_analysis.calculus.float_intervals import FLOATS, FloatInterval, enclosed

#: Bits kept. f″ of a loss at z = ±100 is computed without a subtraction that 40 digits would not survive.
PRECISION = 150
_GUARD = 30
#: |x| beyond which eˣ is taken as 0 or ∞: numbers of that size stand for nothing, and cost time without bound.
_HUGE = 2.0**1000
#: |x| beyond which tanh x, erf x and erfc x are at their ends.
_FAR = 1e100
_ENDS = {"tanh": (-1, 1), "erf": (-1, 1), "erfc": (2, 0)}


class _Exact:
    """Exact sympy numbers behind the few names by which the recurrences call an arithmetic."""

    inf = sympy.oo
    zero = sympy.S.Zero
    pi = sympy.pi
    exp, log, sqrt = sympy.exp, sympy.log, staticmethod(sympy.sqrt)
    log1p = staticmethod(lambda x: sympy.log(1 + x))
    sin, cos, sinh, tanh, atan, asinh = sympy.sin, sympy.cos, sympy.sinh, sympy.tanh, sympy.atan, sympy.asinh
    erf, erfc, lambertw = sympy.erf, sympy.erfc, sympy.LambertW
    mpf = staticmethod(sympy.Integer)
    re = staticmethod(lambda x: x)


@cache
def numbers(precision: int) -> Any:
    """The mpmath context of real and complex numbers of so many bits."""
    context = mpmath.MPContext()
    context.prec = precision
    return context


def _intervals(precision: int) -> Any:
    context = mpmath.ctx_iv.MPIntervalContext()
    context.prec = precision
    context.zero = context.mpf(0)
    return context


NUMBERS = numbers(PRECISION)
INTERVALS = _intervals(PRECISION)
EXACT = _Exact()
_WIDE = numbers(PRECISION + _GUARD)


def encloses(context: Any) -> bool:
    """Whether an arithmetic is one of intervals."""
    return context is INTERVALS or context is FLOATS


def bounds(interval: Any) -> tuple[Any, Any]:
    """Lower and upper end of an enclosure, as numbers; (-∞, ∞) for one that holds NaN."""
    if isinstance(interval, FloatInterval):
        return interval.low, interval.high
    low, high = (NUMBERS.make_mpf(end) for end in interval._mpi_)
    if NUMBERS.isnan(low) or NUMBERS.isnan(high):
        return NUMBERS.ninf, NUMBERS.inf
    return low, high


def sign_of(interval: Any) -> int | None:
    """+1 or −1 where an enclosure lies strictly on one side of 0, 0 where it is {0}, None otherwise."""
    low, high = bounds(interval)
    if low > 0:
        return 1
    if high < 0:
        return -1
    return 0 if low == 0 == high else None


def number(expression: sympy.Expr, digits: int = 50) -> Any:
    """Value of a constant expression as an mpmath real; ±∞ allowed, NaN where there is no real value."""
    if expression in (sympy.oo, -sympy.oo):
        return NUMBERS.inf if expression == sympy.oo else NUMBERS.ninf
    roots = expression.atoms(sympy.CRootOf)
    if (
        roots
    ):  # each is refined once, by Newton's method within its interval: by halving it takes a hundred times as long
        expression = expression.xreplace({root: _root_value(root, max(digits, 60) + 20) for root in roots})
    value = sympy.N(expression, digits)
    if value.is_Float or value.is_Integer or value.is_Rational:
        return NUMBERS.mpf(str(value))
    return NUMBERS.nan


@lru_cache(maxsize=4096)
def _root_value(root: sympy.CRootOf, digits: int) -> sympy.Expr:
    """A root of a polynomial in so many digits."""
    return root.eval_approx(digits)


def constant(node: sympy.Expr, context: Any) -> Any:
    """A rational number, a decimal one (taken as it is written), π, e or the like, in an arithmetic."""
    if context is EXACT:
        return node
    if node.is_Rational:
        return context.mpf(int(node.p)) / int(node.q)
    if node.is_Float:
        exact = sympy.Rational(str(node))
        return context.mpf(int(exact.p)) / int(exact.q)
    if node is sympy.pi:
        return +context.pi
    if node is sympy.E:
        return context.exp(context.mpf(1))
    if context is FLOATS:
        return enclosed(_WIDE.mpf(str(sympy.N(node, 40))))
    if context is not INTERVALS:
        return context.mpmathify(str(sympy.N(node, context.prec // 3 + 5)))
    return widened(_WIDE.mpf(str(sympy.N(node, 70))), context)


def widened(value: Any, context: Any) -> Any:
    """A number known to ``_WIDE`` precision, as an interval that is sure to hold the true one."""
    slack = abs(value) * _WIDE.mpf(2) ** (-PRECISION)
    return context.mpf([value - slack, value + slack])


def monotone(name: str, x: Any, context: Any, rising: bool = True) -> Any:
    """A monotone function of a number, or of an interval from its end points."""
    if context is FLOATS:
        return context.monotone[name](x)
    if context is not INTERVALS:
        far = context.re(x)
        if name in _ENDS and abs(far) > _FAR:
            return context.mpf(_ENDS[name][far > 0])
        return getattr(context, name)(x)
    function = getattr(_WIDE, name)
    low, high = (_WIDE.make_mpf(end) for end in x._mpi_)
    if not rising:
        low, high = high, low
    values = widened(function(low), context), widened(function(high), context)
    return context.mpf([values[0].a, values[1].b])


def exponential(x: Any, context: Any) -> Any:
    """eˣ with the exponent kept in reach (a tower of exponentials must not ask for gigabytes)."""
    if context is FLOATS:
        return context.exp(x)
    if context is INTERVALS:
        low, high = bounds(x)
        if low > _HUGE:
            return context.mpf([context.exp(context.mpf(_HUGE)).a, "inf"])
        if high < -_HUGE:
            return context.mpf([0, context.exp(context.mpf(-_HUGE)).b])
        bottom = context.exp(context.mpf(low)).a if low > -_HUGE else 0
        top = context.exp(context.mpf(high)).b if high < _HUGE else "inf"
        return context.mpf([bottom, top])
    real = context.re(x)
    if real > _HUGE:
        return context.inf
    return context.zero if real < -_HUGE else context.exp(x)


def polynomial(coefficients: Sequence[Any], x: Any) -> Any:
    """Σ cₖ xᵏ by Horner's rule, in whatever arithmetic c and x are."""
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
