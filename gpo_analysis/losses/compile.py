"""From a sympy expression to functions on arrays.

An expression is rewritten into stable atoms, differentiated there, and printed for numpy or torch. Before it is used,
the printed function is compared with multi-precision arithmetic at :data:`PROBES`; around those where it disagrees (a
typed expression that cancels or overflows on its way), values are computed in multi-precision arithmetic instead:
slower, and right. No loss of the catalogue needs that; a test says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, reduce
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from gpo_analysis.arrays import AT_ONCE
from gpo_analysis.losses import atoms
from gpo_analysis.losses.precise import precise_function

PROBES: tuple[float, ...] = (
    *(-1000.0, -709.5, -300.0, -87.5, -37.0, -12.25, -3.3, -0.7, -1e-8),
    *(1e-8, 0.3, 1.9, 5.5, 20.5, 37.0, 101.0, 400.5, 745.5, 1000.0),
)
_LONGEST = 2**53
PRECISION = 1e-9  # relative; what falls below 1e-300 or above 1e300 is compared as 0 or inf


def _falling(u: Any) -> Any:
    """exp(−|u|) in an array of its own: what takes the time of large arrays is the memory of further ones."""
    size = np.atleast_1d(np.abs(u))
    np.negative(size, out=size)
    return np.exp(size, out=size)


def _expit(u: Any) -> Any:
    # e^u/(1 + e^u) where u < 0, 1/(1 + e^−u) elsewhere: as exact as scipy's, which computes one value at a time
    small = _falling(u)
    whole = small + 1.0
    np.maximum(small, np.greater_equal(u, 0.0), out=small)
    return np.divide(small, whole, out=small).reshape(np.shape(u))[()]


def _softplus(u: Any) -> Any:
    # not logaddexp(0, u): it loses the value where u < −37 only in float32, but costs two logs
    small = _falling(u)
    np.log1p(small, out=small)
    return np.add(small, np.maximum(u, 0.0), out=small).reshape(np.shape(u))[()]


def _logcosh(u: Any) -> Any:
    # near 0 the logarithms cancel to u²/2: log cosh u = ½ log(1 + sinh² u)
    size = np.abs(u)
    near = 0.5 * np.log1p(np.sinh(np.minimum(size, 1.0)) ** 2)
    return np.where(size < 1.0, near, size + np.log1p(np.exp(-2.0 * size)) - math.log(2.0))


def _special(name: str) -> Callable[[Any], Any]:
    """A function of scipy.special, which is loaded when it is called: few losses need one."""

    def call(u: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(u)

    return call


NUMPY: dict[str, Any] = {
    "softplus": _softplus,
    "expit": _expit,
    "tanh_": np.tanh,
    "logcosh": _logcosh,
    "log1p_": np.log1p,
    "expm1_": np.expm1,
    "erfc_": _special("erfc"),
    "erfcx_": _special("erfcx"),
    "logndtr": _special("log_ndtr"),
    "logsumexp": lambda *u: reduce(np.logaddexp, u),
    "signum": np.sign,
    "absolute": np.abs,
    "select": lambda u, a, b: np.where(u > 0, a, b),
    "exp": np.exp,
    "log": np.log,
    "sqrt": lambda u: np.sqrt(u + 0.0),  # of −0.0 it is −0.0, and 1/√(−z) would be −∞ at 0
    "cosh": np.cosh,
    "sinh": np.sinh,
    "atan": np.arctan,
    "erf": _special("erf"),
}


@lru_cache(maxsize=1024)
def stable_form(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> sympy.Expr:
    """The ``order``-th derivative of an expression, in stable atoms."""
    if order == 0:
        return atoms.fuse_products(atoms.rewrite(expression))
    return atoms.fuse_products(_derivative(expression, symbol, order))


@lru_cache(maxsize=1024)
def _derivative(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> sympy.Expr:
    if order == 0:
        return atoms.rewrite(expression)
    return derived(_derivative(expression, symbol, order - 1), symbol)


def derived(expression: sympy.Expr, symbol: sympy.Symbol) -> sympy.Expr:
    """The derivative, roots in one piece: sympy's of (−z)^{3/2} is 3(−z)^{3/2}/(2z), which is 0/0 at 0.

    Examples
    --------
    >>> z = sympy.Symbol("z", real=True)
    >>> derived((-z) ** sympy.Rational(3, 2), z)
    -3*sqrt(-z)/2
    """
    return expression.diff(symbol).replace(lambda part: part.is_Mul, _with_joined_roots)


def _with_joined_roots(product: sympy.Expr) -> sympy.Expr:
    """A product in which bᵖ x⁻ⁿ, p no whole number and x a factor of b, is b^{p−n} (b/x)ⁿ."""
    factors = list(product.args)
    for k, root in enumerate(factors):
        if not root.is_Pow or not root.exp.is_Rational or root.exp.is_Integer:
            continue
        for j, low in enumerate(factors):
            if low.is_Pow and low.exp.is_Integer and low.exp < 0:
                rest = root.base / low.base
                if not sympy.fraction(rest)[1].free_symbols:
                    others = [factor for i, factor in enumerate(factors) if i not in (j, k)]
                    joined = root.base ** (root.exp + low.exp) * rest ** (-low.exp)
                    return sympy.Mul(joined, *others)
    return product


def numeric_constants(expression: sympy.Expr) -> sympy.Expr:
    """Replace parts without a symbol (log 2, √π) by numbers, so that no backend is handed a bare Python number.

    Integers that an int64 does not hold become floats: torch takes no others.
    """
    if not expression.free_symbols:
        short = expression.is_Rational and max(abs(expression.p), expression.q) <= _LONGEST
        return expression if short else expression.evalf(20)
    if not expression.args:
        return expression
    return expression.func(*[numeric_constants(argument) for argument in expression.args])


def printed(
    expression: sympy.Expr, symbol: sympy.Symbol, order: int, functions: dict[str, Any]
) -> Callable[[Any], Any]:
    """The stable form as a Python function built on the ``functions`` of one array library."""
    form = numeric_constants(stable_form(expression, symbol, order))
    return sympy.lambdify([symbol], form, modules=[functions], cse=True)  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def numpy_function(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> Callable[[Any], Any]:
    """The derivative of some order as a numpy function of float64 arrays; not yet guarded."""
    return printed(expression, symbol, order, NUMPY)


def evaluate_precisely(expression: sympy.Expr, symbol: sympy.Symbol, order: int, z: float) -> float:
    """One value in multi-precision arithmetic, rounded to a float; NaN where it is not a real number."""
    return precise_function(stable_form(expression, symbol, order), symbol).value(z)


def needs_precision(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> bool:
    """Whether floating point disagrees with multi-precision arithmetic somewhere on :data:`PROBES`."""
    return bool(doubtful_ranges(expression, symbol, order))


@lru_cache(maxsize=1024)
def doubtful_ranges(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> tuple[tuple[float, float], ...]:
    """Intervals between neighbouring :data:`PROBES` at one of which floating point disagrees with many digits."""
    z = np.array(PROBES)
    with np.errstate(all="ignore"):
        found = np.broadcast_to(np.asarray(numpy_function(expression, symbol, order)(z), dtype=np.float64), z.shape)
    exact = [evaluate_precisely(expression, symbol, order, point) for point in PROBES]
    wrong = [_is_wrong(float(found[k]), exact, k) for k in range(len(PROBES))]
    ends = [-math.inf, *PROBES, math.inf]
    doubted = [wrong[0], *(a or b for a, b in pairwise(wrong)), wrong[-1]]
    return tuple((a, b) for (a, b), doubt in zip(pairwise(ends), doubted, strict=True) if doubt)


@lru_cache(maxsize=1024)
def overflow_ranges(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> tuple[tuple[float, float], ...]:
    """Intervals, less than one wide as a rule, in which a part is infinite and the value is not: e^710/2."""

    def printed_is_infinite(z: float) -> bool:
        with np.errstate(all="ignore"):
            return bool(np.isinf(numpy_function(expression, symbol, order)(np.array([z]))).all())

    def is_infinite(z: float) -> bool:
        return math.isinf(evaluate_precisely(expression, symbol, order, z))

    return infinite_early(printed_is_infinite, is_infinite)


def infinite_early(
    printed_is_infinite: Callable[[float], bool], is_infinite: Callable[[float], bool]
) -> tuple[tuple[float, float], ...]:
    """Intervals in which what is printed is infinite and the value is not, from edges between neighbouring probes.

    Parameters
    ----------
    printed_is_infinite, is_infinite : callable
        Of a number z: of the compiled expression, and of the value.
    """
    ranges = []
    infinite = [printed_is_infinite(z) for z in PROBES]
    for (a, b), (at_a, at_b) in zip(pairwise(PROBES), pairwise(infinite), strict=True):
        if at_a != at_b:
            inside, outside = (b, a) if at_a else (a, b)
            begin = _edge(printed_is_infinite, inside, outside)
            if not is_infinite(begin):
                end = _edge(is_infinite, begin, outside)
                ranges.append((min(begin, end), max(begin, end)))
    return tuple(ranges)


def _edge(beyond: Callable[[float], bool], inside: float, outside: float) -> float:
    """The first number on the way from ``inside`` to ``outside`` that is ``beyond``, by halving."""
    while True:
        middle = inside + (outside - inside) / 2
        if middle in (inside, outside):
            return outside
        inside, outside = (inside, middle) if beyond(middle) else (middle, outside)


def _is_wrong(value: float, exact: list[float], index: int) -> bool:
    truth = exact[index]
    if math.isnan(truth):
        return False
    if abs(truth) > 1e300:
        return not value * math.copysign(1.0, truth) > 1e299
    # beside a zero of the function a relative error is not to be had: its size at the next probes is the scale
    scale = max(abs(near) for near in exact[max(index - 1, 0) : index + 2] if math.isfinite(near))
    return not abs(value - truth) <= PRECISION * abs(truth) + 1e-15 * min(scale, 1e30) + 1e-300


def evaluate(expression: sympy.Expr, symbol: sympy.Symbol, order: int, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The derivative of some order at every element of ``z``, float64, same shape; overflow is a silent inf."""
    function = numpy_function(expression, symbol, order)
    with np.errstate(all="ignore"):
        if z.size > AT_ONCE:
            flat, result = np.ascontiguousarray(z).reshape(-1), np.empty(z.shape)
            values = result.reshape(-1)
            for first in range(0, z.size, AT_ONCE):
                values[first : first + AT_ONCE] = function(flat[first : first + AT_ONCE])
        else:
            result = np.asarray(function(z), dtype=np.float64)
            if result.shape != z.shape or np.may_share_memory(result, z):
                result = np.array(np.broadcast_to(result, z.shape))
        # a sum is finite only where all its terms are: nearly always one pass says that there is nothing to mend
        clean = math.isfinite(result.sum()) and not (math.isnan(z.sum()) or doubtful_ranges(expression, symbol, order))
    return result if clean else _mended(result, expression, symbol, order, z)


def _mended(
    result: NDArray[np.float64], expression: sympy.Expr, symbol: sympy.Symbol, order: int, z: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values in many digits where floats have none or are doubted; NaN where z is."""
    slow = np.isnan(result) & ~np.isnan(z)  # 0·∞ or ∞ − ∞ between the probes
    doubtful = doubtful_ranges(expression, symbol, order)
    if np.isinf(result).any():
        doubtful += overflow_ranges(expression, symbol, order)
    for low, high in doubtful:
        slow |= (z >= low) & (z <= high)
    if slow.any():
        points, inverse = np.unique(z[slow], return_inverse=True)
        values = np.array([evaluate_precisely(expression, symbol, order, float(point)) for point in points])
        result[slow] = values[inverse]
    # a constant is a constant at NaN too, but NaN in must not come out as a number
    result[np.isnan(z)] = np.nan
    return result


def module_of(array: object) -> str:
    """``"torch"`` for a torch tensor, else ``"numpy"``; does not import torch."""
    return "torch" if type(array).__module__.partition(".")[0] == "torch" or _is_tensor(array) else "numpy"


def _is_tensor(array: object) -> bool:
    import sys

    torch: ModuleType | None = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)
