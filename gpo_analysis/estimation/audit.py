"""Which loss a run really trained: f, β, reduction and label smoothing from what it logged, or why that is undecided.

Every loss of the catalogue (and EXO), with and without label smoothing, over token sums and means, in the scales that
libraries give it, is fitted to the logged losses by weighted least squares; weights come from the rounding that the
columns show (bfloat16, or a number of decimals), passed on from the margin by the slope of the loss. Where the chosen's
and the rejected's log-ratio were logged apart, so is every loss of two log-ratios, with its parameters. Losses are then
compared by BIC, their noise inflated to what the best of them leaves. A loss is named where its share is at least 99 %,
beside polynomials too, which stand for losses that nobody tried (`gpo_analysis.estimation.audit_smooth`), and its
residuals show no pattern; where several losses fit, their set is the answer.

From margins alone a loss of two log-ratios cannot be told: its values scatter about any function of the margin, so that
more scatter than rounding explains leaves a log of margins undecided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.stats import chi2

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.audit_fits import Fitted, pair_fits
from gpo_analysis.estimation.audit_means import mean_fits
from gpo_analysis.estimation.audit_smooth import Smooth, smooth_rival
from gpo_analysis.estimation.audit_two_ratio import two_ratio_fits
from gpo_analysis.estimation.audit_two_ratio_means import two_ratio_mean_fits
from gpo_analysis.estimation.identify import rescaling
from gpo_analysis.estimation.log_sample import sample_of
from gpo_analysis.estimation.log_sources import Source, is_file
from gpo_analysis.estimation.logs import MOST
from gpo_analysis.estimation.loss_log import LossLog, read_loss_log
from gpo_analysis.estimation.trained_with import Recorded, recorded_objective
from gpo_analysis.losses import MarginLoss, get_margin_loss, get_margin_losses
from gpo_analysis.progress import Progress
from gpo_analysis.showing import Shown

SURE = 0.99
"""Share of the evidence at which a loss is named."""
CLOSE = 0.05
"""Relative error of β beyond which it is not named."""
SCATTER = 4.0
"""Residuals, in units of the noise that rounding explains, beyond which a log of margins alone names nothing."""
_OFFER = "; one of your own is tried where it is given (--try-loss, in Python losses=)"
_OF_MEANS = (
    " (confidence {:.3f} among the losses that were tried, and in them alone: means over batches do not rule out "
    "others; a log of pairs does, such as log.jsonl of llm train, and --try-loss tries one more)"
)
_SPECIAL = {"kto": "apo_zero", "cal_dpo": "sppo_hard", "rpo": "sft"}
"""Losses that hold another as a case or limit; where that fits as well, it is the answer."""
_APART = (
    "losses of two log-ratios (nca_pair, bco_pair, …) cannot be told from margins: they need the chosen's and the "
    "rejected's log-ratio apart, as policy_chosen, … or rewards/chosen and rewards/rejected"
)


@dataclass(frozen=True)
class LossAudit(Shown):
    """What a log says of the loss that was trained.

    Attributes
    ----------
    undecided : str or None
        Why nothing is named; then the fields from `loss` to `label_smoothing` are None.
    loss : str or None
    beta : float or None
        GPO's β, z = β · `of`, or a and b are; None where the loss has none (sft of log π).
    reduction : str or None
        "sums" or "means" over tokens; None where only margins were logged, or all responses have one length n: β is
        then that of sums, and nβ that of means.
    smoothing : str or None
    label_smoothing : float or None
    scale : float or None
        The logged loss is scale · f.
    confidence : float
        Share of the evidence of the loss named, or of the set, beside losses that were not tried; of means over batches
        among those that were.
    losses : tuple of str
        The losses that the log does not separate, the likeliest first.
    of : str
        "log-ratios", "logged log-ratios", "logged margins" or "logged rewards".
    parameters : dict
        Those of a loss of two log-ratios by their names in the catalogue, such as the shift of bco_pair.
    likelihood : str
        Of rpo and sft: whether the likelihood of the chosen is that of log π/πref, log π, or log π a token.
    means : bool
        Whether the log holds means over batches alone, which do not rule out a loss that was not tried.
    sampled : tuple of (int, int), or None
        Of a log of very many losses, how many were fitted, and of how many; None where all were.
    claim : str
        What ``run.json`` beside the log says that was trained, and whether the log bears it out; "" without one.
    """

    undecided: str | None
    loss: str | None
    beta: float | None
    reduction: str | None
    smoothing: str | None
    label_smoothing: float | None
    scale: float | None
    confidence: float
    losses: tuple[str, ...]
    of: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    likelihood: str = ""
    means: bool = False
    claim: str = ""
    sampled: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the answer, or ``undecided`` and the set of losses that fit."""
        claim: dict[str, Any] = {"claim": self.claim} if self.claim else {}
        if self.sampled is not None:
            claim["sampled"] = {"fitted": self.sampled[0], "of": self.sampled[1]}
        if self.undecided is not None:
            return {"undecided": self.undecided, "losses": list(self.losses), "confidence": self.confidence, **claim}
        return {
            "loss": self.loss, "beta": self.beta, "reduction": self.reduction, "label_smoothing": self.label_smoothing,
            "confidence": self.confidence, "smoothing": self.smoothing, "scale": self.scale, "beta_of": self.of,
            **({"parameters": dict(self.parameters)} if self.parameters else {}),
            **({"likelihood": self.likelihood} if self.likelihood else {}),
            **({"means_over_batches": True} if self.means else {}),
            **claim,
        }  # fmt: skip

    def summary(self) -> str:
        """As text; what was claimed on a line of its own."""
        lines = [self._answer(), self.claim]
        if self.sampled is not None:
            lines.append(
                f"fitted to {self.sampled[0]:,} of {self.sampled[1]:,} losses: those with the largest and the smallest "
                "margins, and others drawn at random, the same ones every time"
            )
        return "\n".join(line for line in lines if line)

    def _answer(self) -> str:
        if self.undecided is not None:
            return f"undecided: {self.undecided}"
        over = f" over token {self.reduction}" if self.reduction else ""
        smoothing = f", {self.smoothing}, ε = {self.label_smoothing:.3g}" if self.smoothing else ", no label smoothing"
        with_parameters = [f"{name} = {value:.4g}" for name, value in self.parameters.items()]
        named = f"{self.loss}({', '.join(with_parameters)})" if with_parameters else self.loss
        named = f"{named}, the likelihood that of {self.likelihood}" if self.likelihood else named
        at = "" if self.beta is None else f" at β = {self.beta:.4g} of the {self.of}{over}"
        found = f"{named}{at}{smoothing}; the logged loss is {self.scale:.4g} times f"
        return found + (_OF_MEANS if self.means else " (confidence {:.3f})").format(self.confidence)

    __str__ = summary

    _no_plot = "it is a name and a few numbers"

    def _columns(self) -> Mapping[str, Any]:
        """One row."""
        flat = {
            name: ", ".join(v) if isinstance(v, list) else v
            for name, v in self.to_dict().items()
            if name != "parameters"
        }
        return {name: [v] for name, v in {**flat, **self.parameters}.items()}


