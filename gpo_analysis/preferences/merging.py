"""Repeated pairs made one: sorted by counting where counts have to be carried along, as bare numbers where not."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from gpo_analysis.arrays import FloatArray, IntArray


def merged(n: int, winner: IntArray, loser: IntArray, count: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Each ordered pair once, in order, with the sum of its counts; pairs of count 0 are left out.

    Parameters
    ----------
    n : int
        Number of items.
    winner, loser : array of int, shape (k,)
    count : array, shape (k,)

    Examples
    --------
    >>> merged(3, np.array([2, 0, 2]), np.array([1, 1, 1]), np.array([1.0, 0.0, 2.0]))
    (array([2]), array([1]), array([3.]))
    """
    if np.all(count == 1):
        return _labels(n, winner, loser)
    table = sparse.coo_array((count, (winner, loser)), shape=(n, n)).tocsr()
    table.sum_duplicates()
    table.eliminate_zeros()
    return np.repeat(np.arange(n), np.diff(table.indptr)), table.indices.astype(np.int64), table.data


def _labels(n: int, winner: IntArray, loser: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """For counts of 1: one number a pair is sorted, and nothing with it."""
    key = winner * n + loser
    key.sort()
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    count = np.diff(np.append(starts, len(key))).astype(np.float64)
    key = key[starts]
    begins = np.searchsorted(key, np.arange(n + 1) * n)
    first = np.repeat(np.arange(n), np.diff(begins))
    return first, key - first * n, count
