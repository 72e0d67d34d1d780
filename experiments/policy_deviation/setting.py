"""The problems, their features, and the training that the parts share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray
from gpo_analysis.tabular import PreferenceProblem


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
    """

    responses: int = 24
    seen: int = 12
    spread: float = 1.0
    dimension: int = 6
    betas: tuple[float, ...] = (0.1, 1.0)
    labels: int = 300
    steps: int = 300
    seeds: int = 5


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
