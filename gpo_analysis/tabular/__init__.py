"""Policies over a finite set of responses: exact population optima, finite data, observed comparisons.

Array conventions: n responses, m contexts (prompts). Preferences (n, n) or (m, n, n), distributions (n,) or (m, n),
``h = log π/πref``, ``ρ = h_i − h_j``, ``z = βρ``. Natural logarithms, nats, float64.
"""

from .comparisons import Comparisons
from .fits import ComparisonFits, FitDifference, fit_comparisons
from .grid import solve_grid
from .pairs import DirectedPairs
from .problem import PreferenceProblem
from .reading import read_argument_votes, read_comparisons
from .solution import Solution
from .solve import solve

__all__ = [
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
