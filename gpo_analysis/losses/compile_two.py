"""From a sympy expression in two symbols to functions on arrays: :mod:`gpo_analysis.losses.compile` for F(a, b).

What is printed is compared with multi-precision arithmetic at the points of a grid; between those where it disagrees,
values are computed in multi-precision arithmetic. No loss of the catalogue needs that; a test says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.losses import atoms
from gpo_analysis.losses.compile import NUMPY, PRECISION, derived, numeric_constants
from gpo_analysis.losses.precise import PreciseFunction

Symbols = tuple[sympy.Symbol, sympy.Symbol]
Orders = tuple[int, int]

PROBES: tuple[float, ...] = (-1000.0, -300.0, -37.0, -3.3, -1e-8, 0.3, 5.5, 37.0, 400.5, 1000.0)


@lru_cache(maxsize=512)
def stable_form(expression: sympy.Expr, symbols: Symbols, orders: Orders) -> sympy.Expr:
    """∂ⁱ⁺ʲ of an expression in stable atoms."""
    return atoms.fuse_products(_derivative(expression, symbols, orders))


@lru_cache(maxsize=512)
def _derivative(expression: sympy.Expr, symbols: Symbols, orders: Orders) -> sympy.Expr:
    i, j = orders
    if j:
        return derived(_derivative(expression, symbols, (i, j - 1)), symbols[1])
    if i:
        return derived(_derivative(expression, symbols, (i - 1, 0)), symbols[0])
    return atoms.rewrite(expression)


def printed(
    expression: sympy.Expr, symbols: Symbols, orders: Orders, functions: dict[str, Any]
) -> Callable[[Any, Any], Any]:
    """The stable form as a Python function of two arrays built on the ``functions`` of one array library."""
    form = numeric_constants(stable_form(expression, symbols, orders))
    return sympy.lambdify(list(symbols), form, modules=[functions], cse=True)  # type: ignore[no-any-return]


@lru_cache(maxsize=512)
def numpy_function(expression: sympy.Expr, symbols: Symbols, orders: Orders) -> Callable[[Any, Any], Any]:
    """The partial derivative as a numpy function of float64 arrays; not yet guarded."""
    return printed(expression, symbols, orders, NUMPY)


def evaluate_precisely(expression: sympy.Expr, symbols: Symbols, orders: Orders, a: float, b: float) -> float:
    """One value in multi-precision arithmetic, rounded to a float; NaN where it is not a real number."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.nan
    first, second = symbols
    line = stable_form(expression, symbols, orders).xreplace({second: sympy.Rational(b)})
    return PreciseFunction(line, first).value(a)


@lru_cache(maxsize=512)
def doubtful(expression: sympy.Expr, symbols: Symbols, orders: Orders) -> tuple[tuple[int, int], ...]:
    """Places in the grid of :data:`PROBES` at which floating point disagrees with many digits."""
    form = stable_form(expression, symbols, orders)
    if not form.free_symbols:
        return ()
    x, y = np.meshgrid(np.array(PROBES), np.array(PROBES), indexing="ij")
    with np.errstate(all="ignore"):
        found = np.broadcast_to(np.asarray(numpy_function(expression, symbols, orders)(x, y), np.float64), x.shape)
    exact = np.empty(x.shape)
    for j, b in enumerate(PROBES):
        line = PreciseFunction(form.xreplace({symbols[1]: sympy.Rational(b)}), symbols[0])
        exact[:, j] = [line.value(a) for a in PROBES]
    wrong = [(i, j) for i, j in np.ndindex(*x.shape) if _is_wrong(float(found[i, j]), exact, i, j)]
    return tuple(wrong)


def _is_wrong(value: float, exact: FloatArray, i: int, j: int) -> bool:
    truth = float(exact[i, j])
    if math.isnan(truth):
        return False
    if abs(truth) > 1e300:
        return not value * math.copysign(1.0, truth) > 1e299
    near = np.abs(exact[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2])
    scale = float(np.max(near[np.isfinite(near)], initial=0.0))
    return not abs(value - truth) <= PRECISION * abs(truth) + 1e-15 * min(scale, 1e30) + 1e-300


def _beside(x: FloatArray, index: int) -> BoolArray:
    """Which values lie between the probe before and the one after."""
    low = PROBES[index - 1] if index else -math.inf
    high = PROBES[index + 1] if index + 1 < len(PROBES) else math.inf
    return np.asarray((x >= low) & (x <= high))


def evaluate(
    expression: sympy.Expr, symbols: Symbols, orders: Orders, a: NDArray[np.float64], b: NDArray[np.float64]
) -> FloatArray:
    """The partial derivative at every element of two arrays of one shape; overflow is a silent inf."""
    with np.errstate(all="ignore"):
        raw = numpy_function(expression, symbols, orders)(a, b)
    result = np.array(np.broadcast_to(raw, a.shape), dtype=np.float64)
    missing = np.isnan(a) | np.isnan(b)
    slow = np.isnan(result) & ~missing
    for i, j in doubtful(expression, symbols, orders):
        slow |= _beside(a, i) & _beside(b, j)
    if slow.any():
        points, inverse = np.unique(np.stack([a[slow], b[slow]], axis=1), axis=0, return_inverse=True)
        values = [evaluate_precisely(expression, symbols, orders, float(p), float(q)) for p, q in points]
        result[slow] = np.array(values)[np.ravel(inverse)]
    result[missing] = np.nan
    return result
