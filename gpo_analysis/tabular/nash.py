r"""The Nash policy of the regularized preference game.

Two players choose policies π, π' and receive ``± [P(π ≻ π') − τ KL(π‖πref) + τ KL(π'‖πref)]``, with
``P(π ≻ π') = Σ_ij π_i P_ij π'_j`` (Munos et al., arXiv 2312.00886; Calandriello et al., arXiv 2403.08635). For τ > 0
the game has one equilibrium, both players playing the same policy, the fixed point of ::

    π ∝ πref exp(P π / τ).

**Method.** With ``A = P − ½``, antisymmetric, the logits solve ``G(l) = l − log πref − A softmax(l)/τ = 0``. The
Jacobian ``I − A S(l)/τ``, ``S = diag π − π πᵀ``, is never singular: ``v = A S v/τ`` gives
``vᵀSv = (Sv)ᵀA(Sv)/τ = 0``, so ``Sv = 0`` and ``v = 0``. And ``‖G(l)‖ → ∞`` with ``‖l‖``, as ``A softmax(l)`` is
bounded. So damped Newton on ``‖G‖²`` converges from every start, in the end quadratically; following the path from a
large τ downwards keeps the number of steps small.

**Certificate.** With BR = ``πref exp(Pπ/τ)/Z`` the best response to π, the duality gap
``max_ν J(ν, π) − min_ν J(π, ν)`` is ``2τ KL(π‖BR)``, and antisymmetry gives ``KL(π‖π*) ≤ KL(π‖BR)``: what was
found bounds its own distance to the equilibrium. At τ = 0 the gap is ``2 max_i (Aπ)_i``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.labels import common_items, in_order
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, policies

#: Below it rounding of the payoffs, 1e-16, over τ leaves too little of the policy.
SMALLEST_TAU = 1e-12


class NashStatus(StrEnum):
    """What was found of the regularized game."""

    EQUILIBRIUM = "equilibrium"
    NOT_UNIQUE = "not unique"
    NOT_CONVERGED = "not converged"


@dataclass(frozen=True)
class NashSolution(Shown):
    """An equilibrium of the regularized preference game with its certificate; ``np.asarray`` gives the policy.

    Attributes
    ----------
    policy : array, shape (n,)
        The equilibrium policy of either player.
    gap : float
        Duality gap ``max_ν J(ν, π) − min_ν J(π, ν) ≥ 0``, in probability of winning; 0 at the equilibrium.
    distance_bound : float
        Upper bound on ``Σ_i |π_i − π*_i|``: ``sqrt(gap/τ)``, by Pinsker's inequality. NaN at τ = 0.
    iterations : int
        Newton steps taken, over the whole path in τ; at τ = 0 those of the linear program.
    converged : bool
        Whether ``gap`` is within the tolerance (and at τ = 0 the equilibrium is the only one).
    status : NashStatus
        "equilibrium", "not unique" or "not converged".
    reason : str
    """

    policy: FloatArray
    gap: float
    distance_bound: float
    iterations: int
    converged: bool
    status: NashStatus
    reason: str

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.policy, dtype=dtype, copy=True if copy is None else copy)

    def _panel(self) -> Panel:
        return policies((), None, {"equilibrium": self.policy}, f"regularized game: {self.status}")


def nash_policy(
    preference: ArrayLike,
    reference: ArrayLike,
    tau: float,
    *,
    tolerance: float = 1e-12,
    max_iterations: int = 1000,
) -> NashSolution:
    """Equilibrium of the preference game regularized by ``τ KL(·‖πref)``.

    Parameters
    ----------
    preference : array, shape (n, n)
        ``P[i, j] = p(i ≻ j)``, with ``P[i, j] + P[j, i] = 1``.
    reference : array, shape (n,)
        πref, non-negative, summing to one. Where it is zero and τ > 0 the policy is zero.
    tau : float
        Strength of the penalty, in probability of winning per nat. At 0 the game has no penalty: its equilibria are
        the maximal lotteries (Kreweras 1965; Fishburn 1984), found by linear programming; πref plays no part.
        Where there are several, one of them is returned, ``converged`` is False and the status says so. (The limit
        τ → 0 is then the lottery nearest to πref in KL, which a small τ gives.)
    tolerance : float
        Largest accepted duality gap.
    max_iterations : int
        Newton steps allowed. When they are used up the best policy so far is returned with its gap,
        ``converged`` False.

    Returns
    -------
    NashSolution

    Raises
    ------
    ValueError
        For a matrix that is no preference, a reference that is no distribution, τ negative, not finite, or
        positive and below 1e-12 (rounding would then leave too little of the policy).

    Notes
    -----
    At small τ rounding sets the floor: ``Aπ/τ`` is known to about 1e-16/τ, which is then the relative error of π,
    though the gap, of the order of 1e-32/τ, stays below any tolerance.

    Examples
    --------
    A cycle leaves a uniform reference where it is; a preference tilts it.

    >>> cycle = [[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]]
    >>> nash_policy(cycle, [1 / 3, 1 / 3, 1 / 3], tau=0.1).policy.round(6)
    array([0.333333, 0.333333, 0.333333])
    >>> found = nash_policy([[0.5, 1.0], [0.0, 0.5]], [0.5, 0.5], tau=0.5)
    >>> bool(np.isclose(found.policy[0], 1 / (1 + np.exp(-0.5 / 0.5))))
    True
    """
    payoff, ref = _game(preference, reference)
    if not (tau == 0 or SMALLEST_TAU <= tau < np.inf):
        raise ValueError(f"tau must be 0, or finite and at least {SMALLEST_TAU}, got {tau!r}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance!r}")
    if tau == 0:
        return _maximal_lottery(payoff, tolerance)
    support = ref > 0
    policy = np.zeros_like(ref)
    inner, gap, iterations, note = _follow_path(
        payoff[np.ix_(support, support)], np.log(ref[support]), float(tau), max_iterations
    )
    policy[support] = inner
    converged = gap <= tolerance
    distance = min(float(np.sqrt(gap / tau)), 2.0)
    reason = (
        f"duality gap {gap:.3g} against a tolerance of {tolerance:.3g} after {iterations} Newton steps, "
        f"policy within {distance:.3g} of it in total{note}"
    )
    status = NashStatus.EQUILIBRIUM if converged else NashStatus.NOT_CONVERGED
    return NashSolution(policy, gap, distance, iterations, converged, status, reason)


def _game(preference: ArrayLike, reference: ArrayLike) -> tuple[FloatArray, FloatArray]:
    items = common_items(None, preference, reference)
    p = np.asarray(in_order(preference, "preference", items, square=True), dtype=np.float64)
    ref = np.asarray(in_order(reference, "reference", items), dtype=np.float64)
    if p.ndim != 2 or p.shape[0] != p.shape[1] or p.shape[0] == 0:
        raise ValueError(f"preference must have shape (n, n), got {p.shape}")
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("preference must hold probabilities between 0 and 1")
    excess = np.abs(p + p.T - 1.0)
    if excess.max() > 1e-8:
        i, j = np.unravel_index(int(excess.argmax()), excess.shape)
        raise ValueError(f"preference must have P[i,j] + P[j,i] = 1, got {float(p[i, j] + p[j, i])!r} at ({i}, {j})")
    if ref.shape != p.shape[:1]:
        raise ValueError(f"reference must have shape ({p.shape[0]},), got {ref.shape}")
    if not np.all(ref >= 0) or abs(ref.sum() - 1.0) > 1e-8:
        raise ValueError(f"reference must be non-negative and sum to one, got {reference!r}")
    return 0.5 * (p - p.T), ref


def _follow_path(
    payoff: FloatArray, log_ref: FloatArray, tau: float, max_iterations: int
) -> tuple[FloatArray, float, int, str]:
    """Damped Newton at a falling sequence of τ, each started from the last along the tangent of the path."""
    current = max(tau, 2.0)
    logits = log_ref.copy()
    factor, iterations = 0.25, 0
    logits, used, done = _newton(payoff, log_ref, current, logits, max_iterations)
    iterations += used
    while current > tau and iterations < max_iterations:
        target = max(tau, factor * current)
        policy = _softmax(logits)
        jacobian = _jacobian(payoff, policy, current)
        tangent = np.linalg.solve(jacobian, -(payoff @ policy) / current)  # dl / d log τ, from G(l, τ) = 0
        start = logits + tangent * np.log(target / current)
        trial, used, done = _newton(payoff, log_ref, target, start, min(40, max_iterations - iterations))
        iterations += used
        if done or factor > 0.98:
            logits, current = trial, target
            factor = max(0.1, factor**1.5)
        else:
            factor = np.sqrt(factor)
    policy = _softmax(logits)
    if current > tau:
        note = f"; steps ran out at tau = {current:.3g}"
    else:
        note = "" if done else "; no further progress, rounding or the step limit"
    return policy, _gap(payoff, log_ref, tau, logits), iterations, note


def _newton(
    payoff: FloatArray, log_ref: FloatArray, tau: float, logits: FloatArray, limit: int
) -> tuple[FloatArray, int, bool]:
    """Root of G by Newton's method with halving until ‖G‖ falls; returns (logits, steps, reached the floor)."""
    residual = _residual(payoff, log_ref, tau, logits)
    size = float(np.linalg.norm(residual))
    for step in range(limit):
        # The rounding of Aπ/τ: a residual below it is noise.
        floor = 1e-15 * (1.0 + float(np.abs(logits).max())) + 1e-16 / tau
        if size <= floor:
            return logits, step, True
        direction = -np.linalg.solve(_jacobian(payoff, _softmax(logits), tau), residual)
        length = 1.0
        while True:
            trial = logits + length * direction
            residual_there = _residual(payoff, log_ref, tau, trial)
            size_there = float(np.linalg.norm(residual_there))
            if size_there <= (1.0 - 1e-4 * length) * size:
                break
            length *= 0.5
            if length < 1e-10:  # no descent left: at the floor of rounding if the residual is small
                return logits, step + 1, size <= 1e3 * floor
        logits, residual, size = trial, residual_there, size_there
    return logits, limit, False


