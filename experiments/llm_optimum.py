"""Is the population optimum reached? f → κ → exact policy → transformer, on fixed prompts with many samples each.

Each policy of ``python -m llm optimum`` (design and derivation: `llm.optimum`) is trained until gradient and KL rest on
soft labels of all pairs of samples of πref; predicted are KL, win rate and ½E_μ[ρ²] of the exact optimum of the very
problem it was trained on, with nothing fitted. Five seeds redraw πref, prompts, samples and order. Intervals are
two-way: seeds are drawn again, and prompts within them. Runaways are counted and enter no median. Predictions and what
refutes them: docs/predictions/llm-optimum.md. Settings ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from experiments._errors import restated_wider
from experiments._llm import PiecesStudy, provenance_of
from experiments._seeds import geometric_interval
from experiments.framework import UNKNOWN, Check
from gpo_analysis.arrays import FloatArray
from gpo_analysis.statistics import Interval, mean_interval, two_way

CLAIM = (
    "A transformer trained to rest has the KL and win rate of the exact optimum of its loss, at every β and convex f."
)
FIGURE = "llm-optimum"

CONVEX = ("logistic", "hinge", "squared", "exponential", "truncated_quadratic")
SMOOTH = tuple(name for name in CONVEX if name != "hinge")
LEFT_OUT = ("runaway", "stopped")
LEFT = 3.0
"""How many times logistic's share of the first gradient has to be left where training is called not at its end."""


@dataclass(frozen=True)
class Config:
    """Which study is read, and what was said of it beforehand.

    Parameters
    ----------
    study : str
        Folder that ``python -m llm optimum`` wrote, under that of GPO_LLM (default out/llm).
    least_strength : float
        Least βκ (hinge: β) of the claims.
    kl_tolerance, win_rate_tolerance, family_tolerance, unseen_tolerance : float
        Of the median \\|log(KL/KL*)\\|, of the win rate, of ratios of KL between losses, and on unseen samples.
    resamples, seed : int
        Of the two-way bootstrap.
    """

    study: str = "optimum-cpu"
    least_strength: float = 0.2
    kl_tolerance: float = 0.1
    win_rate_tolerance: float = 0.01
    family_tolerance: float = 0.05
    unseen_tolerance: float = 0.25
    resamples: int = 1000
    seed: int = 0


PRESETS = {"quick": Config(), "paper": Config(study="optimum-gpu", resamples=4000)}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell: the study is read whole; its axis is the checksum of what is read."""
    return PiecesStudy("optimum", config.study).cells()


def run(config: Config, *, sha256: str) -> pd.DataFrame:
    """Rows of kind ``policy``, a row a policy, and ``summary``, a row a loss, strength and quantity."""
    policies, prompts, made = PiecesStudy("optimum", config.study).read(sha256)
    summaries = pd.DataFrame(summarise(policies, prompts, config.resamples, config.seed))
    return pd.concat([policies.assign(kind="policy", **made), summaries.assign(kind="summary")], ignore_index=True)


def provenance(table: pd.DataFrame) -> dict[str, Any]:
    """Of the study that a record reads, for its meta data: what made the policies, not what read them."""
    return provenance_of(table)


def summarise(policies: pd.DataFrame, prompts: pd.DataFrame, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Medians over seeds with two-way intervals, for each loss and strength, of these quantities.

    ``kl``: |log(KL/KL*)|; ``win_rate``: |win rate − optimum's|; ``held_kl``: as kl, on unseen samples;
    ``ratio``: log KL/KL(logistic) at equal strength; ``ratio_excess``: that less the same of KL*.
    """
    kept = policies[~policies["status"].isin(LEFT_OUT)]
    keys = ["loss", "strength", "seed"]
    prompts = prompts.merge(kept[keys], on=keys)
    columns = ["kl", "kl_optimum", "win_rate", "win_rate_optimum", "held_kl", "held_kl_optimum"]
    # (strength, loss) → (seeds, prompts, columns); seeds of a loss that ran away are left out
    values = {
        key: {str(s): rows[columns].to_numpy() for s, rows in part.groupby("seed")}
        for key, part in prompts.groupby(["strength", "loss"], sort=False)
    }
    found = []
    for (strength, loss), own in values.items():
        base = values.get((strength, "logistic"), {})
        seeds = sorted(own)
        for name, statistic in _STATISTICS.items():
            paired = name.startswith("ratio")
            used = [s for s in seeds if s in base] if paired else seeds
            if not used or (paired and loss in ("logistic", "hinge")):
                continue
            data = [np.concatenate([own[s], base[s]], 1) if paired else own[s] for s in used]
            value = two_way(data, statistic, resamples, seed)
            found.append(
                {
                    "loss": loss, "strength": strength, "quantity": name, "value": value.value,
                    "low": value.low, "high": value.high,
                    "seeds": len(used), "prompts": len(data[0]),
                }
            )  # fmt: skip
    return found


