"""Win rate against KL for the six losses on a trained language model: one trade-off or several?

Tang et al. (arXiv 2402.05749) find that variants trace a similar trade-off and reach about the same win rate once β is
tuned. Here policies are trained on pairs labelled by a gold reward; win rate is against πref, by the gold reward, a tie
half; KL(πθ‖πref) is measured on-policy. Settings ours. Predicted by the population optimum on samples of πref
(`experiments._llm`); best-of-n of πref is the baseline, its KL the upper bound log n − (n−1)/n.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from experiments._llm import (
    Study,
    StudyConfig,
    at_kl,
    best_rows,
    beyond_these_pairs,
    last_rows,
    per_seed,
    seeds_of,
    standard_error,
    study_cells,
    without_runaways,
)
from experiments.framework import Check
from gpo_analysis.statistics import mean_interval
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
    margin : float
        Largest distance from the mean over losses that "one trade-off" allows.
    prompts : int
        Prompts of the population optimum.
    """

    levels: tuple[float, ...] = (0.1, 0.3, 1.0)
    margin: float = 0.03
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


RESTATED = "November 2026: each loss against their mean, ±{:g}; the first form allowed whatever the noise was"


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Spread at equal KL, at the best β, the direction of the trade-off, and best-of-n, each over seeds."""
    whole, predicted = last_rows(find(table, kind="measured")), find(table, kind="predicted")
    measured = without_runaways(whole)
    over, left = seeds_of(measured), len(whole) - len(measured)
    note = f"{left} of {len(whole)} policies ran away and are left out; seeds share prompts, samples and labels"
    parts = {}
    for level in config.levels:
        theory = at_level(predicted, level)
        theory = theory - theory.mean()
        found = pd.DataFrame([at_level(part, level) for _, part in measured.groupby("seed")]).dropna(axis="columns")
        gaps = found.sub(found.mean(axis=1), axis=0)
        for loss in gaps:
            wanted = float(theory.get(loss, 0.0)) if np.isfinite(theory.get(loss, 0.0)) else 0.0
            parts[f"{loss}, KL {level:g}"] = beyond_these_pairs(
                lambda found, at=wanted: Check.within("gap", at, found, config.margin, over), mean_interval(gaps[loss])
            )  # type: ignore[misc]
    claim = f"one trade-off: win rates of losses at equal KL less their mean, within {config.margin:g} of the optimum's"
    checks = [
        Check.each(claim, parts, note=note).as_restated(RESTATED.format(config.margin))
        if parts
        else Check.not_run(claim, 0.0, "no KL is reached by every seed of a loss")
    ]
    best = best_rows(measured).pivot_table(index="seed", columns="loss", values="win_rate")
    gaps = best.sub(best.mean(axis=1), axis=0)
    alike = {
        str(loss): beyond_these_pairs(
            lambda found: Check.within("gap", 0.0, found, config.margin, over), mean_interval(gaps[loss])
        )
        for loss in gaps
    }
    claim = f"best win rates of the losses less their mean, within {config.margin:g}; β is chosen where it is judged"
    checks.append(Check.each(claim, alike, note=note).as_restated(RESTATED.format(config.margin)))
    claim = "as β falls the win rate does not: at the smallest strength less the next, mean over losses"
    rises = beyond_these_pairs(lambda found, c=claim: Check.above(c, 0.0, found, over), per_seed(measured, fall))  # type: ignore[misc]
    checks.append(replace(rises, note=note))
    excess = best_of_n_excess(table)
    claim = "win rate of policies less best-of-n's at the same KL, mean over policies"
    less = per_seed(excess, lambda rows: float(rows["excess"].mean()))
    checks.append(beyond_these_pairs(lambda found: Check.below(claim, 0.0, found, over), less))
    return checks


def at_level(rows: pd.DataFrame, level: float) -> pd.Series[float]:
    """Win rate at a KL by loss; NaN where its policies do not reach it."""
    return pd.Series({str(loss): at_kl(part, level) for loss, part in rows.groupby("loss", sort=False)}, dtype=float)


def fall(measured: pd.DataFrame) -> float:
    """Mean over losses of the win rate at the smallest strength less that at the next."""
    means = measured.groupby(["loss", "strength"])["win_rate"].mean().unstack()
    return float((means.iloc[:, 0] - means.iloc[:, 1]).mean())


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
    first = check(config, table)[0]
    last = {
        "holds": "The losses share one trade-off in this study; where a policy lies on it is β's doing.",
        "contradicted": "The losses do not share one trade-off in this study.",
    }.get(first.verdict, f"Whether the losses share one trade-off {seeds_of(measured)} do not decide.")
    kept = without_runaways(measured)
    return (
        f"Study {config.study}: {len(measured)} policies, {measured['seed'].nunique()} seed(s). The best win rate over "
        f"πref is {top['win_rate']:.3f} [{top['win_rate_low']:.3f}, {top['win_rate_high']:.3f}], of {winner} at KL "
        f"{top['kl']:.2f} nats; the other losses' best lie between {others.min():.3f} and {others.max():.3f}. "
        f"Range of win rates between losses: {ranges}. Without the {len(measured) - len(kept)} that ran away "
        f"the win rate at the smallest strength is {fall(kept):+.3f} from that at the next, on average over losses. "
        "Best-of-n is above "
        f"{(excess['excess'] < 0).mean():.0%} of the {len(excess)} policies it reaches. Signatures: {shown}. {last}"
    )
