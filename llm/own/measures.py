"""What is said of a trained policy: how far it moved on pairs, and its KL divergence from πref."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpo_analysis.analysis import taylor_radius
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss
from gpo_analysis.statistics import Interval, bootstrap_interval, mean_share_interval


def pair_measures(rows: Sequence[Sequence[float]], loss: MarginLoss, beta: float, reduction: str) -> dict[str, Any]:
    """Measures of pairs, means with 95 % intervals where they are means.

    Parameters
    ----------
    rows : sequence of k sequences of 6 numbers
        log πθ of chosen and rejected, log πref of both, their lengths.
    loss, beta, reduction : MarginLoss, float, str
        What was trained.

    Returns
    -------
    dict
        ``pairs``; ``mean_rho``, ``accuracy`` (share with ρ > 0, a tie as half), ``mu_squared_loss`` ½ mean ρ²,
        ``chosen_change`` and ``rejected_change`` (mean log π/πref), each with ``_low`` and ``_high``;
        ``beyond_taylor``, the share of \\|βρ\\| beyond the radius of the series of f; ``largest_margin``, of \\|βρ\\|.
    """
    values = np.array(rows, dtype=np.float64)
    ratios = values[:, :2] - values[:, 2:4]
    rho = ratios[:, 0] - ratios[:, 1]
    each = {
        "mean_rho": rho, "accuracy": (rho > 0) + 0.5 * (rho == 0), "mu_squared_loss": 0.5 * rho**2,
        "chosen_change": ratios[:, 0], "rejected_change": ratios[:, 1],
    }  # fmt: skip
    found: dict[str, Any] = {"pairs": len(rho)}
    for name, part in each.items():
        interval = _interval(name, np.asarray(part, dtype=np.float64)) if len(rho) > 1 else None
        mean = float(np.mean(part))
        found |= {name: mean, f"{name}_low": None if interval is None else interval.low}
        found[f"{name}_high"] = None if interval is None else interval.high
    trained = ratios / values[:, 4:] if reduction == "mean" else ratios
    margin = beta * (trained[:, 0] - trained[:, 1])
    size = np.abs(margin)
    beyond = float(np.mean(size > float(taylor_radius(loss))))
    return {**found, "beyond_taylor": beyond, "largest_margin": float(size.max())}


def kl_measures(trainer: Any, dataset: Any, *, progress: bool = False) -> dict[str, Any]:
    """KL(πθ‖πref) of sampled responses; where it cannot be measured, why. With `progress` a bar is shown."""
    try:
        kl, stderr, finished = trainer.measure_kl(dataset, progress=progress)
    except Exception as error:
        warnings.warn(f"the KL divergence was not measured: {error}", stacklevel=2)
        return {"value": None, "why": f"{type(error).__name__}: {error}"}
    return {"value": kl, "stderr": stderr if np.isfinite(stderr) else None, "finished": finished}


def _interval(name: str, values: FloatArray) -> Interval:
    """Of a mean over pairs; of the share that is right Wilson's, which has a width where all are."""
    if name == "accuracy":
        return mean_share_interval(values)
    return bootstrap_interval(values, _mean, seed=0, within=(0, np.inf) if name == "mu_squared_loss" else None)


def _mean(values: FloatArray) -> float:
    return float(values.mean())
