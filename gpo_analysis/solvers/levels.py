"""How low F gets as responses go apart for ever, in any number of levels, for an f with finite limits on both sides.

Responses of a higher level are for ever above those of a lower one, so that pairs between levels are at the limits of f
and each level is a problem of its own. The best order of levels is found from the values of all sets of responses::

    best(T) = min(value(T), min over A ⊂ T of value(A) + across(A, T − A) + best(T − A))
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.newton import minimise_stack
from gpo_analysis.solvers.pairs import WeightedPairs

Group = tuple[int, ...]


def lowest_in_levels(pairs: WeightedPairs, loss: Differentiable, shape: LossShape) -> tuple[float, list[Group]]:
    """The least value found with two levels or more, and the responses of each level, the highest first.

    Parameters
    ----------
    pairs : WeightedPairs
        Of few responses: all 2ⁿ sets of them are solved.
    loss : MarginLoss, or what has its calls
    shape : LossShape
        With finite limits on both sides.
    """
    weights = pairs.dense()
    everyone: Group = tuple(range(pairs.n))
    sets = [one for size in range(1, pairs.n + 1) for one in combinations(everyone, size)]
    value = _values(pairs, weights, loss, [one for one in sets if len(one) < pairs.n])
    best: dict[Group, float] = {}
    split: dict[Group, tuple[Group, Group]] = {}
    for one in sets:
        below = value.get(one, np.inf)
        for upper in (part for size in range(1, len(one)) for part in combinations(one, size)):
            rest = tuple(i for i in one if i not in upper)
            block = np.ix_(upper, rest)
            across = float(weights[block].sum()) * shape.right_limit + float(weights.T[block].sum()) * shape.left_limit
            total = value[upper] + across + best[rest]
            # a set left together by a descent that ran off is as low as what it runs off to, and is parted
            if total < below or (one not in split and total <= below + 1e-12 * abs(below)):
                below, split[one] = total, (upper, rest)
        best[one] = below
    levels, left = [], everyone
    while left in split:
        upper, left = split[left]
        levels.append(upper)
    return best[everyone], [*levels, left]


def _values(pairs: WeightedPairs, weights: FloatArray, loss: Differentiable, sets: list[Group]) -> dict[Group, float]:
    """The least value of F that descents find within each set; those of pairs outside it do not count."""
    wins = pairs.balance(pairs.weight)
    net = wins / max(float(np.abs(wins).max(initial=0.0)), 1e-300)
    several = [one for one in sets if len(one) > 1]
    found = dict.fromkeys(sets, 0.0)
    if not several:
        return found
    stack = np.zeros((len(several), pairs.n, pairs.n))
    for inside, one in zip(stack, several, strict=True):
        block = np.ix_(one, one)
        inside[block] = weights[block]
    blocks = np.stack([pairs.restricted(_inside(pairs, one)).parts for one in several])
    for start in (np.zeros(pairs.n), net, 4 * net):
        starts = np.broadcast_to(start, (len(several), pairs.n))
        ends = minimise_stack(stack, loss, blocks, starts, convex=False, max_iterations=200)
        for one, end in zip(several, ends, strict=True):
            if np.isfinite(end.value):
                found[one] = min(found[one], end.value) if start.any() else end.value
    return found


def _inside(pairs: WeightedPairs, one: Group) -> np.ndarray:
    member = np.zeros(pairs.n, dtype=bool)
    member[list(one)] = True
    return np.asarray(member[pairs.winner] & member[pairs.loser])
