"""From wins and defeats on unseen prompts to tuned rates, best strengths and shares of variance.

Shapes: S seeds, L losses, K strengths, two halves of the prompts, and last wins and defeats. Runaways are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.losses import get_loss
from gpo_analysis.statistics import Interval, anova, mean_interval, two_way_interval, two_way_means
from gpo_analysis.training.clock import predicted_course

PREFIXES = {"tilt": "", "own": "own_"}
EFFECTS = ("loss", "strength", "loss:strength", "seed", "rest")
OCTAVE = np.log(2.0)


@dataclass(frozen=True, eq=False)
class Judged:
    """What one condition's policies won and lost, by one measure.

    Attributes
    ----------
    losses, strengths, seeds : lists
        The axes L, K and S.
    means : array, shape (S, 2, L, K, 2)
        Mean over the prompts of wins and defeats, halves apart.
    drawn : array, shape (2, B, S, 2, L, K, 2)
        The same of B draws: of seeds drawn again and prompts within them, and of these seeds with their own prompts.
    """

    losses: list[str]
    strengths: FloatArray
    seeds: list[int]
    means: FloatArray
    drawn: FloatArray

    @property
    def rates(self) -> FloatArray:
        """Decided rates over all prompts, shape (S, L, K)."""
        return decided(self.means.sum(1))


def decided(counts: FloatArray) -> FloatArray:
    """Wins over wins and defeats, along the last axis."""
    return np.asarray(counts[..., 0] / counts.sum(-1))


def judge(prompts: pd.DataFrame, measure: str, resamples: int, seed: int) -> Judged:
    """Read one condition's rows, a row a policy and prompt, with the status of the policy; and draw them again."""
    prefix = PREFIXES[measure]
    losses, seeds = list(dict.fromkeys(prompts["loss"])), sorted(set(prompts["seed"]))
    strengths = np.array(sorted(set(prompts["strength"])))
    kept = prompts["status"] == "ok"
    columns = [f"{prefix}wins", f"{prefix}defeats"]
    rows = prompts.assign(**{name: prompts[name].where(kept) for name in columns})
    data = []
    for one in seeds:
        wide = rows[rows["seed"] == one].pivot_table(
            index="prompt", columns=["loss", "strength"], values=columns, dropna=False
        )
        values = np.stack(
            [[[wide[name, loss, s].to_numpy() for name in columns] for s in strengths] for loss in losses]
        )
        values = np.moveaxis(values, -1, 0)  # (prompts, L, K, 2)
        half = (np.arange(len(values)) % 2)[:, None, None, None]
        data.append(np.stack([np.where(half == k, values, 0.0 * values) for k in (0, 1)], 1).reshape(len(values), -1))
    shape = (len(seeds), 2, len(losses), len(strengths), 2)
    means = np.stack([part.mean(0) for part in data]).reshape(shape)
    drawn = np.stack(two_way_means(data, resamples, seed)).reshape(2, resamples, *shape)
    return Judged(losses, strengths, seeds, means, drawn)


def tuned_rates(counts: FloatArray) -> FloatArray:
    """Decided rate at the best strength, chosen on one half and judged on the other, both ways: (…, S, L).

    Parameters
    ----------
    counts : array, shape (…, S, 2, L, K, 2)

    Examples
    --------
    >>> one = np.array([[[[0.6, 0.4], [0.5, 0.5]]], [[[0.1, 0.9], [0.2, 0.8]]]])[None]  # a seed, two halves, a loss
    >>> tuned_rates(one).round(6).tolist()  # strength 0 is chosen on half 0, strength 1 on half 1
    [[0.3]]
    """
    best = _best(counts)
    other = np.flip(best, axis=-2)[..., None, None]
    judged = np.take_along_axis(counts, other, axis=-2)[..., 0, :]
    return decided(judged.sum(-3))


def _best(counts: FloatArray) -> IntArray:
    """Place of the best strength of what ran, of each half: (…, S, 2, L)."""
    rates = np.where(np.isnan(counts[..., 0]), -1.0, decided(np.nan_to_num(counts, nan=0.5)))
    return np.asarray(rates.argmax(-1))


