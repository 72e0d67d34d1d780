"""The link of a loss: the margin z*(η) that minimises η f(z) + (1 − η) f(−z)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.analysis.checks import probabilities
from gpo_analysis.analysis.continuation import Continuation
from gpo_analysis.analysis.minimise import minimiser
from gpo_analysis.analysis.objective import breakpoints, piecewise, risk_at
from gpo_analysis.analysis.precise_minimum import precise_root
from gpo_analysis.analysis.singularities import piece_at_zero
from gpo_analysis.arrays import FloatArray
from gpo_analysis.calculus.arithmetic import NUMBERS, number
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.losses.shape import pieces

_TERMS = 32
_SURE = 1e-13  # relative: by so much rounding may move a margin


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
    out bounded below the last digit. What rounding can still move by more is found again in 45 digits. For an f that is
    not convex, minimisers are sought up to 10¹⁶ times the largest length on which f changes.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> gpo.optimal_margin("ipo", [0.0, 0.5, 0.75, 1.0])
    array([-1. ,  0. ,  0.5,  1. ])
    >>> gpo.optimal_margin("dpo", 1.0)
    array(inf)
    """
    loss = get_margin_loss(loss)
    array = probabilities(eta)
    p = array.ravel()
    q = 1.0 - p
    z = minimiser(loss, p, q, np.zeros_like(p)) + 0.0
    return _in_many_digits(loss, p, q, _near_half(loss, p, q, z)).reshape(array.shape)


@dataclass(frozen=True)
class _Slopes:
    """f′(±x) = E(x) ± O(x) for 0 ≤ x < reach, both sums to 16 digits: coefficients of the powers of x."""

    even: FloatArray
    odd: FloatArray
    reach: float


@lru_cache(maxsize=512)
def _slope_series(loss: MarginLoss) -> _Slopes | None:
    """E and O from the Taylor coefficients of f′ at 0 on either side; None where these do not vouch for any x > 0.

    What is left out is at most M (x/R)ⁿ/(1 − x/R) with M = max |f′| on the circle |z| = R (Cauchy): M is bounded on
    circles of several sizes, and the one that vouches for the largest x is taken.
    """
    whole = piece_at_zero(loss)
    sides = [whole, whole] if whole else [part for part in pieces(loss) if 0 in (part.lower, part.upper)]
    slopes = [part.expression.diff(loss.symbol) for part in sides]
    try:
        left, right = (jet_function(slope, loss.symbol).at(0, _TERMS) for slope in slopes)
        functions = [Continuation(slope, loss.symbol) for slope in dict.fromkeys(slopes)]
    except Unsupported:
        return None
    if any(NUMBERS.isnan(c) for c in (*left, *right)):
        return None
    left = [-c if k % 2 else c for k, c in enumerate(left)]
    even = np.array([float((a + b) / 2) for a, b in zip(right, left, strict=True)])
    odd = np.array([float(_difference(a, b)) for a, b in zip(right, left, strict=True)])
    leads = np.flatnonzero(odd)
    # where the slope jumps at 0 nothing cancels
    if even[0] == 0 or odd[0] != 0 or not len(leads) or not np.isfinite([*even, *odd]).all():
        return None
    edge = float(min(-number(sides[0].lower), number(sides[1].upper)))
    sizes = abs(even) + abs(odd)
    # where the first of the other terms grows as large as f′(0): hardly further out than the radius of convergence
    powers = np.flatnonzero(sizes[1:]) + 1
    unit = float(np.min((sizes[0] / sizes[powers]) ** (1 / powers)))
    reach = min(_vouched(function, unit, int(leads[0]), abs(odd[leads[0]])) for function in functions)
    return _Slopes(even, odd, min(reach, edge)) if reach > 0 else None


def _difference(a: Any, b: Any) -> Any:
    """Half of a − b, 0 where that is rounding in 45 digits."""
    return NUMBERS.mpf(0) if abs(a - b) <= NUMBERS.mpf(10) ** -40 * (abs(a) + abs(b)) else (a - b) / 2


