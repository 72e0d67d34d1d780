"""Functions of a margin as the solvers take them: f itself, stretched to a unit of its own, averaged over a window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import LossShape


class Differentiable(Protocol):
    """f and its derivatives on arrays, of which a :class:`~gpo_analysis.losses.MarginLoss` is one."""

    def __call__(self, z: FloatArray, /) -> FloatArray: ...
    def derivative(self, z: FloatArray, /, order: int = 1) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class Stretched:
    """``y → f(unit · y)``."""

    loss: Differentiable
    unit: float

    def __call__(self, y: FloatArray, /) -> FloatArray:
        return self.derivative(y, order=0)

    def derivative(self, y: FloatArray, /, order: int = 1) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):  # silent, as that of f itself is
            return self.unit**order * self.loss.derivative(self.unit * np.asarray(y, dtype=np.float64), order=order)


_NODES, _SHARES = (np.array(part) for part in np.polynomial.legendre.leggauss(20))
_SHARES /= 2.0  # of the whole window


@dataclass(frozen=True, eq=False)
class Blurred:
    """f averaged over ``[z − width, z + width]`` by Gauss's rule: convex as f is, curved wherever f bends nearby."""

    loss: Differentiable
    width: float

    def __call__(self, z: FloatArray, /) -> FloatArray:
        return self.derivative(z, order=0)

    def derivative(self, z: FloatArray, /, order: int = 1) -> FloatArray:
        values = self.loss.derivative(z[..., None] + self.width * _NODES, order=order)
        with np.errstate(over="ignore", invalid="ignore"):  # ∞ of either sign within the window
            return np.asarray(values @ _SHARES)


@lru_cache(maxsize=512)
def unit_of(loss: MarginLoss) -> float:
    """The scale of z on which f changes its slope and curvature, a power of 16 (1 for the six of the paper).

    It is where f′ first departs from f′(0) by a quarter, and f″ from f″(0), the larger of the two. Solvers work in this
    unit, so that no tolerance of theirs depends on how z is measured.
    """
    powers = 2.0 ** np.arange(-200, 201)
    scales = [1e-300]
    for order in (1, 2):
        with np.errstate(all="ignore"):
            at_zero = float(loss.derivative(np.zeros(()), order=order))
            right, left = loss.derivative(powers, order=order), loss.derivative(-powers, order=order)
            change = np.maximum(np.abs(right - at_zero), np.abs(left - at_zero))
            departed = change >= 0.25 * np.maximum(np.maximum(np.abs(right), np.abs(left)), abs(at_zero))
        departed &= np.isfinite(change) & (change > 0)
        if departed.any() and not departed[0]:  # from the least power on: there is no scale, as for z² or |z|
            scales.append(float(powers[np.argmax(departed)]))
    return float(16.0 ** np.round(np.log2(max(scales)) / 4)) if len(scales) > 1 else 1.0


def stretched(shape: LossShape, unit: float) -> LossShape:
    """The shape of ``y → f(unit · y)``."""
    return replace(
        shape,
        left_slope=shape.left_slope * unit,
        right_slope=shape.right_slope * unit,
        flat_from=None if shape.flat_from is None else shape.flat_from / unit,
        flat_until=None if shape.flat_until is None else shape.flat_until / unit,
        kinks=tuple((kink / unit, jump * unit) for kink, jump in shape.kinks),
        straight=tuple((low / unit, high / unit) for low, high in shape.straight),
    )
