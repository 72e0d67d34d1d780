"""Moments of a log-ratio by stratified Monte Carlo, in any number of dimensions, with standard errors."""

from __future__ import annotations

import math

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.gaussian.families import MixtureStack, Tangent
from gpo_analysis.gaussian.log_ratio import DOUBLES_PER_CALL, LogRatio, Moments, log_ratio_under


def moments_by_monte_carlo(
    measure: MixtureStack,
    policy: MixtureStack,
    reference: MixtureStack,
    tangent: Tangent | None = None,
    *,
    second: bool = True,
    samples: int,
    seed: int,
) -> Moments:
    """The same moments by Monte Carlo, in any number of dimensions, with standard errors.

    Draws are stratified: each component of the measure gets draws in proportion to its weight, at least 32. The
    variance is corrected for the error of the mean, so that it is unbiased. The same seed gives the same standard
    normal draws for every problem (common random numbers): an estimated landscape is as smooth as the true one where
    the weights of π_c do not change.

    Parameters
    ----------
    measure, policy, reference, tangent, second : as of :func:`moments_by_quadrature`
    samples : int
        Draws a problem, at least; 64 or more.
    seed : int
    """
    if samples < 64:
        raise ValueError(f"samples must be 64 or more, for a standard error to mean something, got {samples!r}")
    n_problems = max(measure.size, policy.size, reference.size)
    rows = []
    for b in range(n_problems):
        one = slice(b, b + 1)
        row_tangent = None if tangent is None else tangent.rows(one)
        rows.append(
            _stratified(measure.rows(one), policy.rows(one), reference.rows(one), row_tangent, second, samples, seed)
        )
    return Moments(*(np.concatenate(column) for column in zip(*(vars(m).values() for m in rows), strict=True)))


def _stratified(
    measure: MixtureStack,
    policy: MixtureStack,
    reference: MixtureStack,
    tangent: Tangent | None,
    second: bool,
    samples: int,
    seed: int,
) -> Moments:
    log_ratio, _, _ = log_ratio_under(measure, policy, reference, tangent, 1)
    d = measure.means.shape[2]
    rng = np.random.default_rng(seed)
    counts = np.maximum(32, np.ceil(samples * log_ratio.weight)).astype(np.int64)
    ratios, slopes = [], []
    for task, count in enumerate(counts):
        z = rng.standard_normal((int(count), d))
        ratio, slope = _in_chunks(log_ratio, z, task)
        ratios.append(ratio)
        slopes.append(slope)
    weight = log_ratio.weight
    mean = sum(w * r.mean() for w, r in zip(weight, ratios, strict=True))
    mean_square_error = sum(w**2 * r.var(ddof=1) / r.size for w, r in zip(weight, ratios, strict=True))
    slope_mean = sum(w * s.mean(axis=0) for w, s in zip(weight, slopes, strict=True))

    centred = [r - mean for r in ratios]
    squares = [c**2 for c in centred]
    products = [c[:, None] * (s - slope_mean) for c, s in zip(centred, slopes, strict=True)]
    cross_error = sum(
        w**2 * ((r - r.mean())[:, None] * (s - s.mean(axis=0))).sum(axis=0) / (r.size * (r.size - 1))
        for w, r, s in zip(weight, ratios, slopes, strict=True)
    )
    variance = sum(w * q.mean() for w, q in zip(weight, squares, strict=True)) + mean_square_error
    variance_error = math.sqrt(sum(w**2 * q.var(ddof=1) / q.size for w, q in zip(weight, squares, strict=True)))
    covariance = sum(w * q.mean(axis=0) for w, q in zip(weight, products, strict=True)) + cross_error
    covariance_error = np.sqrt(
        sum(w**2 * q.var(axis=0, ddof=1) / len(q) for w, q in zip(weight, products, strict=True))
    )
    return Moments(
        mean=np.array([mean]),
        mean_error=np.sqrt([mean_square_error]),
        variance=np.array([variance if second else np.nan]),
        variance_error=np.array([variance_error if second else np.nan]),
        covariance=np.asarray(covariance)[None, :],
        covariance_error=np.asarray(covariance_error)[None, :],
        evaluations=np.array([int(counts.sum())]),
    )


def _in_chunks(log_ratio: LogRatio, z: FloatArray, task: int) -> tuple[FloatArray, FloatArray]:
    """Log-ratio (n,) and slope (n, p) at local points (n, d) of one task, a bounded number of points at a time."""
    width = (log_ratio.policy.ratio.shape[1] + log_ratio.reference.ratio.shape[1]) * z.shape[1]
    step = max(256, DOUBLES_PER_CALL // width)
    which = np.array([task])
    parts = [log_ratio(z[None, start : start + step], which) for start in range(0, len(z), step)]
    return np.concatenate([p[0][0] for p in parts]), np.concatenate([p[2][0] for p in parts])