def audit_log(
    log: LossLog | Source,
    *,
    columns: Mapping[str, str] | None = None,
    losses: MarginLoss | str | Iterable[MarginLoss | str] | None = None,
    progress: bool | Progress = False,
) -> LossAudit:
    """Name the loss that a run trained, from its log.

    Parameters
    ----------
    log : LossLog, str, Path, DataFrame, mapping of columns, or list of rows
        A file or table as :func:`gpo_analysis.estimation.loss_log.read_loss_log` reads it, or what it returned.
        Where ``run.json`` of ``python -m llm train`` lies beside the file, the loss that it names is tried, too, and
        what it says is held against the log (`claim`).
    columns : mapping of str to str, optional
        From names that are read to the log's own: ``{"policy_chosen": "pi_w"}``.
    losses : MarginLoss or str, or several, optional
        Losses of one's own that are tried beside the known ones.
    progress : bool or function
        A bar where standard error is a terminal, or a function of the share done and what is next.

    Returns
    -------
    LossAudit

    Raises
    ------
    ValueError
        For a file that cannot be read so; for an unknown loss, or one of two log-ratios, which are tried anyway.

    Examples
    --------
    >>> from gpo_analysis.estimation.loss_log import loss_log
    >>> margin = np.linspace(-2.5, 4.0, 60)
    >>> print(audit_log(loss_log({"margin": margin, "loss": np.maximum(0, 1 - margin)})))
    hinge at β = 1 of the logged margins, no label smoothing; the logged loss is 1 times f (confidence 1.000)
    """
    offered = [] if losses is None else get_margin_losses(losses)
    claimed = recorded_objective(log) if is_file(log) else None
    log = log if isinstance(log, LossLog) else read_loss_log(log, columns=columns)
    if claimed is None:
        return _audited(log, offered, progress)
    f = claimed.margin_loss
    found = _audited(log, [*offered, *([] if f is None else [f])], progress)
    return replace(found, claim=f"{claimed.file} says {claimed}: {_held_against(found, claimed, f)}")


