"""Resample labels and refit: intervals for the scores of any f."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import MarginLoss, get_margin_loss, warn_of_rising
from gpo_analysis.preferences.checks import check_comparisons
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.progress import Progress, followed
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, intervals
from gpo_analysis.showing.shown import table_text
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.reweighted import minimise_reweighted
from gpo_analysis.tabular.implicit_reward import Fit, fitted
from gpo_analysis.tabular.problem import PreferenceProblem

if TYPE_CHECKING:
    pass

MOST_RESAMPLES = 100_000
LEAST_SMOOTHING = 1e-12  #: Below it the second term is lost in the rounding of the first.
BATCH = 1 << 22  #: Weights of resamples held at once, pairs times resamples.
STUCK = (
    "all resamples give the same score to {} of {} items: labels that are never contradicted, or a kink from which "
    "noise does not move the optimum; resampling tells no interval then, and none of no width is given"
)
MOST_LABELS = 2**62  # that can be drawn: NumPy counts them in 64 bits


def check_resampling(resamples: int, confidence: float) -> None:
    """Raise ValueError unless there is at least one resample and a confidence in (0, 1)."""
    if isinstance(resamples, bool) or int(resamples) != resamples or resamples < 1:
        raise ValueError(f"resamples must be a whole number of at least 1, got {resamples!r}")
    if resamples > MOST_RESAMPLES:
        raise ValueError(f"resamples must be at most {MOST_RESAMPLES:,}, got {resamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence!r}")


def check_smoothing(smoothing: float) -> float:
    """ε as a float: 0, or from 1e-12 to below ½.

    Examples
    --------
    >>> check_smoothing(0.1)
    0.1
    >>> check_smoothing(1e-320)
    Traceback (most recent call last):
    ...
    ValueError: smoothing must be 0, or lie from 1e-12 to below 0.5, got 1e-320
    """
    if not (smoothing == 0 or LEAST_SMOOTHING <= smoothing < 0.5):
        raise ValueError(f"smoothing must be 0, or lie from {LEAST_SMOOTHING:g} to below 0.5, got {float(smoothing)!r}")
    return float(smoothing)


def resampled(comparisons: Comparisons, resamples: int, *, seed: int) -> list[Comparisons]:
    """As many labels again, drawn with replacement; one label is the unit, whatever the pair it belongs to.

    Parameters
    ----------
    comparisons : Comparisons
        Fractional counts are shares of the (rounded) total.
    resamples : int
    seed : int

    Examples
    --------
    >>> games = Comparisons.from_pairs([("a", "b", 6), ("b", "a", 4)])
    >>> [again.total for again in resampled(games, 2, seed=0)]
    [10.0, 10.0]
    """
    pool = check_comparisons(comparisons).aggregated()
    return [_with_counts(pool, n) for n in _drawn_counts(pool, resamples, seed)]


def _drawn_counts(pool: Comparisons, resamples: int, seed: int) -> IntArray:
    """How often each pair is drawn, shape (resamples, k)."""
    if pool.total > MOST_LABELS:
        raise ValueError(
            f"resampling draws as many labels as were counted: at most {MOST_LABELS:.2g}, got {pool.total:.4g}; divide "
            "the counts by what one label weighs"
        )
    total = max(1, round(pool.total))
    return np.random.default_rng(seed).multinomial(total, pool.count / pool.total, size=int(resamples))


def _with_counts(pool: Comparisons, count: IntArray) -> Comparisons:
    on = count > 0
    return Comparisons(pool.winner[on], pool.loser[on], count[on], items=pool.items)


@dataclass(frozen=True, eq=False)
class ScoreIntervals(Shown):
    """Bootstrap intervals of one loss's scores.

    Attributes
    ----------
    loss : str
    items : tuple of str
    scores : array, shape (n,)
        The fit to the data themselves: log-ratios at β = 1, centred; NaN without a unique finite optimum.
    low, high : array, shape (n,)
        Percentile interval; infinite where so many resamples have no finite fit that its end lies among them.
    standard_error : array, shape (n,)
        Standard deviation over the resamples that have a fit.
    first_share : array, shape (n,)
        Share of these resamples in which the item comes first.
    without_fit : int
        Resamples without a finite and unique fit.
    resamples : int
    confidence : float
    reason : str
        Where all resamples give an item the same score, so that its interval, which would have no width, is NaN: why.
    """

    loss: str
    items: tuple[str, ...]
    scores: FloatArray
    low: FloatArray
    high: FloatArray
    standard_error: FloatArray
    first_share: FloatArray
    without_fit: int
    resamples: int
    confidence: float
    reason: str = ""

    def summary(self) -> str:
        """As text."""
        head = f"{self.loss}, {self.confidence:.6g} intervals from {self.resamples} resamples"
        head += f", {self.without_fit} of them without a fit" if self.without_fit else ""
        return "\n".join([head, *table_text(self.to_frame(), 30), *([self.reason] if self.reason else [])])

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Plain values; NaN and infinities become None."""
        from gpo_analysis.tabular.solution import as_json

        return {
            **{
                name: as_json(getattr(self, name))
                for name in ("scores", "low", "high", "standard_error", "first_share")
            },
            "without_fit": self.without_fit,
            "resamples": self.resamples,
            "confidence": self.confidence,
            "reason": self.reason,
        }

    def _columns(self) -> Mapping[str, Any]:
        """A row an item, the highest score first: item, score, standard_error, low, high, first_share."""
        order = np.argsort(-np.nan_to_num(self.scores, nan=-np.inf), kind="stable")
        names = ("standard_error", "low", "high", "first_share")
        return {"item": [self.items[i] for i in order], "score": self.scores[order],
                **{name: getattr(self, name)[order] for name in names}}  # fmt: skip

    def _notes(self) -> list[str]:
        return [self.reason] if self.reason else []

    def _panel(self) -> Panel:
        c, title = self._columns(), f"{self.loss}: {100 * self.confidence:.10g} % intervals, {self.resamples} resamples"
        return intervals(title, "score  [nats]", c["item"], c["score"], c["low"], c["high"])


