"""Does μ-square regularization follow KL when μ is far from πref?

Prediction, before the run: ½E_μ[ρ²] of the IPO optimum is 2KL to second order where μ = πref, so that their ratio is
near 2 at large β; with μ elsewhere it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.statistics import mean_interval

CLAIM = "½E_μ[ρ²] over KL of an optimum is near 2 where μ is πref, and only there."
FIGURE = "my-study"


@dataclass(frozen=True)
class Config:
    """The study.

    Parameters
    ----------
    losses : tuple of str
        Names, or what is typed.
    beta : float
        β of every loss.
    responses : int
        Number of responses; rewards are standard normal.
    seeds : int
        Problems drawn.
    """

    losses: tuple[str, ...] = ("squared", "logistic")
    beta: float = 5.0
    responses: int = 6
    seeds: int = 20


PRESETS = {"quick": Config(), "paper": Config(seeds=200)}


def cells(config: Config) -> list[dict[str, Any]]:
    """A cell for each loss, μ and seed."""
    return grid(loss=config.losses, mu=("reference", "elsewhere"), seed=range(config.seeds))


def run(config: Config, *, loss: str, mu: str, seed: int) -> pd.DataFrame:
    """The optimum of one loss on one problem."""
    rng = np.random.default_rng(seed)
    reward, reference = rng.normal(size=config.responses), rng.dirichlet(np.full(config.responses, 3.0))
    behavior = reference if mu == "reference" else 1 / reference
    problem = gpo.PreferenceProblem(gpo.bradley_terry(reward), behavior / behavior.sum(), reference)
    found = problem.solve(loss, config.beta)
    return pd.DataFrame(
        [{"loss": loss, "mu": mu, "seed": seed, "kl": found.kl, "mu_squared_loss": found.mu_squared_loss}]
    )


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The ratio with μ = πref, by the 95 % interval over problems."""
    ratio = (table["mu_squared_loss"] / table["kl"])[table["mu"] == "reference"].groupby(table["seed"]).mean()
    return [Check.within("½E_μ[ρ²]/KL, μ = πref", 2.0, mean_interval(ratio), 0.1, "problems")]


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found."""
    ratio = (table["mu_squared_loss"] / table["kl"]).groupby(table["mu"]).mean()
    return f"½E_μ[ρ²]/KL is {ratio['reference']:.2f} with μ = πref and {ratio['elsewhere']:.2f} with μ elsewhere."
