"""Newton's method for many small problems at once: a stack of weights (b, n, n), one vectorised iteration.

Minimised is ``F(g) = Σ_ij W_ij f(g_i − g_j)`` in ``g = βh``. Its Hessian is the Laplacian of a graph with the weights
``W_ij f″(g_i − g_j)``, so F is flat along each block of responses that hang together; one response of a block, the
ground, is held by adding to its diagonal entry, which changes no difference of g.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.minimum import Minimum, ended
from gpo_analysis.solvers.rows import LONGEST
from gpo_analysis.solvers.starts import PairStart

#: A last step this small, relative to 1 + max|g|, ends the iteration.
STEP = 1e-11
#: The largest estimated error of g, relative to 1 + max|g|, with which a minimum counts as found.
ACCURACY = 1e-6
#: Armijo's constant.
DECREASE = 1e-4
#: Where f is not convex, a descent that comes this far out runs off to infinity and is left.
ESCAPED = 300.0
#: Elements of one (b, n, n) array worked on at a time.
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
    hessian, flow : array, shape (b, n, n)
        ``|W f′|`` of each pair is its flow.
    """

    value: FloatArray
    gradient: FloatArray
    hessian: FloatArray
    noise: FloatArray
    flow: FloatArray

    def traffic(self) -> FloatArray:
        """Σ|W f′| over the pairs of each response, shape (b, n)."""
        return np.asarray(self.flow.sum(axis=2) + self.flow.sum(axis=1))


