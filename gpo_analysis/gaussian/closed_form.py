"""Closed forms for single Gaussians: what the integrals must give where the answer is known.

With isotropic Gaussians ``π = N(m, s² I)`` and ``πref = N(n, r² I)`` the log-ratio is a polynomial of degree two,
``a(y) = A |y|² + b·y + const`` with ``A = ½ (1/r² - 1/s²)`` and ``b = m/s² - n/r²``. At equal variance it is linear, so
the μ-weighted square loss of ``π(y - c)`` is exactly quadratic in ``c``: one Gaussian cannot have several minima.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gpo_analysis.gaussian.mixture import GaussianMixture


def has_closed_form(policy: GaussianMixture, reference: GaussianMixture) -> bool:
    """Whether both have a single component, so that the closed forms here apply."""
    return policy.n_components == 1 and reference.n_components == 1


def closed_form_kl(policy: GaussianMixture, reference: GaussianMixture) -> float:
    """``KL(N(m, s² I) ‖ N(n, r² I)) = ½ [d (s²/r² - 1 - log s²/r²) + |m - n|²/r²]``.

    Raises
    ------
    ValueError
        If one of them has several components.

    Examples
    --------
    >>> g = GaussianMixture([1.0], [[0.0, 0.0]], [2.0])
    >>> closed_form_kl(g.shifted([2.0, 0.0]), g)
    0.5
    """
    _require_single(policy, reference)
    s, r = float(policy.scales[0]), float(reference.scales[0])
    excess = (s - r) * (s + r) / r**2
    # log1p keeps the digits of two nearly equal scales, the logarithm those of two very different ones
    log_ratio = math.log1p(excess) if abs(excess) < 0.5 else 2.0 * (math.log(s) - math.log(r))
    gap = (policy.means[0] - reference.means[0]) / r
    return 0.5 * float(policy.dimension * max(excess - log_ratio, 0.0) + np.sum(gap**2))


def closed_form_mu_squared_loss(
    policy: GaussianMixture, reference: GaussianMixture, behavior: GaussianMixture
) -> float:
    """``Var_μ(A |y|² + b·y)`` for single Gaussians π, πref and any mixture μ.

    For one component ``N(m_j, s_j² I)`` of μ the mean of the log-ratio is ``A (|m_j|² + d s_j²) + b·m_j`` and its
    variance ``s_j² |2A m_j + b|² + 2 d A² s_j⁴``; the mixture's variance is the mean of variances plus the variance of
    means. For π and πref of one scale ``s`` and ``π = πref(y - c)``: ``c² Var_μ(y) / s⁴``.

    Raises
    ------
    ValueError
        If π or πref has several components.

    Examples
    --------
    >>> g = GaussianMixture([1.0], [0.0], [0.5])
    >>> closed_form_mu_squared_loss(g.shifted(1.0), g, GaussianMixture([1.0], [7.0], [2.0]))
    64.0
    """
    _require_single(policy, reference)
    d = policy.dimension
    origin = reference.means.reshape(d)
    m = policy.means.reshape(d) - origin  # coordinates about πref's mean, so that b holds no large cancelling parts
    s, r = float(policy.scales[0]), float(reference.scales[0])
    curvature = 0.5 * (1.0 / r - 1.0 / s) * (1.0 / r + 1.0 / s)
    linear: NDArray[np.float64] = m / s**2
    centres = behavior.means.reshape(behavior.n_components, d) - origin
    widths = behavior.scales
    means = curvature * ((centres**2).sum(axis=1) + d * widths**2) + centres @ linear
    slopes = 2.0 * curvature * centres + linear
    variances = widths**2 * (slopes**2).sum(axis=1) + 2.0 * d * curvature**2 * widths**4
    w = behavior.weights
    return float(w @ variances + w @ (means - w @ means) ** 2)


def _require_single(policy: GaussianMixture, reference: GaussianMixture) -> None:
    if not has_closed_form(policy, reference):
        counts = f"{policy.n_components} and {reference.n_components}"
        raise ValueError(f"the closed form needs single Gaussians, got mixtures of {counts} components")