def _vouched(function: Continuation, unit: float, lead: int, size: float) -> float:
    """The largest x at which what the series of a function leaves out is below 2⁻⁵³ of ``size`` x^``lead``."""
    reach = 0.0
    for power in range(-6, 5):
        radius = unit * 2.0**power
        walk = function.around(radius)
        if walk is None or any(walk.turns(place) for place in function.critical):
            break
        most = walk.largest()
        if not np.isfinite(most):
            break
        # xⁿ M/(Rⁿ (1 − x/R)) ≤ 2⁻⁵³ |cₖ xᵏ|, cₖ the first odd one, n = _TERMS + 1, and x ≤ R/2
        share = (2.0**-54 * size * radius**lead / most) ** (1 / (_TERMS + 1 - lead))
        reach = max(reach, radius * min(share, 0.5))
    return reach


def _near_half(loss: MarginLoss, p: FloatArray, q: FloatArray, z: FloatArray) -> FloatArray:
    """Newton steps on (p − q) E(x) + (p + q) O(x) = 0 for z = x (of −x with p and q exchanged) where x is small.

    There p f′(z) and q f′(−z) cancel in floats; E and O, summed from their series, do not. Only the last digits move: a
    step that would change z by more than rounding in the slope explains is not taken.
    """
    small = (z != 0) & np.isfinite(z)
    series = _slope_series(loss) if small.any() else None
    if series is None:
        return z
    small &= abs(z) < series.reach
    side = np.sign(z[small])
    x, difference = abs(z[small]), side * (p[small] - q[small])
    even, odd = np.polynomial.Polynomial(series.even), np.polynomial.Polynomial(series.odd)
    slopes = even.deriv(), odd.deriv()
    for _ in range(3):
        with np.errstate(all="ignore"):
            curvature = difference * slopes[0](x) + slopes[1](x)
            step = (difference * even(x) + odd(x)) / curvature
            rounding = 2.0**-45 * (abs(even(x)) + abs(odd(x))) / abs(curvature)
        inside = (x - step > 0) & (x - step < series.reach)
        x = np.where(np.isfinite(step) & (abs(step) <= rounding) & inside, x - step, x)
    refined = z.copy()
    refined[small] = side * x
    return refined


def _in_many_digits(loss: MarginLoss, p: FloatArray, q: FloatArray, z: FloatArray) -> FloatArray:
    """The minimisers that rounding in p f′(z) and q f′(−z) moves by more than 1e-12, found again in 45 digits."""
    refined = z.copy()
    inner = np.flatnonzero((z != 0) & np.isfinite(z) & ~np.isin(abs(z), breakpoints(loss)))
    if not len(inner):
        return refined
    at = z[inner]
    with np.errstate(all="ignore"):
        first = abs(p[inner] * piecewise(loss, at, 1)) + abs(q[inner] * piecewise(loss, -at, 1))
        second = p[inner] * piecewise(loss, at, 2) + q[inner] * piecewise(loss, -at, 2)
        moved = 2.0**-50 * first / second
        unsure = (second > 0) & (moved > _SURE * abs(at)) & (moved < 0.1 * abs(at))
    series = _slope_series(loss) if unsure.any() else None
    for k in np.flatnonzero(unsure):
        if series is not None and abs(at[k]) < series.reach:
            continue
        weights = NUMBERS.mpf(float(p[inner[k]])), NUMBERS.mpf(float(q[inner[k]]))
        found = precise_root(loss, weights, float(at[k]), 4 * float(moved[k]))
        refined[inner[k]] = at[k] if found is None else found
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
    loss = get_margin_loss(loss)
    array = probabilities(eta)
    p = array.ravel()
    q = 1.0 - p
    return risk_at(loss, p, q, optimal_margin(loss, p)).reshape(array.shape)
