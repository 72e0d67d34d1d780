r"""When descending ½E_μ[ρ²] also lowers KL(π‖πref): bounds in terms of the mismatch of μ and π.

For any parametrisation with score ``s = ∂ log π`` (one vector in R^p a response) and ``h = log π/πref``::

    ∇KL(π‖πref)     = Cov_π(h, s)
    ½ ∇½E_μ[ρ²]     = Cov_μ(h, s)                (μ held fixed)

so that both are covariances of the same h and s, under different measures (at μ = π they agree: the identity of Tang
et al., arXiv 2402.05749, with the constant 2). With ``w = μ/π``, ``χ² = E_π[(w − 1)²]`` and h̃, s̃ centred under π::

    Cov_μ − Cov_π = E_π[(w − 1) h̃ s̃] − E_π[(w − 1) h̃] E_π[(w − 1) s̃]

and Cauchy–Schwarz on each factor, in every direction of parameter space, gives ::

    ‖½∇½E_μ[ρ²] − ∇KL‖ ≤ χ √λ_max(E_π[h̃² s̃ s̃ᵀ]) + χ² √Var_π(h) √λ_max(Cov_π(s))  =: B.

Where ``B < ‖∇KL‖`` the angle between the gradients is at most ``asin(B/‖∇KL‖) < 90°``, so that a small step down the
square loss also lowers KL. ``log(1 + χ²)`` is the Rényi divergence ``D_2(μ‖π)``: the bound needs μ inside the support
of π, and goes to 0 with √D_2 as μ → π. It is sufficient only: what it does not certify may still be fine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.validation import as_floats, check_distribution, check_distributions
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, bars


def chi_squared(behavior: ArrayLike, policy: ArrayLike) -> float | FloatArray:
    """``χ²(μ‖π) = Σ (μ − π)²/π``; infinite where μ has mass that π has not. ``log(1 + χ²)`` is the Rényi ``D_2(μ‖π)``.

    Parameters
    ----------
    behavior, policy : array, shape (..., n)

    Examples
    --------
    >>> round(chi_squared([0.75, 0.25], [0.5, 0.5]), 6)
    0.25
    """
    mu, pi = np.broadcast_arrays(*check_distributions(behavior=behavior, policy=policy))
    inside = pi > 0
    terms = np.where(inside, (mu - pi) ** 2 / np.where(inside, pi, 1.0), np.where(mu > 0, np.inf, 0.0))
    total = terms.sum(axis=-1)
    return float(total) if total.ndim == 0 else np.asarray(total)


@dataclass(frozen=True)
class RegularizerMismatch(Shown):
    """The gradients of the two regularizers at one policy, and what is known of them from χ² alone.

    Attributes
    ----------
    kl_gradient, square_gradient : array, shape (p,)
        ``∇KL(π‖πref)`` and ``∇½E_μ[ρ²]`` in the parameters.
    angle : float
        Between the two, in degrees; NaN where either is zero.
    chi_squared, renyi : float
        ``χ²(μ‖π)`` and ``D_2(μ‖π) = log(1 + χ²)`` in nats.
    difference, bound : float
        ``‖½∇½E_μ[ρ²] − ∇KL‖`` and its bound B.
    angle_bound : float
        ``asin(B/‖∇KL‖)`` in degrees where ``B < ‖∇KL‖``, else 180: nothing is certified.
    """

    kl_gradient: FloatArray
    square_gradient: FloatArray
    angle: float
    chi_squared: float
    renyi: float
    difference: float
    bound: float
    angle_bound: float

    @property
    def certified(self) -> bool:
        """Whether the bound alone says that a small step down the square loss lowers KL."""
        return self.angle_bound < 90.0

    def _panel(self) -> Panel:
        names = [f"θ{k + 1}" for k in range(len(self.kl_gradient))]
        parts = {"½∇½E_μ[ρ²]": self.square_gradient / 2, "∇KL(π‖πref)": self.kl_gradient}
        title = f"gradients at an angle of {self.angle:.4g}° (certified: at most {self.angle_bound:.4g}°)"
        return bars(title, "parameter", "gradient", names, parts)


def regularizer_mismatch(
    log_policy: ArrayLike, log_reference: ArrayLike, behavior: ArrayLike, scores: ArrayLike
) -> RegularizerMismatch:
    """Compare the gradients of ½E_μ[ρ²] and of KL(π‖πref) for any parametrisation.

    Parameters
    ----------
    log_policy, log_reference : array, shape (n,)
        log π and log πref. For a continuous family: logs of the masses of a quadrature rule's cells.
    behavior : array, shape (n,)
        μ, a distribution; held fixed, even where it equals π.
    scores : array, shape (n, p)
        ``∂ log π(y)/∂θ``, up to a vector that does not depend on y: the identity for softmax logits, Φ for
        ``π ∝ πref exp(Φw)``.

    Raises
    ------
    ValueError
        For shapes that do not fit, log π that is not of a distribution, log-ratios that are not finite.

    Examples
    --------
    >>> pi, ref = np.array([0.7, 0.2, 0.1]), np.full(3, 1 / 3)
    >>> same = regularizer_mismatch(np.log(pi), np.log(ref), pi, np.eye(3))
    >>> round(same.angle, 5) + 0.0, round(same.bound, 9), same.certified
    (0.0, 0.0, True)
    """
    log_pi, log_ref = as_floats(log_policy, "log_policy"), as_floats(log_reference, "log_reference")
    pi = check_distribution(np.exp(log_pi), "exp(log_policy)")
    mu = check_distribution(behavior, "behavior", pi.shape)
    s, h = as_floats(scores, "scores"), log_pi - log_ref
    if pi.ndim != 1 or s.ndim != 2 or len(s) != len(pi) or log_ref.shape != log_pi.shape:
        raise ValueError(f"shapes must be (n,), (n,), (n,), (n, p), got {log_pi.shape}, {log_ref.shape}, {s.shape}")
    if not np.isfinite(h).all():
        raise ValueError("log π/πref must be finite on every response")
    h, s = h - pi @ h, s - pi @ s
    kl_gradient = (pi * h) @ s
    half = (mu * (h - mu @ h)) @ s
    chi = float(chi_squared(mu, pi))
    mixed = float(np.linalg.eigvalsh((s.T * (pi * h**2)) @ s)[-1])
    plain = float(np.linalg.eigvalsh((s.T * pi) @ s)[-1])
    bound = float(np.sqrt(chi * max(mixed, 0.0)) + chi * np.sqrt((pi @ h**2) * max(plain, 0.0)))
    size, other = float(np.linalg.norm(kl_gradient)), float(np.linalg.norm(half))
    cosine = float(np.clip(kl_gradient @ half / (size * other), -1.0, 1.0)) if size > 0 and other > 0 else np.nan
    return RegularizerMismatch(
        kl_gradient=kl_gradient,
        square_gradient=2.0 * half,
        angle=float(np.degrees(np.arccos(cosine))),
        chi_squared=chi,
        renyi=float(np.log1p(chi)),
        difference=float(np.linalg.norm(half - kl_gradient)),
        bound=bound,
        angle_bound=float(np.degrees(np.arcsin(bound / size))) if bound < size else 180.0,
    )
