"""DPO's optimum is the KL-regularized optimum of the reward

Theorem. If p(i ≻ j) = σ(r_i − r_j), logistic margins fit β(h_i − h_j) = r_i − r_j, so π = πref exp(r/β)/Z, which
maximises E_π r − β KL(π‖πref).

Source: Rafailov et al. 2023, arXiv 2305.18290; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "DPO's optimum is the KL-regularized optimum of the reward"
SOURCE = "Rafailov et al. 2023, arXiv 2305.18290"
TOLERANCE = 1e-08


def compute() -> tuple[object, object]:
    """The optimum over policies, and the tilt written out."""
    r, reference, beta = np.array([0.3, -1.0, 2.0, 0.8]), np.array([0.4, 0.3, 0.1, 0.2]), 0.7
    problem = gpo.PreferenceProblem(gpo.bradley_terry(r), np.array([0.1, 0.2, 0.3, 0.4]), reference)
    tilt = reference * np.exp(r / beta)
    return problem.solve("dpo", beta).policy, tilt / tilt.sum()
