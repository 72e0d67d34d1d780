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
        NaN is left out; infinities count. With so few that the least and the largest do not have the confidence (five
        or fewer at 95 %) there is no interval: its ends are NaN.
    confidence : float

    Examples
    --------
    >>> print(median_interval(range(1, 12)))
    6 [2, 10]
    >>> print(median_interval(range(5)))
    2 [nan, nan]
    """
    x = np.sort(np.asarray(values, dtype=np.float64).ravel())
    x = x[~np.isnan(x)]
    if 2 * 0.5 ** len(x) > 1 - confidence:
        return Interval(float(np.median(x)) if len(x) else np.nan, np.nan, np.nan)
    below = int(binom.ppf((1.0 - confidence) / 2.0, len(x), 0.5))
    k = max(below - 1, 0)
    return Interval(float(np.median(x)), float(x[k]), float(x[len(x) - 1 - k]))
