"""Values of a stable form in as many digits as its cancellations need, in a bounded number of operations.

A value is computed in 150 bits, then in twice as many, until two successive precisions agree on what a float holds of
it; a difference of zero is believed once the bits of the largest number on the way reach below the smallest float.
Numbers beyond e^(2^1000) count as infinite, so that towers of exponentials cost no more than other expressions. What is
not settled with :data:`MOST_BITS` bits is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import mpmath
import sympy

from gpo_analysis.calculus.arithmetic import constant, numbers

FIRST_BITS = 150
#: cosh z − sinh z at z = 1000 needs 2,900 bits, the largest and the smallest float 4,300.
MOST_BITS = 9_600
#: erf takes a second at 10⁴ bits.
_SLOW_BITS = 2_400
_LARGEST, _SMALLEST = 1e308, 1e-308
_LEAST_EXPONENT = -1080
_AGREEMENT = 1e-17
_HUGE = 2.0**1000
#: Beyond it erfc u is e^(−u²)/(u √π) to 200 digits.
_FAR = 1e100
_FAILURES = (OverflowError, ZeroDivisionError, ValueError, TypeError, mpmath.libmp.ComplexResult)


@dataclass(frozen=True)
class _Step:
    """One operation: its kind or the name of its function, where its arguments stand, a constant."""

    kind: str
    arguments: tuple[int, ...]
    constant: sympy.Expr | None = None


class PreciseFunction:
    """An expression in stable atoms, compiled to be evaluated in any precision.

    Parameters
    ----------
    expression : sympy.Expr
        Sums, products, powers and the functions of :mod:`gpo_analysis.losses.atoms`, in ``symbol``.
    symbol : sympy.Symbol
    """

    def __init__(self, expression: sympy.Expr, symbol: sympy.Symbol) -> None:
        self._symbol = symbol
        self._steps: list[_Step] = []
        self._places: dict[sympy.Expr, int] = {}
        self._root = self._place(expression)
        slow = {"erf", "erfc", "erfc_", "erfcx_", "logndtr"}
        self._most = _SLOW_BITS if any(step.kind in slow for step in self._steps) else MOST_BITS

    def _place(self, node: sympy.Expr) -> int:
        if node not in self._places:
            step = self._step(node)
            self._places[node] = len(self._steps)
            self._steps.append(step)
        return self._places[node]

    def _step(self, node: sympy.Expr) -> _Step:
        if node == self._symbol:
            return _Step("symbol", ())
        if node.is_Rational or node.is_Float or node.is_NumberSymbol:
            return _Step("constant", (), node)
        if node.is_Atom:
            return _Step("nowhere", ())  # i, ∞: no real number
        arguments = tuple(self._place(argument) for argument in node.args)
        if isinstance(node, sympy.Pow):
            return _Step("power", arguments, node.exp if node.exp.is_Integer else None)
        kind = {sympy.Add: "add", sympy.Mul: "mul"}.get(node.func, node.func.__name__)
        if kind not in _functions(FIRST_BITS) and kind not in ("add", "mul"):
            kind = {"LambertW": "lambertw"}.get(kind, kind)
            if not hasattr(numbers(FIRST_BITS), kind):
                raise ValueError(f"{node.func.__name__} is not a function that is computed in many digits")
        return _Step(kind, arguments)

    def value(self, z: float) -> float:
        """f(z), rounded to a float; ±inf beyond what a float holds, NaN where it is not real or not settled."""
        if not math.isfinite(z):
            return math.nan
        bits, before = FIRST_BITS, self._at(z, FIRST_BITS)
        while bits < self._most:
            bits *= 2
            now = self._at(z, bits)
            if now is None or before is None:
                if now is None and before is None:
                    return math.nan
            elif _agree(before[0], now[0], now[1] is None or now[1] - bits < _LEAST_EXPONENT):
                return float(now[0])
            before = now
        return math.nan

    def _at(self, z: float, bits: int) -> tuple[Any, int | None] | None:
        """The value in so many bits, with the exponent of the largest number on the way; None where there is none.

        A zero that is no difference (a factor of 0, a branch that is 0) has None for the exponent.
        """
        m, functions = numbers(bits), _functions(bits)
        values: list[Any] = []
        zeros: set[int] = set()
        for place, step in enumerate(self._steps):
            parts = [values[k] for k in step.arguments]
            if step.kind == "select":
                chosen = None if parts[0] is None else parts[1] if parts[0] > 0 else parts[2]
                values.append(chosen)
                if chosen == 0 and step.arguments[1 if parts[0] > 0 else 2] in zeros:
                    zeros.add(place)
                continue
            if any(part is None for part in parts):
                values.append(None)
                continue
            try:
                value = self._computed(step, parts, z, m, functions)
            except _FAILURES:
                value = None
            real = value is not None and isinstance(value, m.mpf) and not m.isnan(value)
            values.append(value if real else None)
            if real and value == 0 and self._is_plain_zero(step, zeros):
                zeros.add(place)
        found = values[self._root]
        finite = [value for value in values if value is not None and m.isfinite(value) and value != 0]
        if self._root in zeros:
            return found, None
        return None if found is None else (found, max((int(m.mag(value)) for value in finite), default=0))

    @staticmethod
    def _is_plain_zero(step: _Step, zeros: set[int]) -> bool:
        """Whether a value of 0 is no matter of digits: a constant, e^{−∞}, a product with 0, a sum of such."""
        if step.kind in ("mul", "power"):
            return bool(zeros & set(step.arguments))
        return step.kind in ("constant", "exp", "erfc", "erfc_") or (
            step.kind == "add" and set(step.arguments) <= zeros
        )

    @staticmethod
    def _computed(step: _Step, parts: list[Any], z: float, m: Any, functions: dict[str, Any]) -> Any:
        if step.kind == "symbol":
            return m.mpf(z)
        if step.kind == "constant":
            return constant(step.constant, m)
        if step.kind == "add":
            return sum(parts[1:], parts[0])
        if step.kind == "mul":
            return math.prod(parts[1:], start=parts[0])
        if step.kind == "power":
            return parts[0] ** int(step.constant) if step.constant is not None else parts[0] ** parts[1]
        if step.kind == "nowhere":
            raise ValueError("not a real number")
        function = functions.get(step.kind) or getattr(m, step.kind)
        return m.mpf(function(*parts))


@lru_cache(maxsize=1024)
def precise_function(expression: sympy.Expr, symbol: sympy.Symbol) -> PreciseFunction:
    """A compiled :class:`PreciseFunction`, remembered."""
    return PreciseFunction(expression, symbol)


def _agree(before: Any, now: Any, sees_all: bool) -> bool:
    """Whether two precisions give the same float. Zero and rounding near it take bits below every float."""
    if abs(now) > _LARGEST and abs(before) > _LARGEST:
        return bool((now > 0) == (before > 0))
    if now != 0 and abs(now - before) <= _AGREEMENT * abs(now):
        return True
    return sees_all and bool(abs(now) < _SMALLEST and abs(before) < _SMALLEST)


@cache
def _functions(bits: int) -> dict[str, Any]:
    """The atoms of :mod:`gpo_analysis.losses.atoms`, and the functions beside them, on numbers of so many bits."""
    m = numbers(bits)

    def exp(u: Any) -> Any:
        if m.re(u) > _HUGE:
            return m.inf
        return m.zero if m.re(u) < -_HUGE else m.exp(u)

    def ended(function: Callable[[Any], Any], low: int, high: int) -> Callable[[Any], Any]:
        return lambda u: m.mpf(high if u > 0 else low) if abs(m.re(u)) > _FAR else function(m.mpf(u))

    def softplus(u: Any) -> Any:
        return m.log1p(exp(u)) if u < 0 else u + m.log1p(exp(-u))

    def logcosh(u: Any) -> Any:
        near = abs(u) < 1
        return m.log1p(m.sinh(u) ** 2) / 2 if near else abs(u) + m.log1p(exp(-2 * abs(u))) - m.log(2)

    def erfc(u: Any) -> Any:
        if abs(u) < _FAR:
            return m.erfc(m.mpf(u))
        return exp(-u * u) / (u * m.sqrt(m.pi)) if u > 0 else m.mpf(2)

    erf, tanh = ended(m.erf, -1, 1), ended(m.tanh, -1, 1)
    return {
        "softplus": softplus,
        "expit": lambda u: 1 / (1 + exp(-u)),
        "tanh_": tanh,
        "tanh": tanh,
        "logcosh": logcosh,
        "log1p_": m.log1p,
        "expm1_": lambda u: m.expm1(u) if abs(u) < 1 else exp(u) - 1,
        "erfc_": erfc,
        "erfc": erfc,
        "erf": erf,
        "erfcx_": lambda u: exp(u * u) * erfc(u) if abs(u) < 1e5 or u < 0 else 1 / (u * m.sqrt(m.pi)),
        "logndtr": lambda u: m.log1p(-erfc(u / m.sqrt(2)) / 2) if u > 0 else m.log(erfc(-u / m.sqrt(2)) / 2),
        "logsumexp": lambda *u: max(u) + m.log(m.fsum(exp(x - max(u)) for x in u)),
        "signum": m.sign,
        "absolute": abs,
        "select": None,
        "exp": exp,
        "log": m.log,
        "sqrt": m.sqrt,
        "cosh": lambda u: (exp(u) + exp(-u)) / 2,
        "sinh": lambda u: m.sinh(u) if abs(u) < 1 else (exp(u) - exp(-u)) / 2,
        "atan": m.atan,
    }
