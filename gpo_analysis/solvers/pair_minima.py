"""Each pair at its own minimum: no policy is lower, and along a tree the pairs' minimisers make one point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpo_analysis.analysis.roots import bracketed_zeros
from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses.shape import LossShape
from gpo_analysis.solvers.cuts import tree_basis
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.pairs import WeightedPairs

#: Margins tried first, in the solvers' unit of z.
GRID = np.sinh(np.linspace(-7.0, 7.0, 801))
#: Rounds of refinement round the best margin, each 16 times finer: 2e-7 of its distance from the next on the grid.
ROUNDS = 5
#: Shares looked at together.
CHUNK = 2000
#: A margin that stands for an infinite one.
FAR = 20.0


@dataclass(frozen=True, eq=False)
class PairMinima:
    """``min_z [w_ij f(z) + w_ji f(−z)]`` of each pair i < j that is compared.

    Attributes
    ----------
    first, second : array of int, shape (p,)
        i and j.
    forward, backward : array, shape (p,)
        w_ij and w_ji.
    value, margin : array, shape (p,)
        The least value, to 1e-12 of the pair's weight, and the margin g_i − g_j of it; ±20 for an infinite one.
    """

    n: int
    first: IntArray
    second: IntArray
    forward: FloatArray
    backward: FloatArray
    value: FloatArray
    margin: FloatArray

    @classmethod
    def of(cls, pairs: WeightedPairs, loss: Differentiable, shape: LossShape) -> PairMinima:
        """Of a problem."""
        return cls.of_many([pairs], loss, shape)[0]

    @classmethod
    def of_many(cls, problems: Sequence[WeightedPairs], loss: Differentiable, shape: LossShape) -> list[PairMinima]:
        """Of several problems; each different pair of shares is looked at once, in whichever problems it stands."""
        tables = [_both_ways(pairs) for pairs in problems]
        shares = np.concatenate([both / both.sum(axis=0) for _, _, both in tables], axis=1)
        shares, at = np.unique(shares, axis=1, return_inverse=True)
        parts = [_least(loss, shape, *shares[:, k : k + CHUNK]) for k in range(0, shares.shape[1], CHUNK)]
        value, margin = np.concatenate(parts, axis=1) if parts else np.zeros((2, 0))
        ends = np.cumsum([both.shape[1] for _, _, both in tables])
        rows = np.split(at.ravel(), ends[:-1])
        return [
            cls(pairs.n, first, second, both[0], both[1], value[row] * both.sum(axis=0), margin[row])
            for pairs, (first, second, both), row in zip(problems, tables, rows, strict=True)
        ]

    @property
    def total(self) -> float:
        """Their sum: a lower bound on F."""
        return float(self.value.sum())

    def along_a_tree(self) -> FloatArray:
        """The point at which the pairs of a spanning forest of the heaviest ones are at their minimum, shape (n,).

        Where all pairs agree (Bradley–Terry preferences under logistic or Savage) it is the minimum.
        """
        strength = self.forward + self.backward
        basis, child, parent = tree_basis(self.n, self.first, self.second, strength)
        margins = dict(zip(zip(self.first.tolist(), self.second.tolist(), strict=True), self.margin, strict=True))
        steps = [
            margins[c, p] if c < p else -margins[p, c] for c, p in zip(child.tolist(), parent.tolist(), strict=True)
        ]
        g = basis @ np.array(steps, dtype=np.float64)
        return np.asarray(g - g.mean())


def _both_ways(pairs: WeightedPairs) -> tuple[IntArray, IntArray, FloatArray]:
    """i < j of each pair that is compared, shape (p,) each, and the weights of i ≻ j and j ≻ i, shape (2, p)."""
    low, high = np.minimum(pairs.winner, pairs.loser), np.maximum(pairs.winner, pairs.loser)
    key, where = np.unique(low * pairs.n + high, return_inverse=True)
    up = pairs.winner < pairs.loser
    weights = [np.bincount(where[side], pairs.weight[side], len(key)).astype(np.float64) for side in (up, ~up)]
    return (key // pairs.n).astype(np.int64), (key % pairs.n).astype(np.int64), np.stack(weights)


def _least(loss: Differentiable, shape: LossShape, forward: FloatArray, backward: FloatArray) -> FloatArray:
    """Least values and margins, shape (2, s), of pairs with the shares forward, backward (s,)."""

    def mixed(z: FloatArray) -> FloatArray:
        with np.errstate(over="ignore"):
            return _mixed(forward[:, None], backward[:, None], loss(z), loss(-z))

    z = np.broadcast_to(GRID, (len(forward), len(GRID)))
    up, down = loss(GRID), loss(-GRID)
    values = _mixed(forward[:, None], backward[:, None], up, down)
    rows = np.arange(len(forward))
    best = np.argmin(values, axis=1)
    low, high = z[rows, np.maximum(best - 1, 0)], z[rows, np.minimum(best + 1, len(GRID) - 1)]
    value, margin = values[rows, best], z[rows, best]
    for _ in range(ROUNDS):
        z = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, 33)
        values = mixed(z)
        best = np.argmin(values, axis=1)
        lower = values[rows, best] <= value
        value, margin = np.where(lower, values[rows, best], value), np.where(lower, z[rows, best], margin)
        width = (high - low) / 32
        low, high = margin - width, margin + width
    if shape.kinks:  # exactly there: at a cusp a value near by is not near
        kinks = np.array([side * kink for kink, _ in shape.kinks for side in (1.0, -1.0)])
        values = _mixed(forward[:, None], backward[:, None], loss(kinks), loss(-kinks))
        best = np.argmin(values, axis=1)
        lower = values[rows, best] <= value
        value, margin = np.where(lower, values[rows, best], value), np.where(lower, kinks[best], margin)
    margin = _at_rest(loss, forward, backward, margin)
    right, left = shape.right_limit, shape.left_limit
    ends = _mixed(forward[:, None], backward[:, None], np.array([right, left]), np.array([left, right]))
    end = np.argmin(ends, axis=1)
    beyond = ends[rows, end] <= value
    # at (1, 0) far out f goes to its limit alone: where it rises to it, lower values lie before it
    alone = ((backward == 0) & shape.reached[1]) | ((forward == 0) & shape.reached[1])
    tied = beyond & alone & (ends[rows, end] >= value * (1 - 1e-12))
    turn = _turning(loss, shape)
    if tied.any() and np.isfinite(turn):
        margin = np.where(tied, np.where(backward == 0, turn, -turn), margin)
        beyond &= ~tied
    far = FAR * (1 - 2 * end)
    return np.stack([np.where(beyond, ends[rows, end], value), np.where(beyond, far, margin)])


def _turning(loss: Differentiable, shape: LossShape) -> float:
    """The last z of the grid's reach at which f turns from falling to rising; NaN for none."""
    slopes = loss.derivative(GRID)
    turns = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] > 0))
    if not len(turns) or shape.flat_from is not None:
        return np.nan
    one, zero = np.ones(1), np.zeros(1)
    return float(_zeros(loss, one, zero, GRID[turns[-1:]], GRID[turns[-1:] + 1])[0])


