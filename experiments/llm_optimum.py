"""Is the population optimum reached? f → κ → exact policy → transformer, on fixed prompts with many samples each.

Each policy of ``python -m llm optimum`` (design and derivation: `llm.optimum`) is trained until gradient and KL rest on
soft labels of all pairs of samples of πref; predicted are KL, win rate and ½E_μ[ρ²] of the exact optimum of the very
problem it was trained on, with nothing fitted. Five seeds redraw πref, prompts, samples and order. Intervals are
two-way: seeds are drawn again, and prompts within them. Runaways are counted and enter no median. Predictions and what
refutes them: docs/predictions/llm-optimum.md. Settings ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments._llm import checksum, find_folder, provenance_of, run_as_written, study_provenance
from experiments.framework import Check
from gpo_analysis.arrays import FloatArray
from gpo_analysis.statistics import two_way

CLAIM = (
    "A transformer trained to rest has the KL and win rate of the exact optimum of its loss, at every β and convex f."
)
FIGURE = "llm-optimum"

FILES = ("policies.parquet", "prompts.parquet", "run.json")
CONVEX = ("logistic", "hinge", "squared", "exponential", "truncated_quadratic")
SMOOTH = tuple(name for name in CONVEX if name != "hinge")
LEFT_OUT = ("runaway", "stopped")


@dataclass(frozen=True)
class Config:
    """Which study is read, and what was said of it beforehand.

    Parameters
    ----------
    study : str
        Folder that ``python -m llm optimum`` wrote, under that of GPO_LLM (default out/llm).
    least_strength : float
        Least βκ (hinge: β) of the claims.
    kl_tolerance, win_rate_tolerance, family_tolerance, unseen_tolerance : float
        Of the median \\|log(KL/KL*)\\|, of the win rate, of ratios of KL between losses, and on unseen samples.
    resamples, seed : int
        Of the two-way bootstrap.
    """

    study: str = "optimum-cpu"
    least_strength: float = 0.2
    kl_tolerance: float = 0.1
    win_rate_tolerance: float = 0.01
    family_tolerance: float = 0.05
    unseen_tolerance: float = 0.25
    resamples: int = 1000
    seed: int = 0


PRESETS = {"quick": Config(), "paper": Config(study="optimum-gpu", resamples=4000)}


def _folder(study: str) -> Path:
    return find_folder(study, FILES, f"optimum --preset {study.removeprefix('optimum-')}")


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell: the study is read whole; its axis is the checksum of what is read."""
    return [{"sha256": checksum(_folder(config.study), FILES[:2])}]


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """Rows of kind ``policy``, a row a policy, and ``summary``, a row a loss, strength and quantity."""
    folder = _folder(config.study)
    if checksum(folder, FILES[:2]) != sha256:
        raise ValueError(f"the study {config.study!r} has changed since the run was planned; run it again")
    policies, prompts = (pd.read_parquet(folder / name) for name in FILES[:2])
    made = study_provenance(run_as_written(folder))
    summaries = pd.DataFrame(summarise(policies, prompts, config.resamples, config.seed))
    return pd.concat([policies.assign(kind="policy", **made), summaries.assign(kind="summary")], ignore_index=True)


def provenance(table: pd.DataFrame) -> dict[str, Any]:
    """Of the study that a record reads, for its meta data: what made the policies, not what read them."""
    return provenance_of(table)