def _held_against(found: LossAudit, claimed: Recorded, f: MarginLoss | None) -> str:
    """What the answer says of a run's record, in words."""
    if f is None:
        return "no margin loss, and not tried"
    factors = [_factor(f, name) for name in found.losses]
    if found.undecided is not None:
        if not found.confidence:
            return "tried, too" + (", and it does not explain the log" if found.losses else "")
        return "tried, too; the log does not rule it out" if any(factors) else "tried, too; the log rules it out"
    if not factors[0]:
        return "the log contradicts its loss"
    said = {"sums": "sum", "means": "mean"}.get(found.reduction or "", claimed.reduction)
    known = found.beta is not None and found.of in ("log-ratios", "logged log-ratios")
    if found.of == "log-ratios" and found.reduction is None and claimed.reduction == "mean":
        known = False  # all responses have one length, and β is that of sums
    apart = known and abs(math.log(claimed.beta * factors[0] / (found.beta or 1.0))) > CLOSE
    wrong = ["β"] * apart + ["reduction"] * (said != claimed.reduction)
    if wrong:
        return f"the log contradicts its {' and its '.join(wrong)}"
    smoothed = ", but for the label smoothing" if found.smoothing else ""
    return f"the log bears it out{smoothed}" + ("" if known else " (of β it does not say enough)")


def _factor(f: MarginLoss, name: str) -> float:
    """The s for which f(z) is the named loss at sz; 0 where it is another."""
    try:
        return 1.0 if f.name == name else rescaling(f, get_margin_loss(name))
    except ValueError:
        return 0.0


def _audited(log: LossLog, offered: list[MarginLoss], progress: bool | Progress) -> LossAudit:
    if not log.means and max(np.ptp(log.pairs.chosen), np.ptp(log.pairs.rejected)) < 1 / MOST:
        why = "what was logged beside the loss is the same in all rows, and every loss has some value there"
        return LossAudit(why, None, None, None, None, None, None, 0.0, (), log.of)
    few = sample_of(log)
    found = _fitted(few, offered, progress)
    return found if few is log else replace(found, sampled=(len(few.loss), len(log.loss)))


def _fitted(log: LossLog, offered: list[MarginLoss], progress: bool | Progress) -> LossAudit:
    with np.errstate(all="ignore"):  # losses that grow like exp(−z) overflow at a β that is tried and is not theirs
        if log.means:
            return _decide(log, [*mean_fits(log, progress, offered), *two_ratio_mean_fits(log, progress)])
        fitted = [*pair_fits(log, False, progress, offered), *two_ratio_fits(log, False, progress)]
        if not _explains(log, _best(fitted)):
            fitted += [*pair_fits(log, True, progress, offered), *two_ratio_fits(log, True, progress)]
        return _decide(log, fitted)


def _best(fitted: list[Fitted]) -> Fitted:
    return min(fitted, key=lambda f: f.chi + 2 * f.log_noise + f.parameters * math.log(len(f.residuals)))


def _explains(log: LossLog, best: Fitted) -> bool:
    """Whether what is left has no pattern, judged by the means of ten bins against their spread.

    The bins are along the margin, and along the chosen's log-ratio where it is known: a loss of two log-ratios that is
    not among those tried leaves a pattern there.
    """
    if best.chi <= 1.5 * len(best.residuals):
        return True
    if log.means:  # the shape of the margins within a batch is not known, and its noise neither
        return best.chi <= 3 * len(best.residuals)
    if log.apart is None and best.chi > SCATTER**2 * len(best.residuals):
        return False
    along = [log.pairs.rho(best.reduction)]
    if log.apart is not None:
        along.append(log.apart.chosen)
    return all(_without_pattern(best.residuals, np.bincount(log.group, x) / np.bincount(log.group)) for x in along)


