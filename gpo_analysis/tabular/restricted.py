r"""RLHF within policies that cannot hold every reward: E_π[r] − β KL(π‖πref) over π ∝ πref exp(Φw).

With a = r − βΦw the gradient in w is Cov_π(φ, a) and the Hessian E_π[(φ − φ̄)(φ − φ̄)ᵀ(a − ā)] − β Cov_π(φ): not
concave in general. It is climbed by Newton steps from several starts. What the class costs is known exactly: over all
policies the optimum is π* ∝ πref e^{r/β}, and any π is β KL(π‖π*) below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.labels import common_items
from gpo_analysis.preferences.validation import as_floats, check_distribution, check_positive
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, policies
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.tabular.regularized import regularized_optimum

_STARTS = 12
_STEPS = 500


@dataclass(frozen=True, eq=False)
class RestrictedOptimum(Shown):
    """The best policy found in the class.

    Attributes
    ----------
    weights : array, shape (d,)
    policy, log_ratio : array, shape (n,)
        π and log π/πref.
    objective : float
        E_π[r] − β KL(π‖πref).
    gap : float
        β KL(π‖π*): what every policy of all could gain more; 0 where the class holds the reward.
    gradient : float
        Largest \\|Cov_π(φ, r − βh)\\|.
    status : Status
        "optimum" where the gap is 0 to 1e-12, "stationary point" (the best of several starts, not proved to be the
        best of the class), or "not converged".
    """

    weights: FloatArray
    policy: FloatArray
    log_ratio: FloatArray
    objective: float
    gap: float
    gradient: float
    status: Status

    def _columns(self) -> Mapping[str, Any]:
        return {"policy": self.policy, "log_ratio": self.log_ratio}

    def _panel(self) -> Panel:
        with np.errstate(all="ignore"):
            reference = self.policy / np.exp(self.log_ratio)
        return policies((), reference, {"in the class": self.policy}, f"best policy of the class: {self.status}")


def restricted_optimum(reward: ArrayLike, reference: ArrayLike, features: ArrayLike, beta: float) -> RestrictedOptimum:
    """Maximise ``E_π[r] − β KL(π‖πref)`` over policies ``πref exp(Φw)/Z``; beside it `solve_features` fits pairs.

    Parameters
    ----------
    reward : array, shape (n,)
    reference : array, shape (n,)
        Above 0, summing to one.
    features : array, shape (n, d)
    beta : float
        Finite and above 0.

    Returns
    -------
    RestrictedOptimum

    Raises
    ------
    ValueError
        For values that are not finite, and shapes that do not fit.

    Examples
    --------
    A class that holds the reward has RLHF's optimum, one that does not is below it:

    >>> found = restricted_optimum([0.0, 1.0, 2.0], [1 / 3] * 3, [[0.0], [1.0], [2.0]], beta=0.5)
    >>> found.weights.round(6), str(found.status)
    (array([2.]), 'optimum')
    >>> other = restricted_optimum([0.0, 2.0, 1.0], [1 / 3] * 3, [[0.0], [1.0], [2.0]], beta=0.5)
    >>> other.gap > 0.1, str(other.status)
    (True, 'stationary point')
    """
    r, scale = as_floats(reward, "reward"), check_positive(beta, "beta")
    if r.ndim != 1 or not np.isfinite(r).all():
        raise ValueError(f"reward must be finite, of shape (n,), got shape {r.shape}")
    ref = check_distribution(reference, "reference", r.shape, positive=True, items=common_items(None, reward))
    phi = as_floats(features, "features")
    if phi.ndim != 2 or phi.shape[0] != len(r) or phi.shape[1] == 0 or not np.isfinite(phi).all():
        raise ValueError(f"features must be finite, of shape ({len(r)}, d), got shape {phi.shape}")
    at = _Class(r, np.log(ref), phi, scale)
    best = max((at.climbed(start) for start in at.starts()), key=at.objective)
    log_policy = at.log_policy(best)
    policy = np.exp(log_policy)
    gap = scale * float(policy @ (log_policy - regularized_optimum(r, ref, scale, log=True)))
    gradient = float(np.abs(at.derivatives(best)[0]).max())
    size = float(np.ptp(r) * np.abs(phi - phi.mean(axis=0)).max()) or 1.0
    status = Status.STATIONARY_POINT if gradient <= 1e-9 * size else Status.NOT_CONVERGED
    if status.is_answer and gap <= 1e-12 * max(scale, float(np.ptp(r))):
        status = Status.OPTIMUM
    return RestrictedOptimum(best, policy, log_policy - np.log(ref), at.objective(best), gap, gradient, status)


@dataclass(frozen=True, eq=False)
class _Class:
    reward: FloatArray
    log_reference: FloatArray
    features: FloatArray
    beta: float

    def log_policy(self, weights: FloatArray) -> FloatArray:
        logits = self.log_reference + self.features @ weights
        return np.asarray(logits - logsumexp(logits))

    def objective(self, weights: FloatArray) -> float:
        log_policy = self.log_policy(weights)
        return float(np.exp(log_policy) @ (self.reward - self.beta * (log_policy - self.log_reference)))

    def derivatives(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient and Hessian of the objective."""
        policy = np.exp(self.log_policy(weights))
        centred = self.features - policy @ self.features
        a = self.reward - self.beta * (self.features @ weights)
        a = a - policy @ a
        return centred.T @ (policy * a), (centred.T * (policy * (a - self.beta))) @ centred

    def starts(self) -> list[FloatArray]:
        """πref, the regression of r on φ under πref, it reversed, and random ones, the same in every run."""
        rng = np.random.default_rng(0)
        root = np.exp(0.5 * self.log_reference)
        centred = self.features - np.exp(self.log_reference) @ self.features
        target = self.reward - np.exp(self.log_reference) @ self.reward
        fit = np.linalg.lstsq(root[:, None] * centred, root * target, rcond=None)[0] / self.beta
        width = 3.0 / np.maximum(np.abs(centred).max(axis=0), 1e-300)
        return [0 * fit, fit, -fit, *(width * rng.normal(size=(_STARTS - 3, len(fit))))]

    def climbed(self, weights: FloatArray) -> FloatArray:
        """Newton steps uphill, curvature of the wrong sign turned; log-ratios move by at most 3 at once."""
        value = self.objective(weights)
        for _ in range(_STEPS):
            gradient, hessian = self.derivatives(weights)
            sizes, axes = np.linalg.eigh(hessian)
            largest = float(np.abs(sizes).max())
            if largest == 0:
                break
            along = np.where(np.abs(sizes) > 1e-14 * largest, axes.T @ gradient, 0.0)
            step = axes @ (along / np.maximum(np.abs(sizes), 1e-14 * largest))
            reach = float(np.ptp(self.features @ step))
            if reach <= 1e-14:
                break
            scale = min(1.0, 3.0 / reach)
            for _ in range(50):
                trial = self.objective(weights + scale * step)
                if trial >= value - 1e-15 * abs(value):
                    break
                scale /= 2
            else:
                break
            weights, value = weights + scale * step, trial
        return np.asarray(weights)
