"""What stands out in a log of pairs, in words that its intervals support, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpo_analysis.analysis import taylor_radius
from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.log_sources import NEEDED
from gpo_analysis.estimation.logs import TrainingLog
from gpo_analysis.estimation.loss_log import rounding
from gpo_analysis.estimation.margin_log import MarginLog
from gpo_analysis.losses import MarginLoss

STILL = 0.02
"""Largest |βρ| below which every f is still its tangent at 0, to a few per cent."""
_IDLE = 0.05  # of |f′(0)|: a pair whose slope is smaller no longer trains


def told(
    found: dict[str, Any], f: MarginLoss, beta: float, log: TrainingLog | MarginLog, others: Sequence[dict[str, Any]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Findings and advice.

    Parameters
    ----------
    found : dict
        Fields of a :class:`gpo_analysis.estimation.Diagnosis`.
    f, beta : MarginLoss, float
    log : TrainingLog or MarginLog
        The pairs of the last step.
    others : sequence of dict
        Where other runs would be.
    """
    rho = log.rho
    if not rho.any() and not found["chosen_change"].value:
        same = (
            "policy and reference have the same log-probabilities on every pair: nothing was trained yet, or one was "
            "copied from the other"
        )
        return (same,), ("log a later step, and the reference from the model before training",)
    said: list[str] = []
    todo: list[str] = []
    largest = beta * float(np.abs(rho).max())
    if largest < STILL:
        said.append(
            f"the policy hardly moved: the largest |βρ| is {largest:.2g}, where every f is its tangent at 0 and the "
            "losses do not differ yet"
        )
        todo.append(
            "a higher learning rate or more steps: the margin of the first steps grows in proportion to either"
            + (f" (a |βρ| of 0.3 is {0.3 / largest:.2g} times this one)" if largest > 0 else "")
        )
    for part in (
        of_rising(f),
        _of_chosen(found, f, beta, others),
        _of_losses(found, f, beta, rho),
        _of_data(found, f, log),
    ):
        for fact, advice in part:
            said.append(fact)
            todo += [advice] if advice else []
    return tuple(said) or ("nothing stands out",), tuple(todo)


def of_rising(f: MarginLoss) -> list[tuple[str, str]]:
    """What to say, and to do, of a loss that does not fall at 0.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> of_rising(get_loss("log(1+exp(z))"))[0][1]
    'train with f(−z) in place of f(z): it falls at 0; chosen and rejected need not be exchanged'
    """
    if f.falls_at_zero:
        return []
    other = "f(−z) in place of f(z): it falls at 0" if f.derivative(0.0) > 0 else "a loss with f′(0) < 0"
    return [(f.why_not_falling(), f"train with {other}; chosen and rejected need not be exchanged")]


def _of_chosen(
    found: dict[str, Any], f: MarginLoss, beta: float, others: Sequence[dict[str, Any]]
) -> list[tuple[str, str]]:
    chosen, rejected, falling = found["chosen_change"], found["rejected_change"], found["chosen_falling"]
    if chosen.low > 0:
        return [(f"chosen responses have become more likely than under πref: mean log-ratio {chosen}", "")]
    if not chosen.high < 0:
        return []
    fact = (
        f"chosen responses have become less likely than under πref: mean log-ratio {chosen}, "
        f"in {falling.value:.0%} of the pairs"
        + ("; the margin grows because rejected ones fall faster" if rejected.high < chosen.low else "")
    )
    own = next((row for row in others if row["loss"] == f.name and row["beta"] == beta), None)
    larger = [row for row in others if row["loss"] == f.name and row["beta"] > beta and row["trusted"]]
    if own is None or not larger:
        return [(fact, f"a larger β: `gpo recommend-beta --log` with --drop {-chosen.value / 2:.2g} (half) says which")]
    best = max(larger, key=lambda row: row["beta"])
    kept = best["mean_rho"] / own["mean_rho"]
    advice = (
        f"a larger β: at {best['beta']:.3g} the mean margin would end at {best['mean_rho']:.3g} and the chosen, in "
        f"proportion, at {chosen.value * kept:.3g} nats; `gpo recommend-beta --log` with --drop finds β for a limit"
    )
    return [(fact, advice)]


