"""What is said of log π/πref on samples: of the policy q ∝ μ e^h that tilts their shares μ, for h up to a constant."""

from __future__ import annotations

import numpy as np
import torch

from gpo_analysis.arrays import FloatArray
from llm.forests.problem import Sampled


def kl_of_tilt(log_ratio: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """KL(q‖μ) of q ∝ μ e^h on the support of μ, in nats, shape (…, m); h need be known up to a constant only.

    Examples
    --------
    >>> h, weight = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.5, 0.5, 0.0]])
    >>> round(float(kl_of_tilt(h, weight)), 6)  # σ(1) against 1/2
    0.110944
    """
    h, mu = log_ratio.double(), weight.double()
    logits = torch.where(mu > 0, mu.clamp(min=1e-300).log() + h, -torch.inf)
    normalizer = logits.logsumexp(-1, keepdim=True)
    return ((logits - normalizer).exp() * torch.where(mu > 0, h - normalizer, 0.0)).sum(-1)


def measures(sampled: Sampled, log_ratio: FloatArray) -> dict[str, FloatArray]:
    """KL, win rate, ½E_μ[ρ²] and mean reward of μ tilted by e^h, (m,) each.

    Parameters
    ----------
    sampled : Sampled
        The samples: μ their shares.
    log_ratio : array, shape (m, n)
        h, up to a constant a prompt.
    """
    mu, h = sampled.forest.weight.numpy(), np.asarray(log_ratio, dtype=np.float64)
    shifted = np.where(mu > 0, h, -np.inf)
    tilt = mu * np.exp(shifted - shifted.max(1, keepdims=True))
    q = tilt / tilt.sum(1, keepdims=True)
    beats = np.sign(sampled.rewards[:, :, None] - sampled.rewards[:, None, :]) / 2 + 0.5
    centred = h - (mu * h).sum(1, keepdims=True)
    return {
        "kl": kl_of_tilt(torch.from_numpy(h), sampled.forest.weight).numpy(),
        "win_rate": np.einsum("mi,mij,mj->m", q, beats, mu),
        "mu_squared_loss": (mu * centred**2).sum(1),
        "reward": (q * sampled.rewards).sum(1),
    }
