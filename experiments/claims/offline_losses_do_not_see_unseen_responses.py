"""Mass moved to a response that μ never draws costs an offline loss nothing

Theorem. The loss depends on log-ratios of drawn responses alone, up to a constant: scaling π on μ's support by any
factor and giving the rest to unseen responses leaves every f unchanged. RLHF's KL grows without bound.

Source: Song et al. 2024, arXiv 2406.01462 (coverage); derived here
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "Mass moved to a response that μ never draws costs an offline loss nothing"
SOURCE = "Song et al. 2024, arXiv 2406.01462 (coverage)"
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[object, object]:
    """Losses of a policy with 97 % of its mass on the unseen response, and of one with 10 %."""
    p = gpo.bradley_terry(np.array([0.0, 1.0, 5.0]))
    problem = gpo.PreferenceProblem(p, np.array([0.5, 0.5, 0.0]), np.array([0.4, 0.4, 0.2]))
    far, near = np.array([0.01, 0.02, 0.97]), np.array([0.3, 0.6, 0.1])
    names = ("dpo", "ipo", "slic", "exponential")
    return tuple(np.array([problem.population_loss(q, f, 0.5) for f in names], float) for q in (far, near))  # type: ignore[return-value]
