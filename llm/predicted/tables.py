"""Measured beside predicted: a row a run, recorded step, split and method, and the same for each prompt.

Splits: ``seen``, the samples that pairs were made of, ``mean_rho`` and ``chosen_logp`` over the pairs with the labels
they were trained with; ``held``, further samples of the same prompts, and ``unseen``, samples of other prompts, both
under the expected labels, for two samples drawn from πref's. ``rho_squared`` is the mean of ρ² over such pairs. On all
of them KL and ½E_μ[ρ²] are those of the tilt of the samples (`llm.forests.measures`), of networks and predictions
alike.

Methods, none with a fitted number:

- ``tangent``: h = J·δ. A linear model of log π forgets that π sums to 1, so the chosen's log π is that of h less
  log E_πref[e^h], the mean over the prompt's other samples; KL and margins do not notice. Other linear models of a run,
  where there are some, likewise, by their names.
- ``scalar``: from the network's limit run β → 0 of the same seed, optimiser, rate, batch and labels alone, by the two
  parts of `gpo_analysis.training.predicted_course`. What it does not give (the chosen's log π, held and unseen samples)
  is read off the limit run where its mean margin was the predicted one.
- ``direction``: the same with the limit run's direction alone; ``kappa``: m₀φ(aβκm₀), κ alone, for Adam as for SGD.
- ``thermometer``: KL of tossed labels at the last step, by `gpo_analysis.training.noise_variance` from the gradients at
  πref, times 1 − Σμ², since pairs are of two distinct samples.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import logsumexp

from gpo_analysis.arrays import FloatArray
from gpo_analysis.files import write_whole
from gpo_analysis.losses import get_loss
from gpo_analysis.training.clock import Course as Predicted
from gpo_analysis.training.clock import predicted_course
from gpo_analysis.training.thermometer import noise_variance
from llm.forests.measures import measures
from llm.forests.problem import Problem, Sampled
from llm.predicted.config import COIN, Cell, PredictedConfig
from llm.predicted.data import Pairs, draw_pairs
from llm.predicted.training import Course

SPLITS = ("seen", "held", "unseen")
QUANTITIES = ("mean_rho", "kl", "mu_squared_loss", "chosen_logp", "win_rate")


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished piece; ``others``: further linear models of its runs, by name."""

    seed: int
    cells: tuple[Cell, ...]
    real: Course
    tangent: Course
    moments: FloatArray
    others: Mapping[str, Course] = field(default_factory=dict)


def write_tables(
    folder: Path, config: PredictedConfig, problems: Mapping[int, Problem], pieces: Sequence[Finished]
) -> str:
    """Write steps.parquet and prompts.parquet; say what is in them."""
    parts = []
    for piece in pieces:
        measured = _Measured(problems[piece.seed], config)
        for run in range(len(piece.cells)):
            parts.append(_run_rows(measured, piece, run))
    prompts = pd.concat(parts, ignore_index=True)
    keys = [name for name in prompts.columns if name not in _numbers() and name != "prompt"]
    steps = prompts.groupby(keys, sort=False, dropna=False)[_numbers()].mean().reset_index()
    _parquet(steps, folder / "steps.parquet", folder)
    _parquet(prompts, folder / "prompts.parquet", folder)
    runs = sum(len(piece.cells) for piece in pieces)
    stopped = int(sum((piece.real.stopped > 0).sum() for piece in pieces))
    return f"{runs} runs of {len(problems)} seeds, {stopped} stopped, {len(steps)} rows"


def _numbers() -> list[str]:
    return [*QUANTITIES, "rho_squared", *(f"{name}_predicted" for name in QUANTITIES)]


