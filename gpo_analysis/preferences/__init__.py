"""Preferences ``P[i, j] = p(i ≻ j)`` over n responses: models of them, and how far they are from a total order.

Arrays have shape (..., n, n), entries in [0, 1], ``P[i, j] + P[j, i] = 1`` and therefore ½ on the diagonal.
"""

from .diagnostics import Diagnostics, diagnostics
from .hodge import HodgeSplit, hodge_split
from .models import (
    bradley_terry,
    cyclic,
    deterministic,
    from_counts,
    from_matrix,
    label_noise,
    mixture_of_annotators,
    thurstone,
)
from .pairs import PairShares, pair_shares

__all__ = [
    "Diagnostics",
    "HodgeSplit",
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
    "thurstone",
]
