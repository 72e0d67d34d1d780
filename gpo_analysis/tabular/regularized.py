"""The optimum of a reward under a KL penalty: what every offline loss aims at when its reward is right."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.labels import common_items, in_order


def regularized_optimum(reward: ArrayLike, reference: ArrayLike, beta: float, *, log: bool = False) -> FloatArray:
    r"""Maximiser of ``E_π[r] − β KL(π‖πref)``: ``π = πref exp(r/β) / Z``.

    Computed in log space after subtracting the largest reward, so that it holds for every β > 0: as β → 0
    the policy turns into πref restricted to the best responses, as β → ∞ into πref.

    Parameters
    ----------
    reward : array, shape (..., n)
        A finite reward for each response.
    reference : array, shape (n,) or (..., n)
        πref, non-negative, summing to one over the last axis. Where it is zero the policy is zero.
    beta : float
        Strength of the penalty, in units of reward per nat; finite and positive.
    log : bool
        Return log π (−inf where π is zero) instead of π; keeps what underflows in π.

    Returns
    -------
    array, shape (..., n)

    Raises
    ------
    ValueError
        For a reward that is not finite, a reference that is not a distribution, β not finite and positive.

    Notes
    -----
    The log-ratio is ``(r − β log Z) / β``; put into ``E[f(r(y_w) − r(y_l))]`` it gives the loss of
    Tang et al., arXiv 2402.05749, in which Z cancels. The frontier of mean reward against KL is this family over
    β; with ``reward = P @ reference`` it is the frontier of the win rate against πref.

    Examples
    --------
    >>> regularized_optimum([0.0, 1.0], [0.5, 0.5], beta=1.0).round(4)
    array([0.2689, 0.7311])
    >>> regularized_optimum([0.0, 1.0, 1.0], [0.5, 0.3, 0.2], beta=1e-300)
    array([0. , 0.6, 0.4])
    """
    r = np.asarray(reward, dtype=np.float64)
    ref = np.asarray(in_order(reference, "reference", common_items(None, reward)), dtype=np.float64)
    if r.ndim == 0 or not np.all(np.isfinite(r)):
        raise ValueError(f"reward must be an array of finite numbers of shape (..., n), got {reward!r}")
    if ref.ndim == 0 or ref.shape[-1] != r.shape[-1]:
        raise ValueError(f"reference must have shape (..., {r.shape[-1]}) like the reward, got {ref.shape}")
    if not np.all(ref >= 0) or not np.allclose(ref.sum(-1), 1.0, rtol=0, atol=1e-8):
        raise ValueError(f"reference must be non-negative and sum to one over its last axis, got {reference!r}")
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"beta must be finite and positive, got {beta!r}")
    allowed = np.broadcast_to(ref > 0, np.broadcast_shapes(r.shape, ref.shape))
    best = np.max(np.where(allowed, r, -np.inf), axis=-1, keepdims=True)
    with np.errstate(divide="ignore", over="ignore"):  # log 0 is −inf as meant; a gap of rewards over β may be −inf
        gap = np.where(allowed, r - best, 0.0) / beta
        log_policy = np.where(allowed, np.log(ref) + gap, -np.inf)
    log_policy = log_policy - np.logaddexp.reduce(log_policy, axis=-1, keepdims=True)
    return log_policy if log else np.exp(log_policy)
