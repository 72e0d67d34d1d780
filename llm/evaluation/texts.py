"""Lengths, repetition and variety of responses, and a table of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def distinct(tokens: Sequence[Sequence[int]], n: int) -> float:
    """Share of n-grams, over all responses, that are distinct; NaN where no response has n tokens.

    Examples
    --------
    >>> distinct([[1, 2, 1, 2], [1, 2]], 2)  # (1,2) (2,1) (1,2) (1,2)
    0.5
    """
    grams = [tuple(row[i : i + n]) for row in tokens for i in range(len(row) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def describe(tokens: Sequence[Sequence[int]], finished: ArrayLike) -> dict[str, float]:
    """``length`` and ``length_sd`` in tokens, ``finished``, ``distinct_1``, ``_2``, ``_3``, ``distinct_responses``."""
    lengths = np.array([len(row) for row in tokens], dtype=np.float64)
    found = {
        "length": float(lengths.mean()),
        "length_sd": float(lengths.std()),
        "finished": float(np.mean(np.asarray(finished))),
        "distinct_responses": len({tuple(row) for row in tokens}) / len(tokens),
    }
    return found | {f"distinct_{n}": distinct(tokens, n) for n in (1, 2, 3)}


def dependence(values: ArrayLike, lengths: ArrayLike) -> tuple[float, float]:
    """Slope (a unit of the value for each token) and correlation of values with lengths; 0 where one does not vary.

    Examples
    --------
    >>> slope, correlation = dependence([1.0, 2.0, 3.0], [2, 4, 6])
    >>> round(slope, 6), round(correlation, 6)
    (0.5, 1.0)
    """
    y, x = np.asarray(values, dtype=np.float64), np.asarray(lengths, dtype=np.float64)
    if x.std() == 0 or y.std() == 0:
        return 0.0, 0.0
    covariance = float(np.mean((x - x.mean()) * (y - y.mean())))
    return covariance / float(x.var()), covariance / float(x.std() * y.std())
