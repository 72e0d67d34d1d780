"""Losses not known to be convex (Savage, LRML, LSIF): stationary points, and whether something lower lies at infinity.

Nothing here certifies a global minimum but one thing: where every pair stands at its own minimum, nothing is lower.
Otherwise the end of a descent is called what it is, a stationary point, with the least eigenvalue of its Hessian.

What can be *refuted* is a finite optimum. Send the responses of a set S up and away from the others: pairs across go
to f's limits, pairs within are minimised again. If that value is below every stationary point found, the lowest value
found is only approached at infinity, and this is said (Savage on a one-way cycle of five: 1.25 at π = πref, 1 in the
limit).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, combinations
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.cells import Cell
from gpo_analysis.solvers.existence import listed
from gpo_analysis.solvers.faces import components
from gpo_analysis.solvers.newton import ESCAPED, Minima, minimise_stack
from gpo_analysis.solvers.sparse_newton import minimise_sparse

if TYPE_CHECKING:
    from gpo_analysis.losses import MarginLoss

#: Up to this many responses in a component every split is looked at; beyond it single responses and rankings' cuts.
ALL_SPLITS = 10
#: Random starts beside π = πref and the pairs' own optima.
STARTS = 6
#: Above this many responses sparse comparisons get one descent only, above a tenth of it only three starts.
DENSE_AT_MOST = 600


#: Negative curvature smaller than this, relative to the largest, may be rounding.
FLAT = 1e-9


@dataclass(frozen=True, eq=False)
class Descent:
    """The outcome for one cell.

    Attributes
    ----------
    g : array, shape (n,), or None
        The lowest stationary point found, where it is the answer.
    value : float
        The lowest value of ``Σ w f`` found.
    status : str
    iterations : int
    error : float
    representative : array, shape (n,), or None
        A lowest point found where it is not the only one.
    """

    g: FloatArray | None
    value: float
    status: str
    iterations: int
    error: float
    representative: FloatArray | None = None


def descend(cell: Cell, loss: MarginLoss, shape: LossShape, seed: int = 0) -> Descent:
    """Descend from π = πref and from several other starts; look for lower values at infinity.

    Parameters
    ----------
    cell : Cell
        Without the pairs that part (see :mod:`gpo_analysis.solvers.existence`).
    loss : MarginLoss
    shape : LossShape
    seed : int
        Of the random starts.
    """
    if cell.matrix is None and cell.n > DENSE_AT_MOST:
        return _descend_sparse(cell, loss)
    weights = cell.dense()
    lowest = _pair_minima(cell, loss, shape)
    found = _descents(cell, weights, loss, np.zeros((1, cell.n)))
    if not (found.converged[0] and found.value[0] <= lowest + 1e-9 * abs(lowest) + 1e-15):
        found = _descents(cell, weights, loss, _starts(cell, seed))
    size = np.abs(found.g).max(axis=1)
    if shape.least == -np.inf and np.any(found.value < -1e6 * (1 + abs(float(loss(0.0))))):
        reason = (
            "f falls without bound for the winners faster than it rises for the losers, and a descent fell for ever"
        )
        return Descent(None, -np.inf, f"unbounded below: {reason}", int(found.iterations.max()), np.nan)
    good = found.converged & (size < ESCAPED)
    values = np.where(good, found.value, np.inf)
    best = 0 if values[0] <= values.min() + 1e-9 * _scale(values) else int(np.argmin(values))
    finite = float(values[best])
    at_infinity, group = _lowest_at_infinity(cell, weights, loss, shape, finite)
    escaping = np.where(~good & np.isfinite(found.value), found.value, np.inf)
    iterations = int(found.iterations.max())
    if at_infinity < finite - 1e-9 * _scale(np.array([finite])):
        reason = f"the lowest value found is only approached, as the log-ratios of {group} grow apart from the others"
        if shape.is_flat_on_both_sides:
            reason = f"the lowest value found is that of any policy which sets {group} far enough apart from the others"
        if np.isfinite(finite):
            lowest = _with_diagonal(cell, loss, finite)
            reason += f"; the stationary points found, the lowest at E f = {lowest:.6g}, are local"
        return Descent(None, at_infinity, f"{_far_out(shape)}: {reason}", iterations, np.nan)
    if escaping.min() < finite - 1e-9 * _scale(np.array([finite])):
        if size[int(np.argmin(escaping))] >= ESCAPED:
            reason = "the lowest descent runs off to infinity"
            return Descent(None, float(escaping.min()), f"{_far_out(shape)}: {reason}", iterations, np.nan)
        reason = "the lowest descent did not come to rest"
        reason += ", as happens at kinks of a loss that is not convex" if shape.kinks else ""
        return Descent(None, float(escaping.min()), f"not converged: {reason}", iterations, np.nan)
    status, error = _described(cell, loss, found, best, lowest), float(found.error[best])
    if status.startswith("not unique"):
        return Descent(None, finite, status, iterations, error, found.g[best])
    return Descent(found.g[best], finite, status, iterations, error)


def _descend_sparse(cell: Cell, loss: MarginLoss) -> Descent:
    """One descent from π = πref for a large sparse problem; its Hessian is not looked at."""
    g, value, error, converged, iterations = minimise_sparse(cell, loss, cell.parts, convex=False, max_iterations=500)
    if not converged:
        reason = (
            "the descent runs off to infinity" if np.abs(g).max() >= ESCAPED else "the descent did not come to rest"
        )
        return Descent(None, value, f"not converged: {reason}", iterations, error)
    if cell.parts.max() > 0:
        return Descent(None, value, _several_parts(cell), iterations, error, g)
    reason = f"reached from π = πref; with {cell.n} responses its Hessian and other starts were not looked at"
    return Descent(g, value, f"stationary point: {reason}; f is not convex", iterations, error)


def _far_out(shape: LossShape) -> str:
    """Whether a value that f has far out is reached."""
    return "not unique" if shape.is_flat_on_both_sides else "no finite optimum"


def _several_parts(cell: Cell) -> str:
    parts = int(cell.parts.max()) + 1
    return f"not unique: the comparison graph has {parts} components, between which nothing is compared"


def _descents(cell: Cell, weights: FloatArray, loss: MarginLoss, starts: FloatArray) -> Minima:
    stack = np.broadcast_to(weights, (len(starts), *weights.shape))
    blocks = np.broadcast_to(cell.parts, (len(starts), cell.n))
    return minimise_stack(stack, loss, blocks, starts, convex=False, max_iterations=500)


def _described(cell: Cell, loss: MarginLoss, found: Minima, best: int, lowest: float) -> str:
    """The status of a stationary point: what the Hessian says of it, and what the other starts came to."""
    g = found.g[best]
    if cell.parts.max() > 0:
        return _several_parts(cell)
    curvature = _least_curvature(cell, loss, g)
    bent = loss.derivative(g[cell.winner] - g[cell.loser], order=2) != 0
    if components(cell.n, cell.winner[bent], cell.loser[bent], strong=False).max(initial=0) > 0:
        return "not unique: the stationary point found lies on straight pieces of the loss, along which it can move"
    what = "a local minimum" if curvature > -FLAT else "not a minimum"
    kind = f"{what} (least eigenvalue of the Hessian {curvature:.3g} of the largest)"
    value = float(found.value[best])
    if value <= lowest + 1e-9 * abs(lowest) + 1e-15:
        return f"stationary point: {kind}, and the global one: every pair is at its own minimum"
    start = "reached from π = πref" if best == 0 else "the lowest of several starts; another is reached from π = πref"
    others = np.unique(np.round(found.value[found.converged], 9))
    more = f"; {len(others)} stationary values were found" if len(others) > 1 else ""
    return f"stationary point: {kind}, {start}{more}; f is not convex, so it need not be the global minimum"


def _least_curvature(cell: Cell, loss: MarginLoss, g: FloatArray) -> float:
    """Least eigenvalue of the Hessian on differences (the constant left out), relative to the largest."""
    if cell.n < 2:
        return 1.0
    curvature: FloatArray = np.zeros((cell.n, cell.n))
    np.add.at(
        curvature, (cell.winner, cell.loser), cell.weight * loss.derivative(g[cell.winner] - g[cell.loser], order=2)
    )
    both = curvature + curvature.T
    hessian = np.diag(both.sum(axis=1)) - both
    eigenvalues = np.linalg.eigvalsh(hessian + np.abs(hessian).max() / cell.n)
    largest = np.abs(eigenvalues).max()
    return float(eigenvalues[0] / largest) if largest > 0 else 0.0


def _starts(cell: Cell, seed: int) -> FloatArray:
    """π = πref first, then the direction of the net wins at several scales, then random ones, shape (s, n)."""
    rng = np.random.default_rng(seed)
    wins = np.bincount(cell.winner, cell.weight, cell.n) - np.bincount(cell.loser, cell.weight, cell.n)
    net: FloatArray = np.asarray(wins / max(float(np.abs(wins).max(initial=0.0)), 1e-300), dtype=np.float64)
    scales = np.geomspace(0.5, 5, STARTS if cell.n <= DENSE_AT_MOST // 10 else 0)
    rows: list[FloatArray] = [np.zeros(cell.n), net, 3 * net, *(s * rng.normal(size=cell.n) for s in scales)]
    return np.stack(rows)


def _unordered(cell: Cell) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Pairs i < j with the weights of i ≻ j and of j ≻ i."""
    low, high = np.minimum(cell.winner, cell.loser), np.maximum(cell.winner, cell.loser)
    key, where = np.unique(low * cell.n + high, return_inverse=True)
    up = cell.winner < cell.loser
    forward = np.bincount(where[up], cell.weight[up], len(key))
    backward = np.bincount(where[~up], cell.weight[~up], len(key))
    first = np.asarray(key // cell.n, dtype=np.int64)
    second = np.asarray(key % cell.n, dtype=np.int64)
    return first, second, np.asarray(forward, dtype=np.float64), np.asarray(backward, dtype=np.float64)


def _pair_minima(cell: Cell, loss: MarginLoss, shape: LossShape) -> float:
    """``Σ min_z [w_ij f(z) + w_ji f(−z)]``: no policy is lower.

    Each by a grid, refined round its best point: good to 1e-9 of the pair's weight, which is all that the comparison
    with a descent's value asks.
    """
    _, _, forward, backward = _unordered(cell)
    return float(_least_of_pairs(loss, shape, forward, backward).sum())


def _least_of_pairs(loss: MarginLoss, shape: LossShape, forward: FloatArray, backward: FloatArray) -> FloatArray:
    grid = np.sinh(np.linspace(-7.0, 7.0, 801))
    up, down = loss(grid), loss(-grid)
    right, left = shape.right_limit, shape.left_limit
    least = np.full(len(forward), np.inf)
    shares, where = np.unique(np.round(forward / (forward + backward), 15), return_inverse=True)
    for k, eta in enumerate(shares):
        values = _mixed(eta, up, down)
        i = int(np.argmin(values))
        fine = np.linspace(grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)], 2001)
        inner = _mixed(eta, loss(fine), loss(-fine)).min()
        ends = _mixed(eta, np.array([right, left]), np.array([left, right])).min()
        least[where == k] = min(float(inner), float(ends))
    return least * (forward + backward)