class _Stack:
    """The arrays of one chunk; rows leave it as they converge."""

    def __init__(self, weights: FloatArray, loss: Differentiable, blocks: IntArray, convex: bool) -> None:
        self.weights, self.loss, self.blocks, self.convex = weights, loss, blocks, convex
        self.ground = _grounds(weights, blocks)

    def projected(self, start: PairStart) -> tuple[FloatArray, FloatArray | None]:
        """The start that a table of lone pairs gives each problem; zeros where F is no lower there, shape (b, n).

        Beside it the terms of F at it, shape (b, n, n), where they are known.
        """
        held, right = start.pull(self.weights)
        degree, diagonal = held.sum(axis=2), np.arange(held.shape[1])
        laplacian = np.negative(held, out=held)
        laplacian[:, diagonal, diagonal] = degree
        grounded, scale = _grounded(laplacian, self.ground)
        try:
            g = np.linalg.solve(grounded, (right * scale)[..., None])[..., 0] * scale
        except np.linalg.LinAlgError:
            return np.zeros_like(right), None
        finite = np.isfinite(g).all(axis=1, keepdims=True)
        g = _centred(np.where(finite, g, 0.0), self.blocks)
        with np.errstate(over="ignore"):
            terms = _times(self.weights, self.loss(g[:, :, None] - g[:, None, :]))
        lower = _sum(terms) < start.at_zero * self.weights.sum(axis=(1, 2))
        return (g, terms) if lower.all() else (np.where(lower[:, None], g, 0.0), None)

    @np.errstate(over="ignore", invalid="ignore")  # a step far out, where f is ∞; what is not finite is no minimum
    def run(self, g: FloatArray, terms: FloatArray | None = None, *, max_iterations: int) -> Ends:
        """From g, where the terms of F may be known, (b, n, n); they are spent."""
        b = len(g)
        g = g.copy()
        active = np.arange(b)
        last = np.full(b, np.inf)
        stalled, idle = np.zeros(b, dtype=np.int64), np.zeros(b, dtype=np.int64)
        lowest, shortest = np.full(b, np.inf), np.full(b, np.inf)
        iterations = np.zeros(b, dtype=np.int64)
        for _ in range(max_iterations):
            w, at = (self.weights, g) if len(active) == b else (self.weights[active], g[active])
            here = self._derivatives(w, at, terms)
            terms = None
            value, gradient, noise = here.value, here.gradient, here.noise
            scale = 1 + _largest(at)
            step = self._direction(here.hessian, gradient[..., None], active)[..., 0]
            step = step * np.minimum(1.0, LONGEST * scale / np.maximum(_largest(step), 1e-300))[:, None]
            size = _largest(step)
            slope = np.einsum("bi,bi->b", gradient, step)
            length = self._search(w, at, step, value, slope, noise)
            g[active] = _centred(at + length[:, None] * step, self.blocks[active])
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
                done |= _largest(g[active]) > ESCAPED
            active = active[~done]
            if not len(active):
                break
        value, error = self._error(g, self.blocks)
        good = np.isfinite(value) & (error <= ACCURACY * (1 + _largest(g)))
        for k in np.flatnonzero(~good) if self.convex else ():
            error[k] = self._error_on_straight_pieces(int(k), g[k])
            good[k] = np.isfinite(value[k]) and error[k] <= ACCURACY * (1 + np.abs(g[k]).max())
        return Ends(g, value, error, good, iterations)

    def _derivatives(self, w: FloatArray, g: FloatArray, terms: FloatArray | None = None) -> _Local:
        d = g[:, :, None] - g[:, None, :]
        if terms is None:
            terms = _times(w, self.loss(d))
        value = _sum(terms)
        noise = np.abs(terms, out=terms).sum(axis=(1, 2))
        flow = _times(w, self.loss.derivative(d))
        curvature = _times(w, self.loss.derivative(d, order=2))
        gradient = flow.sum(axis=2) - flow.sum(axis=1)
        hessian = np.add(curvature, np.swapaxes(curvature, 1, 2), out=terms)
        diagonal = np.arange(g.shape[1])
        degree = hessian.sum(axis=2)
        np.negative(hessian, out=hessian)
        hessian[:, diagonal, diagonal] = degree
        return _Local(value, gradient, hessian, noise, np.abs(flow, out=flow))

    def _direction(
        self, hessian: FloatArray, gradients: FloatArray, rows: IntArray, *, bounded: bool = True
    ) -> FloatArray:
        """Newton's steps for gradients (b, n, s); along positive curvature only where the Hessian is not positive.

        If not `bounded`, the step of a convex problem is infinite there, as nothing says how far away the minimum is.
        """
        grounded, scale = _grounded(hessian, self.ground[rows])
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
            step[k, :, side] = _curved_step(matrix, one, self.convex) if bounded else _whole_step(matrix, one)
        with np.errstate(over="ignore"):  # a curvature of 1e-322 sends it beyond what a float holds
            scaled: FloatArray = step * scale[..., None]
        return np.clip(scaled, -1e300, 1e300) if bounded else scaled

    def _search(
        self, w: FloatArray, g: FloatArray, step: FloatArray, value: FloatArray, slope: FloatArray, noise: FloatArray
    ) -> FloatArray:
        """Step lengths 1, ½, ¼ …: Armijo's rule, or a flatter slope where rounding hides the descent."""
        length = np.ones(len(g))
        pending = np.flatnonzero(_largest(step) > 0)
        for _ in range(60):
            trial = g[pending] + length[pending, None] * step[pending]
            d = trial[:, :, None] - trial[:, None, :]
            rows = w if len(pending) == len(w) else w[pending]
            new = _sum(_times(rows, self.loss(d)))
            bound = value[pending] + DECREASE * length[pending] * slope[pending]
            good = (new <= bound) & np.isfinite(new)
            close = new <= value[pending] + 1e-14 * noise[pending]
            unsure = np.flatnonzero(~good & close)
            if len(unsure):
                k = pending[unsure]
                flow = _times(w[k], self.loss.derivative(d[unsure]))
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
        here = self._derivatives(self.weights, g)
        size = 4 * np.finfo(float).eps * here.traffic()
        rng = np.random.default_rng(0)
        sides = [here.gradient] + [size * rng.choice([-1.0, 1.0], size=size.shape) for _ in range(3)]
        centred = np.stack([_centred(side, blocks) for side in sides], axis=-1)
        steps = self._direction(here.hessian, centred, np.arange(len(g)), bounded=not self.convex)
        error = np.maximum.reduce([_far(steps[..., k], blocks) for k in range(len(sides))])
        return here.value, np.where(np.isfinite(error), error, np.inf)

    def _error_on_straight_pieces(self, k: int, g: FloatArray) -> float:
        """The error of one row within the blocks that curvature holds together, if between them F is level."""
        one = _Stack(self.weights[k : k + 1], self.loss, self.blocks[k : k + 1], True)
        here = one._derivatives(one.weights, g[None])
        gradient, hessian, traffic = here.gradient[0], here.hessian[0], here.traffic()[0]
        held = np.abs(hessian) > 1e-13 * np.abs(hessian).max()
        labels = connected_components(csr_array(held), directed=False)[1].astype(np.int64)
        tilt = np.abs(np.bincount(labels, weights=gradient))
        if labels.max() == self.blocks[k].max() or np.any(tilt > 1e-12 * np.bincount(labels, weights=traffic)):
            return np.inf
        inner = _Stack(self.weights[k : k + 1] * (labels[:, None] == labels), self.loss, labels[None], True)
        return float(inner._error(g[None], labels[None])[1][0])


