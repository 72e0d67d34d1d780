"""Losses not known to be convex (Savage, LRML, LSIF): stationary points, and whether something lower lies at infinity.

Nothing here certifies a global minimum but one thing: where every pair stands at its own minimum, nothing is lower.
Otherwise the end of a descent is called what it is, a stationary point, with the least eigenvalue of its Hessian.

What can be *refuted* is a finite optimum. Send the responses of a set S up and away from the others: pairs across go
to f's limits, pairs within are minimised again. If that value is below every stationary point found, the lowest value
found is only approached at infinity, and this is said (Savage on a one-way cycle of five: 1.25 at π = πref, 1 in the
limit).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, combinations

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.existence import listed
from gpo_analysis.solvers.faces import components
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.minimum import Minimum, Status, nowhere
from gpo_analysis.solvers.newton import ESCAPED, minimise_stack
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.sparse_newton import minimise_sparse

#: Up to this many responses in a component every split is looked at; beyond it single responses and rankings' cuts.
ALL_SPLITS = 10
#: Random starts beside π = πref and the pairs' own optima.
STARTS = 6
#: Above this many responses sparse comparisons get one descent only, above a tenth of it only three starts.
DENSE_AT_MOST = 600


#: Negative curvature smaller than this, relative to the largest, may be rounding.
FLAT = 1e-9


def descend(pairs: WeightedPairs, loss: Differentiable, shape: LossShape, seed: int = 0) -> Minimum:
    """Descend from π = πref and from several other starts; look for lower values at infinity.

    Parameters
    ----------
    pairs : WeightedPairs
        Without those that are separated (see :mod:`gpo_analysis.solvers.existence`).
    loss : MarginLoss, or what has its calls
    shape : LossShape
    seed : int
        Of the random starts.
    """
    if pairs.matrix is None and pairs.n > DENSE_AT_MOST:
        return _descend_sparse(pairs, loss)
    weights = pairs.dense()
    lowest = _pair_minima(pairs, loss, shape)
    found = _descents(pairs, weights, loss, np.zeros((1, pairs.n)))
    if not (found[0].converged and found[0].value <= lowest + 1e-9 * abs(lowest) + 1e-15):
        found = _descents(pairs, weights, loss, _starts(pairs, seed))
    if shape.least == -np.inf and any(one.value < -1e6 * (1 + abs(float(loss(np.zeros(()))))) for one in found):
        reason = (
            "f falls without bound for the winners faster than it rises for the losers, and a descent fell for ever"
        )
        return _without(found, -np.inf, Status.UNBOUNDED_BELOW, reason)
    stationary = [one if one.converged and _size(one) < ESCAPED else None for one in found]
    values = np.array([np.inf if one is None else one.value for one in stationary])
    best = 0 if values[0] <= values.min() + _slack(values) else int(np.argmin(values))
    lower = _lower_elsewhere(pairs, weights, loss, shape, found, float(values[best]))
    return lower if lower is not None else _described(pairs, loss, found, best, lowest)


def _lower_elsewhere(
    pairs: WeightedPairs,
    weights: FloatArray,
    loss: Differentiable,
    shape: LossShape,
    found: list[Minimum],
    finite: float,
) -> Minimum | None:
    """What is said where a value below the lowest stationary point's, `finite`, was met on the way to infinity."""
    at_infinity, group = _lowest_at_infinity(pairs, weights, loss, shape, finite)
    slack = _slack(np.array([finite]))
    far = Status.NOT_UNIQUE if shape.is_flat_on_both_sides else Status.NO_FINITE_OPTIMUM
    if at_infinity < finite - slack:
        reason = f"the lowest value found is only approached, as the log-ratios of {group} grow apart from the others"
        if shape.is_flat_on_both_sides:
            reason = f"the lowest value found is that of any policy which sets {group} far enough apart from the others"
        if np.isfinite(finite):
            local = finite + pairs.diagonal_mass * float(loss(np.zeros(())))
            reason += f"; the stationary points found, the lowest at E f = {local:.6g}, are local"
        return _without(found, at_infinity, far, reason)
    restless = [one for one in found if not (one.converged and _size(one) < ESCAPED) and np.isfinite(one.value)]
    lowest = min(restless, key=lambda one: one.value, default=None)
    if lowest is None or lowest.value >= finite - slack:
        return None
    if _size(lowest) >= ESCAPED:
        return _without(found, lowest.value, far, "the lowest descent runs off to infinity")
    reason = "the lowest descent did not come to rest"
    reason += ", as happens at kinks of a loss that is not convex" if shape.kinks else ""
    return _without(found, lowest.value, Status.NOT_CONVERGED, reason)


