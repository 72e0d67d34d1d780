"""From a sympy expression to functions on arrays.

An expression is rewritten into stable atoms, differentiated there, and printed for numpy or torch. Before it is used,
the printed function is compared with multi-precision arithmetic at :data:`PROBES`; where it disagrees (a typed
expression that cancels or overflows on its way), that order is evaluated in multi-precision arithmetic instead:
slower, and right. No loss of the catalogue needs that; a test says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, reduce
from types import ModuleType
from typing import Any

import mpmath
import numpy as np
import scipy.special
import sympy
from numpy.typing import NDArray

from gpo_analysis.losses import atoms

PROBES: tuple[float, ...] = (
    *(-1000.0, -709.5, -300.0, -87.5, -37.0, -12.25, -3.3, -0.7, -1e-8),
    *(1e-8, 0.3, 1.9, 5.5, 20.5, 37.0, 101.0, 400.5, 745.5, 1000.0),
)
PRECISION = 1e-9  # relative; what falls below 1e-300 or above 1e300 is compared as 0 or inf


def _expit(u: Any) -> Any:
    return scipy.special.expit(u)


def _softplus(u: Any) -> Any:
    # not logaddexp(0, u): it loses the value where u < −37 only in float32, but costs two logs
    return np.maximum(u, 0.0) + np.log1p(np.exp(-np.abs(u)))


def _logcosh(u: Any) -> Any:
    # near 0 the logarithms cancel to u²/2: log cosh u = ½ log(1 + sinh² u)
    size = np.abs(u)
    near = 0.5 * np.log1p(np.sinh(np.minimum(size, 1.0)) ** 2)
    return np.where(size < 1.0, near, size + np.log1p(np.exp(-2.0 * size)) - math.log(2.0))


NUMPY: dict[str, Any] = {
    "softplus": _softplus,
    "expit": _expit,
    "tanh_": np.tanh,
    "logcosh": _logcosh,
    "log1p_": np.log1p,
    "expm1_": np.expm1,
    "erfc_": scipy.special.erfc,
    "erfcx_": scipy.special.erfcx,
    "logndtr": scipy.special.log_ndtr,
    "logsumexp": lambda *u: reduce(np.logaddexp, u),
    "signum": np.sign,
    "absolute": np.abs,
    "select": lambda u, a, b: np.where(u > 0, a, b),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "cosh": np.cosh,
    "sinh": np.sinh,
    "atan": np.arctan,
    "erf": scipy.special.erf,
}

MPMATH: dict[str, Any] = {
    "softplus": lambda u: mpmath.log1p(mpmath.exp(u)) if u < 0 else u + mpmath.log1p(mpmath.exp(-u)),
    "expit": lambda u: 1 / (1 + mpmath.exp(-u)),
    "tanh_": mpmath.tanh,
    "logcosh": lambda u: mpmath.log(mpmath.cosh(u)),
    "log1p_": mpmath.log1p,
    "expm1_": mpmath.expm1,
    "erfc_": mpmath.erfc,
    "erfcx_": lambda u: mpmath.exp(u * u) * mpmath.erfc(u),
    "logndtr": lambda u: mpmath.log(mpmath.erfc(-u / mpmath.sqrt(2)) / 2),
    "logsumexp": lambda *u: mpmath.log(mpmath.fsum(mpmath.exp(x) for x in u)),
    "signum": mpmath.sign,
    "absolute": abs,
    "select": lambda u, a, b: a if u > 0 else b,
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
    return _derivative(expression, symbol, order - 1).diff(symbol)


def numeric_constants(expression: sympy.Expr) -> sympy.Expr:
    """Replace parts without a symbol (log 2, √π) by numbers, so that no backend is handed a bare Python number."""
    if not expression.free_symbols:
        return expression if expression.is_Rational else expression.evalf(20)
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


@lru_cache(maxsize=1024)
def _mpmath_function(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> Callable[[Any], Any]:
    form = stable_form(expression, symbol, order)
    return sympy.lambdify([symbol], form, modules=[MPMATH, "mpmath"])  # type: ignore[no-any-return]


def evaluate_precisely(expression: sympy.Expr, symbol: sympy.Symbol, order: int, z: float) -> float:
    """One value in multi-precision arithmetic, rounded to a float; NaN where it is not a real number."""
    if not math.isfinite(z):
        return math.nan
    function = _mpmath_function(expression, symbol, order)
    # a difference of exponentials cancels about |z|/log 10 digits
    with mpmath.workdps(60 + math.ceil(abs(z))):
        try:
            value = function(mpmath.mpf(z))
        except (ZeroDivisionError, ValueError):
            return math.nan
        except OverflowError:
            return math.inf
        if isinstance(value, mpmath.mpc):
            if abs(value.imag) > abs(value.real) * mpmath.mpf(10) ** -40:
                return math.nan
            value = value.real
        return float(value)


@lru_cache(maxsize=1024)
def needs_precision(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> bool:
    """Whether floating point disagrees with multi-precision arithmetic somewhere on :data:`PROBES`."""
    z = np.array(PROBES)
    with np.errstate(all="ignore"):
        found = np.broadcast_to(np.asarray(numpy_function(expression, symbol, order)(z), dtype=np.float64), z.shape)
    exact = [evaluate_precisely(expression, symbol, order, point) for point in PROBES]
    for index, (value, truth) in enumerate(zip(found, exact, strict=True)):
        if math.isnan(truth):
            continue
        if abs(truth) > 1e300:
            if not value * math.copysign(1.0, truth) > 1e299:
                return True
            continue
        # beside a zero of the function a relative error is not to be had: its size at the next probes is the scale
        scale = max(abs(near) for near in exact[max(index - 1, 0) : index + 2] if math.isfinite(near))
        if not abs(value - truth) <= PRECISION * abs(truth) + 1e-15 * min(scale, 1e30) + 1e-300:
            return True
    return False


def evaluate(expression: sympy.Expr, symbol: sympy.Symbol, order: int, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The derivative of some order at every element of ``z``, float64, same shape; overflow is a silent inf."""
    if needs_precision(expression, symbol, order):
        values = [evaluate_precisely(expression, symbol, order, float(point)) for point in z.ravel()]
        return np.array(values, dtype=np.float64).reshape(z.shape)
    with np.errstate(all="ignore"):
        raw = numpy_function(expression, symbol, order)(z)
    result = np.array(np.broadcast_to(raw, z.shape), dtype=np.float64)
    for index in np.argwhere(np.isnan(result) & ~np.isnan(z)):  # 0·∞ or ∞ − ∞ between the probes
        result[tuple(index)] = evaluate_precisely(expression, symbol, order, float(z[tuple(index)]))
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
