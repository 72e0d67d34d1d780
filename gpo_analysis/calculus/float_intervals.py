"""Intervals with floats as ends: what most boxes need, at a tenth of the cost of those in many digits.

Sums, products and quotients of floats are rounded correctly, so that one step to the next float outward encloses them.
The functions of the C library are not: they are widened by :data:`SLACK`, some hundred times what the libraries in use
are measured to be wrong by (glibc's manual: at most two units in the last place of those here). An end that a float
does not hold is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

#: Relative widening of exp, log and the like.
SLACK = 1e-13
_LEAST = 5e-324


def _down(x: float, nextafter: Callable[..., float] = math.nextafter, end: float = -math.inf) -> float:
    return nextafter(x, end)


def _up(x: float, nextafter: Callable[..., float] = math.nextafter, end: float = math.inf) -> float:
    return nextafter(x, end)


class FloatInterval:
    """All reals from ``low`` to ``high``; an infinite end says that nothing bounds them there."""

    __slots__ = ("high", "low")

    def __init__(self, low: float, high: float) -> None:
        self.low = low if low == low else -math.inf
        self.high = high if high == high else math.inf

    def __repr__(self) -> str:
        return f"[{self.low!r}, {self.high!r}]"

    def __add__(self, other: Any) -> FloatInterval:
        b = other if other.__class__ is FloatInterval else enclosed(other)
        return FloatInterval(_down(self.low + b.low), _up(self.high + b.high))

    def __neg__(self) -> FloatInterval:
        return FloatInterval(-self.high, -self.low)

    def __pos__(self) -> FloatInterval:
        return self

    def __sub__(self, other: Any) -> FloatInterval:
        b = enclosed(other)
        return FloatInterval(_down(self.low - b.high), _up(self.high - b.low))

    def __rsub__(self, other: Any) -> FloatInterval:
        return enclosed(other) - self

    def __mul__(self, other: Any) -> FloatInterval:
        b = other if other.__class__ is FloatInterval else enclosed(other)
        low, high = _product(self.low, self.high, b.low, b.high)
        # 0 times an end without bound, NaN in floats, is 0
        return FloatInterval(_down(low if low == low else 0.0), _up(high if high == high else 0.0))

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> FloatInterval:
        b = enclosed(other)
        if b.low <= 0 <= b.high:
            return FloatInterval(-math.inf, math.inf)
        return self * FloatInterval(_down(1 / b.high), _up(1 / b.low))

    def __rtruediv__(self, other: Any) -> FloatInterval:
        return enclosed(other) / self

    def __pow__(self, exponent: int) -> FloatInterval:
        if exponent != 2:
            raise NotImplementedError(f"x**{exponent}: floats take squares alone, many digits take the others")
        ends = sorted((abs(self.low), abs(self.high)))
        low = 0.0 if self.low <= 0 <= self.high else max(_down(ends[0] * ends[0]), 0.0)
        return FloatInterval(low, _up(ends[1] * ends[1]))

    def __abs__(self) -> FloatInterval:
        ends = sorted((abs(self.low), abs(self.high)))
        return FloatInterval(0.0 if self.low <= 0 <= self.high else ends[0], ends[1])


def _product(a: float, b: float, c: float, d: float) -> tuple[float, float]:
    """The ends of [a, b] times [c, d], by their signs."""
    if a >= 0:
        if c >= 0:
            return a * c, b * d
        return (b * c, a * d) if d <= 0 else (b * c, b * d)
    if b <= 0:
        if c >= 0:
            return a * d, b * c
        return (b * d, a * c) if d <= 0 else (a * d, a * c)
    if c >= 0:
        return a * d, b * d
    return (b * c, a * c) if d <= 0 else (min(a * d, b * c), max(a * c, b * d))


def enclosed(value: Any) -> FloatInterval:
    """A number of any kind, or the two ends of an interval, as an interval that holds it.

    Raises
    ------
    OverflowError
        For a whole number that a float does not hold.
    """
    if isinstance(value, FloatInterval):
        return value
    if isinstance(value, list | tuple):
        return FloatInterval(enclosed(value[0]).low, enclosed(value[1]).high)
    near = float(value)
    return FloatInterval(near, near) if near == value else FloatInterval(_down(near), _up(near))


def _rising(function: Callable[[float], float], falling: bool = False) -> Callable[[FloatInterval], FloatInterval]:
    """A monotone function of the C library on an interval."""

    def of(x: FloatInterval) -> FloatInterval:
        ends = (x.high, x.low) if falling else (x.low, x.high)
        low, high = (function(end) for end in ends)
        return FloatInterval(low - SLACK * abs(low) - _LEAST, high + SLACK * abs(high) + _LEAST)

    return of


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


class _Floats:
    """The names by which the recurrences call an arithmetic; what is not here they cannot compute in it."""

    zero = FloatInterval(0.0, 0.0)
    pi = FloatInterval(_down(math.pi), _up(math.pi))
    mpf = staticmethod(enclosed)

    @staticmethod
    def exp(x: FloatInterval) -> FloatInterval:
        found = _rising(_exp)(x)
        return FloatInterval(max(min(found.low, 1.7e308), 0.0), found.high)

    log = staticmethod(_rising(lambda x: math.log(x) if math.isfinite(x) else x))

    @staticmethod
    def sqrt(x: FloatInterval) -> FloatInterval:
        return FloatInterval(max(_down(math.sqrt(x.low)), 0.0), _up(math.sqrt(x.high)))

    monotone: ClassVar[dict[str, Callable[[FloatInterval], FloatInterval]]] = {
        "log1p": _rising(lambda x: math.log1p(x) if math.isfinite(x) else x),
        "tanh": _rising(math.tanh),
        "atan": _rising(math.atan),
        "erf": _rising(math.erf),
        "erfc": _rising(math.erfc, falling=True),
    }


FLOATS = _Floats()