def _residual(payoff: FloatArray, log_ref: FloatArray, tau: float, logits: FloatArray) -> FloatArray:
    return logits - log_ref - payoff @ _softmax(logits) / tau


def _jacobian(payoff: FloatArray, policy: FloatArray, tau: float) -> FloatArray:
    covariance = np.diag(policy) - np.outer(policy, policy)
    return np.asarray(np.eye(policy.size) - payoff @ covariance / tau)


def _softmax(logits: FloatArray) -> FloatArray:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def _gap(payoff: FloatArray, log_ref: FloatArray, tau: float, logits: FloatArray) -> float:
    """``2τ KL(π‖BR)``, summed as ``π (e^x − 1 − x)``, x = log BR/π: no cancellation, so that it resolves 1e-30."""
    policy = _softmax(logits)
    response = log_ref + payoff @ policy / tau
    x = (response - np.logaddexp.reduce(response)) - (logits - np.logaddexp.reduce(logits))
    small = np.abs(x) < 1e-5
    near = np.square(np.where(small, x, 0.0)) * (0.5 + x / 6.0)
    with np.errstate(over="ignore", invalid="ignore"):  # e^x where π is zero; the product is masked below
        far = np.expm1(x) - x
    divergence = np.where(policy > 0, policy * np.where(small, near, far), 0.0)
    return float(2.0 * tau * divergence.sum())


