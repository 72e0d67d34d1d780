"""The exponential loss fits half the log-odds

Theorem. η e^−z + (1−η) e^z has derivative −η e^−z + (1−η) e^z, zero at e^{2z} = η/(1−η).

Source: Tang et al. 2024, arXiv 2402.05749; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "The exponential loss fits half the log-odds"
SOURCE = "Tang et al. 2024, arXiv 2402.05749"


def compute() -> tuple[object, object]:
    """Minimisers found by the library, and ½ logit η."""
    eta = np.array([0.02, 0.3, 0.77, 0.99])
    return gpo.optimal_margin("exponential", eta), 0.5 * np.log(eta / (1 - eta))
