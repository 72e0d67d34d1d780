"""How well a model fits: deviance, calibration of predicted shares, likelihood of held-out votes, choice of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import xlogy
from scipy.stats import chi2, norm, t

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.ranking.problem import ComparisonProblem
from gpo_analysis.ranking.ranking import Ranking, rank
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import GREY, Curve, Panel
from gpo_analysis.showing.style import cycle_style
from gpo_analysis.statistics import Interval, share_interval

if TYPE_CHECKING:
    from gpo_analysis.showing.tables import ModelComparison

#: Predicted probabilities are kept within [0.005, 0.995], since links such as squared's reach 0 and 1.
FLOOR = 0.005


@dataclass(frozen=True)
class Goodness(Shown):
    """A likelihood against the saturated model, which gives each row its own shares.

    Attributes
    ----------
    log_likelihood : float
        Without the multinomial coefficients.
    parameters : int
        Free ones: scores less connected parts, coefficients, the tie parameter.
    deviance : float
        Twice the distance to the saturated model.
    degrees_of_freedom : int
    p : float
        Of the deviance by χ²; NaN where fewer than 5 votes an outcome are expected on average: the limit is far then.
    aic, bic : float
    """

    log_likelihood: float
    parameters: int
    deviance: float
    degrees_of_freedom: int
    p: float
    aic: float
    bic: float


def goodness(ranking: Ranking) -> Goodness:
    """Deviance, AIC and BIC.

    Parameters
    ----------
    ranking : Ranking
        Of the logistic loss without ties, or of a model of ties: a tie at half a win is no outcome of a likelihood, and
        with ties the logistic loss is scored as a quasi-likelihood of shares.

    Raises
    ------
    ValueError
        Where the loss is no likelihood or there is no finite fit.

    Examples
    --------
    >>> from gpo_analysis.datasets import load_journals
    >>> found = goodness(rank(ComparisonProblem.from_comparisons(load_journals())))
    >>> round(found.deviance, 2), found.degrees_of_freedom
    (4.29, 3)
    """
    if not np.isfinite(ranking.log_likelihood):
        raise ValueError(f"{ranking.loss} has no deviance: it is no likelihood, or has no finite fit ({ranking.why})")
    counts = ranking.problem.rows.counts
    if not ranking.model.has_parameter:
        counts = np.stack([counts[0] + counts[2] / 2, counts[1] + counts[2] / 2])
    total = counts.sum(axis=0)
    seen = total > 0
    saturated = float((xlogy(counts, counts).sum(axis=0) - xlogy(total, total)).sum())
    problem, has = ranking.problem, ranking.model.has_parameter
    parts = int(problem.parts.max()) + 1
    parameters = problem.n - parts + len(problem.feature_names) + has
    degrees = int(seen.sum()) * (1 + has) - parameters
    deviance = 2 * (saturated - ranking.log_likelihood)
    shares = ranking.model.probabilities(*ranking.system.split(ranking.fit.theta))[: len(counts)]
    near = float((total * shares)[:, seen].mean()) >= 5 and degrees > 0
    return Goodness(
        ranking.log_likelihood, parameters, deviance, degrees, float(chi2.sf(deviance, degrees)) if near else np.nan,
        2 * parameters - 2 * ranking.log_likelihood, parameters * np.log(problem.total) - 2 * ranking.log_likelihood,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Calibration(Shown):
    """Predicted shares of wins (a tie as half) beside observed ones, of votes that the fit had not seen.

    Attributes
    ----------
    predicted, observed : array, shape (b,)
        Means of each bin.
    low, high : array, shape (b,)
        Wilson's interval of the observed share.
    votes : array, shape (b,)
    error : float
        Mean distance of both, weighted by votes.
    slope : Interval
        Of the observed log-odds on the predicted ones: 1 is calibrated, below 1 is too sure.
    """

    predicted: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    votes: FloatArray
    error: float
    slope: Interval

    def _panel(self) -> Panel:
        votes = Curve(self.predicted, self.observed, "votes the fit had not seen", cycle_style(0), True, False, False,
                      self.low, self.high)  # fmt: skip
        even = np.array([0.0, 1.0])
        curves = [Curve(even, even, "calibrated", GREY, faint=True), votes]
        title = f"slope of log-odds {self.slope}"
        return Panel(
            title, "predicted share of wins", "observed share of wins", curves, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
        )


@dataclass(frozen=True, eq=False)
class HeldOutVotes(Shown):
    """Held-out votes of each merged row in each fold, with what the model fitted to the others says of them.

    Attributes
    ----------
    counts : array, shape (folds, 3, k)
    probability : array, shape (folds, 3, k)
        Of win, loss and tie; NaN in a fold without a finite fit.
    """

    counts: FloatArray
    probability: FloatArray

    _no_plot = "calibration() makes of it what can be drawn"

    def _columns(self) -> Mapping[str, Any]:
        """A row a fold."""
        without = np.isnan(self.probability).all(axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.where(self.counts > 0, self.counts * np.log(self.probability), 0.0).sum(axis=(1, 2))
        return {"fold": np.arange(1, len(self.counts) + 1), "votes": self.counts.sum(axis=(1, 2)),
                "log_likelihood": np.where(without, np.nan, log)}  # fmt: skip


def held_out(
    problem: ComparisonProblem, loss: MarginLoss | str = "logistic", *, folds: int = 5, seed: int = 0,
    **options: float | str,
) -> HeldOutVotes:  # fmt: skip
    """Fit to all votes but a fold's and predict that fold's.

    Parameters
    ----------
    problem : ComparisonProblem
        Whole clusters go to a fold where there are any; else votes one by one, which takes whole numbers.
    loss : MarginLoss or str
    folds : int
    seed : int
    **options : float or str
        Of :func:`rank`.

    Raises
    ------
    ValueError
        For fractional votes without clusters, or fewer votes or clusters than folds.
    """
    dealt = _dealt(problem, folds, seed)
    every = np.ones(len(problem.first), dtype=bool)
    rows = problem.rows
    shape = (folds, 3, len(rows.first))
    counts, probability = np.zeros(shape), np.full(shape, np.nan)
    for k, out in enumerate(dealt):
        turned = np.where(rows.turned, out[[1, 0, 2]], out)
        for o in range(3):
            counts[k, o] = np.bincount(rows.source, turned[o], shape[2])
        found = rank(problem.selected(every, problem.counts - out), loss, **options)  # type: ignore[arg-type]
        if found.converged:
            tau = found.tie_parameter if found.model.has_parameter else 0.0
            probability[k] = found.model.probabilities(rows.margins(found.scores, found.coefficients), tau)
    return HeldOutVotes(counts, probability)


def _dealt(problem: ComparisonProblem, folds: int, seed: int) -> list[FloatArray]:
    """Counts (3, m) of each fold."""
    rng = np.random.default_rng(seed)
    if isinstance(folds, bool) or int(folds) != folds or folds < 2:
        raise ValueError(f"folds must be a whole number of at least 2, got {folds!r}")
    if problem.cluster is not None:
        clusters = int(problem.cluster.max()) + 1
        if clusters < folds:
            raise ValueError(f"folds must be at most the number of clusters, {clusters}, got {folds}")
        fold = rng.permutation(clusters) % folds
        return [np.where(fold[problem.cluster] == k, problem.counts, 0.0) for k in range(folds)]
    counts = problem.counts.astype(np.int64)
    if (problem.counts != counts).any():
        raise ValueError("held-out votes need whole numbers of votes, or clusters; these have fractions")
    if counts.sum() < folds:
        raise ValueError(f"folds must be at most the number of votes, {counts.sum()}, got {folds}")
    found, left = [], counts
    for k in range(folds, 1, -1):  # every vote to this fold with probability 1/k of those that are left
        out = rng.binomial(left, 1 / k)
        found.append(out.astype(np.float64))
        left = left - out
    return [*found, left.astype(np.float64)]


def calibration(votes: HeldOutVotes, bins: int = 10) -> Calibration:
    """Reliability of predicted shares.

    Parameters
    ----------
    votes : HeldOutVotes
    bins : int
        Of about as many votes each, by the predicted share.

    Raises
    ------
    ValueError
        Where no fold has a fit.

    Examples
    --------
    >>> from gpo_analysis.datasets import load_journals
    >>> found = calibration(held_out(ComparisonProblem.from_comparisons(load_journals())), bins=4)
    >>> found.error < 0.05, 1.0 in found.slope
    (True, True)
    """
    share = (votes.probability[:, 0] + votes.probability[:, 2] / 2).ravel()
    won = (votes.counts[:, 0] + votes.counts[:, 2] / 2).ravel()
    total = votes.counts.sum(axis=1).ravel()
    keep = np.isfinite(share) & (total > 0)
    if not keep.any():
        raise ValueError("no fold has a finite fit, so that nothing is predicted; a prior gives one")
    # each pair once from either side, so that the bins know no first and second
    share, won, total = (np.concatenate(two) for two in (
        (share[keep], 1 - share[keep]), (won[keep], (total - won)[keep]), (total[keep], total[keep])))  # fmt: skip
    order = np.argsort(share, kind="stable")
    place = np.minimum((np.cumsum(total[order]) - total[order] / 2) / total.sum() * bins, bins - 1).astype(int)
    size = np.bincount(place, total[order], bins)
    keep_bins = size > 0
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(place, (share * total)[order], bins) / size
        observed = np.bincount(place, won[order], bins) / size
    ends = [share_interval(round(o * s / 2), max(1, round(s / 2)))  # each vote stands on both sides
            for o, s in zip(observed[keep_bins], size[keep_bins], strict=True)]  # fmt: skip
    error = float((size[keep_bins] * np.abs(predicted - observed)[keep_bins]).sum() / size.sum())
    return Calibration(
        predicted[keep_bins], observed[keep_bins], np.array([e.low for e in ends]), np.array([e.high for e in ends]),
        size[keep_bins] / 2, error, _slope(share, won, total),
    )  # fmt: skip


def _slope(share: FloatArray, won: FloatArray, total: FloatArray) -> Interval:
    """b of ``logit observed = b · logit predicted``, by Newton's method, with its sandwich interval."""
    p = np.clip(share, FLOOR, 1 - FLOOR)
    x, b = np.log(p) - np.log1p(-p), 1.0
    for _ in range(100):
        mean = 1 / (1 + np.exp(-b * x))
        curve = float((total * mean * (1 - mean) * x**2).sum())
        step = float((x * (won - total * mean)).sum()) / max(curve, 1e-300)
        b += float(np.clip(step, -1, 1))
        if abs(step) < 1e-12:
            break
    mean = 1 / (1 + np.exp(-b * x))
    curve = float((total * mean * (1 - mean) * x**2).sum())
    middle = float((x**2 * (won * (1 - mean) ** 2 + (total - won) * mean**2)).sum()) * 2  # votes stand on both sides
    half = float(norm.ppf(0.975)) * np.sqrt(middle) / max(curve, 1e-300)
    return Interval(b, b - half, b + half)


