"""Levels at infinity: of several descents within a set the lowest counts, and the best order of levels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.solvers import levels
from gpo_analysis.solvers.minimum import Minimum, Status
from gpo_analysis.solvers.pairs import WeightedPairs

SAVAGE = get_margin_loss("savage")


def pairs_of(n: int, seed: int) -> WeightedPairs:
    weights = np.random.default_rng(seed).exponential(size=(n, n)) * (1 - np.eye(n))
    winner, loser = np.nonzero(weights)
    return WeightedPairs(n, winner, loser, weights[winner, loser], 0.0, tuple("abcd"[:n]), weights)


@pytest.mark.parametrize("order", list(itertools.permutations((1.0, 2.0, 3.0))))
def test_the_lowest_end_counts_whichever_start_found_it(
    order: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, told = pairs_of(3, 0), iter(order)

    def ends(stack: FloatArray, *arguments: object, **options: object) -> list[Minimum]:
        value = next(told)
        return [Minimum(np.zeros(3), value, Status.OPTIMUM) for _ in stack]

    monkeypatch.setattr(levels, "minimise_stack", ends)
    found = levels._values(pairs, pairs.dense(), SAVAGE, [(0,), (0, 1), (1, 2)])
    assert found == {(0,): 0.0, (0, 1): 1.0, (1, 2): 1.0}


def test_values_of_sets_are_no_higher_than_at_any_point_that_is_looked_at() -> None:
    pairs = pairs_of(4, 3)
    weights = pairs.dense()
    sets = [one for size in (1, 2, 3) for one in itertools.combinations(range(4), size)]
    found = levels._values(pairs, weights, SAVAGE, sets)
    for one, g in itertools.product(sets, np.random.default_rng(0).normal(0, 1.5, (50, 4))):
        part = list(one)
        at = np.sum(weights[np.ix_(part, part)] * SAVAGE(g[part][:, None] - g[part]))
        assert found[one] <= at - (len(one) == 1) * at + 1e-12
