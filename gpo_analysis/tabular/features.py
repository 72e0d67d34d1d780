r"""Policies with linear features, ``π ∝ πref exp(Φw)``: what is never compared moves with what is.

The margin of a pair is linear in w, ``z = β (φ_winner − φ_loser)·w``, so that a convex f gives a convex problem. Its
optimum is found by Newton's method; where none is finite or unique this is decided first, by linear programs over
the directions along which the loss never rises (:mod:`gpo_analysis.solvers.row_optimum`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.calculus.undecided import Undecided
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.relative_entropy import kl_from_log_ratio
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, policies
from gpo_analysis.solvers.minimum import Minimum, Status, nowhere
from gpo_analysis.solvers.row_optimum import minimise_rows
from gpo_analysis.solvers.rows import WeightedRows
from gpo_analysis.tabular.problem import PreferenceProblem


@dataclass(frozen=True, eq=False)
class FeatureSolution(Shown):
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
    status : Status
        "optimum", "no finite optimum", "not unique", "unbounded below", "stationary point" (f not convex) or "not
        converged".
    reason : str
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
    status: Status
    reason: str
    representative: FloatArray | None = None

    def _columns(self) -> Mapping[str, Any]:
        return {"policy": np.ravel(self.policy), "log_ratio": np.ravel(self.log_ratio)}

    def _panel(self) -> Panel:
        reference = np.exp(np.log(self.policy) - self.log_ratio) if self.converged else None
        return policies((), reference, {"in the class": self.policy}, f"policies πref exp(Φw)/Z: {self.status}")


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
    f = get_margin_loss(loss)
    scale = check_positive(beta, "beta")
    phi = check_features(features, problem)
    at = _Coordinates.of(problem, phi)
    found = _found(problem, at, f)
    diagonal = problem.directed_pairs().diagonal_mass
    return _solution(problem, at, found, scale, found.value + (diagonal * float(f(np.zeros(()))) if diagonal else 0.0))


@dataclass(frozen=True, eq=False)
class _Coordinates:
    """``v = seenᵀ βw``, what the pairs can see of w: margins are ``rows @ v``.

    `table` are the features (m, n, d); `hidden` says whether policies depend on more of w than pairs can see.
    """

    table: FloatArray
    rows: FloatArray
    seen: FloatArray
    hidden: bool

    @classmethod
    def of(cls, problem: PreferenceProblem, phi: FloatArray) -> _Coordinates:
        pairs = problem.directed_pairs()
        table = phi.reshape(problem.contexts, problem.n, -1)
        difference = table[pairs.context, pairs.winner] - table[pairs.context, pairs.loser]
        triangle = np.linalg.qr(difference, mode="r")  # the same axes without a square of the number of pairs
        _, sizes, axes = np.linalg.svd(triangle, full_matrices=True)
        rank = int(np.sum(sizes > 1e-11 * max(sizes.max(initial=0.0), 1e-300)))
        seen, unseen = axes[:rank].T, axes[rank:].T
        drift = table @ unseen
        hidden = bool(np.ptp(drift, axis=1).max(initial=0.0) > 1e-9 * float(np.abs(table).max()))
        return cls(table, difference @ seen, seen, hidden)


def _found(problem: PreferenceProblem, at: _Coordinates, loss: MarginLoss) -> Minimum:
    """The minimum in v; features that no pair tells apart make it not unique."""
    weight = problem.directed_pairs().weight
    try:
        shape = shape_of(loss)
    except Undecided as open_question:
        reason = f"of f itself: {open_question.reason}"
        return Minimum(nowhere(at.rows.shape[1]), np.nan, Status.UNDECIDED, reason)
    if shape.kinks and not (shape.convex and shape.is_piecewise_linear):
        raise ValueError(
            f"{loss.name} has jumps in its slope without being piecewise linear and convex; solve_features "
            "takes smooth losses and piecewise linear convex ones"
        )
    if len(weight) and at.rows.shape[1]:
        found = minimise_rows(WeightedRows(at.rows, weight), loss)
    else:
        nothing = np.zeros(at.rows.shape[1])
        value = float(weight.sum()) * float(loss(np.zeros(())))
        found = Minimum(nothing, value, Status.OPTIMUM, "no pair tells the features apart")
    if at.hidden and (found.converged or found.status is Status.NOT_UNIQUE):
        reason = f"{found.reason}; features that no pair tells apart leave the policy open"
        return replace(found, status=Status.NOT_UNIQUE, reason=reason)
    return found


def _solution(
    problem: PreferenceProblem, at: _Coordinates, found: Minimum, beta: float, value: float
) -> FeatureSolution:
    size = at.table.shape[-1]
    answer = at.seen @ found.reward / beta if found.converged else np.zeros(size)
    tilt = at.table @ answer
    log_reference = np.log(problem.reference).reshape(tilt.shape)
    log_ratio = tilt - np.logaddexp.reduce(tilt + log_reference, axis=1, keepdims=True)
    policy = np.exp(log_ratio + log_reference)
    pairs = problem.directed_pairs()
    withheld = 0.0 if found.converged else np.nan
    return FeatureSolution(
        weights=answer + withheld,
        policy=policy.reshape(problem.shape) + withheld,
        log_ratio=log_ratio.reshape(problem.shape) + withheld,
        population_loss=value,
        kl=float(problem.shares() @ kl_from_log_ratio(policy, log_ratio, np.exp(log_reference))) + withheld,
        mu_squared_loss=float(0.5 * pairs.weight @ pairs.margins(log_ratio) ** 2) + withheld,
        converged=found.converged,
        status=found.status,
        reason=found.reason,
        representative=at.seen @ found.reward / beta if found.status is Status.NOT_UNIQUE else None,
    )
