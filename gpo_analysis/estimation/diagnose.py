"""What a training log shows: how far the policy has moved, where the expansion holds, what falls, what f would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from gpo_analysis.analysis import taylor_radius
from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.estimation.logs import TrainingLog, read_training_log
from gpo_analysis.estimation.others import other_runs, others_shown
from gpo_analysis.estimation.resampling import check_resampling
from gpo_analysis.losses import PAPER_LOSSES, MarginLoss, get_margin_loss, get_margin_losses
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.reading import ReadReport
from gpo_analysis.statistics import Interval

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_IDLE = 0.05  # of |f′(0)|: a pair whose slope is smaller no longer trains


@dataclass(frozen=True)
class Diagnosis:
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
        Mean log π/πref of chosen and of rejected responses, nats.
    chosen_falling : Interval
        Share of pairs whose chosen response has become less likely than under πref.
    length_correlation : Interval or None
        Spearman's, of ρ and the difference of lengths; None without lengths.
    length_slope : Interval or None
        Least-squares slope of ρ on the difference of lengths, nats a token.
    steps : tuple of dict
        A row a step, where the log has several: means of ρ, chosen and rejected log-ratios, ½E[ρ²], share beyond r.
    alternatives : tuple of dict
        A row an f and β: what each would have made of these ρ; see `diagnose`.
    findings : tuple of str
        In words.
    report : ReadReport or None
        How the file was read, where the log comes from one.
    others : tuple of dict
        A row an f and β: where a run of its own would be; see `diagnose`.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values; intervals as ``{"value", "low", "high"}``."""
        plain = {
            key: vars(value) if isinstance(value, Interval) else list(value) if isinstance(value, tuple) else value
            for key, value in vars(self).items()
        }
        return plain | {"report": None if self.report is None else self.report.to_dict()}

    def __str__(self) -> str:
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
            f"log π/πref, chosen      {self.chosen_change}   falling in {self.chosen_falling} of the pairs",
            f"log π/πref, rejected    {self.rejected_change}",
        ]
        if self.length_correlation is not None:
            lines.append(
                f"ρ against length        Spearman {self.length_correlation}, {self.length_slope} nats a token"
            )
        lines += ["", *(f"- {finding}" for finding in self.findings)]
        if len(self.steps) > 1:
            lines += ["", *self._course()]
        head = f"{'loss':<20} {'β':>9} {'βκ':>9} {'mean f':>9} {'mean |f′|':>9} {'beyond r':>9} {'idle':>7} "
        head += f"{'pulled back':>12} {'mean slope':>11} {'cosine':>7}"
        lines += ["", "what each f and β would make of these ρ", head]
        for row in self.alternatives:
            lines.append(
                f"{row['loss']:<20} {row['beta']:>9.4g} {row['beta_kappa']:>9.4g} {row['mean_loss']:>9.3g} "
                f"{row['mean_weight']:>9.3g} {row['beyond_taylor']:>9.1%} {row['idle']:>7.1%} "
                f"{row['pulled_back']:>12.1%} {row['mean_slope']:>11.3g} {row['taylor_cosine']:>7.3f}"
            )
        return "\n".join([*lines, "", *others_shown(self.others)])

    __repr__ = __str__  # a few lines, where a prompt shows it

    def _course(self) -> list[str]:
        """A row a step, at most ten of them, the first and the last among them."""
        shown = sorted({round(k) for k in np.linspace(0, len(self.steps) - 1, 10)})
        lines = [f"{'step':>9} {'mean ρ':>9} {'chosen':>9} {'rejected':>9} {'½E[ρ²]':>9} {'beyond r':>9}"]
        for row in (self.steps[k] for k in shown):
            lines.append(
                f"{row['step']:>9g} {row['mean_rho']:>9.3g} {row['chosen_change']:>9.3g} "
                f"{row['rejected_change']:>9.3g} {row['mu_squared_loss']:>9.3g} {row['beyond_taylor']:>9.1%}"
            )
        return lines