def compare_models(
    problem: ComparisonProblem, models: Mapping[str, Mapping[str, float | str]] | Sequence[str] | None = None, *,
    folds: int = 5, seed: int = 0,
) -> ModelComparison:  # fmt: skip
    """Held-out log-likelihood a vote of several models on the same votes, with intervals and distances from the best.

    Parameters
    ----------
    problem : ComparisonProblem
    models : mapping of names to options of :func:`rank`, or sequence of losses, optional
        By default logistic with ties at half a win each and, where there are ties, Davidson and Rao–Kupper.
    folds : int
    seed : int

    Returns
    -------
    ModelComparison
        A DataFrame that shows itself. A row a model: ``log_likelihood, low, high`` a vote; ``behind, behind_low,
        behind_high`` the distance from the best over the same votes; ``folds_without_fit``. Where every model gives
        ties a probability all three outcomes are scored; else a tie scores as half a win and half a loss, and decided
        votes by their odds.

    Examples
    --------
    >>> from gpo_analysis.datasets import load_journals
    >>> table = compare_models(ComparisonProblem.from_comparisons(load_journals()), ["logistic", "squared"])
    >>> table["behind"].idxmin()
    'logistic'
    """
    from gpo_analysis.showing.tables import ModelComparison

    named = _models(problem, models)
    votes = {
        name: held_out(problem, str(o.get("loss", "logistic")), folds=folds, seed=seed,
                       **{k: v for k, v in o.items() if k != "loss"})
        for name, o in named.items()
    }  # fmt: skip
    three = all(o.get("ties", "half") != "half" for o in named.values())
    scores = {name: _log_scores(found, three) for name, found in votes.items()}
    counts = next(iter(votes.values())).counts
    without = {name: int(np.isnan(found.probability).all(axis=(1, 2)).sum()) for name, found in votes.items()}
    mean = {name: _mean(score, counts) for name, score in scores.items()}
    able = [name for name in named if not without[name]]
    best = max(able, key=lambda name: mean[name].value) if able else None
    rows = []
    for name in named:
        behind = Interval(np.nan, np.nan, np.nan) if best is None else _mean(scores[best] - scores[name], counts)
        likelihood = mean[name]
        rows.append(
            {"log_likelihood": likelihood.value, "low": likelihood.low, "high": likelihood.high,
             "behind": behind.value, "behind_low": behind.low, "behind_high": behind.high,
             "folds_without_fit": without[name]}
        )  # fmt: skip
    return ModelComparison(rows, index=list(named))


