"""AlphaPO's optimum tends to SimPO's as α → 0, and has the same margins at every α > 0

Theorem. r = β(1 − p^(−α))/α tends to β log p, SimPO's reward, p = π^{1/T}. For α > 0 every real vector of rewards up
to 0 is some p's: with g the rewards that f fits, p_i = (1 + α(c − g_i)/β)^{−1/α} has Σ p_i^{T_i} fall from above 1 to 0
in c, so that one policy has exactly f's margins, as SimPO's has: the losses' minima are equal, the policies are not.

Source: derived here, for AlphaPO, arXiv 2501.03884; its reward as CPOTrainer of TRL 1.16 executes it
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo
from gpo_analysis.tabular import PrefixTree, solve_sequences

CLAIM = "AlphaPO has SimPO's margins at every α > 0, and SimPO's optimum as α → 0"
SOURCE = "AlphaPO, arXiv 2501.03884"
TOLERANCE = 1e-7
REMEMBERED = True  # the reward was read in TRL's code, the paper was not; the derivation stands above


def compute() -> tuple[object, object]:
    """Minima and rewards' differences at α = 0.1, 1, 3 beside SimPO's; then the policy at α = 1e-9 beside SimPO's."""
    tree, beta = PrefixTree(letters=2, depth=3, stop=0.4), 2.0
    problem = tree.problem(gpo.bradley_terry(np.sin(np.arange(float(tree.n)))))
    simpo = solve_sequences(tree, problem, "dpo", beta, reduction="mean_without_reference")
    margins = np.diff(beta * np.log(simpo.policy) / tree.lengths)
    computed, stated = [], []
    for alpha in (0.1, 1.0, 3.0, 1e-9):
        found = solve_sequences(tree, problem, "dpo", beta, reduction="mean_without_reference", alpha=alpha)
        rewards = -beta * np.expm1(-alpha * np.log(found.policy) / tree.lengths) / alpha
        computed += [found.population_loss, *np.diff(rewards)]
        stated += [simpo.population_loss, *margins]
    return np.append(computed, found.policy), np.append(stated, simpo.policy)
