"""IPO's optimum is πref tilted by the win rate against μ

Theorem. For Y = 2P − 1 and pair weights μ_i μ_j the normal equations Σ_j μ_j (Y_ij − g_i + g_j) = 0 give
g_i = Σ_j μ_j Y_ij + const, so π ∝ πref exp(2 P(y ≻ μ)/β): for uniform μ, by Borda's score.

Source: Derived here; Borda: arXiv 2601.18824 and 2312.08358
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "IPO's optimum is πref tilted by the win rate against μ"
SOURCE = "Derived here"
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[object, object]:
    """The optimum on cyclic preferences, and the tilt written out."""
    p = np.array([[0.5, 0.9, 0.3], [0.1, 0.5, 0.8], [0.7, 0.2, 0.5]])
    mu, reference, beta = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6]), 0.6
    tilt = reference * np.exp(2 * (p @ mu) / beta)
    return gpo.PreferenceProblem(p, mu, reference).solve("ipo", beta).policy, tilt / tilt.sum()
