"""In a class that cannot hold the reward the fit projects onto it, and can reverse the reward

Theorem. For h = θφ + const the squared loss is Σ μ_i μ_j (βθ(φ_i − φ_j) − Y_ij)², least at βθ = Cov_μ(φ, s)/Var_μ(φ),
s_i = Σ_j μ_j Y_ij. Its sign depends on μ: here E_π r under uniform πref would grow with θ, and the fit has θ < 0.

Source: arXiv 2510.20413 (misspecified DPO); derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "In a class that cannot hold the reward the fit projects onto it, and can reverse the reward"
SOURCE = "arXiv 2510.20413 (misspecified DPO)"
TOLERANCE = 1e-07
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[object, object]:
    """The fitted log-ratios along a one-dimensional feature, and the projection."""
    phi, r, beta = np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.0, 3.0]), 0.5
    mu, uniform = np.array([0.6, 0.38, 0.02]), np.full(3, 1 / 3)
    p = gpo.bradley_terry(r)
    solved = gpo.solve_features(gpo.PreferenceProblem(p, mu, uniform), phi[:, None], "ipo", beta)
    s = (2 * p - 1) @ mu
    theta = (mu @ (phi * s) - (mu @ phi) * (mu @ s)) / (mu @ phi**2 - (mu @ phi) ** 2) / beta
    h = np.log(solved.policy)
    assert theta < 0 < uniform @ (phi * r) - (uniform @ phi) * (uniform @ r)
    return np.diff(h), theta * np.diff(phi)
