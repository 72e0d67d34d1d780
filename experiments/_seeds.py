"""Intervals over seeds, for the checks and summaries of experiments."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent values with Student's interval; NaN ends for fewer than two.

    Examples
    --------
    >>> [round(x, 3) for x in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    if len(x) < 2:
        return (float(x.mean()) if len(x) else float("nan")), float("nan"), float("nan")
    half = float(stats.t.ppf(0.5 + confidence / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return float(x.mean()), float(x.mean()) - half, float(x.mean()) + half


def share_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float, float]:
    """Share with Wilson's interval.

    Examples
    --------
    >>> [round(x, 3) for x in share_interval(0, 100)]
    [0.0, 0.0, 0.037]
    """
    if total == 0:
        return float("nan"), float("nan"), float("nan")
    found = stats.binomtest(hits, total).proportion_ci(confidence, method="wilson")
    return hits / total, float(found.low), float(found.high)


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
