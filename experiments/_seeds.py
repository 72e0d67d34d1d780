"""The library's intervals over seeds as the triples that checks and summaries of experiments unpack."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis import statistics


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent values with Student's interval; NaN ends for fewer than two.

    Examples
    --------
    >>> [round(x, 3) for x in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    found = statistics.mean_interval(values, confidence)
    return found.value, found.low, found.high


def share_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float, float]:
    """Share with Wilson's interval; NaN of nothing.

    Examples
    --------
    >>> [round(x, 3) for x in share_interval(0, 100)]
    [0.0, 0.0, 0.037]
    """
    if total == 0:
        return float("nan"), float("nan"), float("nan")
    found = statistics.share_interval(hits, total, confidence)
    return found.value, found.low, found.high


def told(interval: tuple[float, float, float], digits: int = 3) -> str:
    """``mean [low, high]`` in words.

    Examples
    --------
    >>> told((0.5, 0.25, 0.75))
    '0.5 [0.25, 0.75]'
    """
    mean, low, high = (f"{x:.{digits}g}" for x in interval)
    return f"{mean} [{low}, {high}]"


def geometric_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Geometric mean of positive values with Student's interval of their logarithms.

    Examples
    --------
    >>> [round(x, 3) for x in geometric_interval([1.0, 4.0, 2.0])]
    [2.0, 0.357, 11.19]
    """
    mean, low, high = np.exp(mean_interval(np.log(np.asarray(values, dtype=np.float64)), confidence))
    return float(mean), float(low), float(high)
