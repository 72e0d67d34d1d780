r"""The gradient flow of a piecewise linear convex loss (hinge), followed exactly.

``dθ/dt = −(element of least norm of ∂L(θ))`` is the one solution of the inclusion ``dθ/dt ∈ −∂L(θ)`` (Brézis 1973).
Its velocity stays constant until some pair's margin reaches a kink of f; there the element of least norm is found
anew, by bounded least squares over the slopes that the pairs at a kink may have. Pairs whose margin stays at a kink
slide along it, as they do at hinge's optimum, where descent with any fixed step would rattle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.training.objective import Objective

AT_KINK = 1e-9
MOST_EVENTS = 100_000


def has_jump(loss: MarginLoss) -> bool:
    """Whether f′ jumps somewhere.

    Raises
    ------
    ValueError
        Where it does and f is not piecewise linear and convex: its flow is not offered.
    """
    shape = shape_of(loss)
    if not shape.kinks:
        return False
    if not (shape.convex and shape.is_piecewise_linear):
        kinks = ", ".join(f"{kink:g}" for kink, _ in shape.kinks)
        raise ValueError(
            f"{loss.name} has jumps in its slope at z = {kinks} without being piecewise linear and convex; the flow "
            "takes smooth losses and piecewise linear convex ones: use gd or adam"
        )
    return True


@dataclass(frozen=True, eq=False)
class Polygon:
    """The flow of ``Σ_k weight_k f(z_k)`` with margins ``z = offset + rows @ w`` linear in the parameters w.

    Attributes
    ----------
    rows : array, shape (k, p)
    offset : array, shape (k,)
    weight : array, shape (k,)
    kinks : array, shape (r,)
        Ascending.
    slopes : array, shape (r + 1,)
        f′ before, between and after the kinks; ascending.
    """

    rows: FloatArray
    offset: FloatArray
    weight: FloatArray
    kinks: FloatArray
    slopes: FloatArray

    @classmethod
    def of(cls, objective: Objective, features: FloatArray | None) -> Polygon:
        """The polygon of a lone run."""
        loss = objective.groups[0][0]
        shape = shape_of(loss)
        beta = float(objective.beta[0, 0])
        phi = np.eye(objective.size) if features is None else features
        winner, loser = objective.winner[0], objective.loser[0]
        start = np.zeros(objective.size) if features is not None else -objective.log_reference[0]
        jumps = np.array([jump for _, jump in shape.kinks])
        return cls(
            beta * (phi[winner] - phi[loser]),
            beta * (start[winner] - start[loser]),
            objective.weight[0],
            np.array([kink for kink, _ in shape.kinks]),
            shape.left_slope + np.concatenate([[0.0], np.cumsum(jumps)]),
        )

    def velocity(self, margins: FloatArray) -> FloatArray:
        """Minus the element of least norm of the subdifferential at these margins, shape (p,)."""
        piece = np.searchsorted(self.kinks, margins)
        nearest = np.abs(margins[:, None] - self.kinks).argmin(axis=1)
        at_kink = np.abs(margins - self.kinks[nearest]) <= AT_KINK * (1.0 + np.abs(self.kinks[nearest]))
        low = np.where(at_kink, self.slopes[nearest], self.slopes[piece])
        fixed = (self.weight * low) @ self.rows
        if not at_kink.any():
            return np.asarray(-fixed)
        free = (self.weight[at_kink, None] * self.rows[at_kink]).T
        # Pairs with the same row up to scale make the matrix rank-deficient; the velocity is unique all the same.
        room = self.slopes[nearest[at_kink] + 1] - low[at_kink]
        found = lsq_linear(free, -fixed, bounds=(np.zeros(room.size), room), method="bvls", tol=1e-14)
        return np.asarray(-(fixed + free @ found.x))

    def follow(self, parameters: FloatArray, duration: float) -> tuple[FloatArray, str]:
        """Parameters after ``duration``; and an empty text, or why that was not reached."""
        w, left = parameters.copy(), duration
        scale = float(np.abs(self.weight @ np.abs(self.rows)).max()) * float(np.abs(self.slopes).max())
        for _ in range(MOST_EVENTS):
            margins = self.offset + self.rows @ w
            velocity = self.velocity(margins)
            if np.abs(velocity).max() <= 1e-13 * scale:  # rounding of a velocity of zero: at rest
                return w, ""
            drift = self.rows @ velocity
            distance = self.kinks - margins[:, None]
            ahead = np.abs(distance) > AT_KINK * (1.0 + np.abs(self.kinks))
            moving = np.abs(drift)[:, None] > 1e-12 * scale * np.abs(self.rows).max()
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                times = distance / drift[:, None]
            times = np.where(ahead & moving & (times > 0), times, np.inf)
            step = min(float(times.min()), left)
            w = w + step * velocity
            left -= step
            if left <= 0:
                return w, ""
        return w, f"more than {MOST_EVENTS} kinks were met"
