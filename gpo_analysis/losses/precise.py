"""Values of a stable form in as many digits as its cancellations need, in a bounded number of operations.

A value is computed in 150 bits, then in twice as many, until the bound on its error, carried along from step to step,
leaves the digits of a float, or lies below every float. Numbers beyond e^(2^1000) count as infinite, so that towers of
exponentials cost no more than other expressions. What is not settled with :data:`MOST_BITS` bits is NaN.
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
_LEAST_EXPONENT = -1080
_FLOAT_BITS = 56
#: They are 0 only where their argument is beyond every size that counts.
_VANISHING = {"exp", "expit", "erfc", "erfc_"}
#: The error of what is exact.
_EXACT = -(10**12)
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
        self._indices: dict[sympy.Expr, int] = {}
        self._root = self._index(expression)
        slow = {"erf", "erfc", "erfc_", "erfcx_", "logndtr"}
        self._most = _SLOW_BITS if any(step.kind in slow for step in self._steps) else MOST_BITS

    def _index(self, node: sympy.Expr) -> int:
        if node not in self._indices:
            step = self._step(node)
            self._indices[node] = len(self._steps)
            self._steps.append(step)
        return self._indices[node]

    def _step(self, node: sympy.Expr) -> _Step:
        if node == self._symbol:
            return _Step("symbol", ())
        if node.is_Rational or node.is_Float or node.is_NumberSymbol:
            return _Step("constant", (), node)
        if node.is_Atom:
            return _Step("nowhere", ())  # i, ∞: no real number
        arguments = tuple(self._index(argument) for argument in node.args)
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
        bits = FIRST_BITS
        while bits <= self._most:
            found = self._at(z, bits)
            if found is None and bits > FIRST_BITS:
                return math.nan
            if found is not None and _is_settled(*found, numbers(bits)):
                return float(found[0])
            bits *= 2
        return math.nan

    def _at(self, z: float, bits: int) -> tuple[Any, int] | None:
        """The value in so many bits, with the exponent of 2 that bounds its error; None where there is no value."""
        m, functions = numbers(bits), _functions(bits)
        values: list[Any] = []
        errors: list[int] = []
        for step in self._steps:
            parts, slack = [values[k] for k in step.arguments], [errors[k] for k in step.arguments]
            if step.kind == "select" and parts[0] is not None:
                chosen = 1 if parts[0] > 0 else 2
                values.append(parts[chosen])
                errors.append(slack[chosen])
                continue
            try:
                value = None if None in parts else self._computed(step, parts, z, m, functions)
            except _FAILURES:
                value = None
            real = value is not None and isinstance(value, m.mpf) and not m.isnan(value)
            values.append(value if real else None)
            errors.append(_error(step, parts, slack, value, m) if real else 0)
        return None if values[self._root] is None else (values[self._root], errors[self._root])

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


def _is_settled(value: Any, error: int, m: Any) -> bool:
    """Whether the error leaves a float's digits, or all that is left is smaller than every float."""
    if not m.isfinite(value):
        return True
    return error == _EXACT or error < _LEAST_EXPONENT or (value != 0 and error < m.mag(value) - _FLOAT_BITS)


def _error(step: _Step, parts: list[Any], slack: list[int], value: Any, m: Any) -> int:
    """The exponent of 2 that bounds the error of a step, from those of its arguments, to first order."""
    if step.kind == "symbol" or not m.isfinite(value) or (value == 0 and step.kind in _VANISHING):
        return _EXACT
    rounding = _EXACT if value == 0 else int(m.mag(value)) - m.prec + 2
    if step.kind in ("constant", "signum"):
        return rounding
    if step.kind == "add":
        return max(*slack, *(int(m.mag(part)) - m.prec if part else _EXACT for part in parts)) + 3
    if step.kind == "mul":
        return max(rounding, _product_error(parts, slack, m))
    error, inner = slack[0], parts[0]
    if error == _EXACT or (step.kind == "absolute"):
        return max(rounding, error)
    own = int(m.mag(value)) if value != 0 else -m.prec
    size = max(int(m.mag(inner)), 0) if inner != 0 and m.isfinite(inner) else 0
    if step.kind == "power":
        exponent = max(int(m.mag(parts[1])), 0)
        return max(rounding, own + error - (int(m.mag(inner)) if inner != 0 else -m.prec) + exponent + 2)
    if step.kind in ("exp", "expit", "cosh"):
        return max(rounding, own + error + 2)
    if step.kind == "log":
        return max(rounding, error - int(m.mag(inner)) + 2)
    if step.kind == "log1p_":
        return max(rounding, error - int(m.mag(1 + inner)) + 2)
    if step.kind == "softplus":
        return max(rounding, error + min(own, 0) + 2)
    if step.kind in ("erfc_", "erfc", "erfcx_"):
        return max(rounding, own + error + size + 3)
    if step.kind in ("sinh", "expm1_"):
        return max(rounding, error + max(own, 0) + 2)
    if step.kind == "logsumexp":
        return max(rounding, *slack) + 2
    return max(rounding, error + size + 3)  # tanh, erf, atan, log cosh have slopes up to 1, log Φ up to |u| + 1


def _product_error(parts: list[Any], slack: list[int], m: Any) -> int:
    """Each factor's error times the others; an exact 0 makes an exact product."""
    if any(part == 0 and error == _EXACT for part, error in zip(parts, slack, strict=True)):
        return _EXACT
    sizes = [int(m.mag(part)) if part != 0 and m.isfinite(part) else 0 for part in parts]
    total = sum(sizes)
    return max(
        error + total - size + 2 if error != _EXACT else _EXACT for error, size in zip(slack, sizes, strict=True)
    )


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
