"""Margins ρ on labelled pairs: the μ-weighted square loss, log-probabilities, how far the Taylor series reaches."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

import gpo_analysis as gpo
from gpo_analysis.losses import MarginLoss

QUANTILES = (0.5, 0.9, 0.99)
ORDERS = (1, 2, 4)


@lru_cache(maxsize=64)
def taylor_radius(loss: MarginLoss) -> float:
    """Largest r with f equal to its series at 0 on |z| < r; inf where that is everywhere.

    Examples
    --------
    >>> taylor_radius(gpo.get_loss("hinge")), round(taylor_radius(gpo.get_loss("logistic")), 4)
    (1.0, 3.1416)
    """
    return float(gpo.analyze(loss).taylor_radius)


def margins(
    policy_logps: ArrayLike, reference_logps: ArrayLike, loss: MarginLoss, beta: float, p: ArrayLike | None = None
) -> dict[str, float]:
    """What n labelled pairs say of a policy.

    Parameters
    ----------
    policy_logps, reference_logps : array, shape (n, 2)
        Sums of token log-probabilities, chosen first.
    loss, beta : MarginLoss, float
        f and β the policy was trained with.
    p : array, shape (n,), optional
        Soft labels; ones unless given.

    Returns
    -------
    dict
        ``mu_squared_loss`` ½ mean ρ², ``mean_rho``, ``accuracy`` (share with ρ > 0, ties half), ``chosen_logp``,
        ``rejected_logp``, ``chosen_change``, ``rejected_change`` (against πref), ``beyond_taylor`` (share with |βρ|
        at or beyond the Taylor radius), ``margin_q50`` … quantiles of |βρ|, ``held_out_loss``, and
        ``weight_error_1``, ``_2``, ``_4``: relative error, in root mean square over pairs, of f′(βρ) by its series.

    Examples
    --------
    >>> found = margins([[-1.0, -4.0]], [[-2.0, -3.0]], gpo.get_loss("squared"), 0.5)
    >>> found["mean_rho"], found["mu_squared_loss"], found["held_out_loss"]
    (2.0, 2.0, 0.0)
    """
    policy, reference = (np.asarray(x, dtype=np.float64) for x in (policy_logps, reference_logps))
    if policy.ndim != 2 or policy.shape[1] != 2 or policy.shape != reference.shape or not len(policy):
        raise ValueError(f"log-probabilities of shapes {policy.shape} and {reference.shape}; accepted is (n, 2) twice")
    change = policy - reference
    rho = change[:, 0] - change[:, 1]
    z = beta * rho
    soft = np.ones(len(rho)) if p is None else np.asarray(p, dtype=np.float64)
    found = {
        "mu_squared_loss": 0.5 * float(np.mean(rho**2)),
        "mean_rho": float(rho.mean()),
        "accuracy": float(np.mean(rho > 0) + 0.5 * np.mean(rho == 0)),
        "chosen_logp": float(policy[:, 0].mean()),
        "rejected_logp": float(policy[:, 1].mean()),
        "chosen_change": float(change[:, 0].mean()),
        "rejected_change": float(change[:, 1].mean()),
        "beyond_taylor": float(np.mean(np.abs(z) >= taylor_radius(loss))),
        "held_out_loss": float(np.mean(soft * loss(z) + (1 - soft) * loss(-z))),
    }
    true, series, term = loss.derivative(z), np.zeros_like(z), np.ones_like(z)
    for order in range(1, max(ORDERS) + 1):
        series, term = series + float(loss.derivative(np.zeros(1), order)[0]) * term, term * z / order
        if order in ORDERS:
            size = math.sqrt(float(np.mean(true**2)))
            found[f"weight_error_{order}"] = math.sqrt(float(np.mean((series - true) ** 2))) / max(size, 1e-300)
    for q in QUANTILES:
        found[f"margin_q{round(100 * q)}"] = float(np.quantile(np.abs(z), q))
    return found


def on_policy_mu_squared(log_ratios: ArrayLike) -> tuple[float, float]:
    """½E[ρ²] of two independent responses of πθ to a prompt, and its standard error over prompts.

    Parameters
    ----------
    log_ratios : array, shape (m, 2)
        log πθ/πref of the two.

    Examples
    --------
    >>> on_policy_mu_squared([[0.0, 2.0], [1.0, 1.0]])[0]
    1.0
    """
    x = np.asarray(log_ratios, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != 2 or not len(x):
        raise ValueError(f"log_ratios has shape {x.shape}; accepted is (m, 2)")
    half = 0.5 * (x[:, 0] - x[:, 1]) ** 2
    stderr = float(half.std(ddof=1) / math.sqrt(len(half))) if len(half) > 1 else math.inf
    return float(half.mean()), stderr
