"""Linear systems in the Laplacian of a weighted graph: conjugate gradients, or a sparse factor where those do badly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg, splu

from gpo_analysis.arrays import FloatArray, IntArray

#: Rounds of conjugate gradients before a factor is tried: graphs on which they need more are long and thin, and it is
#: on those that a factor stays sparse.
ROUNDS = 1000
#: Nodes up to which the matrix is written out first.
SMALL = 150


def centred(x: FloatArray, labels: IntArray) -> FloatArray:
    """x with the mean of each component taken off, shape (n,)."""
    return np.asarray(x - (np.bincount(labels, weights=x) / np.bincount(labels))[labels])


def conjugated(
    neighbours: Callable[[FloatArray], FloatArray], degree: FloatArray, side: FloatArray, tolerance: float
) -> FloatArray | None:
    """``x`` with ``degree x − neighbours(x) = side``, by conjugate gradients; None where they do not find it.

    Parameters
    ----------
    neighbours : function of an array, shape (n,)
        The product with the symmetric weights.
    degree : array, shape (n,)
        The sums of their rows.
    side : array, shape (n,)
        Of sum 0 over each component.
    tolerance : float
        Relative to the norm of `side`.
    """
    n, loose = len(side), degree <= 0
    if side[loose].any():
        return None
    inverse = 1 / np.where(loose, 1.0, degree)
    laplacian = LinearOperator((n, n), matvec=lambda x: degree * x - neighbours(x), dtype=np.float64)
    scaling = LinearOperator((n, n), matvec=lambda x: x * inverse, dtype=np.float64)
    x, failed = cg(laplacian, side, rtol=tolerance, atol=0.0, maxiter=ROUNDS, M=scaling)
    good = not failed and bool(np.isfinite(x).all()) and float(x @ side) >= 0
    return np.asarray(x, dtype=np.float64) if good else None


@dataclass(frozen=True, eq=False)
class Laplacian:
    """``L = diag(degree) − (half + halfᵀ)``: pairs as they are listed, never written out as a symmetric matrix.

    Attributes
    ----------
    half : sparse array, shape (n, n)
        Entry [i, j] is what the pairs listed as (i, j) weigh, at least 0, nothing on the diagonal. Its transpose is
        applied from the same arrays. May be 0 within a component: x is then near a least-norm answer.
    """

    half: sparse.csr_array

    def neighbours(self, x: FloatArray) -> FloatArray:
        """``(half + halfᵀ) x``."""
        return np.asarray(self.half @ x + self._other_half @ x)

    @cached_property
    def _other_half(self) -> sparse.csc_array:
        return self.half.T

    @cached_property
    def degree(self) -> FloatArray:
        """Each node's weight, shape (n,)."""
        return self.neighbours(np.ones(self.half.shape[0]))

    def solve(
        self, right: FloatArray, labels: IntArray, *, tolerance: float = 1e-13, direct: bool = False
    ) -> tuple[FloatArray, bool]:
        """``x`` with ``L x = right`` and mean zero over each component.

        Parameters
        ----------
        right : array, shape (n,)
            Its mean over each component is taken off first.
        labels : array of int, shape (n,)
            The components, numbered from 0.
        tolerance : float
            Of conjugate gradients, relative to the norm of `right`.
        direct : bool
            Whether to go straight to the factor.

        Returns
        -------
        x : array, shape (n,)
        iterated : bool
            Whether conjugate gradients did it; where not, later calls for like weights may pass ``direct=True``.
        """
        side = centred(right, labels)
        if not direct and len(side) <= SMALL:
            x = self._written_out(side, labels)
            if (
                x is not None
                and np.abs(self.degree * x - self.neighbours(x) - side).max() <= 1e-13 * np.abs(side).max()
            ):
                return centred(x, labels), True
        if not direct:
            x = conjugated(self.neighbours, self.degree, side, tolerance)
            if x is not None:
                return centred(x, labels), True
        return _by_factor(sparse.csr_array(self.half + self.half.T), self.degree, side, labels), False

    def _written_out(self, side: FloatArray, labels: IntArray) -> FloatArray | None:
        """The solution of mean zero by elimination in the whole matrix; None where it is singular beyond that."""
        table = self.half.toarray()
        table = np.diag(self.degree) - table - table.T
        table += (labels[:, None] == labels) * (self.degree.mean() / len(side))
        try:
            return np.asarray(np.linalg.solve(table, side))
        except np.linalg.LinAlgError:
            return None


def solve_laplacian(
    weights: sparse.csr_array, right: FloatArray, labels: IntArray, *, tolerance: float = 1e-13, direct: bool = False
) -> tuple[FloatArray, bool]:
    """:meth:`Laplacian.solve` for a graph given as a symmetric matrix of weights, shape (n, n)."""
    return Laplacian(sparse.csr_array(0.5 * weights)).solve(right, labels, tolerance=tolerance, direct=direct)


def _by_factor(weights: sparse.csr_array, degree: FloatArray, side: FloatArray, labels: IntArray) -> FloatArray:
    """One node of each component is held by adding to its diagonal, which changes no difference of x."""
    order = np.lexsort((-degree, labels))
    grounds = order[np.unique(labels[order], return_index=True)[1]]
    held = degree.copy()
    held[grounds] = np.where(degree[grounds] > 0, 2 * degree[grounds], 1.0)
    # A node without weight, though its component has some, would make the matrix singular.
    held = held + 1e-12 * max(float(held.max()), 1e-300) * (held <= 1e-14 * held.max())
    scale = 1 / np.sqrt(held)
    scaling = sparse.diags_array(scale)
    matrix = sparse.csc_array(scaling @ (sparse.diags_array(held) - weights) @ scaling)
    try:
        x = scale * splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(scale * side)
    except RuntimeError:  # exactly singular: parts of a component that hang together by weights of 0
        x = scale * splu(sparse.csc_array(matrix + 1e-10 * sparse.eye_array(len(side)))).solve(scale * side)
    if not np.isfinite(x).all() or x @ side < 0:
        x = scale * scale * side
    return centred(np.asarray(x, dtype=np.float64), labels)
