"""Newton's method for one large problem with sparse pairs: conjugate gradients, a sparse factor where those fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg, splu

from .cells import Cell
from .newton import ACCURACY, DECREASE, STEP

if TYPE_CHECKING:
    from ..losses import MarginLoss

__all__ = ["minimise_sparse"]

FloatArray = NDArray[np.float64]


def minimise_sparse(
    cell: Cell, loss: MarginLoss, parts: NDArray[np.int64], *, max_iterations: int = 1000
) -> tuple[FloatArray, float, float, bool, int]:
    """Minimise ``F(g) = Σ_k w_k f(g_i − g_j)`` for convex, once differentiable f.

    Parameters
    ----------
    cell : Cell
    loss : MarginLoss
    parts : array of int, shape (n,)
        Labels of the components that the cell's pairs make.

    Returns
    -------
    g : array, shape (n,)
        Centred within each component.
    value, error : float
        F(g), and the estimated largest error of g.
    converged : bool
    iterations : int
    """
    system = _System(cell, loss, parts)
    g = np.zeros(cell.n)
    value, gradient, curvature, size = system.derivatives(g)
    last, stalled, error, iterations = np.inf, 0, np.inf, 0
    for _ in range(max_iterations):
        iterations += 1
        step = system.solve(curvature, -gradient, tolerance=min(1e-2, max(1e-10, 0.1 * last)))
        slope = float(gradient @ step)
        length = 1.0
        for _ in range(60):
            trial = system.centred(g + length * step)
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
    return g, float(value), float(error), converged, iterations


class _System:
    """Gradient and Hessian (a graph's Laplacian) of one sparse problem."""

    def __init__(self, cell: Cell, loss: MarginLoss, parts: NDArray[np.int64]) -> None:
        self.cell, self.loss, self.parts = cell, loss, parts
        self.size = np.bincount(parts)
        degree = np.bincount(np.concatenate([cell.winner, cell.loser]), np.tile(cell.weight, 2), cell.n)
        order = np.lexsort((-degree, parts))
        self.ground = order[np.unique(parts[order], return_index=True)[1]]
        # Few pairs a response: a factor stays sparse. Many: conjugate gradients need few rounds.
        self.factor_first = len(cell.weight) <= 6 * cell.n
        self.cg_failed = False

    def centred(self, g: FloatArray) -> FloatArray:
        return np.asarray(g - (np.bincount(self.parts, weights=g) / self.size)[self.parts])

    def divergence(self, flow: FloatArray) -> FloatArray:
        n = self.cell.n
        return np.asarray(np.bincount(self.cell.winner, flow, n) - np.bincount(self.cell.loser, flow, n))

    def derivatives(self, g: FloatArray) -> tuple[float, FloatArray, FloatArray, float]:
        """F, gradient (n,), curvature of each pair (k,), Σ|w f|."""
        cell = self.cell
        d = g[cell.winner] - g[cell.loser]
        terms = cell.weight * self.loss(d)
        flow = cell.weight * self.loss.derivative(d)
        curvature = cell.weight * self.loss.derivative(d, order=2)
        return float(terms.sum()), self.divergence(flow), curvature, float(np.abs(terms).sum())

    def solve(self, curvature: FloatArray, right: FloatArray, tolerance: float) -> FloatArray:
        """Newton's step, centred within each component."""
        cell, n = self.cell, self.cell.n
        off = sparse.coo_array((curvature, (cell.winner, cell.loser)), shape=(n, n)).tocsr()
        off = off + off.T
        diagonal: FloatArray = np.asarray(off.sum(axis=1), dtype=np.float64).ravel()
        right = self.centred(right)
        if not (self.factor_first or self.cg_failed) and (diagonal > 0).all():
            inverse = 1 / diagonal
            laplacian = LinearOperator((n, n), matvec=lambda x: diagonal * x - off @ x, dtype=np.float64)
            scaling = LinearOperator((n, n), matvec=lambda x: inverse * x, dtype=np.float64)
            step, failed = cg(laplacian, right, rtol=tolerance, maxiter=500, M=scaling)
            if not failed and np.isfinite(step).all() and step @ right >= 0:
                return self.centred(step)
            self.cg_failed = True
        held = diagonal.copy()
        held[self.ground] = np.where(diagonal[self.ground] > 0, 2 * diagonal[self.ground], 1.0)
        # Without curvature at a response (a straight piece of f) a small ridge keeps the step finite.
        held = held + 1e-12 * max(float(held.max()), 1e-300) * (held <= 1e-14 * held.max())
        scale = 1 / np.sqrt(held)
        matrix = sparse.diags_array(scale) @ (sparse.diags_array(held) - off) @ sparse.diags_array(scale)
        try:
            step = scale * splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(
                scale * right
            )
        except RuntimeError:  # exactly singular: some responses are held by straight pieces of f only
            ridged = matrix + 1e-10 * sparse.eye_array(n)
            step = scale * splu(ridged.tocsc()).solve(scale * right)
        if not np.isfinite(step).all() or step @ right < 0:
            step = scale * scale * right
        return self.centred(step)

    def error(self, g: FloatArray, gradient: FloatArray, curvature: FloatArray) -> float:
        """The gradient's rest and its rounding, with random signs, carried through the Hessian."""
        cell = self.cell
        flow = np.abs(cell.weight * self.loss.derivative(g[cell.winner] - g[cell.loser]))
        size = (
            4 * np.finfo(float).eps * (np.bincount(cell.winner, flow, cell.n) + np.bincount(cell.loser, flow, cell.n))
        )
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(2, cell.n))
        sides = [gradient, size * signs[0], size * signs[1]]
        return max(float(np.abs(self.solve(curvature, side, 1e-6)).max()) for side in sides)
