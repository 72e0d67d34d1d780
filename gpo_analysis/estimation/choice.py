"""Which f predicts labels it has not seen: likelihood and accuracy on held-out labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_expit

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.estimation.resampling import check_resampling, check_smoothing
from gpo_analysis.losses import (
    PAPER_LOSSES,
    MarginLoss,
    distinct_losses,
    get_margin_loss,
    get_margin_losses,
    warn_of_rising,
)
from gpo_analysis.preferences.checks import check_comparisons
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.progress import Progress, followed
from gpo_analysis.showing.charts import Panel, intervals
from gpo_analysis.showing.shown import Shown, of_rows
from gpo_analysis.statistics import Interval, resampled_interval
from gpo_analysis.tabular.implicit_reward import fitted as fits_of
from gpo_analysis.tabular.problem import PreferenceProblem

_FLOOR = 0.005  # probabilities of the losses' own links are kept within [0.005, 0.995]
MOST_HELD_OUT = 20_000_000


@dataclass(frozen=True)
class HeldOut(Shown):
    """One loss on held-out labels.

    Attributes
    ----------
    loss : str
    log_likelihood : Interval
        Mean log-probability of a held-out label, nats, by the loss's own probabilities f′(−z)/(f′(z) + f′(−z)) within
        [0.005, 0.995]; hinge, which has none, is given those of the next line. −log 2 is a coin.
    scaled_log_likelihood : float
        The same with σ(a(g_i − g_j)) for every f, its one scale a fitted to the training labels. It measures the scores
        apart from the link, but by logistic's measure, which favours logistic.
    accuracy : Interval
        Share of held-out labels on the right side, a tie as half.
    behind_best : Interval
        Log-likelihood of the best less that of this loss, over the same labels.
    without_fit : int
        Folds without a finite fit; with any, the loss is not scored.
    """

    loss: str
    log_likelihood: Interval
    scaled_log_likelihood: float
    accuracy: Interval
    behind_best: Interval
    without_fit: int

    _no_plot = "it is a row of the choice, which draws all"


@dataclass(frozen=True)
class LossChoice(Shown):
    """The loss of the highest held-out likelihood, and those that the labels cannot tell from it.

    Attributes
    ----------
    chosen : str or None
        None where no loss has a finite fit in every fold.
    as_good : tuple of str
        Losses whose distance from the best has an interval that reaches 0.
    rows : tuple of HeldOut
    folds : int
    labels : int
    """

    chosen: str | None
    as_good: tuple[str, ...]
    rows: tuple[HeldOut, ...]
    folds: int
    labels: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values; intervals as ``{"value", "low", "high"}``."""
        rows = [
            {key: vars(value) if isinstance(value, Interval) else value for key, value in vars(row).items()}
            for row in self.rows
        ]
        return {
            "chosen": self.chosen, "as_good": list(self.as_good), "folds": self.folds, "labels": self.labels,
            "losses": rows,
        }  # fmt: skip

    def summary(self) -> str:
        """As text."""
        lines = [
            f"held-out labels: {self.labels} in {self.folds} folds",
            f"{'loss':<20} {'log-likelihood a label':<28} {'by σ(az)':>9} {'accuracy':<24} behind the best",
        ]
        for row in self.rows:
            if row.without_fit:
                lines.append(
                    f"{row.loss:<20} no finite fit in {row.without_fit} of {self.folds} folds (try --smoothing)"
                )
                continue
            likelihood, accuracy = format(row.log_likelihood, ".4f"), format(row.accuracy, ".3f")
            lines.append(
                f"{row.loss:<20} {likelihood:<28} {row.scaled_log_likelihood:>9.4f} {accuracy:<24} "
                f"{row.behind_best:.4f}"
            )
        if self.chosen is not None:
            same = [name for name in self.as_good if name != self.chosen]
            lines.append(f"best: {self.chosen}" + (f"; not told apart from it: {', '.join(same)}" if same else ""))
        return "\n".join(lines)

    __str__ = summary

    def _facts(self) -> list[tuple[str, Any]]:
        return [("best", self.chosen or "none"), ("not told apart from it", ", ".join(self.as_good) or "none"),
                ("folds", self.folds), ("labels", self.labels)]  # fmt: skip

    def _columns(self) -> Mapping[str, Any]:
        return of_rows(self.rows)

    def _panel(self) -> Panel:
        behind = [row.behind_best for row in self.rows]
        at, low, high = ([getattr(one, end) for one in behind] for end in ("value", "low", "high"))
        title, axis = "held-out labels; dotted: the best loss", "log-likelihood a label behind the best  [nats]"
        return intervals(title, axis, [row.loss for row in self.rows], at, low, high, by_loss=True, level=0.0)