def _maximal_lottery(payoff: FloatArray, tolerance: float) -> NashSolution:
    """The unregularized equilibrium: π on the simplex with ``Aπ ≤ 0``, by the linear program ``min max_i (Aπ)_i``."""
    n = payoff.shape[0]
    cost = np.append(np.zeros(n), 1.0)
    found = linprog(
        cost,
        A_ub=np.hstack([payoff, -np.ones((n, 1))]),
        b_ub=np.zeros(n),
        A_eq=np.append(np.ones(n), 0.0)[None, :],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.x is None:  # the program is feasible and bounded for every payoff
        raise RuntimeError(f"the linear program of the maximal lottery was not solved: {found.message}")
    policy = _polish(payoff, np.maximum(found.x[:n], 0.0))
    gap = float(2.0 * max((payoff @ policy).max(), 0.0))
    unique = _is_unique(payoff, policy)
    if gap > tolerance:
        status, reason = NashStatus.NOT_CONVERGED, f"duality gap {gap:.3g} against a tolerance of {tolerance:.3g}"
    elif not unique:
        status = NashStatus.NOT_UNIQUE
        reason = "without a penalty several lotteries are maximal, this is one of them"
    else:
        status, reason = NashStatus.EQUILIBRIUM, f"the only maximal lottery, duality gap {gap:.3g}"
    return NashSolution(policy, gap, float("nan"), int(found.nit), gap <= tolerance and unique, status, reason)


def _polish(payoff: FloatArray, policy: FloatArray) -> FloatArray:
    """Solve for the support of the linear program's answer, which holds to about 1e-10, in full precision."""
    policy = policy / policy.sum()
    support = np.flatnonzero(policy > 1e-8)
    system = np.vstack([payoff[np.ix_(support, support)], np.ones(support.size)])
    exact, *_ = np.linalg.lstsq(system, np.append(np.zeros(support.size), 1.0), rcond=None)
    polished = np.zeros_like(policy)
    polished[support] = exact
    better = np.all(exact >= 0) and (payoff @ polished).max() <= (payoff @ policy).max() + 1e-16
    return polished / polished.sum() if better else policy


def _is_unique(payoff: FloatArray, policy: FloatArray) -> bool:
    """Whether no direction d leads from one maximal lottery to another (Mangasarian 1979, by one linear program)."""
    n = policy.size
    active = np.vstack([np.eye(n)[policy <= 1e-9], -payoff[(payoff @ policy) >= -1e-9]])  # active rows a: a·d ≥ 0
    if np.linalg.matrix_rank(np.vstack([active, np.ones(n)]), tol=1e-9) < n:
        return False
    found = linprog(
        -active.sum(axis=0), A_ub=-active, b_ub=np.zeros(len(active)), A_eq=np.ones((1, n)), b_eq=[0.0],
        bounds=[(-1, 1)] * n, method="highs",
    )  # fmt: skip
    return found.fun is not None and bool(-found.fun <= 1e-7)
