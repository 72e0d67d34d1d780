"""The chosen's mean log-ratio is a difference of preferences less a KL

Theorem. With W the winners' distribution, E_W h = ⟨W − πref, h⟩ − KL(πref‖π), for h = log π/πref: it falls below 0
unless the fit gains more on the winners than the KL costs.

Source: Derived here; likelihood displacement: Razin et al. 2024, arXiv 2410.08847
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo

CLAIM = "The chosen's mean log-ratio is a difference of preferences less a KL"
SOURCE = "Derived here"
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[float, float]:
    """The winners' mean log-ratio at DPO's optimum, and the right-hand side."""
    p = gpo.bradley_terry(np.array([0.0, 0.4, 1.0]))
    mu, reference = np.array([0.3, 0.3, 0.4]), np.array([0.5, 0.3, 0.2])
    winners = 2 * mu * (p @ mu)
    h = np.log(gpo.PreferenceProblem(p, mu, reference).solve("dpo", 0.3).policy / reference)
    return float(winners @ h), float((winners - reference) @ h) + float(reference @ h)
