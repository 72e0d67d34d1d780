"""A regression of reward differences on the policy's own samples has RLHF's stationary points, in any class

Theorem. For π ∝ πref e^{Φw} and pairs of π itself, held fixed, the slope of ½E(r_i − r_j − β(h_i − h_j))² in w is
−2β Cov_π(φ, r − βh), and that of E_π[r] − β KL(π‖πref) is Cov_π(φ, r − βh): one vanishes where the other does. On
pairs of a fixed μ the regression ends where Cov_μ(φ, r − βh) = 0: elsewhere, if the class cannot hold r.

Source: arXiv 2404.16767 (REBEL) and 2505.19770 (online DPO); derived here
"""

from __future__ import annotations

import numpy as np

from gpo_analysis.tabular import restricted_optimum

CLAIM = "A regression of reward differences on the policy's own samples is RLHF, in any class"
SOURCE = "arXiv 2404.16767, 2505.19770"
TOLERANCE = 1e-08
REMEMBERED = True  # the papers were not read for this file; its derivation stands above


def compute() -> tuple[object, object]:
    """The fixed point of regressions on π's own pairs, and RLHF's policy in the class."""
    phi, r, beta = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [1.0, 3.0]]), np.array([0.0, 1.0, 0.4, 0.8]), 0.7
    reference = np.array([0.4, 0.3, 0.2, 0.1])

    def regressed(mu: np.ndarray) -> np.ndarray:
        centred = phi - mu @ phi
        return np.asarray(np.linalg.solve((centred.T * mu) @ centred, (centred.T * mu) @ r) / beta)

    def policy(w: np.ndarray) -> np.ndarray:
        tilted = reference * np.exp(phi @ w)
        return np.asarray(tilted / tilted.sum())

    offline = w = regressed(reference)
    for _ in range(400):
        w = 0.5 * w + 0.5 * regressed(policy(w))
    best = restricted_optimum(r, reference, phi, beta)
    assert np.abs(policy(offline) - best.policy).max() > 1e-3
    return policy(w), best.policy
