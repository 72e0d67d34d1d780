"""Is the minimiser unique, and if not, which minimiser has the least norm?

The minimisers of a convex ``F(g) = Σ_k w_k f(g_i − g_j)`` are those g for which every pair stays within an interval
``lower_k ≤ g_i − g_j ≤ upper_k`` on which f is affine: a system of difference constraints. Take as arcs the
constraints that hold with equality. Round a directed cycle of such arcs the differences add up to zero for every
solution, so each of them is fixed; between strongly connected components something can move. Hence: the minimiser is
unique up to a constant if and only if the arcs connect all responses strongly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from gpo_analysis.arrays import FloatArray, IntArray

#: Variables and constraints up to which matrices are dense.
DENSE_AT_MOST = 300


@dataclass(frozen=True, eq=False)
class Intervals:
    """Difference constraints ``lower ≤ g[winner] − g[loser] ≤ upper``; all arrays of shape (k,)."""

    winner: IntArray
    loser: IntArray
    lower: FloatArray
    upper: FloatArray

    def and_at_least(self, winner: IntArray, loser: IntArray, lower: float) -> Intervals:
        """These and ``g[winner] − g[loser] ≥ lower``."""
        k = len(winner)
        return Intervals(
            np.concatenate([self.winner, winner]),
            np.concatenate([self.loser, loser]),
            np.concatenate([self.lower, np.full(k, lower)]),
            np.concatenate([self.upper, np.full(k, np.inf)]),
        )


def components(n: int, tail: IntArray, head: IntArray, *, strong: bool) -> IntArray:
    """Labels of the (strongly) connected components of a directed graph on n nodes, shape (n,)."""
    graph = sparse.coo_array((np.ones(len(tail)), (tail, head)), shape=(n, n)).tocsr()
    _, labels = connected_components(graph, directed=True, connection="strong" if strong else "weak")
    return np.asarray(labels, dtype=np.int64)


def fixed_blocks(n: int, intervals: Intervals, g: FloatArray, tolerance: float = 1e-8) -> IntArray:
    """Labels of the responses whose differences are the same for all minimisers, shape (n,).

    Parameters
    ----------
    n : int
    intervals : Intervals
    g : array, shape (n,)
        One minimiser.
    tolerance : float
        How near to an end of its interval a difference counts as being there, relative to 1 + max|g|.
    """
    room = tolerance * (1 + np.abs(g).max(initial=0.0))
    d = g[intervals.winner] - g[intervals.loser]
    low, high = d - intervals.lower <= room, intervals.upper - d <= room
    tail = np.concatenate([intervals.winner[low], intervals.loser[high]])
    head = np.concatenate([intervals.loser[low], intervals.winner[high]])
    return components(n, tail, head, strong=True)


def least_norm(n: int, intervals: Intervals, g: FloatArray, blocks: IntArray) -> FloatArray:
    """The solution of the difference constraints with the least ``Σ g_i²``, shape (n,).

    The constant is chosen with it, so responses that nothing holds (never compared) get 0, the mean of the others.

    Parameters
    ----------
    n : int
    intervals : Intervals
    g : array, shape (n,)
        Gives the differences within the blocks.
    blocks : array of int, shape (n,)
        From :func:`fixed_blocks`; between blocks the constraints decide.
    """
    count = int(blocks.max()) + 1
    size = np.bincount(blocks, minlength=count).astype(float)
    within = g - (np.bincount(blocks, weights=g, minlength=count) / size)[blocks]
    # One variable x_c = √size_c · (mean of the block): the norm is |x|² plus a constant.
    tail, head = blocks[intervals.winner], blocks[intervals.loser]
    offset = within[intervals.winner] - within[intervals.loser]
    between = tail != head
    a = np.concatenate([tail[between], head[between]])
    b = np.concatenate([head[between], tail[between]])
    bound = np.concatenate([(intervals.lower - offset)[between], (offset - intervals.upper)[between]])
    a, b, bound = _tightest(a, b, bound, count)
    if not len(bound):
        return np.asarray(within)
    k = np.arange(len(bound))
    rows = sparse.coo_array(
        (
            np.concatenate([1 / np.sqrt(size[a]), -1 / np.sqrt(size[b])]),
            (np.concatenate([k, k]), np.concatenate([a, b])),
        ),
        shape=(len(bound), count),
    ).tocsr()
    return np.asarray(within + (_nearest_to_zero(rows, bound) / np.sqrt(size))[blocks])


def _tightest(a: IntArray, b: IntArray, bound: FloatArray, count: int) -> tuple[IntArray, IntArray, FloatArray]:
    """For each ordered pair of blocks the one constraint that implies the others."""
    finite = np.isfinite(bound)
    key = a[finite] * count + b[finite]
    pairs, where = np.unique(key, return_inverse=True)
    best = np.full(len(pairs), -np.inf)
    np.maximum.at(best, where, bound[finite])
    return pairs // count, pairs % count, best


def _nearest_to_zero(rows: sparse.csr_array, bound: FloatArray) -> FloatArray:
    """``argmin ½|x|²`` subject to ``rows @ x ≥ bound``: augmented Lagrangian with semismooth Newton steps.

    The multiplier method on a quadratic program ends after finitely many rounds (Bertsekas 1982, ch. 2); each round
    minimises ``½|x|² + |max(0, y + σ(bound − rows x))|² / 2σ``, which is convex and piecewise quadratic.
    """
    m, n = rows.shape
    x, y, sigma = np.zeros(n), np.zeros(m), 10.0
    scale = 1 + np.abs(bound).max()
    for _ in range(60):
        for _ in range(100):
            pull = np.maximum(0.0, y + sigma * (bound - rows @ x))
            gradient = x - rows.T @ pull
            if np.abs(gradient).max() <= 1e-13 * sigma * scale:
                break
            held = rows[pull > 0]
            step = -_solve(sparse.csr_array(sparse.eye_array(n) + sigma * (held.T @ held)), gradient)
            value = 0.5 * x @ x + pull @ pull / (2 * sigma)
            length = 1.0
            while length > 1e-9:
                trial = x + length * step
                new = np.maximum(0.0, y + sigma * (bound - rows @ trial))
                if 0.5 * trial @ trial + new @ new / (2 * sigma) <= value + 1e-4 * length * (
                    gradient @ step
                ) + 1e-15 * (abs(value)):
                    break
                length *= 0.5
            x = x + length * step
        new_y = np.maximum(0.0, y + sigma * (bound - rows @ x))
        done = np.abs(new_y - y).max() <= 1e-11 * sigma * scale
        y = new_y
        if done:
            break
        sigma = min(sigma * 5, 1e6)
    return _exactly_there(rows, bound, y, x)


def _exactly_there(rows: sparse.csr_array, bound: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """The same point from the constraints that hold with equality, to the last digits; x where that is not it."""
    active = np.flatnonzero(y > 1e-9 * y.max(initial=0.0))
    if not len(active) or rows.shape[1] > DENSE_AT_MOST or len(active) > DENSE_AT_MOST:
        return x
    sharp = np.asarray(np.linalg.lstsq(rows[active].toarray(), bound[active], rcond=1e-12)[0])
    short = np.max(bound - rows @ sharp), np.max(bound - rows @ x)
    near = np.abs(sharp - x).max() <= 1e-6 * (1 + np.abs(x).max())
    return sharp if near and short[0] <= max(short[1], 4 * np.finfo(float).eps * (1 + np.abs(bound).max())) else x


def _solve(matrix: sparse.csr_array, right: FloatArray) -> FloatArray:
    if matrix.shape[0] <= DENSE_AT_MOST:
        return np.asarray(np.linalg.solve(matrix.toarray(), right))
    return np.asarray(splu(matrix.tocsc()).solve(right))
