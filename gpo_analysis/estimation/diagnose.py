"""What a training log shows: how far the policy has moved, where the expansion holds, what falls, what f would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from scipy.stats import rankdata

from gpo_analysis.analysis import taylor_radius
from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.diagnosis_words import ALTERNATIVES
from gpo_analysis.estimation.courses import course_of
from gpo_analysis.estimation.findings import STILL, alternative, told
from gpo_analysis.estimation.histories import History, history_of, one_row_a_step
from gpo_analysis.estimation.log_sources import Source
from gpo_analysis.estimation.logs import DIVERGED, BatchMeans, TrainingLog
from gpo_analysis.estimation.margin_log import MarginLog, read_pairs
from gpo_analysis.estimation.mean_diagnosis import MeanDiagnosis, of_history, of_rows
from gpo_analysis.estimation.others import mark, marked, name_width, other_runs, others_shown
from gpo_analysis.estimation.resampling import check_resampling
from gpo_analysis.estimation.trained_with import as_trained, objective_of
from gpo_analysis.losses import PAPER_LOSSES, MarginLoss, distinct_losses, get_margin_losses
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.reading import ReadReport, shown
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.style import cycle_style
from gpo_analysis.statistics import Interval, mean_share_interval, resampled_interval

_UNTOLD = Interval(float("nan"), float("nan"), float("nan"))  # of chosen and rejected, where ρ alone was logged
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Diagnosis(Shown):
    """What :func:`diagnose` finds; it shows itself as text.

    Attributes
    ----------
    loss, beta, pairs, step : str, float, int, int or None
        What was diagnosed; `step` is the last one in the log, or None.
    rho_quantiles, z_quantiles : dict of float to float
        Of ρ and of z = βρ.
    accuracy : Interval
        Share of pairs with ρ > 0, a tie as half.
    taylor_radius, beyond_taylor : float
        Radius r of the series of f at 0 (kinks end it), and the share with \\|βρ\\| > r.
    mu_squared_loss : Interval
        ½ mean ρ², nats²; β²f″(0) times it is the regularizer that f implies.
    chosen_change, rejected_change : Interval
        Mean log π/πref of chosen and of rejected responses, nats; NaN, as the next, where ρ alone was logged.
    chosen_falling : Interval
        Share of pairs whose chosen response has become less likely than under πref.
    length_correlation : Interval or None
        Spearman's, of ρ and the difference of lengths; None without lengths, or where all differ by the same.
    length_slope : Interval or None
        Least-squares slope of ρ on the difference of lengths, nats a token.
    steps : tuple of dict
        A row a step, where the log has several: means of ρ, chosen and rejected log-ratios, ½E[ρ²], share beyond r.
    alternatives : tuple of dict
        A row an f and β: what each would have made of these ρ; see `diagnose`. `of_run` marks the run's own.
    findings : tuple of str
        In words.
    report : ReadReport or None
        How the file was read, where the log comes from one.
    others : tuple of dict
        A row an f and β: where a run of its own would be; see `diagnose`.
    advice : tuple of str
        What to do about the findings, with the numbers behind it.
    """

    loss: str
    beta: float
    pairs: int
    step: float | None
    rho_quantiles: dict[float, float]
    z_quantiles: dict[float, float]
    accuracy: Interval
    taylor_radius: float
    beyond_taylor: float
    mu_squared_loss: Interval
    chosen_change: Interval
    rejected_change: Interval
    chosen_falling: Interval
    length_correlation: Interval | None
    length_slope: Interval | None
    steps: tuple[dict[str, Any], ...]
    alternatives: tuple[dict[str, Any], ...]
    findings: tuple[str, ...]
    report: ReadReport | None = None
    others: tuple[dict[str, Any], ...] = ()
    advice: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values; intervals as ``{"value", "low", "high"}``."""
        plain = {
            key: vars(value) if isinstance(value, Interval) else list(value) if isinstance(value, tuple) else value
            for key, value in vars(self).items()
        }
        return plain | {"report": None if self.report is None else self.report.to_dict()}

    def summary(self) -> str:
        """As text."""
        quantiles = "  ".join(f"{q:>4.0%} {value:.4g}" for q, value in self.rho_quantiles.items())
        scaled = "  ".join(f"{q:>4.0%} {value:.4g}" for q, value in self.z_quantiles.items())
        lines = [
            f"{self.pairs} pairs, {self.loss} at β = {self.beta:g}"
            + ("" if self.step is None else f", step {self.step:g}"),
            f"ρ, nats                 {quantiles}",
            f"βρ                      {scaled}",
            f"share with ρ > 0        {self.accuracy}",
            f"beyond Taylor radius    {self.beyond_taylor:.1%} with |βρ| > {self.taylor_radius:.4g}",
            f"½E[ρ²], nats²           {self.mu_squared_loss}",
        ]
        if np.isfinite(self.chosen_change.value):
            lines += [
                f"log π/πref, chosen      {self.chosen_change}   falling in {self.chosen_falling} of the pairs",
                f"log π/πref, rejected    {self.rejected_change}",
            ]
        if self.length_correlation is not None:
            lines.append(
                f"ρ against length        Spearman {self.length_correlation}, {self.length_slope} nats a token"
            )
        lines += ["", *(f"- {finding}" for finding in self.findings)]
        if self.advice:
            lines += ["", "what to do", *(f"- {line}" for line in self.advice)]
        if len(self.steps) > 1:
            lines += ["", *self._course()]
        alike = self.alternatives and all(row["largest_margin"] < STILL for row in self.alternatives)
        if alike:
            what = "each f and β would make of these ρ, and where a run of its own with it would be"
            return "\n".join([*lines, "", f"what {what}: alike, as long as every |βρ| is below {STILL:g}"])
        width = name_width(self.alternatives)
        head = f"{'loss':<{width}} {'β':>9} {'βκ':>9} {'mean f':>9} {'mean |f′|':>9} {'beyond r':>9} {'idle':>7} "
        head += f"{'pulled back':>12} {'mean slope':>11} {'cosine':>7}"
        lines += ["", "what each f and β would make of these ρ", head]
        for row in self.alternatives:
            lines.append(
                f"{shown(row['loss'], width):<{width}} {row['beta']:>9.4g} {row['beta_kappa']:>9.4g} "
                f"{row['mean_loss']:>9.3g} {row['mean_weight']:>9.3g} {row['beyond_taylor']:>9.1%} {row['idle']:>7.1%} "
                f"{row['pulled_back']:>12.1%} {row['mean_slope']:>11.3g} {row['taylor_cosine']:>7.3f}{mark(row)}"
            )
        return "\n".join([*lines, *ALTERNATIVES, "", *others_shown(self.others)])

    __str__ = summary

    def _course(self) -> list[str]:
        """A row a step, at most ten of them, the first and the last among them."""
        few = sorted({round(k) for k in np.linspace(0, len(self.steps) - 1, 10)})
        lines = [f"{'step':>9} {'mean ρ':>9} {'chosen':>9} {'rejected':>9} {'½E[ρ²]':>9} {'beyond r':>9}"]
        for row in (self.steps[k] for k in few):
            lines.append(
                f"{row['step']:>9g} {row['mean_rho']:>9.3g} {row['chosen_change']:>9.3g} "
                f"{row['rejected_change']:>9.3g} {row['mu_squared_loss']:>9.3g} {row['beyond_taylor']:>9.1%}"
            )
        return lines

    def _columns(self) -> Mapping[str, Any]:
        """A row a step; one where the log has one."""
        if self.steps:
            return {name: [row[name] for row in self.steps] for name in self.steps[0]}
        means = ("chosen_change", "rejected_change", "mu_squared_loss", "accuracy")
        found: dict[str, Any] = {"step": [self.step], "median_rho": [self.rho_quantiles.get(0.5)]}
        return found | {name: [getattr(self, name).value] for name in means} | {"beyond_taylor": [self.beyond_taylor]}

    def _panel(self) -> Panel:
        if len(self.steps) > 1:
            return course_of(self.steps)
        at, share = np.array([*self.rho_quantiles.values()]), np.array([*self.rho_quantiles])
        line = Curve(at, share, "", cycle_style(0), points=True)
        return Panel("margins of the pairs", "ρ  [nats]", "share of pairs below", [line], ylim=(0.0, 1.0))


