"""Refits of one loss to resampled labels, from the fit to all of them: a few Newton steps each, or none.

What comes out is a strict local minimum: the gradient vanishes and the Hessian is well above 0 in every direction. For
a convex f that is the minimum; elsewhere it is the one that the fit to all labels moves to. A resample that does not
come to one in a few steps (separable labels, kinks, an item without labels) is left to the solver.
"""

from __future__ import annotations

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import MarginLoss

_STEPS = 15
_GRADIENT = 1e-10  # of the sum of counts
_CURVATURE = 1e-5  # least eigenvalue of the Hessian over the largest


def refitted(f: MarginLoss, winner: IntArray, loser: IntArray, counts: FloatArray, start: FloatArray) -> FloatArray:
    """Fits to reweighted comparisons, shape (resamples, n), centred; NaN where a few Newton steps do not do.

    Parameters
    ----------
    f : MarginLoss
    winner, loser : array of int, shape (k,)
        Items 0 to n − 1, which these comparisons connect.
    counts : array, shape (resamples, k)
    start : array, shape (n,)
        The fit to all of them.
    """
    n = len(start)
    cells = np.concatenate([winner * n + winner, loser * n + loser, winner * n + loser, loser * n + winner])
    found = np.full((len(counts), n), np.nan)
    for r, count in enumerate(counts):
        if count.any():
            found[r] = _newton(f, winner, loser, count, start, cells)
    return found


def _newton(
    f: MarginLoss, winner: IntArray, loser: IntArray, count: FloatArray, start: FloatArray, cells: IntArray
) -> FloatArray:
    n, total = len(start), float(count.sum())
    g = start - start.mean()
    z = g[winner] - g[loser]
    value = float(count @ np.asarray(f(z)))
    for _ in range(_STEPS):
        push = count * np.asarray(f.derivative(z))
        gradient = np.bincount(winner, push, n) - np.bincount(loser, push, n)
        bend = count * np.asarray(f.derivative(z, 2))
        hessian = np.bincount(cells, np.concatenate([bend, bend, -bend, -bend]), n * n).reshape(n, n)
        if not (np.isfinite(hessian).all() and np.isfinite(gradient).all()):
            break
        if np.abs(gradient).max() <= _GRADIENT * total:
            size = np.linalg.eigvalsh(hessian + np.trace(hessian) / n)  # the last for the constants
            return g if size[0] > _CURVATURE * size[-1] else np.full(n, np.nan)
        try:
            step = np.linalg.solve(hessian + np.trace(hessian) / n**2, -gradient)
        except np.linalg.LinAlgError:
            break
        step -= step.mean()
        slope = float(gradient @ step)
        if not (np.isfinite(step).all() and slope < 0):
            break
        for _ in range(20):
            z = (g + step)[winner] - (g + step)[loser]
            new = float(count @ np.asarray(f(z)))
            if new <= value + 1e-4 * slope + 1e-14 * abs(value):
                break
            step, slope = step / 2, slope / 2
        else:
            break
        g, value = g + step, new
    return np.full(n, np.nan)