def diagnose(
    log: TrainingLog | str | Path,
    loss: MarginLoss | str = "logistic",
    beta: float = 0.1,
    *,
    losses: MarginLoss | str | Iterable[MarginLoss | str] | None = None,
    betas: Iterable[float] | None = None,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> Diagnosis:
    """Read a training log: quantiles of ρ and βρ, what lies beyond the expansion, what falls, which f would differ.

    Parameters
    ----------
    log : TrainingLog, str or Path
        Or a file for :func:`read_training_log`. With steps the last one is diagnosed, the course told in `steps`.
    loss, beta : MarginLoss or str, float
        What the run was trained with (β in GPO's convention).
    losses, betas : optional
        What to compare it with; the paper's six by default, each at a third, once and three times the run's β.
    resamples, confidence, seed : int, float, int
        Of the bootstrap over pairs.

    Returns
    -------
    Diagnosis
        `alternatives` hold for each f and β, at the ρ of the log: ``beta_kappa`` βκ, the strength that compares between
        losses (0 for hinge); ``mean_loss`` of f(βρ); ``mean_weight`` of \\|f′(βρ)\\|, the weight of a pair's gradient;
        ``beyond_taylor`` share beyond the radius;
        ``idle`` share with \\|f′(βρ)\\| < 0.05 \\|f′(0)\\| (nothing left to learn); ``pulled_back`` share with
        f′(βρ) > 0; ``mean_slope`` the mean of −f′(βρ)/\\|f′(0)\\| (1 at the start, 0 where preference and
        regularization balance); ``taylor_cosine`` between f′(βρ) over the pairs and its expansion to second order of f;
        ``largest_beta`` at which 95 % of \\|βρ\\| are within the radius. `others` say where a run of its own, of the
        same data, rate and length, would be after the last step: ``mean_rho``, ``mu_squared_loss``, and ``reach``,
        above 2 of which the law is not trusted; see :func:`gpo_analysis.training.predicted_course`.

    Raises
    ------
    ValueError
        For a malformed log, β not positive, an unknown loss.

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
    data = log if isinstance(log, TrainingLog) else read_training_log(log)
    f, scale = get_margin_loss(loss), check_positive(beta, "beta")
    check_resampling(resamples, confidence)
    others = get_margin_losses(PAPER_LOSSES if losses is None else losses)
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
        "accuracy": draw.mean((rho > 0) + 0.5 * (rho == 0)),
        "taylor_radius": radius,
        "beyond_taylor": float(np.mean(scale * np.abs(rho) > radius)),
        "mu_squared_loss": draw.mean(0.5 * rho**2),
        "chosen_change": draw.mean(last.chosen_ratio),
        "rejected_change": draw.mean(last.rejected_ratio),
        "chosen_falling": draw.mean(last.chosen_ratio < 0),
        "length_correlation": None if longer is None else draw.of(lambda i: _spearman(rho[i], longer[i])),
        "length_slope": None if longer is None else draw.of(lambda i: _slope(rho[i], longer[i])),
    }
    every = [(g, b) for g in others for b in grid]
    rows = tuple(alternative(g, b, rho) for g, b in every)
    return Diagnosis(
        **found,
        steps=_steps(data, scale, radius),
        alternatives=rows,
        findings=_findings(found, f, scale, rho),
        report=data.report,
        others=other_runs(f, scale, rho, found["step"], every),
    )


class _Resampler:
    """Percentile intervals over one set of resampled pairs."""

    def __init__(self, size: int, resamples: int, confidence: float, seed: int) -> None:
        self.size, self.resamples, self.seed = size, int(resamples), seed
        self.ends = (0.5 - confidence / 2, 0.5 + confidence / 2)

    def of(self, statistic: Callable[[IntArray], float]) -> Interval:
        rng = np.random.default_rng(self.seed)
        drawn = [statistic(rng.integers(self.size, size=self.size)) for _ in range(self.resamples)]
        value = statistic(np.arange(self.size))
        finite = np.asarray(drawn)[np.isfinite(drawn)]
        if self.size < 2 or not len(finite):
            return Interval(value, float("nan"), float("nan"))
        low, high = np.quantile(finite, self.ends)
        return Interval(value, float(low), float(high))

    def mean(self, values: Any) -> Interval:
        x = np.asarray(values, dtype=np.float64)
        return self.of(lambda i: float(x[i].mean()))


def _length_difference(log: TrainingLog) -> FloatArray | None:
    if log.chosen_length is None or log.rejected_length is None:
        return None
    return log.chosen_length - log.rejected_length


def _slope(y: FloatArray, x: FloatArray) -> float:
    centred = x - x.mean()
    size = float(centred @ centred)
    return float(centred @ y) / size if size > 0 else float("nan")


def _spearman(y: FloatArray, x: FloatArray) -> float:
    a, b = rankdata(y) - (len(y) + 1) / 2, rankdata(x) - (len(x) + 1) / 2
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def alternative(f: MarginLoss, beta: float, rho: FloatArray) -> dict[str, Any]:
    """What one f at one β would make of these ρ; see :func:`diagnose`."""
    with np.errstate(over="ignore"):
        z = beta * rho
    slope, start = np.asarray(f.derivative(z), dtype=np.float64), abs(float(f.derivative(0.0)))
    radius = float(taylor_radius(f))
    series = np.asarray(f.derivative(0.0) + f.derivative(0.0, 2) * z, dtype=np.float64)
    far = float(np.quantile(np.abs(rho), 0.95))
    finite = np.isfinite(slope)
    with np.errstate(over="ignore", invalid="ignore"):
        size = float(np.linalg.norm(slope[finite]) * np.linalg.norm(series[finite]))
        cosine = float(slope[finite] @ series[finite]) / size if size > 0 else float("nan")
    return {
        "loss": f.name,
        "beta": beta,
        "beta_kappa": beta * float(f.derivative(0.0, 2)) / start if start > 0 else float("nan"),
        "mean_loss": float(np.mean(f(z))),
        "mean_weight": float(np.mean(np.abs(slope))),
        "beyond_taylor": float(np.mean(np.abs(z) > radius)),
        "idle": float(np.mean(np.abs(slope) < _IDLE * start)),
        "pulled_back": float(np.mean(slope > 0)),
        "mean_slope": float(np.mean(-slope / start)) if start > 0 else float("nan"),
        "taylor_cosine": cosine,
        "largest_beta": radius / far if far > 0 else float("inf"),
    }


def _steps(log: TrainingLog, beta: float, radius: float) -> tuple[dict[str, Any], ...]:
    if log.step is None:
        return ()
    rows = []
    for step in np.unique(log.step):
        part = log.at(log.step == step)
        rho = part.rho
        rows.append(
            {
                "step": float(step), "pairs": len(part), "mean_rho": float(rho.mean()),
                "chosen_change": float(part.chosen_ratio.mean()), "rejected_change": float(part.rejected_ratio.mean()),
                "mu_squared_loss": float(0.5 * np.mean(rho**2)),
                "beyond_taylor": float(np.mean(beta * np.abs(rho) > radius)),
            }
        )  # fmt: skip
    return tuple(rows)


def _findings(found: dict[str, Any], f: MarginLoss, beta: float, rho: FloatArray) -> tuple[str, ...]:
    """In words: only what the intervals support."""
    if not rho.any() and not found["chosen_change"].value:
        return (
            "policy and reference have the same log-probabilities on every pair: nothing was trained yet, or one was "
            "copied from the other",
        )
    said = []
    chosen, rejected, falling = found["chosen_change"], found["rejected_change"], found["chosen_falling"]
    if chosen.high < 0:
        said.append(
            f"chosen responses have become less likely than under πref: mean log-ratio {chosen}, "
            f"in {falling.value:.0%} of the pairs"
            + ("; the margin grows because rejected ones fall faster" if rejected.high < chosen.low else "")
        )
    elif chosen.low > 0:
        said.append(f"chosen responses have become more likely than under πref: mean log-ratio {chosen}")
    if found["beyond_taylor"] > 0.05:
        largest = found["taylor_radius"] / float(np.quantile(np.abs(rho), 0.95))
        said.append(
            f"{found['beyond_taylor']:.0%} of |βρ| lie beyond the radius {found['taylor_radius']:.4g}: the "
            f"second-order picture does not describe this run; at these ρ it would for β below {largest:.3g}"
        )
    own = alternative(f, beta, rho)
    if own["idle"] > 0.5:
        said.append(f"{own['idle']:.0%} of the pairs have a slope below 5 % of the first: they no longer train")
    if own["pulled_back"] > 0.05:
        said.append(f"{own['pulled_back']:.0%} of the pairs are past the margin of {f.name} and pulled back")
    link = found["length_correlation"]
    if link is not None and (link.low > 0 or link.high < 0):
        which = "longer" if link.low > 0 else "shorter"
        said.append(
            f"the policy has moved towards {which} responses: Spearman {link}, {found['length_slope']} nats a token"
        )
    if found["accuracy"].high < 0.5:
        said.append("fewer than half of the pairs have ρ > 0: chosen and rejected may be swapped, or β's sign be wrong")
    return tuple(said) or ("nothing stands out",)