def _mixed(eta: float, first: FloatArray, second: FloatArray) -> FloatArray:
    """``η first + (1 − η) second``, in which a share of 0 silences infinity; ∞ − ∞ counts as ∞."""
    one = eta * first if eta > 0 else np.zeros_like(first)
    two = (1 - eta) * second if eta < 1 else np.zeros_like(second)
    rivals = np.isinf(one) & np.isinf(two) & (one != two)
    return np.asarray(np.where(rivals, np.inf, one + np.where(rivals, 0.0, two)))


def _lowest_at_infinity(
    cell: Cell, weights: FloatArray, loss: MarginLoss, shape: LossShape, finite: float
) -> tuple[float, str]:
    """The lowest value found by sending a set of responses up for ever, and the set's names."""
    up, down = shape.right_limit, shape.left_limit
    if not (np.isfinite(up) and np.isfinite(down)):
        return np.inf, ""
    i, j, forward, backward = _unordered(cell)
    pairs = _least_of_pairs(loss, shape, forward, backward)
    sets = _splits(cell)
    # A bound on each set's value: pairs across at the limits, the others at their own minimum. Most sets fail it.
    above_i, above_j = sets[:, i], sets[:, j]
    across = np.where(above_i, forward * up + backward * down, backward * up + forward * down)
    bound = np.where(above_i != above_j, across, pairs).sum(axis=1)
    sets = sets[bound < finite - 1e-9 * _scale(np.array([finite]))]
    if not len(sets):
        return np.inf, ""
    best, group = np.inf, sets[0]
    for first in range(0, len(sets), 512):
        some = sets[first : first + 512]
        same = some[:, :, None] == some[:, None, :]
        crossing = weights * ~same
        limits = (crossing * some[:, :, None]).sum(axis=(1, 2)) * up + (crossing * ~some[:, :, None]).sum(
            axis=(1, 2)
        ) * down
        inside = np.where(same, weights, 0.0)
        values, parted = _parted(inside, loss, shape)
        total = values + limits + parted
        k = int(np.argmin(total))
        if total[k] < best:
            best, group = float(total[k]), some[k]
    return best, listed([cell.names[k] for k in np.flatnonzero(group)])


