"""Win rate against KL for the six losses on a trained language model: one trade-off or several?

Tang et al. (arXiv 2402.05749) find that variants trace a similar trade-off and reach about the same win rate once β is
tuned. Here policies are trained on pairs labelled by a gold reward; win rate is against πref, by the gold reward, a tie
half; KL(πθ‖πref) is measured on-policy. Settings ours. Predicted by the population optimum on samples of πref
(`experiments._llm`); best-of-n of πref is the baseline, its KL the upper bound log n − (n−1)/n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments._llm import Study, StudyConfig, at_kl, best_rows, last_rows, standard_error, study_cells
from experiments.framework import Check
from gpo_analysis.tables import find

CLAIM = "On trained language models the six losses trace about one trade-off of win rate against KL, below best-of-n."
FIGURE = "llm-frontier"

COLUMNS = [
    "loss", "strength", "beta", "seed", "arm", "step", "kl", "kl_stderr", "win_rate", "win_rate_low", "win_rate_high",
    "ties", "human_win_rate", "human_win_rate_low", "human_win_rate_high", "length", "length_controlled_win_rate",
    "reward_mean", "signature",
]  # fmt: skip


@dataclass(frozen=True)
class Config(StudyConfig):
    """Which study is read, and where the trade-offs are compared.

    Parameters
    ----------
    study : str
        Name of a preset of `python -m llm`.
    levels : tuple of float
        Values of KL, in nats, at which win rates of the losses are compared.
    prompts : int
        Prompts of the population optimum.
    """

    levels: tuple[float, ...] = (0.1, 0.3, 1.0)
    prompts: int = 64


cells = study_cells
PRESETS = {"quick": Config(), "paper": Config(study="small", prompts=256)}


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """Measured rows, the population optimum's and best-of-n's."""
    study = Study.find(config.study, sha256)
    table = study.sweep
    measured = table[COLUMNS].assign(kind="measured", study=config.study)
    predicted = study.optimum(config.prompts, table)
    return pd.concat([measured, predicted, study.best_of_n()], ignore_index=True)


def spread(rows: pd.DataFrame, kl: float) -> tuple[float, int]:
    """Largest difference of win rates between losses at a KL, and how many losses reach it."""
    values = [value for _, part in rows.groupby("loss") if not np.isnan(value := at_kl(part, kl))]
    return (max(values) - min(values), len(values)) if len(values) > 1 else (float("nan"), len(values))


def best_of_n_excess(table: pd.DataFrame) -> pd.DataFrame:
    """Measured win rates minus best-of-n's at the same KL, where best-of-n reaches it, with standard errors."""
    rows = last_rows(find(table, kind="measured"))
    best = find(table, kind="best_of_n").sort_values("kl")
    rows = rows[(rows["kl"] <= best["kl"].max())]
    at = np.interp(rows["kl"], best["kl"], best["win_rate"])
    noise = np.hypot(standard_error(rows), float(standard_error(best).mean()))
    return rows.assign(excess=rows["win_rate"] - at, noise=noise)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Spread at equal KL, at the best β, the direction of the trade-off, and best-of-n."""
    measured = last_rows(find(table, kind="measured"))
    predicted = find(table, kind="predicted")
    noise = float(standard_error(measured).mean())
    seeds = measured["seed"].nunique()
    # the range of six means of independent noise σ has mean 2.53 σ and 95 % quantile 4.03 σ (studentized range)
    allowance = 4.03 * noise / np.sqrt(seeds)
    checks = []
    for level in config.levels:
        (theory, _), (found, count) = spread(predicted, level), spread(measured, level)
        claim = f"range of win rates between losses at KL = {level:g}: the optimum's, and noise"
        if np.isnan(theory) or np.isnan(found):
            why = f"{count} losses reach this KL when trained; the optimum's range is {theory:.3g}"
            checks.append(Check.not_run(claim, theory, why))
        else:
            note = f"{count} losses; the noise of an interval over prompts allows {allowance:.3f}"
            checks.append(Check.at_most(claim, theory, found, allowance, note=note))
    best = best_rows(measured).groupby("loss", sort=False)["win_rate"].mean()
    checks.append(
        Check.at_most(
            "range of the losses' best win rates: none but noise", 0.0, float(best.max() - best.min()), allowance,
            note=", ".join(f"{loss} {value:.3f}" for loss, value in best.items()),
        )
    )  # fmt: skip
    checks.append(
        Check.at_least(
            "the optimum's win rate rises as β falls: win rate at the smallest strength less the best one", 0.0,
            float(fall(measured)), 2 * noise, note="a population optimum cannot over-optimise; a trained policy can",
        )
    )  # fmt: skip
    excess = best_of_n_excess(table)
    worst = excess.loc[(excess["excess"] / excess["noise"]).idxmax()]
    checks.append(
        Check.at_most(
            "a policy's win rate above best-of-n's at the same KL", 0.0, float(worst["excess"]),
            2.9 * float(worst["noise"]),
            note=f"{worst['loss']} at strength {worst['strength']:g}, the largest of {len(excess)} in standard errors; "
            "best-of-n's KL is an upper bound, its curve lies to the right of the truth",
        )
    )  # fmt: skip
    return checks


def fall(measured: pd.DataFrame) -> float:
    """Mean over losses of the win rate at the smallest strength less that at the best."""
    means = measured.groupby(["loss", "strength"])["win_rate"].mean().unstack()
    return float((means[means.columns.min()] - means.max(axis=1)).mean())


def summary(config: Config, table: pd.DataFrame) -> str:
    """Numbers of the trade-off, in words."""
    measured = last_rows(find(table, kind="measured"))
    predicted = find(table, kind="predicted")
    tops = best_rows(measured).groupby("loss", sort=False)[["win_rate", "win_rate_low", "win_rate_high", "kl"]].mean()
    winner = tops["win_rate"].idxmax()
    top, others = tops.loc[winner], tops["win_rate"].drop(winner)
    at = [(level, spread(predicted, level)[0], *spread(measured, level)) for level in config.levels]
    reached = [one for one in at if np.isfinite(one[2])]
    told_at = [f"{found:.3f} at KL {k:g} ({n} losses; optimum {theory:.3f})" for k, theory, found, n in reached]
    ranges = "; ".join(told_at).replace("nan", "out of its range") or "no KL is reached by two of them"
    excess = best_of_n_excess(table)
    words = measured["signature"].str.split("; ").explode().value_counts()
    shown = ", ".join(f"{word} {number}" for word, number in words.items() if word != "none") or "none"
    noise = 4.03 * float(standard_error(measured).mean())
    one = all(np.isnan(found) or np.isnan(theory) or found <= theory + noise for _, theory, found, _ in at)
    last = (
        "So far as this study can tell the losses share one trade-off; where a policy lies on it is β's doing."
        if one
        else "The losses do not share one trade-off in this study: at equal KL they differ by more than noise."
    )
    return (
        f"Study {config.study}: {len(measured)} policies, {measured['seed'].nunique()} seed(s). The best win rate over "
        f"πref is {top['win_rate']:.3f} [{top['win_rate_low']:.3f}, {top['win_rate_high']:.3f}], of {winner} at KL "
        f"{top['kl']:.2f} nats; the other losses' best lie between {others.min():.3f} and {others.max():.3f}. "
        f"Range of win rates between losses: {ranges}. At the smallest strength the win rate is {-fall(measured):.3f} "
        "below the best on average over losses, which the population optimum does not foresee. Best-of-n is above "
        f"{(excess['excess'] < 0).mean():.0%} of the {len(excess)} policies it reaches. Signatures: {shown}. {last}"
    )
