"""Label smoothing divides κ's denominator by 1 − 2ε

Theorem. (1−ε) f(z) + ε f(−z) has slope (1−2ε) f′(0) and curvature f″(0) at 0: κ grows by 1/(1−2ε). The robust loss
[(1−ε) f(z) − ε f(−z)]/(1−2ε) has slope f′(0)/(1−2ε) and curvature f″(0): its κ shrinks by 1 − 2ε.

Source: Mitchell 2023 (cDPO); Chowdhury et al. 2024, arXiv 2403.00409; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "Label smoothing divides κ's denominator by 1 − 2ε"
SOURCE = "Mitchell 2023 (cDPO)"


def compute() -> tuple[object, object]:
    """The library's κ of smoothed and robust losses at ε = 1/5, and what the theorem makes of κ."""
    losses = [gpo.get_loss(name) for name in ("dpo", "ipo", "exponential")]
    found = [[f.smoothed(0.2).curvature_ratio, f.robust(0.2).curvature_ratio] for f in losses]
    return np.array(found, dtype=float), np.outer([0.5, 1.0, 1.0], [1 / 0.6, 0.6])
