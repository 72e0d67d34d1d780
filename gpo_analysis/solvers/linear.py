"""Piecewise linear convex losses (hinge, absolute value, …): the population optimum as a flow of least cost.

With ``f(z) = a + σ₀ z + Σ_r s_r max(0, z − z_r)`` the problem ``min_g Σ_k w_k f(g_i − g_j)`` has the dual::

    min Σ_kr z_r u_kr   subject to   0 ≤ u_kr ≤ w_k s_r,   (w_k σ₀ + Σ_r u_kr) balanced at every response

a flow with one arc a pair and kink; g are its potentials. Differences between the values of g at a vertex are sums of
kinks, so for a single kink they are exact multiples of it. Many pairs go to OR-tools where it is installed
(:mod:`.network`). Of the others, weights within a few orders of magnitude go to HiGHS; the rest have no scale on which
its tolerances mean anything, and go to the network simplex method in exact arithmetic.

Where many g are minimisers, any optimal flow gives the same intervals, and of the g within them the one of least norm
is returned (:func:`.faces.least_norm`), whichever solver found the flow.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.faces import Intervals
from gpo_analysis.solvers.flow import RESOLUTION, Flow, whole
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.minimum import Minimum, Status
from gpo_analysis.solvers.network import is_available, solve_network
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.program import linear_program

#: Pairs from which on OR-tools is asked: below, HiGHS takes less time than loading it.
MANY = 2000
#: The largest duality gap, relative to Σ w max|z|, with which its answer is taken.
CERTAIN = 1e-9


def minimise_linear(pairs: WeightedPairs, loss: Differentiable, shape: LossShape) -> Minimum:
    """A minimiser of ``Σ_k w_k f(g_i − g_j)`` and the intervals that describe all of them.

    Parameters
    ----------
    pairs : WeightedPairs
    loss : MarginLoss, or what has its calls
    shape : LossShape
        Of a piecewise linear convex f, for which a minimum exists.

    Returns
    -------
    Minimum
        At a vertex of the set of minimisers.
    """
    gap = np.nan
    if not len(pairs.weight) or not shape.kinks:
        # nothing compared, or a straight line under which wins and losses balance: every g is a minimiser
        free = np.full(len(pairs.weight), np.inf)
        g, intervals = np.zeros(pairs.n), Intervals(pairs.winner, pairs.loser, -free, free)
    else:
        found = _by_network(pairs, shape)
        g, below, above, gap = (*_vertex(pairs, shape), np.nan) if found is None else found
        intervals = _intervals(pairs, np.array([z for z, _ in shape.kinks]), below, above)
    value = float(pairs.weight @ loss(pairs.margins(g)))
    return Minimum(g, value, Status.OPTIMUM, intervals=intervals, gap=gap)


def _by_network(pairs: WeightedPairs, shape: LossShape) -> tuple[FloatArray, BoolArray, BoolArray, float] | None:
    """As :func:`_vertex`, and the gap; None where there are few pairs, or the gap proves nothing."""
    if len(pairs.weight) * len(shape.kinks) < MANY or not is_available():
        return None
    found = solve_network(pairs, shape)
    largest = max(abs(kink) for kink, _ in shape.kinks)
    if found is None or not found.gap <= CERTAIN * max(largest, 1e-300) * max(jump for _, jump in shape.kinks):
        return None
    rows = len(shape.kinks)
    g = found.potential - found.potential.mean()
    return g, found.below.reshape(rows, -1), found.above.reshape(rows, -1), found.gap


def _vertex(pairs: WeightedPairs, shape: LossShape) -> tuple[FloatArray, BoolArray, BoolArray]:
    """g at a vertex; which arcs (r, k) carry nothing, and which all that they hold."""
    kinks = np.array([z for z, _ in shape.kinks])
    graded = pairs.weight.min() < RESOLUTION * pairs.weight.max()
    solved = None if graded else _by_program(pairs, shape, kinks)
    g, below, above = _by_pivots(pairs, shape, kinks) if solved is None else solved
    if len(kinks) == 1 and kinks[0] != 0:
        g = np.round((g - g[0]) / kinks[0]) * kinks[0]
    return g - g.mean(), below.reshape(len(kinks), -1), above.reshape(len(kinks), -1)


def _by_program(
    pairs: WeightedPairs, shape: LossShape, kinks: FloatArray
) -> tuple[FloatArray, BoolArray, BoolArray] | None:
    """By HiGHS; None where it gives up."""
    k, r = len(pairs.weight), len(kinks)
    w = pairs.weight / pairs.weight.max()
    pair = np.tile(np.arange(k), r)
    room = np.repeat([jump for _, jump in shape.kinks], k) * w[pair]
    signs = np.concatenate([np.ones(k * r), -np.ones(k * r)])
    ends = np.concatenate([pairs.winner[pair], pairs.loser[pair]])
    balance = sparse.coo_array((signs, (ends, np.tile(np.arange(k * r), 2))), shape=(pairs.n, k * r)).tocsc()
    supply = -pairs.balance(shape.left_slope * w)
    together = pairs.parts  # exactly balanced within each component, or the equations contradict each other by rounding
    supply -= (np.bincount(together, weights=supply) / np.bincount(together))[together]
    try:
        x, g = linear_program(np.repeat(kinks, k), balance, supply, np.zeros(k * r), room)
    except RuntimeError:
        return None
    return g, x <= 1e-9, x >= room - 1e-9


def _by_pivots(pairs: WeightedPairs, shape: LossShape, kinks: FloatArray) -> tuple[FloatArray, BoolArray, BoolArray]:
    """By the network simplex method, exactly."""
    k, r = len(pairs.weight), len(kinks)
    parts = [shape.left_slope * pairs.weight, *(jump * pairs.weight for _, jump in shape.kinks)]
    numbers = whole(np.concatenate(parts))
    base, room = numbers[:k], numbers[k:]
    if shape.right_slope == 0:  # f is level beyond the last kink: its jump makes up for the slopes before it, exactly
        for i in range(k):
            room[k * (r - 1) + i] = -base[i] - sum(room[i : k * (r - 1) : k])
    supply = [0] * pairs.n
    for i, j, fixed in zip(pairs.winner.tolist(), pairs.loser.tolist(), base, strict=True):
        supply[i] -= fixed
        supply[j] += fixed
    pair = np.tile(np.arange(k), r)
    flow = Flow(pairs.n, pairs.winner[pair], pairs.loser[pair], np.repeat(kinks, k), room, supply)
    flow.solve()
    below, above = flow.at_ends()
    return flow.potential[: pairs.n], below, above


def _intervals(pairs: WeightedPairs, kinks: FloatArray, below: BoolArray, above: BoolArray) -> Intervals:
    """Complementary slackness: u = 0 says ``d ≤ z_r``, u at its bound ``d ≥ z_r``, anything between ``d = z_r``."""
    lower = np.full(len(pairs.weight), -np.inf)
    upper = np.full(len(pairs.weight), np.inf)
    for r, kink in enumerate(kinks):
        lower = np.where(~below[r], np.maximum(lower, kink), lower)
        upper = np.where(~above[r], np.minimum(upper, kink), upper)
    return Intervals(pairs.winner, pairs.loser, lower, upper)