def _at_rest(loss: Differentiable, forward: FloatArray, backward: FloatArray, margin: FloatArray) -> FloatArray:
    """The zero of the slope next to each margin: what a value shows of it is half its digits."""
    room = 1e-5 * (1 + np.abs(margin))
    low, high = margin - room, margin + room
    with np.errstate(all="ignore"):
        sound = (_slopes(loss, forward, backward, low) < 0) & (_slopes(loss, forward, backward, high) > 0)
    result = margin.copy()
    if sound.any():
        result[sound] = _zeros(loss, forward[sound], backward[sound], low[sound], high[sound])
    return result


def _zeros(
    loss: Differentiable, forward: FloatArray, backward: FloatArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    """Where the slopes change their sign; the middle of a bracket of which that is not known."""
    found = bracketed_zeros(lambda z, rows: _slopes(loss, forward[rows], backward[rows], z), low, high)
    return np.where(np.isnan(found), (low + high) / 2, found)


def _slopes(loss: Differentiable, forward: FloatArray, backward: FloatArray, z: FloatArray) -> FloatArray:
    """The derivative of ``forward f(z) + backward f(−z)``, in which a share of 0 silences infinity."""
    with np.errstate(all="ignore"):
        one = np.where(forward > 0, forward * loss.derivative(z), 0.0)
        return np.asarray(one - np.where(backward > 0, backward * loss.derivative(-z), 0.0))


def _mixed(forward: FloatArray, backward: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """``forward first + backward second``, in which a share of 0 silences infinity; ∞ − ∞ counts as ∞."""
    with np.errstate(invalid="ignore"):
        one = np.where(forward > 0, forward * first, 0.0)
        two = np.where(backward > 0, backward * second, 0.0)
        total = one + two
    return np.asarray(np.where(np.isnan(total), np.inf, total))
