"""The facts of a loss that decide whether an optimum exists and how to find it, as plain floats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..losses import MarginLoss

__all__ = ["LossShape", "shape_of"]


@dataclass(frozen=True)
class LossShape:
    """Tails, kinks and straight pieces of f.

    Attributes
    ----------
    convex : bool
        Whether f is known to be convex; False also where that could not be decided.
    left_slope, right_slope : float
        Limits of f′ at −∞ and +∞, infinite ones included.
    left_limit, right_limit : float
        Limits of f.
    flat_from, flat_until : float or None
        Where f is constant from some z on (to the right), up to some z (to the left).
    kinks : tuple of (float, float)
        Places where f′ jumps, and by how much.
    straight : tuple of (float, float)
        Maximal intervals on which f is affine.
    """

    convex: bool
    left_slope: float
    right_slope: float
    left_limit: float
    right_limit: float
    flat_from: float | None
    flat_until: float | None
    kinks: tuple[tuple[float, float], ...]
    straight: tuple[tuple[float, float], ...]

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether the straight pieces cover the real line."""
        if not self.straight or self.straight[0][0] != -np.inf or self.straight[-1][1] != np.inf:
            return False
        return all(a[1] == b[0] for a, b in zip(self.straight, self.straight[1:], strict=False))

    @property
    def is_strictly_convex(self) -> bool:
        """Whether f is convex with no straight piece."""
        return self.convex and not self.straight

    def interval(self, z: NDArray[np.float64], tolerance: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The largest interval round z on which f, without kinks, is affine; ``(z, z)`` where it is curved."""
        lower, upper = z.copy(), z.copy()
        for low, high in self.straight:
            inside = (z >= low - tolerance) & (z <= high + tolerance)
            lower[inside], upper[inside] = low, high
        return lower, upper


@lru_cache(maxsize=512)
def shape_of(loss: MarginLoss) -> LossShape:
    inf = np.inf
    known = {
        "logistic": LossShape(True, -1, 0, inf, 0, None, None, (), ()),
        "hinge": LossShape(True, -1, 0, inf, 0, 1.0, None, ((1.0, 1.0),), ((-inf, 1.0), (1.0, inf))),
        "squared": LossShape(True, -inf, inf, inf, inf, None, None, (), ()),
        "exponential": LossShape(True, -inf, 0, inf, 0, None, None, (), ()),
        "truncated_quadratic": LossShape(True, -inf, 0, inf, 0, 1.0, None, (), ((1.0, inf),)),
        "savage": LossShape(False, 0, 0, 1, 0, None, None, (), ()),
        "robust_logistic": LossShape(True, -9 / 8, -1 / 8, inf, -inf, None, None, (), ()),
        "kliep": LossShape(True, -inf, -1, inf, -inf, None, None, (), ()),
        "lsif": LossShape(False, -inf, -inf, inf, -inf, None, None, (), ()),
    }
    return known[loss.name]
