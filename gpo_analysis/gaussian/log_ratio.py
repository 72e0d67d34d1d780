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

from dataclasses import dataclass, field

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray, Scratch
from gpo_analysis.gaussian.families import MixtureStack, Tangent
from gpo_analysis.gaussian.mixture import _LOG_2PI

EPSILON = float(np.finfo(np.float64).eps)
#: Numbers of all components together at one call: temporaries that stay in the processor's cache.
DOUBLES_PER_CALL = 90_000


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

    def log_joint(self, z: FloatArray, task: IntArray, scratch: Scratch, whose: str) -> tuple[FloatArray, FloatArray]:
        """``log w_j N_j`` at ``z`` (d, N, P), shape (k, N, P), and the standardised points (k, d, N, P).

        Tasks come last: numpy works fast along a long last axis, and sums fast over leading ones.
        """
        k, (d, nodes, _) = self.ratio.shape[1], z.shape
        points = scratch(f"points of {whose}", (k, d, nodes, len(task)))
        np.multiply(_columns(self.ratio[task])[:, None, None], z, out=points)
        points += np.ascontiguousarray(np.moveaxis(self.delta[task], 0, -1))[:, :, None]
        joint = _squares(points, scratch(f"joint of {whose}", (k, nodes, len(task))))
        joint *= -0.5
        joint += _columns((self.log_weights + self.log_norm)[task])[:, None]
        return joint, points


