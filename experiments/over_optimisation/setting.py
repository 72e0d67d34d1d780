"""The worlds, their settings, and where along a tilt the gold reward first peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from experiments._losses import accepted
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import PAPER_LOSSES

TILTS = np.geomspace(1e-3, 1e3, 121)
"""Strengths t of a tilt πref e^{ts}/Z between which the sign of the gold reward's slope is looked up."""


@dataclass(frozen=True)
class Config:
    """The world, the samples, and the grid.

    Parameters
    ----------
    responses, features : int
        n responses, d features; Φ is standard normal, πref uniform.
    slope, curvature : float
        ‖a‖ and b of the gold reward.
    pairs : tuple of int
        Numbers of labelled pairs, drawn from πref.
    strengths : tuple of float
        Values of βκ (of β for hinge).
    steps, records, step_size : int, int and float
        Gradient steps, about how many of them are checkpoints (spaced evenly in log step), and the size of a step in
        v, in units of 1/f″(0) (1 for hinge).
    shown : float
        The strength nearest to it keeps its checkpoints with the fewest pairs; of the others the table has the end of
        training only.
    seeds : int
        Worlds, with a sample each.
    wide : int
        Responses of the wider worlds, in which the best β is held against theory.
    labels, repeats : tuple of int and int
        Numbers of labelled pairs there, and samples of each size in each world.
    wide_worlds : int
        How many of them.
    seed : int
        Of all of them.
    losses : tuple of str
        Losses compared: names, or expressions in z. The claims are about the paper's.
    """

    responses: int = 150
    features: int = 4
    slope: float = 1.0
    curvature: float = 1.2
    pairs: tuple[int, ...] = (100, 1_000, 100_000)
    strengths: tuple[float, ...] = tuple(float(x) for x in np.geomspace(0.01, 10.0, 25).round(6))
    steps: int = 200
    records: int = 10
    step_size: float = 0.1
    shown: float = 0.05
    seeds: int = 12
    wide: int = 400
    labels: tuple[int, ...] = (300, 3_000)
    repeats: int = 2
    wide_worlds: int = 8
    seed: int = 0
    losses: tuple[str, ...] = PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those that have no strength or no known minimum refused."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, known=True))


def world_of(config: Config, world: int, responses: int | None = None) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Features (n, d), gold reward (n,) of mean zero under πref, and πref (n,)."""
    rng = np.random.default_rng([config.seed, world])
    features = rng.normal(size=(responses or config.responses, config.features))
    direction = rng.normal(size=config.features)
    gold = config.slope * features @ direction / np.linalg.norm(direction)
    gold = gold - 0.5 * config.curvature * (features**2).sum(axis=1)
    return features, gold - gold.mean(), np.full(len(gold), 1.0 / len(gold))


def reward_slope(tilt: FloatArray, score: FloatArray, gold: FloatArray) -> FloatArray:
    """d/dt of the mean gold reward of πref e^{ts}/Z, πref uniform: Cov(gold, s) there; (k,) for tilts (k,)."""
    logits = np.asarray(tilt)[:, None] * score
    policy = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    return np.asarray(policy @ (gold * score) - (policy @ gold) * (policy @ score))


def first_peak(score: FloatArray, gold: FloatArray) -> float:
    """β at which the gold reward of πref e^{s/β}/Z, coming from β = ∞, first stops rising.

    Infinite where it falls from the start, 0 where it never falls. Of finitely many responses the farthest may happen
    to be good, so that the reward rises again at last: what lies beyond the first peak is no part of it.

    Parameters
    ----------
    score, gold : array, shape (n,)

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=40_000)
    >>> round(first_peak(x, x - 0.5 * x**2), 1)  # E under a shift by 1/β: 1/β − ½/β² − ½
    1.0
    """
    slopes = reward_slope(TILTS, score, gold)
    if slopes[0] <= 0:
        return float("inf")
    falling = np.flatnonzero(slopes < 0)
    if not len(falling):
        return 0.0
    k = int(falling[0])

    def slope(log_tilt: float) -> float:
        return float(reward_slope(np.exp([log_tilt]), score, gold)[0])

    return float(np.exp(-brentq(slope, np.log(TILTS[k - 1]), np.log(TILTS[k]), xtol=1e-12)))
