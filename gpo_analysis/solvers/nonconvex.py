"""Losses not known to be convex (Savage, LRML, LSIF): stationary points, and whether something lower lies at infinity.

Nothing here certifies a global minimum but one thing: where every pair stands at its own minimum, nothing is lower.
Otherwise the end of a descent is called what it is, a stationary point, with the least eigenvalue of its Hessian.

What can be *refuted* is a finite optimum. Send the responses of a set S up and away from the others: pairs across go
to f's limits, pairs within are minimised again. If that value is below every stationary point found, the lowest value
found is only approached at infinity, and this is said (Savage on a one-way cycle of five: 1.25 at π = πref, 1 in the
limit).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.cuts import is_small_enough, minimise_by_cuts
from gpo_analysis.solvers.existence import listed
from gpo_analysis.solvers.faces import components
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.kinks import rest_at_kinks
from gpo_analysis.solvers.levels import lowest_in_levels
from gpo_analysis.solvers.minimum import Minimum, Status, nowhere
from gpo_analysis.solvers.newton import ESCAPED, minimise_stack
from gpo_analysis.solvers.pair_minima import PairMinima
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.sparse_newton import minimise_sparse
from gpo_analysis.solvers.vertices import lowest_vertices

#: Up to this many responses every split is looked at; beyond it single responses and rankings' cuts.
ALL_SPLITS = 10
#: Up to this many responses they may go to infinity in any number of levels, in every order.
ALL_ORDERS = 6
#: Of those, as many as are minimised again, the most promising first.
SPLITS_TRIED = 8
#: Random starts beside π = πref, the direction of the wins and the pairs' own optima.
STARTS = 6
#: Up to this many responses problems are dense, and the starts are descended from together.
DENSE_AT_MOST = 60
#: Above this many responses sparse comparisons get one descent only.
SEVERAL_AT_MOST = 1000
#: Weights below this share of the largest are graded: their descents end in the coordinates of a tree.
GRADED = 1e-6


#: Negative curvature smaller than this, relative to the largest, may be rounding.
FLAT = 1e-9
#: Values are the same where they differ by no more, relative to themselves; ends of descents are different where they
#: differ by more, relative to 1 + max|g|: an end is exact to 1e-6.
SAME, DIFFERENT = 1e-12, 1e-4


@dataclass(frozen=True, eq=False)
class Ahead:
    """What is known of a problem before it is looked at alone: its pairs' own minima, the descent from π = πref."""

    apart: PairMinima
    first: Minimum


def look_ahead(problems: Sequence[WeightedPairs], loss: Differentiable, shape: LossShape) -> list[Ahead]:
    """For several problems of one size, at most :data:`DENSE_AT_MOST` responses, together."""
    stack, blocks = np.stack([pairs.dense() for pairs in problems]), np.stack([pairs.parts for pairs in problems])
    found = minimise_stack(stack, loss, blocks, convex=False, max_iterations=500)
    apart = PairMinima.of_many(problems, loss, shape)
    return [
        Ahead(minima, _sharpened(pairs, loss, one) if _is_graded(pairs) else one)
        for pairs, minima, one in zip(problems, apart, found, strict=True)
    ]


def descend(
    pairs: WeightedPairs, loss: Differentiable, shape: LossShape, seed: int = 0, ahead: Ahead | None = None
) -> Minimum:
    """Descend from π = πref and from several other starts; look for lower values at infinity.

    Parameters
    ----------
    pairs : WeightedPairs
        Without those that are separated (see :mod:`gpo_analysis.solvers.existence`).
    loss : MarginLoss, or what has its calls
    shape : LossShape
    seed : int
        Of the random starts.
    ahead : Ahead, optional
        From :func:`look_ahead`.
    """
    if pairs.matrix is None and pairs.n > SEVERAL_AT_MOST:
        return _one_descent(pairs, loss)
    apart = PairMinima.of(pairs, loss, shape) if ahead is None else ahead.apart
    lowest = apart.total
    found = _descents(pairs, loss, np.zeros((1, pairs.n))) if ahead is None else [ahead.first]
    if not (found[0].converged and found[0].value <= lowest + 1e-9 * abs(lowest) + 1e-15):
        found = _descents(pairs, loss, _starts(pairs, apart, seed))
    if shape.kinks:
        ends = [one if one.converged else rest_at_kinks(pairs, loss, shape, one) for one in found]
        corners = lowest_vertices(pairs, loss, shape, STARTS)
        found = ends + [rest_at_kinks(pairs, loss, shape, one) for one in corners]
    if shape.least == -np.inf and any(one.value < -1e6 * (1 + abs(float(loss(np.zeros(()))))) for one in found):
        reason = (
            "f falls without bound for the winners faster than it rises for the losers, and a descent fell for ever"
        )
        return _without(found, -np.inf, Status.UNBOUNDED_BELOW, reason)
    values = np.array([one.value if _is_stationary(one) else np.inf for one in found])
    best = 0 if values[0] <= values.min() + _slack(values) else int(np.argmin(values))
    lower = _lower_elsewhere(pairs, apart, loss, shape, found, best)
    if lower is not None:
        return lower
    if not _is_stationary(found[best]):
        return _restless(pairs, apart, loss, found)
    return _described(pairs, loss, shape, found, best, lowest)


