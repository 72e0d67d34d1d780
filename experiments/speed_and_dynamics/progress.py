"""Part ``progress``: one problem over steps, for the figure; nothing is predicted of it."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpo_analysis as gpo
from experiments.speed_and_dynamics.setting import Config, distance, goal_of, problem_of
from gpo_analysis.training import local_rates

BETA = 0.3


def run(config: Config, seed: int) -> list[dict[str, Any]]:
    """Distance to the optimum and KL over steps, at one step of the clock s and at each loss's best step."""
    beta, problem, rows = BETA, problem_of(config, seed), []
    for loss in config.losses:
        goal, slope = goal_of(problem, loss, beta), abs(float(gpo.get_loss(loss).derivative(0.0, 1)))
        same = 0.5 / (beta**2 * slope)
        steps = {"same clock": same, "adam": 0.03}
        bends = gpo.get_loss(loss).curvature_ratio > 0
        steps["best step"] = local_rates(problem, loss, beta).best_step if bends else same
        for name, rate in steps.items():
            found = gpo.train(
                problem, loss, beta, optimizer="adam" if name == "adam" else "gd", learning_rate=rate, steps=600,
                keep=("logits",),
            )  # fmt: skip
            far = distance(np.asarray(found.logits), goal)
            shown = np.unique(np.geomspace(1, 600, 100).astype(int))
            rows += [
                {"loss": loss, "beta": beta, "schedule": name, "step": int(k), "distance": float(far[k] / far[0]),
                 "kl": float(found.columns["kl"][k])}
                for k in shown if k < len(far)
            ]  # fmt: skip
    return rows
