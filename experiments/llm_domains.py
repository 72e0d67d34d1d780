"""The same study on several domains: do best β and conclusions carry over?

Tang et al. (arXiv 2402.05749) tune β on one task. Each domain is a study of its own (`experiments._llm`): the
generated world, and where they were run abstracts → titles, dialogue or sentiment. Compared are the best βκ of each
loss, the range of the losses' best win rates, and the shares of β and f in the variance of win rates. Settings ours.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments._llm import Study, best_rows, per_seed, seeds_of, standard_error
from experiments.framework import Check, NotRun
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find

CLAIM = "Best β and the order of conclusions carry over between domains: β over f, one range of best win rates."
FIGURE = "llm-domains"


@dataclass(frozen=True)
class Config:
    """Which studies are compared.

    Parameters
    ----------
    studies : tuple of str
        Names of studies; those that were not run are left out, and the report says which. Two are needed.
    prompts : int
        Prompts of the population optimum.
    """

    studies: tuple[str, ...] = ("cpu", "titles", "sentiment", "dialogue")
    prompts: int = 48


PRESETS = {
    "quick": Config(),
    "paper": Config(studies=("small", "small-titles", "small-sentiment", "small-dialogue"), prompts=256),
}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a study that is there, with its checksum."""
    found = []
    for name in config.studies:
        with suppress(NotRun):
            found.append({"study": name, "sha256": Study.find(name).sha256})
    if len(found) < 2:
        there = ", ".join(cell["study"] for cell in found) or "none"
        raise NotRun(
            f"needs two finished studies of {', '.join(config.studies)}, found {there}; run `python -m llm run --data "
            "PATH --out FOLDER/NAME` and name FOLDER by GPO_LLM"
        )
    return found


def run(config: Config, *, study: str, sha256: str) -> pd.DataFrame:
    """Policies after their last step, with the population optimum's."""
    read = Study.find(study, sha256)
    rows = read.last
    columns = ["loss", "strength", "beta", "seed", "kl", "win_rate", "win_rate_low", "win_rate_high", "ties"]
    columns += ["human_win_rate", "length_controlled_win_rate", "signature"]
    measured = rows[columns].assign(kind="measured", study=study)
    predicted = read.optimum(config.prompts, rows)
    return pd.concat([measured, predicted], ignore_index=True)


def conclusions(table: pd.DataFrame) -> pd.DataFrame:
    """A row a study: best βκ by loss, range of best win rates, share of β over that of f, fall at small β."""
    found = []
    measured = table[table["kind"] == "measured"]
    for study, rows in measured.groupby("study", sort=False):
        best = best_rows(rows).groupby("loss", sort=False)[["strength", "win_rate"]].mean()
        square = rows.pivot_table(index="loss", columns="strength", values="win_rate")
        by_beta = float(square.mean(axis=0).var(ddof=0))
        by_loss = float(square.mean(axis=1).var(ddof=0))
        fall = float((square.max(axis=1) - square[square.columns.min()]).mean())
        compared = best.drop("hinge", errors="ignore")["strength"]
        found.append(
            {
                "study": study, "best": best["win_rate"].max(),
                "range": best["win_rate"].max() - best["win_rate"].min(),
                "noise": float(standard_error(rows).mean()), "beta_over_f": by_beta / max(by_loss, 1e-12), "fall": fall,
                "typical_strength": float(np.exp(np.log(compared).median())),
                "spread": float(compared.max() / compared.min()),
                "grid_step": float((square.columns[1:] / square.columns[:-1]).max()),
            }
        )  # fmt: skip
    return pd.DataFrame(found)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """For each domain: spread of the best βκ, β over f, range of the best; between domains: the best βκ.

    Each is decided over seeds, so that a domain with one seed decides nothing.
    """
    parts: dict[str, dict[str, Check]] = {"spread": {}, "beta_over_f": {}, "range": {}}
    measured, typical = find(table, kind="measured"), {}
    for study, rows in measured.groupby("study", sort=False):
        over, own = seeds_of(rows), conclusions(rows)
        step = float(own["grid_step"].iloc[0])
        found = {name: per_seed(rows, lambda part, n=name: float(conclusions(part)[n].iloc[0])) for name in parts}  # type: ignore[misc]
        parts["spread"][str(study)] = Check.below("ratio", step * (1 + 1e-9), found["spread"], over)
        parts["beta_over_f"][str(study)] = Check.above("ratio", 1.0, found["beta_over_f"], over)
        parts["range"][str(study)] = Check.below("range", 0.06, found["range"], over)
        typical[str(study)] = pd.Series(
            {seed: np.log(conclusions(part)["typical_strength"].iloc[0]) for seed, part in rows.groupby("seed")}
        )
    logs = pd.DataFrame(typical).dropna()
    between = mean_interval(np.exp(logs.max(axis=1) - logs.min(axis=1)))
    step = float(conclusions(measured)["grid_step"].max())
    over = f"{len(logs)} seed{'' if len(logs) == 1 else 's'}"
    return [
        Check.each("largest over smallest best βκ of the losses with κ > 0: one step of the grid", parts["spread"]),
        Check.each("variance of win rate by β over that by f: above 1", parts["beta_over_f"]),
        Check.each("range of the losses' best win rates: below 0.06", parts["range"]).as_restated(
            "November 2026: a fixed range in place of whatever the noise of prompts allowed"
        ),
        Check.below("typical best βκ, largest over smallest domain: one step of the grid", step * (1 + 1e-9), between,
                    over),
    ]  # fmt: skip


def summary(config: Config, table: pd.DataFrame) -> str:
    """Domains side by side."""
    found = conclusions(table)
    shown = "; ".join(
        f"{row.study}: best win rate {row.best:.3f}, losses' best within {row.range:.3f}, typical best βκ "
        f"{row.typical_strength:.2g} (losses within a factor {row.spread:.2g}), β over f {row.beta_over_f:.1f}, "
        f"fall at the "
        f"smallest β {row.fall:.3f}"
        for row in found.itertuples()
    )
    missing = [name for name in config.studies if name not in set(found["study"])]
    left = f" Not run: {', '.join(missing)}." if missing else ""
    seeds = int(table["seed"].nunique())
    decided = " ".join(f"{one.claim}: {one.verdict}." for one in check(config, table))
    return f"{len(found)} domains. {shown}.{left} " + (
        decided if seeds > 1 else "One seed each: no interval, and none of this is decided."
    )