def _without(found: list[Minimum], value: float, status: Status, reason: str) -> Minimum:
    """No answer, after the descents `found`."""
    iterations = max(one.iterations for one in found)
    return Minimum(nowhere(len(found[0].reward)), value, status, reason, np.nan, iterations)


def _descend_sparse(pairs: WeightedPairs, loss: Differentiable) -> Minimum:
    """One descent from π = πref for a large sparse problem; its Hessian is not looked at."""
    found = minimise_sparse(pairs, loss, convex=False, max_iterations=500)
    if not found.converged:
        reason = "the descent runs off to infinity" if _size(found) >= ESCAPED else "the descent did not come to rest"
        return replace(found, reason=reason)
    if pairs.parts.max() > 0:
        return replace(found, status=Status.NOT_UNIQUE, reason=_several_parts(pairs))
    reason = f"reached from π = πref; with {pairs.n} responses its Hessian and other starts were not looked at"
    return replace(found, status=Status.STATIONARY_POINT, reason=f"{reason}; f is not convex")


def _size(found: Minimum) -> float:
    """Largest margin from the centre."""
    return float(np.abs(found.reward).max())


def _several_parts(pairs: WeightedPairs) -> str:
    return f"the comparison graph has {int(pairs.parts.max()) + 1} components, between which nothing is compared"


def _descents(pairs: WeightedPairs, weights: FloatArray, loss: Differentiable, starts: FloatArray) -> list[Minimum]:
    stack = np.broadcast_to(weights, (len(starts), *weights.shape))
    blocks = np.broadcast_to(pairs.parts, (len(starts), pairs.n))
    return minimise_stack(stack, loss, blocks, starts, convex=False, max_iterations=500)


def _described(pairs: WeightedPairs, loss: Differentiable, found: list[Minimum], best: int, lowest: float) -> Minimum:
    """A stationary point: what the Hessian says of it, and what the other starts came to."""
    point = replace(found[best], iterations=max(one.iterations for one in found))
    g, value = point.reward, point.value
    if pairs.parts.max() > 0:
        return replace(point, status=Status.NOT_UNIQUE, reason=_several_parts(pairs))
    curvature = _least_curvature(pairs, loss, g)
    curved = loss.derivative(pairs.margins(g), order=2) != 0
    if components(pairs.n, pairs.winner[curved], pairs.loser[curved], strong=False).max(initial=0) > 0:
        reason = "the stationary point found lies on straight pieces of the loss, along which it can move"
        return replace(point, status=Status.NOT_UNIQUE, reason=reason)
    what = "a local minimum" if curvature > -FLAT else "not a minimum"
    kind = f"{what} (least eigenvalue of the Hessian {curvature:.3g} of the largest)"
    if value <= lowest + 1e-9 * abs(lowest) + 1e-15:
        reason = f"{kind}, and the global one: every pair is at its own minimum"
        return replace(point, status=Status.STATIONARY_POINT, reason=reason)
    start = "reached from π = πref" if best == 0 else "the lowest of several starts; another is reached from π = πref"
    others = np.unique(np.round([one.value for one in found if one.converged], 9))
    more = f"; {len(others)} stationary values were found" if len(others) > 1 else ""
    reason = f"{kind}, {start}{more}; f is not convex, so it need not be the global minimum"
    return replace(point, status=Status.STATIONARY_POINT, reason=reason)


def _least_curvature(pairs: WeightedPairs, loss: Differentiable, g: FloatArray) -> float:
    """Least eigenvalue of the Hessian on differences (the constant left out), relative to the largest."""
    if pairs.n < 2:
        return 1.0
    curvature: FloatArray = np.zeros((pairs.n, pairs.n))
    np.add.at(curvature, (pairs.winner, pairs.loser), pairs.weight * loss.derivative(pairs.margins(g), order=2))
    both = curvature + curvature.T
    hessian = np.diag(both.sum(axis=1)) - both
    eigenvalues = np.linalg.eigvalsh(hessian + np.abs(hessian).max() / pairs.n)
    largest = np.abs(eigenvalues).max()
    return float(eigenvalues[0] / largest) if largest > 0 else 0.0


