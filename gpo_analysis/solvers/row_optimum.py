"""The optimum in general coordinates: ``min_v Σ_k w_k f(rows_k · v)``, its existence decided by linear programs.

What is kept apart for pairs (rows e_i − e_j, :mod:`.optimum`): there existence and uniqueness are questions on a graph,
answered exactly and in linear time, many problems share one iteration, and a polygonal f gives a flow whose vertices
are exact. Newton's method for one problem is the same (:mod:`.rows`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import linprog

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import LossShape, shape_of
from gpo_analysis.solvers.functions import Differentiable, Stretched, stretched, unit_of
from gpo_analysis.solvers.minimum import Minimum, Status, nowhere
from gpo_analysis.solvers.recession import can_move, least_norm_within, moved_to_infinity, steepest_recession
from gpo_analysis.solvers.rows import WeightedRows, newton


def minimise_rows(problem: WeightedRows, loss: MarginLoss) -> Minimum:
    """Minimise ``Σ w f(rows · v)``, or say why there is no minimum.

    Parameters
    ----------
    problem : WeightedRows
        Rows of full column rank, without a shift.
    loss : MarginLoss
        Smooth, or piecewise linear and convex.

    Returns
    -------
    Minimum
        Of the sum alone; ``reward`` is v, of least norm where it is not unique.
    """
    unit, shape = unit_of(loss), shape_of(loss)
    found = _Case(problem, Stretched(loss, unit), stretched(shape, unit)).solved()
    return replace(found, reward=unit * found.reward, error=unit * found.error)


@dataclass(frozen=True, eq=False)
class _Case:
    problem: WeightedRows
    loss: Differentiable
    shape: LossShape

    @property
    def d(self) -> int:
        return int(self.problem.rows.shape[1])

    def solved(self) -> Minimum:
        rows, weight, shape = self.problem.rows, self.problem.weight, self.shape
        if not shape.convex:
            return self.stationary()
        if steepest_recession(rows, weight, shape.left_slope, shape.right_slope) < 0:
            reason = "along a direction of w the loss falls for ever"
            return Minimum(nowhere(self.d), -np.inf, Status.UNBOUNDED_BELOW, reason)
        if shape.flat_from is None and shape.flat_until is None:
            away = moved_to_infinity(rows, weight, shape.left_slope, shape.right_slope)
            if away.any():
                return self.without_finite_optimum(away)
        if shape.is_piecewise_linear:
            return self.among(*self.linear())
        found = newton(self.problem, self.loss)
        if not found.converged:
            return found
        z = self.problem.margins(found.reward)
        return self.among(found, *shape.interval(z, 1e-9 * (1.0 + np.abs(z).max())))

    def among(self, found: Minimum, lower: FloatArray, upper: FloatArray) -> Minimum:
        """The answer at a minimiser, where all minimisers are those with margins in [lower, upper]."""
        rows, v = self.problem.rows, found.reward
        if not can_move(rows, rows @ v, lower, upper):
            return replace(found, reason="the minimum, at one policy only")
        nearest = least_norm_within(rows, lower, upper, v)
        reason = "the loss is flat around its minimum"
        return replace(found, reward=nearest, status=Status.NOT_UNIQUE, reason=reason)

    def stationary(self) -> Minimum:
        """Where descent from πref leads, for an f that is not convex."""
        found = newton(self.problem, self.loss, convex=False)
        v, value = found.reward, found.value
        if value < -1e3 * (1.0 + abs(float(self.loss(np.zeros(()))))):
            reason = "descent from the reference does not end"
            return replace(found, reward=nowhere(self.d), value=-np.inf, status=Status.UNBOUNDED_BELOW, reason=reason)
        slope = self.problem.weight * self.loss.derivative(self.problem.margins(v))
        pull = np.abs(self.problem.rows).T @ np.abs(slope)
        if not found.converged or np.abs(self.problem.rows.T @ slope).max() > 1e-6 * pull.max():  # slopes only vanish
            away = np.abs(self.problem.margins(v)).max()
            reason = f"descent from the reference runs off, past margins of {away:.3g}"
            return replace(found, reward=nowhere(self.d), status=Status.NO_FINITE_OPTIMUM, reason=reason)
        reason = "f is not convex; descent from the reference leads here"
        return replace(found, status=Status.STATIONARY_POINT, reason=reason)

    def without_finite_optimum(self, away: BoolArray) -> Minimum:
        """Pairs at ``away`` go to their limit; the infimum is that limit and the minimum over the others."""
        rows, weight = self.problem.rows[~away], self.problem.weight[~away]
        infimum = float(self.problem.weight[away].sum()) * self.shape.right_limit
        if np.abs(rows).max(initial=0.0) > 0:
            infimum += newton(WeightedRows(rows, weight), self.loss).value
        else:
            infimum += float(weight.sum()) * float(self.loss(np.zeros(())))
        reason = f"the features separate {int(away.sum())} of {len(away)} ordered pairs, whose margins grow for ever"
        return Minimum(nowhere(self.d), infimum, Status.NO_FINITE_OPTIMUM, reason)

    def linear(self) -> tuple[Minimum, FloatArray, FloatArray]:
        """A minimiser of a piecewise linear loss by linear programming, and the intervals of all of them."""
        rows, weight = self.problem.rows, self.problem.weight
        kinks = np.array([kink for kink, _ in self.shape.kinks])
        slopes = self.shape.left_slope + np.concatenate([[0.0], np.cumsum([jump for _, jump in self.shape.kinks])])
        if not len(kinks):  # f is a line: with no direction of descent every w is a minimiser
            free = np.full(len(weight), np.inf)
            return self.point(np.zeros(self.d)), -free, free
        # Lines a_j + s_j z under f; t_k ≥ a_j + s_j z_k.
        values = self.loss(kinks)
        starts = np.concatenate([[values[0] - slopes[0] * kinks[0]], values - slopes[1:] * kinks])
        k, d = rows.shape
        solver: Any = linprog
        above = np.vstack([np.hstack([s * rows, -np.eye(k)]) for s in slopes])
        found = solver(
            np.concatenate([np.zeros(d), weight]), A_ub=above, b_ub=-np.repeat(starts, k),
            bounds=[(None, None)] * (d + k), method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )  # fmt: skip
        if found.x is None:
            raise RuntimeError(f"the linear program of the loss was not solved: {found.message}")
        # The multipliers give a subgradient of each f(z_k); minimisers are the w at which it stays one.
        multiplier = -found.ineqlin.marginals.reshape(len(slopes), k) / weight
        slope = slopes @ multiplier
        tolerance = 1e-7 * np.abs(slopes).max()
        lower, upper = np.full(k, -np.inf), np.full(k, np.inf)
        for j, kink in enumerate(kinks):
            lower = np.where(slope > slopes[j] + tolerance, kink, lower)
        for j, kink in reversed(list(enumerate(kinks))):
            upper = np.where(slope < slopes[j + 1] - tolerance, kink, upper)
        return self.point(found.x[:d]), lower, upper

    def point(self, v: FloatArray) -> Minimum:
        """A minimiser."""
        return Minimum(v, self.problem.value(self.loss, v), Status.OPTIMUM)
