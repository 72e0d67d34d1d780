"""One context's weighted pairs: all that the solvers need to know of a problem."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.solvers.faces import components


@dataclass(frozen=True, eq=False)
class WeightedPairs:
    """Ordered pairs (k,) with weights above 0 that sum to ``1 − diagonal_mass``.

    `names` are the responses' names, `matrix` the same weights as an (n, n) array where that is how they are solved.
    """

    n: int
    winner: IntArray
    loser: IntArray
    weight: FloatArray
    diagonal_mass: float
    names: tuple[str, ...]
    matrix: FloatArray | None

    @cached_property
    def parts(self) -> IntArray:
        """Labels (n,) of the components of the comparison graph, directions ignored."""
        if self.is_complete:
            return np.zeros(self.n, dtype=np.int64)
        return components(self.n, self.winner, self.loser, strong=False)

    @cached_property
    def cycles(self) -> IntArray:
        """Labels (n,) of the strongly connected components: who can be reached from whom by arrows winner → loser."""
        if self.is_complete:
            return np.zeros(self.n, dtype=np.int64)
        return components(self.n, self.winner, self.loser, strong=True)

    @property
    def is_complete(self) -> bool:
        """Whether every ordered pair has weight."""
        return len(self.weight) == self.n * (self.n - 1)

    def dense(self) -> FloatArray:
        """The weights as an (n, n) array."""
        if self.matrix is not None:
            return self.matrix
        weights = np.zeros((self.n, self.n))
        weights[self.winner, self.loser] = self.weight
        return weights

    def margins(self, g: FloatArray) -> FloatArray:
        """``g_winner − g_loser`` of each pair, shape (k,)."""
        return np.asarray(g[self.winner] - g[self.loser])

    def balance(self, flow: FloatArray) -> FloatArray:
        """What flows out of each response less what flows in, shape (n,), of a flow (k,) from winner to loser."""
        return np.asarray(np.bincount(self.winner, flow, self.n) - np.bincount(self.loser, flow, self.n))

    def within(self, labels: IntArray) -> BoolArray:
        """Which pairs stay inside one label, shape (k,)."""
        return np.asarray(labels[self.winner] == labels[self.loser])

    def restricted(self, keep: BoolArray) -> WeightedPairs:
        """Only some of the pairs, over the same responses."""
        if keep.all():
            return self
        winner, loser, weight = self.winner[keep], self.loser[keep], self.weight[keep]
        matrix = None
        if self.matrix is not None:
            matrix = np.zeros_like(self.matrix)
            matrix[winner, loser] = weight
        return WeightedPairs(self.n, winner, loser, weight, self.diagonal_mass, self.names, matrix)
