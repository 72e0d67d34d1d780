"""Losses on torch tensors, with autograd of every order.

The derivative that autograd sees is the stable form of f′, never the derivative of the code that computes f: so
gradients are finite wherever f′ is, and a kink has the subgradient that the numpy form has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import sympy
import torch

from gpo_analysis.losses import compile_two
from gpo_analysis.losses.compile import PROBES, evaluate, infinite_early, needs_precision, overflow_ranges, printed
from gpo_analysis.losses.compile_two import Orders, Symbols

#: Beyond what float32 holds, ±inf is right.
_FLOAT32 = 3e38


def _softplus(u: torch.Tensor) -> torch.Tensor:
    return -torch.nn.functional.logsigmoid(-u)  # torch's own softplus rounds to u above a threshold


def _logcosh(u: torch.Tensor) -> torch.Tensor:
    size = u.abs()
    near = 0.5 * torch.log1p(torch.sinh(size.clamp(max=1.0)) ** 2)
    return torch.where(size < 1.0, near, size + torch.log1p(torch.exp(-2.0 * size)) - math.log(2.0))


def _select(u: torch.Tensor, a: torch.Tensor | float, b: torch.Tensor | float) -> torch.Tensor:
    return torch.where(
        u > 0, torch.as_tensor(a, dtype=u.dtype, device=u.device), torch.as_tensor(b, dtype=u.dtype, device=u.device)
    )


def _logsumexp(*u: torch.Tensor | float) -> torch.Tensor:
    like = next(part for part in u if isinstance(part, torch.Tensor))
    # in pairs: torch.logsumexp rounds log(1 + 1e-17) to 0
    return reduce(torch.logaddexp, [torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in u])


TORCH: dict[str, Any] = {
    "softplus": _softplus,
    "expit": torch.sigmoid,
    "tanh_": torch.tanh,
    "logcosh": _logcosh,
    "log1p_": torch.log1p,
    "expm1_": torch.expm1,
    "erfc_": torch.erfc,
    "erfcx_": torch.special.erfcx,
    "logndtr": torch.special.log_ndtr,
    "logsumexp": _logsumexp,
    "signum": torch.sign,
    "absolute": torch.abs,
    "select": _select,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": lambda u: torch.sqrt(u + 0.0),
    "cosh": torch.cosh,
    "sinh": torch.sinh,
    "atan": torch.atan,
    "erf": torch.erf,
}


@lru_cache(maxsize=1024)
def _torch_function(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> Callable[[torch.Tensor], Any]:
    return printed(expression, symbol, order, TORCH)


@lru_cache(maxsize=1024)
def needs_double(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> bool:
    """Whether float32 overflows or cancels on its way to a value that it could hold, somewhere on :data:`PROBES`."""
    z = np.array(PROBES)
    truth = evaluate(expression, symbol, order, z)
    narrow = torch.as_tensor(_torch_function(expression, symbol, order)(torch.from_numpy(z).float()))
    found = np.broadcast_to(narrow.double().numpy(), z.shape)
    inside = np.abs(truth) < _FLOAT32
    scale = np.maximum.reduce([np.roll(np.abs(np.where(inside, truth, 0.0)), k) for k in (-1, 0, 1)])
    with np.errstate(invalid="ignore"):
        right = np.abs(found - truth) <= 1e-3 * np.abs(truth) + 1e-5 * np.minimum(scale, 1.0) + 1e-36
    return bool(np.any(inside & ~right))


@lru_cache(maxsize=1024)
def _narrow_overflow(expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> tuple[tuple[float, float], ...]:
    """`overflow_ranges` of float32: intervals in which a part is infinite there and the value is not, e^89/2."""
    function, most = _torch_function(expression, symbol, order), float(np.finfo(np.float32).max)

    def printed_is_infinite(z: float) -> bool:
        return bool(torch.as_tensor(function(torch.tensor([z], dtype=torch.float32))).isinf().all())

    def is_infinite(z: float) -> bool:
        return bool(np.abs(evaluate(expression, symbol, order, np.array([z])))[0] > most)

    return infinite_early(printed_is_infinite, is_infinite)


def _values(z: torch.Tensor, expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> torch.Tensor:
    if needs_precision(expression, symbol, order):
        precise = evaluate(expression, symbol, order, z.detach().double().cpu().numpy())
        return torch.from_numpy(precise).to(dtype=z.dtype, device=z.device)
    if z.dtype != torch.float64 and needs_double(expression, symbol, order):
        return _values(z.double(), expression, symbol, order).to(z.dtype)
    # half precision is computed in float32: bfloat16 has 8 bits, too few for a margin of some size
    wide = z if z.dtype in (torch.float32, torch.float64) else z.float()
    found = torch.as_tensor(_torch_function(expression, symbol, order)(wide), dtype=wide.dtype, device=z.device)
    found = torch.where(torch.isnan(wide), wide, found)
    early = overflow_ranges if wide.dtype == torch.float64 else _narrow_overflow
    if ranges := early(expression, symbol, order):
        inside = reduce(torch.logical_or, [(wide >= low) & (wide <= high) for low, high in ranges])
        precise = evaluate(expression, symbol, order, wide.detach()[inside].double().cpu().numpy())
        found[inside] = torch.from_numpy(precise).to(dtype=found.dtype, device=z.device)
    return found.to(z.dtype)


class _Margin(torch.autograd.Function):
    """f⁽ᵒʳᵈᵉʳ⁾(z), whose derivative is the next order."""

    @staticmethod
    def forward(z: torch.Tensor, expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> torch.Tensor:
        return _values(z, expression, symbol, order)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], z: torch.Tensor, *of: Any) -> tuple[torch.Tensor, Any]:
        """Of every element by itself, so that a batch of tensors is one tensor."""
        return _Margin.apply(z, *of), in_dims[0]  # type: ignore[no-untyped-call]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        z, ctx.expression, ctx.symbol, ctx.order = inputs
        ctx.save_for_backward(z)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (z,) = ctx.saved_tensors
        return grad * apply(z, ctx.expression, ctx.symbol, ctx.order + 1), None, None, None


def apply(z: torch.Tensor, expression: sympy.Expr, symbol: sympy.Symbol, order: int) -> torch.Tensor:
    """f⁽ᵒʳᵈᵉʳ⁾(z) for a floating-point tensor of any shape; same shape, dtype and device."""
    if not z.is_floating_point():
        raise TypeError(f"a margin must be a floating-point tensor, got dtype {z.dtype}")
    result: torch.Tensor = _Margin.apply(z, expression, symbol, order)  # type: ignore[no-untyped-call]
    return result


# ---- two log-ratios --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _two_function(expression: sympy.Expr, symbols: Symbols, orders: Orders) -> Callable[..., Any]:
    return compile_two.printed(expression, symbols, orders, TORCH)


@lru_cache(maxsize=512)
def _needs_double_two(expression: sympy.Expr, symbols: Symbols, orders: Orders) -> bool:
    """:func:`needs_double` on the grid of two log-ratios."""
    points = np.array(compile_two.PROBES)
    x, y = (np.ascontiguousarray(part) for part in np.meshgrid(points, points, indexing="ij"))
    truth = compile_two.evaluate(expression, symbols, orders, x, y)
    narrow = torch.as_tensor(
        _two_function(expression, symbols, orders)(torch.from_numpy(x).float(), torch.from_numpy(y).float())
    )
    found = np.broadcast_to(narrow.double().numpy(), x.shape)
    inside = np.abs(truth) < _FLOAT32
    with np.errstate(invalid="ignore"):
        right = np.abs(found - truth) <= 1e-3 * np.abs(truth) + 1e-5
    return bool(np.any(inside & ~right))


def _two_values(
    a: torch.Tensor, b: torch.Tensor, expression: sympy.Expr, symbols: Symbols, orders: Orders
) -> torch.Tensor:
    if compile_two.doubtful(expression, symbols, orders):
        x, y = (part.detach().double().cpu().numpy() for part in (a, b))
        precise = torch.from_numpy(compile_two.evaluate(expression, symbols, orders, x, y))
        return precise.to(dtype=a.dtype, device=a.device)
    if a.dtype != torch.float64 and _needs_double_two(expression, symbols, orders):
        return _two_values(a.double(), b.double(), expression, symbols, orders).to(a.dtype)
    wide = [x if x.dtype in (torch.float32, torch.float64) else x.float() for x in (a, b)]
    raw = _two_function(expression, symbols, orders)(*wide)
    found = torch.as_tensor(raw, dtype=wide[0].dtype, device=a.device).broadcast_to(a.shape)
    missing = torch.isnan(a) | torch.isnan(b)
    return torch.where(missing, torch.nan, found).to(a.dtype)


class _TwoRatios(torch.autograd.Function):
    """∂ⁱ⁺ʲF(a, b), whose derivatives are the next orders."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        a: torch.Tensor, b: torch.Tensor, expression: sympy.Expr, symbols: Symbols, orders: Orders
    ) -> torch.Tensor:
        return _two_values(a, b, expression, symbols, orders)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        a, b, ctx.expression, ctx.symbols, ctx.orders = inputs
        ctx.save_for_backward(a, b)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        a, b = ctx.saved_tensors
        i, j = ctx.orders
        first = grad * apply_two(a, b, ctx.expression, ctx.symbols, (i + 1, j)) if ctx.needs_input_grad[0] else None
        second = grad * apply_two(a, b, ctx.expression, ctx.symbols, (i, j + 1)) if ctx.needs_input_grad[1] else None
        return first, second, None, None, None


def apply_two(
    a: torch.Tensor | float, b: torch.Tensor | float, expression: sympy.Expr, symbols: Symbols, orders: Orders
) -> torch.Tensor:
    """∂ⁱ⁺ʲF at two floating-point tensors that broadcast; their common shape, the wider dtype, one device."""
    like = a if isinstance(a, torch.Tensor) else b
    assert isinstance(like, torch.Tensor)
    x, y = (torch.as_tensor(part, device=like.device) for part in (a, b))
    if not (x.is_floating_point() or y.is_floating_point()):
        raise TypeError(f"log-ratios must be floating-point tensors, got dtypes {x.dtype} and {y.dtype}")
    kept = torch.promote_types(x.dtype, y.dtype)
    shape: Any = torch.broadcast_shapes(x.shape, y.shape)  # type: ignore[no-untyped-call]
    x, y = x.to(kept).expand(shape), y.to(kept).expand(shape)
    result: torch.Tensor = _TwoRatios.apply(x, y, expression, symbols, orders)  # type: ignore[no-untyped-call]
    return result
