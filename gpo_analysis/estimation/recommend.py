"""Which β: from labelled pairs and a KL budget, or a target margin, to the β of each f.

The fit g = βh of a loss does not depend on β, and the policy at β is the tilt π_β ∝ πref e^{g/β}. Its KL from πref
falls strictly from −log πref(best) to 0 as β grows, so a budget within that range fixes β; and the mean |ρ| over the
labels is the mean |g_w − g_l| divided by β. Items that no chain of comparisons connects are separate problems
(prompts): each has its own policy, and KL is averaged over them.

That policy is one over the responses that were compared, and πref is their share under the reference model, uniform
unless it is given. A language model spreads over all texts: with S the compared responses to a prompt,
``KL(π‖πref) ≥ π(S) · KL(π(·|S)‖πref(·|S))``, and the rest of its KL is of how it moves mass between S and all else,
which comparisons do not show. So a β found here compares losses and data at equal strength; for a budget of a language
model take one short run's log and :func:`gpo_analysis.estimation.beta_from_log`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.estimation.covariance import kappa_of
from gpo_analysis.estimation.prompts import (
    PromptFits,
    Prompts,
    fit_prompts,
    fit_samples,
    margins_and_labels,
    prompts_of,
)
from gpo_analysis.estimation.resampling import check_resampling, check_smoothing, resampled
from gpo_analysis.losses import PAPER_LOSSES, MarginLoss, distinct_losses, get_margin_losses, warn_of_rising
from gpo_analysis.preferences.checks import check_comparisons
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.progress import Progress, followed
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, intervals
from gpo_analysis.statistics import Interval

_MANY = 20  # prompts from which on prompts, not labels, are resampled
_ROOM = 20_000_000  # numbers of times that are drawn at once


@dataclass(frozen=True)
class BetaRecommendation(Shown):
    """The β of one loss.

    Attributes
    ----------
    loss : str
    beta : Interval
        β for the target and its bootstrap interval; NaN where no β is found, with the reason in `status`.
    beta_kappa : float
        βκ, the strength of the regularization near πref, with the κ of the loss that was fitted (smoothed where that
        was asked for); 0 for hinge, NaN where κ is not defined.
    kl : float
        KL(π_β‖πref) in nats of the policy fitted to these data, averaged over prompts.
    mean_abs_rho : float
        Mean \\|ρ\\| over the labels, in nats.
    without_fit : float
        Share of resamples in which the loss has no finite fit, or the target is out of reach.
    status : str
        "found" or why not.
    """

    loss: str
    beta: Interval
    beta_kappa: float
    kl: float
    mean_abs_rho: float
    without_fit: float
    status: str

    _no_plot = "it is a row of the recommendations, which draw all"


@dataclass(frozen=True)
class BetaRecommendations(Shown):
    """The β of each loss for one target.

    Attributes
    ----------
    target : str
        Such as "KL = 0.5 nats".
    prompts : int
        Sets of items that comparisons connect.
    labels : float
        Sum of the counts.
    resamples : int
    confidence : float
    smoothing : float
        ε of the smoothed losses that were fitted.
    rows : tuple of BetaRecommendation
    notes : tuple of str
        What to beware of, in words.
    largest_kl : float
        −log min πref over the compared responses, averaged over prompts: no policy over them has a larger KL. With two
        responses a prompt and uniform πref it is log 2.
    policy : str
        Which policy and which πref the numbers are of, in words.
    """

    target: str
    prompts: int
    labels: float
    resamples: int
    confidence: float
    smoothing: float
    rows: tuple[BetaRecommendation, ...]
    notes: tuple[str, ...] = ()
    largest_kl: float = float("nan")
    policy: str = ""

    def __getitem__(self, loss: str) -> BetaRecommendation:
        for row in self.rows:
            if row.loss == loss:
                return row
        raise KeyError(loss)

    def records(self) -> list[dict[str, Any]]:
        """A flat dictionary a loss."""
        return [
            {
                "loss": row.loss, "beta": row.beta.value, "low": row.beta.low, "high": row.beta.high,
                "beta_kappa": row.beta_kappa, "kl": row.kl, "mean_abs_rho": row.mean_abs_rho,
                "without_fit": row.without_fit, "status": row.status,
            }
            for row in self.rows
        ]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        head = {key: value for key, value in vars(self).items() if key not in ("rows", "notes")}
        return {**head, "recommendations": self.records(), "notes": list(self.notes)}

    def summary(self) -> str:
        """As text."""
        wide = max([20, *(len(row.loss) for row in self.rows)])
        ends = {row.loss: "none" if np.isnan(row.beta.low) else f"[{row.beta.low:.4g}, {row.beta.high:.4g}]"
                for row in self.rows}  # fmt: skip
        broad = max([20, *map(len, ends.values())])
        lines = [
            f"β for {self.target}: {self.labels:g} labels, {self.prompts} prompt{'s' * (self.prompts != 1)}; "
            f"{100 * self.confidence:.10g}% intervals from {self.resamples} resamples",
            f"{'loss':<{wide}} {'β':>9}  {'interval':<{broad}} {'βκ':>9} {'KL':>8} {'mean |ρ|':>9}",
        ]
        for row in self.rows:
            if row.status != "found":
                lines.append(f"{row.loss:<{wide}} {'–':>9}  {row.status}")
                continue
            beside = f"  ({row.without_fit:.0%} of the resamples without a fit)" if row.without_fit > 0 else ""
            if np.isnan(row.beta.low) and row.without_fit <= 0.1:
                beside += "  (every resample gives this β: no sample says how sure it is)"
            lines.append(
                f"{row.loss:<{wide}} {row.beta.value:>9.4g}  {ends[row.loss]:<{broad}} "
                f"{f'{row.beta_kappa:.4g}' if row.beta_kappa else 'κ = 0':>9} {row.kl:>8.4g} "
                f"{row.mean_abs_rho:>9.4g}{beside}"
            )
        lines += [f"of {self.policy}"] if self.policy else []
        return "\n".join([*lines, *(f"- {note}" for note in self.notes)])

    __str__ = summary

    def _columns(self) -> Mapping[str, Any]:
        told = self.records()
        return {name: [row[name] for row in told] for name in told[0]} if told else {}

    def _panel(self) -> Panel:
        c, title = self._columns(), f"β for {self.target}, {100 * self.confidence:.10g} % intervals"
        return intervals(title, "β", c["loss"], c["beta"], c["low"], c["high"], log="x", by_loss=True)


def recommend_beta(
    comparisons: Comparisons,
    *,
    kl: float | None = None,
    margin: float | None = None,
    losses: MarginLoss | str | Iterable[MarginLoss | str] | None = None,
    reference: ArrayLike | None = None,
    smoothing: float = 0.0,
    resamples: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
    progress: bool | Progress | None = None,
) -> BetaRecommendations:
    """The β at which the policy fitted by each loss spends a KL budget, or has a target mean \\|ρ\\|.

    Parameters
    ----------
    comparisons : Comparisons
        Labelled pairs. Items that comparisons connect are responses to one prompt.
    kl : float, optional
        Budget for KL(π‖πref) in nats, averaged over prompts. One of `kl` and `margin` is to be given.
    margin : float, optional
        Target for the mean \\|ρ\\| over the labels, in nats.
    losses : MarginLoss or str, or several, optional
        The paper's six by default.
    reference : array, shape (n,), optional
        πref in the order of ``comparisons.items``, made to sum to one within each prompt; uniform by default.
    smoothing : float
        ε, 0 or from 1e-12 to below ½: fit (1−ε) f(z) + ε f(−z), which is finite where f is not (one label a pair).
    resamples : int
        Of labels; of whole prompts where there are at least twenty.
    confidence : float
    seed : int
    progress : bool or function, optional
        Called with the share that is done, from 0 to 1, and the name of the loss that is next.

    Raises
    ------
    ValueError
        Unless exactly one target is given, positive and finite; for a bad reference, smoothing or loss.

    Notes
    -----
    The interval is normal on the scale of log β, with the bootstrap's standard deviation and less its bias: fits to
    resamples are noisier than the fit to the data by as much as the latter is than the population's. It covers the β
    that the same target has in the population; the value itself is what meets the target on these data. Some fifty
    resamples do for it, where percentiles would need hundreds.

    Policies that are trained spend less than the optimum before they have converged, and a policy that generalises
    over prompts is not free on each: the numbers are those of the exact optimum. Hinge's optimum lies at a corner that
    jumps between samples: its interval covers far less than it says, or has no width.

    Examples
    --------
    >>> from gpo_analysis.datasets import load_journals
    >>> found = recommend_beta(load_journals(), kl=0.3, losses=["dpo", "exponential"], resamples=20)
    >>> [round(row.kl, 6) for row in found.rows]
    [0.3, 0.3]
    """
    if (kl is None) == (margin is None):
        raise ValueError(f"give one of kl and margin, got kl={kl!r} and margin={margin!r}")
    target = check_positive(kl, "kl") if kl is not None else check_positive(margin or 0.0, "margin")
    check_smoothing(smoothing)
    check_resampling(resamples, confidence)
    pool = check_comparisons(comparisons).aggregated()
    prompt = prompts_of(pool)
    ref = _reference(reference, prompt)
    functions = get_margin_losses(PAPER_LOSSES if losses is None else distinct_losses(losses))
    warn_of_rising(functions)
    known = Prompts.of(pool, prompt, ref)
    search = _Search(pool, prompt, ref, known, target, kl is not None, smoothing, int(resamples), confidence, seed)
    rows = []
    for f in followed(functions, progress, "losses"):
        rows.append(search.row(f))
    words = f"KL = {target:g} nats" if kl is not None else f"mean |ρ| = {target:g} nats"
    return BetaRecommendations(
        words, known.prompts, pool.total, int(resamples), float(confidence), float(smoothing), tuple(rows),
        _notes(comparisons, known, target if kl is not None else None), known.largest_kl,
        _policy(known, reference is None),
    )  # fmt: skip


def _policy(known: Prompts, is_uniform: bool) -> str:
    sizes = np.bincount(known.problem)
    of = "2" if np.all(sizes == 2) else f"{sizes.min()} to {sizes.max()}" if np.ptp(sizes) else str(sizes[0])
    ref = "πref uniform over them (an assumption)" if is_uniform else "πref as given, made to sum to one over them"
    return (
        f"the exact optimum over the {of} compared responses of each prompt, {ref}; no language model's KL: see --help"
    )


def _notes(comparisons: Comparisons, known: Prompts, budget: float | None) -> tuple[str, ...]:
    notes = []
    named = 0 if comparisons.report is None else comparisons.report.prompts
    if 0 < named < known.prompts:
        notes.append(
            f"the file's prompts ({named}) fall into {known.prompts} sets that no comparison connects: each counts as "
            "one"
        )
    sizes = np.bincount(known.problem)
    if np.average(sizes == 2, weights=known.times) > 0.5:
        notes.append(
            f"with two responses a prompt no policy over them has a KL beyond −log min πref = {known.largest_kl:.4g} "
            "nats, averaged over prompts"
            + (", so budgets as for language models mean nothing here" if budget and budget > 0.5 else "")
            + "; what labels identify is the margin (--margin), and a run's log what it drops or spends (--log)"
        )
    labels = np.bincount(known.problem[known.winner], known.count, len(sizes))
    if np.average(labels == 1, weights=known.times) > 0.5:
        notes.append(
            "most prompts have one label: it says nothing of how sure it is, so without smoothing each f is at its "
            "margin at certainty, or has none, and β is set by the form of f alone"
        )
    return tuple(notes)


def _reference(reference: ArrayLike | None, prompt: IntArray) -> FloatArray:
    given = np.ones(len(prompt)) if reference is None else np.asarray(reference, dtype=np.float64)
    if given.shape != prompt.shape or not np.all(np.isfinite(given)) or not np.all(given > 0):
        raise ValueError(f"reference must be {len(prompt)} positive finite numbers, got {reference!r}")
    shares: FloatArray = given / np.bincount(prompt, given)[prompt]
    return shares


@dataclass
class _Search:
    """One target on one set of prompts, for loss after loss."""

    pool: Comparisons
    prompt: IntArray
    reference: FloatArray
    known: Prompts
    target: float
    is_kl: bool
    smoothing: float
    resamples: int
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        few = self.known.prompts < _MANY
        self.samples = resampled(self.pool, self.resamples, seed=self.seed) if few else []

    def row(self, f: MarginLoss) -> BetaRecommendation:
        """β of one loss, or why there is none."""
        fitted = f.smoothed(self.smoothing) if self.smoothing else f
        whole, why = fit_prompts(self.known, fitted)
        nan = float("nan")
        beta = self._beta_of(whole)
        if whole is None or not np.isfinite(beta):
            if whole is not None:
                why = self._unreached(whole)
            return BetaRecommendation(f.name, Interval(nan, nan, nan), nan, nan, nan, nan, why)
        drawn = self._drawn(fitted, whole)
        return BetaRecommendation(
            f.name, _corrected(beta, drawn, self.confidence), beta * kappa_of(fitted), whole.kl(beta),
            whole.mean_abs / beta, float(np.mean(~np.isfinite(drawn))), "found",
        )  # fmt: skip

    def _beta_of(self, fit: PromptFits | None) -> float:
        if fit is None:
            return float("nan")
        with np.errstate(over="ignore"):
            return fit.beta_of_kl(self.target) if self.is_kl else float(np.divide(fit.mean_abs, self.target)) or np.nan

    def _unreached(self, whole: PromptFits) -> str:
        if not whole.mean_abs:
            return "the fit puts every margin at 0"
        if not self.is_kl:
            return f"out of reach: β would be {whole.mean_abs:.4g}/{self.target:g}, which no float holds"
        limit = f"the KL of this fit is below {whole.kl_limit():.4g} nats at every β"
        if self.target >= self.known.largest_kl:
            limit += f", and of any policy over these responses at most {self.known.largest_kl:.4g}"
        return f"out of reach: {limit}"

    def _drawn(self, fitted: MarginLoss, whole: PromptFits) -> FloatArray:
        """β of every resample: of whole prompts where there are many, of labels elsewhere."""
        if self.samples:
            fits = fit_samples(self.pool, self.samples, fitted, self.prompt, self.reference)
            return np.array([self._beta_of(fit) for fit in fits])
        if self.is_kl:
            return np.concatenate([whole.betas_of_kl(self.target, times) for times in self._times()])
        return np.concatenate([margins_and_labels(self.known, whole.g, times) for times in self._times()]) / self.target

    def _times(self) -> Iterator[FloatArray]:
        """How often each problem is drawn, a few resamples at a time, shape (some, problems); the same each time."""
        rng = np.random.default_rng(self.seed)
        count, share = self.known.prompts, self.known.times / self.known.times.sum()
        some = max(1, _ROOM // len(share))
        for begin in range(0, self.resamples, some):
            yield rng.multinomial(count, share, size=min(some, self.resamples - begin)).astype(np.float64)


def _corrected(value: float, drawn: FloatArray, confidence: float) -> Interval:
    """Normal interval of log β, less the bootstrap's bias.

    NaN where fewer than nine resamples in ten have a fit, or where all give one β: a β that no sample can change, such
    as the squared loss's with one label a pair, says nothing of the population's.
    """
    kept = np.log(drawn[np.isfinite(drawn)])
    if len(kept) < max(2, 0.9 * len(drawn)) or np.ptp(kept) <= 1e-9:
        return Interval(value, float("nan"), float("nan"))
    middle = 2 * np.log(value) - kept.mean()
    half = float(norm.ppf(0.5 + confidence / 2) * kept.std(ddof=1))
    return Interval(value, float(np.exp(middle - half)), float(np.exp(middle + half)))
