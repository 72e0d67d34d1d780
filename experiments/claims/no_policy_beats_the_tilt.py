"""No policy has more reward than the tilt of equal KL

Theorem. By Gibbs, E_π r − λ KL(π‖πref) ≤ λ log E_πref exp(r/λ), with equality for the tilt: at equal KL the tilt has
the largest mean reward.

Source: Standard; derived here
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

import gpo_analysis as gpo

CLAIM = "No policy has more reward than the tilt of equal KL"
SOURCE = "Standard"
KIND = "at most"
TOLERANCE = 1e-06


def compute() -> tuple[object, object]:
    """Rewards of 50 random policies, and of the tilts with their KL (found by bisection)."""
    rng, r = np.random.default_rng(0), np.array([0.0, 1.0, 3.0, -1.0])
    reference = np.array([0.4, 0.3, 0.1, 0.2])
    policies = rng.dirichlet(np.full(4, 0.5), 50)

    def tilt(log_strength: float) -> np.ndarray:
        return np.asarray(gpo.regularized_optimum(r, reference, float(np.exp(-log_strength))))

    best = []
    for policy in policies:
        kl = min(float(gpo.kl_divergence(policy, reference)), -float(np.log(0.1)) - 1e-3)
        at = brentq(lambda s, kl=kl: float(gpo.kl_divergence(tilt(s), reference)) - kl, -20, 12)
        best.append(tilt(at) @ r)
    return policies @ r, np.array(best)
