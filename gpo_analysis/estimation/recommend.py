"""Which β: from labelled pairs and a KL budget, or a target margin, to the β of each f.

The fit g = βh of a loss does not depend on β, and the policy at β is the tilt π_β ∝ πref e^{g/β}. Its KL from πref
falls strictly from −log πref(best) to 0 as β grows, so a budget within that range fixes β; and the mean |ρ| over the
labels is the mean |g_w − g_l| divided by β. Items that no chain of comparisons connects are separate problems
(prompts): each has its own policy, and KL is averaged over them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.estimation.covariance import kappa_of
from gpo_analysis.estimation.prompts import PromptFits, fit_prompts, prompts_of, repeated
from gpo_analysis.estimation.resampling import check_resampling, check_smoothing, resampled
from gpo_analysis.losses import PAPER_LOSSES, MarginLoss, get_losses
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.statistics import Interval

_MANY = 20  # prompts from which on prompts, not labels, are resampled


@dataclass(frozen=True)
class BetaRecommendation:
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


@dataclass(frozen=True)
class BetaRecommendations:
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
    """

    target: str
    prompts: int
    labels: float
    resamples: int
    confidence: float
    smoothing: float
    rows: tuple[BetaRecommendation, ...]
    notes: tuple[str, ...] = ()

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

    def __str__(self) -> str:
        lines = [
            f"β for {self.target}: {self.labels:g} labels, {self.prompts} prompt{'s' * (self.prompts != 1)}; "
            f"{100 * self.confidence:.10g}% intervals from {self.resamples} resamples",
            f"{'loss':<20} {'β':>9}  {'interval':<20} {'βκ':>9} {'KL':>8} {'mean |ρ|':>9}",
        ]
        for row in self.rows:
            if row.status != "found":
                lines.append(f"{row.loss:<20} {'–':>9}  {row.status}")
                continue
            ends = "none" if np.isnan(row.beta.low) else f"[{row.beta.low:.4g}, {row.beta.high:.4g}]"
            beside = f"  ({row.without_fit:.0%} of the resamples without a fit)" if row.without_fit > 0 else ""
            if np.isnan(row.beta.low) and row.without_fit <= 0.1:
                beside += "  (every resample gives this β: no sample says how sure it is)"
            lines.append(
                f"{row.loss:<20} {row.beta.value:>9.4g}  {ends:<20} {row.beta_kappa:>9.4g} {row.kl:>8.4g} "
                f"{row.mean_abs_rho:>9.4g}{beside}"
            )
        return "\n".join([*lines, *(f"- {note}" for note in self.notes)])


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
    if not isinstance(comparisons, Comparisons):
        raise ValueError(f"comparisons is {type(comparisons).__name__}; accepted are Comparisons")
    pool = comparisons.aggregated()
    prompt = prompts_of(pool)
    ref = _reference(reference, prompt)
    functions = get_losses(PAPER_LOSSES if losses is None else losses)
    samples = _samples(pool, prompt, resamples, seed)
    rows = tuple(_row(f, pool, samples, prompt, ref, target, kl is not None, smoothing, confidence) for f in functions)
    parts, named = int(prompt.max()) + 1, 0 if comparisons.report is None else comparisons.report.prompts
    notes: tuple[str, ...] = ()
    if 0 < named < parts:
        notes = (
            f"the file's prompts ({named}) fall into {parts} sets that no comparison connects: each counts as one",
        )
    words = f"KL = {target:g} nats" if kl is not None else f"mean |ρ| = {target:g} nats"
    return BetaRecommendations(
        words, parts, pool.total, int(resamples), float(confidence), float(smoothing), rows, notes
    )


def _reference(reference: ArrayLike | None, prompt: IntArray) -> FloatArray:
    given = np.ones(len(prompt)) if reference is None else np.asarray(reference, dtype=np.float64)
    if given.shape != prompt.shape or not np.all(np.isfinite(given)) or not np.all(given > 0):
        raise ValueError(f"reference must be {len(prompt)} positive finite numbers, got {reference!r}")
    shares: FloatArray = given / np.bincount(prompt, given)[prompt]
    return shares


def _samples(pool: Comparisons, prompt: IntArray, resamples: int, seed: int) -> list[tuple[Comparisons, FloatArray]]:
    """Comparisons with how often each prompt was drawn, shape (prompts,)."""
    count = int(prompt.max()) + 1
    if count < _MANY:
        return [(again, np.ones(count)) for again in resampled(pool, resamples, seed=seed)]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=int(resamples))
    return [(pool, times.astype(np.float64)) for times in drawn]


def _row(
    f: MarginLoss,
    pool: Comparisons,
    samples: list[tuple[Comparisons, FloatArray]],
    prompt: IntArray,
    reference: FloatArray,
    target: float,
    is_kl: bool,
    smoothing: float,
    confidence: float,
) -> BetaRecommendation:
    fitted = f.smoothed(smoothing) if smoothing else f
    whole, why = fit_prompts([pool], fitted, prompt, reference)[0]
    nan = float("nan")

    def beta_of(fit: PromptFits | None) -> float:
        if fit is None:
            return nan
        with np.errstate(over="ignore"):
            return fit.beta_of_kl(target) if is_kl else float(np.divide(fit.mean_abs, target)) or nan

    beta = beta_of(whole)
    if whole is None or not np.isfinite(beta):
        if whole is not None and not whole.mean_abs:
            why = "the fit puts every margin at 0"
        elif whole is not None and is_kl:
            why = f"out of reach: the KL of this fit is below {whole.kl_limit():.4g} nats at every β"
        elif whole is not None:
            why = f"out of reach: β would be {whole.mean_abs:.4g}/{target:g}, which no float holds"
        return BetaRecommendation(f.name, Interval(nan, nan, nan), nan, nan, nan, nan, why)
    if samples[0][0] is pool:
        drawn = np.array([beta_of(repeated(whole, pool, prompt, times)) for _, times in samples])
    else:
        fits = fit_prompts([again for again, _ in samples], fitted, prompt, reference)
        drawn = np.array([beta_of(fit) for fit, _ in fits])
    return BetaRecommendation(
        f.name, _corrected(beta, drawn, confidence), beta * kappa_of(fitted), whole.kl(beta), whole.mean_abs / beta,
        float(np.mean(~np.isfinite(drawn))), "found",
    )  # fmt: skip


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
