"""Which β next, from the log of a run: for a margin, a drop of the chosen, or a budget in nats a token.

Labels alone do not say what a language model will spend: that depends on how far a run gets. One run's log does, by the
law that `gpo diagnose` uses for other runs (:func:`gpo_analysis.training.predicted_course`): with the same data, rate
and length, a run at another β ends at another mean margin, and chosen, rejected and square follow in proportion, as far
as the policy moves along one direction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.estimation.log_sources import Source
from gpo_analysis.estimation.logs import TrainingLog
from gpo_analysis.estimation.margin_log import MarginLog, read_pairs
from gpo_analysis.estimation.others import REACH, USUAL_STEPS, fewer
from gpo_analysis.estimation.resampling import check_resampling
from gpo_analysis.estimation.trained_with import as_trained, objective_of
from gpo_analysis.losses import MarginLoss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, intervals
from gpo_analysis.statistics import Interval, resampled_interval
from gpo_analysis.training import limit_mean, predicted_course

_TARGETS = ("margin", "drop", "kl", "kl_per_token")
_WORDS = {
    "margin": "mean ρ = {:g} nats", "drop": "a drop of the chosen by {:g} nats", "kl": "KL ≈ {:g} nats a response",
    "kl_per_token": "KL ≈ {:g} nats a token",
}  # fmt: skip
_DECADES = 12.0  # of β, either way, in which it is sought


@dataclass(frozen=True)
class LoggedBeta(Shown):
    """β for one target, from a run's log.

    Attributes
    ----------
    target : str
        In words.
    loss, run_beta : str, float
        What the run was trained with.
    beta : Interval
        For the target; its ends are from resampled pairs, the law taken as exact. NaN where none is found.
    run : Interval
        The target's measure of the run itself.
    limit : float
        The measure that β → 0 would come to with this data, rate and length: more is out of reach.
    reach : float
        aβκm₀ of the larger β: above 2 the law is not trusted.
    trusted : bool
    status : str
        "found" or why not.
    notes : tuple of str
    """

    target: str
    loss: str
    run_beta: float
    beta: Interval
    run: Interval
    limit: float
    reach: float
    trusted: bool
    status: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; intervals as ``{"value", "low", "high"}``."""
        plain = {key: vars(value) if isinstance(value, Interval) else value for key, value in vars(self).items()}
        return plain | {"notes": list(self.notes)}

    def summary(self) -> str:
        """As text."""
        head = f"β for {self.target}, {self.loss}, from a run at β = {self.run_beta:g} that came to {self.run}"
        if self.status != "found":
            return "\n".join([f"{head}: {self.status}", *(f"- {note}" for note in self.notes)])
        doubt = (
            "" if self.trusted else f"; reach {self.reach:.2g} is above {REACH:g}: too far for the law, try it in steps"
        )
        return "\n".join([head, f"β = {self.beta}{doubt}", *(f"- {note}" for note in self.notes)])

    __str__ = summary

    def _panel(self) -> Panel:
        at = [self.run_beta, self.beta.value]
        low, high = [np.nan, self.beta.low], [np.nan, self.beta.high]
        return intervals(
            f"{self.loss}: {self.status}", "β", ["of the run", f"for {self.target}"], at, low, high, log="x"
        )


