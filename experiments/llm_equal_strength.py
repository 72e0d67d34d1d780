"""Does KL as a function of βκ fall on one curve, and are the best β in the ratio κ_b/κ_a?

To leading order in the margin β_a κ_a = β_b κ_b regularizes alike (derived from the expansion of Tang et al., arXiv
2402.05749). Predicted ratios of KL to the logistic loss's at equal βκ: 1 to leading order, and those of the population
optimum (`experiments._llm`), which knows the tails. Measured: the policies after training. At small βκ every f is
linear over a whole run, and Adam removes the scale of its gradient: agreement there is trivial and marked "limited by
the learning rate"; hinge, whose κ is 0, has β on the axis and is drawn, not compared. Settings ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from experiments._llm import Study, StudyConfig, study_cells
from experiments._losses import CURVED
from experiments.framework import Check
from gpo_analysis.tables import find

CLAIM = "At equal βκ the losses with κ > 0 reach like KL while margins are small, and part where their tails begin."
FIGURE = "llm-equal-strength"

KAPPA = {name: float(gpo.get_loss(name).curvature_ratio) for name in CURVED}


@dataclass(frozen=True)
class Config(StudyConfig):
    """Which study is read, and when margins count as small.

    Parameters
    ----------
    study : str
        Name of a preset of `python -m llm`.
    small : float
        Largest 90 % quantile of κ|βρ| at which agreement is expected.
    prompts : int
        Prompts of the population optimum.
    resamples, seed : int
        Of the bootstrap over the noise of win rates, for the best β.
    """

    small: float = 0.5
    prompts: int = 64
    resamples: int = 2000
    seed: int = 0


cells = study_cells
PRESETS = {"quick": Config(), "paper": Config(study="small", prompts=256)}


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """Measured policies after their last step, the population optimum's, and the best strength of each loss."""
    study = Study.find(config.study, sha256)
    rows = study.last
    columns = ["loss", "strength", "beta", "seed", "kl", "kl_stderr", "win_rate", "win_rate_low", "win_rate_high"]
    columns += ["margin_q50", "margin_q90", "relative_error_1", "signature", "mean_rho"]
    measured = rows[columns].assign(kind="measured")
    predicted = study.optimum(config.prompts, rows)
    rng = np.random.default_rng(config.seed)
    best = pd.DataFrame([_best(name, part, config.resamples, rng) for name, part in rows.groupby("loss", sort=False)])
    return pd.concat([measured, predicted, best], ignore_index=True)


def _best(name: str, rows: pd.DataFrame, resamples: int, rng: np.random.Generator) -> dict[str, Any]:
    """Strength of greatest win rate, from a parabola in log β through the best point and its neighbours."""
    table = rows.groupby("strength")[["win_rate", "win_rate_low", "win_rate_high", "beta"]].mean().sort_index()
    x = np.log(table.index.to_numpy(dtype=float))
    noise = (table["win_rate_high"] - table["win_rate_low"]).to_numpy() / 3.92 / np.sqrt(rows["seed"].nunique())
    y = table["win_rate"].to_numpy()
    drawn = [_peak(x, y + noise * rng.normal(size=len(y))) for _ in range(resamples)]
    low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
    peak = float(np.exp(_peak(x, y)))
    scale = float(table["beta"].iloc[0] / table.index[0])  # β over strength: 1/κ
    at_edge = bool(np.argmax(y) in (0, len(y) - 1))
    return {
        "kind": "best", "loss": name, "strength": peak, "strength_low": float(low), "strength_high": float(high),
        "beta": peak * scale, "at_edge": at_edge,
    }  # fmt: skip


def _peak(x: np.ndarray, y: np.ndarray) -> float:
    """Where the parabola through the highest point and its neighbours is highest; the point itself at an edge.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0])
    >>> round(_peak(x, -((x - 1.2) ** 2)), 6)
    1.2
    """
    top = int(np.argmax(y))
    if top in (0, len(y) - 1):
        return float(x[top])
    a, b, _ = np.polyfit(x[top - 1 : top + 2], y[top - 1 : top + 2], 2)
    return float(np.clip(-b / (2 * a), x[top - 1], x[top + 1])) if a < 0 else float(x[top])


