"""Newton's method for one large problem with sparse pairs: conjugate gradients, a sparse factor where those fail.

All that is stored of a point are two numbers a pair, slope and curvature, computed in chunks that stay in the
processor's cache; sums over the pairs of a response are products with the pairs as a sparse table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.preferences.laplacian import Laplacian, centred
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.minimum import Minimum, ended
from gpo_analysis.solvers.newton import ACCURACY, DECREASE, STEP
from gpo_analysis.solvers.pairs import WeightedPairs

#: Pairs evaluated at once.
CHUNK = 1 << 15


def minimise_sparse(
    pairs: WeightedPairs,
    loss: Differentiable,
    start: FloatArray | None = None,
    *,
    convex: bool = True,
    max_iterations: int = 1000,
) -> Minimum:
    """Minimise ``F(g) = Σ_k w_k f(g_i − g_j)`` for once differentiable f.

    Parameters
    ----------
    pairs : WeightedPairs
    loss : MarginLoss, or what has its calls
    start : array, shape (n,), optional
        By default, of zeros (π = πref) and each response's best reward with all others at 0, the better.
    convex : bool
        If not, |f″| stands in for f″ wherever the Hessian has no positive curvature along the step.
    max_iterations : int
    """
    system = SparseSystem(pairs.ordered, loss, convex)
    if start is None:
        start = system.first_guess() if convex else np.zeros(pairs.n)
    return descend(system, start, max_iterations)


class Point(Protocol):
    """F at one g: value, Σ|w f| and gradient (n,)."""

    @property
    def g(self) -> FloatArray: ...
    @property
    def value(self) -> float: ...
    @property
    def size(self) -> float: ...
    @property
    def gradient(self) -> FloatArray: ...


P = TypeVar("P", bound=Point)


class System(Protocol[P]):
    """What Newton's method asks of a problem, wherever its pairs are kept."""

    @property
    def convex(self) -> bool: ...
    @property
    def parts(self) -> IntArray: ...
    def at(self, g: FloatArray, keep: P | None = None) -> P: ...
    def solve(self, point: P, right: FloatArray, tolerance: float) -> FloatArray: ...
    def error(self, point: P) -> float: ...


def descend(system: System[P], start: FloatArray, max_iterations: int) -> Minimum:
    """Newton's method with steps that are solved for the more exactly the smaller they are.

    Parameters
    ----------
    system : System
    start : array, shape (n,)
    max_iterations : int
    """
    point = system.at(start)
    last, flattest, stalled, error, iterations, end = np.inf, np.inf, 0, np.inf, 0, point.g
    for _ in range(max_iterations):
        iterations += 1
        step = system.solve(point, -point.gradient, tolerance=min(1e-2, max(1e-5, 0.1 * last)))
        largest, slope = float(np.abs(step).max()), float(point.gradient @ step)
        if largest <= STEP * (1 + np.abs(point.g).max()) or stalled >= 3:
            error = max(largest, system.error(point))
            if system.convex:  # too short a step to be worth another look
                end = centred(point.g + step, system.parts)
            break
        length, trial = 1.0, point
        for _ in range(60):
            trial = system.at(centred(point.g + length * step, system.parts), keep=point)
            if _falls(system.convex, point, trial, step, slope, flattest, length):
                break
            length *= 0.5
        else:
            break
        point, flattest, end = trial, min(flattest, abs(slope)), trial.g
        hidden = largest > 0.5 * last and abs(slope) <= 1e-13 * point.size
        stalled = stalled + 1 if hidden else 0
        last = largest
    converged = bool(np.isfinite(point.value) and error <= ACCURACY * (1 + np.abs(end).max()))
    return ended(end, point.value, float(error), converged, iterations)


def _falls(
    convex: bool, old: Point, new: Point, step: FloatArray, slope: float, flattest: float, length: float
) -> bool:
    """Whether a trial is accepted: F has fallen enough, or rounding hides that it has and the slope is flatter.

    Of a convex F the slopes alone may say so: it falls all the way, or Newton's decrement shrinks from step to step and
    hardly a tenth of the slope is left at the end.
    """
    after = float(new.gradient @ step)
    if convex and (after <= 0 or (after <= 0.1 * abs(slope) and abs(slope) <= flattest)):
        return True
    if new.value <= old.value + DECREASE * length * slope:
        return True
    return new.value <= old.value + 1e-14 * old.size and abs(after) <= 0.9 * abs(slope) + 1e-300


@dataclass(frozen=True, eq=False)
class _Point:
    """F's derivatives at g: w f″ of each pair (k,), and the gradient (n,)."""

    system: SparseSystem
    g: FloatArray
    curvature: FloatArray
    gradient: FloatArray

    @cached_property
    def _sums(self) -> tuple[float, float]:
        return self.system.sums(self.g)

    @property
    def value(self) -> float:
        """F, computed when it is asked for."""
        return self._sums[0]

    @property
    def size(self) -> float:
        """Σ|w f|, of which F's rounding is a share."""
        return self._sums[1]

    @cached_property
    def hessian(self) -> Laplacian:
        return Laplacian(self.system.pairs.table(self.curvature))


