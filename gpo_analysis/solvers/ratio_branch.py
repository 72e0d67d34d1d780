r"""A lower bound of Σ c_i(u_i) over Σ πref e^{u/β} = 1 where convex losses push down, by branching on one mass.

In masses p = πref e^{u/β} the constraint is Σp = 1, and c becomes φ(p) with φ′(p) = β c′(u)/p and φ″ of the sign of
m(u) = β c″(u) − c′(u). Where m changes its sign once, from + to −, φ is convex up to one mass P and concave beyond;
that it does is proved by :func:`gpo_analysis.calculus.signs.signs_on`, or nothing is bounded here. Of two masses beyond
their P one would give to the other, so that at the minimum at most one of them is. Either none is, a convex problem; or
one, k: on an interval of p_k the concave φ_k lies above its chord, the others are convex, and weak duality bounds the
minimum for every multiplier. Intervals are halved until they cannot hold anything better.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import sympy

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.losses import CHOSEN, REJECTED, TwoRatioLoss
from gpo_analysis.losses.margin_loss import MARGIN

_MOST_INTERVALS = 200  # that are halved, for all responses together
_FEWEST = 8
_STEPS = 60
_LOWEST = -600.0  # of u/β, so that masses are floats


@dataclass(frozen=True, eq=False)
class Separate:
    """Σ_i wins_i R(u_i) + losses_i S(u_i) + tilt_i u_i, R and S convex.

    Attributes
    ----------
    up, down : TwoRatioLoss
        R of the chosen's log-ratio, S of the rejected's.
    wins, losses, tilt, log_reference : array, shape (n,)
    beta : float
    """

    up: TwoRatioLoss
    down: TwoRatioLoss
    wins: FloatArray
    losses: FloatArray
    tilt: FloatArray
    log_reference: FloatArray
    beta: float

    def at(self, u: FloatArray, which: IntArray, order: int) -> FloatArray:
        """c or a derivative of the responses `which` at their u."""
        straight = self.tilt[which] * (u if order == 0 else float(order == 1))
        won, lost = self.up.derivative(u, u, (order, 0)), self.down.derivative(u, u, (0, order))
        return np.asarray(straight + self.wins[which] * won + self.losses[which] * lost)

    def turns(self) -> FloatArray | None:
        """The masses P up to which each φ is convex, at most 1; None where that is not proved."""
        found = np.ones(len(self.wins))
        exact = sympy.Rational
        up, down = self.up.expression.xreplace({CHOSEN: MARGIN}), self.down.expression.xreplace({REJECTED: MARGIN})
        for i in range(len(found)):
            c = exact(self.wins[i]) * up + exact(self.losses[i]) * down + exact(self.tilt[i]) * MARGIN
            curved = exact(self.beta) * sympy.diff(c, MARGIN, 2) - sympy.diff(c, MARGIN)
            signs = signs_on(curved, MARGIN)
            if signs is None or not signs.proved or signs.signs not in {(1,), (1, -1), (0,)}:
                return None
            if signs.zeros:
                found[i] = np.exp(min(0.0, float(signs.zeros[0]) / self.beta + self.log_reference[i]))
        return found


def branched_bound(parts: Separate, value: float, tolerance: float) -> float:
    """A lower bound of the minimum; −∞ where none is found. It ends where the bound is within `tolerance` of `value`.

    Parameters
    ----------
    parts : Separate
    value : float
        Of a policy, so that the minimum is at most that.
    tolerance : float
    """
    turns = parts.turns()
    if turns is None:
        return -np.inf
    n = len(turns)
    everything = np.arange(n)
    bound = _convex_bound(parts, everything, turns, 1.0, None)
    aim = value - tolerance
    halved = 0
    for k in np.flatnonzero(turns < 1):
        others = np.delete(everything, k)
        edges = np.linspace(turns[k], 1.0, _FEWEST + 1)
        heap = [
            (_convex_bound(parts, others, turns, 1.0 - 0.5 * (left + right), (int(k), left, right)), left, right)
            for left, right in pairwise(edges.tolist())
        ]
        heapq.heapify(heap)
        while halved < _MOST_INTERVALS:
            least, left, right = heap[0]
            if least >= min(aim, bound):
                break
            halved += 1
            heapq.heappop(heap)
            middle = 0.5 * (left + right)
            for ends in ((left, middle), (middle, right)):
                here = _convex_bound(parts, others, turns, 1.0 - 0.5 * sum(ends), (int(k), *ends))
                heapq.heappush(heap, (here, *ends))
        bound = min(bound, heap[0][0])
    return bound


def _convex_bound(
    parts: Separate, which: IntArray, turns: FloatArray, mass: float, branch: tuple[int, float, float] | None
) -> float:
    """A bound where `which` are up to their turns, and p_k of `branch` in an interval round 1 − mass.

    Any multiplier λ of Σp = 1 gives one: Σ min (φ + λp) − λ. Below its turn φ is above its tangent at p̂, so that its
    part is at least φ(p̂) + λp̂ less what the slope φ′(p̂) + λ can still gain within [0, P].
    """
    most = turns[which]
    width = 0.0 if branch is None else 0.5 * (branch[2] - branch[1])
    if most.sum() < mass - width:
        return np.inf  # nothing there has Σp = 1
    u, found = _at_rest(parts, which, most, min(max(mass, 1e-12), float(most.sum())))
    p, pull = np.exp(u / parts.beta + parts.log_reference[which]), parts.beta * parts.at(u, which, 1)
    largest = int(np.argmax(p))
    candidates = (found, -float(pull[largest] / p[largest]))  # the second where what has most is at its turn
    return max(_dual(parts, which, most, u, p, pull, multiplier, branch) for multiplier in candidates)


def _dual(
    parts: Separate,
    which: IntArray,
    most: FloatArray,
    u: FloatArray,
    p: FloatArray,
    pull: FloatArray,
    multiplier: float,
    branch: tuple[int, float, float] | None,
) -> float:
    """The bound that one multiplier gives, with tangents at the masses p."""
    slope = pull + multiplier * p  # p times that of φ + λp
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        gain = np.where(slope > 0, slope, -slope * np.maximum(most / p - 1, 0.0))
    bound = float(np.sum(parts.at(u, which, 0) + multiplier * p - gain)) - multiplier
    if branch is not None:
        k, ends = np.array([branch[0]] * 2), np.array(branch[1:])
        at = parts.beta * (np.log(ends) - parts.log_reference[k])
        bound += float(np.min(parts.at(at, k, 0) + multiplier * ends))
    return bound if np.isfinite(bound) else -np.inf


def _at_rest(parts: Separate, which: IntArray, most: FloatArray, mass: float) -> tuple[FloatArray, float]:
    """u and λ near c′ + λp/β = 0, Σp = mass, by Newton's method from shares of the turns; the bound needs no more."""
    beta, base = parts.beta, parts.log_reference[which]
    top = beta * (np.log(most) - base)
    start = most * (mass / most.sum())
    u = beta * (np.log(start) - base)
    slope, p = parts.at(u, which, 1), start
    multiplier = -beta * float(slope[np.argmax(start)] / start.max())
    best: tuple[float, FloatArray, float] = (np.inf, u, multiplier)
    for _ in range(_STEPS):
        slope, p = parts.at(u, which, 1), np.exp(u / beta + base)
        left, over = slope + multiplier * p / beta, float(p.sum()) - mass
        held = (u >= top) & (left < 0)
        lacking = float(np.abs(left[~held]).sum()) + abs(over * multiplier)
        if lacking < best[0]:
            best = (lacking, u, multiplier)
        if lacking <= 1e-15 * (1 + abs(multiplier)) or held.all():
            break
        curved = np.maximum(parts.at(u, which, 2) + multiplier * p / beta**2, 1e-300)
        curved = np.maximum(curved, np.abs(slope) / beta * 1e-3)
        weight = np.where(held, 0.0, p / beta / curved)
        change = (over - float(weight @ left)) / max(float(weight @ (p / beta)), 1e-300)
        step = np.where(held, 0.0, -(left + change * p / beta) / curved)
        scale = min(1.0, 2.0 * beta / max(float(np.max(np.abs(step))), 1e-300))
        u = np.clip(u + scale * step, beta * _LOWEST, top)
        multiplier += scale * change
    return best[1], best[2]
