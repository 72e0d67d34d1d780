"""DPO under forward KL fits differences of inverse density ratios

Theorem. The generator's derivative −1/t stands where log t did: at the optimum on Bradley–Terry preferences
β (πref_j/π_j − πref_i/π_i) = r_i − r_j.

Source: Wang et al. 2023, arXiv 2309.16240; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "DPO under forward KL fits differences of inverse density ratios"
SOURCE = "Wang et al. 2023, arXiv 2309.16240"
TOLERANCE = 1e-07


def compute() -> tuple[object, object]:
    """β times differences of −πref/π at the library's optimum, and of r."""
    r, reference, beta = np.array([0.2, -0.5, 1.0]), np.array([0.5, 0.2, 0.3]), 2.0
    problem = gpo.PreferenceProblem(gpo.bradley_terry(r), np.full(3, 1 / 3), reference)
    g = -reference / problem.solve("dpo", beta, link="forward_kl").policy
    return beta * (g - g[0]), r - r[0]
