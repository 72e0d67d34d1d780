"""What a run with another f or β would have come to, from the margins of one run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.diagnosis_words import OTHERS
from gpo_analysis.losses import MarginLoss
from gpo_analysis.reading import shown
from gpo_analysis.training import limit_mean, predicted_course

#: aβκm₀ up to which one direction is trusted to some 10 %: in `llm-predicted-training` it was so for every smooth f.
REACH = 2.0
USUAL_STEPS = 1000  # of a log that has no steps
_PAIRS = 512


def other_runs(
    f: MarginLoss, beta: float, rho: FloatArray, step: float | None, grid: Iterable[tuple[MarginLoss, float]]
) -> tuple[dict[str, Any], ...]:
    """A row an f and β: where a run of its own, of the same data, rate and length, would be after the last step.

    Parameters
    ----------
    f, beta : MarginLoss, float
        What the run was trained with, by Adam at a constant rate.
    rho : array, shape (k,)
        Margins of its pairs after the last step, in nats.
    step : float or None
        The last step; None is taken for 1000.
    grid : iterable of (MarginLoss, float)

    Returns
    -------
    tuple of dict
        ``loss``, ``beta``, ``beta_kappa``; ``mean_rho`` and ``mu_squared_loss`` (½ mean ρ²); ``reach``, the larger
        aβκm₀ of the two runs, m₀ the mean margin for β → 0 and a = E[ρ²]/E[ρ]²; ``trusted``, whether it is at most
        `REACH`. Empty where nothing can be said: the mean margin is not above 0, or the run is at rest.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> dpo, rho = get_loss("dpo"), np.array([2.0, 1.0, -0.5, 1.5])
    >>> (row,) = other_runs(dpo, 0.1, rho, 100.0, [(dpo, 0.2)])
    >>> round(row["mean_rho"], 2), row["trusted"]  # of 1 with β = 0.1: a slower clock
    (0.97, True)
    """
    mean = float(rho.mean())
    steps = USUAL_STEPS if step is None or step < 1 or step != round(step) else int(step)
    if not mean > 0:
        return ()
    few = fewer(rho)
    m0 = limit_mean(f, beta, few, steps)
    if math.isnan(m0):
        return ()
    spread = float(np.mean(rho**2)) / mean**2
    limit = few / mean * m0
    own = spread * beta * float(f.curvature_ratio) * m0
    rows = []
    for g, b in grid:
        found = float(predicted_course(g, b, limit[None], [steps]).mean_rho[0])
        strength = b * float(g.curvature_ratio)
        reach = max(own, spread * strength * m0)
        rows.append(
            {
                "loss": g.name, "beta": b, "beta_kappa": strength, "mean_rho": found,
                "mu_squared_loss": 0.5 * spread * found**2, "reach": reach, "trusted": reach <= REACH,
            }
        )  # fmt: skip
    return tuple(rows)


def marked(rows: Iterable[dict[str, Any]], f: MarginLoss, beta: float) -> tuple[dict[str, Any], ...]:
    """The rows, each with ``of_run``: whether it is the run's own f and β."""
    return tuple({**row, "of_run": row["loss"] == f.name and row["beta"] == beta} for row in rows)


def mark(row: dict[str, Any]) -> str:
    """What stands after a row that is the run's own."""
    return "  ← the run's" if row["of_run"] else ""


def name_width(rows: Sequence[dict[str, Any]]) -> int:
    """Characters of the column of losses, of which some are long expressions."""
    return min(40, max([20, *(len(row["loss"]) for row in rows)]))


def others_shown(rows: tuple[dict[str, Any], ...]) -> list[str]:
    """The rows as text."""
    if not rows:
        return ["what other runs would have come to: cannot be told from this one (no margin yet, or at rest)"]
    width = name_width(rows)
    lines = [
        "where a run of its own with each f and β would be, same data, rate and length (from this one's margins, one",
        f"direction, Adam at a constant rate; * reach aβκm₀ above {REACH:g}: too low by more than 10 %, or unknown)",
        f"{'loss':<{width}} {'β':>9} {'βκ':>9} {'mean ρ':>9} {'½E[ρ²]':>9} {'reach':>7}",
    ]
    lines += [
        f"{shown(row['loss'], width):<{width}} {row['beta']:>9.4g} {row['beta_kappa']:>9.4g} {row['mean_rho']:>9.3g} "
        f"{row['mu_squared_loss']:>9.3g} {row['reach']:>7.2g}{'' if row['trusted'] else ' *'}{mark(row)}"
        for row in rows
    ]
    return [*lines, *OTHERS]


def fewer(rho: FloatArray) -> FloatArray:
    """Quantiles in place of many pairs, of the same mean."""
    if len(rho) <= _PAIRS:
        return rho
    few = np.quantile(rho, (np.arange(_PAIRS) + 0.5) / _PAIRS)
    return np.asarray(few + (rho.mean() - few.mean()))
