"""Pushing an unlikely response down raises the likeliest one most

Theorem. A step −t ∇log π(l) on logits changes log π_i by t π_i − t 1[i = l] + const: among the others the gain is
largest where π_i is, so that mass goes to the mode (squeezing).

Source: Ren and Sutherland 2024, arXiv 2407.10490; derived here
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, softmax

CLAIM = "Pushing an unlikely response down raises the likeliest one most"
SOURCE = "Ren and Sutherland 2024, arXiv 2407.10490"
TOLERANCE = 1e-06
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[object, object]:
    """Differences of log π's gains against the mode after a small step, and t(π_i − π_mode)."""
    logits, t, pushed = np.array([2.0, 1.0, 0.0, -3.0]), 1e-6, 3
    pi = softmax(logits)
    moved = log_softmax(logits - t * (np.eye(4)[pushed] - pi)) - log_softmax(logits)
    return (moved - moved[0])[:3] / t, (pi - pi[0])[:3]
