"""What a fit needs to know of a preference problem, and the problem's weighted pairs as the solvers take them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.pairs import DirectedPairs
from gpo_analysis.solvers.pairs import WeightedPairs

#: Above this many responses observed comparisons are solved without a dense matrix.
DENSE = 300


class Setting(Protocol):
    """The part of a :class:`~gpo_analysis.tabular.problem.PreferenceProblem` that a fit and its policies rest on."""

    @property
    def behavior(self) -> FloatArray: ...
    @property
    def reference(self) -> FloatArray: ...
    @property
    def items(self) -> tuple[str, ...]: ...
    @property
    def n(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def is_sparse(self) -> bool: ...
    def shares(self) -> FloatArray: ...
    def directed_pairs(self) -> DirectedPairs: ...
    def pair_weights(self) -> FloatArray: ...
    def diagonal_weights(self) -> FloatArray: ...


def weighted_pairs(problem: Setting) -> list[WeightedPairs]:
    """The pairs of each context, their weights summing to 1 with the draws of twice the same response."""
    if problem.is_sparse and problem.n > DENSE:
        pairs = problem.directed_pairs()
        return [WeightedPairs(problem.n, pairs.winner, pairs.loser, pairs.weight, 0.0, problem.items, None)]
    weights = problem.pair_weights()
    diagonal = np.zeros(1) if problem.is_sparse else np.sum(np.atleast_2d(problem.behavior) ** 2, axis=-1)
    found = []
    for matrix, mass in zip(weights, diagonal, strict=True):
        winner, loser = np.nonzero(matrix)
        found.append(WeightedPairs(problem.n, winner, loser, matrix[winner, loser], float(mass), problem.items, matrix))
    return found
