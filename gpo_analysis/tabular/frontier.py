r"""The most that KL buys: exact frontiers of reward and of win rate, and best-of-n sampling, over a finite set.

- Mean reward: of all policies with a given KL(π‖πref) the best is the tilt ``πref exp(r/λ)/Z``.
- Win rate against πref, ``Σ_ij π_i P_ij πref_j``, is the mean of the reward ``P(i ≻ πref)``: its frontier is the tilt
  by that, which is *not* the tilt by r.
- Best-of-n: n draws from πref, the one of highest score kept. With distinct scores and cumulative shares F,
  ``π(y) = F(y)ⁿ − F(y⁻)ⁿ``; KL is at most ``log n − (n−1)/n`` (Beirami et al., arXiv 2401.01879), with equality for
  continuous scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import kl_divergence
from gpo_analysis.preferences.labels import common_items
from gpo_analysis.preferences.validation import as_floats, check_distribution, check_positive, check_preference
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, lines
from gpo_analysis.tabular.regularized import regularized_optimum


@dataclass(frozen=True, eq=False)
class Frontier(Shown):
    """A curve of the best value for its KL.

    Attributes
    ----------
    kl, value : array, shape (k,)
        KL(π‖πref) in nats, increasing, and what π gains.
    policies : array, shape (k, n)
    """

    kl: FloatArray
    value: FloatArray
    policies: FloatArray

    def at(self, kl: ArrayLike) -> FloatArray:
        """The value at any KL of the curve's range, by linear interpolation: a lower bound, as the curve is concave.

        Beyond its ends the value at the end.
        """
        return np.asarray(np.interp(as_floats(kl, "kl"), self.kl, self.value))

    def _facts(self) -> list[tuple[str, Any]]:
        return [
            ("policies", len(self.kl)),
            ("largest KL", f"{self.kl.max():.6g} nats"),
            ("best value", self.value.max()),
        ]

    def _panel(self) -> Panel:
        return lines(
            "the most that KL buys", "KL(π‖πref)  [nats]", "best value", self.kl, {"best for its KL": self.value}
        )


def reward_frontier(reward: ArrayLike, reference: ArrayLike, strengths: ArrayLike | None = None) -> Frontier:
    """Highest mean reward for each KL(π‖πref): the tilts ``πref exp(r/λ)/Z``.

    Parameters
    ----------
    reward : array, shape (n,)
        Finite.
    reference : array, shape (n,)
    strengths : array, shape (k,), optional
        Values of λ > 0; by default 200 from 100 down to 1e-3 standard deviations of r under πref.

    Examples
    --------
    >>> curve = reward_frontier([0.0, 1.0], [0.5, 0.5], [1.0, 0.5])
    >>> curve.value.round(3), curve.kl.round(3)
    (array([0.731, 0.881]), array([0.111, 0.328]))
    """
    r = as_floats(reward, "reward")
    ref = check_distribution(reference, "reference", r.shape, items=common_items(None, reward))
    if r.ndim != 1 or not np.isfinite(r).all():
        raise ValueError(f"reward must be finite, of shape (n,), got {reward!r:.80}")
    if strengths is None:
        spread = float(np.sqrt(ref @ (r - ref @ r) ** 2)) or 1.0
        lambdas = spread * np.geomspace(100.0, 1e-3, 200)
    else:
        lambdas = np.sort(np.atleast_1d(as_floats(strengths, "strengths")))[::-1]
        for strength in lambdas:
            check_positive(strength, "strengths")
    policies = np.stack([regularized_optimum(r, ref, float(x)) for x in lambdas])
    return Frontier(np.atleast_1d(kl_divergence(policies, ref)), policies @ r, policies)


def win_rate(policy: ArrayLike, reference: ArrayLike, preference: ArrayLike) -> float | FloatArray:
    """``P(π ≻ πref) = Σ_ij π_i P_ij πref_j``; a draw of the same response counts one half.

    Parameters
    ----------
    policy : array, shape (..., n)
    reference : array, shape (n,)
    preference : array, shape (n, n)

    Examples
    --------
    >>> win_rate([1.0, 0.0], [0.5, 0.5], [[0.5, 1.0], [0.0, 0.5]])
    0.75
    """
    items = common_items(None, preference, policy, reference)
    matrix = check_preference(preference, items=items)
    ref = check_distribution(reference, "reference", matrix.shape[-1:], items=items)
    found = check_distribution(policy, "policy", items=items) @ (matrix @ ref)
    return float(found) if np.ndim(found) == 0 else np.asarray(found)


def win_rate_frontier(preference: ArrayLike, reference: ArrayLike, strengths: ArrayLike | None = None) -> Frontier:
    """Highest win rate against πref for each KL(π‖πref): the tilts by ``P(i ≻ πref)``.

    Examples
    --------
    >>> curve = win_rate_frontier([[0.5, 1.0], [0.0, 0.5]], [0.5, 0.5])
    >>> round(float(curve.value[-1]), 6), round(float(curve.kl[-1]), 4)
    (0.75, 0.6931)
    """
    items = common_items(None, preference, reference)
    matrix = check_preference(preference, items=items)
    ref = check_distribution(reference, "reference", matrix.shape[-1:], items=items)
    return reward_frontier(matrix @ ref, ref, strengths)


def best_of_n(scores: ArrayLike, reference: ArrayLike, n: int) -> FloatArray:
    """The policy that draws n times from πref and keeps the draw of highest score; ties are drawn by lot.

    Parameters
    ----------
    scores : array, shape (k,)
    reference : array, shape (k,)
    n : int
        At least 1.

    Returns
    -------
    array, shape (k,)

    Examples
    --------
    >>> best_of_n([0.0, 1.0], [0.5, 0.5], 2)
    array([0.25, 0.75])
    """
    values = as_floats(scores, "scores")
    if np.isnan(values).any():
        raise ValueError(f"scores must be numbers, got nan for response {int(np.argmax(np.isnan(values)))}")
    ref = check_distribution(reference, "reference", values.shape, items=common_items(None, scores))
    if int(n) != n or n < 1:
        raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
    _, level = np.unique(values, return_inverse=True)
    share = np.bincount(level, weights=ref)
    below = np.concatenate([[0.0], np.cumsum(share)])
    below /= below[-1]
    won = np.diff(below ** int(n))
    with np.errstate(invalid="ignore"):  # levels on which πref has no mass: 0/0
        within = np.where(share[level] > 0, ref / share[level], 0.0)
    return np.asarray(won[level] * within)
