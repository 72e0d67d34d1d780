"""Comparisons in partitions on a Dask cluster: gradients and products with the Hessian are summed over them.

A partition is made where it is needed, by a function (read this file, query that table), and stays with a worker; so do
the curvatures of its pairs at the point that Newton's method stands at. Between the machines travel vectors of n
numbers. All of it is in Dask's graph: what was on a worker that is lost is made again, from the function on, and the
sums are taken in the order of the partitions, so the answer does not depend on who computed what.

Not looked at beforehand is whether a minimum exists, which takes all pairs in one place: Newton's method finds it or
says that it did not converge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.laplacian import Laplacian, centred, conjugated
from gpo_analysis.solvers.faces import components
from gpo_analysis.solvers.functions import Differentiable, Stretched, unit_of
from gpo_analysis.solvers.minimum import Minimum, Status
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.sparse_newton import SparseSystem, alone, descend, rounding

#: Winners, losers and, if given, counts; all of shape (k,), items numbered from 0 to n − 1 alike in all partitions.
Partition = Callable[[], tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]]


class Client(Protocol):
    """The part of :class:`distributed.Client` that is used."""

    def submit(self, function: Callable[..., Any], *arguments: Any, pure: bool) -> Any: ...
    def gather(self, futures: list[Any]) -> list[Any]: ...


def minimise_partitioned(
    partitions: Sequence[Partition], n: int, loss: MarginLoss, client: Client, *, max_iterations: int = 200
) -> Minimum:
    """Minimise ``Σ_k w_k f(g_i − g_j) / Σ_k w_k`` over pairs that are kept in partitions.

    Parameters
    ----------
    partitions : sequence of functions without arguments
        Each returns (winner, loser) or (winner, loser, count), arrays of shape (k,); it may be called more than once,
        on any worker, and must return the same each time.
    n : int
        Number of items.
    loss : MarginLoss
        Convex and without kinks.
    client : distributed.Client
    max_iterations : int

    Returns
    -------
    Minimum
        "not converged" also where no minimum exists.

    Raises
    ------
    ValueError
        For no partitions, a loss with kinks or not known to be convex, or what :class:`Comparisons` refuses.
    """
    shape = shape_of(loss)
    if not partitions:
        raise ValueError("no partitions; at least one is needed")
    if not shape.convex or shape.kinks or shape.is_piecewise_linear:
        raise ValueError(f"partitions are fitted with convex losses without kinks, got {loss.name}")
    unit = unit_of(loss)
    f: Differentiable = loss if unit == 1 else Stretched(loss, unit)
    system = _System(client, [client.submit(_made, one, n, pure=False) for one in partitions], n, f)
    found = descend(system, system.first_guess(), max_iterations)
    if found.converged:
        held = system.connected(system.at(found.reward).states, _curved_labels)
        if held.any():
            reason = f"pairs with curvature leave {int(held.max()) + 1} groups of items that can move by themselves"
            found = replace(found, status=Status.NOT_UNIQUE, reason=reason)
    return replace(found, reward=unit * found.reward, error=unit * found.error)


def _made(partition: Partition, n: int) -> WeightedPairs:
    """One partition, its repeated pairs merged."""
    sides = partition()
    count = sides[2] if len(sides) == 3 else None
    games = Comparisons(sides[0], sides[1], count, items=tuple(map(str, range(n)))).aggregated()
    return WeightedPairs(n, games.winner, games.loser, games.count, 0.0, (), None)


@dataclass(frozen=True, eq=False)
class _State:
    """What a worker keeps of one partition at one g: the curvature of its pairs (k,); and sums over pairs (n,)."""

    pairs: WeightedPairs
    curvature: FloatArray
    gradient: FloatArray
    traffic: FloatArray

    @property
    def degree(self) -> FloatArray:
        return self.product(np.ones(self.pairs.n))

    def product(self, x: FloatArray) -> FloatArray:
        """The off-diagonal part of the Hessian, its sign changed, times x."""
        return Laplacian(self.pairs.table(self.curvature)).neighbours(x)


def _state(pairs: WeightedPairs, loss: Differentiable, g: FloatArray) -> _State:
    system = SparseSystem(pairs, loss, convex=True)
    point = system.at(g)
    return _State(pairs, point.curvature, point.gradient, system.traffic())


def _of_state(state: _State, name: str) -> FloatArray:
    return np.asarray(getattr(state, name))


def _curved_labels(state: _State) -> IntArray:
    """Components that pairs with curvature make, shape (n,)."""
    pairs, on = state.pairs, state.curvature > 1e-12 * state.curvature.max(initial=0.0)
    return components(pairs.n, pairs.winner[on], pairs.loser[on], strong=False)


def _product(state: _State, x: FloatArray) -> FloatArray:
    return state.product(x)


def _sums(pairs: WeightedPairs, loss: Differentiable, g: FloatArray) -> FloatArray:
    return np.array(SparseSystem(pairs, loss, convex=True).sums(g))


def _record(pairs: WeightedPairs) -> FloatArray:
    """Weights won and lost, shape (2, n)."""
    sides = (pairs.winner, pairs.loser)
    return np.stack([np.bincount(side, weights=pairs.weight, minlength=pairs.n) for side in sides])


def _labels(pairs: WeightedPairs) -> IntArray:
    return pairs.parts


@dataclass(frozen=True, eq=False)
class _Point:
    """F at one g, its second derivatives in `states` on the workers."""

    system: _System
    g: FloatArray
    states: list[Any]

    @cached_property
    def gradient(self) -> FloatArray:
        return self.system.summed(_of_state, self.states, "gradient")

    @cached_property
    def degree(self) -> FloatArray:
        return self.system.summed(_of_state, self.states, "degree")

    @cached_property
    def _sums(self) -> FloatArray:
        return self.system.summed(_sums, self.system.partitions, self.system.loss, self.g)

    @property
    def value(self) -> float:
        return float(self._sums[0])

    @property
    def size(self) -> float:
        return float(self._sums[1])


class _System:
    """The sums of one problem over its partitions."""

    convex = True

    def __init__(self, client: Client, partitions: list[Any], n: int, loss: Differentiable) -> None:
        self.client, self.partitions, self.n, self.loss = client, partitions, n, loss
        self.total = 1.0
        self.record = self.summed(_record, partitions)
        self.total = float(self.record[0].sum())
        self.parts = self.connected(partitions, _labels)

    def summed(self, function: Callable[..., FloatArray], parts: list[Any], *arguments: Any) -> FloatArray:
        """The sum of a function over the partitions, in their order, a unit of weight."""
        found = self.client.gather([self.client.submit(function, part, *arguments, pure=False) for part in parts])
        return np.asarray(sum(found[1:], start=found[0]) / self.total)

    def connected(self, parts: list[Any], function: Callable[..., IntArray], *arguments: Any) -> IntArray:
        """Labels (n,) of what hangs together by any partition."""
        found = self.client.gather([self.client.submit(function, part, *arguments, pure=False) for part in parts])
        first = [np.unique(labels, return_index=True)[1][labels] for labels in found]
        return components(self.n, np.tile(np.arange(self.n), len(first)), np.concatenate(first), strong=False)

    def first_guess(self) -> FloatArray:
        """Each item's own record, as :meth:`.SparseSystem.first_guess`."""
        half = 0.5 / self.total
        g = centred(
            alone(self.loss, self.record[0] / self.total + half, self.record[1] / self.total + half), self.parts
        )
        zero = np.zeros(self.n)
        return g if self.at(g).value < self.at(zero).value else zero

    def at(self, g: FloatArray, keep: _Point | None = None) -> _Point:
        """The point g; its derivatives are computed when they are asked for."""
        submit = self.client.submit
        return _Point(self, g, [submit(_state, part, self.loss, g, pure=False) for part in self.partitions])

    def solve(self, point: _Point, right: FloatArray, tolerance: float) -> FloatArray:
        """Newton's step by conjugate gradients, centred within each component."""
        step = conjugated(
            lambda x: self.summed(_product, point.states, x), point.degree, centred(right, self.parts), tolerance
        )
        if step is None:
            raise RuntimeError("conjugate gradients did not end; the comparison graph is too long and thin for them")
        return centred(step, self.parts)

    def error(self, point: _Point) -> float:
        """The gradient's rounding, carried through the Hessian."""
        traffic = self.summed(_of_state, point.states, "traffic")
        return max(float(np.abs(self.solve(point, side, 1e-2)).max()) for side in rounding(traffic))
