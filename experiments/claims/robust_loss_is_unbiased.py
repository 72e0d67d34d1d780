"""Robust DPO's loss averages to the clean one under flipped labels

Theorem. With f_ε(z) = [(1−ε) f(z) − ε f(−z)]/(1−2ε), a label that is flipped with probability ε gives on average
(1−ε) f_ε(z) + ε f_ε(−z) = [(1−ε)² − ε²] f(z)/(1−2ε) = f(z).

Source: Chowdhury et al. 2024, arXiv 2403.00409; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "Robust DPO's loss averages to the clean one under flipped labels"
SOURCE = "Chowdhury et al. 2024, arXiv 2403.00409"


def compute() -> tuple[object, object]:
    """The averaged robust loss, and log(1+e^−z)."""
    z, robust = np.linspace(-6, 6, 25), gpo.get_loss("dpo").robust(0.15)
    return 0.85 * robust(z) + 0.15 * robust(-z), np.logaddexp(0, -z)
