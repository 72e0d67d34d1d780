"""Intervals over seeds that `gpo_analysis.statistics` does not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from gpo_analysis.statistics import Interval, mean_interval, share_interval


def share_of(hits: ArrayLike) -> Interval:
    """Share of what is true, with Wilson's interval; NaN of nothing.

    Parameters
    ----------
    hits : array of bool, shape (r,)

    Examples
    --------
    >>> print(share_of([True, False]), share_of([]))
    0.5 [0.0945, 0.905] nan [nan, nan]
    """
    found = np.asarray(hits, dtype=bool)
    return share_interval(int(found.sum()), len(found)) if len(found) else Interval(np.nan, np.nan, np.nan)


def mean_share(shares: ArrayLike) -> Interval:
    """Mean of shares, one of each thing drawn, with Wilson's interval for that many trials; NaN of nothing.

    No share in [0, 1] of mean p varies more than a coin of that p, so that the interval is wide rather than narrow, and
    shares that are all 0, or all 1, have one.

    Examples
    --------
    >>> print(mean_share([1.0, 0.0]), mean_share([0.5, 0.5]), mean_share([0.0] * 100))
    0.5 [0.0945, 0.905] 0.5 [0.0945, 0.905] 0 [0, 0.037]
    """
    found = np.asarray(shares, dtype=np.float64)
    if not len(found):
        return Interval(np.nan, np.nan, np.nan)
    n, p, z = len(found), float(found.mean()), 1.959963984540054
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1.0, 1.0))
    return Interval(p, max(float(low), 0.0) if p > 0 else 0.0, min(float(high), 1.0) if p < 1 else 1.0)


def geometric_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Geometric mean of positive values with Student's interval of their logarithms.

    Parameters
    ----------
    values : array, shape (r,)
        Positive; what is not finite is left out.
    confidence : float

    Examples
    --------
    >>> print(geometric_interval([1.0, 4.0, 2.0]))
    2 [0.357, 11.2]
    """
    found = mean_interval(np.log(np.asarray(values, dtype=np.float64)), confidence)
    return Interval(*(float(np.exp(x)) for x in (found.value, found.low, found.high)))


def median_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Median with the interval of order statistics, which assumes nothing of the distribution.

    Parameters
    ----------
    values : array, shape (r,)
        NaN is left out; infinities count. With so few that no pair of order statistics has the confidence, the ends are
        the least and the largest.
    confidence : float

    Examples
    --------
    >>> print(median_interval(range(1, 12)))
    6 [2, 10]
    """
    x = np.sort(np.asarray(values, dtype=np.float64).ravel())
    x = x[~np.isnan(x)]
    if len(x) < 2:
        return Interval(float(x[0]) if len(x) else np.nan, np.nan, np.nan)
    below = int(binom.ppf((1.0 - confidence) / 2.0, len(x), 0.5))
    k = max(below - 1, 0)
    return Interval(float(np.median(x)), float(x[k]), float(x[len(x) - 1 - k]))
