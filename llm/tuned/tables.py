"""What policies make of prompts that they never saw: a row a policy, and a row a policy and prompt.

h = log π/πref on πref's samples μ of an unseen prompt says which of them the policy prefers; q ∝ μ e^h is the policy as
far as those samples show it (`llm.forests.measures`), exactly, with no sample drawn anew. Beside it stand the rewards
of the policy's own samples against the same μ, which see what the tilt cannot: mass that went where πref has none.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpo_analysis.arrays import FloatArray
from gpo_analysis.files import write_whole
from gpo_analysis.losses import get_loss
from llm.forests.measures import measures
from llm.forests.problem import Problem, Sampled
from llm.tuned.config import TunedConfig
from llm.tuned.training import TunedCell, TunedPolicies

#: A policy has run away when fewer of its own samples than this share come to their end; πref's nearly all do.
LEAST_ENDED = 0.5

STATUSES = ("ok", "runaway", "stopped")


def write_tables(
    folder: Path,
    config: TunedConfig,
    problems: Mapping[int, Problem],
    pieces: Sequence[tuple[Sequence[TunedCell], TunedPolicies, float]],
) -> str:
    """Write policies.parquet and prompts.parquet; say what is in them."""
    judged = {seed: problem.held.part(config.trained[-1], config.prompts) for seed, problem in problems.items()}
    policies, prompts = [], []
    for cells, trained, seconds in pieces:
        for run, cell in enumerate(cells):
            rows = prompt_rows(judged[cell.seed], trained, run)
            head: dict[str, Any] = {
                "loss": cell.loss, "strength": cell.strength, "beta": cell.beta, "seed": cell.seed,
                "trained": cell.trained,
            }  # fmt: skip
            policies.append({**head, **policy_row(cell, trained, run, rows, config), "seconds": seconds / len(cells)})
            prompts.append(rows.assign(**head))
    table = pd.DataFrame(policies)
    _parquet(table, folder / "policies.parquet", folder)
    _parquet(pd.concat(prompts, ignore_index=True), folder / "prompts.parquet", folder)
    counts = table["status"].value_counts()
    return f"{len(table)} policies: " + ", ".join(f"{counts.get(name, 0)} {name}" for name in STATUSES)


def prompt_rows(judged: Sampled, trained: TunedPolicies, run: int) -> pd.DataFrame:
    """A policy's numbers on each unseen prompt.

    ``wins`` and ``defeats`` are chances against an independent draw of μ, ties left over: of the tilt, and, with
    ``own_``, of the policy's own samples. ``distance`` is −E_μ[h], the estimate of KL(πref‖π).
    """
    h = np.asarray(trained.log_ratio[run], dtype=np.float64)
    mu = judged.forest.weight.numpy()
    found = measures(judged, h)
    wins, defeats = against(judged, tilt_of(judged, h), judged.rewards)
    count = trained.reward.shape[2]
    own_wins, own_defeats = against(judged, np.full((len(mu), count), 1 / count), trained.reward[run])
    return pd.DataFrame(
        {
            "prompt": np.arange(len(mu)), "wins": wins, "defeats": defeats, "kl": found["kl"],
            "mu_squared_loss": found["mu_squared_loss"], "distance": -(mu * h).sum(1), "own_wins": own_wins,
            "own_defeats": own_defeats, "own_reward": trained.reward[run].mean(1), "ended": trained.ended[run].mean(1),
        }
    )  # fmt: skip


def tilt_of(judged: Sampled, log_ratio: FloatArray) -> FloatArray:
    """q ∝ μ e^h, shape (m, n)."""
    mu = judged.forest.weight.numpy()
    shifted = np.where(mu > 0, log_ratio, -np.inf)
    tilt = mu * np.exp(shifted - shifted.max(1, keepdims=True))
    return np.asarray(tilt / tilt.sum(1, keepdims=True))


def against(judged: Sampled, share: FloatArray, rewards: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Chances to win and to lose against an independent draw of μ, (m,) each, of responses in these shares.

    Parameters
    ----------
    judged : Sampled
        μ and its rewards.
    share, rewards : array, shape (m, k)
    """
    mu = judged.forest.weight.numpy()
    sign = np.sign(np.round(rewards[:, :, None] - judged.rewards[:, None, :], 9))
    chances = [np.einsum("mi,mij,mj->m", share, (sign == one).astype(np.float64), mu) for one in (1.0, -1.0)]
    return chances[0], chances[1]


def policy_row(
    cell: TunedCell, trained: TunedPolicies, run: int, rows: pd.DataFrame, config: TunedConfig
) -> dict[str, Any]:
    """A policy's means over the unseen prompts, and what is known of its training."""
    means = {str(name): float(rows[name].mean()) for name in rows.columns if name != "prompt"}
    stopped = int(trained.stopped[run])
    kl = trained.kl[:, run]
    return {
        **means,
        "win_rate": 0.5 + (means["wins"] - means["defeats"]) / 2,
        "decided": means["wins"] / (means["wins"] + means["defeats"]),
        "own_win_rate": 0.5 + (means["own_wins"] - means["own_defeats"]) / 2,
        "own_decided": means["own_wins"] / (means["own_wins"] + means["own_defeats"]),
        "trained_kl": float(kl[-1]),
        "kl_drift": float(abs(kl[-1] / kl[-2] - 1)),
        "trained_loss": float(trained.loss[run]),
        "steps": config.steps,
        "learning_rate": config.rate_at(cell.strength),
        "strength_is_beta": float(get_loss(cell.loss).curvature_ratio) == 0.0,
        "stopped_at": stopped,
        "status": "stopped" if stopped else "ok" if means["ended"] >= LEAST_ENDED else "runaway",
    }


def _parquet(table: pd.DataFrame, path: Path, out: Path) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    write_whole(path, buffer.getvalue(), out)
