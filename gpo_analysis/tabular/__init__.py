"""Policies over a finite set of responses: exact population optima, finite data, observed comparisons.

Array conventions: n responses, m contexts (prompts). Preferences (n, n) or (m, n, n), distributions (n,) or (m, n),
``h = log π/πref``, ``ρ = h_i − h_j``, ``z = βρ``. Natural logarithms, nats, float64.
"""

from gpo_analysis.tabular.features import FeatureSolution, solve_features
from gpo_analysis.tabular.frontier import Frontier, best_of_n, reward_frontier, win_rate, win_rate_frontier
from gpo_analysis.tabular.gradients import GradientIdentity, gradient_identity, kl_gradient, mu_squared_loss_gradient
from gpo_analysis.tabular.grid import fit, solve_grid
from gpo_analysis.tabular.implicit_reward import Fit
from gpo_analysis.tabular.kto import SelfConsistentKTO, self_consistent_kto
from gpo_analysis.tabular.lengths import orpo, solve_sequences, tilted_by_length
from gpo_analysis.tabular.links import LinkFlow, link_flow, link_gradient, off_support_mass
from gpo_analysis.tabular.mismatch import RegularizerMismatch, chi_squared, regularizer_mismatch
from gpo_analysis.tabular.nash import NashSolution, nash_policy
from gpo_analysis.tabular.prefix_tree import PrefixTree
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.tabular.regularized import regularized_optimum
from gpo_analysis.tabular.restricted import RestrictedOptimum, restricted_optimum
from gpo_analysis.tabular.reward_shape import shaped_by_length
from gpo_analysis.tabular.sequence_descent import descend_sequences
from gpo_analysis.tabular.sequence_solution import SequenceSolution
from gpo_analysis.tabular.solution import Solution

__all__ = [
    "PrefixTree",
    "SelfConsistentKTO",
    "SequenceSolution",
    "self_consistent_kto",
    "descend_sequences",
    "orpo",
    "shaped_by_length",
    "solve_sequences",
    "tilted_by_length",
    "FeatureSolution",
    "solve_features",
    "LinkFlow",
    "link_flow",
    "link_gradient",
    "off_support_mass",
    "RegularizerMismatch",
    "chi_squared",
    "regularizer_mismatch",
    "Frontier",
    "best_of_n",
    "reward_frontier",
    "win_rate",
    "win_rate_frontier",
    "GradientIdentity",
    "gradient_identity",
    "kl_gradient",
    "mu_squared_loss_gradient",
    "NashSolution",
    "nash_policy",
    "regularized_optimum",
    "RestrictedOptimum",
    "restricted_optimum",
    "PreferenceProblem",
    "Solution",
    "Fit",
    "fit",
    "solve_grid",
]