def _of_losses(found: dict[str, Any], f: MarginLoss, beta: float, rho: FloatArray) -> list[tuple[str, str]]:
    said = []
    if found["beyond_taylor"] > 0.05:
        largest = found["taylor_radius"] / float(np.quantile(np.abs(rho), 0.95))
        said.append(
            (
                f"{found['beyond_taylor']:.0%} of |βρ| lie beyond the radius {found['taylor_radius']:.4g}: the "
                f"second-order picture does not describe this run; at these ρ it would for β below {largest:.3g}",
                f"do not read β²f″(0)·½E[ρ²] as what regularizes here; for that β below {largest:.3g} (95 % of "
                "the pairs within), or an earlier checkpoint",
            )
        )
    own, third = alternative(f, beta, rho), alternative(f, beta / 3, rho)
    if own["idle"] > 0.5:
        said.append(
            (
                f"{own['idle']:.0%} of the pairs have a slope below 5 % of the first: they no longer train",
                f"stop, or go on with a smaller β: at β = {beta / 3:.3g}, {_share(third['idle'])} of these pairs "
                "would be idle",
            )
        )
    if own["pulled_back"] > 0.05:
        said.append(
            (
                f"{own['pulled_back']:.0%} of the pairs are past the margin of {f.name} and pulled back",
                f"that is {f.name}'s regularization at work; for larger margins a smaller β: at β = {beta / 3:.3g}, "
                f"{_share(third['pulled_back'])} of these pairs would be pulled back",
            )
        )
    return said


def _share(share: float) -> str:
    """Of pairs, in words where it is none."""
    return "none" if share == 0 else f"{share:.0%}"


def _of_data(found: dict[str, Any], f: MarginLoss, log: TrainingLog | MarginLog) -> list[tuple[str, str]]:
    said, link, rho = [], found["length_correlation"], log.rho
    if link is not None and (link.low > 0 or link.high < 0):
        assert log.chosen_length is not None
        assert log.rejected_length is not None
        which, slope = "longer" if link.low > 0 else "shorter", found["length_slope"]
        share = slope.value * float(np.mean(log.chosen_length - log.rejected_length))
        said.append(
            (
                f"the policy has moved towards {which} responses: Spearman {link}, {slope} nats a token",
                f"length accounts for {share:.3g} of the mean margin {rho.mean():.3g}; if that is not wanted: token "
                "means (GPOTrainer(reduction='mean'), trl:sigmoid_norm), or pairs of like lengths",
            )
        )
    if found["accuracy"].high < 0.5 and not f.falls_at_zero:
        said.append(
            (f"{found['accuracy'].value:.0%} of the pairs have ρ > 0, as a loss that does not fall leaves it", "")
        )
    elif found["accuracy"].high < 0.5:
        said.append(
            (
                "fewer than half of the pairs have ρ > 0: chosen and rejected may be swapped, or policy and "
                "reference, or β's sign be wrong",
                f"look at a few pairs ({found['accuracy'].value:.0%} have ρ > 0): of the policy's and the reference's "
                "log-probability of a chosen response, the policy's should be the larger; if swapped, exchange the "
                "columns",
            )
        )
    what = "margins" if isinstance(log, MarginLog) else "log-probabilities"
    logged = [log.rho] if isinstance(log, MarginLog) else [np.asarray(getattr(log, name)) for name in NEEDED]
    noise = np.sqrt(sum(rounding(column)[0] ** 2 for column in logged))
    typical, spread = float(np.median(noise)), float(rho.std())
    if len(rho) > 4 and typical > 0.1 * spread and any(rounding(column)[1] for column in logged):
        said.append(
            (
                f"{what} are rounded to bfloat16: ρ is known to ±{typical:.2g} nats, its spread is {spread:.3g}",
                "sum token log-probabilities in float32 when logging",
            )
        )
    return said


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
        "largest_margin": float(np.abs(z).max()),
        "idle": float(np.mean(np.abs(slope) < _IDLE * start)),
        "pulled_back": float(np.mean(slope > 0)),
        "mean_slope": float(np.mean(-slope / start)) if start > 0 else float("nan"),
        "taylor_cosine": cosine,
        "largest_beta": radius / far if far > 0 else float("inf"),
    }
