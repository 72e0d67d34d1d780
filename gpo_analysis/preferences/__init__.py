"""Preferences ``P[i, j] = p(i ≻ j)`` over n responses: models of them, and how far they are from a total order.

Arrays have shape (..., n, n), entries in [0, 1], ``P[i, j] + P[j, i] = 1`` and therefore ½ on the diagonal.
"""

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

__all__ = [
    "bradley_terry",
    "cyclic",
    "deterministic",
    "from_counts",
    "from_matrix",
    "label_noise",
    "mixture_of_annotators",
    "thurstone",
]