def _without_pattern(residuals: FloatArray, middle: FloatArray) -> bool:
    order = residuals[np.argsort(middle, kind="stable")]
    bins = [part for part in np.array_split(order, min(10, len(order) // 4)) if len(part)]
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in bins) / max(len(order) - len(bins), 1)
    between = sum(len(part) * float(part.mean()) ** 2 for part in bins)
    return bool(chi2.sf(between / max(within, 1e-12), len(bins)) > 1e-6)


def _simplest(fitted: list[Fitted], evidence: FloatArray) -> FloatArray:
    """The evidence, without what holds another loss as a special case that explains the log as well."""
    found = evidence.copy()
    for i, f in enumerate(fitted):
        special = [e for g, e in zip(fitted, evidence, strict=True) if g.loss == _SPECIAL.get(f.loss)]
        if special and evidence[i] <= max(special) + math.log(SURE / (1 - SURE)):
            found[i] = -math.inf
    return found


def _shares(fitted: list[Fitted], inflation: float, count: int) -> FloatArray:
    """Of the evidence, the noise's variance being so many times what rounding explains."""
    evidence = np.array([-0.5 * (f.chi / inflation + 2 * f.log_noise + f.parameters * math.log(count)) for f in fitted])
    evidence = _simplest(fitted, evidence)
    share = np.exp(evidence - evidence.max())
    return np.asarray(share / share.sum())


def _of_kinds(fitted: list[Fitted], share: FloatArray) -> dict[tuple[str, str], float]:
    """By loss and reduction."""
    kinds: dict[tuple[str, str], float] = {}
    for f, s in zip(fitted, share, strict=True):
        kinds[f.loss, f.reduction] = kinds.get((f.loss, f.reduction), 0.0) + float(s)
    return kinds


def _beside_smooth(log: LossLog, chosen: Fitted, own: float, tried: int) -> tuple[float, Smooth]:
    """The share of the evidence that a fit keeps where losses that nobody tried are as likely beforehand as all tried.

    Of means over batches, of whose pairs the shape is not known, nothing is said.
    """
    rival = smooth_rival(log, chosen, own)
    return 1 / (1 + math.exp(min(rival.log_odds + math.log(tried), 700.0))), rival


def _of_any(chosen: Fitted, rival: Smooth, z: FloatArray) -> str:
    free = f"{chosen.parameters} free number{'s' if chosen.parameters > 1 else ''}"
    return (
        f"{chosen.loss} fits, but so may any loss that was not tried: of its Taylor series the log shows about "
        f"{rival.coefficients} coefficients (margins reach from {z.min():.2g} to {z.max():.2g}), and the fit has {free}"
        f"{_OFFER}"
    )


def _decide(log: LossLog, fitted: list[Fitted]) -> LossAudit:
    best = _best(fitted)
    count = len(best.residuals)
    if not _explains(log, best):
        why = f"no known loss explains the logged values (the nearest is {best.loss} at β = {best.beta:.4g}){_OFFER}"
        if log.apart is None:
            why = f"{why}; {_APART}"
        return LossAudit(why, None, None, None, None, None, None, 0.0, (best.loss,), log.of)
    if log.means and log.apart is not None:
        fitted = [f for f in fitted if _explains(log, f)]
    own = max(1.0, best.chi / max(count - best.parameters, 1))
    share = _shares(fitted, own * (4.0 if log.means else 1.0), count)
    kinds = _of_kinds(fitted, share)
    likely = sorted((kind for kind, s in kinds.items() if s > 1 - SURE), key=lambda kind: -kinds[kind])
    if log.means and log.apart is not None:  # whether a loss has one argument or two must not hang on the noise taken
        other = _of_kinds(fitted, _shares(fitted, own, count))
        likely += sorted((kind for kind, s in other.items() if s > 1 - SURE and kind not in likely), key=str)
    losses = tuple(dict.fromkeys(loss for loss, _ in likely))
    total = sum(kinds[kind] for kind in likely)

    def undecided(why: str) -> LossAudit:
        return LossAudit(why, None, None, None, None, None, None, total, losses, log.of)

    rows = log.pairs.rho(likely[0][1])
    if len(losses) > 1:
        z = best.beta * rows
        return undecided(
            f"the log does not separate {', '.join(losses)}: margins reach from {z.min():.2g} to {z.max():.2g}"
        )
    if len(likely) > 1:
        return undecided(f"the log does not separate token sums from token means for {losses[0]}")
    of_kind = [(f, s) for f, s in zip(fitted, share, strict=True) if (f.loss, f.reduction) == likely[0]]
    alive = [f for f, s in of_kind if s > 0.01]
    chosen = max(of_kind, key=lambda item: item[1])[0]
    if chosen.error * math.sqrt(own) > CLOSE or any(abs(math.log(f.beta / chosen.beta)) > CLOSE for f in alive):
        return undecided(f"{losses[0]}, but the log does not separate its β from its label smoothing or scale")
    kept, rival = _beside_smooth(log, chosen, own, len(fitted))
    total *= kept
    if kept < SURE:
        return undecided(_of_any(chosen, rival, chosen.beta * rows))
    reduction = likely[0][1] if log.of == "log-ratios" and not log.pairs.of_one_length else None
    beta = chosen.beta if math.isfinite(chosen.beta) else None
    return LossAudit(
        None, chosen.loss, beta, reduction, chosen.smoothing, chosen.label_smoothing, chosen.scale,
        kinds[likely[0]] * kept, losses, log.of, dict(chosen.parameters_of_loss), chosen.likelihood, log.means,
    )  # fmt: skip
