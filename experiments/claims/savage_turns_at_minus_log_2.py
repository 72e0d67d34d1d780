"""Savage's loss is not convex below −log 2

Theorem. With p = 1/(1+e^z), f = p² and p′ = −p(1−p): f′ = −2p²(1−p) and f″ = 2p²(1−p)(2 − 3p), which is negative
where p > 2/3, that is z < −log 2.

Source: Tang et al. 2024, arXiv 2402.05749, Table 1 (the f); the rest derived here
"""

from __future__ import annotations

import math

from scipy.optimize import brentq

import gpo_analysis as gpo

CLAIM = "Savage's loss is not convex below −log 2"
SOURCE = "Tang et al. 2024, arXiv 2402.05749, Table 1 (the f)"


def compute() -> tuple[float, float]:
    """The zero of the library's second derivative, and −log 2."""
    savage = gpo.get_loss("savage")
    return float(brentq(lambda z: float(savage.derivative(z, 2)), -2.0, 1.0, xtol=1e-13)), -math.log(2)
