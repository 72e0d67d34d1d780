"""Pairs of very different weight, in the coordinates of a tree: each cut's flow is summed over the pairs that cross it.

With weights of 1e12 beside 3 (or μ of 1e-10 beside ½) the gradient at a response drowns the flow across a weak cut in
the rounding of its strong pairs. In ``g = Mx``, x the differences along a spanning tree of the strongest pairs, the
derivative by x_e is the net flow across the cut that e makes: no strong pair takes part in a weak cut, and the Hessian,
scaled to a unit diagonal, is as well conditioned as that of equal weights.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.minimum import Minimum
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.rows import WeightedRows, newton

#: Entries of the dense rows (pairs × tree edges) up to which this is done.
ENTRIES_AT_MOST = 4_000_000


def is_small_enough(pairs: WeightedPairs) -> bool:
    """Whether the rows fit."""
    return len(pairs.weight) * pairs.n <= ENTRIES_AT_MOST


def minimise_by_cuts(
    pairs: WeightedPairs, loss: Differentiable, start: FloatArray | None = None, *, convex: bool = True
) -> Minimum:
    """Minimise ``Σ w f(g_i − g_j)`` for a once differentiable f.

    Parameters
    ----------
    pairs : WeightedPairs
    loss : MarginLoss, or what has its calls
    start : array, shape (n,), optional
        Zeros by default.
    convex : bool
        If not, a stationary point that is no higher than the start.
    """
    g = np.zeros(pairs.n) if start is None or not np.isfinite(start).all() else start
    best: Minimum | None = None
    for strength in (pairs.weight, None):
        if strength is None:  # a second tree, of the pairs that are strong at the minimum
            strength = pairs.weight * np.abs(loss.derivative(pairs.margins(g), order=2))
        basis, child, parent = tree_basis(pairs.n, pairs.winner, pairs.loser, strength)
        rows = basis[pairs.winner] - basis[pairs.loser]
        found = newton(WeightedRows(rows, pairs.weight), loss, g[child] - g[parent], convex=convex)
        g = _centred(basis @ found.reward, pairs.parts)
        depth = float(basis.sum(axis=1).max(initial=1.0))
        best = Minimum(g, found.value, found.status, found.reason, found.error * depth, found.iterations)
        if found.converged:
            break
    assert best is not None
    return best


def tree_basis(n: int, tail: IntArray, head: IntArray, strength: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
    """A spanning forest of the strongest pairs.

    Returns
    -------
    basis : array, shape (n, edges)
        Columns of 0 and 1: the responses beyond each edge. ``g = basis @ x``, up to a constant on each tree.
    child, parent : array of int, shape (edges,)
        The edges' ends: ``x = g[child] − g[parent]``.
    """
    low, high = np.minimum(tail, head), np.maximum(tail, head)
    ends = (low.astype(np.int32), high.astype(np.int32))  # scipy 1.15's graphs take no other indices
    both = sparse.coo_array((strength, ends), shape=(n, n)).tocsr().tocoo()
    # ranks stand in for the strengths: the least of them makes the tree, and none is 0
    rank = np.empty(both.nnz)
    rank[np.argsort(-both.data, kind="stable")] = np.arange(1.0, both.nnz + 1)
    tree = minimum_spanning_tree(sparse.coo_array((rank, (both.row, both.col)), shape=(n, n)).tocsr())
    seen = np.zeros(n, dtype=bool)
    children: list[int] = []
    above = np.zeros(n, dtype=np.int64)
    beyond = np.eye(n)
    for root in range(n):
        if seen[root]:
            continue
        order, parent = breadth_first_order(tree, root, directed=False)
        seen[order] = True
        for i in order[:0:-1]:
            above[i] = parent[i]
            beyond[parent[i]] += beyond[i]
        children += order[1:].tolist()
    child = np.array(children, dtype=np.int64)
    return beyond[child].T, child, above[child]


def _centred(g: FloatArray, parts: IntArray) -> FloatArray:
    return np.asarray(g - (np.bincount(parts, g) / np.bincount(parts))[parts])
