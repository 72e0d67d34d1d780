"""Newton's method for many small problems at once: a stack of weights (b, n, n), one vectorised iteration.

Minimised is ``F(g) = Σ_ij W_ij f(g_i − g_j)`` in ``g = βh``. Its Hessian is the Laplacian of a graph with the weights
``W_ij f″(g_i − g_j)``, so F is flat along each block of responses that hang together; one response of a block, the
ground, is held by adding to its diagonal entry, which changes no difference of g.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from gpo_analysis.arrays import AT_ONCE, BoolArray, FloatArray, IntArray, Scratch
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.minimum import Minimum, ended
from gpo_analysis.solvers.rows import LONGEST
from gpo_analysis.solvers.stacks import (
    as_laplacian,
    centred_in_blocks,
    curved_step,
    differences,
    far_of,
    grounds,
    largest_of,
    summed,
    weighted,
    whole_step,
    with_grounds,
)
from gpo_analysis.solvers.starts import PairStart

#: A last step this small, relative to 1 + max|g|, ends the iteration.
STEP = 1e-11
#: The largest estimated error of g, relative to 1 + max|g|, with which a minimum counts as found.
ACCURACY = 1e-6
#: Armijo's constant.
DECREASE = 1e-4
#: Where f is not convex, a descent that comes this far out runs off to infinity and is left.
ESCAPED = 300.0
#: Elements of one (b, n, n) array that are kept at a time.
CHUNK = 2_000_000


def minimise_stack(
    weights: FloatArray,
    loss: Differentiable,
    blocks: IntArray,
    start: FloatArray | PairStart | None = None,
    *,
    convex: bool = True,
    max_iterations: int = 2000,
) -> list[Minimum]:
    """Minimise each problem of a stack.

    Parameters
    ----------
    weights : array, shape (b, n, n)
        ``W[i, j] ≥ 0`` of i ≻ j, zero on the diagonal.
    loss : MarginLoss, or what has its calls
        Once differentiable; for kinks see :mod:`gpo_analysis.solvers.kinks`.
    blocks : array of int, shape (b, n)
        Labels: responses of one block hang together, no weight goes from one block to another.
    start : array, shape (b, n), or PairStart, optional
        Zeros by default, which is π = πref. A table of what lone pairs would like best makes a start of its own for
        each problem, zeros where that is no lower; it is for losses whose minimum is the only one.
    convex : bool
        If not, negative curvature is turned round and left along its eigenvector, so that the end is a minimum.

    Returns
    -------
    list of Minimum
        One a problem; the status of a minimum that was not found is "not converged", and its reward where the
        iteration ended.
    """
    if not len(weights):
        return []
    ends = ends_of_stack(weights, loss, blocks, start, convex=convex, max_iterations=max_iterations)
    return [ends.minimum(k) for k in range(len(weights))]


@dataclass(frozen=True, eq=False)
class Ends:
    """Where the iteration of each problem of a stack ended.

    Attributes
    ----------
    reward : array, shape (b, n)
    value, error : array, shape (b,)
    good : array of bool, shape (b,)
        Whether it is a minimum.
    iterations : array of int, shape (b,)
    """

    reward: FloatArray
    value: FloatArray
    error: FloatArray
    good: BoolArray
    iterations: IntArray

    def minimum(self, k: int) -> Minimum:
        """The end of one of them, found or not."""
        value, error = float(self.value[k]), float(self.error[k])
        return ended(self.reward[k], value, error, bool(self.good[k]), int(self.iterations[k]))


def ends_of_stack(
    weights: FloatArray,
    loss: Differentiable,
    blocks: IntArray,
    start: FloatArray | PairStart | None = None,
    *,
    convex: bool = True,
    max_iterations: int = 2000,
) -> Ends:
    """As :func:`minimise_stack`, of one problem or more, as arrays."""
    b, n, _ = weights.shape
    found: list[Ends] = []
    rows = max(1, CHUNK // (n * n))
    for first in range(0, b, rows):
        part = slice(first, first + rows)
        stack = _Stack(weights[part], loss, blocks[part], convex)
        if isinstance(start, PairStart):
            found.append(stack.run(*stack.projected(start), max_iterations=max_iterations))
            continue
        here = np.zeros((len(blocks[part]), n)) if start is None else start[part]
        found.append(stack.run(here, max_iterations=max_iterations))
    if len(found) == 1:
        return found[0]
    columns = zip(*(vars(one).values() for one in found), strict=True)
    return Ends(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True, eq=False)
class _Local:
    """F at some g, each array with a row a problem.

    Attributes
    ----------
    value, noise : array, shape (b,)
        F, and Σ|W f| as a measure of its rounding.
    gradient : array, shape (b, n)
    hessian : array, shape (b, n, n)
    traffic : array, shape (b, n)
        Σ|W f′| over the pairs of each response.
    """

    value: FloatArray
    gradient: FloatArray
    hessian: FloatArray
    noise: FloatArray
    traffic: FloatArray


class _Stack:
    """The arrays of one chunk; rows leave it as they converge."""

    def __init__(self, weights: FloatArray, loss: Differentiable, blocks: IntArray, convex: bool) -> None:
        self.weights, self.loss, self.blocks, self.convex = weights, loss, blocks, convex
        self.ground = grounds(weights, blocks)
        self.scratch = Scratch()

    def projected(self, start: PairStart) -> tuple[FloatArray, tuple[FloatArray, FloatArray] | None]:
        """The start that a table of lone pairs gives each problem; zeros where F is no lower there, shape (b, n).

        Beside it F there and its noise, where they are known.
        """
        laplacian = self.scratch("hessian", self.weights.shape)
        right = start.pull(self.weights, laplacian)
        as_laplacian(laplacian)
        grounded, scale = with_grounds(laplacian, self.ground)
        try:
            g = np.linalg.solve(grounded, (right * scale)[..., None])[..., 0] * scale
        except np.linalg.LinAlgError:
            return np.zeros_like(right), None
        finite = np.isfinite(g).all(axis=1, keepdims=True)
        g = centred_in_blocks(np.where(finite, g, 0.0), self.blocks)
        with np.errstate(over="ignore"):
            value, noise = self._value(self.weights, g)
        lower = value < start.at_zero * self.weights.sum(axis=(1, 2))
        return (g, (value, noise)) if lower.all() else (np.where(lower[:, None], g, 0.0), None)

    @np.errstate(over="ignore", invalid="ignore")  # a step far out, where f is ∞; what is not finite is no minimum
    def run(self, g: FloatArray, known: tuple[FloatArray, FloatArray] | None = None, *, max_iterations: int) -> Ends:
        """From g, where F and its noise may be known."""
        b = len(g)
        g = g.copy()
        active = np.arange(b)
        last = np.full(b, np.inf)
        stalled, idle = np.zeros(b, dtype=np.int64), np.zeros(b, dtype=np.int64)
        lowest, shortest = np.full(b, np.inf), np.full(b, np.inf)
        iterations = np.zeros(b, dtype=np.int64)
        for _ in range(max_iterations):
            w, at = (self.weights, g) if len(active) == b else (self.weights[active], g[active])
            here = self._derivatives(w, at, known)
            known = None
            value, gradient, noise = here.value, here.gradient, here.noise
            scale = 1 + largest_of(at)
            step = self._direction(here.hessian, gradient[..., None], active)[..., 0]
            step = step * np.minimum(1.0, LONGEST * scale / np.maximum(largest_of(step), 1e-300))[:, None]
            size = largest_of(step)
            slope = np.einsum("bi,bi->b", gradient, step)
            length = self._search(w, at, step, value, slope, noise)
            g[active] = centred_in_blocks(at + length[:, None] * step, self.blocks[active])
            iterations[active] += 1
            # Where rounding hides the descent the steps stop shrinking: three such steps end the iteration.
            hidden = (np.abs(slope) <= 1e-13 * noise) & (size > 0.5 * last[active])
            stalled[active] = np.where(hidden, stalled[active] + 1, 0)
            last[active] = size
            # Neither F nor the step has got smaller for long: float64 cannot hold the answer.
            ahead = (value < lowest[active] - 1e-10 * noise) | (size < 0.9 * shortest[active])
            idle[active] = np.where(ahead, 0, idle[active] + 1)
            lowest[active] = np.minimum(lowest[active], value)
            shortest[active] = np.minimum(shortest[active], size)
            done = (
                ((size <= STEP * scale) & (length > 0.5))
                | (stalled[active] >= 3)
                | (length == 0)
                | (idle[active] >= 40)
            )
            if not self.convex:
                done |= largest_of(g[active]) > ESCAPED
            active = active[~done]
            if not len(active):
                break
        value, error = self._error(g, self.blocks)
        good = np.isfinite(value) & (error <= ACCURACY * (1 + largest_of(g)))
        for k in np.flatnonzero(~good) if self.convex else ():
            error[k] = self._error_on_straight_pieces(int(k), g[k])
            good[k] = np.isfinite(value[k]) and error[k] <= ACCURACY * (1 + np.abs(g[k]).max())
        return Ends(g, value, error, good, iterations)

    def _parts(self, rows: int) -> list[slice]:
        """Rows to be worked on at a time, so that a temporary of theirs stays in the cache."""
        step = max(1, AT_ONCE // max(1, self.weights.shape[1] ** 2))
        return [slice(first, first + step) for first in range(0, rows, step)]

    def _value(self, w: FloatArray, g: FloatArray) -> tuple[FloatArray, FloatArray]:
        """F and its noise."""
        value, noise = np.empty(len(g)), np.empty(len(g))
        for part in self._parts(len(g)):
            value[part], noise[part] = summed(weighted(w[part], self.loss(differences(g[part]))))
        return value, noise

    def _derivatives(
        self, w: FloatArray, g: FloatArray, known: tuple[FloatArray, FloatArray] | None = None, *, ends: bool = False
    ) -> _Local:
        """F, known or not, and its derivatives; the traffic at the end alone. The next Hessian overwrites this one."""
        b, n = g.shape
        value, noise = (np.empty(b), np.empty(b)) if known is None else known
        gradient, traffic = np.empty((b, n)), np.empty((b, n) if ends else (0, n))
        hessian = self.scratch("hessian", (b, n, n))
        for part in self._parts(b):
            d, rows = differences(g[part]), w[part]
            if known is None:
                value[part], noise[part] = summed(weighted(rows, self.loss(d)))
            flow = weighted(rows, self.loss.derivative(d))
            gradient[part] = flow.sum(axis=2) - flow.sum(axis=1)
            if ends:
                np.abs(flow, out=flow)
                traffic[part] = flow.sum(axis=2) + flow.sum(axis=1)
            curvature = weighted(rows, self.loss.derivative(d, order=2))
            np.add(curvature, np.swapaxes(curvature, 1, 2), out=hessian[part])
            as_laplacian(hessian[part])
        return _Local(value, gradient, hessian, noise, traffic)

    def _direction(
        self, hessian: FloatArray, gradients: FloatArray, rows: IntArray, *, bounded: bool = True
    ) -> FloatArray:
        """Newton's steps for gradients (b, n, s); along positive curvature only where the Hessian is not positive.

        The Hessian is spent. If not `bounded`, the step of a convex problem is infinite there, as nothing says how far
        away the minimum is.
        """
        grounded, scale = with_grounds(hessian, self.ground[rows])
        right = -gradients * scale[..., None]
        try:
            if not self.convex:
                np.linalg.cholesky(grounded)  # of all: one with negative curvature, and each is looked at alone
            step = np.linalg.solve(grounded, right)
        except np.linalg.LinAlgError:
            step = np.full_like(right, np.nan)
        descent = np.isfinite(step).all(axis=1) & (np.einsum("bis,bis->bs", step, right) >= 0)
        for k, side in np.argwhere(~descent):
            matrix, one = grounded[k], right[k, :, side]
            step[k, :, side] = curved_step(matrix, one, self.convex) if bounded else whole_step(matrix, one)
        with np.errstate(over="ignore"):  # a curvature of 1e-322 sends it beyond what a float holds
            scaled: FloatArray = step * scale[..., None]
        return np.clip(scaled, -1e300, 1e300) if bounded else scaled

    def _search(
        self, w: FloatArray, g: FloatArray, step: FloatArray, value: FloatArray, slope: FloatArray, noise: FloatArray
    ) -> FloatArray:
        """Step lengths 1, ½, ¼ …: Armijo's rule, or a flatter slope where rounding hides the descent."""
        length = np.ones(len(g))
        pending = np.flatnonzero(largest_of(step) > 0)
        for _ in range(60):
            trial = g[pending] + length[pending, None] * step[pending]
            new = self._value(w if len(pending) == len(w) else w[pending], trial)[0]
            bound = value[pending] + DECREASE * length[pending] * slope[pending]
            good = (new <= bound) & np.isfinite(new)
            close = new <= value[pending] + 1e-14 * noise[pending]
            unsure = np.flatnonzero(~good & close)
            if len(unsure):
                k = pending[unsure]
                flow = weighted(w[k], self.loss.derivative(differences(trial[unsure])))
                gradient = flow.sum(axis=2) - flow.sum(axis=1)
                after = np.einsum("bi,bi->b", gradient, step[k])
                good[unsure] = np.abs(after) <= 0.9 * np.abs(slope[k]) + 1e-300
            pending = pending[~good]
            if not len(pending):
                return length
            length[pending] *= 0.5
        length[pending] = 0.0
        return length

    def _error(self, g: FloatArray, blocks: IntArray) -> tuple[FloatArray, FloatArray]:
        """F at the end, and how far rounding in the gradient can have moved g: random signs through the Hessian."""
        here = self._derivatives(self.weights, g, ends=True)
        size = 4 * np.finfo(float).eps * here.traffic
        rng = np.random.default_rng(0)
        sides = [here.gradient] + [size * rng.choice([-1.0, 1.0], size=size.shape) for _ in range(3)]
        centred = np.stack([centred_in_blocks(side, blocks) for side in sides], axis=-1)
        steps = self._direction(here.hessian, centred, np.arange(len(g)), bounded=not self.convex)
        error = np.maximum.reduce([far_of(steps[..., k], blocks) for k in range(len(sides))])
        return here.value, np.where(np.isfinite(error), error, np.inf)

    def _error_on_straight_pieces(self, k: int, g: FloatArray) -> float:
        """The error of one row within the blocks that curvature holds together, if between them F is level."""
        one = _Stack(self.weights[k : k + 1], self.loss, self.blocks[k : k + 1], True)
        here = one._derivatives(one.weights, g[None], ends=True)
        gradient, hessian, traffic = here.gradient[0], here.hessian[0], here.traffic[0]
        held = np.abs(hessian) > 1e-13 * np.abs(hessian).max()
        labels = connected_components(csr_array(held), directed=False)[1].astype(np.int64)
        tilt = np.abs(np.bincount(labels, weights=gradient))
        if labels.max() == self.blocks[k].max() or np.any(tilt > 1e-12 * np.bincount(labels, weights=traffic)):
            return np.inf
        inner = _Stack(self.weights[k : k + 1] * (labels[:, None] == labels), self.loss, labels[None], True)
        return float(inner._error(g[None], labels[None])[1][0])
