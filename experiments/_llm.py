"""What the experiments on language models share: reading a study, and what the theory predicts for it.

A study is a folder that ``python -m llm run --preset NAME --out FOLDER/NAME`` wrote; FOLDER is named by GPO_LLM, or is
``out/llm``.

The prediction is the population optimum: each prompt is a problem of its own, whose responses are the samples of πref
that the study drew, merged by reward (under Bradley–Terry responses of equal reward have equal log-ratio), with
preferences of the labels' temperature and μ = πref. It knows nothing of optimisation, capacity or generalisation.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import gpo_analysis as gpo
from experiments.framework import NotRun
from gpo_analysis.tabular import PreferenceProblem

FloatArray = NDArray[np.float64]
FILES = ("sweep.parquet", "samples.parquet", "baseline/stage.json", "run.json")
ROOT = Path(__file__).parents[1]
SPREAD = 1.959964  # half the width of a 95 % interval, in standard errors


def study_folder(study: str) -> Path:
    """The folder of a study; NotRun says how to make it."""
    place = Path(os.environ.get("GPO_LLM", ROOT / "out" / "llm")) / study
    if all((place / name).is_file() for name in FILES):
        return place
    raise NotRun(
        f"no finished study {study!r}; run `python -m llm run --preset {study} --out FOLDER/{study}` and name FOLDER "
        "by GPO_LLM (default out/llm)"
    )


def study_cell(study: str, **more: Any) -> dict[str, Any]:
    """A cell that reads a study: its name, and the checksum of what it holds."""
    digest = hashlib.sha256()
    for name in FILES[:3]:
        digest.update((study_folder(study) / name).read_bytes())
    return {"study": study, "sha256": digest.hexdigest()[:16], **more}


def read_sweep(study: str) -> pd.DataFrame:
    """The sweep's table: a row a cell and checkpoint that has numbers."""
    table = pd.read_parquet(study_folder(study) / "sweep.parquet")
    return table[table["status"] == "ok"].reset_index(drop=True)


def read_samples(study: str) -> pd.DataFrame:
    """Rewards of every policy's responses after its last step."""
    return pd.read_parquet(study_folder(study) / "samples.parquet")


def read_baseline(study: str) -> dict[str, Any]:
    """``best_of_n`` rows and ``reference_rewards`` (prompts × samples)."""
    found: dict[str, Any] = json.loads((study_folder(study) / FILES[2]).read_text(encoding="utf-8"))["report"]
    return found


def read_run(study: str) -> dict[str, Any]:
    """run.json."""
    found: dict[str, Any] = json.loads((study_folder(study) / "run.json").read_text(encoding="utf-8"))
    return found


def last_rows(table: pd.DataFrame, arm: str = "fresh") -> pd.DataFrame:
    """Rows of an arm after the last step."""
    rows = table[table["arm"] == arm]
    return rows[rows["step"] == rows["step"].max()].reset_index(drop=True)


def best_of_n_rows(study: str) -> pd.DataFrame:
    """Best-of-n as rows of kind ``best_of_n``."""
    rows = pd.DataFrame(read_baseline(study)["best_of_n"])
    if "kl" not in rows:  # studies of before it was computed from the levels of reward
        rows = rows.rename(columns={"kl_bound": "kl"})
    return rows.assign(kind="best_of_n", loss="best_of_n", study=study)


@functools.lru_cache(maxsize=8)
def _problems(study: str, prompts: int) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Levels of reward of each prompt's samples, in units of the labels' temperature, and the share of each."""
    rewards = np.array(read_baseline(study)["reference_rewards"])[:prompts]
    temperature = read_run(study)["config"]["pairs"]["labels"]["temperature"]
    found = []
    for row in rewards:
        levels, counts = np.unique(np.round(row / temperature, 9), return_counts=True)
        found.append((levels, counts / counts.sum()))
    return tuple(found)


def population_optimum(study: str, losses: list[str], strengths: list[float], *, prompts: int = 64) -> pd.DataFrame:
    """Mean over prompts of the population optimum: a row a loss and strength, of kind ``predicted``.

    Columns: loss, strength, beta, kl, win_rate (against πref, ties half), mu_squared_loss, mean_reward.
    """
    rows = []
    for name in losses:
        loss = gpo.get_loss(name)
        kappa = float(gpo.analyze(loss).curvature_ratio)
        solved = [(r, m, _log_ratio(loss, r, m)) for r, m in _problems(study, prompts)]
        for strength in strengths:
            beta = strength / kappa if kappa > 0 else strength
            values = np.mean([_measures(r, m, h / beta) for r, m, h in solved], axis=0)
            rows.append(dict(zip(("kl", "win_rate", "mu_squared_loss", "mean_reward"), values.tolist(), strict=True)))
            rows[-1] |= {"loss": name, "strength": strength, "beta": beta}
    return pd.DataFrame(rows).assign(kind="predicted", study=study)


def _log_ratio(loss: gpo.MarginLoss, levels: FloatArray, mass: FloatArray) -> FloatArray:
    """β log π/πref at the optimum, up to a constant; for any β it is the same (the margin is what is fitted)."""
    if len(levels) == 1:
        return np.zeros(1)
    problem = PreferenceProblem(gpo.bradley_terry(levels), mass, mass)
    return np.asarray(np.log(problem.solve(loss, 1.0).policy) - np.log(mass))


def _measures(levels: FloatArray, mass: FloatArray, log_ratio: FloatArray) -> tuple[float, float, float, float]:
    logits = np.log(mass) + log_ratio
    policy = np.exp(logits - logits.max())
    policy /= policy.sum()
    beats = (levels[:, None] > levels[None, :]) + 0.5 * (levels[:, None] == levels[None, :])
    shift = log_ratio - mass @ log_ratio
    return (
        gpo.kl_divergence(policy, mass), float(policy @ beats @ mass), float(mass @ shift**2), float(policy @ levels),
    )  # fmt: skip


def at_kl(rows: pd.DataFrame, kl: float, column: str = "win_rate") -> float:
    """A column of one loss's rows at a KL, linear in log KL between its β; NaN outside its range.

    Examples
    --------
    >>> at_kl(pd.DataFrame({"kl": [0.1, 10.0], "win_rate": [0.5, 0.7]}), 1.0)
    0.6
    """
    known = rows[rows["kl"] > 0].groupby("strength" if "strength" in rows else "kl")[["kl", column]].mean()
    known = known.sort_values("kl")
    if not len(known) or not known["kl"].iloc[0] <= kl <= known["kl"].iloc[-1]:
        return float("nan")
    return round(float(np.interp(np.log(kl), np.log(known["kl"]), known[column])), 12)


def standard_error(rows: pd.DataFrame, column: str = "win_rate") -> pd.Series[float]:
    """Standard error over prompts, from the 95 % interval's width."""
    return (rows[f"{column}_high"] - rows[f"{column}_low"]) / (2 * SPREAD)


def best_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """For each loss the rows at the strength of greatest mean win rate over seeds."""
    means = rows.groupby(["loss", "strength"], sort=False)["win_rate"].mean().reset_index()
    best = means.loc[means.groupby("loss", sort=False)["win_rate"].idxmax(), ["loss", "strength"]]
    return rows.merge(best, on=["loss", "strength"])