def _lower_elsewhere(
    pairs: WeightedPairs, apart: PairMinima, loss: Differentiable, shape: LossShape, found: list[Minimum], best: int
) -> Minimum | None:
    """What is said where a value below the lowest stationary point's was met on the way to infinity."""
    finite = found[best].value if _is_stationary(found[best]) else np.inf
    at_infinity, group = _lowest_at_infinity(pairs, apart, loss, shape, found[best])
    slack = _slack(np.array([finite]))
    far = Status.NOT_UNIQUE if shape.is_flat_on_both_sides else Status.NO_FINITE_OPTIMUM
    if at_infinity < finite - slack:
        reason = f"the lowest value found is only approached, as the log-ratios of {group} grow apart from the others"
        if shape.is_flat_on_both_sides:
            reason = f"the lowest value found is that of any policy which sets {group} far enough apart from the others"
        to_the_right = shape.right_limit <= shape.left_limit
        flat = shape.flat_from if to_the_right else shape.flat_until
        if shape.reached[to_the_right] and flat is None:
            reason = (
                f"f rises to its limit far out, so that lower values lie before it, but with the log-ratios of {group} "
            )
            reason += "far apart from the others no descent came to rest; the value is a bound from above"
            return _without(found, at_infinity, Status.UNDECIDED, reason)
        if np.isfinite(finite):
            local = finite + pairs.diagonal_mass * float(loss(np.zeros(())))
            reason += f"; the stationary points found, the lowest at E f = {local:.6g}, are local"
        return _without(found, at_infinity, far, reason)
    restless = [one for one in found if not _is_stationary(one) and np.isfinite(one.value)]
    lowest = min(restless, key=lambda one: one.value, default=None)
    if lowest is None or lowest.value >= finite - slack:
        return None
    if _size(lowest) >= ESCAPED:
        reason = (
            f"the lowest descent was left at margins of {_size(lowest):.3g}, where it still fell: whether the infimum "
        )
        reason += "is reached further out is not known, and the value is a bound from above"
        return _without(found, lowest.value, Status.UNDECIDED, reason)
    reason = "the lowest descent did not come to rest"
    reason += ", as happens at kinks of a loss that is not convex" if shape.kinks else ""
    return _without(found, lowest.value, Status.NOT_CONVERGED, reason)


def _restless(pairs: WeightedPairs, apart: PairMinima, loss: Differentiable, found: list[Minimum]) -> Minimum:
    """No descent came to rest, as at cusps; the pairs' own optima may still be an answer."""
    g = apart.along_a_tree()
    value = float(pairs.weight @ loss(pairs.margins(g)))
    if value <= apart.total + 1e-9 * abs(apart.total) + 1e-15 and pairs.parts.max() == 0:
        reason = "the global minimum: every pair is at its own minimum"
        return Minimum(g, value, Status.STATIONARY_POINT, reason, np.nan, max(one.iterations for one in found))
    lowest = min([value, *(one.value for one in found if np.isfinite(one.value))])
    return _without(
        found, lowest, Status.NOT_CONVERGED, "no descent came to rest; the value is the lowest that was met"
    )


def _without(found: list[Minimum], value: float, status: Status, reason: str) -> Minimum:
    """No answer, after the descents `found`."""
    iterations = max(one.iterations for one in found)
    return Minimum(nowhere(len(found[0].reward)), value, status, reason, np.nan, iterations)


def _one_descent(pairs: WeightedPairs, loss: Differentiable) -> Minimum:
    """One descent from π = πref for a large sparse problem; its Hessian is not looked at."""
    found = minimise_sparse(pairs, loss, convex=False, max_iterations=500)
    if not found.converged:
        reason = "the descent runs off to infinity" if _size(found) >= ESCAPED else "the descent did not come to rest"
        return replace(found, reason=reason)
    if pairs.parts.max() > 0:
        return replace(found, status=Status.NOT_UNIQUE, reason=_several_parts(pairs))
    reason = f"reached from π = πref; with {pairs.n} responses its Hessian and other starts were not looked at"
    return replace(found, status=Status.STATIONARY_POINT, reason=f"{reason}; f is not convex")