def _starts(pairs: WeightedPairs, seed: int) -> FloatArray:
    """π = πref first, then the direction of the net wins at several scales, then random ones, shape (s, n)."""
    rng = np.random.default_rng(seed)
    wins = pairs.balance(pairs.weight)
    net: FloatArray = np.asarray(wins / max(float(np.abs(wins).max(initial=0.0)), 1e-300), dtype=np.float64)
    scales = np.geomspace(0.5, 5, STARTS if pairs.n <= DENSE_AT_MOST // 10 else 0)
    rows: list[FloatArray] = [np.zeros(pairs.n), net, 3 * net, *(s * rng.normal(size=pairs.n) for s in scales)]
    return np.stack(rows)


def _unordered(pairs: WeightedPairs) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Pairs i < j with the weights of i ≻ j and of j ≻ i."""
    low, high = np.minimum(pairs.winner, pairs.loser), np.maximum(pairs.winner, pairs.loser)
    key, where = np.unique(low * pairs.n + high, return_inverse=True)
    up = pairs.winner < pairs.loser
    forward = np.bincount(where[up], pairs.weight[up], len(key))
    backward = np.bincount(where[~up], pairs.weight[~up], len(key))
    first = np.asarray(key // pairs.n, dtype=np.int64)
    second = np.asarray(key % pairs.n, dtype=np.int64)
    return first, second, np.asarray(forward, dtype=np.float64), np.asarray(backward, dtype=np.float64)


def _pair_minima(pairs: WeightedPairs, loss: Differentiable, shape: LossShape) -> float:
    """``Σ min_z [w_ij f(z) + w_ji f(−z)]``: no policy is lower.

    Each by a grid, refined round its best point: good to 1e-9 of the pair's weight, which is all that the comparison
    with a descent's value asks.
    """
    _, _, forward, backward = _unordered(pairs)
    return float(_least_of_pairs(loss, shape, forward, backward).sum())


def _least_of_pairs(loss: Differentiable, shape: LossShape, forward: FloatArray, backward: FloatArray) -> FloatArray:
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
    pairs: WeightedPairs, weights: FloatArray, loss: Differentiable, shape: LossShape, finite: float
) -> tuple[float, str]:
    """The lowest value found by sending a set of responses up for ever, and the set's names."""
    up, down = shape.right_limit, shape.left_limit
    if not (np.isfinite(up) and np.isfinite(down)):
        return np.inf, ""
    i, j, forward, backward = _unordered(pairs)
    apart = _least_of_pairs(loss, shape, forward, backward)
    sets = _splits(pairs)
    # A bound on each set's value: pairs across at the limits, the others at their own minimum. Most sets fail it.
    above_i, above_j = sets[:, i], sets[:, j]
    across = np.where(above_i, forward * up + backward * down, backward * up + forward * down)
    bound = np.where(above_i != above_j, across, apart).sum(axis=1)
    sets = sets[bound < finite - _slack(np.array([finite]))]
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
        total = _without_one_sided(inside, loss, shape) + limits
        k = int(np.argmin(total))
        if total[k] < best:
            best, group = float(total[k]), some[k]
    return best, listed([pairs.names[k] for k in np.flatnonzero(group)])


def _without_one_sided(weights: FloatArray, loss: Differentiable, shape: LossShape) -> FloatArray:
    """The minimum of each problem of a stack; one-sided pairs that can go to a lower limit are let go, shape (b,)."""
    b, n, _ = weights.shape
    kept = weights.copy()
    blocks = np.zeros((b, n), dtype=np.int64)
    released: FloatArray = np.zeros(b)
    for k in range(b):
        winner, loser = np.nonzero(weights[k])
        if shape.right_limit <= shape.left_limit:
            labels = components(n, winner, loser, strong=True)
            cut = labels[:, None] != labels[None, :]
            released[k] = float(weights[k][cut].sum()) * shape.right_limit
            kept[k][cut] = 0.0
            blocks[k] = labels
        else:
            blocks[k] = components(n, winner, loser, strong=False)
    values = np.array([one.value for one in minimise_stack(kept, loss, blocks, convex=False, max_iterations=200)])
    return np.where(np.isfinite(values), values, np.inf) + released


def _splits(pairs: WeightedPairs) -> BoolArray:
    """Sets of responses to send up, shape (s, n): all of them for few responses, else likely ones."""
    n = pairs.n
    if n <= ALL_SPLITS:
        subsets = chain.from_iterable(combinations(range(n), size) for size in range(1, n))
        sets = np.zeros((2**n - 2, n), dtype=bool)
        for row, subset in enumerate(subsets):
            sets[row, list(subset)] = True
        return sets
    net = pairs.balance(pairs.weight)
    rank = np.argsort(np.argsort(-net))
    cuts = rank[None, :] < np.arange(1, n)[:, None]
    single = np.eye(n, dtype=bool)
    return np.concatenate([cuts, single, ~single])


def _slack(values: FloatArray) -> float:
    """How near two values of F count as the same."""
    finite = values[np.isfinite(values)]
    return 1e-9 * max(float(np.abs(finite).max(initial=0.0)), 1e-12)
