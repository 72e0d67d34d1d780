"""Piecewise linear convex losses (hinge, absolute value, …): the population optimum as a linear program.

With ``f(z) = a + σ₀ z + Σ_r s_r max(0, z − z_r)`` the problem ``min_g Σ_k w_k f(g_i − g_j)`` has the dual::

    min Σ_kr z_r u_kr   subject to   0 ≤ u_kr ≤ w_k s_r,   (w_k σ₀ + Σ_r u_kr) balanced at every response

a flow with one variable a pair and kink and one equation a response; g are the equations' multipliers. Differences
between the values of g at a vertex are sums of kinks, so for a single kink they are exact multiples of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.solvers.faces import Intervals, components
from gpo_analysis.solvers.minimum import Minimum, Status
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.program import linear_program

if TYPE_CHECKING:
    from gpo_analysis.losses.margin_loss import MarginLoss
    from gpo_analysis.losses.shape import LossShape

#: Weights below this share of the largest are resolved by solving again on their own scale.
RESOLUTION = 1e-6
#: How much finer each next scale is.
ZOOM = 1e8


def minimise_linear(pairs: WeightedPairs, loss: MarginLoss, shape: LossShape) -> Minimum:
    """A minimiser of ``Σ_k w_k f(g_i − g_j)`` and the intervals that describe all of them.

    Parameters
    ----------
    pairs : WeightedPairs
    loss : MarginLoss
    shape : LossShape
        Of a piecewise linear convex f, for which a minimum exists.

    Returns
    -------
    Minimum
        At a vertex of the set of minimisers.

    Raises
    ------
    RuntimeError
        Where the linear program is not solved to 1e-9.
    """
    g, intervals = _vertex(pairs, shape) if len(pairs.weight) else _anywhere(pairs)
    value = float(pairs.weight @ loss(pairs.margins(g)))
    return Minimum(g, value, Status.OPTIMUM, intervals=intervals)


def _anywhere(pairs: WeightedPairs) -> tuple[FloatArray, Intervals]:
    """Where every g is a minimiser."""
    free = np.full(len(pairs.weight), np.inf)
    return np.zeros(pairs.n), Intervals(pairs.winner, pairs.loser, -free, free)


def _vertex(pairs: WeightedPairs, shape: LossShape) -> tuple[FloatArray, Intervals]:
    n, winner, loser, weight = pairs.n, pairs.winner, pairs.loser, pairs.weight
    kinks = np.array([z for z, _ in shape.kinks])
    jumps = np.array([s for _, s in shape.kinks])
    k, r = len(winner), len(kinks)
    if r == 0:  # a straight line, under which wins and losses balance, or there would be no minimum
        return _anywhere(pairs)
    w = weight / weight.max()
    pair = np.tile(np.arange(k), r)
    room = np.repeat(jumps, k) * w[pair]
    cost = np.repeat(kinks, k)
    column = np.arange(k * r)
    signs = np.concatenate([np.ones(k * r), -np.ones(k * r)])
    ends = np.concatenate([winner[pair], loser[pair]])
    balance = sparse.coo_array((signs, (ends, np.tile(column, 2))), shape=(n, k * r)).tocsc()
    together = components(n, winner, loser, strong=False)
    flow, zoom = np.zeros(k * r), 1.0
    while True:
        terms = np.concatenate([shape.left_slope * w, flow])
        wanted = -_net(n, np.concatenate([winner, winner[pair]]), np.concatenate([loser, loser[pair]]), terms, together)
        low, high = _wide(-flow * zoom), _wide((room - flow) * zoom)
        x, multipliers = linear_program(cost, balance, wanted * zoom, low, high)
        at_low, at_high = x <= low + 1e-9, x >= high - 1e-9
        flow = np.where(at_low, 0.0, np.where(at_high, room, np.clip(flow + x / zoom, 0.0, room)))
        if zoom * w.min() >= RESOLUTION or zoom > 1e300 / ZOOM:
            break
        zoom *= ZOOM
    g = multipliers - multipliers[0]
    if r == 1 and kinks[0] != 0:
        g = np.round(g / kinks[0]) * kinks[0]
    below, above = np.zeros(k * r, dtype=bool), np.zeros(k * r, dtype=bool)
    below[at_low], above[at_high] = True, True
    return g - g.mean(), _intervals(winner, loser, kinks, below.reshape(r, k), above.reshape(r, k))


def _net(n: int, tail: IntArray, head: IntArray, terms: FloatArray, together: IntArray) -> FloatArray:
    """Outflow − inflow of every response, summed without rounding, since the next scale blows up what is left."""
    ends = np.concatenate([tail, head])
    signed = np.concatenate([terms, -terms])
    order = np.argsort(ends, kind="stable")
    cuts = np.searchsorted(ends[order], np.arange(1, n))
    net = np.array([math.fsum(part) for part in np.split(signed[order], cuts)])
    # Exactly balanced within each component, or the equations contradict each other by a rounding error.
    mean = np.bincount(together, weights=net) / np.bincount(together)
    return np.asarray(net - mean[together])


def _wide(bound: FloatArray) -> FloatArray:
    """Bounds that are out of sight on this scale count as infinite."""
    return np.asarray(np.where(np.abs(bound) > 1e7, np.copysign(np.inf, bound), bound))


def _intervals(winner: IntArray, loser: IntArray, kinks: FloatArray, below: BoolArray, above: BoolArray) -> Intervals:
    """Complementary slackness: u = 0 says ``d ≤ z_r``, u at its bound ``d ≥ z_r``, anything between ``d = z_r``."""
    lower = np.full(len(winner), -np.inf)
    upper = np.full(len(winner), np.inf)
    for r, kink in enumerate(kinks):
        lower = np.where(~below[r], np.maximum(lower, kink), lower)
        upper = np.where(~above[r], np.minimum(upper, kink), upper)
    return Intervals(winner, loser, lower, upper)
