"""What batch means say of a run: E[ρ] and what follows from it, and what does not follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.analysis import analyze, taylor_radius
from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.courses import course_of
from gpo_analysis.estimation.findings import of_rising
from gpo_analysis.estimation.histories import History
from gpo_analysis.estimation.logs import ACCEPTED, TrainingLog
from gpo_analysis.estimation.margin_log import MarginLog
from gpo_analysis.estimation.trained_with import WORDS, TrainedWith
from gpo_analysis.reading import ReadReport
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel

if TYPE_CHECKING:
    pass

PAIRS_ADVICE = (
    f"for the rest log a row a pair: {ACCEPTED}. GPOConfig(pair_log=…) and `python -m llm train` write it; elsewhere "
    "sum the token log-probabilities of each response under policy and reference (TRL keeps the reference's as "
    "ref_chosen_logps and ref_rejected_logps with precompute_ref_log_probs=True)"
)
_SHARES = "quantiles of ρ, shares beyond the Taylor radius, idle or pulled back"


@dataclass(frozen=True)
class MeanDiagnosis(Shown):
    """What :func:`gpo_analysis.estimation.diagnose` finds in a record of batch means; it shows itself as text.

    Attributes
    ----------
    loss, beta, step, rows : str, float, float, int
        What was diagnosed (β is GPO's), the last step, and how many were recorded.
    mean_rho : float
        E[ρ] over the batches of the last step, nats; `mean_z` is β times it, NaN where β multiplies another ρ.
    chosen_change, rejected_change, accuracy, loss_value : float
        Means of log π/πref and of [ρ > 0], and the loss itself; NaN where they were not recorded.
    mu_squared_loss : float
        ½E[ρ²] where it was recorded, NaN elsewhere.
    least_mu_squared_loss : float
        What it is at least: ½E[ρ]²/a, as only the share a of pairs has margins of E[ρ]'s sign; ½E[ρ]² without it.
    steps : tuple of dict
        The same of every row.
    findings, advice : tuple of str
        In words; what to do about them.
    cannot : tuple of str
        What does not follow from means.
    report : ReadReport or None
        How the file was read.
    """

    loss: str
    beta: float
    step: float
    rows: int
    mean_rho: float
    mean_z: float
    chosen_change: float
    rejected_change: float
    accuracy: float
    loss_value: float
    mu_squared_loss: float
    least_mu_squared_loss: float
    steps: tuple[dict[str, float], ...]
    findings: tuple[str, ...]
    advice: tuple[str, ...]
    cannot: tuple[str, ...]
    report: ReadReport | None = field(default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``kind`` is "batch means"."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        return {"kind": "batch means", **plain, "report": None if self.report is None else self.report.to_dict()}

    def summary(self) -> str:
        """As text."""
        lines = [f"means over batches, {self.rows} of them, {self.loss} at β = {self.beta:g}, step {self.step:g}"]
        for name, value in (
            ("E[ρ], nats", self.mean_rho), ("E[βρ]", self.mean_z), ("share with ρ > 0", self.accuracy),
            ("½E[ρ²], nats²", self.mu_squared_loss), ("log π/πref, chosen", self.chosen_change),
            ("log π/πref, rejected", self.rejected_change), ("loss", self.loss_value),
        ):  # fmt: skip
            if np.isfinite(value):
                lines.append(f"{name:<23} {value:.4g}")
        if not np.isfinite(self.mu_squared_loss) and np.isfinite(self.least_mu_squared_loss):
            lines.append(f"{'½E[ρ²], nats²':<23} at least {self.least_mu_squared_loss:.4g}")
        lines += ["", *(f"- {finding}" for finding in self.findings)]
        if len(self.steps) > 1:
            lines += ["", f"{'step':>9} {'E[ρ]':>9} {'chosen':>9} {'rejected':>9} {'ρ > 0':>7} {'loss':>9}"]
            for k in sorted({round(k) for k in np.linspace(0, len(self.steps) - 1, 10)}):
                r = self.steps[k]
                shown = [
                    r[name] for name in ("step", "mean_rho", "chosen_change", "rejected_change", "accuracy", "loss")
                ]
                cells = ["–" if np.isnan(value) else f"{value:.4g}" for value in shown]
                lines.append(" ".join(f"{cell:>{7 if k == 4 else 9}}" for k, cell in enumerate(cells)))
        lines += ["", "not told by means over batches: " + "; ".join(self.cannot)]
        return "\n".join([*lines, "", "what to do", *(f"- {line}" for line in self.advice)])

    __str__ = summary

    def _columns(self) -> Mapping[str, Any]:
        return {name: [row[name] for row in self.steps] for name in (self.steps[0] if self.steps else ())}

    def _panel(self) -> Panel:
        return course_of(self.steps)


def of_history(history: History, run: TrainedWith) -> MeanDiagnosis:
    """What a trainer's record says: its rewards are β log π/πref in the library's β.

    Parameters
    ----------
    history : History
    run : TrainedWith

    Raises
    ------
    ValueError
        Where rewards and log-probabilities together are impossible at this β, with the line.
    """
    means, nothing = history.means, np.full(len(history), np.nan)
    chosen, rejected = (means.get(f"rewards/{side}", nothing) / run.own_beta for side in ("chosen", "rejected"))
    _possible(history, run, chosen, rejected)
    rho = means.get("mean_rho", means.get("rewards/margins", nothing * run.own_beta) / run.own_beta)
    rho = np.where(np.isfinite(rho), rho, chosen - rejected)
    level = [means[name] for name in ("logps/chosen", "logps/rejected") if name in means]
    token_means = bool(level) and max(float(np.nanmax(-values)) for values in level) < WORDS
    said = [run.said] if run.said else []
    same = True
    if token_means:
        said.append(
            f"no mean log-probability is beyond {WORDS:g} nats: rewards and log-probabilities are of token means "
            "(loss_type ipo of older TRL, average log-probabilities), or of responses of a few tokens; E[ρ] is in nats "
            "a token"
        )
        same = run.reduction == "mean"
    elif run.reduction == "mean":
        said.append("rewards are of token sums, the loss is of token means: E[βρ] does not follow without lengths")
        same = False
    return _found(
        run, history.step, rho, chosen, rejected, means.get("rewards/accuracies", nothing), means.get("loss", nothing),
        means.get("mu_squared_loss", nothing), said, same, history.report,
    )  # fmt: skip


def of_rows(log: TrainingLog | MarginLog, run: TrainedWith, said: list[str]) -> MeanDiagnosis:
    """A log of log-probabilities with one row a step, whose rows then are means over batches.

    Parameters
    ----------
    log : TrainingLog or MarginLog
    run : TrainedWith
    said : list of str
        Findings so far.
    """
    assert log.step is not None
    order = np.argsort(log.step)
    nothing = np.full(len(log), np.nan)
    said = [*said, f"one row a step at {len(log)} steps: taken as means over batches, no pair stands at two steps"]
    chosen, rejected = (nothing if x is None else x[order] for x in (log.chosen_ratio, log.rejected_ratio))
    return _found(
        run, log.step[order], log.rho[order], chosen, rejected, nothing, nothing,
        nothing, said, True, log.report,
    )  # fmt: skip


def _possible(history: History, run: TrainedWith, chosen: FloatArray, rejected: FloatArray) -> None:
    """Mean log πref = logps − rewards/β has to lie below 0."""
    for side, change in (("chosen", chosen), ("rejected", rejected)):
        level = history.means.get(f"logps/{side}")
        if level is None:
            continue
        reference = level - change
        wrong = reference > 0.01 * np.abs(level) + 1e-3
        if wrong.any():
            k = int(np.argmax(wrong))
            reward = change[k] * run.own_beta
            raise ValueError(
                f"{history.where(k)}: rewards/{side} {reward:g} over β = {run.own_beta:g} and logps/{side} "
                f"{level[k]:g} give the reference a log-probability of {reference[k]:.4g}, above 0; accepted is the β "
                f"of the run, here above {reward / level[k]:.3g}"
            )


def _least(rho: FloatArray, accuracy: FloatArray) -> FloatArray:
    share = np.where(rho > 0, accuracy, 1 - accuracy)
    share = np.where(np.isfinite(share) & (share > 0), np.minimum(share, 1), 1.0)
    return 0.5 * rho**2 / share


def _found(
    run: TrainedWith,
    step: FloatArray,
    rho: FloatArray,
    chosen: FloatArray,
    rejected: FloatArray,
    accuracy: FloatArray,
    loss: FloatArray,
    square: FloatArray,
    said: list[str],
    same: bool,
    report: ReadReport | None,
) -> MeanDiagnosis:
    told = np.isfinite(rho) | np.isfinite(chosen) | np.isfinite(rejected)
    columns = {
        "step": step, "mean_rho": rho, "chosen_change": chosen, "rejected_change": rejected, "accuracy": accuracy,
        "loss": loss, "mu_squared_loss": square, "least_mu_squared_loss": _least(rho, accuracy),
    }  # fmt: skip
    rows = tuple({name: float(values[k]) for name, values in columns.items()} for k in np.flatnonzero(told))
    last = rows[-1]
    z = run.beta * last["mean_rho"] if same else float("nan")
    findings, advice = _words(run, rows, z, same)
    cannot = [
        _SHARES,
        *([] if np.isfinite(last["mu_squared_loss"]) else ["½E[ρ²]"]),
        "ρ against length",
        "other f and β",
    ]
    return MeanDiagnosis(
        run.loss.name, run.beta, last["step"], len(rows), last["mean_rho"], z, last["chosen_change"],
        last["rejected_change"], last["accuracy"], last["loss"], last["mu_squared_loss"],
        last["least_mu_squared_loss"], rows, (*said, *findings) or ("nothing stands out",),
        (*advice, PAIRS_ADVICE), tuple(cannot), report,
    )  # fmt: skip


def _words(run: TrainedWith, rows: tuple[dict[str, float], ...], z: float, same: bool) -> tuple[list[str], list[str]]:
    """What stands out in the means, and what to do."""
    said, todo, last = [], [], rows[-1]
    for fact, advice in of_rising(run.loss):
        said, todo = [fact], [advice]
    chosen, rejected, rho = last["chosen_change"], last["rejected_change"], last["mean_rho"]
    if chosen < 0:
        faster = f", rejected ones faster ({rejected:.3g})" if rejected < chosen else ""
        said.append(f"chosen responses have become less likely than under πref: mean log-ratio {chosen:.3g}{faster}")
        todo.append(
            f"against the fall of the chosen by {-chosen:.3g} nats: a larger β; with a log of pairs `gpo "
            f"recommend-beta --log LOG --loss {run.loss.name} --beta {run.beta:g} --drop {-chosen / 2:.2g}` says which"
        )
    elif chosen > 0:
        said.append(f"chosen responses have become more likely than under πref: mean log-ratio {chosen:.3g}")
    if np.isfinite(rho) and rho < 0 and last["accuracy"] < 0.5:
        said.append(
            f"mean margin {rho:.3g} and {last['accuracy']:.0%} of the pairs with ρ > 0: the run unlearns its labels"
        )
        todo += ["check that chosen and rejected are not swapped in the data"] if run.loss.falls_at_zero else []
    if np.isfinite(rho) and rho > 0 and last["accuracy"] == 0:
        said.append(f"a mean margin of {rho:.3g} with no pair above 0 is impossible: one of them is of something else")
    radius = float(taylor_radius(run.loss))
    if np.isfinite(z) and abs(z) > radius:
        said.append(f"E[βρ] = {z:.3g} lies beyond the radius {radius:.4g}: the second-order picture does not hold")
        todo.append(f"for that picture β below {radius / abs(rho):.3g} at these margins, or an earlier checkpoint")
    if same:
        said += _against_the_loss(run, rows)
        todo += ["`gpo audit-log FILE` says which loss was trained"] if len(said) and "Jensen" in said[-1] else []
    return said, todo


def _against_the_loss(run: TrainedWith, rows: tuple[dict[str, float], ...]) -> list[str]:
    """The loss recorded is at least f(βE[ρ]) for a convex f (Jensen); told where it is not, beyond rounding."""
    f = run.loss
    if not analyze(f).is_convex:
        return []
    rho, loss = (np.array([row[name] for row in rows]) for name in ("mean_rho", "loss"))
    least = run.scale * np.asarray(f(run.beta * rho), dtype=np.float64)
    wrong = np.isfinite(least + loss) & (loss < least - 0.01 * (np.abs(loss) + np.abs(least)) - 1e-3)
    if not wrong.any():
        return []
    k = int(np.argmax(wrong))
    return [
        f"at step {rows[k]['step']:g} the loss {loss[k]:.4g} is below f(βE[ρ]) = {least[k]:.4g}, the least of {f.name} "
        f"at this mean margin (Jensen), so in {wrong.sum()} of {len(rows)} rows: another loss, β or "
        "label smoothing was trained"
    ]
