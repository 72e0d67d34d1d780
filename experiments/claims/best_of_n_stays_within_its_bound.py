"""Best-of-n's KL is at most log n − (n−1)/n

Theorem. For a continuous reward the density of the best of n is n F^(n−1), whose KL is ∫ n u^(n−1) log(n u^(n−1)) du =
log n − (n−1)/n; ties and atoms only lower it (data processing).

Source: Beirami et al. 2024, arXiv 2401.01879; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo
from gpo_analysis.tabular import best_of_n

CLAIM = "Best-of-n's KL is at most log n − (n−1)/n"
SOURCE = "Beirami et al. 2024, arXiv 2401.01879"
KIND = "at most"
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[object, object]:
    """KL of the library's best-of-n policies on 12 responses, and the bound."""
    reference = np.arange(1.0, 13.0) / 78
    ns = np.array([2, 4, 16, 64])
    found = [float(gpo.kl_divergence(best_of_n(np.arange(12.0), reference, int(n)), reference)) for n in ns]
    return np.array(found), np.log(ns) - (ns - 1) / ns
