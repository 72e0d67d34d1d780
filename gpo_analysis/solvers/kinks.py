"""Convex losses with kinks and curvature (``max(0, 1 − z) + z²/10``): smooth the kinks, then hold on to them exactly.

Write ``f(z) = f₀(z) + Σ_r s_r max(0, z − z_r)`` with f₀ once differentiable. Newton's method runs on
``max(0, u) → (u + √(u² + 4τ²))/2`` while τ falls; pairs whose margin ends at a kink are then *held* there, which leaves
a smooth problem in fewer variables. Its minimum is the answer if the slopes at the held kinks can be chosen within
their jumps so that every response is in balance: the condition 0 ∈ ∂F, which is checked and not assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import lsq_linear

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.faces import Intervals, components
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.minimum import Minimum, Status
from gpo_analysis.solvers.newton import minimise_stack
from gpo_analysis.solvers.pairs import WeightedPairs

SMOOTHINGS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
#: A margin this near to a kink, after the last smoothing, is held there.
NEAR = 1e-3


@dataclass(frozen=True, eq=False)
class _Smoothed:
    """f with its kinks rounded at the scale τ; the same calls as f."""

    loss: Differentiable
    shape: LossShape
    tau: float

    def __call__(self, z: FloatArray) -> FloatArray:
        return self.derivative(z, order=0)

    def derivative(self, z: FloatArray, order: int = 1) -> FloatArray:
        total = _smooth_part(self.loss, self.shape, z, order)
        for kink, jump in self.shape.kinks:
            u = z - kink
            root = np.hypot(u, 2 * self.tau)
            part = ((u + root) / 2, (1 + u / root) / 2, 2 * self.tau**2 / root**3)[order]
            total = total + jump * part
        return total


def _smooth_part(loss: Differentiable, shape: LossShape, z: FloatArray, order: int) -> FloatArray:
    """f₀ or a derivative; exactly at a kink, from the left."""
    left = z
    for kink, _ in shape.kinks:
        left = np.where(left == kink, np.nextafter(kink, -np.inf), left)
    total: FloatArray = np.asarray(loss.derivative(left, order=order), dtype=np.float64)
    for kink, jump in shape.kinks:
        if order < 2:
            total = total - jump * (np.maximum(left - kink, 0.0) if order == 0 else (left > kink))
    return total


def minimise_kinked(pairs: WeightedPairs, loss: Differentiable, shape: LossShape) -> Minimum:
    """Minimise ``Σ w f(g_i − g_j)`` for a convex f with kinks, of which a minimum exists.

    Parameters
    ----------
    pairs : WeightedPairs
    loss : MarginLoss, or what has its calls
    shape : LossShape
        With at least one kink.
    """
    weights = pairs.dense()[None]
    g, iterations = np.zeros((1, pairs.n)), 0
    for tau in SMOOTHINGS:
        (found,) = minimise_stack(weights, _Smoothed(loss, shape, tau), pairs.parts[None], g)
        g, iterations = found.reward[None], iterations + found.iterations
    return _polish(pairs, loss, shape, g[0], iterations)


def rest_at_kinks(pairs: WeightedPairs, loss: Differentiable, shape: LossShape, found: Minimum) -> Minimum:
    """A descent that did not come to rest, as it hovers about kinks, brought to rest at them where that can be done.

    For an f that is not convex too: what is found is a local minimum, no higher than where the descent ended, with the
    pairs at kinks held by the jumps of the slope there and every other motion against positive curvature.
    """
    jumps = np.array([jump for _, jump in shape.kinks])
    if not ((jumps > 0).all() and np.isfinite(found.reward).all() and np.isfinite(found.value)):
        return found
    point = found
    for near in (NEAR, 1e-2, 5e-2, 0.2):  # what is held too much is let go again
        start = point.reward if np.isfinite(point.reward).all() else found.reward
        point = _polish(pairs, loss, shape, start, found.iterations, near)
        if point.converged:
            break
    if not point.converged or not point.value <= found.value + 1e-9 * abs(found.value) or point.intervals is None:
        return found
    held = point.intervals.lower == point.intervals.upper
    blocks, _, _ = _contracted(pairs, held, point.intervals.lower, point.reward)
    count = int(blocks.max()) + 1
    if count > 1:
        tail, head = blocks[pairs.winner], blocks[pairs.loser]
        curvature = np.zeros((count, count))
        np.add.at(curvature, (tail, head), pairs.weight * loss.derivative(pairs.margins(point.reward), order=2))
        curvature = np.where(np.eye(count, dtype=bool), 0.0, curvature + curvature.T)
        hessian = np.diag(curvature.sum(axis=1)) - curvature
        if np.linalg.eigvalsh(hessian)[1] <= 1e-9 * np.abs(hessian).max():
            return found
    return replace(point, error=1e-9 * (1 + float(np.abs(point.reward).max())))


def _polish(
    pairs: WeightedPairs, loss: Differentiable, shape: LossShape, g: FloatArray, iterations: int, near: float = NEAR
) -> Minimum:
    d = pairs.margins(g)
    kinks = np.array([kink for kink, _ in shape.kinks])
    cusps = np.isinf([jump for _, jump in shape.kinks])
    nearest = np.argmin(np.abs(d[:, None] - kinks[None, :]), axis=1)
    held = np.abs(d - kinks[nearest]) <= near
    for _ in range(20):
        blocks, offset, held = _contracted(pairs, held, kinks[nearest], g)
        at = _reduced_newton(pairs, loss, shape, blocks, offset, g)
        slopes, rest = _multipliers(pairs, loss, shape, at, held, nearest)
        smooth = ~(held & cusps[nearest])
        tolerance = _tolerance(pairs.restricted(smooth), loss, pairs.margins(at)[smooth])
        if rest <= tolerance:
            break
        loose = held.copy()
        loose[held] = (slopes <= 1e-9) | (slopes >= 1 - 1e-9)
        if not loose.any():
            break
        held = held & ~loose
    converged = rest <= tolerance
    d = pairs.margins(at)
    lower, upper = shape.interval(d, 0.0)
    inner = np.zeros(len(held), dtype=bool)
    inner[held] = (slopes > 1e-9) & (slopes < 1 - 1e-9)
    pinned = kinks[nearest]
    lower, upper = np.where(inner, pinned, lower), np.where(inner, pinned, upper)
    value = float(pairs.weight @ loss(np.where(held, pinned, d)))
    if not converged:
        return Minimum(at, value, Status.NOT_CONVERGED, "the slopes at the kinks do not balance", iterations=iterations)
    intervals = Intervals(pairs.winner, pairs.loser, lower, upper)
    return Minimum(at, value, Status.OPTIMUM, iterations=iterations, intervals=intervals)


def _tolerance(pairs: WeightedPairs, loss: Differentiable, margins: FloatArray) -> float:
    """The imbalance that counts as none: a billionth of the largest slope, or what rounding of the margins makes.

    At the minimum of the heaviest pair its slope is 0, and that of the others may be below the rounding.
    """
    slope = pairs.weight * np.abs(loss.derivative(margins))
    curvature = pairs.weight * np.abs(loss.derivative(margins, order=2))
    rounding = 16 * np.finfo(float).eps * (slope + curvature * (1 + np.abs(margins)))
    return float(max(1e-9 * slope.max(initial=1e-300), rounding.max(initial=0.0)))


def _contracted(
    pairs: WeightedPairs, held: BoolArray, pinned: FloatArray, g: FloatArray
) -> tuple[IntArray, FloatArray, BoolArray]:
    """Blocks that the held pairs make, each response's place in its block, and the pairs that agree with it."""
    blocks = components(pairs.n, pairs.winner[held], pairs.loser[held], strong=False)
    offset = np.zeros(pairs.n)
    seen = np.zeros(pairs.n, dtype=bool)
    neighbours: list[list[tuple[int, float]]] = [[] for _ in range(pairs.n)]
    for k in np.flatnonzero(held):
        i, j = int(pairs.winner[k]), int(pairs.loser[k])
        neighbours[i].append((j, -pinned[k]))
        neighbours[j].append((i, pinned[k]))
    for root in range(pairs.n):
        stack = [] if seen[root] else [root]
        seen[root] = True
        while stack:
            i = stack.pop()
            for j, step in neighbours[i]:
                if not seen[j]:
                    seen[j], offset[j] = True, offset[i] + step
                    stack.append(j)
    agree = held & (np.abs(pairs.margins(offset) - pinned) <= 1e-9)
    count = np.bincount(blocks)
    offset = offset - (np.bincount(blocks, weights=offset) / count)[blocks]
    return blocks, offset, agree


