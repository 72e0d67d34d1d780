"""Bootstrap intervals of rankings: several losses on the same reweighted votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.resampling import check_resampling
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.preferences.laplacian import centred
from gpo_analysis.progress import Progress, reporting
from gpo_analysis.ranking.bootstrap import Resampled, refitted, weights_of_cells
from gpo_analysis.ranking.fitting import weighted_pairs
from gpo_analysis.ranking.ranking import Ranking
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, intervals
from gpo_analysis.solvers.optimum import optimise
from gpo_analysis.statistics import resampled_ends


@dataclass(frozen=True, eq=False)
class BootstrapScores(Shown):
    """Refits of one loss to reweighted votes.

    Attributes
    ----------
    loss : str
    draws : array, shape (r, n)
        Scores of the resamples that have a fit, centred; for a kinked loss of its minimiser of least norm.
    theta : array, shape (r, p)
        With coefficients and tie parameter.
    low, high : array, shape (n,)
        Percentile interval, where votes come in clusters as wide as their number needs it
        (`gpo_analysis.statistics.resampled_ends`); NaN where all draws are alike, `reason` says why then.
    standard_error : array, shape (n,)
    best_probability : array, shape (n,)
        Share of the draws in which the item comes first, ties shared.
    without_fit : int
    reason : str
    """

    loss: str
    draws: FloatArray
    theta: FloatArray
    low: FloatArray
    high: FloatArray
    standard_error: FloatArray
    best_probability: FloatArray
    without_fit: int
    reason: str

    def _columns(self) -> Mapping[str, Any]:
        names = ("low", "high", "standard_error", "best_probability")
        mean = self.draws.mean(axis=0) if len(self.draws) else np.full(len(self.low), np.nan)
        return {"item": np.arange(len(self.low)), "mean": mean, **{name: getattr(self, name) for name in names}}

    def _panel(self) -> Panel:
        c = self._columns()
        order = np.argsort(-np.nan_to_num(c["mean"], nan=-np.inf), kind="stable")
        names = [f"item {i}" for i in order]
        title = f"{self.loss}: {len(self.draws)} refits, {self.without_fit} without a fit"
        return intervals(title, "score  [nats]", names, *(c[name][order] for name in ("mean", "low", "high")))


FINEST = 64  #: Parts of a vote to which weights are rounded for kinked losses.
STUCK = (
    "all resamples have the same score for {} of {} items: the optimum of {} sits on a kink, from which the votes' "
    "noise does not move it, and no interval can be told by resampling"
)


def bootstrap(
    rankings: Sequence[Ranking], *, resamples: int = 1000, seed: int = 0, progress: bool | Progress = False
) -> list[BootstrapScores]:
    """Weighted bootstrap of several fits to one problem, on the same weights.

    Parameters
    ----------
    rankings : sequence of Ranking
        Of one problem; each of them with an answer.
    resamples : int
    seed : int
    progress : bool or function
        A bar where standard error is a terminal, or a function of the share done and what is next.

    Raises
    ------
    ValueError
        Without a ranking, for rankings of different problems, or one without a finite fit.

    Examples
    --------
    >>> from gpo_analysis.datasets import load_journals
    >>> from gpo_analysis.ranking import ComparisonProblem, rank
    >>> found = rank(ComparisonProblem.from_comparisons(load_journals()))
    >>> [again] = bootstrap([found], resamples=400)
    >>> bool(np.allclose(again.standard_error, found.standard_errors, rtol=0.15))
    True
    """
    check_resampling(resamples, 0.5)
    if not rankings:
        raise ValueError("bootstrap needs at least one ranking")
    problem = rankings[0].problem
    for one in rankings:
        if one.problem is not problem:
            raise ValueError("the rankings of one bootstrap must be of one problem")
        if not one.converged:
            raise ValueError(f"{one.loss} has no finite fit to resample: {one.why}")
    chunks = weights_of_cells(problem, problem.cluster, int(resamples), seed)
    parts: list[list[Resampled]] = [[] for _ in rankings]
    with reporting(progress, "resamples") as show:
        done = 0
        for weights in chunks:
            for found, one in zip(parts, rankings, strict=True):
                if show is not None:
                    show(done / int(resamples), one.loss)
                found.append(_refit(one, weights))
            done += len(weights)
    return [_concluded(one, found) for one, found in zip(rankings, parts, strict=True)]


def _refit(ranking: Ranking, weights: FloatArray) -> Resampled:
    system = ranking.system
    if ranking.model.is_smooth and ranking.information is not None:
        inverse = ranking.information
        return refitted(system, ranking.fit.theta, inverse, ranking.standard_errors, iter([weights]))
    if system.d or system.ridge:
        raise ValueError(f"{ranking.loss} with covariates is not resampled; accepted are smooth losses")
    weights = np.rint(FINEST * weights)  # whole numbers, whose flows of least cost are found ten times as fast
    pairs = [weighted_pairs(system, ranking.items, counts) for counts in weights]
    found = [one.minimiser for one in optimise(pairs, get_margin_loss(ranking.loss))]
    rows = [g[: system.n] for g in found if g is not None]
    return Resampled(np.array(rows).reshape(len(rows), system.n), len(found) - len(rows))


def _concluded(ranking: Ranking, parts: list[Resampled]) -> BootstrapScores:
    theta = np.concatenate([part.theta for part in parts])
    n = ranking.problem.n
    draws = np.stack([centred(row[:n], ranking.problem.parts) for row in theta]) if len(theta) else theta[:, :n]
    without = sum(part.without_fit for part in parts)
    ends = [0.5 - ranking.confidence / 2, 0.5 + ranking.confidence / 2]
    if len(draws) < 2:
        nothing = np.full(n, np.nan)
        return BootstrapScores(
            ranking.loss, draws, theta, nothing, nothing, nothing, nothing, without, "no resample has a finite fit"
        )
    low, high = np.quantile(draws, ends, axis=0)
    if ranking.problem.cluster is not None:  # few, as votes are not
        clusters = int(ranking.problem.cluster.max()) + 1
        low, high = resampled_ends(ranking.scores, draws, clusters, ranking.confidence)
    stuck = np.ptp(draws, axis=0) <= 1e-9 * (1 + np.abs(draws).max())
    low[stuck] = high[stuck] = np.nan
    reason = STUCK.format(int(stuck.sum()), n, ranking.loss) if stuck.any() else ""
    best = draws >= draws.max(axis=1, keepdims=True) - 1e-9
    share = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    error = np.where(stuck, np.nan, draws.std(axis=0, ddof=1))
    return BootstrapScores(ranking.loss, draws, theta, low, high, error, share, without, reason)
