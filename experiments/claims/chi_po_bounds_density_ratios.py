"""χPO's density ratio is bounded by its reward's range, DPO's by its exponential

Theorem. With link t + log t, some response has t ≤ 1, so that the constant is c ≤ 1 − u_i and the largest ratio has
t + log t ≤ 1 + range(r)/β; where t ≥ 1 its logarithm is not negative: t ≤ 1 + range(r)/β.

Source: Huang et al. 2024, arXiv 2407.13399 (the link); derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "χPO's density ratio is bounded by its reward's range, DPO's by its exponential"
SOURCE = "Huang et al. 2024, arXiv 2407.13399 (the link)"
KIND = "at most"
TOLERANCE = 1e-08


def compute() -> tuple[object, object]:
    """Largest π/πref of χPO's optima on Bradley–Terry preferences, and the bound."""
    r, reference = np.array([0.0, 1.5, 3.0]), np.array([0.98, 0.015, 0.005])
    problem = gpo.PreferenceProblem(gpo.bradley_terry(r), np.full(3, 1 / 3), reference)
    betas = np.array([0.05, 0.2, 1.0])
    found = [float((problem.solve("dpo", b, link="chi_po").policy / reference).max()) for b in betas]
    return np.array(found), 1 + 3.0 / betas
