"""Policies over a finite set of responses: exact population optima, finite data, observed comparisons.

Array conventions: n responses, m contexts (prompts). Preferences (n, n) or (m, n, n), distributions (n,) or (m, n),
``h = log π/πref``, ``ρ = h_i − h_j``, ``z = βρ``. Natural logarithms, nats, float64.
"""

from .comparisons import Comparisons
from .dynamics import train, train_many
from .features import FeatureSolution, solve_features
from .fits import ComparisonFits, FitDifference, fit_comparisons
from .frontier import Frontier, best_of_n, reward_frontier, win_rate, win_rate_frontier
from .gradients import GradientIdentity, gradient_identity, kl_gradient, mu_squared_loss_gradient
from .grid import solve_grid
from .links import LinkFlow, link_flow, link_gradient, off_support_mass
from .mismatch import RegularizerMismatch, chi_squared, regularizer_mismatch
from .nash import NashSolution, nash_policy
from .pairs import DirectedPairs
from .problem import PreferenceProblem
from .reading import read_argument_votes, read_comparisons
from .regularized import regularized_optimum
from .self_play import SelfPlay, self_play
from .solution import Solution
from .solve import solve
from .trajectory import TrainState, Trajectory

__all__ = [
    "FeatureSolution",
    "solve_features",
    "SelfPlay",
    "self_play",
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
    "TrainState",
    "Trajectory",
    "train",
    "train_many",
    "ComparisonFits",
    "Comparisons",
    "DirectedPairs",
    "FitDifference",
    "PreferenceProblem",
    "Solution",
    "fit_comparisons",
    "read_argument_votes",
    "read_comparisons",
    "solve",
    "solve_grid",
]