def _times(weights: FloatArray, values: FloatArray) -> FloatArray:
    """Product in which a weight of 0 silences an infinite value; the values, which it takes the place of, are spent."""
    with np.errstate(invalid="ignore", over="ignore"):
        product = np.multiply(weights, values, out=values)
        if np.isfinite(product.sum()):
            return product
    return np.where(weights > 0, product, 0.0)


def _largest(rows: FloatArray) -> FloatArray:
    return np.asarray(np.abs(rows).max(axis=1))


def _centred(g: FloatArray, blocks: IntArray) -> FloatArray:
    """g with the mean of each block taken off."""
    b, n = g.shape
    key = blocks + n * np.arange(b)[:, None]
    total = np.bincount(key.ravel(), weights=g.ravel(), minlength=b * n)
    size = np.bincount(key.ravel(), minlength=b * n)
    mean = total / np.maximum(size, 1)
    return np.asarray(g - mean[key])


def _grounds(weights: FloatArray, blocks: IntArray) -> BoolArray:
    """One response a block, the one with the most weight."""
    b, n = blocks.shape
    degree = weights.sum(axis=1) + weights.sum(axis=2)
    ground = np.zeros((b, n), dtype=bool)
    for label in range(n):
        inside = blocks == label
        rows = np.flatnonzero(inside.any(axis=1))
        if not len(rows):
            break
        ground[rows, np.argmax(np.where(inside[rows], degree[rows], -1.0), axis=1)] = True
    return ground


def _grounded(hessian: FloatArray, ground: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Hessian with the grounds held, scaled to a unit diagonal, and the scale (1/√diagonal)."""
    n = hessian.shape[1]
    held = hessian.copy()
    i = np.arange(n)
    diagonal = held[:, i, i]
    diagonal = np.where(ground, np.where(diagonal > 0, 2 * diagonal, 1.0), diagonal)
    scale = 1 / np.sqrt(np.where(np.abs(diagonal) > 0, np.abs(diagonal), 1.0))
    held[:, i, i] = diagonal
    held *= scale[:, :, None]
    held *= scale[:, None, :]
    return held, scale


def _curved_step(matrix: FloatArray, right: FloatArray, convex: bool) -> FloatArray:
    """Step from an eigendecomposition: |λ| for λ, at least 1e-10 of the largest; off a saddle along its eigenvector."""
    if not np.isfinite(matrix).all():
        return right
    if not convex:
        try:
            return np.asarray(cho_solve(cho_factor(matrix), right))
        except np.linalg.LinAlgError:  # negative curvature
            pass
    eigenvalues, vectors = np.linalg.eigh(matrix)
    bound = 1e-10 * max(np.abs(eigenvalues).max(), 1e-300)
    along = vectors.T @ right
    step = along / np.maximum(np.abs(eigenvalues), bound)
    downhill = (eigenvalues < -1e-8) & (np.abs(along) < 1e-8)
    if not convex and downhill.any() and np.abs(step).max() < 1e-6:
        step = step + np.where(downhill, 0.1, 0.0)
    return np.asarray(vectors @ step)


def _far(step: FloatArray, blocks: IntArray) -> FloatArray:
    """The largest change of each row, centred; ∞ where the step is not finite."""
    found = np.full(len(step), np.inf)
    finite = np.flatnonzero(np.isfinite(step).all(axis=1))
    found[finite] = _largest(_centred(step[finite], blocks[finite]))
    return found


def _whole_step(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """The solution, infinite where the matrix is singular or not positive."""
    try:
        step: FloatArray = np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.full_like(right, np.inf)
    sound = bool(np.isfinite(step).all()) and float(step @ right) >= 0
    return step if sound else np.full_like(right, np.inf)


def _sum(terms: FloatArray) -> FloatArray:
    """Sum of each matrix; NaN, silently, where ∞ meets −∞ (far out under a loss unbounded below)."""
    with np.errstate(invalid="ignore"):
        return np.asarray(terms.sum(axis=(1, 2)))
