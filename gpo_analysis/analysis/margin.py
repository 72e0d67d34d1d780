"""The link of a loss: the margin z*(η) that minimises η f(z) + (1 − η) f(−z)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.analysis.checks import probabilities
from gpo_analysis.analysis.minimise import end_value, minimiser, piecewise
from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.jets import jet_function
from gpo_analysis.losses import MarginLoss, get_loss
from gpo_analysis.losses.shape import pieces

_TERMS = 24
_NEAR = 0.1


def optimal_margin(loss: MarginLoss | str, eta: ArrayLike) -> NDArray[np.float64]:
    """The margin z*(η) = argmin_z η f(z) + (1 − η) f(−z): what a pair labelled y ≻ y′ with probability η is driven to.

    Parameters
    ----------
    loss : MarginLoss or str
        Any loss, convex or not, or the name of one.
    eta : array_like, any shape
        Probabilities in [0, 1].

    Returns
    -------
    ndarray, same shape as ``eta``
        The global minimiser; of several the one of smallest \\|z\\| (of ±z the positive one). ``inf`` or ``-inf`` where
        none is finite, that is where the infimum is approached only far out, or where the risk is unbounded below
        there (KLIEP at η = 1).

    Raises
    ------
    ValueError
        If an element of ``eta`` is not in [0, 1].

    Notes
    -----
    The relative accuracy is about 1e-12, near η = ½ too, where z* is small: there the stationarity condition is solved
    on the Taylor series of f′, split into its even and odd parts, so that nothing cancels. For an f that is not convex,
    minimisers are sought in [−1000, 1000].

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> gpo.optimal_margin("ipo", [0.0, 0.5, 0.75, 1.0])
    array([-1. ,  0. ,  0.5,  1. ])
    >>> gpo.optimal_margin("dpo", 1.0)
    array(inf)
    """
    loss = get_loss(loss)
    array = probabilities(eta)
    p = array.ravel()
    q = 1.0 - p
    z = minimiser(loss, p, q, np.zeros_like(p)) + 0.0
    return _near_half(loss, p, q, z).reshape(array.shape)


@lru_cache(maxsize=512)
def _slope_series(loss: MarginLoss) -> tuple[NDArray[np.float64], float] | None:
    """Taylor coefficients of f′ at 0 and the |z| up to which the series is summed; None where 0 is a kink."""
    from gpo_analysis.analysis.singularities import taylor_radius

    radius = number(taylor_radius(loss))
    if radius == 0:
        return None
    part = next(part for part in pieces(loss) if number(part.lower) < 0 < number(part.upper))
    jet = jet_function(part.expression.diff(loss.symbol), loss.symbol).at(0, _TERMS)
    return np.array([float(c) for c in jet]), float(min(radius, NUMBERS.mpf(10)) * _NEAR)


def _near_half(
    loss: MarginLoss, p: NDArray[np.float64], q: NDArray[np.float64], z: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Newton steps on (p − q) E(z) + (p + q) O(z) = 0, with f′ = E + O its even and odd part, where |z| is small."""
    small = (z != 0) & np.isfinite(z) & (abs(z) < 1.0)
    series = _slope_series(loss) if small.any() else None
    if series is None:
        return z
    coefficients, reach = series
    small &= abs(z) < reach
    even = np.where(np.arange(_TERMS + 1) % 2 == 0, coefficients, 0.0)
    odd = coefficients - even
    x, difference = z[small], p[small] - q[small]
    value = np.polynomial.Polynomial(even), np.polynomial.Polynomial(odd)
    slope = value[0].deriv(), value[1].deriv()
    for _ in range(3):
        with np.errstate(all="ignore"):
            step = (difference * value[0](x) + value[1](x)) / (difference * slope[0](x) + slope[1](x))
        x = np.where(np.isfinite(step) & (abs(step) < 0.1 * abs(x)), x - step, x)
    refined = z.copy()
    refined[small] = x
    return refined


def bayes_risk(loss: MarginLoss | str, eta: ArrayLike) -> NDArray[np.float64]:
    """The Bayes risk H(η) = inf_z η f(z) + (1 − η) f(−z): the least expected loss of a pair.

    Parameters
    ----------
    loss : MarginLoss or str
        Any loss.
    eta : array_like, any shape
        Probabilities in [0, 1].

    Returns
    -------
    ndarray, same shape as ``eta``
        ``-inf`` where the risk is unbounded below.

    Raises
    ------
    ValueError
        If an element of ``eta`` is not in [0, 1].

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> from gpo_analysis.analysis import bayes_risk
    >>> bayes_risk("slic", [0.5, 0.75, 1.0])
    array([1. , 0.5, 0. ])
    """
    loss = get_loss(loss)
    array = probabilities(eta)
    p = array.ravel()
    q = 1.0 - p
    return risk_at(loss, p, q, optimal_margin(loss, p)).reshape(array.shape)


def risk_at(
    loss: MarginLoss, p: NDArray[np.float64], q: NDArray[np.float64], z: NDArray[np.float64]
) -> NDArray[np.float64]:
    """p f(z) + q f(−z), its limit where z is infinite; all of shape (k,)."""
    zero = np.zeros_like(p)
    finite = np.where(np.isfinite(z), z, 0.0)
    with np.errstate(all="ignore"):
        value = np.where(p > 0, p * piecewise(loss, finite, 0), 0.0) + np.where(
            q > 0, q * piecewise(loss, -finite, 0), 0.0
        )
    for side in (1, -1):
        far = z == side * np.inf
        if far.any():
            a, b = (p[far], q[far]) if side > 0 else (q[far], p[far])
            value[far] = end_value(loss, a, b, zero[far])
    return value
