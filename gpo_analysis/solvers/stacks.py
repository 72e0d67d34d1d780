"""Arithmetic on stacks: rows (b, n) and matrices (b, n, n), one a problem, and single systems where a stack fails."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray


def weighted(weights: FloatArray, values: FloatArray) -> FloatArray:
    """Product in which a weight of 0 silences an infinite value; the values, which it takes the place of, are spent."""
    with np.errstate(invalid="ignore", over="ignore"):
        product = np.multiply(weights, values, out=values)
        if np.isfinite(product.sum()):
            return product
    return np.where(weights > 0, product, 0.0)


def largest_of(rows: FloatArray) -> FloatArray:
    return np.asarray(np.abs(rows).max(axis=1))


def centred_in_blocks(g: FloatArray, blocks: IntArray) -> FloatArray:
    """g with the mean of each block taken off."""
    b, n = g.shape
    key = blocks + n * np.arange(b)[:, None]
    total = np.bincount(key.ravel(), weights=g.ravel(), minlength=b * n)
    size = np.bincount(key.ravel(), minlength=b * n)
    mean = total / np.maximum(size, 1)
    return np.asarray(g - mean[key])


def grounds(weights: FloatArray, blocks: IntArray) -> BoolArray:
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


def with_grounds(held: FloatArray, ground: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Hessians with the grounds held, scaled to a unit diagonal, in their place; and the scale (1/√diagonal)."""
    i = np.arange(held.shape[1])
    diagonal = held[:, i, i]
    diagonal = np.where(ground, np.where(diagonal > 0, 2 * diagonal, 1.0), diagonal)
    scale = 1 / np.sqrt(np.where(np.abs(diagonal) > 0, np.abs(diagonal), 1.0))
    held[:, i, i] = diagonal
    held *= scale[:, :, None]
    held *= scale[:, None, :]
    return held, scale


def curved_step(matrix: FloatArray, right: FloatArray, convex: bool) -> FloatArray:
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


def far_of(step: FloatArray, blocks: IntArray) -> FloatArray:
    """The largest change of each row, centred; ∞ where the step is not finite."""
    found = np.full(len(step), np.inf)
    finite = np.flatnonzero(np.isfinite(step).all(axis=1))
    found[finite] = largest_of(centred_in_blocks(step[finite], blocks[finite]))
    return found


def whole_step(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """The solution, infinite where the matrix is singular or not positive."""
    try:
        step: FloatArray = np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.full_like(right, np.inf)
    sound = bool(np.isfinite(step).all()) and float(step @ right) >= 0
    return step if sound else np.full_like(right, np.inf)


def differences(g: FloatArray) -> FloatArray:
    """``g_i − g_j``, shape (b, n, n)."""
    return np.asarray(g[:, :, None] - g[:, None, :])


def as_laplacian(held: FloatArray) -> None:
    """Symmetric weights (b, n, n) with zeros on the diagonal become their graph's Laplacian, in their place."""
    degree, diagonal = held.sum(axis=2), np.arange(held.shape[1])
    np.negative(held, out=held)
    held[:, diagonal, diagonal] = degree


def summed(terms: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums of the terms of each matrix and of their sizes, which takes their place; NaN, silently, for ∞ − ∞."""
    with np.errstate(invalid="ignore"):
        value = terms.sum(axis=(1, 2))
        return value, np.abs(terms, out=terms).sum(axis=(1, 2))
