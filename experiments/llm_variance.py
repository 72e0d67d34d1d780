"""Shares of the variance of win rate and KL due to β, f and seed, on language models.

Tang et al. (arXiv 2402.05749): β matters more than f. A balanced two-way layout (f × strength, seeds as replicates):
the total sum of squares is the sum of those of strength, f, their interaction and the residual, which holds seeds.
Predicted shares: those of the population optimum on the same grid (`experiments._llm`). Settings ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments._llm import Study, StudyConfig, study_cells
from experiments.framework import Check
from gpo_analysis.statistics import variance_shares
from gpo_analysis.tables import find, get

CLAIM = "β explains more of the variance of win rate and KL than f does, and seeds little, on language models too."
FIGURE = "llm-variance"
SOURCES = ("strength", "loss", "interaction", "seed")


@dataclass(frozen=True)
class Config(StudyConfig):
    """Which study is read.

    Parameters
    ----------
    study : str
        Name of a preset of `python -m llm`.
    prompts : int
        Prompts of the population optimum.
    resamples, seed : int
        Of the bootstrap over seeds, or over the noise of the measurements where there is one seed.
    """

    prompts: int = 64
    resamples: int = 200
    seed: int = 0


cells = study_cells
PRESETS = {"quick": Config(), "paper": Config(study="small", prompts=256, resamples=1000)}


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """A row a source of variance and quantity, measured and predicted."""
    study = Study.find(config.study, sha256)
    rows = study.last
    predicted = study.optimum(config.prompts, rows).assign(seed=0)
    rows = rows.assign(noise=(rows["win_rate_high"] - rows["win_rate_low"]) / 3.92, log_kl=np.log(rows["kl"]))
    predicted = predicted.assign(log_kl=np.log(predicted["kl"]))
    rng = np.random.default_rng(config.seed)
    found = []
    for quantity, noise in (("win_rate", rows["noise"]), ("log_kl", rows["kl_stderr"] / rows["kl"])):
        measured, theory = shares(rows, quantity), shares(predicted, quantity)
        draws = pd.DataFrame([_resampled(rows, quantity, noise, rng) for _ in range(config.resamples)])
        for source in SOURCES:
            # basic bootstrap: noise upon noise shifts the draws as far as noise shifted the estimate
            high, low = (2 * measured[source] - draws[source].quantile([0.025, 0.975])).clip(0.0, 1.0)
            found.append(
                {
                    "quantity": quantity, "source": source, "measured": measured[source], "low": low, "high": high,
                    "predicted": theory[source], "seeds": rows["seed"].nunique(), "policies": len(rows),
                }
            )  # fmt: skip
    return pd.DataFrame(found)


def shares(rows: pd.DataFrame, quantity: str) -> dict[str, float]:
    """Shares of the sum of squares (`gpo_analysis.statistics.variance_shares`); ``seed`` is what is left in a cell.

    Strengths at which a policy has no number are left out, so that the layout is balanced.

    Examples
    --------
    >>> grid = pd.DataFrame([(s, f, 0, s) for s in (1.0, 2.0) for f in "ab"], columns=["strength", "loss", "seed", "y"])
    >>> shares(grid, "y")
    {'strength': 1.0, 'loss': 0.0, 'interaction': 0.0, 'seed': 0.0}
    """
    wide = rows.pivot_table(index="strength", columns=["loss", "seed"], values=quantity, dropna=False).dropna()
    sizes = [len(wide), *(wide.columns.get_level_values(name).nunique() for name in ("loss", "seed"))]
    found = variance_shares(wide.to_numpy().reshape(sizes), ["strength", "loss"])
    names = {"strength": "strength", "loss": "loss", "strength:loss": "interaction", "within": "seed"}
    return {names[name]: share for name, share in found.items()}


def _resampled(
    rows: pd.DataFrame, quantity: str, noise: pd.Series[float], rng: np.random.Generator
) -> dict[str, float]:
    """Shares with seeds drawn again, and with fresh noise of measurement on top where there is one seed."""
    seeds = sorted(set(rows["seed"]))
    if len(seeds) == 1:
        return shares(rows.assign(**{quantity: rows[quantity] + noise * rng.normal(size=len(rows))}), quantity)
    drawn = rng.choice(seeds, size=len(seeds))
    parts = [find(rows, seed=seed).assign(seed=number) for number, seed in enumerate(drawn)]
    return shares(pd.concat(parts, ignore_index=True), quantity)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """β above f, in each quantity; shares add up; seeds little."""
    checks = []
    for quantity, rows in table.groupby("quantity", sort=False):
        part = rows.set_index("source")
        low, high = part.loc["strength", ["low", "high"]]
        checks.append(
            Check.at_least(
                f"{quantity}: share of β over share of f", 1.0,
                float(part.loc["strength", "measured"] / max(part.loc["loss", "measured"], 1e-12)),
                note=f"share of β [{low:.3f}, {high:.3f}]; the optimum's ratio is "
                f"{part.loc['strength', 'predicted'] / max(part.loc['loss', 'predicted'], 1e-12):.1f}",
            )
        )  # fmt: skip
        claim = f"{quantity}: share of seeds"
        if int(get(part, "seeds")) < 2:
            checks.append(Check.not_run(claim, 0.0, "the study has one seed; the longer presets have three"))
        else:
            checks.append(Check.at_most(claim, 0.1, float(part.loc["seed", "measured"]), note="three seeds or more"))
    return checks


def summary(config: Config, table: pd.DataFrame) -> str:
    """Shares, in words."""
    shown = []
    for quantity, rows in table.groupby("quantity", sort=False):
        parts = ", ".join(
            f"{row.source} {row.measured:.1%} [{row.low:.1%}, {row.high:.1%}] (optimum {row.predicted:.1%})"
            for row in rows.itertuples()
        )
        shown.append(f"{quantity.replace('_', ' ')}: {parts}")
    first = table.set_index(["quantity", "source"])["measured"]
    seeds = int(get(table, "seeds"))
    more = all(first[q, "strength"] > first[q, "loss"] for q in ("win_rate", "log_kl"))
    return (
        f"Study {config.study}, {get(table, 'policies')} policies, {seeds} seed(s). Shares of the sum of squares: "
        f"{'; '.join(shown)}. "
        + (
            ""
            if seeds > 1
            else "With one seed nothing can be said of seeds, and the interaction holds their variance. "
        )
        + "How large β's share is depends on how wide a grid of β is drawn. "
        + ("β matters more than f on this grid." if more else "β does not matter more than f in every quantity here.")
    )