def beta_from_log(
    log: TrainingLog | MarginLog | Source,
    loss: MarginLoss | str | None = None,
    beta: float | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    margin: float | None = None,
    drop: float | None = None,
    kl: float | None = None,
    kl_per_token: float | None = None,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> LoggedBeta:
    """The β at which a run of the same data, rate and length would end at a target, by the log of one run.

    Parameters
    ----------
    log : TrainingLog, str, Path, DataFrame, mapping of columns, or list of rows
        Of pairs that were trained on; with steps, the last one counts. See :func:`read_training_log`; ρ alone (``rho``)
        will do, but for `drop`.
    loss, beta : MarginLoss or str, float, optional
        What the run was trained with: by default as ``run.json`` beside the log says, else logistic at 0.1, as
        :func:`gpo_analysis.diagnose` takes them ("trl:ipo" with TRL's β, too).
    columns : mapping of str to str, optional
        From names that are read to the log's own: ``{"policy_chosen": "pi_w"}``.
    margin : float, optional
        Mean ρ, in nats. One target is to be given.
    drop : float, optional
        By how many nats the mean log π/πref of the chosen is to fall below 0.
    kl : float, optional
        KL(π‖πref) in nats a response, as the log shows it: ¼ mean ρ², which is ½ Var log π/πref for pairs of
        independent responses, the second order of KL at πref.
    kl_per_token : float, optional
        The same a token; the log needs lengths.
    resamples, confidence, seed : int, float, int
        Of the bootstrap over pairs.

    Raises
    ------
    ValueError
        Unless exactly one target is given, positive and finite; for a malformed log; where the run's own measure says
        nothing (no margin yet, a chosen that rises); for a loss or β that the run's record contradicts; for a target
        other than the margin of a run over token means, whose margin is in nats a token.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> chosen, rejected = rng.normal(-1, 0.5, 200), rng.normal(-3, 1, 200)
    >>> log = TrainingLog(chosen - 40, rejected - 44, np.full(200, -40.0), np.full(200, -44.0))
    >>> found = beta_from_log(log, "dpo", 0.1, drop=0.8)
    >>> found.run.value < -0.9, found.beta.value > 0.1, found.trusted  # a stronger pull for a smaller drop
    (True, True, True)
    """
    given = {"margin": margin, "drop": drop, "kl": kl, "kl_per_token": kl_per_token}
    named = [name for name in _TARGETS if given[name] is not None]
    if len(named) != 1:
        raise ValueError(f"give one of {', '.join(_TARGETS)}, got {', '.join(named) or 'none'}")
    kind = named[0]
    target = check_positive(given[kind], kind)  # type: ignore[arg-type]
    check_resampling(resamples, confidence)
    run_of = objective_of(log, loss, beta)
    if run_of.reduction == "mean" and kind != "margin":
        raise ValueError(
            f"{kind} of a run over token means ({run_of.loss.name}): what follows the law there is its margin a token; "
            "accepted is margin, in nats a token"
        )
    data, said = as_trained(
        log if isinstance(log, TrainingLog | MarginLog) else read_pairs(log, columns=columns), run_of
    )
    f, scale, notes = run_of.loss, run_of.beta, (*said, *_NOTES)
    last = data if data.step is None else data.at(data.step == data.step.max())
    factor = _Factor(last, kind, target)
    own = factor.of(np.arange(len(last)))
    course = _Course(f, scale, last)
    rng = np.random.default_rng(seed)
    drawn = [factor.of(rng.integers(len(last), size=len(last))) for _ in range(int(resamples))]
    run = resampled_interval(own, drawn, len(last), confidence, within=factor.within)
    found = course.beta_of(factor.by(own))
    nan = float("nan")
    largest = factor.measured(own, course.limit / course.mean)
    if math.isnan(found):
        status = f"out of reach: with this data, rate and length β → 0 comes to {largest:.4g}"
        return LoggedBeta(
            _WORDS[kind].format(target),
            f.name,
            scale,
            Interval(nan, nan, nan),
            run,
            largest,
            nan,
            False,
            status,
            notes,
        )
    # β falls with the ratio and this with what is measured, so that the ends are those of that
    ends = sorted((factor.by(run.low), factor.by(run.high)), reverse=True)
    interval = Interval(found, *(course.beta_of(end) for end in ends))
    reach = course.spread * max(found, scale) * float(f.curvature_ratio) * course.limit
    return LoggedBeta(
        _WORDS[kind].format(target), f.name, scale, interval, run, largest, reach, reach <= REACH, "found", notes
    )


_NOTES = (
    "supposes Adam at a constant rate, the same data and length, and that chosen, rejected and square follow the mean "
    "margin, as along one direction; ends are from resampled pairs, the law taken as exact",
    "KL is ¼ mean ρ² over the log's pairs: its second order at πref, for responses drawn as these were",
)


class _Factor:
    """By what factor the mean margin has to change for a target."""

    def __init__(self, log: TrainingLog | MarginLog, kind: str, target: float) -> None:
        self.kind, self.target, self.rho = kind, target, log.rho
        if kind == "drop" and log.chosen_ratio is None:
            raise ValueError(
                "a drop of the chosen does not follow from ρ alone: log policy_chosen and reference_chosen, or "
                "chosen_logratio and rejected_logratio"
            )
        self.chosen = self.rho if log.chosen_ratio is None else log.chosen_ratio
        if kind == "kl_per_token" and (log.chosen_length is None or log.rejected_length is None):
            raise ValueError(
                "a budget a token needs chosen_length and rejected_length in the log; or give one a response"
            )
        self.length: FloatArray = np.ones(len(log))
        if kind == "kl_per_token" and log.chosen_length is not None and log.rejected_length is not None:
            self.length = (log.chosen_length + log.rejected_length) / 2
        if not float(self.rho.mean()) > 0:
            raise ValueError(f"the mean margin of the log is {self.rho.mean():.4g} nats: nothing is learnt to go by")
        if kind == "drop" and not float(self.chosen.mean()) < 0:
            raise ValueError(
                f"the chosen of this run have not dropped: their mean log π/πref is {self.chosen.mean():.4g} nats"
            )

    @property
    def within(self) -> tuple[float, float] | None:
        """What the measured can be, where that is less than all numbers."""
        return None if self.kind in ("margin", "drop") else (0.0, math.inf)

    def of(self, rows: IntArray) -> float:
        """What is measured of these pairs."""
        if self.kind == "margin":
            return float(self.rho[rows].mean())
        if self.kind == "drop":
            return float(self.chosen[rows].mean())
        return float(np.mean(self.rho[rows] ** 2) / 4 / np.mean(self.length[rows]))

    def by(self, value: float) -> float:
        """The factor where that much is measured; infinite where it is nothing, or has the other sign."""
        size = -value if self.kind == "drop" else value
        if size <= 0:
            return math.inf
        return self.target / size if self.kind in ("margin", "drop") else math.sqrt(self.target / size)

    def measured(self, value: float, factor: float) -> float:
        """What it would be after such a change."""
        return value * (factor if self.kind in ("margin", "drop") else factor**2)


class _Course:
    """Mean margin against β."""

    def __init__(self, f: MarginLoss, beta: float, log: TrainingLog | MarginLog) -> None:
        rho = log.rho
        step = None if log.step is None else float(log.step.max())
        self.steps = USUAL_STEPS if step is None or step < 1 or step != round(step) else int(step)
        self.f, self.beta, self.mean = f, beta, float(rho.mean())
        few = fewer(rho)
        self.limit = limit_mean(f, beta, few, self.steps)
        if math.isnan(self.limit):
            raise ValueError(
                "the run is at rest: its margins no longer say how far another β would go; log an earlier step"
            )
        self.margins = few / self.mean * self.limit
        self.spread = float(np.mean(rho**2)) / self.mean**2

    def ratio(self, beta: float) -> float:
        """Mean margin of a run at this β over that of the run that was logged."""
        course = predicted_course(self.f, beta, self.margins[None], [self.steps])
        return float(course.mean_rho[0]) / self.mean

    def beta_of(self, ratio: float) -> float:
        """NaN where no β within twelve decades comes to it, or none does at all, and of NaN."""
        if math.isnan(ratio) or ratio >= self.limit / self.mean:
            return float("nan")
        near = far = math.log(self.beta)
        step = math.log(4) if ratio < 1 else -math.log(4)
        while (self.ratio(math.exp(far)) - ratio) * step > 0:
            near, far = far, far + step
            if abs(far - math.log(self.beta)) > _DECADES * math.log(10):
                return float("nan")
        if near == far:  # the run itself, to the last digit
            return self.beta
        return math.exp(brentq(lambda t: self.ratio(math.exp(t)) - ratio, min(near, far), max(near, far), xtol=1e-5))
