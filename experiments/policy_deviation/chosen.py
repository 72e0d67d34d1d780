"""Part ``chosen``: log-probability of the chosen responses, its first derivative and its end, for four settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from experiments.framework import Check
from experiments.policy_deviation.setting import Config, features_of, problem_of, slope_of
from gpo_analysis.arrays import FloatArray
from gpo_analysis.statistics import Interval, share_interval
from gpo_analysis.tables import find
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.training import chosen_slope, link_log_ratio


def run(config: Config, loss: str) -> list[dict[str, Any]]:
    """Log-probability of the chosen responses: its first derivative and its end, for four settings."""
    rows = []
    for seed in range(config.seeds):
        phi = features_of(config, seed)
        for matched in (True, False):
            problem = problem_of(config, seed, matched=matched)
            data = PreferenceProblem.from_comparisons(problem.sample(config.labels, seed=seed), problem.reference)
            for policy, features in (("tabular", None), ("features", phi)):
                for target, source in (("population", problem), ("sample", data)):
                    slope = chosen_slope(source, features)
                    for beta in config.betas:
                        exact = policy == "tabular" and target == "population"
                        rest = _resting_change(problem, loss, beta) if exact else float("nan")
                        rows.append(
                            {"seed": seed, "beta": beta, "predicted_change": rest, "matched": matched,
                             "policy": policy, "target": target,
                             "predicted_slope": slope} | _rise(config, loss, source, features, beta)
                        )  # fmt: skip
    return rows


def _resting_change(problem: PreferenceProblem, loss: str, beta: float) -> float:
    """Σ W_i log π_i/πref_i at the log-ratios that the link predicts: where the chosen's log-probability ends."""
    pairs, h = problem.directed_pairs(), link_log_ratio(problem, loss, beta)
    return float(pairs.weight @ h[pairs.winner] / pairs.weight.sum())


def _rise(
    config: Config, loss: str, source: PreferenceProblem, features: FloatArray | None, beta: float
) -> dict[str, float]:
    slope = slope_of(loss)

    def chosen(clock: float, steps: int) -> tuple[float, float]:
        rate = clock / (beta**2 * slope)
        path = gpo.train(source, loss, beta, learning_rate=rate, steps=steps, features=features, record_every=steps)
        log = path.columns["chosen_logp"]
        return float(log[-1] - log[0]), rate * steps

    early, time = chosen(1e-5, 1)
    return {"early_slope": early / (time * beta * slope), "change": chosen(0.4, config.steps)[0]}


def check(rows: pd.DataFrame) -> list[Check]:
    """The first slope, what it says of the end, and who falls."""
    matched = rows["matched"].astype(bool)
    error = (rows["early_slope"] - rows["predicted_slope"]).abs() / rows["predicted_slope"].abs().groupby(
        rows["policy"]
    ).transform("median")
    population = rows[matched & (rows["target"] == "population")]
    away = rows[~matched]
    same = int((np.sign(away["change"]) == np.sign(away["predicted_slope"])).sum())
    checks = [
        Check.equal(
            "chosen: first slope over β|f′(0)| against its prediction (largest error over the median slope)",
            0.0,
            float(error.max()),
            0.01,
            note=f"{len(rows)} runs",
        ),
        Check.at_least(
            "chosen: pairs drawn from πref, the first slope (least)",
            0.0,
            float(population["early_slope"].min()),
            note=f"{len(population)} runs",
        ),
        Check.at_least(
            "chosen, μ elsewhere: change at the end has the sign of the first slope (share of runs)",
            0.7,
            same / len(away),
            note=str(share_interval(same, len(away))),
        ),
    ]
    resting = away.dropna(subset=["predicted_change"])
    hits = int((np.sign(resting["change"]) == np.sign(resting["predicted_change"])).sum())
    shares = {
        (policy, target): str(fallen(group))
        for (policy, target), group in away.groupby(["policy", "target"], sort=False)
    }
    note = "; ".join(f"{policy}, {target} {share}" for (policy, target), share in shares.items())
    free, linear = (fallen(find(away, policy=policy)).value for policy in ("tabular", "features"))
    checks += [
        Check.at_least(
            "chosen, μ elsewhere, free logits: the end has the sign of Σ W log π/πref at z*(η)/β (share of runs)",
            0.9,
            hits / len(resting),
            note=f"{share_interval(hits, len(resting))}; added once the first slope had failed as a predictor",
        ),
        Check.at_least(
            "chosen, μ elsewhere: share ending lower, features less free logits",
            0.0,
            linear - free,
            note=f"{note}; seen in a first run",
        ),
    ]
    return checks


def fallen(rows: pd.DataFrame) -> Interval:
    """Share of runs that end with less probable chosen responses."""
    return share_interval(int((rows["change"] < 0).sum()), len(rows))
