"""EXO regularizes with κ = 1/logit(1 − ε)

Theorem. f(z) = KL(Bernoulli σ(z) ‖ Bernoulli(1−ε)); with p = σ(z), df/dp = logit p − logit(1−ε), p′ = ¼ and p″ = 0
at 0: f′(0) = −¼ logit(1−ε), f″(0) = p′² /(p(1−p)) = ¼.

Source: Ji et al. 2024, arXiv 2402.00856, eq. 16; derived here
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, rel_entr

CLAIM = "EXO regularizes with κ = 1/logit(1 − ε)"
SOURCE = "Ji et al. 2024, arXiv 2402.00856, eq. 16"
TOLERANCE = 1e-05


def compute() -> tuple[object, object]:
    """κ by finite differences of the divergence, and the formula."""
    epsilons, step = np.array([1e-3, 0.05, 0.2]), 1e-3
    found = []
    for e in epsilons:
        low, middle, high = (float(rel_entr([p, 1 - p], [1 - e, e]).sum()) for p in expit([-step, 0.0, step]))
        found.append((high - 2 * middle + low) / step**2 / abs((high - low) / (2 * step)))
    return np.array(found), 1 / np.log((1 - epsilons) / epsilons)
