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

from gpo_analysis.losses import MarginLoss, get_loss
from gpo_analysis.training.clock import relative_slope

_NODES = np.linspace(-9.0, 9.0, 6001)
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()
_GRID = np.geomspace(1e-8, 100.0, 1200)


def averaged_slope(loss: MarginLoss | str, variance: float) -> tuple[float, float]:
    w = relative_slope(get_loss(loss), math.sqrt(variance) * _NODES)
    # Stein's lemma, so that a kink needs no derivative
    return float(-(_WEIGHTS * _NODES) @ w / math.sqrt(variance)), float(math.sqrt(_WEIGHTS @ (w * w)))


def noise_variance(loss: MarginLoss | str, theta: float, *, optimizer: Literal["gd", "adam"] = "adam") -> float:
    f = get_loss(loss)
    power = 1 if optimizer == "adam" else 2

    def left(variance: float) -> float:
        kappa, omega = averaged_slope(f, variance)
        return variance * kappa / omega**power

    low, highest = 0.0, 0.0
    for high in _GRID:
        found = left(float(high))
        if found >= theta:
            break
        if found < highest:  # beyond its first maximum more noise brings less force: no rest there
            return math.inf
        low, highest = float(high), found
    else:
        return math.inf
    for _ in range(60):
        middle = 0.5 * (low + float(high))
        low, high = (middle, high) if left(middle) < theta else (low, middle)
    return float(high)