def alone(loss: Differentiable, won: FloatArray, lost: FloatArray) -> FloatArray:
    """About the best reward of each response with all others at 0, from the weights of its wins and losses (n,)."""
    g = np.zeros(len(won))
    for _ in range(5):
        both = np.stack([g, -g])
        first, second = loss.derivative(both), loss.derivative(both, order=2)
        slope, curvature = won * first[0] - lost * first[1], won * second[0] + lost * second[1]
        g = g - np.clip(np.divide(slope, curvature, out=np.zeros_like(g), where=curvature > 0), -1.0, 1.0)
    return g


def rounding(traffic: FloatArray) -> list[FloatArray]:
    """What rounding may have made of a gradient, with random signs, from the size of its terms (n,)."""
    rng, size = np.random.default_rng(0), 4 * np.finfo(float).eps * traffic
    return [size * (2.0 * rng.integers(2, size=len(size)) - 1.0) for _ in range(1 if len(size) > 1000 else 3)]


class SparseSystem:
    """Gradient and Hessian (a graph's Laplacian) of one sparse problem."""

    def __init__(self, pairs: WeightedPairs, loss: Differentiable, convex: bool) -> None:
        self.pairs, self.loss, self.convex = pairs, loss, convex
        self.parts, self.direct = pairs.parts, False
        k = len(pairs.weight)
        self.flow, self.rooms = np.empty(k), (np.empty(k), np.empty(k))

    def first_guess(self) -> FloatArray:
        """Each response's best reward with all others at 0, after half a comparison won and half one lost; or zeros."""
        pairs = self.pairs
        if not len(pairs.weight):
            return np.zeros(pairs.n)
        won, lost = (side + 0.5 * pairs.weight.min() for side in self._sides(pairs.weight))
        g = centred(alone(self.loss, won, lost), pairs.parts)
        at_zero = float(pairs.weight.sum()) * float(self.loss(np.zeros(())))
        return g if self.sums(g)[0] < at_zero else np.zeros(pairs.n)

    def at(self, g: FloatArray, keep: _Point | None = None) -> _Point:
        """The derivatives at g; they take the room of every earlier point but one, and `flow` (k,) is w f′ at g."""
        pairs, flow = self.pairs, self.flow
        curvature = self.rooms[1] if keep is not None and keep.curvature is self.rooms[0] else self.rooms[0]
        for part in self._parts():
            weight = pairs.weight[part]
            d = g[pairs.winner[part]] - g[pairs.loser[part]]
            np.multiply(weight, self.loss.derivative(d), out=flow[part])
            np.multiply(weight, self.loss.derivative(d, order=2), out=curvature[part])
        return _Point(self, g, curvature, np.subtract(*self._sides(flow)))

    def _sides(self, flow: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sums of a number a pair (k,) over what each response has won, and over what it has lost."""
        pairs = self.pairs
        if len(flow) <= CHUNK:
            won, lost = (np.bincount(side, flow, pairs.n) for side in (pairs.winner, pairs.loser))
            return np.asarray(won, dtype=np.float64), np.asarray(lost, dtype=np.float64)
        table, ones = pairs.table(flow), np.ones(pairs.n)
        return np.asarray(table @ ones), np.asarray(table.T @ ones)

    def sums(self, g: FloatArray) -> tuple[float, float]:
        """F and Σ|w f| at g."""
        pairs, value, size = self.pairs, 0.0, 0.0
        for part in self._parts():
            terms = pairs.weight[part] * self.loss(g[pairs.winner[part]] - g[pairs.loser[part]])
            value += float(terms.sum())
            size += float(np.abs(terms).sum())
        return value, size

    def _parts(self) -> list[slice]:
        return [slice(first, first + CHUNK) for first in range(0, len(self.pairs.weight), CHUNK)]

    def solve(self, point: _Point, right: FloatArray, tolerance: float) -> FloatArray:
        """Newton's step, centred within each component."""
        parts, hessian = self.parts, point.hessian
        if not self.convex and (point.curvature < 0).any():
            step = _positive_step(hessian, centred(right, parts), tolerance)
            if step is not None:
                return centred(step, parts)
            half = hessian.half
            hessian = Laplacian(sparse.csr_array(0.5 * abs(half + half.T)))
        step, iterated = hessian.solve(right, parts, tolerance=tolerance, direct=self.direct)
        self.direct = not iterated
        return step

    def error(self, point: _Point) -> float:
        """The gradient's rounding at the last point, with random signs, carried through the Hessian."""
        return max(float(np.abs(self.solve(point, side, 1e-2)).max()) for side in rounding(self.traffic()))

    def traffic(self) -> FloatArray:
        """Σ|w f′| over the pairs of each response at the last point, shape (n,)."""
        return np.add(*self._sides(np.abs(self.flow)))


def _positive_step(hessian: Laplacian, right: FloatArray, tolerance: float) -> FloatArray | None:
    """Newton's step from a Laplacian with weights of either sign; None where conjugate gradients do not find one."""
    degree = hessian.degree
    loose = degree == 0
    if (degree < 0).any() or right[loose].any():
        return None
    inverse = 1 / np.where(loose, 1.0, degree)
    n = len(right)
    laplacian = LinearOperator((n, n), matvec=lambda x: degree * x - hessian.neighbours(x), dtype=np.float64)
    scaling = LinearOperator((n, n), matvec=lambda x: x * inverse, dtype=np.float64)
    step, failed = cg(laplacian, right, rtol=tolerance, atol=0.0, maxiter=300, M=scaling)
    curvature = float(step @ (degree * step - hessian.neighbours(step)))
    return None if failed or not np.isfinite(step).all() or step @ right < 0 or curvature < 0 else np.asarray(step)
