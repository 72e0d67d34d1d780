"""For one Gaussian the μ-weighted square loss is quadratic in the shift

Theorem. log N(y−c)/N(y) = (cy − c²/2)/σ², whose variance under μ is c² Var_μ(y)/σ⁴: one minimum, at c = 0. The
paper's counterexample therefore needs a mixture.

Source: Tang et al. 2024, arXiv 2402.05749, section 4 (the counterexample); derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "For one Gaussian the μ-weighted square loss is quadratic in the shift"
SOURCE = "Tang et al. 2024, arXiv 2402.05749"
TOLERANCE = 1e-06


def compute() -> tuple[object, object]:
    """The library's quadrature, and c² s²/σ⁴."""
    shifts = np.array([-2.0, 0.3, 1.5])
    reference = gpo.GaussianMixture([1.0], [0.0], [0.8])
    behavior = gpo.GaussianMixture([1.0], [0.5], [0.6])
    found = [float(gpo.mu_squared_loss(reference.shifted(c), reference, behavior)) for c in shifts]
    return np.array(found), shifts**2 * 0.36 / 0.8**4
