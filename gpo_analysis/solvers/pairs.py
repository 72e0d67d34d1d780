"""One context's weighted pairs: all that the solvers need to know of a problem."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray


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
        if self.is_complete or ("cycles" in self.__dict__ and not self.cycles.any()):
            return np.zeros(self.n, dtype=np.int64)
        return self._components("weak")

    @cached_property
    def cycles(self) -> IntArray:
        """Labels (n,) of the strongly connected components: who can be reached from whom by arrows winner → loser."""
        if self.is_complete:
            return np.zeros(self.n, dtype=np.int64)
        return self._components("strong")

    def _components(self, connection: Literal["weak", "strong"]) -> IntArray:
        pairs = self.ordered
        _, labels = connected_components(pairs.table(pairs.weight), directed=True, connection=connection)
        return np.asarray(labels, dtype=np.int64)

    @property
    def is_complete(self) -> bool:
        """Whether every ordered pair has weight."""
        return len(self.weight) == self.n * (self.n - 1)

    @cached_property
    def ordered(self) -> WeightedPairs:
        """The same pairs, those of one winner in a row."""
        if np.all(self.winner[1:] >= self.winner[:-1]):
            return self
        order = np.argsort(self.winner, kind="stable")
        sides = (self.winner[order], self.loser[order], self.weight[order])
        return WeightedPairs(self.n, *sides, self.diagonal_mass, self.names, self.matrix)

    @cached_property
    def _rows(self) -> tuple[IntArray, IntArray]:
        """Columns and where rows begin, of the pairs as a sparse table; they must be ordered."""
        small = max(self.n, len(self.winner)) < 2**31
        kind = np.int32 if small else np.int64
        begins = np.concatenate([[0], np.cumsum(np.bincount(self.winner, minlength=self.n))])
        return self.loser.astype(kind), begins.astype(kind)

    def table(self, values: FloatArray) -> sparse.csr_array:
        """Values of ordered pairs (k,) as a sparse array, shape (n, n), without a copy."""
        return sparse.csr_array((values, *self._rows), shape=(self.n, self.n))

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
        if labels.max(initial=0) == 0:
            return np.ones(len(self.winner), dtype=bool)
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
