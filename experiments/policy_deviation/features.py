"""Part ``features``: policies fitted to a sample leak mass to what nobody compared; where, the slope at zero says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import gpo_analysis as gpo
from experiments.framework import Check
from experiments.policy_deviation.setting import Config, features_of, path_of, problem_of, slope_of
from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.statistics import Interval, mean_interval, share_interval
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.training import compared, deviation, early_phase


def run(config: Config, loss: str) -> list[dict[str, Any]]:
    """Feature policies fitted to a sample: where mass leaks, against the slope's first direction."""
    rows = []
    for seed in range(config.seeds):
        problem, phi = problem_of(config, seed), features_of(config, seed)
        data = PreferenceProblem.from_comparisons(problem.sample(config.labels, seed=seed), problem.reference)
        off = ~compared(problem)
        first = phi @ (phi.T @ early_phase(data, "logistic", 1.0).direction)
        drift = float(np.sum((problem.reference * (first - problem.reference @ first))[off]))
        for beta in config.betas:
            path = path_of(config, loss, data, beta, phi)
            logs = np.log(np.asarray(path.policies)) - np.log(problem.reference)
            mass, h = np.exp(np.log(problem.reference) + logs)[:, off].sum(axis=1), logs[-1]
            found = deviation(problem, h)
            rows.append(
                {"seed": seed, "beta": beta, "predicted_leak": drift, "early_leak": float(mass[1] - mass[0]),
                 "leak_slope": _leak_slope(loss, data, phi, beta, off),
                 "final_leak": float(mass[-1] - mass[0]), "rank": float(stats.spearmanr(first[off], h[off])[0]),
                 "gain": float(h[off].max()), "status": path.status}
                | {name: getattr(found, name) for name in found.__dataclass_fields__}
            )  # fmt: skip
    return rows


def _leak_slope(loss: str, data: PreferenceProblem, phi: FloatArray, beta: float, off: BoolArray) -> float:
    """First change of the mass off the support, for each unit of β|f′(0)| × time, by a step of 10⁻⁶."""
    time = 1e-6 / (beta * slope_of(loss))
    step = gpo.train(data, loss, beta, learning_rate=time, steps=1, features=phi)
    return float((step.final_policy - data.reference)[off].sum() / 1e-6)


def check(rows: pd.DataFrame) -> list[Check]:
    """Leaks, their sign and their order, against the slope at zero."""
    early, final = sign_agreement(rows, "early_leak"), sign_agreement(rows, "final_leak")
    ranks = rows.groupby("seed")["rank"].mean()
    spread = rows.groupby("seed")["rank"].agg(np.ptp)
    slope = (rows["leak_slope"] - rows["predicted_leak"]).abs() / rows["predicted_leak"].abs().median()
    return [
        Check.equal(
            "features: first slope of the mass off the support, error over the median slope (largest)",
            0.0,
            float(slope.max()),
            0.01,
        ),
        Check.at_least(
            "features: sign of the leak early on, as the slope says (share of runs)",
            0.9,
            early.value,
            note=f"{early} of {len(rows)}, after a fiftieth of the steps; at the end {final}",
        ),
        Check.at_least(
            "features: rank correlation of log π/πref off the support with the slope's direction (mean)",
            0.7,
            float(ranks.mean()),
            note=f"over problems {mean_interval(ranks)}; spread over f and β {mean_interval(spread)}",
        ),
        Check.at_least(
            "features: largest |log π/πref| off the support over that on it (mean)",
            0.5,
            float((rows["largest_off"] / rows["largest_on"]).mean()),
            note=str(mean_interval((rows["largest_off"] / rows["largest_on"]).groupby(rows["seed"]).mean())),
        ),
    ]


def sign_agreement(rows: pd.DataFrame, column: str) -> Interval:
    """Share of runs where the leak has the sign that the slope predicts."""
    return share_interval(int((np.sign(rows[column]) == np.sign(rows["predicted_leak"])).sum()), len(rows))