def bootstrap_scores(
    comparisons: Comparisons,
    loss: MarginLoss | str,
    *,
    resamples: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
    progress: bool | Progress = False,
) -> ScoreIntervals:
    """Percentile bootstrap (Efron 1979) of the fitted scores, labels resampled.

    Parameters
    ----------
    comparisons : Comparisons
    loss : MarginLoss or str
    resamples : int
    confidence : float
    seed : int
    progress : bool or function
        A bar where standard error is a terminal, or a function of the share done and what is next.

    Notes
    -----
    Resamples without a finite fit (separable, or with items never compared) are not dropped silently: they count as
    `without_fit`, and an end of the interval that falls among them is infinite. A score without a fit could lie
    anywhere, so half of these resamples are counted at either end. Scores that no resample moves have no interval:
    `reason` says why.

    Raises
    ------
    ValueError
        For an unknown loss, no resamples or a confidence outside (0, 1).

    Examples
    --------
    >>> from gpo_analysis.datasets import load_journals
    >>> found = bootstrap_scores(load_journals(), "logistic", resamples=50)
    >>> bool((found.low < found.scores).all() and (found.scores < found.high).all()), found.without_fit
    (True, 0)
    """
    check_resampling(resamples, confidence)
    f = get_margin_loss(loss)
    warn_of_rising([f])
    pool = check_comparisons(comparisons).aggregated()
    whole = fitted([PreferenceProblem.from_comparisons(pool)], [f])[0]
    refits = _refitted(pool, f, whole, _drawn_counts(pool, resamples, seed), progress)
    nothing = np.full(comparisons.n, np.nan)
    drawn = refits[np.isfinite(refits).all(axis=1)]
    without_fit = int(resamples) - len(drawn)
    low, high = _ends(drawn, without_fit, confidence)
    spread = drawn.std(axis=0, ddof=1) if len(drawn) > 1 else nothing
    stuck = (low == high) & (np.ptp(drawn, axis=0) == 0) if len(drawn) else np.zeros(comparisons.n, dtype=bool)
    low[stuck] = high[stuck] = spread[stuck] = np.nan
    best = drawn == drawn.max(axis=1, keepdims=True) if len(drawn) else np.zeros((0, comparisons.n))
    return ScoreIntervals(
        loss=f.name,
        items=comparisons.items,
        scores=whole.reward,
        low=low,
        high=high,
        standard_error=spread,
        first_share=(best / best.sum(axis=1, keepdims=True)).mean(axis=0) if len(drawn) else nothing,
        without_fit=without_fit,
        resamples=int(resamples),
        confidence=float(confidence),
        reason=STUCK.format(int(stuck.sum()), comparisons.n) if stuck.any() else "",
    )


def _refitted(pool: Comparisons, f: MarginLoss, whole: Fit, counts: IntArray, progress: bool | Progress) -> FloatArray:
    """Scores of every resample, shape (resamples, n), NaN without a fit: from the whole fit where it is near enough."""
    pairs = whole.problem.directed_pairs()
    known = WeightedPairs(pool.n, pairs.winner, pairs.loser, pairs.weight, 0.0, pool.items, None)
    size = max(1, BATCH // len(pairs))
    scores = np.full((len(counts), pool.n), np.nan)
    for first in followed(range(0, len(counts), size), progress, f"resamples, {f.name}", named=False):
        batch = counts[first : first + size]
        weights = batch / batch.sum(axis=1, keepdims=True)
        found, done = minimise_reweighted(known, f, whole.minima[0], weights)
        others = [PreferenceProblem.from_comparisons(_with_counts(pool, count)) for count in batch[~done]]
        if others:
            found[~done] = [one.reward for one in fitted(others, [f])]
        scores[first : first + size] = found
    return scores


def _ends(drawn: FloatArray, without_fit: int, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Quantiles with half of the resamples without a fit at −∞ and half at +∞."""
    n = drawn.shape[1]
    below = np.full(((without_fit + 1) // 2, n), -np.inf)
    everything = np.sort(np.concatenate([below, drawn, np.full((without_fit - len(below), n), np.inf)]), axis=0)
    ends = [0.5 - confidence / 2, 0.5 + confidence / 2]
    low, high = np.quantile(everything, ends, axis=0, method="inverted_cdf")
    return low, high
