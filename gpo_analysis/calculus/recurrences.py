"""Recurrences for the Taylor coefficients of sums, products, powers and functions (Griewank and Walther 2008, ch. 13).

A jet is the list [c₀, …, cₙ] of Taylor coefficients at a point. Each function here takes jets to a jet, in any of the
arithmetics of :mod:`gpo_analysis.calculus.arithmetic`, by a number of operations that the length alone determines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import EXACT, bounds, encloses, exponential, monotone

Jet = list[Any]

#: Terms of one exact coefficient beyond which exact jets are given up.
MAX_TERMS = 150


def _tidy(value: Any) -> Any:
    """Exact numbers are multiplied out, so that sums of them do not grow without bound.

    Raises
    ------
    OverflowError
        Where that would give more than :data:`MAX_TERMS` terms: products of logarithms of many different numbers.
    """
    if not isinstance(value, sympy.Expr) or value.is_Rational:
        return value
    if _terms(value) > MAX_TERMS:
        raise OverflowError(f"an exact coefficient of more than {MAX_TERMS} terms")
    return sympy.radsimp(sympy.expand(value))


def _terms(value: sympy.Expr) -> int:
    """Terms of a constant's numerator when it is multiplied out, at most."""
    if isinstance(value, sympy.Add):
        return sum(_terms(argument) for argument in value.args)
    if isinstance(value, sympy.Mul):
        return math.prod(_terms(argument) for argument in value.args)
    if isinstance(value, sympy.Pow) and value.exp.is_Integer and value.exp > 0 and value.base.is_Add:
        return int(min(_terms(value.base) ** min(int(value.exp), 20), MAX_TERMS + 1))
    return 1


def multiply(a: Jet, b: Jet, zero: Any) -> Jet:
    """The product of two jets. Coefficients that are the object ``zero`` itself (of a constant, of z) cost nothing."""
    product: Jet = []
    for k in range(len(a)):
        terms = [a[j] * b[k - j] for j in range(k + 1) if a[j] is not zero and b[k - j] is not zero]
        product.append(_tidy(sum(terms[1:], terms[0])) if terms else zero)
    return product


def _divide(a: Jet, b: Jet, zero: Any) -> Jet:
    quotient: Jet = []
    for k in range(len(a)):
        quotient.append(_tidy((a[k] - sum((b[j] * quotient[k - j] for j in range(1, k + 1)), zero)) / b[0]))
    return quotient


def _integrate(first: Any, derivative: Callable[[int], Any], order: int) -> Jet:
    """[first, d₀/1, d₁/2, …]: the jet whose derivative has the coefficients d."""
    jet = [first]
    for k in range(1, order + 1):
        jet.append(derivative(k - 1) / k)
    return jet


def _slopes(a: Jet) -> Jet:
    return [a[k] * k for k in range(1, len(a))]


def power(a: Jet, exponent: sympy.Expr, value: Any, context: Any) -> Jet:
    """a to a constant power; ``value`` is the exponent in the arithmetic of the context."""
    zero, one = context.zero, context.mpf(1)
    if exponent.is_Integer and 0 <= int(exponent) <= 1024:
        return natural_power(a, int(exponent), context)
    if exponent.is_Integer and -1024 <= int(exponent) < 0:
        return _divide([one] + [zero] * (len(a) - 1), natural_power(a, -int(exponent), context), zero)
    if encloses(context) and bounds(a[0])[0] < 0:
        raise ValueError("power of a negative number")
    jet = [context.sqrt(a[0]) if exponent == sympy.S.Half else exponential(value * context.log(a[0]), context)]
    for k in range(1, len(a)):
        total = sum(((value * j - (k - j)) * a[j] * jet[k - j] for j in range(1, k + 1)), zero)
        jet.append(_tidy(total / (k * a[0])))
    return jet


def natural_power(a: Jet, exponent: int, context: Any) -> Jet:
    zero, one = context.zero, context.mpf(1)
    result: Jet = [one] + [zero] * (len(a) - 1)
    square, left = a, exponent
    while left:
        if left & 1:
            result = multiply(result, square, zero) if left != exponent else list(square)
        left >>= 1
        if left:
            low = square[0]
            square = multiply(square, square, zero)
            square[0] = low**2  # an interval squared knows that it is not negative
    return result


def _exp(a: Jet, context: Any) -> Jet:
    slopes, zero = _slopes(a), context.zero
    jet = [exponential(a[0], context)]
    for k in range(1, len(a)):
        jet.append(sum((slopes[j] * jet[k - 1 - j] for j in range(k)), zero) / k)
    return jet


def _log(a: Jet, context: Any) -> Jet:
    if encloses(context) and bounds(a[0])[0] <= 0:
        raise ValueError("logarithm of what may be negative")
    quotient = _divide(_slopes(a), a[:-1], context.zero) if len(a) > 1 else []
    return _integrate(context.log(a[0]), lambda k: quotient[k], len(a) - 1)


def _log1p(a: Jet, context: Any) -> Jet:
    if encloses(context) and bounds(a[0])[0] <= -1:
        raise ValueError("logarithm of what may be negative")
    quotient = _divide(_slopes(a), [a[0] + 1, *a[1:-1]], context.zero) if len(a) > 1 else []
    return _integrate(monotone("log1p", a[0], context), lambda k: quotient[k], len(a) - 1)


