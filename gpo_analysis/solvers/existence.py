"""Does a finite optimum exist? Decided from the tails of f and from who beat whom, before anything is solved.

Along a direction v a convex F grows by its recession function (Rockafellar 1970, §8)::

    Σ_k w_k (s₊ max(0, v_i − v_j) + s₋ max(0, v_j − v_i)),    s₊ = f′(+∞),  s₋ = −f′(−∞)

F has a minimum, its set bounded up to what no pair holds, where this is above 0 for every v that moves a compared pair;
it is unbounded below where it is negative for some v.

- s₊ > 0 and s₋ > 0 (squared): always above 0.
- s₊ = 0 < s₋ (logistic, exponential, hinge …): 0 exactly for those v in which no winner falls below its loser; such a v
  moves something if and only if some pair joins two strongly connected components of the graph winner → loser. Then
  the data are *separable*, and those pairs go to +∞ without hurting any other (Ford 1957 for Bradley–Terry).
- s₊ < 0 (KLIEP, robust logistic): by a linear program, or as above where s₋ = ∞.

An f that is not convex has no minimum either where its slopes far out make F fall for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gpo_analysis.arrays import BoolArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.flow import RESOLUTION, Flow, whole
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.program import linear_program


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is known before solving.

    Attributes
    ----------
    status : Status or None
        OPTIMUM where a minimum exists, NO_FINITE_OPTIMUM or UNBOUNDED_BELOW; None where f is not known to be convex, so
        that nothing is known beforehand.
    reason : str
    separated : array of bool, shape (k,), or None
        Pairs that go to infinity, or as far as f falls; the rest is solved without them. None where there are none, or
        where they cannot be told from the rest.
    limit : float
        f at the end to which those pairs go.
    attained : bool
        Whether f reaches that limit, so that the separated pairs only need a large enough margin.
    """

    status: Status | None
    reason: str = ""
    separated: BoolArray | None = None
    limit: float = 0.0
    attained: bool = True


def existence(pairs: WeightedPairs, shape: LossShape) -> Verdict:
    """Decide for one problem and one loss."""
    right, left = shape.right_slope, -shape.left_slope
    falls_right = right == 0 and left > 0
    falls_left = left == 0 and right > 0
    if shape.convex and right > 0 and left > 0:
        return Verdict(Status.OPTIMUM)
    if shape.right_limit == shape.left_limit == -np.inf and len(pairs.weight):
        return Verdict(Status.UNBOUNDED_BELOW, "the loss falls without bound on both sides")
    if pairs.is_complete and has_minimum_of_complete_pairs(shape):
        return Verdict(Status.OPTIMUM)
    separated = ~pairs.within(pairs.cycles)
    if shape.convex and (falls_right or falls_left):
        return _separable(pairs, separated, shape) if separated.any() else Verdict(Status.OPTIMUM)
    if separated.any() and -np.inf in (shape.right_limit, shape.left_limit):
        how = "as those margins grow" if shape.right_limit == -np.inf else "as the losers rise"
        return Verdict(Status.UNBOUNDED_BELOW, _one_sided(pairs, separated, f"the loss falls without bound {how}"))
    if not shape.convex:
        # what rises to its limit is lower before it, be it by less than a float shows
        if (
            separated.any()
            and shape.right_limit <= shape.least
            and (shape.flat_from is not None or not shape.reached[1])
        ):
            flat = shape.flat_from is not None
            why = "any margin that is large enough will do" if flat else "the loss falls to its infimum as they grow"
            return Verdict(None, _one_sided(pairs, separated, why), separated, shape.right_limit, flat)
        # far out any f with slopes there falls or rises by them, convex or not
        falling = np.isfinite([right, left]).all() and min(right, left) < 0
        verdict = _by_slopes(pairs, right, left) if falling else Verdict(None)
        return verdict if verdict.status is Status.UNBOUNDED_BELOW else Verdict(None)
    if np.inf in (right, left):
        return Verdict(Status.OPTIMUM)
    return _by_slopes(pairs, right, left)


def has_minimum_of_complete_pairs(shape: LossShape) -> bool:
    """Whether f alone says that a minimum exists wherever every response was preferred to every other."""
    right, left = shape.right_slope, -shape.left_slope
    return shape.convex and min(right, left) >= 0 and max(right, left) > 0


def _separable(pairs: WeightedPairs, separated: BoolArray, shape: LossShape) -> Verdict:
    """A convex f with one flat or falling tail, and pairs that only ever go one way."""
    falls_right = shape.right_slope == 0
    limit = shape.right_limit if falls_right else shape.left_limit
    if limit == -np.inf:
        why = "the loss falls without bound as those margins grow"
        return Verdict(Status.UNBOUNDED_BELOW, _one_sided(pairs, separated, why))
    if (shape.flat_from if falls_right else shape.flat_until) is not None:
        return Verdict(Status.OPTIMUM, "", separated, limit, True)
    why = "the loss falls for ever as those margins grow, and never reaches its infimum"
    return Verdict(Status.NO_FINITE_OPTIMUM, _one_sided(pairs, separated, why), separated, limit, False)