@overload
def diagnose(
    log: History,
    loss: MarginLoss | str | None = ...,
    beta: float | None = ...,
    *,
    reduction: str | None = ...,
    losses: MarginLoss | str | Iterable[MarginLoss | str] | None = ...,
    betas: Iterable[float] | None = ...,
    resamples: int = ...,
    confidence: float = ...,
    seed: int = ...,
) -> MeanDiagnosis: ...
@overload
def diagnose(
    log: TrainingLog | MarginLog | Source,
    loss: MarginLoss | str | None = ...,
    beta: float | None = ...,
    *,
    reduction: str | None = ...,
    columns: Mapping[str, str] | None = ...,
    losses: MarginLoss | str | Iterable[MarginLoss | str] | None = ...,
    betas: Iterable[float] | None = ...,
    resamples: int = ...,
    confidence: float = ...,
    seed: int = ...,
) -> Any: ...
def diagnose(
    log: TrainingLog | MarginLog | History | Source,
    loss: MarginLoss | str | None = None,
    beta: float | None = None,
    *,
    reduction: str | None = None,
    columns: Mapping[str, str] | None = None,
    losses: MarginLoss | str | Iterable[MarginLoss | str] | None = None,
    betas: Iterable[float] | None = None,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> Diagnosis | MeanDiagnosis:
    """Read a training log: quantiles of ρ and βρ, what lies beyond the expansion, what falls, which f would differ.

    Parameters
    ----------
    log : TrainingLog, History, str, Path, DataFrame, mapping of columns, or list of rows
        A file, or a table in memory: of pairs, for :func:`read_training_log`, or of batch means
        (``trainer_state.json``, exports of W&B and TensorBoard, ``trainer.state.log_history``), for
        :func:`gpo_analysis.estimation.read_history`; or of ρ alone (``rho``), or of the two log-ratios
        (``chosen_logratio``, ``rejected_logratio``): what they do not tell is NaN. Rows that lack a number are left
        out, as `report` says. With steps the last one is diagnosed, the course told in `steps`.
    loss, beta : MarginLoss or str, float
        What the run was trained with: β in GPO's convention, or with a library's name ("trl:ipo") its own. By default
        what ``run.json`` says beside the log, as ``python -m llm train`` writes it (the first of `findings` says so),
        and without one logistic at 0.1. Beside such a record one of the two alone must be what it says.
    reduction : str, optional
        "sum" or "mean" over tokens, what ρ is of; the record's or the library's by default, else "sum".
    columns : mapping of str to str, optional
        From names that are read to the log's own: ``{"policy_chosen": "pi_w"}``.
    losses, betas : optional
        What to compare it with; the paper's six and the run's own by default, each at a third, once and three times
        the run's β. The run's own loss and β are a row in any case.
    resamples, confidence, seed : int, float, int
        Of the bootstrap over pairs.

    Returns
    -------
    Diagnosis or MeanDiagnosis
        The second for batch means, and for a log with one row at each of several steps. `alternatives` hold for each f
        and β, at the ρ of the log: ``beta_kappa`` βκ, the strength that compares between losses (0 for hinge);
        ``mean_loss`` of f(βρ); ``mean_weight`` of \\|f′(βρ)\\|, the weight of a pair's gradient;
        ``largest_margin`` the largest \\|βρ\\|; ``beyond_taylor`` share beyond the radius;
        ``idle`` share with \\|f′(βρ)\\| < 0.05 \\|f′(0)\\| (nothing left to learn); ``pulled_back`` share with
        f′(βρ) > 0; ``mean_slope`` the mean of −f′(βρ)/\\|f′(0)\\| (1 at the start, 0 where preference and
        regularization balance); ``taylor_cosine`` between f′(βρ) over the pairs and its expansion to second order of f;
        ``largest_beta`` at which 95 % of \\|βρ\\| are within the radius. `others` say where a run of its own, of the
        same data, rate and length, would be after the last step: ``mean_rho``, ``mu_squared_loss``, and ``reach``,
        above 2 of which the law is not trusted; see :func:`gpo_analysis.training.predicted_course`.

    Raises
    ------
    ValueError
        For a malformed log, β not positive, an unknown loss, a loss or β alone that the run's record contradicts.

    Notes
    -----
    The alternatives answer what another f would do *next* from this very policy; `others` where its own run would be,
    supposing Adam at a constant rate, and ρ of pairs that were trained on.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> zero = np.zeros(100)
    >>> log = TrainingLog(rng.normal(-40, 2, 100), rng.normal(-44, 2, 100), zero - 40, zero - 40)
    >>> found = diagnose(log, "squared", 0.1)
    >>> 0.1 * found.rho_quantiles[0.5] == found.z_quantiles[0.5], found.taylor_radius, found.beyond_taylor
    (True, inf, 0.0)
    """
    run = objective_of(log, loss, beta, reduction)
    f, scale = run.loss, run.beta
    check_resampling(resamples, confidence)
    found_log = log if isinstance(log, TrainingLog | MarginLog | History) else _read(log, columns)
    if isinstance(found_log, History):
        return of_history(found_log, run)
    data, said = as_trained(found_log, run)
    if data.report is not None and (diverged := [one for one in data.report.left_out if DIVERGED in one.why]):
        out = sum(len(one.lines) for one in diverged)
        said.append(f"rows that lack a number, {DIVERGED}, are left out: {out} of {data.report.rows}")
    if one_row_a_step(data.step):
        return of_rows(data, run, said)
    others = get_margin_losses(PAPER_LOSSES if losses is None else distinct_losses(losses))
    grid = [check_positive(b, "beta") for b in ((scale / 3, scale, 3 * scale) if betas is None else betas)]
    last = data if data.step is None else data.at(data.step == data.step.max())
    rho, radius = last.rho, float(taylor_radius(f))
    draw = _Resampler(len(last), resamples, confidence, seed)
    quantiles = dict(zip(QUANTILES, np.quantile(rho, QUANTILES).tolist(), strict=True))
    longer = _length_difference(last)
    found: dict[str, Any] = {
        "loss": f.name,
        "beta": scale,
        "pairs": len(last),
        "step": None if last.step is None else float(last.step[0]),
        "rho_quantiles": quantiles,
        "z_quantiles": {q: scale * value for q, value in quantiles.items()},
        "accuracy": draw.share((rho > 0) + 0.5 * (rho == 0)),
        "taylor_radius": radius,
        "beyond_taylor": float(np.mean(scale * np.abs(rho) > radius)),
        "mu_squared_loss": draw.mean(0.5 * rho**2, (0.0, np.inf)),
        "chosen_change": draw.mean(last.chosen_ratio),
        "rejected_change": draw.mean(last.rejected_ratio),
        "chosen_falling": _UNTOLD if last.chosen_ratio is None else draw.share(last.chosen_ratio < 0),
        "length_correlation": None if longer is None else draw.of(lambda i: _spearman(rho[i], longer[i]), (-1.0, 1.0)),
        "length_slope": None if longer is None else draw.of(lambda i: _slope(rho[i], longer[i])),
    }
    every = [(g, b) for g in others for b in grid]
    if losses is None and f.name not in [g.name for g in others]:
        every += [(f, b) for b in grid]
    if (f.name, scale) not in [(g.name, b) for g, b in every]:
        every.append((f, scale))
    elsewhere = marked(other_runs(f, scale, rho, found["step"], every), f, scale)
    findings, advice = told(found, f, scale, last, elsewhere)
    return Diagnosis(
        **found,
        steps=_steps(data, scale, radius),
        alternatives=marked((alternative(g, b, rho) for g, b in every), f, scale),
        findings=(*said, *findings),
        report=data.report,
        others=elsewhere,
        advice=advice,
    )


def _read(source: Source, columns: Mapping[str, str] | None) -> TrainingLog | MarginLog | History:
    """A log of pairs, or else a record of batch means."""
    try:
        return read_pairs(source, columns=columns)
    except BatchMeans as error:
        return history_of(error.table)


class _Resampler:
    """Intervals over one set of resampled pairs."""

    def __init__(self, size: int, resamples: int, confidence: float, seed: int) -> None:
        self.size, self.resamples, self.seed, self.confidence = size, int(resamples), seed, confidence

    def of(self, statistic: Callable[[IntArray], float], within: tuple[float, float] | None = None) -> Interval:
        rng = np.random.default_rng(self.seed)
        drawn = [statistic(rng.integers(self.size, size=self.size)) for _ in range(self.resamples)]
        return resampled_interval(statistic(np.arange(self.size)), drawn, self.size, self.confidence, within=within)

    def mean(self, values: FloatArray | None, within: tuple[float, float] | None = None) -> Interval:
        if values is None:
            return _UNTOLD
        x = np.asarray(values, dtype=np.float64)
        return self.of(lambda i: float(x[i].mean()), within)

    def share(self, values: Any) -> Interval:
        """Of pairs: Wilson's interval, which has a width where all pairs are alike; none of one pair."""
        found = mean_share_interval(values, self.confidence)
        return found if self.size > 1 else Interval(found.value, float("nan"), float("nan"))


def _length_difference(log: TrainingLog | MarginLog) -> FloatArray | None:
    if log.chosen_length is None or log.rejected_length is None:
        return None
    longer = log.chosen_length - log.rejected_length
    return longer if np.ptp(longer) > 0 else None  # a correlation with what does not vary is none


def _mean(values: FloatArray | None) -> float:
    return float("nan") if values is None else float(values.mean())


def _slope(y: FloatArray, x: FloatArray) -> float:
    centred = x - x.mean()
    size = float(centred @ centred)
    return float(centred @ y) / size if size > 0 else float("nan")


def _spearman(y: FloatArray, x: FloatArray) -> float:
    a, b = rankdata(y) - (len(y) + 1) / 2, rankdata(x) - (len(x) + 1) / 2
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def _steps(log: TrainingLog | MarginLog, beta: float, radius: float) -> tuple[dict[str, Any], ...]:
    if log.step is None:
        return ()
    rows = []
    for step in np.unique(log.step):
        part = log.at(log.step == step)
        rho = part.rho
        rows.append(
            {
                "step": float(step), "pairs": len(part), "mean_rho": float(rho.mean()),
                "chosen_change": _mean(part.chosen_ratio), "rejected_change": _mean(part.rejected_ratio),
                "mu_squared_loss": float(0.5 * np.mean(rho**2)),
                "beyond_taylor": float(np.mean(beta * np.abs(rho) > radius)),
            }
        )  # fmt: skip
    return tuple(rows)
