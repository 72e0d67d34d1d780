"""Intervals over independent repetitions: means and shares. What can only be drawn again: `resampled`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Interval:
    """A value between two ends.

    Examples
    --------
    >>> str(Interval(0.5, 0.25, 0.75))
    '0.5 [0.25, 0.75]'
    >>> 0.3 in Interval(0.5, 0.25, 0.75)
    True
    """

    value: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __format__(self, spec: str) -> str:
        shown = spec or ".3g"
        return f"{self.value:{shown}} [{self.low:{shown}}, {self.high:{shown}}]"

    def __str__(self) -> str:
        return format(self, "")


def checked_confidence(confidence: float) -> float:
    """As a float strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence!r}")
    return float(confidence)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of independent values with Student's interval; NaN ends for fewer than two.

    Parameters
    ----------
    values : array, shape (r,)
        What is not finite is left out.
    confidence : float

    Raises
    ------
    ValueError
        For a confidence outside (0, 1).

    Examples
    --------
    >>> print(mean_interval([1.0, 2.0, 3.0]))
    2 [-0.484, 4.48]
    """
    from scipy.stats import t

    level = checked_confidence(confidence)
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[np.isfinite(x)]
    if len(x) < 2:
        return Interval(float(x.mean()) if len(x) else np.nan, np.nan, np.nan)
    half = float(t.ppf(0.5 + level / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half)


def share_interval(hits: int, total: int, confidence: float = 0.95) -> Interval:
    """A share with Wilson's interval.

    Raises
    ------
    ValueError
        For counts that are no share, or a confidence outside (0, 1).

    Examples
    --------
    >>> print(share_interval(0, 100))
    0 [0, 0.037]
    """
    from scipy.stats import binomtest

    level = checked_confidence(confidence)
    if not 0 <= hits <= total or total < 1:
        raise ValueError(f"hits must lie between 0 and total, and total be at least 1, got {hits!r} of {total!r}")
    found = binomtest(int(hits), int(total)).proportion_ci(level, method="wilson")
    return Interval(hits / total, float(found.low), float(found.high))


def mean_share_interval(shares: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of shares, one of each thing drawn, with Wilson's interval for that many trials; NaN of nothing.

    No share in [0, 1] of mean p varies more than a coin of that p, so that the interval is wide rather than narrow, and
    shares that are all 0, or all 1, have one.

    Parameters
    ----------
    shares : array, shape (r,)
        In [0, 1].
    confidence : float

    Raises
    ------
    ValueError
        For a confidence outside (0, 1).

    Examples
    --------
    >>> found = mean_share_interval
    >>> print(found([1.0, 0.0]), found([0.5, 0.5]), found([0.0] * 100))
    0.5 [0.0945, 0.905] 0.5 [0.0945, 0.905] 0 [0, 0.037]
    """
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + checked_confidence(confidence) / 2))
    found = np.asarray(shares, dtype=np.float64)
    if not len(found):
        return Interval(np.nan, np.nan, np.nan)
    n, p = len(found), float(found.mean())
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1.0, 1.0))
    return Interval(p, max(float(low), 0.0) if p > 0 else 0.0, min(float(high), 1.0) if p < 1 else 1.0)