def chosen_inside(counts: FloatArray) -> BoolArray:
    """Whether both halves' best strength has neighbours on both sides that ran, (S, L): no edge decided the choice.

    Parameters
    ----------
    counts : array, shape (S, 2, L, K, 2)

    Examples
    --------
    >>> counts = np.full((2, 2, 1, 3, 2), 0.5)
    >>> counts[:, :, :, 1, 0] = 0.9  # the middle one is best
    >>> counts[1, :, :, 0] = np.nan  # beside it one of seed 1 ran away
    >>> chosen_inside(counts)[:, 0].tolist()
    [True, False]
    """
    ran = np.isfinite(counts[..., 0])
    none = np.zeros_like(ran[..., :1])
    best = _best(counts)[..., None]
    below, above = np.concatenate([none, ran], -1), np.concatenate([ran[..., 1:], none], -1)
    inside = np.take_along_axis(below, best, -1) & np.take_along_axis(above, best, -1)
    return np.asarray(inside[..., 0].all(-2))


def curves(counts: FloatArray) -> FloatArray:
    """Decided rate of each loss and strength, mean over seeds, (…, L, K); NaN where one ran away."""
    return np.asarray(decided(counts.sum(-4)).mean(-3))


def rate_of_what_ran(counts: FloatArray, losses: Sequence[int], strengths: IntArray) -> FloatArray:
    """Decided rate at these losses and strengths: a seed's mean over what did not run away, mean over seeds, (…,).

    Parameters
    ----------
    counts : array, shape (…, S, 2, L, K, 2)
    losses, strengths : sequence of int
        Places.

    Examples
    --------
    >>> counts = np.full((2, 2, 1, 2, 2), 0.5)
    >>> counts[0, :, 0, 0] = np.nan  # seed 0 ran away at the first strength
    >>> counts[0, :, 0, 1] = [0.3, 0.1]
    >>> float(rate_of_what_ran(counts, [0], np.array([0, 1])))  # (3/4 + 1/2)/2
    0.625
    """
    rates = decided(counts.sum(-4))[..., losses, :][..., strengths]
    known = np.isfinite(rates)
    count = known.sum((-2, -1))
    own = np.where(count > 0, np.where(known, rates, 0.0).sum((-2, -1)) / np.maximum(count, 1), 0.0)
    seeds = (count > 0).sum(-1)
    return np.asarray(np.where(seeds > 0, own.sum(-1) / np.maximum(seeds, 1), np.nan))


