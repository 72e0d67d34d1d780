"""The regularized Nash policy is πref tilted by its own win rates

Theorem. The symmetric equilibrium of P(π ≻ π′) − τ KL(π‖πref) + τ KL(π′‖πref) is its own best response,
π ∝ πref exp(Pπ/τ).

Source: Munos et al. 2023, arXiv 2312.00886; derived here
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

import gpo_analysis as gpo

CLAIM = "The regularized Nash policy is πref tilted by its own win rates"
SOURCE = "Munos et al. 2023, arXiv 2312.00886"
TOLERANCE = 1e-08
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[object, object]:
    """The library's equilibrium, and a damped iteration of the tilt."""
    p = np.array([[0.5, 0.8, 0.1], [0.2, 0.5, 0.7], [0.9, 0.3, 0.5]])
    reference, tau = np.array([0.5, 0.3, 0.2]), 0.3
    logits = np.log(reference)
    for _ in range(2000):
        logits = 0.9 * logits + 0.1 * (np.log(reference) + p @ softmax(logits) / tau)
    return np.asarray(gpo.nash_policy(p, reference, tau)), softmax(logits)
