"""The μ-weighted square loss is the variance of the log-ratio

Theorem. For two independent draws, ½E[(h − h′)²] = Var_μ(h), h = log π/πref.

Source: Tang et al. 2024, arXiv 2402.05749, eq. 7 (the loss); derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "The μ-weighted square loss is the variance of the log-ratio"
SOURCE = "Tang et al. 2024, arXiv 2402.05749, eq. 7 (the loss)"


def compute() -> tuple[float, float]:
    """The library's loss, and the sum over all pairs."""
    p, q, mu = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.1, 0.3])
    h = np.log(p / q)
    return float(gpo.mu_squared_loss(p, q, mu)), 0.5 * float(mu @ (h[:, None] - h) ** 2 @ mu)
