"""Noise-robust symmetric losses have no second-order regularizer

Theorem. If f(z) + f(−z) is constant, label noise ε turns E f into (1−2ε) E f + const, which keeps its minimisers;
and f″(z) = −f″(−z), so that f″(0) = 0 and κ = 0. For instance 1/(1+e^z).

Source: arXiv 2505.24709 (symmetric losses); derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "Noise-robust symmetric losses have no second-order regularizer"
SOURCE = "arXiv 2505.24709 (symmetric losses)"
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[object, object]:
    """κ of two symmetric losses typed in, and 0."""
    losses = [gpo.parse_loss("1/(1+exp(z))"), gpo.parse_loss("1 - tanh(3*z)")]
    return np.array([float(f.curvature_ratio) for f in losses]), np.zeros(2)
