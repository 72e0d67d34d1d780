"""KL of policies that are close to their reference, where Σ π log(π/πref) cancels to nothing.

With π = πref eʰ, and as both sum to 1,

    KL(π‖πref) = Σ π h = Σ πref φ(h),    φ(h) = h eʰ − eʰ + 1 ≥ 0,

and no term of the second sum is larger than the sum. Of two distributions near each other the same holds with
d = p/q − 1 in place of eʰ − 1: Σ q [(1 + d) log(1 + d) − d].
"""

from __future__ import annotations

import numpy as np
from scipy.special import kl_div

from gpo_analysis.arrays import FloatArray

#: |h| below which φ is a sum of ten powers, the first left out 1e-17 of it.
NEAR = 0.05
_OF_LOG_RATIO = [(k - 1) / float(np.prod(np.arange(1.0, k + 1))) for k in range(2, 12)]
_OF_DIFFERENCE = [(-1.0) ** k / (k * (k - 1)) for k in range(2, 14)]


def kl_from_log_ratio(
    policy: FloatArray, log_ratio: FloatArray, reference: FloatArray, total: FloatArray | None = None, *, axis: int = -1
) -> FloatArray:
    """KL(π‖πref) in nats from ``log π/πref``, along an axis, as exact as that is, however close they are.

    Parameters
    ----------
    policy, log_ratio, reference : array, of shapes that fit together
        π, log π/πref and πref; π and πref may carry further weights that multiply both, as shares of contexts do.
        Where π is 0, log π/πref may be −∞.
    total : array, optional
        Σ π h along the axis where it is at hand; it is overwritten.
    axis : int

    Returns
    -------
    array, of the shape without that axis

    Examples
    --------
    >>> import numpy as np
    >>> h = np.log1p(np.array([1e-9, -1e-9]))
    >>> float(kl_from_log_ratio(np.exp(h) / 2, h, np.array([0.5, 0.5])))
    5e-19
    """
    if total is None:
        with np.errstate(invalid="ignore"):
            terms = np.asarray(policy * log_ratio)
        total = np.sum(terms, axis=axis)
        if np.isnan(total).any():
            total = np.sum(np.where(np.broadcast_to(policy, terms.shape) == 0, 0.0, terms), axis=axis)
    total = np.asarray(total)
    near = np.asarray(np.max(np.abs(log_ratio), axis=axis) < NEAR)
    if near.any():
        h = np.moveaxis(log_ratio, axis, -1)[near]
        weight = np.moveaxis(np.broadcast_to(reference, np.shape(log_ratio)), axis, -1)[near]
        total[near] = np.sum(weight * _powers(h, _OF_LOG_RATIO), axis=-1)
    return total


def kl_between(p: FloatArray, q: FloatArray) -> FloatArray:
    """KL(p‖q) in nats along the last axis.

    Parameters
    ----------
    p, q : array, shape (..., n)
        Distributions, checked by whoever calls; where p is 0 the term is 0, where q alone is 0 it is ∞.

    Returns
    -------
    array, shape (...)

    Examples
    --------
    >>> import numpy as np
    >>> float(kl_between(np.array([0.5 + 1e-9, 0.5 - 1e-9]), np.array([0.5, 0.5])))  # doctest: +ELLIPSIS
    1.99999999...e-18
    """
    terms = np.asarray(kl_div(p, q))
    with np.errstate(divide="ignore", invalid="ignore"):
        d = (p - q) / q
    near = np.abs(d) < NEAR
    if near.any():
        terms[near] = np.broadcast_to(q, terms.shape)[near] * _powers(d[near], _OF_DIFFERENCE)
    return np.asarray(terms.sum(axis=-1))


def _powers(x: FloatArray, coefficients: list[float]) -> FloatArray:
    """Σ c_k x^{k + 2} by Horner's rule."""
    found = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        found *= x
        found += c
    return found * x * x
