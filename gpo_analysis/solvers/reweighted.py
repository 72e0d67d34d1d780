"""The same pairs under many sets of weights near the given ones, as a bootstrap has them: refits from one known fit.

Newton's method with the Hessian of the known fit in place of each refit's own (the chord method: Ortega & Rheinboldt
1970, §7.1). Its factor is made once, so that a step of all refits together is a sparse product, f′ of every margin and
one product of matrices: no linear system a refit, nothing that a threaded LAPACK could slow down. The error falls by
the relative difference of the Hessians in each step, about 1/√(comparisons of an item).

A refit is taken only where that difference is seen to be small, and where pairs with curvature connect all responses:
a stationary point with a positive Hessian, which for a convex f is the only minimum. All others are left to the caller.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.solvers.faces import components
from gpo_analysis.solvers.functions import Differentiable, Stretched, unit_of
from gpo_analysis.solvers.minimum import Minimum
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.threads import one_thread

#: Responses up to which the inverse of the Hessian is written out.
DENSE_AT_MOST = 2000
#: Margins evaluated at once, pairs times refits.
CHUNK = 1 << 19
#: Steps after which a refit that has not converged is given up, and the last step of one that has.
STEPS, SMALL = 40, 1e-11
#: The largest ratio of one step to the one before with which a refit is taken.
RATIO = 0.7


def minimise_reweighted(
    pairs: WeightedPairs, loss: MarginLoss, found: Minimum, weights: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Minimisers of ``Σ_k w_bk f(g_i − g_j)`` near the known one of ``Σ_k w_k f(g_i − g_j)``.

    Parameters
    ----------
    pairs : WeightedPairs
    loss : MarginLoss
    found : Minimum
        Of `pairs`.
    weights : array, shape (b, k)
        At least 0, in the order of the pairs, of about the same sum as theirs.

    Returns
    -------
    reward : array, shape (b, n)
        Centred; NaN where it was not found.
    done : array of bool, shape (b,)
        False for refits that are too far from the known fit, and for losses with kinks.
    """
    reward, done = np.full((len(weights), pairs.n), np.nan), np.zeros(len(weights), dtype=bool)
    shape = shape_of(loss)
    if not found.converged or shape.kinks or shape.is_piecewise_linear or pairs.n > DENSE_AT_MOST:
        return reward, done
    unit = unit_of(loss)
    f: Differentiable = loss if unit == 1 else Stretched(loss, unit)
    start = found.reward / unit
    inverse = _inverse(pairs, pairs.weight * f.derivative(pairs.margins(start), order=2))
    if inverse is None:
        return reward, done
    k = len(pairs.weight)
    rows, signs = np.concatenate([pairs.winner, pairs.loser]), np.repeat([1.0, -1.0], k)
    ends = sparse.coo_array((signs, (rows, np.tile(np.arange(k), 2))), shape=(pairs.n, k)).tocsr()
    size = max(1, CHUNK // k)
    with one_thread():
        for first in range(0, len(weights), size):
            part = slice(first, first + size)
            g, good = _chord(pairs, f, start, inverse, ends, np.ascontiguousarray(weights[part].T))
            reward[part][good], done[part] = unit * g[:, good].T, good
    return reward, done


def _inverse(pairs: WeightedPairs, curvature: FloatArray) -> FloatArray | None:
    """Of the Hessian on what sums to 0, shape (n, n); None where it is not positive."""
    n = pairs.n
    table = np.zeros((n, n))
    table[pairs.winner, pairs.loser] = curvature
    table = table + table.T
    degree = table.sum(axis=1)
    ones = float(degree.mean()) / n
    if not degree.min(initial=np.inf) > 0:
        return None
    try:
        factor = cho_factor(np.diag(degree) - table + ones)
    except np.linalg.LinAlgError:
        return None
    inverse: FloatArray = np.asarray(cho_solve(factor, np.eye(n)), dtype=np.float64)
    return np.asarray(inverse - inverse.mean(axis=0))


def _chord(
    pairs: WeightedPairs,
    loss: Differentiable,
    start: FloatArray,
    inverse: FloatArray,
    ends: sparse.csr_array,
    weights: FloatArray,
) -> tuple[FloatArray, BoolArray]:
    """Refits of one chunk, weights (k, b): g (n, b), and which of them are to be taken."""
    b = weights.shape[1]
    g = np.repeat((start - start.mean())[:, None], b, axis=1)
    good, active = np.zeros(b, dtype=bool), np.arange(b)
    last, w = np.full(b, np.inf), weights
    for _ in range(STEPS):
        at = g[:, active]
        with np.errstate(all="ignore"):  # what runs away is left below
            step = -inverse @ (ends @ (w * loss.derivative(at[pairs.winner] - at[pairs.loser])))
        length = np.abs(step).max(axis=0)
        sound = length <= RATIO * last[active]
        g[:, active] = at + np.where(np.isfinite(step), step, 0.0)
        near = sound & (length <= SMALL * (1 + np.abs(at).max(axis=0)))
        good[active[near]] = True
        last[active] = length
        going = sound & ~near
        if not going.any():
            break
        if not going.all():
            active, w = active[going], w[:, going]
    held = _held(pairs, loss, g, weights)
    return g, good & held


def _held(pairs: WeightedPairs, loss: Differentiable, g: FloatArray, weights: FloatArray) -> BoolArray:
    """Whether pairs of some weight and curvature connect all responses, shape (b,)."""
    with np.errstate(all="ignore"):
        curvature = weights * loss.derivative(g[pairs.winner] - g[pairs.loser], order=2)
        curved = curvature > 1e-12 * curvature.max(axis=0)
    always = curved.all(axis=1)
    if not components(pairs.n, pairs.winner[always], pairs.loser[always], strong=False).any():
        return np.ones(g.shape[1], dtype=bool)
    connected = [not components(pairs.n, pairs.winner[on], pairs.loser[on], strong=False).any() for on in curved.T]
    return np.array(connected, dtype=bool)
