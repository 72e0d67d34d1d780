"""DPO's optimum ranks a pair right only below a β that πref sets

Theorem. π*(w)/π*(l) = πref(w)/πref(l) · e^{logit η/β}: the winner is the likelier exactly where
β < logit η / log(πref(l)/πref(w)), for πref(l) > πref(w).

Source: Chen et al. 2024, arXiv 2405.19534; derived here
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

import gpo_analysis as gpo

CLAIM = "DPO's optimum ranks a pair right only below a β that πref sets"
SOURCE = "Chen et al. 2024, arXiv 2405.19534"
TOLERANCE = 1e-08
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[float, float]:
    """The β at which the library's optimum has equal probabilities, and the formula."""
    eta, reference = 0.8, np.array([0.1, 0.9])
    p = np.array([[0.5, eta], [1 - eta, 0.5]])
    problem = gpo.PreferenceProblem(p, np.array([0.5, 0.5]), reference)
    found = brentq(lambda beta: float(problem.solve("dpo", beta).policy[0]) - 0.5, 0.1, 5.0, xtol=1e-12)
    return float(found), float(np.log(eta / (1 - eta)) / np.log(9.0))
