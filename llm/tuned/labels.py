"""Hard labels: each pair of a prompt's samples compared once, by a coin of the reward's bias."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from scipy.special import expit

from llm.forests.problem import Sampled


def draw_labels(sampled: Sampled, scale: float, seed: int) -> torch.Tensor:
    """Shares of the labels, ``[x, i, j]`` of those of prompt x by which sample i won against j, shape (m, n, n).

    Every pair of samples that differ has one label: i wins with chance σ(scale · (r_i − r_j)). A response that was
    drawn twice meets each other one twice. Prompts are labelled one by one, so that the labels of the first ones are
    the same whatever follows; a prompt whose samples are all alike has none, and its shares are 0.

    Parameters
    ----------
    sampled : Sampled
    scale : float
    seed : int
    """
    count = sampled.rewards.shape[1]
    shares = np.zeros((len(sampled.rewards), count, count))
    for row, (drawn, rewards) in enumerate(zip(sampled.samples, sampled.rewards, strict=True)):
        rng = np.random.default_rng([seed, 6, row])
        texts = [tuple(y) for y in drawn]
        place = {text: k for k, text in enumerate(dict.fromkeys(texts))}  # the order of the trees
        for one, other in combinations([place[text] for text in texts], 2):
            chance = rng.random()
            if one == other:
                continue
            wins = chance < expit(scale * (rewards[one] - rewards[other]))
            shares[(row, one, other) if wins else (row, other, one)] += 1.0
        shares[row] /= max(1.0, shares[row].sum())
    return torch.from_numpy(shares).float()