def _models(
    problem: ComparisonProblem, models: Mapping[str, Mapping[str, float | str]] | Sequence[str] | None
) -> dict[str, dict[str, float | str]]:
    if models is None:
        named: dict[str, dict[str, float | str]] = {"logistic": {}}
        if problem.counts[2].any():
            named |= {"davidson": {"ties": "davidson"}, "rao-kupper": {"ties": "rao-kupper"}}
        return named
    if isinstance(models, Mapping):
        return {name: dict(options) for name, options in models.items()}
    return {name: {"loss": name} for name in models}


def _log_scores(votes: HeldOutVotes, three: bool) -> FloatArray:
    """Log-probability of each outcome, shape (folds, 3, k)."""
    if three:
        return np.log(np.clip(votes.probability, 1e-12, 1.0))
    win, loss, _ = (votes.probability[:, o] for o in range(3))
    share = np.clip(win / (win + loss), FLOOR, 1 - FLOOR)
    up, down = np.log(share), np.log1p(-share)
    return np.stack([up, down, (up + down) / 2], axis=1)


def _mean(score: FloatArray, counts: FloatArray) -> Interval:
    """Mean over votes with Student's interval, the fits held fixed; NaN ends of one vote."""
    total = float(counts.sum())
    if np.isnan(score[counts > 0]).any():
        return Interval(np.nan, np.nan, np.nan)
    values = np.where(counts > 0, score, 0.0)
    mean = float((counts * values).sum() / total)
    spread = float((counts * (values - mean) ** 2).sum() / total)
    half = float(t.ppf(0.975, total - 1)) * np.sqrt(spread / (total - 1)) if total > 1 else np.nan
    return Interval(mean, mean - half, mean + half)
