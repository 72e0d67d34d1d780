"""Intervals over two things that were drawn one within the other, by drawing both again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.statistics.intervals import Interval


def two_way(
    data: Sequence[FloatArray], statistic: Callable[[FloatArray], float], resamples: int, seed: int
) -> Interval:
    """A statistic of means over prompts, with the 95 % interval of seeds drawn again and prompts within them.

    The percentile interval of the two-stage bootstrap (Davison and Hinkley 1997, §3.8). What is compared between
    methods on the same prompts stands side by side in the columns, so that it is drawn together.

    Parameters
    ----------
    data : sequence of array, each of shape (prompts, columns)
        One a seed.
    statistic : callable
        From the means over prompts, (seeds, columns), to a number.
    resamples, seed : int

    Raises
    ------
    ValueError
        For no seed, or for one without prompts.

    Examples
    --------
    >>> one = np.ones((4, 2))
    >>> two_way([one, one], lambda m: float(np.median(m[:, 0] / m[:, 1])), 10, 0)
    Interval(value=1.0, low=1.0, high=1.0)
    """
    drawn = [statistic(means) for means in two_way_means(data, resamples, seed)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(statistic(np.stack([part.mean(0) for part in data])), float(low), float(high))


def two_way_means(data: Sequence[FloatArray], resamples: int, seed: int) -> FloatArray:
    """The means over prompts of `two_way`'s resamples, for several statistics of the same draws.

    Parameters
    ----------
    data : sequence of array, each of shape (prompts, columns)
        One a seed. NaN in a column makes its mean NaN.
    resamples, seed : int

    Returns
    -------
    array, shape (resamples, seeds, columns)

    Raises
    ------
    ValueError
        For no seed, or for one without prompts.

    Examples
    --------
    >>> two_way_means([np.ones((4, 2)), np.ones((3, 2))], 5, 0).shape
    (5, 2, 2)
    """
    if not len(data) or not all(len(part) for part in data):
        raise ValueError(f"prompts of each seed: {[len(part) for part in data]}; accepted is one or more of each")
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        seeds = rng.integers(len(data), size=len(data))
        drawn.append(np.stack([_again(data[s], rng) for s in seeds]))
    return np.stack(drawn)


def _again(rows: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Mean over prompts drawn again."""
    return np.asarray(rows[rng.integers(len(rows), size=len(rows))].mean(0))
