"""When does the expansion to second order predict the training of a language model, and how fast do losses train?

The gradient of E[f(βρ)] has weights f′(βρ) on β∇ρ; its second-order expansion (Tang et al., arXiv 2402.05749) has
f′(0) + f″(0)βρ. Predicted from f and the margins of the held-out pairs alone, no model: the relative error of these
weights, in root mean square over pairs; and that beyond its radius the series gets worse with its order. Measured: the
gradients of the whole model on held-out pairs, all through training. Settings ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from experiments._llm import Study, StudyConfig, per_seed, seeds_of, study_cells
from experiments.framework import Check
from gpo_analysis.statistics import mean_share_interval
from gpo_analysis.tables import find

CLAIM = "The second-order gradient is the true one while |βρ| is small, and fails as margins near the Taylor radius."
FIGURE = "llm-taylor"


@dataclass(frozen=True)
class Config(StudyConfig):
    """Which study is read.

    Parameters
    ----------
    study : str
        Name of a preset of `python -m llm`.
    small : float
        Largest 90 % quantile of |βρ| at which the expansion is expected to hold.
    """

    small: float = 0.5


cells = study_cells
PRESETS = {"quick": Config(), "paper": Config(study="small")}


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """Errors of the expansions at every checkpoint, and the traces of training."""
    study = Study.find(config.study, sha256)
    table = study.sweep
    table = find(table, arm="fresh")
    columns = ["loss", "strength", "beta", "seed", "step", "kl", "margin_q50", "margin_q90", "margin_q99"]
    columns += ["beyond_taylor", "gradient_norm", "mean_rho", "held_out_loss", "loss_at_zero", "signature"]
    columns += [f"{name}_{order}" for name in ("cosine", "relative_error") for order in (1, 2, 4)]
    gradients = table[columns].assign(kind="gradient")
    gradients["predicted_error_2"] = table["weight_error_2"]
    trace = study.trace
    trace = find(trace, arm="fresh", seed=trace["seed"].min())
    kept = trace[["loss", "strength", "beta", "seed", "step", "loss_value", "mean_rho", "mu_squared_loss"]]
    return pd.concat([gradients, kept.assign(kind="trace")], ignore_index=True)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Small margins, the exact loss, the order along margins, the predicted size, and beyond the radius."""
    rows = find(table, kind="gradient")
    over = seeds_of(rows)
    small = rows[(rows["margin_q90"] <= config.small) & (rows["loss"] != "hinge")]
    claim = f"relative error at second order while the 90 % quantile of |βρ| is ≤ {config.small:g}, largest"
    worst = per_seed(small, lambda part: float(part["relative_error_2"].max()))
    note = f"{len(small)} checkpoints; the remainder of f′ is at most 0.125 |f′(0)| at z = ½ for e^−z"
    checks = [replace(Check.below(claim, 0.1, worst, over), note=note) if len(small) else
              Check.not_run(claim, 0.1, "no checkpoint has margins that small")]  # fmt: skip
    squared = find(rows, loss="squared")
    checks.append(
        Check.at_most(
            "squared: the expansion is the loss (relative error, float32)", 0.0,
            float(squared["relative_error_2"].max()), 1e-3, note=f"{len(squared)} checkpoints",
        ).as_theorem()
    )  # fmt: skip
    orders, sizes = {}, {}
    for name in ("logistic", "exponential", "savage"):
        part = find(rows, loss=name)
        if len(part) < 4:
            orders[name] = Check.not_run("correlation", 0.9, f"{len(part)} checkpoints")
            continue
        orders[name] = Check.above("correlation", 0.9, per_seed(part, _correlation), over)
        shown = part[(part["relative_error_2"] > 1e-3) & (part["relative_error_2"] < 3)]
        if len(shown):
            sizes[name] = Check.within("log ratio", 0.0, per_seed(shown, _size), float(np.log(3.0)), over)
    checks.append(Check.each("rank correlation of the error with the 90 % quantile of |βρ|: above 0.9", orders))
    claim = "measured over predicted error of the weights, log of the median: within a factor of 3"
    if sizes:
        checks.append(Check.each(claim, sizes, note="gradients of pairs add up, errors may cancel"))
    else:
        checks.append(Check.not_run(claim, 0.0, "no checkpoint has an error between 0.001 and 3"))
    beyond = rows[(rows["beyond_taylor"] > 0.25) & rows["loss"].isin(["logistic", "savage"])]
    claim = "logistic, Savage: fourth order is worse than second where over a quarter of |βρ| is beyond the radius"
    if len(beyond):
        worse = (beyond["relative_error_4"] > beyond["relative_error_2"]).groupby(beyond["seed"]).mean()
        checks.append(Check.above(f"{claim} (share)", 0.9, mean_share_interval(worse), over))
    else:
        checks.append(Check.not_run(claim, 0.9, "no checkpoint has that many margins beyond π"))
    return checks


def _correlation(rows: pd.DataFrame) -> float:
    return float(spearmanr(rows["margin_q90"], rows["relative_error_2"]).statistic)


def _size(rows: pd.DataFrame) -> float:
    return float(np.log(np.median(rows["relative_error_2"] / rows["predicted_error_2"])))


def progress(table: pd.DataFrame) -> pd.DataFrame:
    """Steps in which the mean margin of training batches first reaches half its final value, for each policy."""
    rows = find(table, kind="trace")
    found = []
    for (loss, strength), part in rows.groupby(["loss", "strength"], sort=False):
        part = part.sort_values("step")
        level = part["mean_rho"].rolling(3, min_periods=1).mean()
        half = 0.5 * float(level.iloc[-3:].mean())
        reached = part.loc[level >= half, "step"] if half > 0 else part["step"].iloc[:0]
        found.append({"loss": loss, "strength": strength, "half": float(reached.iloc[0]) if len(reached) else np.nan})
    return pd.DataFrame(found)


def summary(config: Config, table: pd.DataFrame) -> str:
    """Errors by margins, and how fast losses move."""
    rows = table[(table["kind"] == "gradient") & (table["loss"] != "hinge") & (table["loss"] != "squared")]
    parts = []
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 1.5), (1.5, 4.0), (4.0, np.inf)):
        part = rows[(rows["margin_q90"] > low) & (rows["margin_q90"] <= high)]
        if len(part):
            error, cosine = part["relative_error_2"].median(), part["cosine_2"].median()
            parts.append(f"({low:g}, {high:g}]: error {error:.2g}, cosine {cosine:.3f} ({len(part)})")
    speed = progress(table).groupby("loss", sort=False)["half"].median()
    pace = ", ".join(f"{loss} {value:.0f}" for loss, value in speed.items() if np.isfinite(value))
    linear = table["signature"].fillna("").str.contains("learning rate").sum()
    return (
        f"Study {config.study}: medians of relative error and cosine of the second-order gradient by the 90 % "
        f"quantile of "
        f"|βρ|, over losses but squared (exact) and hinge (linear until the kink): {'; '.join(parts)}. {linear} "
        f"checkpoints "
        f"are limited by the learning rate: f is linear there and any two losses give Adam the same steps. Median "
        f"step in "
        f"which half of the final margin is reached: {pace}. The direction survives longer than the size: it is "
        f"the size of "
        "the step, not where it points, that the expansion gets wrong first."
    )
