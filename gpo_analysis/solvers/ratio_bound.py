"""Lower bounds of Σ w F(u_i, u_j) over Σ πref e^{u/β} = 1 for convex F, from one point; see :mod:`.simplex`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import rel_entr

from gpo_analysis.arrays import FloatArray
from gpo_analysis.calculus.convexity import convexity_of
from gpo_analysis.losses import CHOSEN, REJECTED, TwoRatioLoss
from gpo_analysis.losses.margin_loss import MARGIN
from gpo_analysis.solvers.ratio_branch import Separate, branched_bound
from gpo_analysis.solvers.ratio_objective import RatioObjective

_ROUNDS = 80
_ROUNDING = 1e-14
_AIM = 1e-12
_CLOSE = 1e-9  # relative to 1 + |L|: gaps that branching need not close further
_LEAST = -1e5


def pull_gap(objective: RatioObjective, u: FloatArray) -> float:
    """β Q KL(q/Q ‖ π), q = −∂L/∂u: what is at most left to gain; inf where a log-ratio is pulled down.

    Parameters
    ----------
    objective : RatioObjective
    u : array, shape (n,)
    """
    free = ~objective.fixed
    q = -objective.gradient(u)[free]
    total = float(q.sum())
    if not total > 0 or (q < -_ROUNDING * np.abs(q).max()).any():
        return np.inf
    q = np.maximum(q, 0.0)  # less than nothing by rounding: of a response with next to no mass
    total = float(q.sum())
    policy = np.exp(u[free] / objective.beta + objective.log_reference[free])
    return float(objective.beta * total * np.sum(rel_entr(q / total, policy) + policy - q / total))


def separate_gap(objective: RatioObjective, u: FloatArray) -> float:
    """What is at most left to gain, by a problem for each log-ratio; inf where the parts of F do not give a bound.

    Parameters
    ----------
    objective : RatioObjective
    u : array, shape (n,)
    """
    loss, parts = objective.loss, objective.loss.parts
    lines = [parts.chosen.xreplace({CHOSEN: MARGIN}), parts.rejected.xreplace({REJECTED: MARGIN})]
    if any(MARGIN in line.free_symbols and convexity_of(line, MARGIN).is_convex is not True for line in lines):
        return np.inf
    rest = TwoRatioLoss("rest", loss.expression - parts.chosen - parts.rejected)
    wins = np.bincount(objective.first, objective.weight, objective.n)
    losses = np.bincount(objective.second, objective.weight, objective.n)
    tilt = replace(objective, loss=rest, fixed=np.zeros(objective.n, dtype=bool)).gradient(u)
    multiplier = -float(objective.gradient(u).sum())
    up, down = TwoRatioLoss("R", parts.chosen), TwoRatioLoss("S", parts.rejected)
    left = 0.0
    for i in range(objective.n):  # those without mass too: another policy may give them some
        own = _Own(up, down, float(wins[i]), float(losses[i]), float(tilt[i]))
        left += _above_least(own, multiplier, objective.beta, float(objective.log_reference[i]), float(u[i]))
    counts = wins.astype(np.float64), losses.astype(np.float64)
    split = Separate(up, down, *counts, tilt, objective.log_reference, objective.beta)
    value = float(split.at(u, np.arange(objective.n), 0).sum())
    enough = _CLOSE * (1 + abs(value))
    return left if left <= enough else min(left, max(value - branched_bound(split, value, enough), 0.0))


@dataclass(frozen=True)
class _Own:
    """What stands of one log-ratio by itself: wins · R(x) + losses · S(x) + tilt · x, and its slope (order 1)."""

    up: TwoRatioLoss
    down: TwoRatioLoss
    wins: float
    losses: float
    tilt: float

    def __call__(self, x: FloatArray, order: int) -> FloatArray:
        straight = self.tilt * (x if order == 0 else np.ones_like(x))
        won, lost = self.up.derivative(x, x, (order, 0)), self.down.derivative(x, x, (0, order))
        return np.asarray(straight + self.wins * won + self.losses * lost)


def _above_least(
    convex: Callable[[FloatArray, int], FloatArray], multiplier: float, beta: float, log_reference: float, start: float
) -> float:
    """c(x₀) + e(x₀) − min (c + e) on x ≤ −β log πref, at most: c convex, e(x) = λβ πref e^{x/β}."""
    top = -beta * log_reference

    def exponential(x: FloatArray) -> FloatArray:
        return np.asarray(multiplier * beta * np.exp(x / beta + log_reference))

    low = min(start, top) - 10.0
    while convex(np.array([low]), 1)[0] > 0:
        low = top - 2.0 * (top - low)
        if low < _LEAST:
            return np.inf
    here = np.array([start])
    best = float(convex(here, 0)[0] + exponential(here)[0])
    tail = float(convex(np.array([low]), 0)[0] + min(exponential(np.array([low]))[0], 0.0))
    ends = np.unique(np.concatenate([np.linspace(low, top, 65), [start]]))
    left, right = ends[:-1], ends[1:]
    bound = np.inf
    for _ in range(_ROUNDS):
        lower = _cell_bounds(convex, exponential, multiplier, left, right)
        open_cells = lower < best - _AIM
        bound = min(float(lower.min()), tail)
        if not open_cells.any() or len(left) > 20_000:
            break
        middle = 0.5 * (left[open_cells] + right[open_cells])
        best = min(best, float(np.min(convex(middle, 0) + exponential(middle))))
        kept = float(np.min(lower[~open_cells], initial=np.inf))
        tail = min(tail, kept)
        left, right = np.concatenate([left[open_cells], middle]), np.concatenate([middle, right[open_cells]])
    value = float(convex(here, 0)[0] + exponential(here)[0])
    return max(value - bound, 0.0)


def _cell_bounds(
    convex: Callable[[FloatArray, int], FloatArray],
    exponential: Callable[[FloatArray], FloatArray],
    multiplier: float,
    left: FloatArray,
    right: FloatArray,
) -> FloatArray:
    """A lower bound of c + e on each cell: c above its tangents at both ends, e above its chord or its tangents."""
    c = [convex(x, 0) for x in (left, right)]
    slopes = [convex(x, 1) for x in (left, right)]
    e = [exponential(x) for x in (left, right)]
    width = right - left
    chord = (e[1] - e[0]) / width
    if multiplier > 0:  # e is convex too: the tangent at the left end
        chord = np.zeros_like(width)
        e[1] = e[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        cross = (c[1] - c[0] + slopes[0] * left - slopes[1] * right) / (slopes[0] - slopes[1])
    cross = np.clip(np.nan_to_num(cross), left, right)  # where the tangents are one, no matter where
    tangents = [c[k] + slopes[k] * (cross - x) for k, x in enumerate((left, right))]
    inside = np.maximum(*tangents) + e[0] + chord * (cross - left)
    return np.minimum(inside, np.minimum(c[0] + e[0], c[1] + e[1]))