def _reduced_newton(
    pairs: WeightedPairs, loss: Differentiable, shape: LossShape, blocks: IntArray, offset: FloatArray, g: FloatArray
) -> FloatArray:
    """Minimise over the blocks' places, all else held; the margins stay off the kinks."""
    count = int(blocks.max()) + 1
    size = np.bincount(blocks)
    y = np.bincount(blocks, weights=g) / size
    tail, head = blocks[pairs.winner], blocks[pairs.loser]
    apart = tail != head
    tail, head, w = tail[apart], head[apart], pairs.weight[apart]
    shift = (pairs.margins(offset))[apart]
    for _ in range(100 if len(w) else 0):
        d = y[tail] - y[head] + shift
        flow = w * loss.derivative(d)
        gradient = np.bincount(tail, flow, count) - np.bincount(head, flow, count)
        curvature = np.zeros((count, count))
        np.add.at(curvature, (tail, head), w * loss.derivative(d, order=2))
        curvature = curvature + curvature.T
        hessian = np.diag(curvature.sum(axis=1)) - curvature
        step = -np.linalg.lstsq(hessian, gradient, rcond=1e-14)[0]
        value, length = float(w @ loss(d)), 1.0
        while length > 1e-12 and float(w @ loss(d + length * (step[tail] - step[head]))) > value + 1e-15 * abs(value):
            length /= 2
        y = y + length * step
        if np.abs(step).max() <= 1e-13 * (1 + np.abs(y).max()):
            break
    placed = y[blocks] + offset
    return np.asarray(placed - (np.bincount(pairs.parts, placed) / np.bincount(pairs.parts))[pairs.parts])


