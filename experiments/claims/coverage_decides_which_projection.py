"""Coverage: the squared loss gives RLHF's answer in every class only on the optimum's own pairs

Theorem. Least squares of reward differences in a class π ∝ πref e^{Φw}, pairs from μ, ends where Cov_μ(φ, r − βh) = 0,
and RLHF within the class where Cov_π(φ, r − βh) = 0 at π itself. So μ = RLHF's own optimum gives it back in one
regression, and where the class holds r every μ that tells the features apart does, whatever else it leaves out.

Source: derived here; coverage: arXiv 2406.01462 (the role of coverage in online and offline preference fine-tuning)
"""

from __future__ import annotations

import numpy as np

from gpo_analysis.tabular import restricted_optimum

CLAIM = "In a class that cannot hold the reward a regression is RLHF on RLHF's own pairs"
SOURCE = "derived here; arXiv 2406.01462"
REMEMBERED = True  # the paper was not read for this file; its derivation stands above


def compute() -> tuple[object, object]:
    """Weights regressed on RLHF's pairs, and on two of four responses where the class holds r; RLHF's."""
    phi, beta = np.array([0.0, 1.0, 2.0, 4.0]), 0.8
    reference = np.array([0.4, 0.3, 0.2, 0.1])

    def regressed(r: np.ndarray, mu: np.ndarray) -> float:
        centred = phi - mu @ phi
        return float((mu * centred) @ r / ((mu * centred) @ phi) / beta)

    crooked, held = np.array([0.0, 1.0, 0.3, 0.9]), 0.5 * phi
    best = [restricted_optimum(r, reference, phi[:, None], beta) for r in (crooked, held)]
    computed = [regressed(crooked, best[0].policy), regressed(held, np.array([0.5, 0.5, 0.0, 0.0]))]
    assert abs(regressed(crooked, reference) - best[0].weights[0]) > 1e-3
    return np.array(computed), np.array([one.weights[0] for one in best])
