"""With certain labels squared and hinge stop at 1, logistic does not stop

Theorem. At η = 1 the risk is f itself: (z−1)² is least at 1, max(0, 1−z) from 1 on (its least |z| is taken),
log(1+e^−z) and e^−z have no minimum.

Source: Tang et al. 2024, arXiv 2402.05749 (tails); derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "With certain labels squared and hinge stop at 1, logistic does not stop"
SOURCE = "Tang et al. 2024, arXiv 2402.05749 (tails)"


def compute() -> tuple[object, object]:
    """z*(1) of five losses, and 1, 1, 1, ∞, ∞."""
    names = ("ipo", "slic", "truncated_quadratic", "dpo", "exponential")
    return np.array([float(gpo.optimal_margin(name, 1.0)) for name in names]), np.array([1, 1, 1, np.inf, np.inf])
