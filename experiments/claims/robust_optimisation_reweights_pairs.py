"""KL-robust DPO is DPO with pairs weighted by the exponential of their loss

Theorem. sup over Q of E_Q ℓ − τ KL(Q‖P) is τ log E_P e^{ℓ/τ}, attained at Q ∝ P e^{ℓ/τ}; by the envelope theorem
its gradient is that of E_Q ℓ with Q held fixed: hard pairs weigh more.

Source: arXiv 2407.07880 and 2502.01930; derived here
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, softmax

import gpo_analysis as gpo

CLAIM = "KL-robust DPO is DPO with pairs weighted by the exponential of their loss"
SOURCE = "arXiv 2407.07880 and 2502.01930"
TOLERANCE = 1e-08
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[float, float]:
    """Slope in a common shift of margins by central differences, and the weighted mean of f′."""
    z, tau, step, f = np.array([-1.0, 0.2, 0.9, 3.0]), 0.4, 1e-5, gpo.get_loss("dpo")

    def robust(shift: float) -> float:
        return float(tau * logsumexp(f(z + shift) / tau, b=0.25))

    weights = softmax(f(z) / tau)
    return (robust(step) - robust(-step)) / (2 * step), float(weights @ f.derivative(z))
