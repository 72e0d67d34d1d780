"""Part ``early``: the start, where every f moves alike on the clock s = β²|f′(0)|t, and κ is what shows first of f."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from experiments.framework import Check
from experiments.speed_and_dynamics.setting import Config, farthest, problem_of
from gpo_analysis.training import early_phase, logit_hessian


def run(config: Config, seed: int) -> list[dict[str, Any]]:
    """The flow to s = 0.02 (0.02 β for β < 1): KL over its prediction, and κ read off the curve."""
    problem = problem_of(config, seed)
    unit = logit_hessian(problem, "squared", 1.0) / 2.0
    rows = []
    for loss in config.losses:
        for beta in config.betas:
            start, s = early_phase(problem, loss, beta), 0.02 * min(1.0, beta)  # log-ratios go as s/β
            time = s / (beta * start.speed)
            found = gpo.train(problem, loss, beta, optimizer="flow", learning_rate=time, steps=1, keep=("logits",))
            moved = beta * (np.asarray(found.logits)[1] - np.log(problem.reference))
            second = unit @ start.direction
            rows.append(
                {"loss": loss, "beta": beta,
                 "kl_over_predicted": found.columns["kl"][1] / start.kl_coefficient / time**2,
                 "kappa": float(gpo.get_loss(loss).curvature_ratio),
                 "kappa_measured": float(-2 * (moved - s * start.direction) @ second / (s**2 * second @ second))}
            )  # fmt: skip
    return rows


def check(config: Config, early: pd.DataFrame) -> list[Check]:
    """KL at the start, and κ read off the curve."""
    start, error = farthest(early["kl_over_predicted"]), (early["kappa_measured"] - early["kappa"]).abs().max()
    checks = [
        Check.equal("start: KL over ½s²Var(d)/β², every f and β (farthest from 1)", 1.0, start, 0.03),
        Check.at_most("start: κ read off the curve, largest error", 0.02, float(error)),
    ]
    return [replace(check, nature="theorem") for check in checks]
