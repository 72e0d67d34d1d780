"""Losses concave between their kinks (√|z − 1|, min(1, max(0, 1 − z))), for few responses: the minimum, with a proof.

The places where a margin stands at a kink cut the space of rewards into polyhedra, on each of which F is concave.
Every polyhedron has a vertex (the margins of a spanning tree are coordinates), and a concave function that is bounded
below on it is least at one (Rockafellar 1970, Corollary 32.3.2). So the infimum of F is its least value at the points
where the margins along a spanning tree stand at kinks, and there are finitely many of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, product

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.minimum import Minimum, Status, nowhere
from gpo_analysis.solvers.pairs import WeightedPairs

#: Vertices up to which all are looked at: five responses with up to six levels of a margin, six with two.
VERTICES_AT_MOST = 200_000
_RESPONSES_AT_MOST = 8
#: How near to a kink a margin is at it, in units of 1 + max|g|.
AT_KINK = 1e-12
#: Differences of F, relative to Σ w|f|, that rounding makes.
TIED = 1e-13


def minimise_at_vertices(pairs: WeightedPairs, loss: Differentiable, shape: LossShape) -> Minimum | None:
    """The global minimum of ``Σ w f(g_i − g_j)``; None where f is not of this kind, or the vertices are too many.

    Parameters
    ----------
    pairs : WeightedPairs
    loss : MarginLoss, or what has its calls
    shape : LossShape
    """
    if not shape.concave_between_kinks or shape.least == -np.inf:
        return None
    n, kinks = pairs.n, np.array([kink for kink, jump in shape.kinks if not jump < 0])
    points = _arrangement(pairs, kinks)
    if points is None:
        return None
    values, sizes = _heights(pairs, loss, kinks, points)
    k = int(np.argmin(values))
    g, value = points[k], float(values[k])
    tied = points[values <= value + TIED * sizes[k]]
    several = bool(np.abs(tied - g).max() > 1e-9 * (1 + np.abs(g).max()))
    proof = f"f is concave between its kinks, and F is least at one of the {len(points)} points where margins along a "
    proof += "spanning tree stand at kinks"
    if several or (shape.straight and _can_move(pairs, loss, kinks, g, value, float(sizes[k]))):
        reason = f"the global minimum, which many policies attain: {proof}"
        return Minimum(nowhere(n), value, Status.NOT_UNIQUE, reason, 0.0, 1)
    error = 4 * np.finfo(float).eps * (1 + float(np.abs(g).max()))
    return Minimum(g, value, Status.STATIONARY_POINT, f"the global minimum: {proof}", error, 1)


def lowest_vertices(pairs: WeightedPairs, loss: Differentiable, shape: LossShape, count: int) -> list[Minimum]:
    """The lowest of the points where margins along a spanning tree stand at kinks: starts, for any loss with kinks."""
    kinks = np.array([kink for kink, jump in shape.kinks if not jump < 0])
    points = _arrangement(pairs, kinks)
    if points is None:
        return []
    values, _ = _heights(pairs, loss, kinks, points)
    best = np.argsort(values, kind="stable")[:count]
    return [Minimum(points[k], float(values[k]), Status.NOT_CONVERGED) for k in best]


def _arrangement(pairs: WeightedPairs, kinks: FloatArray) -> FloatArray | None:
    """All vertices, centred, (v, n); None where nothing is compared with some response, or they are too many."""
    n, levels = pairs.n, np.unique(np.concatenate([kinks, -kinks]))
    if not len(kinks) or not len(pairs.weight) or pairs.parts.max() > 0 or n > _RESPONSES_AT_MOST:
        return None
    if n ** max(n - 2, 0) * len(levels) ** (n - 1) > VERTICES_AT_MOST:
        return None
    compared = np.zeros((n, n), dtype=bool)
    compared[pairs.winner, pairs.loser] = True
    compared |= compared.T
    trees = [tree for tree in _trees(n) if compared[tree[:, 0], tree[:, 1]].all()]
    return np.concatenate([_vertices(tree, levels, n) for tree in trees])


def _heights(
    pairs: WeightedPairs, loss: Differentiable, kinks: FloatArray, points: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """F and Σ w|f| at each of the points (v, n); beside a cusp f is not what it is there, so margins are exact."""
    margins = points[:, pairs.winner] - points[:, pairs.loser]
    room = AT_KINK * (1 + np.abs(points).max(axis=1, initial=0.0))[:, None]
    for kink in kinks:
        margins = np.where(np.abs(margins - kink) <= room, kink, margins)
    heights = loss(margins)
    return np.asarray(heights @ pairs.weight), np.asarray(np.abs(heights) @ pairs.weight)


def _vertices(tree: IntArray, levels: FloatArray, n: int) -> FloatArray:
    """Rewards, centred, (v, n), with the margins along a tree (n − 1, 2) at all combinations of the levels."""
    rows = np.zeros((n, n))
    rows[np.arange(n - 1), tree[:, 0]], rows[np.arange(n - 1), tree[:, 1]] = 1.0, -1.0
    rows[n - 1] = 1.0
    steps = np.array(list(product(levels, repeat=n - 1))).reshape(-1, n - 1)
    # entries of the inverse are multiples of 1/n: rounded to them, so that whole margins stay whole
    inverse = np.round(np.linalg.inv(rows) * n) / n
    return np.asarray(steps @ inverse[:, : n - 1].T)


def _trees(n: int) -> Iterator[IntArray]:
    """All spanning trees of n labels, as edges (n − 1, 2), from their Prüfer sequences."""
    for code in product(range(n), repeat=max(n - 2, 0)):
        degree = [1 + code.count(i) for i in range(n)]
        edges: list[tuple[int, ...]] = []
        for i in code:
            leaf = degree.index(1)
            edges.append((leaf, i))
            degree[leaf], degree[i] = 0, degree[i] - 1
        edges.append(tuple(i for i in range(n) if degree[i] == 1))
        yield np.array(edges, dtype=np.int64)


def _can_move(
    pairs: WeightedPairs, loss: Differentiable, kinks: FloatArray, g: FloatArray, value: float, size: float
) -> bool:
    """Whether F stays level along an edge from a vertex: every edge moves a set of responses against the others."""
    step = 1e-5 * (1 + float(np.abs(g).max()))
    sets = [list(one) for count in range(1, pairs.n) for one in combinations(range(pairs.n), count)]
    moved = np.repeat(g[None], len(sets), axis=0)
    for row, one in zip(moved, sets, strict=True):
        row[one] += step
    return bool((_heights(pairs, loss, kinks, moved)[0] <= value + math.sqrt(TIED) * 1e-3 * size * step).any())