@dataclass(frozen=True)
class LogRatio:
    """``B`` log-ratios with the measure's components spelled out as ``T`` tasks."""

    policy: _Local
    reference: _Local
    stack: MixtureStack
    tangent: Tangent | None
    owner: IntArray  # (T,) problem of each task
    component: IntArray  # (T,) of the measure
    weight: FloatArray  # (T,) weight of that component
    policy_is_fixed: bool  # whether tasks of one component see the same policy, and the same slope
    reference_is_fixed: bool
    scratch: Scratch = field(default_factory=Scratch)

    def __call__(self, z: FloatArray, task: IntArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """``a`` (P, N), the size of its rounding error, ``∂_c log π_c`` (P, N, p) and that of its own."""
        ratio, rounding, slope, size = self._at(np.ascontiguousarray(z.T), task, task)
        # terms of both signs may cancel in the slope: its rounding is that of their absolute sum
        size *= rounding
        return ratio.T, rounding.T, slope.T, size.T

    def at_common_nodes(self, z: FloatArray, task: IntArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The same for tasks of one component at the same points (N,), with nodes first, tasks last.

        What is the same for all of them is computed once: the last axis of the slope may have length 1. The last array
        is to be multiplied by the rounding error.
        """
        policy, reference = (task[:1] if fixed else task for fixed in (self.policy_is_fixed, self.reference_is_fixed))
        return self._at(z[None, :, None], policy, reference)

    def _at(
        self, z: FloatArray, policy: IntArray, reference: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """At points (d, N, P), of which tasks the policy and the reference are taken."""
        joint, points = self.policy.log_joint(z, policy, self.scratch, "policy")
        log_policy, total = _mixed(joint)
        log_reference = _mixed(self.reference.log_joint(z, reference, self.scratch, "reference")[0])[0]
        rounding = np.abs(log_policy) + np.abs(log_reference)
        rounding += 1.0
        rounding *= 4.0 * EPSILON
        if self.tangent is None:
            slope = size = np.empty((0, *rounding.shape))
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                posterior = np.divide(joint, total, out=joint)
            slope, size = self._slope(posterior, log_policy, points, policy)
        return log_policy - log_reference, rounding, slope, size

    def _slope(
        self, posterior: FloatArray, log_policy: FloatArray, points: FloatArray, task: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """``Σ_j r_j [w'_j / w_j + (y - m_j)·m'_j / s_j² + (|y - m_j|² / s_j² - d) s'_j / s_j]``, shape (p, N, P).

        With it the same sum of absolute values.
        """
        assert self.tangent is not None
        tangent = self.tangent
        problem = self.owner[task]
        rows = np.zeros_like(problem) if tangent.means.shape[0] == 1 else problem
        scales = self.stack.scales[np.zeros_like(problem) if self.stack.size == 1 else problem]
        p, d = tangent.means.shape[3], points.shape[1]
        columns, sizes = np.empty((p, *log_policy.shape)), np.empty((p, *log_policy.shape))
        for q in range(p):
            pull = np.moveaxis(tangent.means[rows, :, :, q] / scales[..., None], 0, -1)
            terms = np.multiply(
                points, np.ascontiguousarray(pull)[:, :, None], out=self.scratch("terms of slope", points.shape)
            )
            terms = terms[:, 0] if d == 1 else terms.sum(axis=1)
            terms *= posterior
            if tangent.scales is not None:
                stretch = _squares(points) - d
                terms += posterior * stretch * _columns(tangent.scales[rows, :, q] / scales)[:, None]
            if tangent.weights is not None:
                # N_j / π itself, for a component may have weight zero here and not nearby; it may then overflow
                log_density = _columns(self.policy.log_norm[task])[:, None] - 0.5 * _squares(points) - log_policy
                density = np.exp(np.minimum(log_density, 700.0))
                terms += density * _columns(tangent.weights[rows, :, q])[:, None]
            np.sum(terms, axis=0, out=columns[q])
            np.sum(np.abs(terms, out=terms), axis=0, out=sizes[q])
        return columns, sizes


def _columns(rows: FloatArray) -> FloatArray:
    """(k, P) in memory of (P, k)."""
    return np.ascontiguousarray(rows.T)


def _mixed(joint: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``log Σ exp`` over the first axis, and ``Σ exp`` of what is left of `joint`, the largest term taken off each."""
    top = joint.max(axis=0)
    if not np.isfinite(top).all():
        top = np.where(np.isfinite(top), top, 0.0)  # -inf - -inf would be NaN
    joint -= top
    total = np.exp(joint, out=joint).sum(axis=0)
    with np.errstate(divide="ignore"):
        top += np.log(total)
    return top, total


def _squares(points: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Squared lengths (k, N, P) of points (k, d, N, P)."""
    if points.shape[1] == 1:
        return np.square(points[:, 0], out=out)
    return np.asarray(np.einsum("kdnp,kdnp->knp", points, points, out=out))


def log_ratio_under(
    measure: MixtureStack, policy: MixtureStack, reference: MixtureStack, tangent: Tangent | None, n_problems: int
) -> tuple[LogRatio, FloatArray, FloatArray]:
    """Tasks (a problem and a component of its measure each), with the places and widths of what they must resolve."""
    weights = np.broadcast_to(measure.weights, (n_problems, measure.weights.shape[1]))
    owner, component = (index.astype(np.int64) for index in np.nonzero(weights))
    row = np.zeros_like(owner) if measure.size == 1 else owner
    mean, scale = measure.means[row, component], measure.scales[row, component]
    base = policy.base if measure is policy else None
    if base is None:
        policy_local = _Local.of(policy, owner, mean, scale)
    else:
        policy_local = _Local.of(base, owner, base.means[0, component], base.scales[0, component])
    reference_local = _Local.of(reference, owner, mean, scale)
    centers, spreads = [], []
    for local in (policy_local, reference_local):
        spread = 1.0 / local.ratio
        centers.append(-local.delta * spread[..., None])
        spreads.append(np.where(np.isfinite(local.log_weights), spread, np.inf))
    policy_is_fixed = base is not None or measure.size == policy.size == 1
    log_ratio = LogRatio(
        policy_local,
        reference_local,
        policy,
        tangent,
        owner,
        component,
        weights[owner, component],
        policy_is_fixed=policy_is_fixed and (tangent is None or tangent.means.shape[0] == 1),
        reference_is_fixed=measure.size == reference.size == 1,
    )
    return log_ratio, np.concatenate(centers, axis=1), np.concatenate(spreads, axis=1)
