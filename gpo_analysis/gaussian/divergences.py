"""KL divergence and μ-weighted square loss between mixtures of Gaussians, with their errors.

One verb each; ``method`` says how:

- ``"closed_form"``: single Gaussians (π and πref; μ may be any mixture);
- ``"quadrature"``: adaptive, in one dimension to 1e-10 and in two to 1e-8 unless another tolerance is given;
- ``"monte_carlo"``: stratified, any number of dimensions, the error is a standard error;
- ``"auto"``: the first of these that applies.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, get_args

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import register_kl, register_mu_squared_loss
from gpo_analysis.gaussian.closed_form import closed_form_kl, closed_form_mu_squared_loss, has_closed_form
from gpo_analysis.gaussian.families import MixtureStack
from gpo_analysis.gaussian.integrate import Estimate, IntegrationWarning
from gpo_analysis.gaussian.log_ratio import Moments
from gpo_analysis.gaussian.mixture import GaussianMixture, Method
from gpo_analysis.gaussian.monte_carlo import moments_by_monte_carlo
from gpo_analysis.gaussian.quadrature import moments_by_quadrature


def kl_estimate(
    policy: GaussianMixture,
    reference: GaussianMixture,
    *,
    method: Method = "auto",
    tolerance: float | None = None,
    samples: int = 100_000,
    seed: int = 0,
    warn: bool = False,
) -> Estimate:
    """``KL(π ‖ πref) = E_π[log π - log πref]`` in nats, with its error.

    Parameters
    ----------
    policy, reference : GaussianMixture
        Of the same event shape, with any number of components.
    method : {"auto", "closed_form", "quadrature", "monte_carlo"}
    tolerance : float, optional
        For quadrature: wanted error, absolute or relative, whichever is larger. 1e-10 in one dimension, 1e-8 in two.
    samples, seed : int
        For Monte Carlo: draws and seed. An estimate may then come out below zero.
    warn : bool
        Whether to warn (:class:`IntegrationWarning`) where quadrature cannot reach the tolerance.

    Raises
    ------
    ValueError
        If the event shapes differ, or the method is unknown or does not apply.

    Examples
    --------
    >>> g = GaussianMixture([0.5, 0.5], [-1.0, 1.0], [0.5, 0.5])
    >>> e = kl_estimate(g.shifted(0.5), g)
    >>> round(e.value, 10), e.error < 1e-10, e.method
    (0.3420516336, True, 'quadrature')
    """
    _require_same_event(policy, reference)
    chosen = _choose(method, policy, reference)
    if chosen == "closed_form":
        return Estimate(closed_form_kl(policy, reference), 0.0, "closed_form", 0)
    one = MixtureStack.of([policy])
    bound = _tolerance(tolerance, policy.dimension)
    m = _moments(one, one, MixtureStack.of([reference]), False, chosen, bound, samples, seed)
    value, error = _or_infinite(m.mean), _or_infinite(m.mean_error)
    if chosen == "quadrature":
        value = max(value, 0.0)  # no KL is negative: rounding alone makes it so
        _report(warn, "the KL divergence", value, error, bound)
    return Estimate(value, error, chosen, int(m.evaluations[0]))


def mu_squared_loss_estimate(
    policy: GaussianMixture,
    reference: GaussianMixture,
    behavior: GaussianMixture,
    *,
    method: Method = "auto",
    tolerance: float | None = None,
    samples: int = 100_000,
    seed: int = 0,
    warn: bool = False,
) -> Estimate:
    """μ-weighted square loss ``½ E_μ[ρ²]`` for pairs of independent draws from μ, with its error.

    With ``ρ = a(y) - a(y′)`` and ``a = log π - log πref`` it equals ``Var_μ(a)`` (Tang et al. 2024, arXiv 2402.05749,
    for the loss; the variance follows from independence).

    Parameters
    ----------
    policy, reference, behavior : GaussianMixture
        π, πref and μ, of the same event shape, with any numbers of components.
    method, tolerance, samples, seed, warn : as of :func:`kl_estimate`

    Raises
    ------
    ValueError
        If the event shapes differ, or the method is unknown or does not apply.

    Examples
    --------
    >>> g = GaussianMixture([1/3, 1/3, 1/3], [-3.0, 0.0, 3.0], [0.5, 0.5, 0.5])
    >>> mu = GaussianMixture([1.0], [0.0], [0.5])
    >>> [round(mu_squared_loss_estimate(g.shifted(c), g, mu).value, 4) for c in (0.0, 1.5, 3.0)]
    [0.0, 2.8067, 0.0083]
    """
    _require_same_event(policy, reference, behavior)
    chosen = _choose(method, policy, reference)
    if chosen == "closed_form":
        return Estimate(closed_form_mu_squared_loss(policy, reference, behavior), 0.0, "closed_form", 0)
    bound = _tolerance(tolerance, policy.dimension)
    measure, top, bottom = (MixtureStack.of([mixture]) for mixture in (behavior, policy, reference))
    m = _moments(measure, top, bottom, True, chosen, bound, samples, seed)
    value, error = _or_infinite(m.variance), _or_infinite(m.variance_error)
    if chosen == "quadrature":
        _report(warn, "the μ-weighted square loss", value, error, bound)
    return Estimate(value, error, chosen, int(m.evaluations[0]))


@register_kl(GaussianMixture, GaussianMixture)
def _kl(policy: GaussianMixture, reference: GaussianMixture, **options: Any) -> float:
    """The value of :func:`kl_estimate`, with a warning where it is not as exact as asked."""
    return kl_estimate(policy, reference, warn=True, **options).value


@register_mu_squared_loss(GaussianMixture, GaussianMixture, GaussianMixture)
def _mu_squared_loss(
    policy: GaussianMixture, reference: GaussianMixture, behavior: GaussianMixture, **options: Any
) -> float:
    """The value of :func:`mu_squared_loss_estimate`, with a warning where it is not as exact as asked."""
    return mu_squared_loss_estimate(policy, reference, behavior, warn=True, **options).value


def default_tolerance(dimension: int) -> float:
    """Error asked of quadrature where none is named: 1e-10 in one dimension, 1e-8 in two."""
    return 1e-10 if dimension == 1 else 1e-8


def _moments(
    measure: MixtureStack,
    policy: MixtureStack,
    reference: MixtureStack,
    second: bool,
    method: str,
    tolerance: float,
    samples: int,
    seed: int,
) -> Moments:
    with np.errstate(over="ignore", invalid="ignore"):  # log-ratios beyond 1e154: said by the value, which is then inf
        if method == "quadrature":
            return moments_by_quadrature(measure, policy, reference, second=second, tolerance=tolerance)
        return moments_by_monte_carlo(measure, policy, reference, second=second, samples=samples, seed=seed)


def _or_infinite(numbers: FloatArray) -> float:
    """The one number; what overflowed on the way is infinite."""
    return float(numbers[0]) if np.isfinite(numbers[0]) else math.inf


def _choose(method: str, policy: GaussianMixture, reference: GaussianMixture) -> str:
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    if method != "auto":
        return method
    if has_closed_form(policy, reference):
        return "closed_form"
    return "quadrature" if policy.dimension <= 2 else "monte_carlo"


def _tolerance(tolerance: float | None, dimension: int) -> float:
    bound = default_tolerance(dimension) if tolerance is None else tolerance
    if not (0.0 < bound < math.inf):
        raise ValueError(f"tolerance must be above zero and finite, got {tolerance!r}")
    return bound


def _require_same_event(*mixtures: GaussianMixture) -> None:
    shapes = [m.event_shape for m in mixtures]
    if len(set(shapes)) > 1:
        raise ValueError(f"mixtures must have points of one shape, got {', '.join(map(str, shapes))}")


def _report(warn: bool, what: str, value: float, error: float, tolerance: float) -> None:
    if warn and error > tolerance * max(1.0, abs(value)):
        text = f"{what} is {value:.6g} with an error of up to {error:.1e}; {tolerance:.0e} was asked for"
        warnings.warn(text, IntegrationWarning, stacklevel=5)
