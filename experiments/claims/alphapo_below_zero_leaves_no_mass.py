"""AlphaPO with α < 0 has SimPO's margins, or leaves some response without any mass

Theorem. Rewards r = β(1 − p^(−α))/α, p = π^{1/T}, are at least −β/|α| for α < 0, with equality at π = 0. Let a policy
minimise E f(r_w − r_l), f convex, and not fit f's own margins. Were all π_i > 0, then ∂L/∂r_i + λ ∂π_i/∂r_i = 0 with
∂π_i/∂r_i > 0; a constant added to r changes no margin, Σ ∂L/∂r_i = 0, so λ = 0: the margins would be f's own. So some
π_i = 0. For two responses of one token, α = −1, r = β(π − 1): r_1 − r_2 = β(2π_1 − 1) ≤ β, reached at π = (1, 0) where
f wants more, and else π_1 = ½ + m/(2β) with m the margin that f fits.

Source: derived here; the reward: AlphaPO, arXiv 2501.03884, as CPOTrainer of TRL 1.16 executes it
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo
from gpo_analysis.tabular import PrefixTree, solve_sequences

CLAIM = "AlphaPO with α < 0 fits a convex f's margins, or leaves a response without mass"
SOURCE = "derived here; AlphaPO, arXiv 2501.03884"
REMEMBERED = True  # the paper's formula was read in TRL's code; the theorem is derived above


def compute() -> tuple[object, object]:
    """π_1 for P_12 = 0.9 at five β for two losses, and how many have no mass on six words at α = −¼, β = 0.4."""
    tree, two = PrefixTree(letters=2, depth=1, stop=0.5), np.array([[0.5, 0.9], [0.1, 0.5]])
    margin = {"dpo": np.log(9.0), "ipo": 0.8}
    beta = np.array([0.3, 0.8, 2.0, 3.0, 30.0])
    mean, pair = "mean_without_reference", tree.problem(two)
    found = [solve_sequences(tree, pair, f, b, reduction=mean, alpha=-1.0).policy[0] for f in margin for b in beta]
    stated = [min(1.0, 0.5 + m / (2 * b)) for m in margin.values() for b in beta]
    words = PrefixTree(letters=2, depth=2, stop=0.4)
    steep = words.problem(gpo.bradley_terry(np.arange(6.0)))
    none = solve_sequences(words, steep, "dpo", 0.4, reduction=mean, alpha=-0.25).policy == 0
    return np.array([*found, float(none.any())]), np.array([*stated, 1.0])