def _multipliers(
    pairs: WeightedPairs, loss: Differentiable, shape: LossShape, g: FloatArray, held: BoolArray, nearest: IntArray
) -> tuple[FloatArray, float]:
    """Shares in [0, 1] of the jumps at the held kinks that balance every response best, and the imbalance left.

    At a cusp, where the slope jumps from −∞ to ∞, any slope will do; its share counts as ½.
    """
    kinks = np.array([kink for kink, _ in shape.kinks])
    jumps = np.array([jump for _, jump in shape.kinks])
    d = pairs.margins(g)
    left = np.where(held, np.nextafter(kinks[nearest], -np.inf), d)
    cusp = held & np.isinf(jumps[nearest])
    flow = pairs.weight * np.where(cusp, 0.0, loss.derivative(left))
    gradient = pairs.balance(flow)
    k = np.flatnonzero(held)
    if not len(k):
        return np.zeros(0), float(np.abs(gradient).max())
    columns = np.zeros((pairs.n, len(k)))
    free = cusp[k]
    strength = pairs.weight[k] * np.where(free, 1.0, jumps[nearest[k]])
    columns[pairs.winner[k], np.arange(len(k))] = strength
    columns[pairs.loser[k], np.arange(len(k))] = -strength
    bounds = np.where(free, -np.inf, 0.0), np.where(free, np.inf, 1.0)
    found = lsq_linear(columns, -gradient, bounds=bounds, method="bvls", tol=1e-15, max_iter=1000)
    return np.where(free, 0.5, found.x), float(np.abs(columns @ found.x + gradient).max())
