"""IPO's two-action policy is σ(1/(2τ))

Theorem. One response always wins, πref and μ are uniform: IPO wants ρ = 1/(2τ), and two responses have log-odds ρ.
DPO would have put all mass on the winner at every τ.

Source: Azar et al. 2023, arXiv 2310.12036, section 5; derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "IPO's two-action policy is σ(1/(2τ))"
SOURCE = "Azar et al. 2023, arXiv 2310.12036"


def compute() -> tuple[object, object]:
    """p(winner) of the population optimum at GPO's β = 2τ, and σ(1/(2τ))."""
    taus, half = np.array([0.1, 0.5, 1.0, 5.0]), np.array([0.5, 0.5])
    problem = gpo.PreferenceProblem(np.array([[0.5, 1.0], [0.0, 0.5]]), half, half)
    return np.array([problem.solve("ipo", 2 * t).policy[0] for t in taus]), 1 / (1 + np.exp(-0.5 / taus))
