"""Which ranks an item can have, jointly; pairwise differences; the probability of being best.

From scores with a covariance, normal to first order. The simultaneous intervals of all differences are
``g_i − g_j ± c · se_ij`` with c the quantile of ``max |Z_i − Z_j| / se_ij``, Z normal with that covariance (the max-|t|
multiplier bootstrap). Rank sets count who is surely above and below: ``[1 + #{j surely above i}, n − #{j surely below
i}]``. All of them hold together with the given confidence (Mogstad, Romano, Shaikh and Wilhelm 2024, Review of Economic
Studies 91, 476-518): an item's true rank lies outside only if some difference is called with the wrong sign. *Stepwise*
(Romano and Wolf 2005): once some hypotheses "i is not above j" are rejected, c is taken over those that are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, intervals

#: Normal draws.
DRAWS = 2000
#: Numbers of draws times pairs held at a time.
CHUNK = 4_000_000
#: Of a difference's standard error, relative to the largest: below it the difference is not random.
NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class RankSets(Shown):
    """Ranks that items can have, 1 the best.

    Attributes
    ----------
    best, worst : array of int, shape (n,)
        The set of each item is best … worst.
    above : array of bool, shape (n, n)
        Entry [i, j] says that i is surely above j.
    best_probability : array, shape (n,)
        Share of draws in which the item comes first: of scores drawn round the fit, so a statement about the noise of
        the fit and not a posterior probability.
    critical : float
        c of the first step, for simultaneous intervals of all differences.
    score_critical : float
        The same for all scores: ``g_i ± score_critical · se_i`` hold together.
    confidence : float
    """

    best: IntArray
    worst: IntArray
    above: BoolArray
    best_probability: FloatArray
    critical: float
    score_critical: float
    confidence: float

    @property
    def width(self) -> FloatArray:
        """Number of ranks in each set, shape (n,)."""
        return np.asarray(self.worst - self.best + 1)

    def _columns(self) -> Mapping[str, Any]:
        names = ("best", "worst", "best_probability")
        return {"item": np.arange(len(self.best)), **{name: getattr(self, name) for name in names}}

    def _panel(self) -> Panel:
        low, high = (np.asarray(rank, dtype=np.float64) for rank in (self.best, self.worst))
        order = np.lexsort((high, low))
        names = [f"item {i}" for i in order]
        title = f"ranks that hold together at {100 * self.confidence:.10g} %"
        return intervals(title, "rank, 1 the best", names, ((low + high) / 2)[order], low[order], high[order])


def rank_sets(
    scores: FloatArray,
    covariance: FloatArray,
    parts: IntArray | None = None,
    *,
    confidence: float = 0.95,
    stepwise: bool = True,
    draws: int = DRAWS,
    seed: int = 0,
    freedom: float = np.inf,
) -> RankSets:
    """Rank sets of all items, holding together.

    Parameters
    ----------
    scores : array, shape (n,)
    covariance : array, shape (n, n)
    parts : array of int, shape (n,), optional
        Labels of the connected parts: items of two parts are never told apart.
    confidence : float
    stepwise : bool
    draws : int
        Of the normal distribution.
    seed : int
    freedom : float
        Degrees of the covariance: draws are Student's with as many. One less than the clusters where it is by cluster.

    Examples
    --------
    >>> found = rank_sets(np.array([0.0, 0.1, 5.0]), np.eye(3) - 1 / 3)
    >>> found.best, found.worst
    (array([2, 2, 1]), array([3, 3, 1]))
    """
    n = len(scores)
    first, second = np.triu_indices(n, 1)
    variance = np.diag(covariance)[first] + np.diag(covariance)[second] - 2 * covariance[first, second]
    error = np.sqrt(np.maximum(variance, 0.0))
    told = error > NOTHING * error.max(initial=0.0)
    if parts is not None:
        told &= parts[first] == parts[second]
    first, second, error = first[told], second[told], error[told]
    z = _drawn(covariance, draws, seed, freedom)
    statistic = (scores[first] - scores[second]) / error
    sign, critical = np.zeros(len(first)), 0.0
    largest = np.full(len(z), -np.inf)  # over hypotheses whose opposite is rejected, of each draw
    for step in range(len(first) + 1):
        left = sign == 0
        both = _largest(z, first[left], second[left], error[left])
        c = float(np.quantile(np.maximum(largest, both), confidence)) if len(first) else 0.0
        critical = critical if step else c
        new = left & (np.abs(statistic) > c)
        if not new.any():
            break
        sign[new] = np.sign(statistic[new])
        if not stepwise:
            break
        # "i is not above j" is rejected; "j is not above i" is left, whose statistic is −t
        largest = np.maximum(largest, _largest(z, first[new], second[new], error[new], -sign[new]))
    above = np.zeros((n, n), dtype=bool)
    above[first[sign > 0], second[sign > 0]] = True
    above[second[sign < 0], first[sign < 0]] = True
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    seen = spread > 0
    largest = (np.abs(z[:, seen]) / spread[seen]).max(axis=1) if seen.any() else np.zeros(1)
    return RankSets(
        best=1 + above.sum(axis=0),
        worst=n - above.sum(axis=1),
        above=above,
        best_probability=_first_share(scores + z),
        critical=critical,
        score_critical=float(np.quantile(largest, confidence)),
        confidence=float(confidence),
    )


def _drawn(covariance: FloatArray, draws: int, seed: int, freedom: float) -> FloatArray:
    """Normal vectors with this covariance, or Student's of so many degrees, shape (draws, n)."""
    values, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.default_rng(seed)
    z = np.asarray(rng.standard_normal((draws, len(values))) @ root.T)
    return z if np.isinf(freedom) else z * np.sqrt(freedom / rng.chisquare(freedom, (draws, 1)))


def _largest(
    z: FloatArray, first: IntArray, second: IntArray, error: FloatArray, sign: FloatArray | None = None
) -> FloatArray:
    """The largest size of t of each draw over some pairs, or the largest t of one sign a pair; shape (draws,)."""
    largest = np.full(len(z), -np.inf)
    size = max(1, CHUNK // len(z))
    for start in range(0, len(first), size):
        part = slice(start, start + size)
        t = (z[:, first[part]] - z[:, second[part]]) / error[part]
        largest = np.maximum(largest, (np.abs(t) if sign is None else sign[part] * t).max(axis=1))
    return largest


def _first_share(drawn: FloatArray) -> FloatArray:
    """Share of draws in which each is the first; those that are equal to rounding share it."""
    top = drawn.max(axis=1, keepdims=True)
    first = drawn >= top - NOTHING * np.maximum(1.0, np.abs(top))
    return np.asarray((first / first.sum(axis=1, keepdims=True)).mean(axis=0))
