"""Intervals over independent repetitions: means, shares, and whatever a bootstrap can resample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray


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


def _confidence(confidence: float) -> float:
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

    level = _confidence(confidence)
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

    level = _confidence(confidence)
    if not 0 <= hits <= total or total < 1:
        raise ValueError(f"hits must lie between 0 and total, and total be at least 1, got {hits!r} of {total!r}")
    found = binomtest(int(hits), int(total)).proportion_ci(level, method="wilson")
    return Interval(hits / total, float(found.low), float(found.high))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[FloatArray], float],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int,
) -> Interval:
    """Percentile bootstrap over the first axis (Efron 1979).

    Parameters
    ----------
    values : array, shape (r, …)
        Independent repetitions along the first axis; drawn again with replacement, whole.
    statistic : callable
        From an array of that shape to a number.
    resamples : int
    confidence : float
    seed : int

    Raises
    ------
    ValueError
        For fewer than two repetitions, no resamples, or a confidence outside (0, 1).

    Examples
    --------
    >>> found = bootstrap_interval([1.0, 2.0, 3.0, 4.0], np.mean, seed=0)
    >>> found.value, found.low < 2.5 < found.high
    (2.5, True)
    """
    level = _confidence(confidence)
    x = np.asarray(values, dtype=np.float64)
    if x.ndim == 0 or len(x) < 2:
        raise ValueError(f"a bootstrap needs at least two repetitions, got shape {x.shape}")
    if int(resamples) != resamples or resamples < 1:
        raise ValueError(f"resamples must be a whole number of at least 1, got {resamples!r}")
    rng = np.random.default_rng(seed)
    drawn = [float(statistic(x[rng.integers(len(x), size=len(x))])) for _ in range(int(resamples))]
    low, high = np.nanquantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(statistic(x)), float(low), float(high))
