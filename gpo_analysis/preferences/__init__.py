"""Preferences ``P[i, j] = p(i ≻ j)`` over n responses: models of them, and how far they are from a total order.

Arrays have shape (..., n, n), entries in [0, 1], ``P[i, j] + P[j, i] = 1`` and therefore ½ on the diagonal.
"""

from gpo_analysis.preferences.argument_votes import read_argument_votes
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.contests import OUTCOMES, Contests, PairCounts
from gpo_analysis.preferences.diagnostics import Diagnostics, diagnostics
from gpo_analysis.preferences.files import read_comparisons, read_comparisons_by_prompt
from gpo_analysis.preferences.hodge import HodgeSplit, hodge_split
from gpo_analysis.preferences.models import (
    bradley_terry,
    cyclic,
    deterministic,
    from_counts,
    from_matrix,
    label_noise,
    mixture_of_annotators,
    thurstone,
)
from gpo_analysis.preferences.pairs import DirectedPairs
from gpo_analysis.preferences.shares import PairShares, pair_shares

__all__ = [
    "OUTCOMES",
    "Comparisons",
    "Contests",
    "Diagnostics",
    "DirectedPairs",
    "HodgeSplit",
    "PairCounts",
    "PairShares",
    "bradley_terry",
    "cyclic",
    "deterministic",
    "diagnostics",
    "from_counts",
    "from_matrix",
    "hodge_split",
    "label_noise",
    "mixture_of_annotators",
    "pair_shares",
    "read_argument_votes",
    "read_comparisons",
    "read_comparisons_by_prompt",
    "thurstone",
]
