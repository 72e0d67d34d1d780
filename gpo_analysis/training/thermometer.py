r"""The noise floor of mini-batches: how far a policy strays from its optimum while it is trained at a constant rate.

Train with the gradient of E f(βs)/(β|f′(0)|) over batches of B pairs. Write φ for the gradient of a pair's margin, C =
E[φφᵀ], w = f′/f′(0), and let z = βs be spread with variance v about the optimum. By statistical linearisation the
mean force is −κ̂(v)β Cδ, κ̂(v) = −E[w′(√v Z)], and the noise has covariance ω²C/B, ω²(v) = E[w(√v Z)²], Z standard
normal. With a diagonal preconditioner D (1 for SGD) and a small rate the stationary covariance of δ solves

    κ̂β (DC Σ + Σ CD) = lr D (ω²C/B) D,    Σ = lr ω² D/(2κ̂βB),

whatever the spectrum of C. Adam in noise has D_k = √B/(ω c_k), c_k² = C_kk. The margins' own variance is v = β² tr(CΣ):

    Adam:  v κ̂(v)/ω(v)  = θ,   θ = β lr Σ_k c_k/(2√B)                                                             (1)
    SGD:   v κ̂(v)/ω(v)² = θ,   θ = β lr Σ_k c_k²/(2B)                                                             (2)

For small θ, v = θ/κ, and with KL = ½Var(log π/πref) = v/(4β²) Adam's floor is lr Σc/(8βκ√B). Where the left side is
bounded and θ above its first maximum no rest is left, and the run runs away: Savage, whose slope dies out on both
sides, by Adam and SGD; the exponential loss, whose noise outgrows its force; by SGD every loss, as quadratic ones do at
too large a rate.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.training.clock import relative_slope

_NODES = np.linspace(-9.0, 9.0, 6001)
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()
_GRID = np.geomspace(1e-8, 100.0, 1200)


def averaged_slope(loss: MarginLoss | str, variance: float) -> tuple[float, float]:
    """Statistical linearisation of w = f′/f′(0) under margins of mean 0: κ̂(v) = −E[w′(√v Z)] and ω(v) = √E[w(√v Z)²].

    Parameters
    ----------
    loss : MarginLoss or str
    variance : float
        v, of z = βs; above 0.

    Returns
    -------
    tuple of float
        κ̂ (by Stein's lemma, so that a kink needs no derivative; κ at v → 0 for smooth f) and ω.

    Examples
    --------
    >>> [round(x, 6) for x in averaged_slope("squared", 3.0)]  # 1 and √(1 + v), whatever v
    [1.0, 2.0]
    """
    check_positive(variance, "variance")
    w = relative_slope(get_margin_loss(loss), math.sqrt(variance) * _NODES)
    return float(-(_WEIGHTS * _NODES) @ w / math.sqrt(variance)), float(math.sqrt(_WEIGHTS @ (w * w)))


def noise_balance(loss: MarginLoss | str, variance: float, *, optimizer: Literal["gd", "adam"] = "adam") -> float:
    """θ at which the margins rest with a variance v: vκ̂(v)/ω(v) for Adam, vκ̂(v)/ω(v)² for SGD.

    Parameters
    ----------
    loss, variance : MarginLoss or str, float
        As of :func:`averaged_slope`.
    optimizer : {"gd", "adam"}

    Examples
    --------
    >>> [round(noise_balance("squared", 3.0, optimizer=name), 9) for name in ("adam", "gd")]
    [1.5, 0.75]
    """
    if optimizer not in ("gd", "adam"):
        raise ValueError(f"optimizer is {optimizer!r}; accepted are 'gd' and 'adam'")
    kappa, omega = averaged_slope(loss, variance)
    return float(variance * kappa / omega ** (1 if optimizer == "adam" else 2))


def noise_variance(loss: MarginLoss | str, theta: float, *, optimizer: Literal["gd", "adam"] = "adam") -> float:
    """Variance v of z = βs about the optimum that mini-batches keep up at a constant rate.

    Parameters
    ----------
    loss : MarginLoss or str
    theta : float
        β lr Σ_k c_k/(2√B) for Adam, β lr Σ_k c_k²/(2B) for SGD (with the gradient divided by β|f′(0)|); c_k² the mean
        square of the k-th coordinate of the gradients of single pairs' margins.
    optimizer : {"gd", "adam"}

    Returns
    -------
    float
        inf where no rest is left, or v would be beyond 100. The KL of the noise is v/(4β²), ½E_μ[ρ²] is v/(2β²).

    Notes
    -----
    For margins of mean 0 under labels that nothing tells beforehand, small rates, and a run long enough to rest.

    Examples
    --------
    >>> round(noise_variance("squared", 1.5), 6), noise_variance("savage", 0.6)
    (3.0, inf)
    """
    f = get_margin_loss(loss)
    check_positive(theta, "theta")
    low, highest = 0.0, 0.0
    for high in _GRID:
        found = noise_balance(f, float(high), optimizer=optimizer)
        if found >= theta:
            break
        if found < highest - 1e-9:  # beyond its first maximum more noise brings less force: no rest there
            return math.inf
        low, highest = float(high), max(found, highest)
    else:
        return math.inf
    for _ in range(60):
        middle = 0.5 * (low + float(high))
        below = middle > 0 and noise_balance(f, middle, optimizer=optimizer) < theta
        low, high = (middle, high) if below else (low, middle)
    return float(high)


def rescaled_noise(
    kl: float,
    loss: MarginLoss | str,
    beta: float,
    other_loss: MarginLoss | str,
    other_beta: float,
    *,
    rate: float = 1.0,
    batch: float = 1.0,
    optimizer: Literal["gd", "adam"] = "adam",
) -> float:
    """KL of the noise of another run, from that of one run at rest.

    Parameters
    ----------
    kl : float
        Of the noise alone, in nats, such as that of a run on coin tosses.
    loss, beta : MarginLoss or str, float
        What it was trained with.
    other_loss, other_beta : MarginLoss or str, float
        What the other is to be trained with.
    rate, batch : float
        The other's learning rate and batch, as multiples of the run's.
    optimizer : {"gd", "adam"}

    Returns
    -------
    float
        inf where the other finds no rest.

    Examples
    --------
    >>> round(rescaled_noise(0.01, "squared", 0.1, "squared", 0.1, batch=4.0), 4)  # 1/√4, where noise is small
    0.005
    """
    for name, value in (("kl", kl), ("beta", beta), ("other_beta", other_beta), ("rate", rate), ("batch", batch)):
        check_positive(value, name)
    theta = noise_balance(loss, 4 * beta**2 * kl, optimizer=optimizer)
    theta *= rate * other_beta / beta / (batch**0.5 if optimizer == "adam" else batch)
    return noise_variance(other_loss, theta, optimizer=optimizer) / (4 * other_beta**2)
