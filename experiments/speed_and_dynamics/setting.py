"""The problems, and what the parts share: distances from the optimum, and the rates fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray
from gpo_analysis.tabular import PreferenceProblem

WINDOW = (1e-11, 1e-8)
"""Distances, over that of πref, between which a local rate is fitted."""


@dataclass(frozen=True)
class Config:
    """Problems, strengths and steps.

    Parameters
    ----------
    responses : int
        n; rewards are standard normal, μ and πref Dirichlet(5).
    betas : tuple of float
        β of every loss.
    fractions : tuple of float
        Steps of gradient descent over the largest stable one, 2/λ_max.
    adam_rates : tuple of float
        Learning rates of Adam, absolute.
    adam_steps, edge_steps : int
        Steps of Adam in the fit of its rate, and until its edge is looked for.
    halvings : int
        Bisections of the largest stable step, from a factor of 16 between stable and not.
    seeds : int
        Problems.
    """

    responses: int = 8
    betas: tuple[float, ...] = (0.3, 1.0)
    fractions: tuple[float, ...] = (0.1, 0.5, 0.95)
    adam_rates: tuple[float, ...] = (0.1,)
    adam_steps: int = 600
    edge_steps: int = 6000
    halvings: int = 8
    seeds: int = 2


def problem_of(config: Config, seed: int) -> PreferenceProblem:
    """Bradley–Terry preferences, with μ and πref of their own."""
    rng, n = np.random.default_rng([seed, 41]), config.responses
    rewards, mu, reference = rng.normal(size=n), *rng.dirichlet(np.full(n, 5.0), size=2)
    return PreferenceProblem(gpo.bradley_terry(rewards), mu, reference)


def goal_of(problem: PreferenceProblem, loss: str, beta: float) -> FloatArray:
    """Logits of the population optimum, (n,)."""
    return np.asarray(np.log(problem.reference) + problem.solve(loss, beta).log_ratio)


def distance(logits: FloatArray, goal: FloatArray) -> FloatArray:
    """Euclidean distance of logits (…, n) from a goal (n,), both up to a constant."""
    gap = logits - goal
    with np.errstate(over="ignore"):  # a run that diverges is far away: infinitely, where a float holds no more
        return np.asarray(np.linalg.norm(gap - gap.mean(axis=-1, keepdims=True), axis=-1))


def fitted_rate(clock: FloatArray, far: FloatArray) -> float:
    """Slope of −log distance over the clock within WINDOW; NaN with fewer than four records there."""
    kept = (far > WINDOW[0] * far[0]) & (far < WINDOW[1] * far[0])
    if kept.sum() < 4:
        return float("nan")
    return float(-np.polyfit(clock[kept], np.log(far[kept]), 1)[0])


def ratios_of(rows: pd.DataFrame) -> FloatArray:
    """Measured over predicted rates, where both are known."""
    return np.asarray((rows["measured"] / rows["predicted"]).dropna(), dtype=np.float64)


def farthest(values: ArrayLike) -> float:
    """The value farthest from 1; NaN where one is not finite."""
    x = np.asarray(values, dtype=np.float64)
    return float(x[np.argmax(np.abs(x - 1.0))]) if len(x) and np.isfinite(x).all() else float("nan")
