"""The logistic loss fits the logit

Theorem. η log(1 + e^−z) + (1−η) log(1 + e^z) is least at z = log(η/(1−η)): its slope there is (1−η)σ(z) − ησ(−z) = 0.

Source: derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "the logistic loss fits the logit (template)"
SOURCE = "derived here"


def compute() -> tuple[object, object]:
    """Minimisers found by the library, and the logit."""
    eta = np.array([0.1, 0.5, 0.8])
    return gpo.optimal_margin("logistic", eta), np.log(eta / (1 - eta))
