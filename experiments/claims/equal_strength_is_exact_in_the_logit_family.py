"""At equal βκ the logit family has one optimum

Theorem. κ z*(η) = ½ logit η for logistic, Savage and exponential alike; on Bradley–Terry preferences their margins
are all of them differences of scores, h = z*/β, the same at equal βκ.

Source: Derived here, for Tang et al. 2024, arXiv 2402.05749
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "At equal βκ the logit family has one optimum"
SOURCE = "Derived here, for Tang et al. 2024, arXiv 2402.05749"
TOLERANCE = 1e-07


def compute() -> tuple[object, object]:
    """Policies of exponential and Savage at βκ = 0.4, and logistic's tilt by r/0.8."""
    r, uniform = np.array([0.5, -0.4, 1.1]), np.full(3, 1 / 3)
    problem = gpo.PreferenceProblem(gpo.bradley_terry(r), uniform, uniform)
    found = [problem.solve(name, beta).policy for name, beta in (("exponential", 0.4), ("savage", 0.8))]
    tilt = np.exp(r / 0.8)
    return np.array(found), np.array([tilt / tilt.sum()] * 2)
