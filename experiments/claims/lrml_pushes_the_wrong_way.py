"""DiscoPOP's loss starts with a positive slope

Theorem. f(z) = (1−s) log(1+e^−z) + s e^−z with s = σ(20 z). At 0: s = ½, s′ = 5, so that f′(0) = ½(−½) + ½(−1) +
5 (1 − log 2) = 17/4 − log 32 > 0: margins are pushed the wrong way at πref.

Source: Lu et al. 2024, arXiv 2406.08414 (the loss); derived here
"""

from __future__ import annotations

import math

import gpo_analysis as gpo

CLAIM = "DiscoPOP's loss starts with a positive slope"
SOURCE = "Lu et al. 2024, arXiv 2406.08414 (the loss)"
TOLERANCE = 1e-06


def compute() -> tuple[float, float]:
    """The slope at 0 by finite differences of the library's code, and 17/4 − log 32."""
    f, step = gpo.get_loss("discopop"), 1e-5
    return float(f(step) - f(-step)) / (2 * step), 17 / 4 - math.log(32)