def link_probability(loss: MarginLoss | str, z: FloatArray) -> FloatArray:
    """η whose minimiser is z: f′(−z)/(f′(z) + f′(−z)), from the condition η f′(z) = (1−η) f′(−z); NaN for hinge.

    Examples
    --------
    >>> link_probability("squared", np.array([0.0, 0.5, 2.0]))
    array([0.5 , 0.75, 1.  ])
    """
    f = get_margin_loss(loss)
    if not float(f.derivative(0.0, 2)) > 0:
        return np.full(np.shape(z), np.nan)
    x = np.asarray(z, dtype=np.float64)
    down, up = np.minimum(f.derivative(x), 0.0), np.minimum(f.derivative(-x), 0.0)
    with np.errstate(invalid="ignore"):
        share = up / (down + up)
    eta: FloatArray = np.where(np.isfinite(share), share, (x > 0) + 0.5 * (x == 0))
    return eta


def choose_loss(
    comparisons: Comparisons,
    losses: MarginLoss | str | Iterable[MarginLoss | str] | None = None,
    *,
    folds: int = 5,
    smoothing: float = 0.0,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    progress: bool | Progress = False,
) -> LossChoice:
    """Cross-validate: fit each f to all labels but a fold's, predict that fold's.

    Parameters
    ----------
    comparisons : Comparisons
        With whole counts; a label is the unit that is held out.
    losses : MarginLoss or str, or several, optional
        The paper's six by default.
    folds : int
    smoothing : float
        ε in [0, ½) for fits that are finite where f's is not.
    resamples, confidence, seed : int, float, int
        Of the bootstrap over held-out labels, fits held fixed; the seed also splits the folds.
    progress : bool or function
        A bar where standard error is a terminal, or a function of the share done and what is next.

    Raises
    ------
    ValueError
        For fractional counts, fewer labels than folds, fewer than two folds, an unknown loss.

    Examples
    --------
    >>> from gpo_analysis.datasets import load_journals
    >>> found = choose_loss(load_journals(), ["logistic", "squared"], resamples=50)
    >>> found.labels, sorted(found.as_good)
    (3727, ['logistic'])
    """
    check_resampling(resamples, confidence)
    check_smoothing(smoothing)
    functions = get_margin_losses(PAPER_LOSSES if losses is None else distinct_losses(losses))
    warn_of_rising(functions)
    pool, split = _split(comparisons, folds, seed)
    scored = [_scored(f, pool, split, smoothing) for f in followed(functions, progress, "losses")]
    counts = split.sum(axis=0)
    rng = np.random.default_rng([seed, 1])
    weights = rng.multinomial(int(counts.sum()), (split / counts.sum()).ravel(), size=int(resamples))
    rows = _rows(functions, scored, split, weights.reshape(-1, split.size), confidence)
    able = [row for row in rows if not row.without_fit]
    chosen = max(able, key=lambda row: row.log_likelihood.value).loss if able else None
    as_good = tuple(
        row.loss for row in able if row.behind_best.low <= 1e-6
    )  # nats; fits that agree to rounding are not told apart
    return LossChoice(chosen, as_good, rows, int(folds), int(counts.sum()))


