"""Directed pairs: the one form in which the solvers, the dynamics and the losses see a preference problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpo_analysis.showing import Shown


@dataclass(frozen=True, eq=False)
class DirectedPairs(Shown):
    """What a population loss sums over.

    ``E f(βρ) = diagonal_mass · f(0) + Σ_k weight_k f(β (h[winner_k] − h[loser_k]))``, with
    ``h = log π/πref``; with contexts h is ``h[context_k, winner_k]``. For a preference matrix and two independent
    draws from μ the weight of i ≻ j is ``2 μ_i μ_j P_ij`` (both orders of drawing), and two equal draws, whose ρ is 0,
    make up the ``diagonal_mass`` ``Σ μ_i²``. Observed comparisons carry their own shares and have no diagonal.

    Attributes
    ----------
    context : array of int, shape (k,)
        0 throughout where there are no contexts.
    winner, loser : array of int, shape (k,)
    weight : array, shape (k,)
        Above 0; with `diagonal_mass` it sums to 1. Context weights are multiplied in.
    diagonal_mass : float
    """

    context: NDArray[np.int64]
    winner: NDArray[np.int64]
    loser: NDArray[np.int64]
    weight: NDArray[np.float64]
    diagonal_mass: float

    def __len__(self) -> int:
        return len(self.weight)

    def margins(self, log_ratio: NDArray[np.float64]) -> NDArray[np.float64]:
        """ρ of every pair, shape (..., k), from h of shape (..., m, n)."""
        return np.asarray(log_ratio[..., self.context, self.winner] - log_ratio[..., self.context, self.loser])

    _no_plot = "it is the rows that others count; diagnostics draws them"
