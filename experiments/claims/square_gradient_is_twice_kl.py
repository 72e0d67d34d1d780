"""On-policy the square loss has twice the gradient of KL

Theorem. With μ = π held fixed, ∇ Var_μ(h) = 2 Cov_π(h, ∇ log π) = 2 ∇ KL(π‖πref), since E_π ∇ log π = 0. The paper's
equality without the 2 is for another constant before ρ².

Source: Tang et al. 2024, arXiv 2402.05749, section 4; the constant derived here
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import softmax

import gpo_analysis as gpo

CLAIM = "On-policy the square loss has twice the gradient of KL"
SOURCE = "Tang et al. 2024, arXiv 2402.05749"
TOLERANCE = 1e-07


def compute() -> tuple[object, object]:
    """Central differences of both along each logit."""
    logits, q, step = np.array([0.4, -0.2, 1.0]), np.array([0.2, 0.5, 0.3]), 1e-5
    pi = softmax(logits)

    def slope(value: Callable[[np.ndarray], object]) -> np.ndarray:
        ways = step * np.eye(3)
        return np.array([(float(value(logits + w)) - float(value(logits - w))) / (2 * step) for w in ways])  # type: ignore[arg-type]

    square = slope(lambda x: gpo.mu_squared_loss(softmax(x), q, pi))
    return square, 2 * slope(lambda x: gpo.kl_divergence(softmax(x), q))
