"""The squared loss equals its second-order expansion at every margin

Theorem. E(βρ − 1)² = 1 − 2β E ρ + 2β² · ½E ρ²: preference term and μ-weighted square loss, without a remainder.

Source: Tang et al. 2024, arXiv 2402.05749, section 4; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "The squared loss equals its second-order expansion at every margin"
SOURCE = "Tang et al. 2024, arXiv 2402.05749"


def compute() -> tuple[float, float]:
    """The population loss of a policy far from πref, and the expansion written out."""
    p = gpo.bradley_terry(np.array([0.0, 2.0, -1.0]))
    mu, reference, policy = np.array([0.2, 0.5, 0.3]), np.array([0.3, 0.3, 0.4]), np.array([0.01, 0.98, 0.01])
    h, beta = np.log(policy / reference), 1.5
    rho = h[:, None] - h
    first, second = 2 * float(mu @ (p * rho) @ mu), 0.5 * float(mu @ rho**2 @ mu)
    found = gpo.PreferenceProblem(p, mu, reference).population_loss(policy, "ipo", beta)
    return float(found), 1 - 2 * beta * first + 2 * beta**2 * second
