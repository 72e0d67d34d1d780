"""DPO's loss fits the log-odds

Theorem. The minimiser of η log(1+e^−z) + (1−η) log(1+e^z) is z = logit η: its derivative is σ(z) − η.

Source: Rafailov et al. 2023, arXiv 2305.18290; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "DPO's loss fits the log-odds"
SOURCE = "Rafailov et al. 2023, arXiv 2305.18290"


def compute() -> tuple[object, object]:
    """Minimisers found by the library, and logit η."""
    eta = np.array([0.02, 0.3, 0.5, 0.77, 0.99])
    return gpo.optimal_margin("dpo", eta), np.log(eta / (1 - eta))
