"""Moments of a log-ratio by quadrature, in one or two dimensions, many problems at once.

On the line by the trapezoidal rule where that reaches what is asked for, everything else by adaptive boxes.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.gaussian.families import MixtureStack, Tangent
from gpo_analysis.gaussian.integrate import BatchResult, graded_boxes, integrate_batch
from gpo_analysis.gaussian.log_ratio import DOUBLES_PER_CALL, EPSILON, LogRatio, Moments, log_ratio_under
from gpo_analysis.gaussian.mixture import _LOG_2PI
from gpo_analysis.gaussian.trapezoid import integrate_on_line

#: Standard deviations kept of each component: the mass beyond is 4e-28 in one dimension.
RADIUS = 11.0
_OWN_SIDE = 1.375
_GRADING = 2.0
_PAIRS_PER_BATCH = 200_000  # of a component of μ and one of π or πref: bounds the memory of a batch


def moments_by_quadrature(
    measure: MixtureStack,
    policy: MixtureStack,
    reference: MixtureStack,
    tangent: Tangent | None = None,
    *,
    second: bool = True,
    tolerance: float,
    absolute: float | None = None,
    max_evaluations: int = 4_000_000,
) -> Moments:
    """Moments of ``log π - log πref`` by adaptive quadrature, in one or two dimensions.

    Parameters
    ----------
    measure, policy, reference : MixtureStack
        Stacks of ``B`` mixtures, or of one that stands for all.
    tangent : Tangent, optional
        Derivatives of the policy's parameters; without it no gradient is computed.
    second : bool
        Whether the variance is wanted.
    tolerance : float
        For the errors, absolute or relative to ``∫|f|``, whichever is larger.
    absolute : float, optional
        Absolute part of the tolerance where it shall be another; small for the sign of a small gradient.
    max_evaluations : int
        Points spent on one problem; beyond, the error is what it is.

    Raises
    ------
    ValueError
        In three dimensions and more.
    """
    if measure.means.shape[2] > 2:
        raise ValueError(f"quadrature is for one or two dimensions, got {measure.means.shape[2]}; use Monte Carlo")
    n_problems = max(measure.size, policy.size, reference.size)
    widest = measure.weights.shape[1] * (policy.weights.shape[1] + reference.weights.shape[1])
    step = max(1, _PAIRS_PER_BATCH // widest)
    parts = [
        _quadrature(
            part,
            part if measure is policy else policy.rows(rows),
            reference.rows(rows),
            None if tangent is None else tangent.rows(rows),
            min(start + step, n_problems) - start,
            second,
            (tolerance if absolute is None else absolute, tolerance),
            max_evaluations,
        )
        for start in range(0, n_problems, step)
        for rows in (slice(start, start + step),)
        for part in (measure.rows(rows),)
    ]
    return Moments(*(np.concatenate(column) for column in zip(*(vars(m).values() for m in parts), strict=True)))


def _quadrature(
    measure: MixtureStack,
    policy: MixtureStack,
    reference: MixtureStack,
    tangent: Tangent | None,
    n_problems: int,
    second: bool,
    tolerance: tuple[float, float],
    max_evaluations: int,
) -> Moments:
    log_ratio, center, spread = log_ratio_under(measure, policy, reference, tangent, n_problems)
    d = measure.means.shape[2]
    offset = _rough_mean(log_ratio, n_problems, d)
    # a quarter: the centred moments add up the errors of several integrals
    bounds = {"absolute": 0.25 * tolerance[0], "relative": 0.25 * tolerance[1]}
    if d == 2:
        found = _by_boxes(log_ratio, center, spread, offset, second, bounds, max_evaluations)
        return _assemble(found.values, found.errors, offset, second, found.evaluations)
    found, done = integrate_on_line(log_ratio, spread, offset, radius=RADIUS, second=second, **bounds)
    if not done.all():
        rest = _by_boxes(log_ratio, center, spread, offset, second, bounds, max_evaluations, ~done)
        found = BatchResult(
            *(one + other for one, other in zip(vars(found).values(), vars(rest).values(), strict=True))
        )
    return _assemble(found.values, found.errors, offset, second, found.evaluations)


def _by_boxes(
    log_ratio: LogRatio,
    center: FloatArray,
    spread: FloatArray,
    offset: FloatArray,
    second: bool,
    bounds: dict[str, float],
    max_evaluations: int,
    problems: BoolArray | None = None,
) -> BatchResult:
    """The integrals of some problems, of all by default, by adaptive boxes; 0 for the others."""
    d = center.shape[2]
    some = np.arange(log_ratio.owner.size) if problems is None else np.flatnonzero(problems[log_ratio.owner])
    lower, side, task = graded_boxes(center[some], spread[some], radius=RADIUS, own=_OWN_SIDE, grading=_GRADING)

    def evaluate(z: FloatArray, task: IntArray) -> tuple[FloatArray, FloatArray]:
        ratio, rounding, slope, slope_rounding = (one.T for one in log_ratio(z, task))  # nodes first, boxes last
        ratio -= offset[log_ratio.owner[task]]
        density = np.square(z[..., 0].T) if d == 1 else np.einsum("dnp,dnp->np", z.T, z.T)
        density *= -0.5
        density -= 0.5 * d * _LOG_2PI
        np.exp(density, out=density)
        density *= log_ratio.weight[task]
        p = len(slope)
        values = np.empty((1 + second + 2 * p, *ratio.shape))
        noise = np.empty_like(values)
        values[0], noise[0] = ratio, rounding
        size = np.abs(ratio)
        if second:
            np.square(ratio, out=values[1])
            np.multiply(size, 2.0, out=noise[1])
            noise[1] += rounding
            noise[1] *= rounding
        for q in range(p):
            first, last = 1 + second + q, 1 + second + p + q
            values[first], noise[first] = slope[q], slope_rounding[q]
            np.multiply(ratio, slope[q], out=values[last])
            np.multiply(size, slope_rounding[q], out=noise[last])
            noise[last] += rounding * np.abs(slope[q])
        values *= density
        noise *= density
        return values.T, noise.T

    components = log_ratio.policy.ratio.shape[1] + log_ratio.reference.ratio.shape[1]
    return integrate_batch(
        evaluate,
        lower,
        side,
        some[task],
        log_ratio.owner,
        offset.size,
        **bounds,
        max_evaluations=max_evaluations,
        points_per_call=max(500, DOUBLES_PER_CALL // (components * d)),
    )


def _assemble(values: FloatArray, errors: FloatArray, offset: FloatArray, second: bool, spent: IntArray) -> Moments:
    """Centred moments from those about ``offset``, with the errors carried through."""
    first, first_error = values[:, 0], errors[:, 0]
    skip = 2 if second else 1
    p = (values.shape[1] - skip) // 2
    slope, slope_error = values[:, skip : skip + p], errors[:, skip : skip + p]
    product, product_error = values[:, skip + p :], errors[:, skip + p :]
    covariance_error = product_error + np.abs(first)[:, None] * slope_error + first_error[:, None] * np.abs(slope)
    nothing = np.full_like(first, np.nan)
    return Moments(
        mean=offset + first,
        mean_error=first_error + 4.0 * EPSILON * np.abs(offset),
        variance=np.maximum(values[:, 1] - first**2, 0.0) if second else nothing,
        variance_error=errors[:, 1] + 2.0 * np.abs(first) * first_error + first_error**2 if second else nothing,
        covariance=product - first[:, None] * slope,
        covariance_error=covariance_error,
        evaluations=spent,
    )


def _rough_mean(log_ratio: LogRatio, n_problems: int, d: int) -> FloatArray:
    """E[a] by Gauss–Hermite, shape (B,): not exact, but near enough that subtracting it saves the variance's digits."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    weights = weights / math.sqrt(2.0 * math.pi)
    if d == 2:
        grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
        weights = np.outer(weights, weights).ravel()
    else:
        grid = nodes[:, None]
    total = np.zeros(n_problems)
    step = 5_000
    for start in range(0, log_ratio.owner.size, step):
        task = np.arange(start, min(start + step, log_ratio.owner.size))
        z = np.broadcast_to(grid, (task.size, *grid.shape))
        bare = replace(log_ratio, tangent=None)
        ratio = bare(z, task)[0]
        mean = log_ratio.weight[task] * (ratio @ weights)
        total += np.bincount(log_ratio.owner[task], weights=mean, minlength=n_problems)
    return total