class _Measured:
    """A seed's samples, and what is measured on them of h."""

    def __init__(self, problem: Problem, config: PredictedConfig) -> None:
        self.problem, self.config, self.pairs = problem, config, draw_pairs(problem, config)
        trained = config.trained_prompts
        self.rows = {"seen": slice(0, trained), "held": slice(0, trained), "unseen": slice(trained, None)}
        self.sampled = {
            "seen": _some(problem.seen, 0, trained),
            "held": _some(problem.held, 0, trained),
            "unseen": _some(problem.seen, trained, config.prompts),
        }
        # a pair is of two distinct samples: E[ρ²] = 2 Var_μ(h)/(1 − Σμ²), and the thermometer's v is β²E[ρ²]
        self.distinct = 1.0 - (problem.seen.forest.weight[:trained].numpy().astype(np.float64) ** 2).sum(1)

    def part(self, course: Course, split: str, step: int, run: int) -> FloatArray:
        """h of a split's samples, (m, n)."""
        h = (course.held if split == "held" else course.seen)[step, run]
        return np.asarray(h[self.rows[split]], dtype=np.float64)

    def of(self, split: str, h: FloatArray, epsilon: float) -> dict[str, FloatArray]:
        """The quantities of h, (m,) each."""
        sampled = self.sampled[split]
        found = measures(sampled, h)
        both = {name: found[name] for name in ("kl", "mu_squared_loss", "win_rate")}
        if split == "seen":
            first, second = h[self.pairs.prompt, self.pairs.first], h[self.pairs.prompt, self.pairs.second]
            label = self.pairs.labels(0.0 if epsilon == COIN else epsilon)
            count = self.config.trained_prompts
            sizes = np.bincount(self.pairs.prompt, minlength=count)
            rho = np.bincount(self.pairs.prompt, label * (first - second), count) / sizes
            chosen = np.bincount(self.pairs.prompt, np.where(label > 0, first, second), count) / sizes
            both["rho_squared"] = np.bincount(self.pairs.prompt, (first - second) ** 2, count) / sizes
        else:
            both["rho_squared"] = 2 * found["mu_squared_loss"]
            rho, chosen = _expected(sampled, h, self.config.scale, 0.0 if epsilon == COIN else epsilon)
        return {"mean_rho": rho, **both, "chosen_logp": chosen}

    def log_mass(self, course: Course, split: str, step: int, run: int) -> FloatArray:
        """Log E_πref[e^h] of each prompt by samples in no pair, (m,)."""
        h = np.asarray(course.held[step, run][self.rows[split]], dtype=np.float64)
        weight = self.problem.held.forest.weight.numpy()[self.rows[split]]
        return np.asarray(logsumexp(h, axis=1, b=weight))


def _run_rows(measured: _Measured, piece: Finished, run: int) -> pd.DataFrame:
    cell, config = piece.cells[run], measured.config
    by_limit = cell.beta and cell.epsilon != COIN
    scalars = _scalar(measured, piece, run, _limit_of(piece, run)) if by_limit else {}
    parts = []
    for place, step in enumerate(config.record):
        for split in SPLITS:
            real = measured.of(split, measured.part(piece.real, split, place, run), cell.epsilon)
            methods = {}
            for name, course in {"tangent": piece.tangent, **piece.others}.items():
                said = measured.of(split, measured.part(course, split, place, run), cell.epsilon)
                said["chosen_logp"] = said["chosen_logp"] - measured.log_mass(course, split, place, run)
                methods[name] = said
            methods |= {name: found[place, split] for name, found in scalars.items() if (place, split) in found}
            if cell.epsilon == COIN and cell.beta and split == "seen" and place == len(config.record) - 1:
                methods["thermometer"] = {"kl": _floor(piece, cell, config) * measured.distinct}
            for method, found in methods.items():
                size = len(real["kl"])
                columns: dict[str, Any] = {"step": step, "split": split, "method": method, "prompt": np.arange(size)}
                columns |= real
                columns |= {f"{name}_predicted": found.get(name, np.full(size, np.nan)) for name in QUANTITIES}
                parts.append(pd.DataFrame(columns))
    rows = pd.concat(parts, ignore_index=True)
    head = {**asdict(cell), "beta": cell.beta, "seed": piece.seed}
    head |= {"stopped": int(piece.real.stopped[run]), "tangent_stopped": int(piece.tangent.stopped[run])}
    return rows.assign(**head)


def _limit_of(piece: Finished, run: int) -> int:
    """The run in the limit β → 0 of the same rate and labels."""
    cell = piece.cells[run]
    return next(
        other
        for other, one in enumerate(piece.cells)
        if (one.strength == 0 and (one.rate, one.epsilon) == (cell.rate, cell.epsilon)) or cell.epsilon == COIN
    )


def _floor(piece: Finished, cell: Cell, config: PredictedConfig) -> float:
    _, roots, squares, _ = next(row for row in piece.moments if row[0] == cell.batch)
    rate, adam = config.rate_of(cell), cell.optimizer == "adamw"
    theta = cell.beta * rate * (roots / (2 * cell.batch**0.5) if adam else squares / (2 * cell.batch))
    return noise_variance(cell.loss, theta, optimizer="adam" if adam else "gd") / (4 * cell.beta**2)


