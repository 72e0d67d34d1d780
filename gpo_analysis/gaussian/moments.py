"""Mean, variance and gradient of a log-ratio: the one computation under everything in this package.

With the log-ratio ``a_c = log π_c - log πref`` and the score in the parameter ``t_c = ∂_c log π_c``,

- ``KL(π_c ‖ πref) = E_{π_c}[a_c]`` and its gradient is ``Cov_{π_c}(a_c, t_c)``;
- ``½ E_μ[ρ²] = Var_μ(a_c)`` for two independent draws from μ, and its gradient is ``2 Cov_μ(a_c, t_c)``.

So at ``μ = π_c`` (sampling not differentiated) the gradient of the μ-weighted square loss is *twice* that of the KL
divergence (the identity of Tang et al. 2024, arXiv 2402.05749, with its constant for pairs of independent draws).

An expectation under a mixture is taken component by component, in the component's own coordinate ``y = m_k + s_k z``:
differences of means then enter exactly, however narrow or far apart the components are. Rounding is kept track of: the
stated error holds the rounding of ``log π`` and ``log πref`` as well as the error of the rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpo_analysis.gaussian.families import MixtureStack, Tangent
from gpo_analysis.gaussian.integrate import graded_boxes, integrate_batch
from gpo_analysis.gaussian.mixture import _LOG_2PI, _log_sum_exp

__all__ = ["Moments", "moments_by_monte_carlo", "moments_by_quadrature"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Standard deviations kept of each component: the mass beyond is 4e-28 (one dimension).
RADIUS = 11.0
_OWN_SIDE = 1.375
_GRADING = 2.0
_EPSILON = float(np.finfo(np.float64).eps)
_TASKS_PER_BATCH = 20_000
_DOUBLES_PER_CALL = 300_000


@dataclass(frozen=True)
class Moments:
    """Of the log-ratio ``a`` under a measure, for each of ``B`` problems.

    Attributes
    ----------
    mean, variance : ndarray, shape (B,)
    mean_error, variance_error : ndarray, shape (B,)
        Stated error (quadrature) or standard error (Monte Carlo). ``variance`` and its error are NaN where only the
        mean was asked for.
    covariance, covariance_error : ndarray, shape (B, p)
        ``Cov(a, ∂_c log π_c)``; p = 0 without a tangent.
    evaluations : ndarray, shape (B,)
    """

    mean: FloatArray
    mean_error: FloatArray
    variance: FloatArray
    variance_error: FloatArray
    covariance: FloatArray
    covariance_error: FloatArray
    evaluations: IntArray


@dataclass(frozen=True)
class _Local:
    """A stack seen from the coordinate of each task: ``(y - m_j) / s_j = delta + ratio z``."""

    log_weights: FloatArray  # (T, k)
    log_norm: FloatArray  # (T, k): -d log s - (d/2) log 2π
    delta: FloatArray  # (T, k, d)
    ratio: FloatArray  # (T, k)

    @staticmethod
    def of(stack: MixtureStack, at: IntArray, mean: FloatArray, scale: FloatArray) -> _Local:
        d = mean.shape[1]
        rows = np.zeros_like(at) if stack.size == 1 else at
        weights, means, scales = stack.weights[rows], stack.means[rows], stack.scales[rows]
        with np.errstate(divide="ignore"):  # a weight of zero: log density -inf
            log_weights = np.log(weights)
        log_norm = -d * (np.log(scales) + 0.5 * _LOG_2PI)
        return _Local(log_weights, log_norm, (mean[:, None] - means) / scales[..., None], scale[:, None] / scales)

    def log_joint(self, z: FloatArray, task: IntArray) -> tuple[FloatArray, FloatArray]:
        """``log w_j N_j`` at ``z`` (P, N, d), shape (k, P, N), and the standardised points (k, P, N, d).

        Components come first: numpy sums fast over a leading axis, slowly over a short last one.
        """
        delta = np.swapaxes(self.delta[task], 0, 1)[:, :, None, :]
        points = self.ratio[task].T[:, :, None, None] * z + delta
        return (self.log_weights + self.log_norm)[task].T[:, :, None] - 0.5 * _squares(points), points


@dataclass(frozen=True)
class _Problem:
    """``B`` log-ratios with the measure's components spelled out as ``T`` tasks."""

    policy: _Local
    reference: _Local
    stack: MixtureStack
    tangent: Tangent | None
    owner: IntArray  # (T,) problem of each task
    weight: FloatArray  # (T,) weight of its component

    def log_ratio(self, z: FloatArray, task: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``a``, the size of its rounding error, and ``∂_c log π_c`` (P, N, p) at local points."""
        joint, points = self.policy.log_joint(z, task)
        log_policy = _log_sum_exp(joint, axis=0)
        log_reference = _log_sum_exp(self.reference.log_joint(z, task)[0], axis=0)
        rounding = 4.0 * _EPSILON * (np.abs(log_policy) + np.abs(log_reference) + 1.0)
        if self.tangent is None:
            slope = np.empty((*z.shape[:2], 0))
        else:
            slope = self._slope(np.exp(joint - log_policy), log_policy, points, task)
        return log_policy - log_reference, rounding, slope

    def _slope(self, posterior: FloatArray, log_policy: FloatArray, points: FloatArray, task: IntArray) -> FloatArray:
        """``Σ_j r_j [w'_j / w_j + (y - m_j)·m'_j / s_j² + (|y - m_j|² / s_j² - d) s'_j / s_j]``, shape (P, N, p)."""
        assert self.tangent is not None
        tangent = self.tangent
        problem = self.owner[task]
        rows = np.zeros_like(problem) if tangent.means.shape[0] == 1 else problem
        scales = self.stack.scales[np.zeros_like(problem) if self.stack.size == 1 else problem]
        columns = []
        for q in range(tangent.means.shape[3]):
            pull = np.swapaxes(tangent.means[rows, :, :, q] / scales[..., None], 0, 1)
            column = (posterior * (points * pull[:, :, None, :]).sum(axis=-1)).sum(axis=0)
            if tangent.scales is not None:
                stretch = _squares(points) - points.shape[-1]
                column += (posterior * stretch * (tangent.scales[rows, :, q] / scales).T[:, :, None]).sum(axis=0)
            if tangent.weights is not None:
                # N_j / π itself, for a component may have weight zero here and not nearby
                density = np.exp(self.policy.log_norm[task].T[:, :, None] - 0.5 * _squares(points) - log_policy)
                column += (density * tangent.weights[rows, :, q].T[:, :, None]).sum(axis=0)
            columns.append(column)
        return np.stack(columns, axis=-1)


def _squares(points: FloatArray) -> FloatArray:
    """Squared lengths along the last axis, which is short."""
    if points.shape[-1] == 1:
        return np.asarray(points[..., 0] ** 2)
    return np.asarray(np.einsum("...d,...d->...", points, points))


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
    widest = max(measure.weights.shape[1], 1) * (policy.weights.shape[1] + reference.weights.shape[1])
    step = max(1, min(_TASKS_PER_BATCH, 4_000_000 // widest))
    parts = [
        _quadrature(
            measure.rows(rows),
            policy.rows(rows),
            reference.rows(rows),
            None if tangent is None else tangent.rows(rows),
            min(start + step, n_problems) - start,
            second,
            (tolerance if absolute is None else absolute, tolerance),
            max_evaluations,
        )
        for start in range(0, n_problems, step)
        for rows in (slice(start, start + step),)
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
    problem, center, spread = _problem(measure, policy, reference, tangent, n_problems)
    d = measure.means.shape[2]
    lower, side, task = graded_boxes(center, spread, radius=RADIUS, own=_OWN_SIDE, grading=_GRADING)
    offset = _rough_mean(problem, n_problems, d)

    def evaluate(z: FloatArray, task: IntArray) -> tuple[FloatArray, FloatArray]:
        ratio, rounding, slope = problem.log_ratio(z, task)
        ratio = ratio - offset[problem.owner[task]][:, None]
        square = np.einsum("pnd,pnd->pn", z, z)
        density = problem.weight[task][:, None] * np.exp(-0.5 * square - 0.5 * d * _LOG_2PI)
        parts = [ratio[..., None], *([ratio[..., None] ** 2] if second else []), slope, ratio[..., None] * slope]
        noise_of_ratio = rounding[..., None]
        noise = [
            noise_of_ratio,
            *([(2.0 * np.abs(ratio)[..., None] + noise_of_ratio) * noise_of_ratio] if second else []),
            4.0 * _EPSILON * np.abs(slope),
            noise_of_ratio * np.abs(slope),
        ]
        return density[..., None] * np.concatenate(parts, -1), density[..., None] * np.concatenate(noise, -1)

    components = policy.weights.shape[1] + reference.weights.shape[1]
    result = integrate_batch(
        evaluate,
        lower,
        side,
        task,
        problem.owner,
        n_problems,
        absolute=0.25 * tolerance[0],  # a quarter: the centred moments add up the errors of several integrals
        relative=0.25 * tolerance[1],
        max_evaluations=max_evaluations,
        points_per_call=max(500, _DOUBLES_PER_CALL // (components * d)),
    )
    return _assemble(result.values, result.errors, offset, second, result.evaluations)


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
        mean_error=first_error + 4.0 * _EPSILON * np.abs(offset),
        variance=np.maximum(values[:, 1] - first**2, 0.0) if second else nothing,
        variance_error=errors[:, 1] + 2.0 * np.abs(first) * first_error + first_error**2 if second else nothing,
        covariance=product - first[:, None] * slope,
        covariance_error=covariance_error,
        evaluations=spent,
    )


def _problem(
    measure: MixtureStack, policy: MixtureStack, reference: MixtureStack, tangent: Tangent | None, n_problems: int
) -> tuple[_Problem, FloatArray, FloatArray]:
    """Tasks (a problem and a component of its measure each), with the places and widths of what they must resolve."""
    weights = np.broadcast_to(measure.weights, (n_problems, measure.weights.shape[1]))
    owner, component = (index.astype(np.int64) for index in np.nonzero(weights))
    row = np.zeros_like(owner) if measure.size == 1 else owner
    mean, scale = measure.means[row, component], measure.scales[row, component]
    policy_local = _Local.of(policy, owner, mean, scale)
    reference_local = _Local.of(reference, owner, mean, scale)
    centers, spreads = [], []
    for local in (policy_local, reference_local):
        spread = 1.0 / local.ratio
        centers.append(-local.delta * spread[..., None])
        spreads.append(np.where(np.isfinite(local.log_weights), spread, np.inf))
    problem = _Problem(policy_local, reference_local, policy, tangent, owner, weights[owner, component])
    return problem, np.concatenate(centers, axis=1), np.concatenate(spreads, axis=1)


def _rough_mean(problem: _Problem, n_problems: int, d: int) -> FloatArray:
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
    for start in range(0, problem.owner.size, step):
        task = np.arange(start, min(start + step, problem.owner.size))
        z = np.broadcast_to(grid, (task.size, *grid.shape))
        bare = _Problem(problem.policy, problem.reference, problem.stack, None, problem.owner, problem.weight)
        ratio = bare.log_ratio(z, task)[0]
        mean = problem.weight[task] * (ratio @ weights)
        total += np.bincount(problem.owner[task], weights=mean, minlength=n_problems)
    return total


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
    measure, policy, reference, tangent, second
        As for :func:`moments_by_quadrature`.
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
    problem, _, _ = _problem(measure, policy, reference, tangent, 1)
    d = measure.means.shape[2]
    rng = np.random.default_rng(seed)
    counts = np.maximum(32, np.round(samples * problem.weight)).astype(np.int64)
    ratios, slopes = [], []
    for task, count in enumerate(counts):
        z = rng.standard_normal((int(count), d))
        ratio, slope = _in_chunks(problem, z, task)
        ratios.append(ratio)
        slopes.append(slope)
    weight = problem.weight
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


def _in_chunks(problem: _Problem, z: FloatArray, task: int) -> tuple[FloatArray, FloatArray]:
    """Log-ratio (n,) and slope (n, p) at local points (n, d) of one task, a bounded number of points at a time."""
    width = (problem.policy.ratio.shape[1] + problem.reference.ratio.shape[1]) * z.shape[1]
    step = max(256, _DOUBLES_PER_CALL // width)
    which = np.array([task])
    parts = [problem.log_ratio(z[None, start : start + step], which) for start in range(0, len(z), step)]
    return np.concatenate([p[0][0] for p in parts]), np.concatenate([p[2][0] for p in parts])
