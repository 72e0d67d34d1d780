"""In one feature DPO can go the other way than RLHF, on its own samples too

Theorem. π ∝ πref e^{wφ}. RLHF's objective rises at w = 0 with Cov_πref(φ, r); the DPO loss, convex in w, falls there
with ½β Cov_μ(φ, s), s_i = Σ_j μ_j(2P_ij − 1), so that its optimum has the sign of Cov_μ(φ, s). s saturates where r does
not: for μ = πref uniform, φ = (1, 0, 5), r = (−10, 2, 0) the first is 2 > 0, the second below 0. At β = 20 RLHF's w > 0
gains reward, DPO's w < 0 loses some.

Source: Gopalan, Ray Chowdhury and Banerjee 2025, arXiv 2510.20413: where the reward is not in the class, "preference
order reversal, worsening of policy reward" (its abstract, which was read); the instance and its proof are derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo
from gpo_analysis.tabular import restricted_optimum

CLAIM = "In one feature DPO can go the other way than RLHF, on samples of the reference"
SOURCE = "Gopalan et al. 2025, arXiv 2510.20413 (abstract)"


def compute() -> tuple[object, object]:
    """Signs of both weights, of both changes of the mean reward, and RLHF's slope at the reference."""
    phi, r, mu, beta = np.array([1.0, 0.0, 5.0]), np.array([-10.0, 2.0, 0.0]), np.full(3, 1 / 3), 20.0
    p = gpo.bradley_terry(r)
    rlhf = restricted_optimum(r, mu, phi[:, None], beta)
    dpo = gpo.solve_features(gpo.PreferenceProblem(p, mu, mu), phi[:, None], "dpo", beta)
    s = (2 * p - 1) @ mu
    signs = [rlhf.weights[0], dpo.weights[0], (rlhf.policy - mu) @ r, (dpo.policy - mu) @ r, mu @ ((phi - 2) * s)]
    return np.append(np.sign(signs), mu @ ((phi - 2) * r)), np.array([1.0, -1.0, 1.0, -1.0, -1.0, 2.0])
