"""Where a loss of two log-ratios is least in a box.

A grid finds the valley and Newton's steps its bottom; only where they do not settle (kinks, narrow valleys that bend,
curvature that is not positive) scipy.optimize is loaded, which takes as long as the rest of an analysis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import TwoRatioLoss

_POINTS = 161
_SETTLED = 1e-9


def least_in_box(loss: TwoRatioLoss, radius: float, weight: float) -> tuple[float, float]:
    """Minimiser of F + weight·(a² + b²) for a and b within ±radius.

    Of many minimisers of F, and of ways to infinity, it is the shortest.

    Parameters
    ----------
    loss : TwoRatioLoss
    radius, weight : float
        Above 0.

    Returns
    -------
    tuple of float
        The log-ratios (a, b), in nats; to 1e-9 of their size where Newton's steps settle.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> [round(x, 4) + 0.0 for x in least_in_box(get_loss("(a-b-1)**2"), 60.0, 1e-6)]
    [0.5, -0.5]
    """
    objective = _Objective(loss, weight)
    found = objective.settled(objective.least_on_grid(radius), radius)
    if found is None:
        found = objective.descended(radius)
    return float(found[0]), float(found[1])


class _Objective:
    """F + weight·(a² + b²) and its derivatives."""

    def __init__(self, loss: TwoRatioLoss, weight: float) -> None:
        self.loss = loss
        self.weight = weight

    def value(self, x: FloatArray) -> float:
        return float(self.loss(x[0], x[1])) + self.weight * float(x @ x)

    def slope(self, x: FloatArray) -> FloatArray:
        slopes = np.array(self.loss.gradient(x[0], x[1]), dtype=np.float64)
        return np.asarray(np.clip(slopes, -1e100, 1e100) + 2 * self.weight * x)

    def curvature(self, x: FloatArray) -> FloatArray:
        of_both = float(self.loss.derivative(x[0], x[1], (1, 1)))
        of_each = [float(self.loss.derivative(x[0], x[1], orders)) for orders in ((2, 0), (0, 2))]
        return np.array([[of_each[0], of_both], [of_both, of_each[1]]]) + 2 * self.weight * np.eye(2)

    def least_on_grid(self, radius: float) -> FloatArray:
        """The least of a grid over the box, then of one between its neighbours."""
        best, reach = np.zeros(2), radius
        for points in (_POINTS, 33):
            sides = [np.clip(at + np.linspace(-reach, reach, points), -radius, radius) for at in best]
            a, b = np.meshgrid(*sides, indexing="ij", sparse=True)
            values = np.asarray(self.loss(a, b)) + self.weight * (a * a + b * b)
            place = int(np.argmin(np.where(np.isnan(values), np.inf, values)))
            best = np.array([side[k] for side, k in zip(sides, divmod(place, points), strict=True)])
            reach = 2 * reach / (points - 1)
        return best

    def settled(self, start: FloatArray, radius: float) -> FloatArray | None:
        """Where Newton's steps within the box end; None unless that is a minimum, no higher than the start."""
        x = start.copy()
        for _ in range(30):
            slope, curvature = self.slope(x), self.curvature(x)
            free = np.flatnonzero((np.abs(x) < radius) | (slope * np.sign(x) > 0))
            block = curvature[np.ix_(free, free)]
            if not np.isfinite(block).all() or (len(free) and np.linalg.eigvalsh(block)[0] <= 0):
                return None
            before = x.copy()
            x[free] = np.clip(x[free] - np.linalg.solve(block, slope[free]), -radius, radius)
            if np.abs(x - before).max() <= _SETTLED * (1 + np.abs(x).max()):
                least = self.value(start)
                return x if self.value(x) <= least + 1e-14 * (1 + abs(least)) else None
        return None

    def descended(self, radius: float) -> FloatArray:
        """The lowest of the ends of six descents by L-BFGS."""
        from scipy.optimize import minimize

        def both(x: Any) -> tuple[float, FloatArray]:
            return self.value(x), self.slope(x)

        starts = [(0.0, 0.0), (1.0, -1.0), (5.0, -5.0), (-5.0, -15.0), (-radius / 2, -radius), (radius, -radius)]
        found = [
            minimize(
                both, start, jac=True, method="L-BFGS-B", bounds=[(-radius, radius)] * 2,
                options={"ftol": 1e-16, "gtol": 1e-12},
            )
            for start in starts
        ]  # fmt: skip
        return np.asarray(min(found, key=lambda one: float(one.fun)).x)
