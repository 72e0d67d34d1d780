"""The link of a loss: the margin z*(η) that minimises η f(z) + (1 − η) f(−z)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.analysis.checks import probabilities
from gpo_analysis.analysis.continuation import Continuation
from gpo_analysis.analysis.minimise import minimiser
from gpo_analysis.analysis.objective import risk_at
from gpo_analysis.analysis.singularities import piece_at_zero
from gpo_analysis.arrays import FloatArray
from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.losses import MarginLoss, get_loss

_TERMS = 32


def optimal_margin(loss: MarginLoss | str, eta: ArrayLike) -> FloatArray:
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
    on the Taylor series of f′, split into its even and odd parts, so that nothing cancels, with what the series leaves
    out bounded below the last digit. For an f that is not convex, minimisers are sought up to 10¹⁶ times the largest
    length on which f changes.

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
def _slope_series(loss: MarginLoss) -> tuple[FloatArray, float] | None:
    """Taylor coefficients of f′ at 0, and the |z| up to which their sum is f′ to 16 digits; None where 0 is a kink.

    What is left out is at most M (|z|/R)ⁿ/(1 − |z|/R) with M = max |f′| on the circle |z| = R (Cauchy): M is bounded on
    circles of several sizes, and the one that vouches for the largest |z| is taken. "To 16 digits" is of the odd and of
    the even part, of which the solution of p f′(z) = q f′(−z) is made.
    """
    part = piece_at_zero(loss)
    if part is None:
        return None
    slope = part.expression.diff(loss.symbol)
    try:
        jet = jet_function(slope, loss.symbol).at(0, _TERMS)
        function = Continuation(slope, loss.symbol)
    except Unsupported:
        return None
    if any(NUMBERS.isnan(c) for c in jet):
        return None
    coefficients = np.array([float(c) for c in jet])
    odd = np.flatnonzero(coefficients[1::2])
    if coefficients[0] == 0 or not len(odd) or not np.isfinite(coefficients).all():
        return None
    lead = 2 * int(odd[0]) + 1
    first_odd = abs(coefficients[lead])
    edge = float(min(-number(part.lower), number(part.upper)))
    # where the first of the other terms grows as large as f′(0): hardly further out than the radius of convergence
    powers = np.flatnonzero(coefficients[1:]) + 1
    unit = float(np.min(np.abs(coefficients[0] / coefficients[powers]) ** (1 / powers)))
    reach = 0.0
    for power in range(-6, 5):
        radius = unit * 2.0**power
        walk = function.around(radius)
        if walk is None or any(walk.turns(place) for place in function.critical):
            break
        most = walk.largest()
        if not np.isfinite(most):
            break
        # |z|ⁿ M/(Rⁿ (1 − |z|/R)) ≤ 2⁻⁵³ |cₖ zᵏ|, cₖ the first odd one, n = _TERMS + 1, and |z| ≤ R/2
        share = (2.0**-54 * first_odd * radius**lead / most) ** (1 / (_TERMS + 1 - lead))
        reach = max(reach, radius * min(share, 0.5))
    return (coefficients, min(reach, edge)) if reach > 0 else None


def _near_half(loss: MarginLoss, p: FloatArray, q: FloatArray, z: FloatArray) -> FloatArray:
    """Newton steps on (p − q) E(z) + (p + q) O(z) = 0, with f′ = E + O its even and odd part, where |z| is small.

    There p f′(z) and q f′(−z) cancel in floats; E and O, summed from their series, do not. Only the last digits move: a
    step that would change z by more than rounding in the slope explains is not taken.
    """
    small = (z != 0) & np.isfinite(z)
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
            curvature = difference * slope[0](x) + slope[1](x)
            step = (difference * value[0](x) + value[1](x)) / curvature
            rounding = 2.0**-45 * (abs(value[0](x)) + abs(value[1](x))) / abs(curvature)
        x = np.where(np.isfinite(step) & (abs(step) <= rounding) & (abs(x - step) < reach), x - step, x)
    refined = z.copy()
    refined[small] = x
    return refined


def bayes_risk(loss: MarginLoss | str, eta: ArrayLike) -> FloatArray:
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