def _log_ratio(means: FloatArray, column: int) -> FloatArray:
    return np.log(means[:, column] / means[:, column + 1])


#: From the means over prompts, (seeds, columns), to a number.
_STATISTICS: dict[str, Callable[[FloatArray], float]] = {
    "kl": lambda m: float(np.median(np.abs(_log_ratio(m, 0)))),
    "win_rate": lambda m: float(np.median(np.abs(m[:, 2] - m[:, 3]))),
    "held_kl": lambda m: float(np.median(np.abs(_log_ratio(m, 4)))),
    "ratio": lambda m: float(np.median(np.log(m[:, 0] / m[:, 6]))),
    "ratio_excess": lambda m: float(np.median(_log_ratio(m, 0) - _log_ratio(m, 6))),
}


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """The predictions of docs/predictions/llm-optimum.md, in their order; those over losses are one with a table."""
    policies, rows = table[table["kind"] == "policy"], table[table["kind"] == "summary"]
    rows, over = rows[rows["strength"] >= config.least_strength], f"{policies['seed'].nunique()} seeds"
    kl, least = rows[rows["quantity"] == "kl"], f"≥ {config.least_strength:g}"
    near = {
        f"{loss}, {'β' if loss == 'hinge' else 'βκ'} {least}": _worst(kl[kl["loss"] == loss], config.kl_tolerance)
        for loss in CONVEX
        if loss in set(rows["loss"])
    }
    first = Check.each("convex f: worst median |log(KL/KL*)|, KL* the exact optimum's", near)
    failed = [name.split(",")[0] for name, part in near.items() if part.verdict == "contradicted"]
    checks = [first.because(lambda: _not_at_the_end(policies, failed, config.least_strength))]
    win = rows[rows["loss"].isin(CONVEX) & (rows["quantity"] == "win_rate")]
    of_logit = rows[(rows["quantity"] == "ratio") & (rows["loss"] == "exponential")]
    of_squares = rows[(rows["quantity"] == "ratio_excess") & rows["loss"].isin(("squared", "truncated_quadratic"))]
    claims = {
        "worst median |win rate − optimum's|, convex f": (win, config.win_rate_tolerance),
        "exponential: worst |log KL/KL(logistic)| at equal βκ": (of_logit, config.family_tolerance),
        "squared losses: worst |log KL/KL(logistic) − that of the optima| at equal βκ": (
            of_squares, config.kl_tolerance,
        ),
    }  # fmt: skip
    checks += [replace(_worst(part, tolerance), claim=claim) for claim, (part, tolerance) in claims.items()]
    checks += _of_savage(config, policies, over)
    part = policies[policies["loss"].isin(CONVEX)]
    rest = mean_interval((part["status"] == "at rest").groupby(part["seed"]).mean())
    checks.append(Check.above(f"over 90 % of {len(part)} policies of convex f are at rest (share)", 0.9, rest, over))
    unseen = rows[(rows["quantity"] == "held_kl") & rows["loss"].isin(SMOOTH)]
    claim = "unseen samples: worst median |log(KL/KL*)|, smooth convex f"
    checks.append(replace(_worst(unseen, config.unseen_tolerance), claim=claim))
    weak = policies[(policies["strength"] <= 0.4) & ~policies["status"].isin(LEFT_OUT)]
    means = weak.groupby("seed")[["mass", "mass_reference"]].mean()
    mass = mean_interval(means["mass"] / means["mass_reference"])
    claim = "mass on the samples over πref's, βκ ≤ 0.4: not determined by the loss, over 1.05"
    return restated_wider([*checks, Check.above(claim, 1.05, mass, over)])