def _parted(weights: FloatArray, loss: MarginLoss, shape: LossShape) -> tuple[FloatArray, FloatArray]:
    """Minimise each problem of a stack; where one-sided pairs can go to a lower limit they are let go."""
    b, n, _ = weights.shape
    kept = weights.copy()
    blocks = np.zeros((b, n), dtype=np.int64)
    parted: FloatArray = np.zeros(b)
    for k in range(b):
        winner, loser = np.nonzero(weights[k])
        if shape.right_limit <= shape.left_limit:
            labels = components(n, winner, loser, strong=True)
            cut = labels[:, None] != labels[None, :]
            parted[k] = float(weights[k][cut].sum()) * shape.right_limit
            kept[k][cut] = 0.0
            blocks[k] = labels
        else:
            blocks[k] = components(n, winner, loser, strong=False)
    found = minimise_stack(kept, loss, blocks, convex=False, max_iterations=200)
    return np.where(np.isfinite(found.value), found.value, np.inf), parted


def _splits(cell: Cell) -> BoolArray:
    """Sets of responses to send up, shape (s, n): all of them for few responses, else likely ones."""
    n = cell.n
    if n <= ALL_SPLITS:
        subsets = chain.from_iterable(combinations(range(n), size) for size in range(1, n))
        sets = np.zeros((2**n - 2, n), dtype=bool)
        for row, subset in enumerate(subsets):
            sets[row, list(subset)] = True
        return sets
    net = np.bincount(cell.winner, cell.weight, n) - np.bincount(cell.loser, cell.weight, n)
    rank = np.argsort(np.argsort(-net))
    cuts = rank[None, :] < np.arange(1, n)[:, None]
    single = np.eye(n, dtype=bool)
    return np.concatenate([cuts, single, ~single])


def _scale(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return max(float(np.abs(finite).max(initial=0.0)), 1e-12)


def _with_diagonal(cell: Cell, loss: MarginLoss, value: float) -> float:
    return value + cell.diagonal_mass * float(loss(0.0))
