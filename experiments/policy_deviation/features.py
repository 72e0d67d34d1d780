"""Part ``features``: policies fitted to a sample leak mass to what nobody compared; where, the fitted direction says.

The mass of πref exp(g/β)/Z off the support, with g the fitted direction or what one linear solve gives for it. The
slope at zero, which an earlier prediction took, is its first gradient and says where training starts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import gpo_analysis as gpo
from experiments._losses import CURVED, stated
from experiments._seeds import median_interval
from experiments.framework import Check
from experiments.policy_deviation.setting import (
    Config,
    by_problem,
    features_of,
    fitted_direction,
    linear_direction,
    path_of,
    problem_of,
    slope_of,
)
from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.statistics import Interval, mean_interval
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.training import compared, deviation, early_phase


def run(config: Config, loss: str) -> list[dict[str, Any]]:
    """Feature policies fitted to a sample: where mass leaks, against the slope's first direction."""
    rows = []
    for seed in config.problems:
        problem, phi = problem_of(config, seed), features_of(config, seed)
        data = PreferenceProblem.from_comparisons(problem.sample(config.labels, seed=seed), problem.reference)
        off = ~compared(problem)
        first = phi @ (phi.T @ early_phase(data, "logistic", 1.0).direction)
        drift = float(np.sum((problem.reference * (first - problem.reference @ first))[off]))
        for beta in config.betas:
            path = path_of(config, loss, data, beta, phi)
            logs = np.log(np.asarray(path.policies)) - np.log(problem.reference)
            mass, h = np.exp(np.log(problem.reference) + logs)[:, off].sum(axis=1), logs[-1]
            found, start = deviation(problem, h), float(mass[0])
            rows.append(
                {"seed": seed, "beta": beta, "predicted_leak": drift, "early_leak": float(mass[1] - mass[0]),
                 "leak_slope": _leak_slope(loss, data, phi, beta, off),
                 "final_leak": float(mass[-1] - mass[0]), "rank": float(stats.spearmanr(first[off], h[off])[0]),
                 "gain": float(h[off].max()), "status": path.status,
                 "fitted_leak": _mass(problem, fitted_direction(data, loss, phi) / beta, off) - start,
                 "linear_leak": _mass(problem, linear_direction(data, loss, phi) / beta, off) - start}
                | {name: getattr(found, name) for name in found.__dataclass_fields__}
            )  # fmt: skip
    return rows


def _mass(problem: PreferenceProblem, tilt: FloatArray, off: BoolArray) -> float:
    """What πref exp(tilt)/Z gives to the responses off the support."""
    logits = np.log(problem.reference) + tilt
    policy = np.exp(logits - np.max(logits))
    return float(policy[off].sum() / policy.sum())


def _leak_slope(loss: str, data: PreferenceProblem, phi: FloatArray, beta: float, off: BoolArray) -> float:
    """First change of the mass off the support, for each unit of β|f′(0)| × time, by a step of 10⁻⁶."""
    time = 1e-6 / (beta * slope_of(loss))
    step = gpo.train(data, loss, beta, learning_rate=time, steps=1, features=phi)
    return float((step.final_policy - data.reference)[off].sum() / 1e-6)


def check(rows: pd.DataFrame) -> list[Check]:
    """Leaks, their sign and their size, by the fitted direction, one linear solve, and the slope at zero."""
    ranks = rows.groupby("seed")["rank"].mean()
    slope = (rows["leak_slope"] - rows["predicted_leak"]).abs() / rows["predicted_leak"].abs().median()
    size = (rows["largest_off"] / rows["largest_on"]).groupby(rows["seed"]).mean()
    renewed = "26 November 2026: the slope at zero failed as a predictor (76 % of the runs early on, 68 % at the end)"
    return [
        replace(
            Check.equal(
                "features: first slope of the mass off the support, error over the median slope (largest)", 0.0,
                float(slope.max()), 0.01,
            ),
            nature="theorem",
        ),
        Check.above(
            "features: sign of the leak early on, as the slope says (share of runs)", 0.9,
            sign_agreement(rows, "early_leak", "predicted_leak"), "problems",
        ),
        Check.above(
            "features: rank correlation of log π/πref off the support with the slope's direction (mean)", 0.7,
            mean_interval(ranks), "problems",
        ),
        replace(
            Check.above(
                "features: sign of the leak at the end, as the fitted direction says (share of runs)", 0.85,
                sign_agreement(rows, "final_leak", "fitted_leak"), "problems",
            ),
            restated=renewed,
        ),
        replace(
            stated(
                set(rows["loss"]),
                "features: sign of the leak at the end, as one linear solve says (share of runs, hinge left out)",
                lambda claim: Check.above(claim, 0.85, sign_agreement(rows, "final_leak", "linear_leak"), "problems"),
                some=CURVED,
            ),
            restated=renewed,
        ),
        Check.within(
            "features: leak at the end over that of the fitted direction (slope through 0, median over problems)", 1.0,
            median_interval(slopes(rows)), 0.05, "problems (of the median)",
        ),
        Check.above(
            "features: largest |log π/πref| off the support over that on it (mean)", 0.5, mean_interval(size),
            "problems",
        ),
    ]  # fmt: skip


def slopes(rows: pd.DataFrame) -> list[float]:
    """Of each problem: the leak at the end regressed, through 0, on that of the fitted direction."""
    known = rows[rows["fitted_leak"].notna()]
    return [
        float(one["fitted_leak"] @ one["final_leak"] / (one["fitted_leak"] @ one["fitted_leak"]))
        for _, one in known.groupby("seed")
    ]


def sign_agreement(rows: pd.DataFrame, column: str, predicted: str) -> Interval:
    """Share of runs where the leak has the predicted sign."""
    known = rows[rows[predicted].notna()]
    return by_problem(np.sign(known[column]) == np.sign(known[predicted]), known["seed"])


def of_the_slope(rows: pd.DataFrame) -> str:
    """Why the slope at zero does not give the leak's sign: the leak bends before it has grown."""
    known = rows[rows["fitted_leak"].notna()]
    agree = np.sign(known["predicted_leak"]) == np.sign(known["fitted_leak"])
    early = np.sign(known["early_leak"]) == np.sign(known["predicted_leak"])
    size = known["predicted_leak"].abs()
    return (
        "the slope is the first gradient's, whose gains and losses off the support nearly cancel, and training soon "
        "goes the way of the fitted direction: where the leaks of the two have one sign the early leak has it in "
        f"{early[agree].mean():.0%} of the runs, where they differ ({(~agree).mean():.0%} of all) it has the slope's "
        f"in {early[~agree].mean():.0%}; the slope is {size[early].median() / size[~early].median():.1f} times as "
        "large where it is right"
    )