def log_or_log1p(a: Jet, above_one: Jet, context: Any) -> Jet:
    """log a, given a and a − 1 both without cancellation: the first is right for small a, the second for a near 1."""
    size = abs(above_one[0])
    far = bounds(size)[1] if encloses(context) else size
    if context is EXACT or not far < 0.5:
        return _log(a, context)
    quotient = _divide(_slopes(a), a[:-1], context.zero) if len(a) > 1 else []
    return _integrate(monotone("log1p", above_one[0], context), lambda k: quotient[k], len(a) - 1)


def _from_slope(name: str, slope: Callable[[Jet, Any], Jet]) -> Callable[[Jet, Any], Jet]:
    """A monotone function of a jet from its own derivative, as a function of the jet."""

    def jet(a: Jet, context: Any) -> Jet:
        first = monotone(name, a[0], context, rising=name != "erfc")
        if len(a) == 1:
            return [first]
        derivative = multiply(slope(a[:-1], context), _slopes(a), context.zero)
        return _integrate(first, lambda k: derivative[k], len(a) - 1)

    return jet


def _one_plus_square(a: Jet, context: Any) -> Jet:
    square = natural_power(a, 2, context)
    return [square[0] + 1, *square[1:]]


def _ones(a: Jet, context: Any) -> Jet:
    return [context.mpf(1)] + [context.zero] * (len(a) - 1)


def _sech_squared(a: Jet, context: Any) -> Jet:
    """4 e^{−2u} / (1 + e^{−2u})², on the side where the exponential does not overflow."""
    low = bounds(a[0])[0] if encloses(context) else context.re(a[0])
    flip = -2 if low > 0 else 2
    e = _exp([flip * c for c in a], context)
    return _divide([4 * c for c in e], natural_power([e[0] + 1, *e[1:]], 2, context), context.zero)


def _one_minus_tanh(a: Jet, context: Any) -> Jet:
    """1 − tanh u = 2 / (1 + e^{2u})."""
    e = _exp([2 * c for c in a], context)
    return _divide([context.mpf(2)] + [context.zero] * (len(a) - 1), [e[0] + 1, *e[1:]], context.zero)


def _gaussian(sign: int) -> Callable[[Jet, Any], Jet]:
    def slope(a: Jet, context: Any) -> Jet:
        bell = _exp([-c for c in natural_power(a, 2, context)], context)
        factor = sign * 2 / context.sqrt(+context.pi)
        return [factor * c for c in bell]

    return slope


def _trigonometric(a: Jet, context: Any) -> tuple[Jet, Jet]:
    slopes, zero = _slopes(a), context.zero
    sine, cosine = [context.sin(a[0])], [context.cos(a[0])]
    for k in range(1, len(a)):
        up = sum((slopes[j] * cosine[k - 1 - j] for j in range(k)), zero) / k
        down = sum((slopes[j] * sine[k - 1 - j] for j in range(k)), zero) / k
        sine.append(up)
        cosine.append(-down)
    return sine, cosine


def _hyperbolic(a: Jet, context: Any) -> tuple[Jet, Jet]:
    rising, falling = _exp(a, context), _exp([-c for c in a], context)
    sinh = [(up - down) / 2 for up, down in zip(rising, falling, strict=True)]
    cosh = [(up + down) / 2 for up, down in zip(rising, falling, strict=True)]
    if encloses(context):
        sinh[0] = monotone("sinh", a[0], context)
        low, high = bounds(a[0])
        if low <= 0 <= high:
            cosh[0] = context.mpf([1, cosh[0].b])
    return sinh, cosh


def _lambert(a: Jet, context: Any) -> Jet:
    """w eʷ = a, so w′ = a′ / (eʷ (1 + w)), solved coefficient by coefficient."""
    zero = context.zero
    jet = [monotone("lambertw", a[0], context)]
    for k in range(1, len(a)):
        e = _exp(jet, context)
        weight = multiply(e, [1 + jet[0], *jet[1:]], zero)
        derivative = _divide(_slopes(a)[:k], weight[:k], zero)
        jet.append(derivative[k - 1] / k)
    return jet


FUNCTIONS: dict[str, Callable[[Jet, Any], Jet]] = {
    "exp": _exp,
    "log": _log,
    "log1p": _log1p,
    "tanh": _from_slope("tanh", _sech_squared),
    "atan": _from_slope("atan", lambda a, c: _divide(_ones(a, c), _one_plus_square(a, c), c.zero)),
    "asinh": _from_slope("asinh", lambda a, c: power(_one_plus_square(a, c), sympy.Rational(-1, 2), -c.mpf(1) / 2, c)),
    "erf": _from_slope("erf", _gaussian(1)),
    "one_minus_tanh": _one_minus_tanh,
    "erfc": _from_slope("erfc", _gaussian(-1)),
    "LambertW": _lambert,
}

#: Functions whose jets are worked out two at a time: the recurrence, and which of the two.
PAIRS: dict[str, tuple[Callable[[Jet, Any], tuple[Jet, Jet]], int]] = {
    "sinh": (_hyperbolic, 0),
    "cosh": (_hyperbolic, 1),
    "sin": (_trigonometric, 0),
    "cos": (_trigonometric, 1),
}
