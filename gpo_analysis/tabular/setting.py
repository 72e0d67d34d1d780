"""What a fit needs to know of a preference problem, and the problem's weighted pairs as the solvers take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gpo_analysis.arrays import AT_ONCE, FloatArray
from gpo_analysis.preferences.pairs import DirectedPairs
from gpo_analysis.solvers.pairs import WeightedPairs

#: Above this many responses observed comparisons are solved without a dense matrix.
DENSE = 300


class Setting(Protocol):
    """The part of a :class:`~gpo_analysis.tabular.problem.PreferenceProblem` that a fit and its policies rest on."""

    @property
    def preference(self) -> FloatArray | None: ...
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


def pair_weights(preference: FloatArray, behavior: FloatArray) -> FloatArray:
    """``2 μ_i μ_j P_ij`` off the diagonal, 0 on it, of preferences (b, n, n) and μ (b, n)."""
    weights = 2 * behavior[:, :, None] * behavior[:, None, :] * preference
    n = behavior.shape[1]
    weights[:, np.arange(n), np.arange(n)] = 0.0
    return weights


def weighted_pairs(problems: Sequence[Setting]) -> list[list[WeightedPairs]]:
    """The pairs of each context of each problem, their weights summing to 1 with the draws of twice the same response.

    Those of problems with preference matrices of one size are computed together.
    """
    found: dict[int, list[WeightedPairs]] = {}
    sizes: dict[int, list[int]] = {}
    for k, problem in enumerate(problems):
        if problem.preference is None:
            found[k] = [_observed(problem)]
        else:
            sizes.setdefault(problem.n, []).append(k)
    for n, members in sizes.items():
        rows = max(1, AT_ONCE // (n * n))
        for first in range(0, len(members), rows):
            part = members[first : first + rows]
            found |= zip(part, _of_matrices([problems[k] for k in part], n), strict=True)
    return [found[k] for k in range(len(problems))]


def _observed(problem: Setting) -> WeightedPairs:
    """Of comparisons."""
    if problem.n > DENSE:
        pairs = problem.directed_pairs()
        return WeightedPairs(problem.n, pairs.winner, pairs.loser, pairs.weight, 0.0, problem.items, None)
    (matrix,) = problem.pair_weights()
    winner, loser = np.nonzero(matrix)
    return WeightedPairs(problem.n, winner, loser, matrix[winner, loser], 0.0, problem.items, matrix)


def _of_matrices(problems: Sequence[Setting], n: int) -> list[list[WeightedPairs]]:
    """Of preference matrices of one size; those of which every pair has weight share its indices."""
    mu = np.concatenate([np.atleast_2d(problem.behavior) for problem in problems])
    preferences = [problem.preference for problem in problems if problem.preference is not None]
    weights = pair_weights(np.concatenate([preference.reshape(-1, n, n) for preference in preferences]), mu)
    complete = (np.count_nonzero(weights, axis=(1, 2)) == n * (n - 1)).tolist()
    winners, losers = np.nonzero(~np.eye(n, dtype=bool))
    every = np.take(weights.reshape(-1, n * n), winners * n + losers, axis=1) if any(complete) else weights
    masses = np.sum(mu**2, axis=-1).tolist()
    found, row = [], 0
    for problem in problems:
        own = []
        for _ in range(len(problem.shares())):
            matrix = weights[row]
            winner, loser = (winners, losers) if complete[row] else np.nonzero(matrix)
            weight = every[row] if complete[row] else matrix[winner, loser]
            own.append(WeightedPairs(n, winner, loser, weight, masses[row], problem.items, matrix))
            row += 1
        found.append(own)
    return found
