"""Part ``tabular``: the optimum on μ's support, and what the training of free logits does off it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from experiments.framework import Check
from experiments.policy_deviation.setting import Config, by_problem, path_of, problem_of
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.training import compared, deviation, link_log_ratio

EXACT = ("logistic", "squared", "exponential", "savage")
"""Losses of which the link's log-ratio is exact."""


def run(config: Config, loss: str) -> list[dict[str, Any]]:
    """The optimum on μ's support, and training of free logits off it."""
    rows = []
    for seed in config.problems:
        for uniform in (False, True):
            problem = problem_of(config, seed, uniform=uniform)
            on = compared(problem)
            for beta in config.betas:
                h = _limit(problem, loss, beta)
                guess = link_log_ratio(problem, loss, beta)
                trained = path_of(config, loss, problem, beta).final_policy
                moved = np.log(trained) - np.log(problem.reference)
                expected, after = deviation(problem, guess), deviation(problem, moved)
                found = replace(deviation(problem, h), largest_off=after.largest_off, mean_off=after.mean_off,
                                mass_off=after.mass_off)  # fmt: skip
                rows.append(
                    {"seed": seed, "beta": beta, "uniform": uniform}
                    | {name: getattr(found, name) for name in found.__dataclass_fields__}
                    | {f"predicted_{k}": getattr(expected, k) for k in ("largest_on", "mean_on", "largest_off")}
                    | {"spread_off": float(np.ptp(moved[~on])), "largest_rho": float(np.ptp(h[on])),
                       "predicted_rho": float(np.ptp(guess[on]))}
                )  # fmt: skip
    return rows


def _limit(problem: PreferenceProblem, loss: str, beta: float) -> FloatArray:
    """Where descent from πref of free logits ends: Σu stays 0 over the compared responses, and u = 0 off them."""
    on = compared(problem)
    part = PreferenceProblem(problem.preference[np.ix_(on, on)], problem.behavior[on])
    best = part.solve(loss, beta)
    inside = best.log_ratio if best.converged else best.representative
    u = np.zeros(problem.n)
    u[on] = inside - np.mean(inside)
    return u


def check(tabular: pd.DataFrame) -> list[Check]:
    """Size on the support by the link, and nothing off it."""
    checks = []
    for loss, rows in tabular.groupby("loss", sort=False):
        error = (rows["predicted_largest_on"] / rows["largest_on"] - 1.0).abs()
        ratio = (rows["largest_rho"] / rows["predicted_rho"]).groupby(rows["seed"]).mean()
        note = (
            f"mean error {mean_interval(error.groupby(rows['seed']).mean())}; "
            f"largest |ρ| over the link's {mean_interval(ratio)}"
        )
        if loss in EXACT:
            claim = f"{loss}: largest |log π/πref| on the support over the link's (largest error)"
            checks.append(theorem(Check.equal(claim, 0.0, float(error.max()), 1e-6, note=note)))
        else:
            claim = f"{loss}: largest |log π/πref| on the support, relative error of the link's (mean)"
            checks.append(Check.below(claim, 0.25, mean_interval(error.groupby(rows["seed"]).mean()), "problems"))
        checks.append(_scale(str(loss), rows))
    claim = "free logits: log π/πref off the support, spread (largest)"
    checks.append(theorem(Check.equal(claim, 0.0, float(tabular["spread_off"].max()), 1e-12)))
    level = tabular[tabular["uniform"].astype(bool)]
    gain = level["mass_off"] - level["reference_mass_off"]
    other = tabular[~tabular["uniform"].astype(bool)]
    more = other["mass_off"] - other["reference_mass_off"]
    grown, most = by_problem(more > 0, other["seed"]), float(more.max())
    claim = "free logits, uniform πref: mass gained off the support (largest)"
    note = f"πref not uniform: it grows in {grown} of the runs, most {most:.3g}"
    checks.append(theorem(Check.at_most(claim, 0.0, float(gain.max()), 1e-12, note=note)))
    return checks


def check_scale(tabular: pd.DataFrame) -> list[Check]:
    """The margins as 1/β, of the losses that are not the paper's: it holds of any f."""
    return [_scale(str(loss), rows) for loss, rows in tabular.groupby("loss", sort=False) if loss not in PAPER_LOSSES]


def _scale(loss: str, rows: pd.DataFrame) -> Check:
    scaled = rows["largest_rho"] * rows["beta"]
    spread = scaled.groupby([rows["seed"], rows["uniform"]]).agg(lambda x: np.ptp(x) / x.mean()).max()
    return theorem(Check.equal(f"{loss}: β × largest |ρ|, relative spread over β (largest)", 0.0, float(spread), 1e-6))


def theorem(check: Check) -> Check:
    """The same, marked as what only a bug can make fail."""
    return replace(check, nature="theorem")


def of_the_link(rows: pd.DataFrame) -> str:
    """Why a pair's link does not give hinge's margins: whole numbers cannot all be ±1 and add up."""
    parts = []
    for loss, one in rows[~rows["loss"].isin(EXACT)].groupby("loss", sort=False):
        largest = (one["beta"] * one["largest_rho"]).max()
        ratio = (one["largest_rho"] / one["predicted_rho"]).groupby(one["seed"]).mean()
        parts.append(f"{loss}: the largest |βρ| is up to {largest:.3g}, {mean_interval(ratio)} times the link's")
    return (
        "the link answers each pair alone, ρ is a difference of one value a response: where i beats j and j beats k by "
        "±1, as hinge's link has it, i beats k by 2. So the margins of hinge's optimum are whole numbers, "
        f"some beyond 1 ({'; '.join(parts)})"
    )