def _is_stationary(found: Minimum) -> bool:
    return found.converged and bool(np.isfinite(found.value)) and _size(found) < ESCAPED


def _size(found: Minimum) -> float:
    """Largest margin from the centre."""
    return float(np.abs(found.reward).max())


def _several_parts(pairs: WeightedPairs) -> str:
    return f"the comparison graph has {int(pairs.parts.max()) + 1} components, between which nothing is compared"


def _descents(pairs: WeightedPairs, loss: Differentiable, starts: FloatArray) -> list[Minimum]:
    if pairs.n > DENSE_AT_MOST:
        return [minimise_sparse(pairs, loss, start, convex=False, max_iterations=500) for start in starts]
    stack = np.broadcast_to(pairs.dense(), (len(starts), pairs.n, pairs.n))
    blocks = np.broadcast_to(pairs.parts, (len(starts), pairs.n))
    found = minimise_stack(stack, loss, blocks, starts, convex=False, max_iterations=500)
    return [_sharpened(pairs, loss, one) for one in found] if _is_graded(pairs) else found


def _is_graded(pairs: WeightedPairs) -> bool:
    """Whether the weights are of such different sizes that descents end in the coordinates of a tree."""
    return bool(len(pairs.weight)) and pairs.weight.min() < GRADED * pairs.weight.max() and is_small_enough(pairs)


def _sharpened(pairs: WeightedPairs, loss: Differentiable, found: Minimum) -> Minimum:
    """A descent on graded weights, ended where the weak pairs too are at rest."""
    if not np.isfinite(found.value) or _size(found) >= ESCAPED:
        return found
    again = minimise_by_cuts(pairs, loss, found.reward, convex=False)
    return again if again.converged and again.value <= found.value + 1e-12 * abs(found.value) else found


def _described(
    pairs: WeightedPairs, loss: Differentiable, shape: LossShape, found: list[Minimum], best: int, lowest: float
) -> Minimum:
    """A stationary point: what the Hessian says of it, and what the other starts came to."""
    point = replace(found[best], iterations=max(one.iterations for one in found))
    g, value = point.reward, point.value
    if pairs.parts.max() > 0:
        return replace(point, status=Status.NOT_UNIQUE, reason=_several_parts(pairs))
    if point.intervals is not None:
        start = "the lowest of several" if len(found) > 1 else "the one"
        reason = (
            f"a local minimum, at kinks of f, {start} that descents came to; f is not convex, so it need not be the "
        )
        return replace(point, status=Status.STATIONARY_POINT, reason=f"{reason}global minimum")
    curvature = _least_curvature(pairs, loss, g)
    low, high = shape.interval(pairs.margins(g), 1e-8 * (1 + float(np.abs(g).max())))
    curved = low == high  # where f″ is 0 at a point alone, as at 1 of (1 − z)⁴, it bends all the same
    if components(pairs.n, pairs.winner[curved], pairs.loser[curved], strong=False).max(initial=0) > 0:
        reason = "the stationary point found lies on straight pieces of the loss, along which it can move"
        return replace(point, status=Status.NOT_UNIQUE, reason=reason)
    what = "a local minimum" if curvature > FLAT else "level to second order" if curvature > -FLAT else "not a minimum"
    kind = f"{what} (least eigenvalue of the Hessian {curvature:.3g} of the largest)"
    twin = _as_good(pairs, loss, found, best) if curvature > -FLAT else None
    if twin is not None:
        nearest = min((g, twin), key=lambda end: float(np.sum((end - end.mean()) ** 2)))
        apart = np.abs(pairs.margins(g) - pairs.margins(twin)).max()
        reason = f"{kind}, and another point is as low, at margins up to {apart:.3g} from there; f is not convex, so "
        reason += "there may be more, and lower ones"
        return replace(point, reward=nearest, status=Status.NOT_UNIQUE, reason=reason)
    if value <= lowest + 1e-9 * abs(lowest) + 1e-15:
        reason = f"{kind}, and the global one: every pair is at its own minimum"
        return replace(point, status=Status.STATIONARY_POINT, reason=reason)
    start = "reached from π = πref" if best == 0 else "the lowest of several starts; another is reached from π = πref"
    others = np.unique(np.round([one.value for one in found if one.converged], 9))
    more = f"; {len(others)} stationary values were found" if len(others) > 1 else ""
    reason = f"{kind}, {start}{more}; f is not convex, so it need not be the global minimum"
    return replace(point, status=Status.STATIONARY_POINT, reason=reason)


