"""The losses at their best β, side by side: every pair of variants judged on the same prompts.

Tang et al. (arXiv 2402.05749) report that variants reach about the same win rate once β is tuned. Each policy's
response to a prompt is compared with each other policy's by the gold reward, a tie half; the best β is that of greatest
win rate against πref, which favours whoever was luckiest: the matrix is on the same prompts, so an advantage of a few
points is within what selection alone gives. Settings ours.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments._llm import Study, StudyConfig, best_rows, beyond_these_pairs, study_cells
from experiments.framework import Check
from gpo_analysis.statistics import Interval
from gpo_analysis.tables import find, get

CLAIM = "At their best β no loss beats another by more than a few points, judged side by side on the same prompts."
FIGURE = "llm-side-by-side"


@dataclass(frozen=True)
class Config(StudyConfig):
    """Which study is read, and what counts as equal.

    Parameters
    ----------
    study : str
        Name of a preset of `python -m llm`.
    margin : float
        Largest distance from ½ that "about the same" allows.
    """

    margin: float = 0.05


cells = study_cells
PRESETS = {"quick": Config(), "paper": Config(study="small")}


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """A row an ordered pair of losses: win rate of the first over the second, over prompts and seeds."""
    study = Study.find(config.study, sha256)
    best = best_rows(study.last)
    samples = study.samples.set_index("name").sort_index()

    def rewards(loss: str, seed: int) -> np.ndarray:
        row = find(best, loss=loss, seed=seed).iloc[0]
        name = f"{loss}-{row['strength']:g}-s{seed}-fresh"
        return samples.loc[name].sort_values("prompt_index")["reward"].to_numpy()

    losses, seeds = list(dict.fromkeys(best["loss"])), sorted(set(best["seed"]))
    scored = {(loss, seed): rewards(loss, seed) for loss in losses for seed in seeds}
    rows = []
    for first, second in itertools.permutations(losses, 2):
        differences = [scored[first, a] - scored[second, b] for a in seeds for b in seeds]
        won = np.mean([(d > 0) + 0.5 * (d == 0) for d in differences], axis=0)
        ties = float(np.mean([d == 0 for d in differences]))
        half = 1.96 * won.std(ddof=1) / np.sqrt(len(won))
        rows.append(
            {
                "first": first, "second": second, "win_rate": won.mean(), "low": won.mean() - half,
                "high": won.mean() + half, "ties": ties, "prompts": len(won), "seeds": len(seeds),
                "strength": float(get(best, "strength", loss=first)),
                "beta": float(get(best, "beta", loss=first)),
                "against_reference": float(find(best, loss=first)["win_rate"].mean()),
                "kl": float(find(best, loss=first)["kl"].mean()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Every pair of losses within the margin of even, and an identity of the table."""
    pairs = {
        f"{row.first} over {row.second}": beyond_these_pairs(
            lambda found: Check.within("win rate", 0.5, found, config.margin, "prompts"),
            Interval(row.win_rate, row.low, row.high),
        )
        for row in table[table["first"] < table["second"]].itertuples()
    }
    claim = f"no loss at its best β beats another by more than {config.margin:g} (win rate, farthest from even)"
    note = "over prompts alone: seeds share pairs and labels, and the best β is chosen on these prompts"
    return [
        Check.each(claim, pairs, note=note),
        Check.at_most("win rates of a pair and its reverse add up to 1", 0.0, _asymmetry(table), 1e-12).as_theorem(),
    ]


def _asymmetry(table: pd.DataFrame) -> float:
    square = table.pivot(index="first", columns="second", values="win_rate")
    return float((square + square.T - 1).abs().max().max())


def summary(config: Config, table: pd.DataFrame) -> str:
    """Who beats whom at the best β."""
    mean = table.groupby("first", sort=False).agg(
        rate=("win_rate", "mean"), strength=("strength", "first"), beta=("beta", "first"), kl=("kl", "first")
    )
    shown = ", ".join(f"{n} {r.rate:.3f} (β {r.beta:.2g}, KL {r.kl:.2f})" for n, r in mean.iterrows())
    gap = (table["win_rate"] - 0.5).abs()
    worst = table.loc[table["win_rate"].idxmax()]
    return (
        f"Study {config.study}: mean win rate of each loss at its best β over the five others, on "
        f"{get(table, 'prompts')} "
        f"prompts and {get(table, 'seeds')} seed(s): {shown}. Ties: {table['ties'].mean():.1%}. The most "
        f"one-sided pair is "
        f"{worst['first']} over {worst['second']}, {worst['win_rate']:.3f} [{worst['low']:.3f}, {worst['high']:.3f}]. "
        + (
            f"No pair is farther than {config.margin:g} from even on these prompts and pairs."
            if gap.max() <= config.margin
            else f"That is more than {config.margin:g} from even, so that f does matter here even at the best β."
        )
    )