def _not_at_the_end(policies: pd.DataFrame, losses: list[str], least: float) -> str:
    """How much gradient is left of losses whose KL is off, against that of logistic; not known where it is no more."""
    kept = policies[~policies["status"].isin(LEFT_OUT) & (policies["strength"] >= least)]
    if "gradient_rest" not in kept or not {"logistic", *losses} <= set(kept["loss"]):
        return UNKNOWN
    left = kept.groupby("loss")["gradient_rest"].median()
    found = (
        "of the first gradient's norm there is left at the end (median over β and seeds) "
        f"{', '.join(f'{loss} {left[loss]:.2g}' for loss in losses)}; logistic {left['logistic']:.2g}"
    )
    if not all(left[loss] > LEFT * left["logistic"] for loss in losses):
        return f"{UNKNOWN}: {found}"
    found = f"training is not at its end: {found}"
    if losses != ["hinge"]:
        return found
    return found + (
        ". Hinge's gradient does not shrink near a kink, so that the distance left goes as the step and what a run "
        "covers as its length; predicted so, and with four times the steps |log(KL/KL*)| was at most 0.06 from "
        "β = 0.4 on (0.18 before; two seeds: docs/predictions/llm-optimum-hinge.md)"
    )


def _of_savage(config: Config, policies: pd.DataFrame, over: str) -> list[Check]:
    """How many ran away, and whether it arrives last: the distance from its optimum over logistic's, seed by seed."""
    savage = policies[policies["loss"] == "savage"]
    if not len(savage):
        return []
    away = int(savage["status"].isin(LEFT_OUT).sum())
    checks = [Check.at_most(f"Savage: at most one runaway among {len(savage)} policies", 0.0, float(away), 1.0)]
    kept = policies[~policies["status"].isin(LEFT_OUT) & (policies["strength"] >= config.least_strength)]
    off = np.log(kept["kl"] / kept["kl_optimum"]).abs()
    wide = kept.assign(off=off).pivot(index=["seed", "strength"], columns="loss", values="off")
    if "logistic" in wide:
        ratio = (wide["savage"] / wide["logistic"]).groupby("seed").median()
        claim = "Savage arrives last: its |log(KL/KL*)| over logistic's, median over βκ, geometric mean over seeds"
        checks.append(Check.above(claim, 1.0, geometric_interval(ratio), over))
    return checks


def _worst(rows: pd.DataFrame, tolerance: float) -> Check:
    """Medians over seeds against a tolerance, each by its two-way interval; the worst of them decides."""
    if not len(rows):
        return Check.not_run("worst", 0.0, "no such policy, or all ran away")
    parts = {
        f"{row.loss}, {row.strength:g}": Check.within(
            "median", 0.0, Interval(row.value, row.low, row.high), tolerance, "seeds and prompts, two-way"
        )
        for row in rows.itertuples()
    }
    return Check.each("worst", parts)


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was trained, and how near it came."""
    policies, rows = table[table["kind"] == "policy"], table[table["kind"] == "summary"]
    counts = policies["status"].value_counts()
    kl = rows[(rows["quantity"] == "kl") & (rows["strength"] >= config.least_strength)]
    near = ", ".join(f"{loss} {part['value'].median():.3f}" for loss, part in kl.groupby("loss", sort=False))
    ended = ", ".join(f"{count} {status}" for status, count in counts.items())
    return (
        f"Study {config.study}: {len(policies)} policies of {policies['seed'].nunique()} seeds "
        f"({ended}), trained on {policies['study_device'].iloc[0]} "
        f"at commit {policies['study_commit'].iloc[0][:12]}. Median |log(KL/KL*)| at βκ ≥ {config.least_strength:g}, "
        f"median over βκ: {near}."
    )