def _split(comparisons: Comparisons, folds: int, seed: int) -> tuple[Comparisons, IntArray]:
    """Labels dealt to folds at random, equally many each (one more or less): counts, shape (folds, pairs)."""
    pool = check_comparisons(comparisons).aggregated()
    if pool.total > MOST_HELD_OUT:
        raise ValueError(f"held-out labels are dealt one by one: at most {MOST_HELD_OUT:,}, got {pool.total:.4g}")
    counts = np.round(pool.count).astype(np.int64)
    if np.any(np.abs(pool.count - counts) > 1e-9):
        raise ValueError("held-out labels need whole counts; these have fractions")
    if isinstance(folds, bool) or int(folds) != folds or not 2 <= folds <= counts.sum():
        raise ValueError(f"folds must be a whole number from 2 to the number of labels, {counts.sum()}, got {folds!r}")
    label = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng([seed, 0]).shuffle(label)
    split = [np.bincount(label[k :: int(folds)], minlength=len(counts)) for k in range(int(folds))]
    return pool, np.array(split)


def _scored(f: MarginLoss, pool: Comparisons, split: IntArray, smoothing: float) -> tuple[FloatArray, int]:
    """Log-likelihood, that of σ(az) and hit of each pair in each fold, shape (3, folds, pairs); folds without a fit."""
    fitted = f.smoothed(smoothing) if smoothing else f
    training = split.sum(axis=0) - split
    parts = [Comparisons(pool.winner, pool.loser, counts, items=pool.items).aggregated() for counts in training]
    scores = np.full((3, *split.shape), np.nan)
    without_fit = 0
    for k, found in enumerate(fits_of([PreferenceProblem.from_comparisons(part) for part in parts], [fitted])):
        g = found.minimiser
        if g is None:
            without_fit += 1
            continue
        z = g[pool.winner] - g[pool.loser]
        scaled = log_expit(_scale(z, training[k]) * z)
        own = np.log(np.clip(link_probability(fitted, z), _FLOOR, 1 - _FLOOR))
        scores[:, k] = np.where(np.isnan(own), scaled, own), scaled, (z > 1e-9) + 0.5 * (np.abs(z) <= 1e-9)
    return scores, without_fit


def _scale(z: FloatArray, counts: IntArray) -> float:
    """The a ≥ 0 of the highest likelihood of the training labels under σ(az); concave in a, hence in bounds."""
    largest = float(np.abs(z).max())
    if largest == 0:
        return 0.0

    def loss(a: float) -> float:
        return -float(counts @ log_expit(a * z))

    return float(minimize_scalar(loss, bounds=(0.0, 50.0 / largest), method="bounded", options={"xatol": 1e-9}).x)


def _rows(
    functions: list[MarginLoss],
    scored: list[tuple[FloatArray, int]],
    split: IntArray,
    weights: IntArray,
    confidence: float,
) -> tuple[HeldOut, ...]:
    flat = split.ravel() / split.sum()
    labels = int(split.sum())

    def interval(values: FloatArray, within: tuple[float, float] | None = None) -> Interval:
        if not np.isfinite(values[flat > 0]).all():
            return Interval(np.nan, np.nan, np.nan)
        x = np.where(flat > 0, values, 0.0)
        drawn = weights @ x / weights.sum(axis=1)
        return resampled_interval(float(flat @ x), drawn, labels, confidence, within=within)

    able = [scores[0].ravel() for scores, without_fit in scored if not without_fit]
    best = max(able, key=lambda values: float(flat @ values)) if able else np.full(split.size, np.nan)
    rows = []
    for f, (scores, without_fit) in zip(functions, scored, strict=True):
        likelihood, scaled, hit = (part.ravel() for part in scores)
        behind = interval(best - likelihood)
        own, hits = interval(likelihood), interval(hit, (0.0, 1.0))
        rows.append(HeldOut(f.name, own, interval(scaled).value, hits, behind, without_fit))
    return tuple(rows)
