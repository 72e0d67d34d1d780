"""Compared pairs with the share of wins of the first: the form in which diagnostics read matrices and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.labels import common_items, in_order
from gpo_analysis.preferences.validation import as_floats, check_preference
from gpo_analysis.showing import Shown


@dataclass(frozen=True, eq=False)
class PairShares(Shown):
    """Pairs first < second, each once; arrays of shape (e,).

    Attributes
    ----------
    n : int
        Number of responses.
    first, second : array of int
    share : array
        ``P[first, second]`` in [0, 1].
    weight : array
        Above 0, in units of the largest (to a power of two): ratios alone count.
    """

    n: int
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    share: NDArray[np.float64]
    weight: NDArray[np.float64]

    _no_plot = "it is the rows that others count; diagnostics draws them"


def pair_shares(
    preference: ArrayLike | Comparisons, weights: ArrayLike | None = None, *, items: Sequence[str] | None = None
) -> PairShares:
    """Pairs of a preference matrix, or of observed comparisons.

    Parameters
    ----------
    preference : array, shape (n, n), or Comparisons
    weights : array, shape (n,) or (n, n), optional
        Of a matrix: μ, which gives pairs the weight μ_i μ_j, or symmetric pair weights; a weight of 0 says "not
        compared". Ones by default. Comparisons bring their counts.
    items : sequence of str, optional
        In whose order labelled tables are put; that of the matrix by default.

    Raises
    ------
    ValueError
        For bad preferences or weights, or where no pair is left.
    """
    if isinstance(preference, Comparisons):
        if weights is not None:
            raise ValueError("observed comparisons bring their own weights, their counts: give no weights beside them")
        return _from_comparisons(preference)
    items = common_items(items, preference, weights)
    matrix = check_preference(preference, items=items)
    if matrix.ndim != 2:
        raise ValueError(f"preference must have shape (n, n), got {matrix.shape}")
    n = len(matrix)
    given = np.ones((n, n)) if weights is None else _weights(weights, items)
    if given.shape == (n,):
        given = given[:, None] * given[None, :] if np.all(given >= 0) else np.full((n, n), np.nan)
    if given.shape != (n, n) or not np.isfinite(given).all() or np.any(given < 0) or not np.allclose(given, given.T):
        raise ValueError(
            f"weights must be finite and at least 0, of shape ({n},), or symmetric of shape ({n}, {n}); "
            f"got {weights!r:.120}"
        )
    first, second = np.nonzero(np.triu(given, 1))
    if not len(first):
        raise ValueError("no pair of different responses has a weight above 0")
    return PairShares(n, first, second, matrix[first, second], _relative(given[first, second]))


def _weights(weights: ArrayLike, items: Sequence[str] | None) -> NDArray[np.float64]:
    return as_floats(in_order(weights, "weights", items, square=np.ndim(weights) == 2), "weights")


def _relative(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exact but for weights 1e308 times smaller than the largest, so that no sum of squares over- or underflows."""
    scaled = np.ldexp(weight, -int(np.frexp(weight.max())[1]))
    return np.maximum(scaled, np.finfo(np.float64).tiny)


def _from_comparisons(comparisons: Comparisons) -> PairShares:
    seen, n = comparisons.aggregated(), comparisons.n
    low, high = np.minimum(seen.winner, seen.loser), np.maximum(seen.winner, seen.loser)
    key, where = np.unique(low * n + high, return_inverse=True)
    total = np.bincount(where, seen.count).astype(np.float64)
    wins = np.bincount(where, np.where(seen.winner == low, seen.count, 0.0))
    first = key // n
    return PairShares(n, first, key - first * n, np.asarray(wins / total, dtype=np.float64), _relative(total))