def summarise(policies: pd.DataFrame, prompts: pd.DataFrame, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Medians over seeds with two-way intervals, for each loss and strength, of these quantities.

    ``kl``: |log(KL/KL*)|; ``win_rate``: |win rate − optimum's|; ``held_kl``: as kl, on unseen samples;
    ``ratio``: log KL/KL(logistic) at equal strength; ``ratio_excess``: that less the same of KL*.
    """
    kept = policies[~policies["status"].isin(LEFT_OUT)]
    keys = ["loss", "strength", "seed"]
    prompts = prompts.merge(kept[keys], on=keys)
    columns = ["kl", "kl_optimum", "win_rate", "win_rate_optimum", "held_kl", "held_kl_optimum"]
    # (strength, loss) → (seeds, prompts, columns); seeds of a loss that ran away are left out
    values = {
        key: {str(s): rows[columns].to_numpy() for s, rows in part.groupby("seed")}
        for key, part in prompts.groupby(["strength", "loss"], sort=False)
    }
    found = []
    for (strength, loss), own in values.items():
        base = values.get((strength, "logistic"), {})
        seeds = sorted(own)
        for name, statistic in _STATISTICS.items():
            paired = name.startswith("ratio")
            used = [s for s in seeds if s in base] if paired else seeds
            if not used or (paired and loss in ("logistic", "hinge")):
                continue
            data = [np.concatenate([own[s], base[s]], 1) if paired else own[s] for s in used]
            value = two_way(data, statistic, resamples, seed)
            found.append(
                {
                    "loss": loss, "strength": strength, "quantity": name, "value": value.value,
                    "low": value.low, "high": value.high,
                    "seeds": len(used), "prompts": len(data[0]),
                }
            )  # fmt: skip
    return found


def _log_ratio(means: FloatArray, column: int) -> FloatArray:
    return np.log(means[:, column] / means[:, column + 1])


#: From the means over prompts, (seeds, columns), to a number.
_STATISTICS: dict[str, Callable[[FloatArray], float]] = {
    "kl": lambda m: float(np.median(np.abs(_log_ratio(m, 0)))),
    "win_rate": lambda m: float(np.median(np.abs(m[:, 2] - m[:, 3]))),
    "held_kl": lambda m: float(np.median(np.abs(_log_ratio(m, 4)))),
    "ratio": lambda m: float(np.median(np.log(m[:, 0] / m[:, 6]))),
    "ratio_excess": lambda m: float(np.median(_log_ratio(m, 0) - _log_ratio(m, 6))),
}


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The predictions of docs/predictions/llm-optimum.md, in their order."""
    policies, rows = table[table["kind"] == "policy"], table[table["kind"] == "summary"]
    rows = rows[rows["strength"] >= config.least_strength]
    checks = []
    for loss in (name for name in CONVEX if name in set(rows["loss"])):
        claim = (
            f"{loss}: worst median |log(KL/KL*)| over {'β' if loss == 'hinge' else 'βκ'} ≥ {config.least_strength:g}"
        )
        checks.append(_worst(claim, rows[(rows["loss"] == loss) & (rows["quantity"] == "kl")], config.kl_tolerance))
    convex = rows[rows["loss"].isin(CONVEX)]
    win = convex[convex["quantity"] == "win_rate"]
    checks.append(_worst("worst median |win rate − optimum's|, convex f", win, config.win_rate_tolerance))
    one = rows[(rows["quantity"] == "ratio") & (rows["loss"] == "exponential")]
    checks.append(_worst("exponential: worst |log KL/KL(logistic)| at equal βκ", one, config.family_tolerance))
    other = rows[(rows["quantity"] == "ratio_excess") & rows["loss"].isin(("squared", "truncated_quadratic"))]
    claim = "squared losses: worst |log KL/KL(logistic) − that of the optima| at equal βκ"
    checks.append(_worst(claim, other, config.kl_tolerance))
    savage = policies[policies["loss"] == "savage"]
    if len(savage):
        away = int(savage["status"].isin(LEFT_OUT).sum())
        checks.append(Check.at_most(f"Savage: runaways among {len(savage)} policies", 0.0, float(away), 1.0))
        kl = rows[rows["quantity"] == "kl"].set_index(["loss", "strength"])["value"]
        if {"savage", "logistic"} <= set(kl.index.get_level_values("loss")):
            slower = float((kl["savage"] / kl["logistic"]).median())
            checks.append(
                Check.at_least("Savage arrives last: its |log(KL/KL*)| over logistic's, median over βκ", 1.0, slower)
            )
    part = policies[policies["loss"].isin(CONVEX)]
    rest = float((part["status"] == "at rest").mean())
    checks.append(Check.at_least(f"share of {len(part)} policies of convex f at rest", 0.95, rest, 0.05))
    unseen = rows[(rows["quantity"] == "held_kl") & rows["loss"].isin(SMOOTH)]
    claim = "unseen samples: worst median |log(KL/KL*)|, smooth convex f"
    checks.append(_worst(claim, unseen, config.unseen_tolerance))
    weak = policies[(policies["strength"] <= 0.4) & ~policies["status"].isin(LEFT_OUT)]
    mass = float(weak["mass"].mean() / weak["mass_reference"].mean())
    checks.append(Check.at_least("mass on the samples over πref's, βκ ≤ 0.4: not determined by the loss", 1.05, mass))
    return checks


def _worst(claim: str, rows: pd.DataFrame, tolerance: float) -> Check:
    """The largest of several medians against a tolerance: holds, contradicted, or undecided by its interval."""
    if not len(rows):
        return Check.not_run(claim, tolerance, "no such policy, or all ran away")
    sizes = rows[["value", "low", "high"]].abs()
    worst = rows.iloc[int(sizes["value"].to_numpy().argmax())]
    low, high = sorted((abs(worst["low"]), abs(worst["high"])))
    low = 0.0 if worst["low"] < 0 < worst["high"] else low
    at = f"at {worst['loss']}, {worst['strength']:g}: {abs(worst['value']):.3g} [{low:.3g}, {high:.3g}], two-way"
    beyond = int((sizes["value"] > tolerance).sum())
    note = f"{at}; {beyond} of {len(rows)} medians beyond {tolerance:g}"
    sides = [_side(row, tolerance) for row in rows.itertuples()]
    if False in sides:
        return Check(claim, tolerance, float(abs(worst["value"])), 0.0, False, f"contradicted: {note}", "at_most")
    if None in sides:
        value = float(abs(worst["value"]))
        return Check(claim, tolerance, value, 0.0, None, f"undecided: {note}", "at_most", undecided=True)
    return Check(claim, tolerance, float(abs(worst["value"])), 0.0, True, note, "at_most")


def _side(row: Any, tolerance: float) -> bool | None:
    """Whether an interval keeps ±tolerance (True), lies beyond it (False), or neither."""
    if max(abs(row.low), abs(row.high)) <= tolerance:
        return True
    return False if row.low > tolerance or row.high < -tolerance else None


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was trained, and how near it came."""
    policies, rows = table[table["kind"] == "policy"], table[table["kind"] == "summary"]
    counts = policies["status"].value_counts()
    kl = rows[(rows["quantity"] == "kl") & (rows["strength"] >= config.least_strength)]
    near = ", ".join(f"{loss} {part['value'].median():.3f}" for loss, part in kl.groupby("loss", sort=False))
    ended = ", ".join(f"{count} {status}" for status, count in counts.items())
    return (
        f"Study {config.study}: {len(policies)} policies of {policies['seed'].nunique()} seeds "
        f"({ended}), trained on {policies['study_device'].iloc[0]} "
        f"at commit {policies['study_commit'].iloc[0][:12]}. Median |log(KL/KL*)| at βκ ≥ {config.least_strength:g}, "
        f"median over βκ: {near}."
    )