def peaks(strengths: FloatArray, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log of the best strength, and whether it is at an edge of what has a rate: (…, L) each.

    A parabola through the highest point and its neighbours; NaN where nothing has a rate.

    Examples
    --------
    >>> x = np.exp([0.0, 1.0, 2.0, 3.0])
    >>> at, edge = peaks(x, -((np.log(x) - 1.2) ** 2)[None])
    >>> at.round(6).tolist(), edge.tolist()
    ([1.2], [False])
    """
    x = np.log(strengths)
    flat = rates.reshape(-1, rates.shape[-1])
    known = np.isfinite(flat)
    top = np.where(known, flat, -np.inf).argmax(-1)
    found = np.where(known.any(-1), x[top], np.nan)
    rows = np.flatnonzero((top > 0) & (top < len(x) - 1))
    rows = rows[known[rows, top[rows] - 1] & known[rows, top[rows] + 1]]
    at = top[rows]
    left, right = x[at - 1] - x[at], x[at + 1] - x[at]
    falls, rises = ((flat[rows, at + k] - flat[rows, at]) / u for k, u in ((1, right), (-1, left)))
    a = (falls - rises) / (right - left)  # y = a u² + b u through the neighbours, u from the highest point
    with np.errstate(divide="ignore", invalid="ignore"):
        found[rows] += np.where(a < 0, np.clip((a * left - rises) / (2 * a), left, right), 0.0)
    edges = np.ones(len(flat), dtype=bool)
    edges[rows] = False
    return found.reshape(rates.shape[:-1]), edges.reshape(rates.shape[:-1])


def tuned_rows(judged: Judged) -> list[dict[str, Any]]:
    """Rows ``tuned``, a row a loss, and ``pair``, a row a pair of losses, with 95 % and simultaneous intervals.

    ``student_low`` and ``student_high`` are Student's interval over the seeds' differences, which trusts no bootstrap
    of a few seeds; ``inside_low`` and ``inside_high`` the same of those seeds, ``inside`` many, whose four choices no
    edge decided.
    """
    value, drawn, seeds = tuned_rates(judged.means), tuned_rates(judged.drawn), len(judged.seeds)
    inside = chosen_inside(judged.means)
    rows: list[dict[str, Any]] = []
    for k, loss in enumerate(judged.losses):
        one = two_way_interval(value[:, k].mean(), *drawn[..., k].mean(-1), seeds)
        rows.append({"kind": "tuned", "loss": loss, "value": one.value, "low": one.low, "high": one.high})
    pairs = [(a, b) for a in range(len(judged.losses)) for b in range(a + 1, len(judged.losses))]
    for a, b in pairs:
        gaps, again = value[:, a] - value[:, b], (drawn[..., a] - drawn[..., b]).mean(-1)
        one = two_way_interval(gaps.mean(), *again, seeds)
        whole = two_way_interval(gaps.mean(), *again, seeds, 1 - 0.05 / len(pairs))
        count = len(gaps)
        whole_seeds = inside[:, a] & inside[:, b]
        kept = mean_interval(gaps[whole_seeds])
        half = float(student.ppf(0.975, count - 1) * gaps.std(ddof=1) / np.sqrt(count)) if count > 1 else np.nan
        rows.append(
            {
                "kind": "pair", "loss": judged.losses[a], "other": judged.losses[b], "value": one.value,
                "low": one.low, "high": one.high, "all_low": whole.low, "all_high": whole.high,
                "student_low": one.value - half, "student_high": one.value + half,
                "inside": int(whole_seeds.sum()), "inside_low": kept.low, "inside_high": kept.high,
            }
        )  # fmt: skip
    return rows


def best_rows(judged: Judged) -> list[dict[str, Any]]:
    """Rows ``best``: the best strength of each loss, and log₂ of it over logistic's; the share of resamples at an edge.

    A strength at which one seed of a loss ran away has no rate of that loss.
    """
    (value, edge), (drawn, edges) = (peaks(judged.strengths, curves(one)) for one in (judged.means, judged.drawn))
    base, seeds = judged.losses.index("logistic"), len(judged.seeds)
    rows: list[dict[str, Any]] = []
    for k, loss in enumerate(judged.losses):
        one = two_way_interval(value[k], *drawn[..., k], seeds)
        again = (drawn[..., k] - drawn[..., base]) / OCTAVE
        shift = two_way_interval((value[k] - value[base]) / OCTAVE, *again, seeds)
        rows.append(
            {
                "kind": "best", "loss": loss, "value": float(np.exp(one.value)), "low": float(np.exp(one.low)),
                "high": float(np.exp(one.high)), "shift": shift.value, "shift_low": shift.low,
                "shift_high": shift.high, "at_edge": bool(edge[k]),
                "edge_share": float((edges[0, :, k] | edges[0, :, base]).mean()),
            }
        )  # fmt: skip
    return rows


def octaves(one: Judged, other: Judged, loss: str) -> tuple[Interval, float]:
    """log₂ of a loss's best strength in one over that in another, and the share of resamples with one at an edge."""
    found = []
    for judged in (one, other):
        k = judged.losses.index(loss)
        (value, _), (drawn, edges) = (peaks(judged.strengths, curves(part)) for part in (judged.means, judged.drawn))
        found.append((value[k], drawn[..., k], edges[0, :, k]))
    (a, again, edge), (b, other_again, other_edge) = found
    seeds = min(len(one.seeds), len(other.seeds))
    found_shift = two_way_interval((a - b) / OCTAVE, *(again - other_again) / OCTAVE, seeds)
    return found_shift, float((edge | other_edge).mean())


def omega_rows(values: FloatArray, strengths: FloatArray, best: FloatArray) -> list[dict[str, Any]]:
    """Rows ``omega``: F and ω² of loss, strength and their interaction, by width of the grid about the best strength.

    The layout is loss × strength × seed, seeds as random blocks (`gpo_analysis.statistics.anova`). Strengths at which a
    policy ran away are left out, so that it is balanced. Widths are those of windows of 2, 3, … strengths that hold the
    best one as near their middle as may be. Intervals are Student's over the pseudo-values of leaving one seed out.

    Parameters
    ----------
    values : array, shape (S, L, K)
        What is decomposed.
    strengths : array, shape (K,)
    best : array, shape (S, L, K)
        Its mean over losses and seeds, NaN left out, is greatest at the best strength.
    """
    rates = values.transpose(1, 2, 0)  # (L, K, S)
    known = np.flatnonzero(np.isfinite(rates).all((0, 2)))
    rows: list[dict[str, Any]] = []
    if len(known) < 2 or rates.shape[0] < 2 or rates.shape[2] < 2:
        return rows
    rates, strengths = rates[:, known], strengths[known]
    top = int(np.nanmean(best[..., known], axis=(0, 1)).argmax())
    for count in range(2, len(known) + 1):
        start = min(max(0, top - (count - 1) // 2), len(known) - count)
        window = slice(start, start + count)
        found = anova(rates[:, window], ["loss", "strength"], blocks="seed")
        wider = {"gap": found["strength"].omega - found["loss"].omega}
        wider |= {name: found[name].omega for name in EFFECTS}
        spread = _jackknife(rates[:, window], wider)
        for name, value in wider.items():
            effect = found.get(name)
            rows.append(
                {
                    "kind": "omega", "effect": name, "points": count, "strength": float(strengths[window][-1]),
                    "from_strength": float(strengths[start]),
                    "decades": float(np.log10(strengths[window][-1] / strengths[start])), "value": value,
                    "low": value - spread[name], "high": value + spread[name],
                    "f": effect.f if effect else np.nan, "p": effect.p if effect else np.nan,
                }
            )  # fmt: skip
    return rows


def _jackknife(rates: FloatArray, whole: dict[str, float]) -> dict[str, float]:
    """Half-widths of 95 % intervals over seeds (Efron and Tibshirani 1993, §11); NaN for two seeds."""
    count = rates.shape[2]
    if count < 3:
        return dict.fromkeys(whole, np.nan)
    left = []
    for seed in range(count):
        found = anova(np.delete(rates, seed, axis=2), ["loss", "strength"], blocks="seed")
        one = {name: found[name].omega for name in EFFECTS}
        left.append({**one, "gap": found["strength"].omega - found["loss"].omega})
    half = float(student.ppf(0.975, count - 1)) * (count - 1) / np.sqrt(count)
    return {name: half * float(np.std([one[name] for one in left], ddof=1)) for name in whole}


def clock_shift(loss: str, y: float) -> float:
    """log₂ of the best strength over logistic's by the clock, where logistic's is best at y = βκ ρ̄₀.

    Solves φ_f(y_f) = φ_logistic(y), φ = x(y)/y of one mode; NaN where no y_f below 200 y does.

    Examples
    --------
    >>> round(clock_shift("squared", 4.0), 2), round(clock_shift("exponential", 4.0), 2)
    (-0.5, 0.52)
    """
    grid = y * np.geomspace(2.0**-6, 2.0**6, 385)
    wanted = np.interp(0.0, np.log(grid / y), _gain("logistic", grid))
    gain = _gain(loss, grid)
    if not gain.min() <= wanted <= gain.max():
        return float("nan")
    return float(np.interp(-wanted, -gain, np.log(grid / y)) / OCTAVE)


def _gain(loss: str, grid: Sequence[float] | FloatArray) -> FloatArray:
    """φ(y) = x(y)/y at rising y."""
    beta = get_loss(loss).beta_of(1.0)
    limit = np.asarray(grid, dtype=np.float64)
    fine = np.concatenate([np.linspace(limit[0] / 8, limit[0], 8), limit[1:]])
    course = predicted_course(loss, beta, fine[:, None], np.arange(1, len(fine) + 1), optimizer="gd")
    return np.asarray(course.mean_rho[7:] / limit)