def ratios(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """KL over the logistic loss's at the same strength and seed, and the larger of the two scaled margins."""
    rows = table[(table["kind"] == kind) & table["loss"].isin(list(KAPPA))]
    keys = ["strength"] if kind == "predicted" else ["strength", "seed"]
    base, others = find(rows, loss="logistic"), rows[rows["loss"] != "logistic"]
    joined = others.merge(base, on=keys, suffixes=("", "_logistic"))
    scaled = joined["margin_q90"] * joined["loss"].astype(object).map(KAPPA).astype(float)
    largest = np.maximum(scaled, joined["margin_q90_logistic"] * KAPPA["logistic"])
    linear = joined["signature"].fillna("").str.contains("learning rate")
    return joined.assign(ratio=joined["kl"] / joined["kl_logistic"], scaled_margin=largest, linear=linear)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Ratios of KL within small margins and beyond, the order of the tails, and the best β."""
    measured, predicted = ratios(table, "measured"), ratios(table, "predicted")
    checks = []
    small = measured[measured["scaled_margin"] <= config.small]
    claim = f"largest |log ratio| of KL to logistic's at equal βκ while κ|βρ| ≤ {config.small:g} (90 % quantile)"
    trivial = f"{int(small['linear'].sum())} of {len(small)} are limited by the learning rate, trivially alike"
    if len(small):
        worst = float(np.abs(np.log(small["ratio"])).max())
        # f′(z)/f′(0) = 1 − κz + …: cells whose κz differ by δ in the third order part by about κ²z² relative
        checks.append(Check.at_most(claim, 0.0, worst, config.small**2 + 0.2, note=trivial))
    else:
        checks.append(Check.not_run(claim, 0.0, "no policy has margins that small"))
    strongest = measured["strength"].max()
    for name, part in find(measured, strength=strongest).groupby("loss", sort=False):
        theory = find(predicted, strength=strongest, loss=name)["ratio"].iloc[0]
        found = float(np.exp(np.log(part["ratio"]).mean()))
        checks.append(
            Check.equal(
                f"{name}: KL over logistic's at βκ = {strongest:g}, against the population optimum's", float(theory),
                found, 0.3, relative=True, note="largest strength of the grid: nearest to its optimum after few steps",
            )
        )  # fmt: skip
    best = find(table, kind="best").set_index("loss")
    if "logistic" in best.index:
        for name in (loss for loss in best.index if loss in KAPPA and loss != "logistic"):
            one, other = best.loc[name], best.loc["logistic"]
            theory = KAPPA["logistic"] / KAPPA[name]
            low, high = np.array([one["strength_low"], one["strength_high"]]) / other["strength"] * theory
            apart = bool(one["strength_low"] > other["strength_high"] or one["strength_high"] < other["strength_low"])
            edge = "; best at an edge of the grid" if one["at_edge"] or other["at_edge"] else ""
            shown = f"measured {one['beta'] / other['beta']:.3g}, roughly [{low:.3g}, {high:.3g}]{edge}"
            checks.append(
                Check.text(
                    f"best β of {name} over logistic's is κ_b/κ_a = {theory:g}: intervals of the best βκ", "overlap",
                    "apart" if apart else "overlap", note=shown,
                )
            )  # fmt: skip
    return checks


def summary(config: Config, table: pd.DataFrame) -> str:
    """Where KL agrees, where it parts, and the best β."""
    measured, predicted = ratios(table, "measured"), ratios(table, "predicted")
    small = measured[(measured["scaled_margin"] <= config.small)]
    open_ = small[~small["linear"]]
    strongest = measured["strength"].max()
    there = find(measured, strength=strongest).groupby("loss", sort=False)["ratio"].agg(["mean", "min", "max"])
    wanted = find(predicted, strength=strongest).set_index("loss")["ratio"]
    shown = "; ".join(f"{name} {row['mean']:.2f} (optimum {wanted[name]:.2f})" for name, row in there.iterrows())
    best = find(table, kind="best")
    tops = ", ".join(
        f"{row.loss} {row.strength:.2g} [{row.strength_low:.2g}, {row.strength_high:.2g}]" for row in best.itertuples()
    )
    span = f"{open_['ratio'].min():.2f} to {open_['ratio'].max():.2f}" if len(open_) else "none to compare"
    worst = float(np.exp(np.abs(np.log(measured["ratio"])).max()))
    held = f"{small['ratio'].min():.2f} to {small['ratio'].max():.2f}" if len(small) else "none"
    return (
        f"Study {config.study}: {len(measured)} comparisons with the logistic loss at equal βκ. While the 90 % "
        f"quantile of "
        f"κ|βρ| is at most {config.small:g}, {len(small)} comparisons have KL ratios of {held}, but "
        f"{int(small['linear'].sum())} of them are limited by the learning rate, alike whatever f; the others: "
        f"{span}. At "
        f"the largest strength, {strongest:g}, KL over logistic's is {shown}. Best βκ (hinge: β) with intervals "
        f"over the "
        f"noise of win rates: {tops}. f″(0) puts the losses on one axis to within a factor of {worst:.2f} in KL "
        f"here; what "
        "it cannot say is how far their tails let policies go."
    )