def _as_good(pairs: WeightedPairs, loss: Differentiable, found: list[Minimum], best: int) -> FloatArray | None:
    """Another end of a descent, or the mirror image, that is as low to rounding and has other margins; else None."""
    g, value = found[best].reward, found[best].value
    total = float(pairs.weight @ np.abs(loss(pairs.margins(g))))
    ends = [(one.reward, one.value) for one in found if _is_stationary(one)]
    ends.append((-g, float(pairs.weight @ loss(pairs.margins(-g)))))
    for end, height in ends:
        away = np.abs(pairs.margins(end) - pairs.margins(g)).max(initial=0.0)
        if abs(height - value) <= SAME * total and away > DIFFERENT * (1 + np.abs(g).max()):
            return end
    return None


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


def _starts(pairs: WeightedPairs, apart: PairMinima, seed: int) -> FloatArray:
    """π = πref, the direction of the net wins at several scales, the pairs' own optima, random ones, shape (s, n)."""
    rng = np.random.default_rng(seed)
    wins = pairs.balance(pairs.weight)
    net: FloatArray = np.asarray(wins / max(float(np.abs(wins).max(initial=0.0)), 1e-300), dtype=np.float64)
    scales = np.geomspace(0.5, 5, STARTS if pairs.n <= DENSE_AT_MOST else 0)
    rows: list[FloatArray] = [np.zeros(pairs.n), net, 3 * net, *(s * rng.normal(size=pairs.n) for s in scales)]
    return np.stack([*rows, apart.along_a_tree()])


def _lowest_at_infinity(
    pairs: WeightedPairs, apart: PairMinima, loss: Differentiable, shape: LossShape, best: Minimum
) -> tuple[float, str]:
    """The lowest value found by sending a set of responses up for ever, and the set's names."""
    up, down = shape.right_limit, shape.left_limit
    if not (np.isfinite(up) and np.isfinite(down)):
        return np.inf, ""
    finite = best.value if _is_stationary(best) else np.inf
    sets = _splits(pairs)
    # A bound on each set's value: pairs across at the limits, the others at their own minimum. Most sets fail it.
    above_i, above_j = sets[:, apart.first], sets[:, apart.second]
    across = np.where(above_i, apart.forward * up + apart.backward * down, apart.backward * up + apart.forward * down)
    bound = np.where(above_i != above_j, across, apart.value).sum(axis=1)
    sets = sets[bound < finite - _slack(np.array([finite]))]
    if len(sets) and pairs.n <= ALL_ORDERS:
        value, levels = lowest_in_levels(pairs, loss, shape)
        return value, ", then ".join(listed([pairs.names[i] for i in level]) for level in levels[:-1])
    if pairs.n > ALL_SPLITS:
        sets = sets[np.argsort(_shifted(pairs, loss, sets, best.reward, up, down), kind="stable")[:SPLITS_TRIED]]
    if not len(sets):
        return np.inf, ""
    values = _split_values(pairs, loss, shape, sets, best.reward)
    k = int(np.argmin(values))
    return float(values[k]), listed([pairs.names[i] for i in np.flatnonzero(sets[k])])


def _shifted(
    pairs: WeightedPairs, loss: Differentiable, sets: BoolArray, g: FloatArray, up: float, down: float
) -> FloatArray:
    """F where each set is sent up for ever from g, all else staying where it is; shape (s,)."""
    winner, loser = sets[:, pairs.winner], sets[:, pairs.loser]
    here = loss(pairs.margins(np.nan_to_num(g)))
    return np.asarray(np.where(winner == loser, here, np.where(winner, up, down)) @ pairs.weight)


def _split_values(
    pairs: WeightedPairs, loss: Differentiable, shape: LossShape, sets: BoolArray, start: FloatArray
) -> FloatArray:
    """The least values found with each set for ever above the others, shape (s,).

    Pairs within are minimised again, from π = πref (from `start` where they are many); those that are one-sided there
    go to a lower limit too.
    """
    values, inside = np.zeros(len(sets)), []
    for k, up in enumerate(sets):
        same = pairs.within(up.astype(np.int64))
        limits = np.where(up[pairs.winner[~same]], shape.right_limit, shape.left_limit)
        values[k] = float(pairs.weight[~same] @ limits)
        rest = pairs.restricted(same)
        if shape.right_limit <= shape.left_limit:
            kept = rest.within(rest.cycles)
            values[k] += float(rest.weight[~kept].sum()) * shape.right_limit
            rest = rest.restricted(kept)
        inside.append(rest)
    if pairs.n <= DENSE_AT_MOST:
        stack, blocks = np.stack([rest.dense() for rest in inside]), np.stack([rest.parts for rest in inside])
        found = minimise_stack(stack, loss, blocks, convex=False, max_iterations=200)
    else:
        found = [minimise_sparse(rest, loss, start, convex=False, max_iterations=200) for rest in inside]
    least = np.array([one.value if np.isfinite(one.value) else np.inf for one in found], dtype=np.float64)
    return np.asarray(values + least)


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
