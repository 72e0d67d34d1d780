"""Measured beside predicted, a row a policy and a row a policy and prompt.

All that training determines is h = log π/πref on the samples it saw, up to a constant a prompt. What is compared are
therefore functions of just that: the policy that tilts the prompt's samples μ by e^h,

    q(y) ∝ μ(y) e^{h(y)},   KL(q‖μ),   E_q[win against μ] with ties half,   ½ E_μ[ρ²] = Var_μ(h),

with h of the network beside h = g/β of the exact optimum, g being fitted to the very same samples. With samples of
πref, q is π and KL(q‖μ) is KL(π‖πref) up to the sampling of μ, which is the same on both sides. On samples that were
not trained on the same comparison says how far the policy generalises over responses (columns ``held_…``), and
``kl_importance`` estimates KL(π‖πref) there without normalising by hand: the mean of t log t − t + 1, t = π/πref.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gpo_analysis.arrays import FloatArray
from gpo_analysis.files import write_whole
from gpo_analysis.losses import get_loss
from llm.forests.measures import measures
from llm.forests.problem import Optimum, Problem, population_optimum
from llm.optimum.config import OptimumConfig
from llm.optimum.training import PolicyCell, Trained, pair_loss

#: A policy rests when its mean KL moved by no more than this share over the last tenth of training, and its gradient
#: is no more than this share of what it was at πref. Hinge's minimum lies at kinks, where no gradient vanishes: there
#: KL alone decides.
KL_RESTS, GRADIENT_RESTS = 0.01, 0.05

#: A policy has run away when ½E_μ[ρ²] is beyond this many times the optimum's: margins of more than twice the size.
RUNAWAY = 4.0

STATUSES = ("at rest", "moving", "runaway", "stopped")


def write_tables(
    folder: Path,
    config: OptimumConfig,
    problems: Mapping[int, Problem],
    pieces: Sequence[tuple[Sequence[PolicyCell], Trained, float]],
) -> str:
    """Write policies.parquet and prompts.parquet; say what is in them."""
    optima = {
        (seed, loss): population_optimum(problem, loss, config.scale)
        for seed, problem in problems.items()
        for loss in config.losses
    }
    policies, prompts = [], []
    for cells, trained, seconds in pieces:
        for run, cell in enumerate(cells):
            rows = prompt_rows(problems[cell.seed], optima[cell.seed, cell.loss], cell, trained, run)
            head: dict[str, Any] = {"loss": cell.loss, "strength": cell.strength, "beta": cell.beta, "seed": cell.seed}
            policy = policy_row(problems[cell.seed], optima[cell.seed, cell.loss], cell, trained, run, rows, config)
            policies.append({**head, **policy, "seconds": seconds / len(cells)})
            prompts.append(rows.assign(**head))
    table = pd.DataFrame(policies)
    _parquet(table, folder / "policies.parquet", folder)
    _parquet(pd.concat(prompts, ignore_index=True), folder / "prompts.parquet", folder)
    counts = table["status"].value_counts()
    return f"{len(table)} policies: " + ", ".join(f"{counts.get(name, 0)} {name}" for name in STATUSES)


def prompt_rows(problem: Problem, optimum: Optimum, cell: PolicyCell, trained: Trained, run: int) -> pd.DataFrame:
    """A policy's numbers on each prompt, measured beside those of the optimum."""
    columns: dict[str, Any] = {"prompt": np.arange(len(problem.seen.rewards))}
    for prefix, sampled, h, g, reference in (
        ("", problem.seen, trained.log_ratio[run], optimum.seen, trained.reference),
        ("held_", problem.held, trained.held_log_ratio[run], optimum.held, trained.held_reference),
    ):
        for suffix, ratio in (("", h), ("_optimum", g / cell.beta)):
            found = measures(sampled, ratio)
            columns |= {f"{prefix}{name}{suffix}": value for name, value in found.items()}
        present = sampled.forest.weight.numpy() > 0
        log_mass = np.where(present, reference, -np.inf)
        columns[f"{prefix}mass"] = np.exp(log_mass + np.where(present, h, 0.0)).sum(1)
        columns[f"{prefix}mass_reference"] = np.exp(log_mass).sum(1)
    t = np.exp(np.minimum(trained.held_log_ratio[run].astype(np.float64), 50.0))
    bregman = t * trained.held_log_ratio[run] - t + 1
    columns["kl_importance"] = (problem.held.forest.weight.numpy() * bregman).sum(1)
    return pd.DataFrame(columns)


def policy_row(
    problem: Problem,
    optimum: Optimum,
    cell: PolicyCell,
    trained: Trained,
    run: int,
    rows: pd.DataFrame,
    config: OptimumConfig,
) -> dict[str, Any]:
    """A policy's means over the prompts, and how far it is from rest and from the least loss."""
    row: dict[str, Any] = {str(name): float(rows[name].mean()) for name in rows.columns if name != "prompt"}
    kl = trained.kl[:, run]
    row["log_kl_ratio"] = float(np.log(row["kl"] / row["kl_optimum"])) if row["kl"] > 0 else float("-inf")
    paired = rows["kl"] / row["kl"] - rows["kl_optimum"] / row["kl_optimum"]
    row["log_kl_ratio_stderr"] = float(paired.std(ddof=1) / np.sqrt(len(rows)))  # delta method, prompts paired
    row["win_rate_stderr"] = float((rows["win_rate"] - rows["win_rate_optimum"]).std(ddof=1) / np.sqrt(len(rows)))
    row["gradient_rest"] = float(trained.gradient[1, run] / trained.gradient[0, run])
    row["kl_drift"] = float(abs(kl[-1] / kl[-2] - 1)) if kl[-2] > 0 else float("inf")
    start, least = (_loss(problem, cell, h, config) for h in (np.zeros_like(optimum.seen), optimum.seen / cell.beta))
    end = float(trained.loss[-1, run])
    row |= {"loss_start": start, "loss_end": end, "loss_optimum": least, "gap": (end - least) / (start - least)}
    row |= {"steps": int(trained.steps[-1]), "unique": optimum.unique, "strength_is_beta": _no_curvature(cell)}
    row["status"] = _status(row, int(trained.stopped[run]))
    row["learning_rate"] = config.rate_at(cell.strength)
    row["stopped_at"] = int(trained.stopped[run])
    return row


def _loss(problem: Problem, cell: PolicyCell, log_ratio: FloatArray, config: OptimumConfig) -> float:
    rewards = torch.from_numpy(problem.seen.rewards)
    p = torch.sigmoid(config.scale * (rewards[:, :, None] - rewards[:, None, :]))
    beta, h = torch.tensor([cell.beta], dtype=torch.float64), torch.from_numpy(log_ratio)[None]
    return float(pair_loss([cell.loss], beta, h, problem.seen.forest.weight, p)[0])


def _status(row: Mapping[str, Any], stopped: int) -> str:
    if stopped:
        return "stopped"
    if row["mu_squared_loss"] > RUNAWAY * row["mu_squared_loss_optimum"]:
        return "runaway"
    rests = row["kl_drift"] <= KL_RESTS and (row["strength_is_beta"] or row["gradient_rest"] <= GRADIENT_RESTS)
    return "at rest" if rests else "moving"


def _no_curvature(cell: PolicyCell) -> bool:
    return float(get_loss(cell.loss).curvature_ratio) == 0.0


def _parquet(table: pd.DataFrame, path: Path, out: Path) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    write_whole(path, buffer.getvalue(), out)
