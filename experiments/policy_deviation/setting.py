"""The problems, their features, and the training that the parts share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from experiments._losses import accepted
from gpo_analysis.arrays import FloatArray
from gpo_analysis.statistics import Interval, mean_interval, share_interval
from gpo_analysis.tabular import PreferenceProblem, solve_features
from gpo_analysis.training import compared


@dataclass(frozen=True)
class Config:
    """Problems and training.

    Parameters
    ----------
    responses, seen : int
        n, and how many of them μ reaches.
    spread : float
        Standard deviation of the rewards.
    dimension : int
        Number of features, standard normal.
    betas : tuple of float
        β of every loss.
    labels : int
        Comparisons drawn for the training of feature policies.
    steps : int
        Steps of gradient descent with features and for the chosen responses.
    seeds : int
        Problems.
    seed : int
        Of all of them: they are numbered from 1000 × seed.
    losses : tuple of str
        Losses compared: names, or expressions in z. The claims are about the paper's.
    """

    responses: int = 24
    seen: int = 12
    spread: float = 1.0
    dimension: int = 6
    betas: tuple[float, ...] = (0.1, 1.0)
    labels: int = 300
    steps: int = 300
    seeds: int = 5
    seed: int = 0
    losses: tuple[str, ...] = gpo.PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those that have no strength or no known minimum refused."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, known=True))

    @property
    def problems(self) -> range:
        """Numbers of the problems."""
        return range(1000 * self.seed, 1000 * self.seed + self.seeds)


def problem_of(config: Config, seed: int, *, uniform: bool = False, matched: bool = False) -> PreferenceProblem:
    """μ on the first ``seen`` responses (``matched``: equal to πref, on all); πref Dirichlet(2), or uniform."""
    rng = np.random.default_rng([seed, 45])
    n, seen = config.responses, config.seen
    rewards, mu = config.spread * rng.normal(size=n), np.zeros(n)
    mu[:seen] = rng.dirichlet(np.full(seen, 3.0))
    reference = rng.dirichlet(np.full(n, 2.0))
    reference = np.full(n, 1.0 / n) if uniform else reference
    return PreferenceProblem(gpo.bradley_terry(rewards), reference if matched else mu, reference)


def features_of(config: Config, seed: int) -> FloatArray:
    """Standard normal features over √d: nearby directions for compared and uncompared responses alike."""
    rng = np.random.default_rng([seed, 46])
    return np.asarray(rng.normal(size=(config.responses, config.dimension)) / np.sqrt(config.dimension))


def path_of(
    config: Config, loss: str, data: PreferenceProblem, beta: float, phi: FloatArray | None = None
) -> gpo.Trajectory:
    """Descent from πref at the clock of s = 0.4 a step; features (n, d), or None for free logits."""
    return gpo.train(
        data, loss, beta, learning_rate=0.4 / (beta**2 * slope_of(loss)), steps=config.steps, features=phi,
        record_every=config.steps // 50, keep=("policies",),
    )  # fmt: skip


def slope_of(loss: str) -> float:
    """|f′(0)|."""
    return abs(float(gpo.get_loss(loss).derivative(0.0)))


def fitted_direction(problem: PreferenceProblem, loss: str, phi: FloatArray | None) -> FloatArray:
    """g = βh (n,) at the optimum of a problem or a sample, up to a constant; NaN where there is no unique finite one.

    Free logits keep their sum over the compared responses, and those that nobody compared stay at 0.
    """
    if phi is not None:
        return solve_features(problem, phi, loss, 1.0).log_ratio
    on, found = compared(problem), problem.solve(loss, 1.0)
    best = found.log_ratio if found.converged else found.representative
    if best is None or not np.isfinite(best[on]).all():
        return np.full(problem.n, np.nan)
    return np.where(on, best - np.mean(best[on]), 0.0)


def linear_direction(problem: PreferenceProblem, loss: str, phi: FloatArray | None) -> FloatArray:
    """The same by one linear solve, κ E[xxᵀ] w = E[x]: Newton's first step from πref; NaN for hinge, whose κ is 0."""
    kappa = float(gpo.get_loss(loss).curvature_ratio)
    if kappa == 0:
        return np.full(problem.n, np.nan)
    pairs = problem.directed_pairs()
    basis = phi if phi is not None else np.diag(compared(problem).astype(float))
    x = basis[pairs.winner] - basis[pairs.loser]
    weighted = x * pairs.weight[:, None]
    found = basis @ np.linalg.lstsq(weighted.T @ x, weighted.sum(axis=0), rcond=None)[0] / kappa
    return np.asarray(found)


def by_problem(hits: pd.Series, problem: pd.Series) -> Interval:
    """Mean over problems of each problem's share; where all of them are 1, Wilson's interval of so many problems."""
    shares = hits.astype(float).groupby(problem).mean()
    if shares.empty:
        return Interval(np.nan, np.nan, np.nan)
    if (shares == 1.0).all():
        return share_interval(len(shares), len(shares))
    return mean_interval(shares)
