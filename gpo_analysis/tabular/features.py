r"""Policies with linear features, ``π ∝ πref exp(Φw)``: what is never compared moves with what is.

The margin of a pair is linear in w, ``z = β (φ_winner − φ_loser)·w``, so that a convex f gives a convex problem. Its
optimum is found by Newton's method; where none is finite or unique this is decided first, by linear programs over
the directions along which the loss never rises (:mod:`.recession`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.losses import MarginLoss, get_loss
from gpo_analysis.losses.shape import LossShape, shape_of
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.solvers.recession import can_move, least_norm_within, moved_to_infinity, steepest_recession
from gpo_analysis.tabular.problem import PreferenceProblem

MOST_STEPS = 500


@dataclass(frozen=True, eq=False)
class FeatureSolution:
    """Population optimum over policies ``πref exp(Φw)/Z``.

    Attributes
    ----------
    weights : array, shape (d,)
        w; of least norm where several give the same policy. NaN where there is no finite or no unique optimum.
    policy, log_ratio : array, shape (n,) or (m, n)
        π and log π/πref; NaN likewise.
    population_loss : float
        The minimum, or the infimum where it is not reached; −inf where there is none.
    kl, mu_squared_loss : float
        KL(π‖πref) in nats, ½E[ρ²] over the problem's pairs; NaN likewise.
    converged : bool
        Whether the policy is the answer: the only optimum, or for f not convex a stationary point.
    status : str
        "optimum", "no finite optimum", "not unique", "unbounded below", "stationary point" (f not convex) or "not
        converged", then a colon and the reason.
    representative : array, shape (d,), or None
        Where the minimum is reached but not at one policy: the minimiser of least norm of w.
    """

    weights: FloatArray
    policy: FloatArray
    log_ratio: FloatArray
    population_loss: float
    kl: float
    mu_squared_loss: float
    converged: bool
    status: str
    representative: FloatArray | None = None


def check_features(features: ArrayLike, problem: PreferenceProblem) -> FloatArray:
    """Features as a float array, shape (n, d) or (m, n, d).

    Raises
    ------
    ValueError
        For values that are not finite, or a shape that does not fit the problem.
    """
    phi = np.array(features, dtype=np.float64)
    if phi.shape[:-1] != problem.shape or phi.shape[-1] == 0:
        raise ValueError(f"features must have shape (*{problem.shape}, d), got {phi.shape}")
    if not np.isfinite(phi).all():
        raise ValueError("features must be finite")
    return phi


def solve_features(
    problem: PreferenceProblem, features: ArrayLike, loss: MarginLoss | str, beta: float
) -> FeatureSolution:
    """Minimise ``E f(βρ)`` over policies ``πref exp(Φw)/Z``.

    Parameters
    ----------
    problem : PreferenceProblem
    features : array, shape (n, d) or (m, n, d)
    loss : MarginLoss or str
        Smooth, or piecewise linear and convex. Where f is not convex the stationary point that descent from πref
        reaches is returned, and said to be one.
    beta : float
        Finite and positive.

    Returns
    -------
    FeatureSolution

    Raises
    ------
    ValueError
        For bad input, and for losses with jumps in the slope that are not piecewise linear and convex.

    Examples
    --------
    Only the first two of three responses are compared; the third, halfway in its feature, moves too.

    >>> problem = PreferenceProblem([[0.5, 0.8, 0.5], [0.2, 0.5, 0.5], [0.5, 0.5, 0.5]], behavior=[0.5, 0.5, 0.0])
    >>> found = solve_features(problem, [[1.0], [0.0], [0.5]], "logistic", beta=1.0)
    >>> bool(np.isclose(found.weights[0], np.log(4))), found.policy.round(3)
    (True, array([0.571, 0.143, 0.286]))
    """
    f = get_loss(loss) if isinstance(loss, str) else loss
    scale = check_positive(beta, "beta")
    phi = check_features(features, problem)
    return _Fit(problem, phi, f, scale).solve()


class _Fit:
    """One problem, in coordinates v = Qᵀ βw of what the pairs can see: margins are ``z = rows @ v``."""

    def __init__(self, problem: PreferenceProblem, phi: FloatArray, loss: MarginLoss, beta: float) -> None:
        self.problem, self.loss, self.beta = problem, loss, beta
        pairs = problem.directed_pairs()
        self.table = phi.reshape(problem.contexts, problem.n, -1)
        difference = self.table[pairs.context, pairs.winner] - self.table[pairs.context, pairs.loser]
        self.weight, self.diagonal = pairs.weight, pairs.diagonal_mass
        _, sizes, axes = np.linalg.svd(difference, full_matrices=True)
        rank = int(np.sum(sizes > 1e-11 * max(sizes.max(initial=0.0), 1e-300)))
        self.seen, unseen = axes[:rank].T, axes[rank:].T
        self.rows = difference @ self.seen
        drift = self.table @ unseen
        size = float(np.abs(self.table).max())
        self.hidden = bool(np.ptp(drift, axis=1).max(initial=0.0) > 1e-9 * size)
        self.shape: LossShape = shape_of(loss)

    def value(self, v: FloatArray) -> float:
        with np.errstate(over="ignore"):
            return float(self.weight @ self.loss(self.rows @ v)) + self.at_zero()

    def at_zero(self) -> float:
        return self.diagonal * float(self.loss(np.zeros(()))) if self.diagonal else 0.0

    def solve(self) -> FeatureSolution:
        shape = self.shape
        if shape.kinks and not (shape.convex and shape.is_piecewise_linear):
            raise ValueError(
                f"{self.loss.name} has jumps in its slope without being piecewise linear and convex; solve_features "
                "takes smooth losses and piecewise linear convex ones"
            )
        if not len(self.weight) or not self.rows.shape[1]:
            zero = np.zeros(self.rows.shape[1])
            return self.answer(zero, "no pair tells the features apart", several=self.hidden)
        if not shape.convex:
            return self.descend()
        steepest = steepest_recession(self.rows, self.weight, shape.left_slope, shape.right_slope)
        if steepest < 0:
            return self.without("unbounded below: along a direction of w the loss falls for ever", -np.inf)
        if shape.flat_from is None and shape.flat_until is None:
            away = moved_to_infinity(self.rows, self.weight, shape.left_slope, shape.right_slope)
            if away.any():
                return self.without_finite_optimum(away)
        if shape.is_piecewise_linear:
            return self.among(*self.linear())
        v, reached = self.newton(np.zeros(self.rows.shape[1]))
        if not reached:
            return self.without("not converged: Newton's method stopped short of the minimum", self.value(v))
        z = self.rows @ v
        return self.among(v, *shape.interval(z, 1e-9 * (1.0 + np.abs(z).max())))

    def among(self, v: FloatArray, lower: FloatArray, upper: FloatArray) -> FeatureSolution:
        """The answer at a minimiser, where all minimisers are those with margins in [lower, upper]."""
        if not can_move(self.rows, self.rows @ v, lower, upper):
            return self.answer(v, "the minimum, at one policy only", several=self.hidden)
        v = least_norm_within(self.rows, lower, upper, v)
        return self.answer(v, "the loss is flat around its minimum", several=True)

    def newton(self, v: FloatArray) -> tuple[FloatArray, bool]:
        """A stationary point by damped Newton steps, curvature made positive; and whether one was reached."""
        value, smallest = self.value(v), np.inf
        rounding = 1e-14 * self.derivatives(v)[2]  # of a gradient, where f is flat and no pull is left to compare with
        for _ in range(MOST_STEPS):
            gradient, bend, pull = self.derivatives(v)
            size = float(np.abs(gradient).max())
            if size <= 1e-15 * pull:
                return v, True
            sizes, axes = np.linalg.eigh(bend)
            sizes = np.maximum(np.abs(sizes), 1e-10 * max(np.abs(sizes).max(), 1e-300))
            step = -axes @ ((axes.T @ gradient) / sizes)
            fall = float(-gradient @ step)
            if fall <= 1e-12 * (1.0 + abs(value)):  # below the rounding of the loss: the gradient is the judge
                if size > 0.5 * smallest:
                    return v, smallest <= max(1e-8 * pull, rounding)
                smallest, v = size, v + step
                value = self.value(v)
                continue
            longest = float(np.abs(self.rows @ step).max())
            length = min(1.0, 10.0 / longest)  # margins move by 10 at most: beyond it an exponential tail overflows
            while not self.value(v + length * step) <= value - 1e-4 * length * fall:
                length *= 0.5
                if length < 1e-12:
                    return v, size <= 1e-8 * pull
            v = v + length * step
            value = self.value(v)
            if value < -1e50:  # on its way to −∞; further on derivatives overflow
                break
        return v, False

    def derivatives(self, v: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Gradient, Hessian, and the size that the gradient would have if no pair pulled against another."""
        z = self.rows @ v
        slope = self.weight * self.loss.derivative(z)
        bend = (self.rows.T * (self.weight * self.loss.derivative(z, 2))) @ self.rows
        return self.rows.T @ slope, bend, float((np.abs(self.rows).T @ np.abs(slope)).max())

    def descend(self) -> FeatureSolution:
        """Where descent from πref leads, for an f that is not convex."""
        v, reached = self.newton(np.zeros(self.rows.shape[1]))
        gradient, _, pull = self.derivatives(v)
        value = self.value(v)
        if value < -1e3 * (1.0 + abs(float(self.loss(np.zeros(()))))):
            return self.without("unbounded below: descent from the reference does not end", -np.inf)
        if not reached or np.abs(gradient).max() > 1e-6 * pull:  # all slopes vanish, none balances another
            away = np.abs(self.rows @ v).max()
            return self.without(
                f"no finite optimum: descent from the reference runs off, past margins of {away:.3g}", value
            )
        return self.answer(v, "f is not convex; descent from the reference leads here", kind="stationary point")

    def linear(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """A minimiser of a piecewise linear loss by linear programming, and the intervals of all of them."""
        from scipy.optimize import linprog

        places = np.array([place for place, _ in self.shape.kinks])
        slopes = self.shape.left_slope + np.concatenate([[0.0], np.cumsum([jump for _, jump in self.shape.kinks])])
        if not len(places):  # f is a line: with no direction of descent every w is a minimiser
            free = np.full(len(self.weight), np.inf)
            return np.zeros(self.rows.shape[1]), -free, free
        # Lines a_j + s_j z under f; t_k ≥ a_j + s_j z_k.
        values = self.loss(places)
        starts = np.concatenate([[values[0] - slopes[0] * places[0]], values - slopes[1:] * places])
        k, d = self.rows.shape
        above = np.vstack([np.hstack([s * self.rows, -np.eye(k)]) for s in slopes])
        found = linprog(
            np.concatenate([np.zeros(d), self.weight]), A_ub=above, b_ub=-np.repeat(starts, k),
            bounds=[(None, None)] * (d + k), method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )  # fmt: skip
        if found.x is None:
            raise RuntimeError(f"the linear program of {self.loss.name} was not solved: {found.message}")
        # The multipliers give a subgradient of each f(z_k); minimisers are the w at which it stays one.
        multiplier = -found.ineqlin.marginals.reshape(len(slopes), k) / self.weight
        slope = slopes @ multiplier
        tolerance = 1e-7 * np.abs(slopes).max()
        lower, upper = np.full(k, -np.inf), np.full(k, np.inf)
        for j, place in enumerate(places):
            lower = np.where(slope > slopes[j] + tolerance, place, lower)
        for j, place in reversed(list(enumerate(places))):
            upper = np.where(slope < slopes[j + 1] - tolerance, place, upper)
        return found.x[:d], lower, upper

    def without_finite_optimum(self, away: BoolArray) -> FeatureSolution:
        """Pairs at ``away`` go to their limit; the infimum is that limit and the minimum over the others."""
        rest = self.rows[~away]
        infimum = self.at_zero() + float(self.weight[away].sum()) * self.shape.right_limit
        if np.abs(rest).max(initial=0.0) > 0:
            held = self.weight.copy()
            self.weight, rows, self.rows = self.weight[~away], self.rows, rest
            v, _ = self.newton(np.zeros(rest.shape[1]))
            infimum += float(self.weight @ self.loss(rest @ v))
            self.weight, self.rows = held, rows
        else:
            infimum += float(self.weight[~away].sum()) * float(self.loss(np.zeros(())))
        count = int(away.sum())
        return self.without(
            f"no finite optimum: the features separate {count} of {len(away)} ordered pairs, whose margins grow "
            "for ever", infimum,
        )  # fmt: skip

    def without(self, status: str, infimum: float) -> FeatureSolution:
        shape = self.problem.shape
        nothing = np.full(shape, np.nan)
        weights = np.full(self.table.shape[-1], np.nan)
        return FeatureSolution(weights, nothing, nothing.copy(), infimum, np.nan, np.nan, False, status)

    def answer(self, v: FloatArray, reason: str, *, several: bool = False, kind: str = "optimum") -> FeatureSolution:
        weights = self.seen @ v / self.beta
        value = self.value(v)
        if several or (kind == "stationary point" and self.hidden):
            if self.hidden:
                reason += "; features that no pair tells apart leave the policy open"
            lost = self.without(f"not unique: {reason}", value)
            return FeatureSolution(**{**lost.__dict__, "representative": weights})
        tilt = self.table @ weights
        log_reference = np.log(self.problem.reference).reshape(tilt.shape)
        joint = tilt + log_reference
        log_ratio = tilt - np.logaddexp.reduce(joint, axis=1, keepdims=True)
        policy = np.exp(log_ratio + log_reference)
        rho = self.problem.directed_pairs().margins(log_ratio)
        shape = self.problem.shape
        return FeatureSolution(
            weights=weights,
            policy=policy.reshape(shape),
            log_ratio=log_ratio.reshape(shape),
            population_loss=value,
            kl=float(self.problem.shares() @ np.sum(policy * log_ratio, axis=1)),
            mu_squared_loss=float(0.5 * self.weight @ rho**2),
            converged=True,
            status=f"{kind}: {reason}",
        )
