"""The problems, and what the parts share: distances from the optimum, and the rates fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

import gpo_analysis as gpo
from experiments._losses import accepted
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
    seed : int
        Of all of them: they are numbered from 1000 × seed.
    losses : tuple of str
        Losses compared: names, or expressions in z. The claims are about the paper's.
    """

    responses: int = 8
    betas: tuple[float, ...] = (0.3, 1.0)
    fractions: tuple[float, ...] = (0.1, 0.5, 0.95)
    adam_rates: tuple[float, ...] = (0.1,)
    adam_steps: int = 600
    edge_steps: int = 6000
    halvings: int = 8
    seeds: int = 2
    seed: int = 0
    losses: tuple[str, ...] = gpo.PAPER_LOSSES

    def __post_init__(self) -> None:
        """Losses by their names, those refused that no flow follows, or that have no strength or known minimum."""
        object.__setattr__(self, "losses", accepted(self.losses, strength=True, flow=True, known=True))


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


@dataclass(frozen=True)
class Fit:
    """Local rates read off one run within WINDOW; NaN with fewer than four records.

    Attributes
    ----------
    measured : float
        Slope of −log distance.
    expected : float
        The same of the distance that the Hessian's modes give, from what each holds at the window's start.
    late : float
        Slope of −log distance over the records where, of these modes, the others add less than LITTLE to the slowest.
    slowest : float
        Slope of −log of the distance along the slowest mode alone, over the whole window.
    """

    measured: float = np.nan
    expected: float = np.nan
    late: float = np.nan
    slowest: float = np.nan


LITTLE = 1e-3
"""Share by which the local slope may exceed the slowest rate in what `Fit.late` takes."""
LEAST = 4
"""Records that a slope is fitted to."""


def fitted(clock: FloatArray, gap: FloatArray, modes: FloatArray, decay: FloatArray) -> Fit:
    """Rates of a run whose logits are `gap` (k, n) from the optimum.

    Parameters
    ----------
    clock : array, shape (k,)
    gap : array, shape (k, n)
    modes : array, shape (n, r)
        Eigenvectors of the Hessian.
    decay : array, shape (r,)
        What the logarithm of each mode loses a unit of the clock; infinite where a step takes it all.
    """
    far = distance(gap, np.zeros(gap.shape[-1]))
    kept = np.flatnonzero((far > WINDOW[0] * far[0]) & (far < WINDOW[1] * far[0]))
    if len(kept) < LEAST:
        return Fit()
    slow = int(np.argmin(decay))
    t, along = clock[kept] - clock[kept[0]], gap[kept] @ modes
    excess = np.where(np.isfinite(decay), decay - decay[slow], 700.0)  # of a mode that is gone after a step
    share = (along[0] / along[0, slow]) ** 2 * np.exp(-2.0 * np.multiply.outer(t, excess))
    shape = 0.5 * np.log(share.sum(axis=1)) - decay[slow] * t
    local = (share @ excess) / share.sum(axis=1) / decay[slow]
    late = kept[local < LITTLE]
    return Fit(
        _slope(t, np.log(far[kept])),
        _slope(t, shape),
        _slope(clock[late], np.log(far[late])) if len(late) >= LEAST else np.nan,
        _slope(t, np.log(np.abs(along[:, slow]))),
    )


def _slope(clock: FloatArray, log: FloatArray) -> float:
    return float(-np.polyfit(clock, log, 1)[0])


def ratios_of(rows: pd.DataFrame, measured: str = "measured", predicted: str = "predicted") -> FloatArray:
    """Measured over predicted rates, where both are known: of each problem, the mean of its runs."""
    ratio = (rows[measured] / rows[predicted]).astype(float)
    return np.asarray(ratio.groupby(rows["seed"]).mean().dropna(), dtype=np.float64)


def farthest(values: ArrayLike) -> float:
    """The value farthest from 1; NaN where one is not finite."""
    x = np.asarray(values, dtype=np.float64)
    return float(x[np.argmax(np.abs(x - 1.0))]) if len(x) and np.isfinite(x).all() else float("nan")
