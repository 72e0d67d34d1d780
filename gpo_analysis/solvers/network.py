"""Flows of least cost by OR-tools: what makes polygonal losses on a million comparisons a matter of seconds.

Its solver (Goldberg's cost scaling) takes whole numbers. Counts of comparisons are whole, and the kinks and slopes of
most losses are multiples of one number, so most problems are solved as they are; others are rounded to a unit so small
that all of them together move by less than 1e-12 of the whole. The flow comes without potentials: those are shortest
paths in the residual graph. What the rounding left is bounded by the duality gap, in the weights as they were given.

Without OR-tools (``pip install 'gpo-analysis[network]'``) nothing is missing but speed: see :mod:`.linear`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.flow import RESOLUTION
from gpo_analysis.solvers.pairs import WeightedPairs

#: All capacities together, at most; the solver adds them up in 64 bits.
MOST_FLOW = 2**59
#: Kinks that are no multiples of one number are rounded to this share of the largest.
FINEST_KINK = 2.0**-34


def is_available() -> bool:
    """Whether OR-tools is installed."""
    return find_spec("ortools") is not None


def multiples(values: FloatArray, finest: float) -> tuple[IntArray, float, bool]:
    """Whole numbers and a unit of which the values are multiples, up to the rounding of floats.

    Parameters
    ----------
    values : array, shape (k,)
        Not all 0.
    finest : float
        Unit, as a share of the largest value, where they are no multiples of the least or a small part of it.

    Returns
    -------
    numbers : array of int, shape (k,)
    unit : float
    exact : bool
        Whether nothing was rounded.

    Examples
    --------
    >>> multiples(np.array([0.5, 0.0, 0.75]), 1e-9)
    (array([2, 0, 3]), 0.25, True)
    """
    size = np.abs(values)
    largest, least = float(size.max()), float(size[size > 0].min())
    for part in range(1, 25):
        unit = least / part
        if largest / unit > MOST_FLOW:
            break
        numbers = np.rint(values / unit)
        if np.all(np.abs(values / unit - numbers) <= 1e-12 * np.abs(numbers)):
            return numbers.astype(np.int64), unit, True
    unit = largest * finest
    return np.rint(values / unit).astype(np.int64), unit, False


@dataclass(frozen=True, eq=False)
class Balanced:
    """An optimal flow and its potentials.

    Attributes
    ----------
    potential : array, shape (n,)
        The scores of the responses.
    below, above : array of bool, shape (r·k,)
        Arcs, one a kink and pair, that carry nothing, and all that they hold.
    gap : float
        By how much F at the potentials may lie above the infimum, at most; relative to Σ w.
    """

    potential: FloatArray
    below: BoolArray
    above: BoolArray
    gap: float


def solve_network(pairs: WeightedPairs, shape: LossShape) -> Balanced | None:
    """The dual of ``min_g Σ_k w_k f(g_i − g_j)`` for a polygonal convex f, as a flow of least cost.

    Parameters
    ----------
    pairs : WeightedPairs
    shape : LossShape
        With at least one kink; a minimum exists.

    Returns
    -------
    Balanced or None
        None where the numbers do not fit into 64 bits or would lose the rarest pairs, or the solver gives up.
    """
    kinks, jumps = np.array(shape.kinks).T
    cost, unit = (np.zeros(len(kinks), dtype=np.int64), 1.0) if not kinks.any() else multiples(kinks, FINEST_KINK)[:2]
    slopes = np.array([*jumps, shape.right_slope])
    capacity = _whole_capacities(pairs.weight, slopes)
    if capacity is None:
        return None
    room, right = capacity[:-1], capacity[-1]
    k, r = len(pairs.weight), len(kinks)
    winner, loser = np.tile(pairs.winner, r), np.tile(pairs.loser, r)
    capacity = room.ravel()
    supply = _net(pairs, room.sum(axis=0) - right)
    flow = _least_cost(pairs.n, winner, loser, np.repeat(cost, k), capacity, supply)
    if flow is None:
        return None
    potential = unit * _potentials(pairs.n, winner, loser, np.repeat(cost, k), flow > 0, flow < capacity)
    gap = _gap(pairs, shape, kinks, potential, flow / capacity)
    return Balanced(potential, flow == 0, flow == capacity, gap)


def _whole_capacities(weight: FloatArray, slopes: FloatArray) -> IntArray | None:
    """``w_k s_r`` in one unit, shape (r, k): exact if both have units of their own; None if a pair would be lost."""
    largest = float(np.abs(slopes).sum())
    slope, _, exact = multiples(slopes, 1.0)
    number, _, counted = multiples(weight, 1.0)
    if exact and counted and float(number.sum()) * float(np.abs(slope).sum()) <= MOST_FLOW:
        return np.asarray(slope[:, None] * number)
    if weight.min() < RESOLUTION * weight.max():
        return None
    rounded = np.rint(slopes[:, None] * (weight * (MOST_FLOW / largest / weight.sum()))).astype(np.int64)
    return rounded if (rounded[:-1] > 0).all() else None


def _net(pairs: WeightedPairs, flow: IntArray) -> IntArray:
    """Outflow less inflow of each response, exactly."""
    net = np.zeros(pairs.n, dtype=np.int64)
    np.add.at(net, pairs.winner, flow)
    np.subtract.at(net, pairs.loser, flow)
    return net


def _least_cost(
    n: int, tail: IntArray, head: IntArray, cost: IntArray, capacity: IntArray, supply: IntArray
) -> IntArray | None:
    from ortools.graph.python import min_cost_flow

    solver: Any = min_cost_flow.SimpleMinCostFlow()
    arcs = solver.add_arcs_with_capacity_and_unit_cost(tail.astype(np.int32), head.astype(np.int32), capacity, cost)
    solver.set_nodes_supplies(np.arange(n, dtype=np.int32), supply)
    return np.asarray(solver.flows(arcs), dtype=np.int64) if solver.solve() == solver.OPTIMAL else None


def _potentials(n: int, tail: IntArray, head: IntArray, cost: IntArray, used: BoolArray, free: BoolArray) -> FloatArray:
    """The largest whole numbers up to 0 with ``p[tail] ≤ p[head] + cost`` wherever flow can be added, and ≥ if taken.

    Label correcting (Bellman–Ford), from the nodes that changed on to those that depend on them.
    """
    upper = np.concatenate([tail[free], head[used]])
    lower = np.concatenate([head[free], tail[used]])
    step = np.concatenate([cost[free], -cost[used]])
    order = np.argsort(lower, kind="stable")
    upper, step = upper[order], step[order]
    count = np.bincount(lower, minlength=n)
    begin = np.cumsum(count) - count
    p = np.zeros(n, dtype=np.int64)
    changed = np.arange(n)
    for _ in range(n + 1):
        size = count[changed]
        arcs = np.repeat(begin[changed] - np.cumsum(size) + size, size) + np.arange(size.sum())
        reach = np.repeat(p[changed], size) + step[arcs]
        before = p.copy()
        np.minimum.at(p, upper[arcs], reach)
        changed = np.flatnonzero(p < before)
        if not len(changed):
            return p.astype(np.float64)
    raise RuntimeError("the residual graph has a cycle of negative cost, so the flow is not the cheapest")


def _gap(pairs: WeightedPairs, shape: LossShape, kinks: FloatArray, g: FloatArray, share: FloatArray) -> float:
    """F(g) less the dual's bound, in the weights as given.

    ``f(d) ≥ f₀ + σ₀ d + Σ_r u_r (d − z_r)`` for every 0 ≤ u_r ≤ s_r. What rounding leaves unbalanced of the slopes is
    multiplied by the largest difference that an optimal vertex can have, a sum of n − 1 kinks.
    """
    d, total = pairs.margins(g), float(pairs.weight.sum())
    primal, dual = pairs.weight * (shape.left_slope * d), np.zeros(len(d))
    slope = np.full(len(d), shape.left_slope)
    for r, (kink, (_, jump)) in enumerate(zip(kinks, shape.kinks, strict=True)):
        u = jump * share[r * len(d) : (r + 1) * len(d)]
        primal += pairs.weight * (jump * np.maximum(d - kink, 0.0))
        dual -= pairs.weight * (kink * u)
        slope += u
    unbalanced = float(np.abs(pairs.balance(pairs.weight * slope)).sum())
    apart = pairs.n * float(np.abs(kinks).max())
    return (float(primal.sum()) - float(dual.sum()) + unbalanced * apart) / total
