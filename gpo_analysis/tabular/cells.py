"""The weighted pairs of a problem, as the solvers take them."""

from __future__ import annotations

import numpy as np

from gpo_analysis.solvers.cells import Cell
from gpo_analysis.tabular.problem import PreferenceProblem

#: Above this many responses observed comparisons are solved without a dense matrix.
DENSE = 300


def cells_of(problem: PreferenceProblem) -> list[Cell]:
    """One cell a context."""
    if problem.comparisons is not None and problem.n > DENSE:
        pairs = problem.directed_pairs()
        return [Cell(problem.n, pairs.winner, pairs.loser, pairs.weight, 0.0, problem.items, None)]
    weights = problem.pair_weights()
    equal_draws = np.sum(np.atleast_2d(problem.behavior) ** 2, axis=-1)
    diagonal = equal_draws if problem.comparisons is None else np.zeros(1)
    cells = []
    for matrix, mass in zip(weights, diagonal, strict=True):
        winner, loser = np.nonzero(matrix)
        cells.append(Cell(problem.n, winner, loser, matrix[winner, loser], float(mass), problem.items, matrix))
    return cells
