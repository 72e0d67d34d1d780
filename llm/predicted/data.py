"""What the runs of a seed are trained on: pairs of samples, hard labels, and the order in which they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from llm.forests.problem import Problem
from llm.predicted.config import COIN, PredictedConfig


@dataclass(frozen=True, eq=False)
class Pairs:
    """N pairs of distinct samples, each of one prompt.

    Attributes
    ----------
    seed : int
    prompt, first, second : array, shape (N,)
        Prompt, and columns of its tree of the samples that were trained on.
    label, chance : array, shape (N,)
        1 where the first is preferred before any flip, else −1; and a uniform number: the label is flipped at every ε
        above it, so that what is flipped at a small ε is flipped at a larger one.
    """

    seed: int
    prompt: IntArray
    first: IntArray
    second: IntArray
    label: FloatArray
    chance: FloatArray

    def __len__(self) -> int:
        return len(self.prompt)

    def batch(self, step: int, size: int) -> IntArray:
        """Pairs of a step, counted from 0: each once a pass, in an order drawn from seed and pass."""
        per_pass = len(self) // size
        order = np.random.default_rng([self.seed, 3, step // per_pass]).permutation(len(self))
        at = step % per_pass * size
        return order[at : at + size]

    def signs(self, rows: IntArray, epsilons: Sequence[float], step: int) -> FloatArray:
        """Labels of these pairs in runs of these ε at a step, shape (R, B): 1 where the first is preferred, else −1."""
        tossed = np.random.default_rng([self.seed, 4, step]).choice([-1.0, 1.0], size=len(rows))
        return np.stack([tossed if epsilon == COIN else self.labels(epsilon)[rows] for epsilon in epsilons])

    def labels(self, epsilon: float) -> FloatArray:
        """All labels at a share ε of flips, shape (N,)."""
        return np.where(self.chance < epsilon, -self.label, self.label)


def draw_pairs(problem: Problem, config: PredictedConfig) -> Pairs:
    """Draw pairs, evenly over the trained prompts, and their labels from σ(scale · Δr).

    Raises
    ------
    ValueError
        For a prompt whose samples are all the same, of which there is no pair.
    """
    rng = np.random.default_rng([problem.seed, 5])
    prompt = np.arange(config.pairs) % config.trained_prompts
    shares = problem.seen.forest.weight.numpy()
    counts = (shares > 0).sum(1)
    if counts[: config.trained_prompts].min() < 2:
        raise ValueError(f"seed {problem.seed}: a prompt has one distinct sample; a pair needs two")
    drawn = np.array([rng.choice(shares.shape[1], size=2, replace=False, p=shares[row]) for row in prompt])
    rewards = problem.seen.rewards
    gap = rewards[prompt, drawn[:, 0]] - rewards[prompt, drawn[:, 1]]
    label = np.where(rng.random(len(prompt)) < 1 / (1 + np.exp(-config.scale * gap)), 1.0, -1.0)
    return Pairs(problem.seed, prompt, drawn[:, 0], drawn[:, 1], label, rng.random(len(prompt)))
