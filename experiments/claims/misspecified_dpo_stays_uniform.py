"""A class in which DPO's optimum is the uniform policy and RLHF's is not

Theorem. π ∝ e^{wφ}, μ = πref uniform. The DPO loss is convex in w with slope −½β Cov_μ(φ, s) at 0, s_i = Σ_j
μ_j(2P_ij − 1): where this vanishes its optimum is w = 0, the uniform policy, whatever β. RLHF stays there only where
Cov_μ(φ, r) vanishes as well. For φ = (1, 0, 5) and r = (−x, y, 0) the one is s·(φ − 2) = 0, the other x = 2y. For x =
10 the first has a root y between 0 and 5, which is not 5, so that RLHF moves, and gains.

Source: Shi et al. 2025, arXiv 2505.19770v1, appendix: a log-linear bandit of three actions in which DPO's solution is
uniform whatever the reward's size and β, and RLHF's is not (its words were read, the copy lacks its numbers); the
instance and its proof are derived here
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

import gpo_analysis as gpo
from gpo_analysis.tabular import restricted_optimum

CLAIM = "There is a log-linear class in which DPO's optimum is uniform and RLHF's is not"
SOURCE = "Shi et al. 2025, arXiv 2505.19770v1 (appendix)"
TOLERANCE = 1e-07


def compute() -> tuple[object, object]:
    """DPO's policies at three β beside the uniform one, while RLHF gains."""
    phi, mu = np.array([1.0, 0.0, 5.0]), np.full(3, 1 / 3)

    def reward(y: float) -> np.ndarray:
        return np.array([-10.0, y, 0.0])

    def slope(y: float) -> float:
        return float((phi - 2) @ ((2 * gpo.bradley_terry(reward(y)) - 1) @ mu))

    r = reward(brentq(slope, 0.0, 5.0, xtol=1e-15))
    rlhf = restricted_optimum(r, mu, phi[:, None], 20.0)
    assert (rlhf.policy - mu) @ r > 0.01
    problem = gpo.PreferenceProblem(gpo.bradley_terry(r), mu, mu)
    found = [gpo.solve_features(problem, phi[:, None], "dpo", beta).policy for beta in (2.0, 20.0, 200.0)]
    return np.array(found), np.tile(mu, (3, 1))