#: Shares of the slopes within which wins and losses count as balanced.
BALANCED = 1e-9


def _by_slopes(pairs: WeightedPairs, right: float, left: float) -> Verdict:
    """Finite slopes of which one is not positive: is 0 inside the subdifferential of the recession function at 0?"""
    size = max(abs(right), abs(left)) or 1.0
    if len(pairs.weight) == 0:
        return Verdict(Status.OPTIMUM)
    if right + left < -1e-12 * size:
        return Verdict(Status.UNBOUNDED_BELOW, "far out f falls by more on one side than it rises on the other")
    if right + left <= 1e-12 * size:
        if right == 0 or np.abs(pairs.balance(pairs.weight)).max(initial=0.0) <= 1e-12:
            return Verdict(Status.OPTIMUM)
        return Verdict(Status.UNBOUNDED_BELOW, "far out f is a straight line and the wins are not balanced")
    graded = pairs.weight.min() < RESOLUTION * pairs.weight.max()
    inside, side = (_by_pivots if graded else _by_program)(pairs, right / size, left / size)
    if inside > BALANCED:
        return Verdict(Status.OPTIMUM)
    up, down = side[pairs.winner] & ~side[pairs.loser], ~side[pairs.winner] & side[pairs.loser]
    if pairs.weight[up].sum() * right + pairs.weight[down].sum() * left > 0:
        side = ~side
    group = listed([pairs.names[i] for i in np.flatnonzero(side)])
    given = f"given f'(+∞) = {right:g} and f'(−∞) = {-left:g}"
    if inside < -BALANCED:
        reason = f"raising {group} above the others lowers the loss for ever: their wins outweigh their losses, {given}"
        return Verdict(Status.UNBOUNDED_BELOW, reason)
    reason = f"raising {group} above the others changes the loss ever less: wins and losses are balanced exactly, "
    return Verdict(Status.NO_FINITE_OPTIMUM, reason + given)


def _by_program(pairs: WeightedPairs, right: float, left: float) -> tuple[float, BoolArray]:
    """The largest ε with a flow λ, balanced at every response, with ``−w_k s₋ + ε w_k ≤ λ_k ≤ w_k s₊ − ε w_k``.

    It is above 0 where a minimum exists and below 0 where F is unbounded below. Beside it one side of the tightest cut.
    """
    k, n = len(pairs.weight), pairs.n
    w = pairs.weight / pairs.weight.max()
    columns = np.arange(k)
    signs = np.concatenate([np.ones(k), -np.ones(k)])
    ends = np.concatenate([pairs.winner, pairs.loser])
    balance = sparse.coo_array((signs, (ends, np.tile(columns, 2))), shape=(n, k + 1)).tocsr()
    rows = np.tile(np.arange(2 * k), 2)
    limits = sparse.coo_array(
        (np.concatenate([signs, w, w]), (rows, np.concatenate([columns, columns, np.full(2 * k, k)]))),
        shape=(2 * k, k + 1),
    )
    bound = np.append(np.full(k, np.inf), (right + left) / 2)
    x, height = linear_program(
        np.append(np.zeros(k), -1.0),
        balance,
        np.zeros(n),
        np.full(k + 1, -np.inf),
        bound,
        limits,
        np.concatenate([w * right, w * left]),
    )
    return float(x[-1]), np.asarray(height > (height.max() + height.min()) / 2)


def _by_pivots(pairs: WeightedPairs, right: float, left: float) -> tuple[float, BoolArray]:
    """As :func:`_by_program`, for weights beyond its tolerances: ∞, 0 or −∞, told apart by :data:`BALANCED`."""
    side = np.zeros(pairs.n, dtype=bool)
    k = len(pairs.weight)
    for inside, slack in ((np.inf, BALANCED), (0.0, -BALANCED)):
        numbers = whole(np.concatenate([(left - slack) * pairs.weight, (right - slack) * pairs.weight]))
        supply = [0] * pairs.n  # of the flow above its lower bounds −w s₋
        for i, j, least in zip(pairs.winner.tolist(), pairs.loser.tolist(), numbers[:k], strict=True):
            supply[i] += least
            supply[j] -= least
        room = [a + b for a, b in zip(numbers[:k], numbers[k:], strict=True)]
        flow = Flow(pairs.n, pairs.winner, pairs.loser, np.zeros(k), room, supply)
        if flow.meets():
            return inside, side
        side = flow.short_of()
    return -np.inf, side


def _one_sided(pairs: WeightedPairs, separated: BoolArray, why: str) -> str:
    """Names an example of a pair that only ever goes one way."""
    k = int(np.argmax(separated))
    winner, loser = pairs.names[pairs.winner[k]], pairs.names[pairs.loser[k]]
    groups = int(pairs.cycles.max()) + 1
    return (
        f"the preferences are separable: the responses fall into {groups} groups between which all wins go one way "
        f"(e.g. {winner!r} over {loser!r}); {why}"
    )


def listed(names: list[str] | tuple[str, ...], most: int = 6) -> str:
    """Names for a message, the first few of them."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
