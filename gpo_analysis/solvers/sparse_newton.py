"""Newton's method for one large problem with sparse pairs: conjugate gradients, a sparse factor where those fail."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.laplacian import centred, solve_laplacian
from gpo_analysis.solvers.functions import Differentiable
from gpo_analysis.solvers.minimum import Minimum, ended
from gpo_analysis.solvers.newton import ACCURACY, DECREASE, STEP
from gpo_analysis.solvers.pairs import WeightedPairs


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
        Zeros by default, which is π = πref.
    convex : bool
        If not, |f″| stands in for f″ wherever the Hessian has no positive curvature along the step.
    max_iterations : int
    """
    parts = pairs.parts
    system = _System(pairs, loss, convex)
    g = np.zeros(pairs.n) if start is None else start
    value, gradient, curvature, size = system.derivatives(g)
    last, stalled, error, iterations = np.inf, 0, np.inf, 0
    for _ in range(max_iterations):
        iterations += 1
        step = system.solve(curvature, -gradient, tolerance=min(1e-2, max(1e-10, 0.1 * last)))
        slope = float(gradient @ step)
        length = 1.0
        for _ in range(60):
            trial = centred(g + length * step, parts)
            new = system.derivatives(trial)
            enough = new[0] <= value + DECREASE * length * slope
            if enough or (new[0] <= value + 1e-14 * size and abs(new[1] @ step) <= 0.9 * abs(slope) + 1e-300):
                break
            length *= 0.5
        else:
            break
        g, (value, gradient, curvature, size) = trial, new
        largest = float(np.abs(step).max())
        stalled = stalled + 1 if abs(slope) <= 1e-13 * size and largest > 0.5 * last else 0
        last = largest
        if (largest <= STEP * (1 + np.abs(g).max()) and length == 1.0) or stalled >= 3:
            error = system.error(g, gradient, curvature)
            break
    converged = bool(np.isfinite(value) and error <= ACCURACY * (1 + np.abs(g).max()))
    return ended(g, float(value), float(error), converged, iterations)


class _System:
    """Gradient and Hessian (a graph's Laplacian) of one sparse problem."""

    def __init__(self, pairs: WeightedPairs, loss: Differentiable, convex: bool) -> None:
        self.pairs, self.loss, self.parts, self.convex = pairs, loss, pairs.parts, convex
        self.direct = False

    def derivatives(self, g: FloatArray) -> tuple[float, FloatArray, FloatArray, float]:
        """F, gradient (n,), curvature of each pair (k,), Σ|w f|."""
        pairs = self.pairs
        d = pairs.margins(g)
        terms = pairs.weight * self.loss(d)
        flow = pairs.weight * self.loss.derivative(d)
        curvature = pairs.weight * self.loss.derivative(d, order=2)
        return float(terms.sum()), pairs.balance(flow), curvature, float(np.abs(terms).sum())

    def solve(self, curvature: FloatArray, right: FloatArray, tolerance: float) -> FloatArray:
        """Newton's step, centred within each component."""
        pairs, n = self.pairs, self.pairs.n
        half = sparse.coo_array((curvature, (pairs.winner, pairs.loser)), shape=(n, n)).tocsr()
        both = sparse.csr_array(half + half.T)
        if not self.convex and (curvature < 0).any():
            step = _positive_step(both, centred(right, self.parts), tolerance)
            if step is not None:
                return centred(step, self.parts)
            both = abs(both)
        step, iterated = solve_laplacian(both, right, self.parts, tolerance=tolerance, direct=self.direct)
        self.direct = not iterated
        return step

    def error(self, g: FloatArray, gradient: FloatArray, curvature: FloatArray) -> float:
        """The gradient's rest and its rounding, with random signs, carried through the Hessian."""
        pairs = self.pairs
        flow = np.abs(pairs.weight * self.loss.derivative(pairs.margins(g)))
        traffic = np.bincount(pairs.winner, flow, pairs.n) + np.bincount(pairs.loser, flow, pairs.n)
        size = 4 * np.finfo(float).eps * traffic
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(2, pairs.n))
        sides = [gradient, size * signs[0], size * signs[1]]
        return max(float(np.abs(self.solve(curvature, side, 1e-6)).max()) for side in sides)


def _positive_step(weights: sparse.csr_array, right: FloatArray, tolerance: float) -> FloatArray | None:
    """Newton's step from a Laplacian with weights of either sign; None where conjugate gradients do not find one."""
    degree: FloatArray = np.asarray(weights.sum(axis=1), dtype=np.float64).ravel()
    loose = degree == 0
    if (degree < 0).any() or right[loose].any():
        return None
    inverse = 1 / np.where(loose, 1.0, degree)
    n = len(right)
    laplacian = LinearOperator((n, n), matvec=lambda x: degree * x - weights @ x, dtype=np.float64)
    scaling = LinearOperator((n, n), matvec=lambda x: x * inverse, dtype=np.float64)
    step, failed = cg(laplacian, right, rtol=tolerance, atol=0.0, maxiter=300, M=scaling)
    curvature = float(step @ (degree * step - weights @ step))
    return None if failed or not np.isfinite(step).all() or step @ right < 0 or curvature < 0 else np.asarray(step)
