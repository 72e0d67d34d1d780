"""Intervals over seeds that `gpo_analysis.statistics` does not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

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