def _scalar(
    measured: _Measured, piece: Finished, run: int, limit: int
) -> dict[str, dict[tuple[int, str], dict[str, FloatArray]]]:
    """Predictions from the limit run alone, by method, step and split."""
    cell, config, pairs = piece.cells[run], measured.config, measured.pairs
    steps = range(len(config.record))
    limits = {
        (place, split): measured.of(split, measured.part(piece.real, split, place, limit), cell.epsilon)
        for place in steps
        for split in SPLITS
    }
    margins = np.stack(
        [_margins(measured.part(piece.real, "seen", place, limit), pairs, cell.epsilon) for place in steps]
    )
    m0 = margins.mean(1)
    shared = float(limits[steps[-1], config.shared_split]["mean_rho"].mean())
    own = min(max(1.0 - shared / float(m0[-1]), 0.0), 1.0)
    signal = float(next(row for row in piece.moments if row[0] == cell.batch)[3])
    options: dict[str, Any] = {"optimizer": "adam" if cell.optimizer == "adamw" else "gd", "signal": signal}
    width = measured.problem.seen.forest.weight.shape[1]
    ids = [pairs.prompt * width + column for column in (pairs.first, pairs.second)]
    label = pairs.labels(cell.epsilon)
    chosen, rejected = np.where(label > 0, ids[0], ids[1]), np.where(label > 0, ids[1], ids[0])
    two = predicted_course(
        cell.loss, cell.beta, margins, config.record, own_share=own, responses=(chosen, rejected), **options
    )
    one = predicted_course(cell.loss, cell.beta, margins, config.record, **options)
    x = (margins**2).mean(1) / m0**2 * cell.beta * float(get_loss(cell.loss).curvature_ratio) * m0
    kappa = m0 * np.where(x > 0, -np.expm1(-x) / np.where(x > 0, x, 1.0), 1.0)
    means = {"scalar": two.mean_rho, "direction": one.mean_rho, "kappa": kappa}
    found: dict[str, dict[tuple[int, str], dict[str, FloatArray]]] = {}
    for method, mean in means.items():
        found[method] = {}
        for place in steps:
            for split in SPLITS if method == "scalar" else ("seen",):
                found[method][place, split] = _on_the_path(limits, m0, float(mean[place]), split)
    count = config.trained_prompts
    h0 = measured.part(piece.real, "seen", steps[-1], limit)
    gained = np.bincount(chosen, minlength=count * width) - np.bincount(rejected, minlength=count * width)
    gained = (gained / len(pairs)).reshape(count, width)
    each = own * m0[-1] / float((gained.ravel()[chosen] - gained.ravel()[rejected]).mean())
    for place in steps:
        h = two.shared[place] * (h0 - each * gained) + _padded(two, place, count * width).reshape(count, width)
        h = np.where(measured.sampled["seen"].forest.weight.numpy() > 0, h, 0.0)
        full = measured.of("seen", h, cell.epsilon)
        found["scalar"][place, "seen"] |= {name: full[name] for name in ("mean_rho", "kl", "mu_squared_loss")}
    return found


def _on_the_path(
    limits: Mapping[tuple[int, str], dict[str, FloatArray]], m0: FloatArray, mean: float, split: str
) -> dict[str, FloatArray]:
    """The limit run's quantities where its mean margin was ``mean``, linear between recorded steps, from πref on."""
    grid = np.concatenate([[0.0], m0])
    at = int(np.clip(np.searchsorted(grid, mean) - 1, 0, len(grid) - 2))
    share = (mean - grid[at]) / (grid[at + 1] - grid[at])
    end = limits[at, split]
    still = {name: np.full_like(value, 0.5 if name == "win_rate" else 0.0) for name, value in end.items()}
    start = still if at == 0 else limits[at - 1, split]
    return {name: (1 - share) * start[name] + share * end[name] for name in QUANTITIES}


def _padded(course: Predicted, place: int, size: int) -> FloatArray:
    whole = np.zeros(size)
    whole[: course.own.shape[1]] = course.own[place]
    return whole


def _margins(h: FloatArray, pairs: Pairs, epsilon: float) -> FloatArray:
    return np.asarray(pairs.labels(epsilon) * (h[pairs.prompt, pairs.first] - h[pairs.prompt, pairs.second]))


def _expected(sampled: Sampled, h: FloatArray, scale: float, epsilon: float) -> tuple[FloatArray, FloatArray]:
    """Mean margin, and mean h of the chosen, of two distinct samples under the expected label, (m,) each."""
    mu, r = sampled.forest.weight.numpy(), sampled.rewards
    p = 1 / (1 + np.exp(-scale * (r[:, :, None] - r[:, None, :])))
    p = epsilon + (1 - 2 * epsilon) * p
    both = mu[:, :, None] * mu[:, None, :] * (1 - np.eye(mu.shape[1]))
    both = both / both.sum((1, 2), keepdims=True)
    chosen = (both * (p * h[:, :, None] + (1 - p) * h[:, None, :])).sum((1, 2))
    rejected = (both * (p * h[:, None, :] + (1 - p) * h[:, :, None])).sum((1, 2))
    return chosen - rejected, chosen


def _some(sampled: Sampled, low: int, high: int) -> Sampled:
    rows = torch.arange(low, high)
    return Sampled(
        sampled.prompts[low:high], sampled.samples[low:high], sampled.forest.take(rows), sampled.rewards[low:high]
    )


def _parquet(table: pd.DataFrame, path: Path, out: Path) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    write_whole(path, buffer.getvalue(), out)
