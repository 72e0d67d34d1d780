"""Part ``hinge``: no curvature, so the flow arrives in a finite time and descent rattles at a distance ∝ the step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from experiments.framework import Check
from experiments.speed_and_dynamics.setting import Config, distance, problem_of
from gpo_analysis.arrays import FloatArray
from gpo_analysis.statistics import mean_interval
from gpo_analysis.tables import find
from gpo_analysis.training import early_phase, pair_curvature


def run(config: Config, seed: int) -> list[dict[str, Any]]:
    """Finite arrival of the flow, and where descent with steps of three sizes rattles."""
    problem, rows = problem_of(config, seed), []
    for beta in config.betas:
        best = problem.solve("hinge", beta)
        goal, start = np.log(problem.reference) + best.log_ratio, early_phase(problem, "hinge", beta)
        gap = float(np.abs(pair_curvature("hinge", problem.preference, beta * _differences(best.log_ratio))).max())
        about = {"loss": "hinge", "beta": beta, "curvature": gap}
        if beta == config.betas[-1]:
            flow = gpo.train(problem, "hinge", beta, optimizer="flow", learning_rate=20.0 / beta**2, steps=100)
            excess = flow.columns["loss"] - best.population_loss
            arrived = np.flatnonzero(excess < 1e-9)
            least = float(distance(np.log(problem.reference), goal) / (start.speed * np.linalg.norm(start.direction)))
            rows.append(
                {**about, "optimizer": "flow", "arrival": 20.0 * arrived[0] if len(arrived) else np.inf,
                 "least_arrival": least * beta**2, "excess": float(excess[-1])}
            )  # fmt: skip
        for scale in (0.001, 0.01, 0.1):
            rate = scale / beta**2
            found = gpo.train(problem, "hinge", beta, learning_rate=rate, steps=1500, initial=goal, keep=("logits",))
            far = distance(np.asarray(found.logits)[-500:], goal)
            bound = 0.5 * rate * float(np.max(found.columns["gradient_norm"])) ** 2
            rows.append(
                {**about, "optimizer": "gd", "rate": rate, "scale": scale, "floor": float(np.median(far)),
                 "excess": float(np.min(found.columns["loss"][1:])) - best.population_loss, "bound": bound}
            )  # fmt: skip
    return rows


def _differences(values: FloatArray) -> FloatArray:
    return np.asarray(values[:, None] - values[None, :])


def check(config: Config, rows: pd.DataFrame) -> list[Check]:
    """No curvature, a finite arrival, and a floor proportional to the step."""
    flow, descent = find(rows, optimizer="flow"), find(rows, optimizer="gd")
    slopes = floor_slopes(descent)
    return [
        replace(
            Check.equal("hinge: curvature at the optimum", 0.0, float(rows["curvature"].max()), 0.0), nature="theorem"
        ),
        Check.at_most(
            "hinge: excess loss of the flow after a finite time",
            1e-9,
            float(flow["excess"].max()),
            note=f"arrival, in 1/β²: {arrivals(flow)}",
        ),
        Check.at_least(
            "hinge: arrival over the least time the first slope allows (least)",
            1.0,
            float((flow["arrival"] / flow["least_arrival"]).min()),
            note="the flow never speeds up: time ≥ distance / first speed",
        ),
        Check.at_most(
            "hinge: least excess loss of descent over lr·G²/2 (largest)",
            1.0,
            float((descent["excess"] / descent["bound"]).max()),
            note="from the optimum on; G, the largest gradient met",
        ),
        Check.within(
            "hinge: power of the step in the distance at which descent rattles", 1.0,
            mean_interval(slopes.groupby("seed").mean()), 0.2, "problems",
        ),
    ]  # fmt: skip


def arrivals(flow: pd.DataFrame) -> str:
    """Median and range of hinge's times of arrival, in words."""
    times = flow["arrival"]
    return f"{times.median():.3g} (median; {times.min():.3g} to {times.max():.3g} over problems)"


def floor_slopes(rows: pd.DataFrame) -> pd.Series:
    """Slope of log floor over log learning rate, a number each loss, β and seed."""
    return rows.groupby(["loss", "beta", "seed"])[["rate", "floor"]].apply(
        lambda g: float(np.polyfit(np.log(g["rate"].astype(float)), np.log(g["floor"].astype(float)), 1)[0])
    )


def late_arrivals(config: Config, rows: pd.DataFrame) -> str:
    """When the flow arrives where it had not after 2,000/β², and how slowly it goes there."""
    flow, words = find(rows, optimizer="flow"), []
    for seed in flow.loc[~np.isfinite(flow["arrival"]), "seed"]:
        problem, beta = problem_of(config, int(seed)), config.betas[-1]
        best = problem.solve("hinge", beta).population_loss
        path = gpo.train(problem, "hinge", beta, optimizer="flow", learning_rate=100.0 / beta**2, steps=200)
        excess = path.columns["loss"] - best
        arrived = np.flatnonzero(excess < 1e-9)
        falls = -np.diff(excess[20:]) / 100.0
        speed = float(falls[falls > 0].max()) / beta**2
        when = f"at {100 * arrived[0]:,.0f}/β²" if len(arrived) else "not within 20,000/β²"
        words.append(f"problem {seed}: it arrives {when}, its excess loss falling by {speed:.2g}β² a unit of time")
    return (
        "a finite time, but longer than the 2,000/β² that were looked at: on a face where the pairs' forces nearly "
        f"balance the flow goes at a constant speed, as small as what is left of them ({'; '.join(words)}; median "
        f"arrival {flow['arrival'].median():.3g}/β²)"
    )
