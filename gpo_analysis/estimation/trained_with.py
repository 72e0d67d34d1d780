"""What a run was trained with, as people name it: a loss and GPO's β, or a library's loss and its own β."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from gpo_analysis.analysis import get_convention
from gpo_analysis.estimation.histories import History
from gpo_analysis.estimation.log_sources import Source
from gpo_analysis.estimation.log_tables import log_in
from gpo_analysis.estimation.logs import TrainingLog
from gpo_analysis.estimation.margin_log import MarginLog
from gpo_analysis.losses import MarginLoss, get_margin_loss, same_function
from gpo_analysis.preferences.validation import check_positive

WORDS = 12.0  #: Nats; the log-probability of one token of a vocabulary of 160,000 words drawn at random.
REDUCTIONS = ("sum", "mean")


@dataclass(frozen=True)
class TrainedWith:
    """A run's objective.

    Attributes
    ----------
    loss : MarginLoss
    beta : float
        GPO's β, z = βρ.
    own_beta : float
        The β that the library was given: its rewards are that times a log-ratio.
    reduction : str
        "sum" or "mean": what of the token log-probabilities makes up ρ.
    scale : float
        The library's loss is that times f.
    said : str
        What was converted, in words; "" where nothing was.
    """

    loss: MarginLoss
    beta: float
    own_beta: float
    reduction: str
    scale: float
    said: str


def trained_with(loss: MarginLoss | str, beta: float, reduction: str | None = None) -> TrainedWith:
    """A run's objective from its loss, by GPO's name, an expression, or a library's name such as "trl:ipo".

    Parameters
    ----------
    loss : MarginLoss or str
    beta : float
        GPO's β; with a library's name, what that library was given.
    reduction : str, optional
        "sum" or "mean"; by default the library's, sums elsewhere.

    Raises
    ------
    ValueError
        For an unknown loss or library, one that is no function of the margin, a β that is not positive, or a reduction
        that is not the library's.

    Examples
    --------
    >>> run = trained_with("trl:ipo", 0.1)
    >>> run.loss.name, run.beta, run.reduction
    ('squared', 0.2, 'mean')
    """
    own = check_positive(beta, "beta")
    if reduction not in (None, *REDUCTIONS):
        raise ValueError(f"reduction is {reduction!r}; accepted are 'sum' and 'mean'")
    if not isinstance(loss, str) or ":" not in loss:
        return TrainedWith(get_margin_loss(loss), own, own, reduction or "sum", 1.0, "")
    row = get_convention(loss)
    f, theirs = row.margin_loss(), "mean" if row.ratio == "means" else "sum"
    if reduction not in (None, theirs):
        raise ValueError(f"reduction is {reduction!r}, but {row.name} takes token {row.ratio}; leave one of them out")
    scaled = check_positive(row.to_gpo(own), "beta in GPO's convention")
    said = f"{row.name} at its β = {own:g} is {f.name} at GPO's β = {scaled:g}, ρ from token {row.ratio}"
    return TrainedWith(f, scaled, own, theirs, row.loss_scale(own), said)


@dataclass(frozen=True)
class Recorded:
    """What a run's folder says it was trained with.

    Attributes
    ----------
    loss, reduction : str
    beta : float
    file : Path
        That says so.
    """

    loss: str
    beta: float
    reduction: str
    file: Path

    def __str__(self) -> str:
        return f"{self.loss} at β = {self.beta:g}{_over(self.reduction)}"

    @property
    def margin_loss(self) -> MarginLoss | None:
        """f; None where the text is none that is understood."""
        try:
            return get_margin_loss(self.loss)
        except ValueError:
            return None

    def holds(self, run: TrainedWith) -> bool:
        """Whether an objective is this one."""
        f = self.margin_loss
        alike = f is not None and same_function(f, run.loss)
        return alike and math.isclose(self.beta, run.beta, rel_tol=1e-9) and self.reduction == run.reduction


def _over(reduction: str) -> str:
    return " over token means" if reduction == "mean" else ""


def objective_of(
    log: TrainingLog | MarginLog | History | Source,
    loss: MarginLoss | str | None = None,
    beta: float | None = None,
    reduction: str | None = None,
) -> TrainedWith:
    """What the run of a log was trained with: as ``run.json`` beside it says, or as is given; which of them, it says.

    Parameters
    ----------
    log : TrainingLog, MarginLog, History, str or Path
        A log, the file that it is read from, or a run's folder; a table in memory has no record.
    loss, beta, reduction : optional
        As :func:`trained_with` takes them. Without a record the loss is logistic and β 0.1 by default. With one, what
        is given alone must be what it says; a loss and a β that are both given count instead of it.

    Raises
    ------
    ValueError
        As :func:`trained_with`; for a part of an objective that the record contradicts; for a folder of several runs.
    """
    report = getattr(log, "report", None)  # a frame has none
    file = log if isinstance(log, str | Path) else None if report is None else report.file
    found = None if file is None else recorded_objective(file)
    if found is None:
        return trained_with("logistic" if loss is None else loss, 0.1 if beta is None else beta, reduction)
    run = trained_with(
        found.loss if loss is None else loss, found.beta if beta is None else beta,
        found.reduction if reduction is None and not _of_library(loss) else reduction,
    )  # fmt: skip
    if found.holds(run):
        return replace(run, said="; ".join(filter(None, (f"as {found.file} says: {found}", run.said))))
    if loss is None or beta is None:
        given = {"loss": getattr(loss, "name", loss), "beta": beta, "reduction": reduction}
        words = " and ".join(f"{name} {value}" for name, value in given.items() if value is not None)
        raise ValueError(
            f"{words}: {found.file} says --loss '{found.loss}' --beta {found.beta:g}"
            f"{' --reduction mean' if found.reduction == 'mean' else ''}; accepted are none of these, or both a loss "
            "and a beta, which then count instead"
        )
    run = trained_with(loss, beta, reduction)
    as_given = f"read as {run.loss.name} at β = {run.beta:g}{_over(run.reduction)}, as given, not as {found.file} says"
    return replace(run, said="; ".join(filter(None, (f"{as_given}: {found}", run.said))))


def _of_library(loss: MarginLoss | str | None) -> bool:
    return isinstance(loss, str) and ":" in loss


def recorded_objective(log: str | Path) -> Recorded | None:
    """What ``run.json`` says that lies in a run's folder or beside its log, as ``python -m llm train`` writes it.

    Parameters
    ----------
    log : str or Path
        The folder, or a file in it.

    Returns
    -------
    Recorded or None
        None where there is none, or nothing of this kind in it.

    Raises
    ------
    ValueError
        For a folder that holds several runs, naming them.
    """
    place = Path(log)
    if place.is_dir() and not (place / "run.json").is_file():
        place = log_in(place)
    file = (place if place.is_dir() else place.parent) / "run.json"
    try:
        run = json.loads(file.read_text(encoding="utf-8"))["run"]
        loss, beta, reduction, link = (run[name] for name in ("loss", "beta", "reduction", "link"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    known = isinstance(loss, str) and isinstance(beta, float | int) and reduction in REDUCTIONS and link == "reverse_kl"
    return Recorded(loss, float(beta), reduction, file) if known else None


def holds_token_means(log: TrainingLog) -> bool | None:
    """Whether its log-probabilities are means over tokens and not sums; None where lengths would have to tell.

    With lengths: sums grow with the length of a response, means do not, and none is beyond what one token costs.
    """
    reference = -np.concatenate([log.reference_chosen, log.reference_rejected])
    if len(reference) < 10 or reference.max() > WORDS:
        return False
    if log.chosen_length is None or log.rejected_length is None:
        return None
    length = np.concatenate([log.chosen_length, log.rejected_length])
    if np.median(length) < 5:
        return False
    if np.ptp(length) == 0:
        return None
    return bool(np.ptp(reference) == 0 or spearmanr(reference, length).statistic < 0.3)


def as_trained(log: TrainingLog | MarginLog, run: TrainedWith) -> tuple[TrainingLog | MarginLog, list[str]]:
    """The log in the run's own ρ, of sums or of token means, and what was done to it.

    Parameters
    ----------
    log : TrainingLog or MarginLog
        Of sums as a rule; token means are recognised by `holds_token_means`. Margins are taken as the run's own ρ.
    run : TrainedWith

    Raises
    ------
    ValueError
        Where lengths are needed to convert and the log has none.
    """
    said = [run.said] if run.said else []
    if isinstance(log, MarginLog):
        over = "ρ is taken as of token means, as the loss takes it" if run.reduction == "mean" else ""
        return log, [*said, *filter(None, (over, log.lacking))]
    means = holds_token_means(log)
    if means is None:
        doubt = "lengths are all alike" if log.chosen_length is not None else "there are no lengths to tell"
        said.append(
            f"no reference log-probability is beyond {WORDS:g} nats: these are token means, or responses of a few "
            f"tokens ({doubt}); taken as {'token means' if run.reduction == 'mean' else 'sums'}, as the loss takes them"
        )
        return log, said
    if means == (run.reduction == "mean"):
        return log, said
    if log.chosen_length is None or log.rejected_length is None:
        raise ValueError(
            f"{run.loss.name} over token means needs chosen_length and rejected_length: the log holds sums, from which "
            "ρ a token does not follow"
        )
    factor = [log.chosen_length, log.rejected_length]
    if not means:
        factor = [1 / part for part in factor]
    said.append(
        "the log holds token means (they do not grow with length): multiplied by the lengths, as the loss takes sums"
        if means
        else "sums of the log divided by the lengths, as the loss takes token means: ρ is in nats a token"
    )
    changed = TrainingLog(
        log.policy_chosen * factor[0], log.policy_rejected * factor[1], log.reference_chosen * factor[0],
        log.reference_rejected * factor[1], log.chosen_length, log.rejected_length, log.step,
    )  # fmt: skip
    object.__setattr__(changed, "report", log.report)
    return changed, said
