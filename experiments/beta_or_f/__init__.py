"""β or f? A full factorial with exact optima: how much of the outcome is due to which.

Tang et al. (arXiv 2402.05749): β matters more than f. Every combination of f, β, problem, number of labels a pair and
seed is solved exactly, once with the same grid of β for every f, once with the same grid of strengths βκ (hinge, whose
κ is 0, over β in both). Worked out beforehand: with Bradley–Terry preferences and exact label shares, logistic,
exponential and Savage have the same policy at equal βκ, whatever the margin; squared and truncated quadratic have the
same where squared's margins stay within 1; all five agree only near indifference. With few labels a pair the observed
shares are 0 and 1, so the families part at every β. And since β → ∞ gives πref and β → 0 the best response for every f,
β's share of the variance must grow with the range of β that is looked at, and go to 0 about the best β, where the win
rate is flat: how much each explains within half a decade of it is measured. Where a fit with few labels has no finite
optimum its limit is used: all mass on the responses that nobody outside beats, fitted among themselves. Problems and
grids are ours.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from experiments._losses import of_the_preset, stated, those
from experiments.beta_or_f.narrow import check_near, ends_of_the_grid, in_words, near_best, rows_near
from experiments.beta_or_f.outcomes import EXACT, Config, labels_words, outcomes_of
from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.arrays import FloatArray
from gpo_analysis.statistics import Interval, bootstrap_interval, variance_shares
from gpo_analysis.tables import find, get

CLAIM = (
    "Over three decades of β, β explains more of the variance of win rate and gold reward than f, and on the scale βκ "
    "less is left to f; with few labels a pair or far from indifference f counts, about the best β neither does much."
)
FIGURE = "beta-or-f"

LOGIT = ("logistic", "exponential", "savage")
SCALES = ("beta", "strength")
OUTCOMES = ("win_rate", "gold")
EFFECTS = ("f", "beta", "f:beta", "within")
MADE_OF: dict[str, dict[str, float]] = {"beta - f": {"beta": 1.0, "f": -1.0}, "f in all": {"f": 1.0, "f:beta": 1.0}}
"""Sums of shares whose own intervals decide claims: β's over f's, and what is f's alone and with β."""

PRESETS = {
    "quick": Config(),
    "paper": Config(labels=(1, 3, 10, 30, 300, EXACT), points=25, seeds=60, resamples=2000),
}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a problem and number of labels."""
    return grid(problem=config.problems, labels=config.labels)


def run(config: Config, *, problem: str, labels: int) -> pd.DataFrame:
    """Three parts: ``curve``, means over seeds, a row a f, scale and grid point; ``spread``, how far losses part;
    ``share``, shares of variance, a row a scale, outcome, range and effect.
    """
    outcomes = outcomes_of(config, problem, labels)
    tables = [_curve_rows(outcomes).assign(part="curve"), _spread_rows(outcomes).assign(part="spread")]
    for scale, rows in outcomes.groupby("scale", sort=False):
        for outcome in OUTCOMES:
            tables.append(_share_rows(config, rows, outcome).assign(part="share", scale=scale, outcome=outcome))
    return pd.concat(tables, ignore_index=True).assign(problem=problem, labels=labels)


def _curve_rows(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds; NaN where a seed has no policy, whose number is ``lost``."""
    grouped = outcomes.groupby(["loss", "scale", "point", "grid", "beta"], sort=False)
    means = grouped[["win_rate", "gold", "kl"]].agg(lambda values: values.mean(skipna=False))
    return means.assign(lost=grouped["win_rate"].agg(lambda values: int(values.isna().sum()))).reset_index()


def _spread_rows(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Largest difference of win rate between losses at equal strength and seed, for groups of losses."""
    equal = find(outcomes, scale="strength")
    squared = find(equal, loss="squared")
    inside = squared.loc[squared["max_margin"] <= 1, "seed"].unique()
    near = equal[equal["seed"].isin(inside)]
    found = [
        ("logit", spread(equal, LOGIT), equal["seed"].nunique()),
        ("logistic and squared", spread(equal, ("logistic", "squared")), equal["seed"].nunique()),
        ("within 1", spread(near, ("squared", "truncated_quadratic")), len(inside)),
    ]
    return pd.DataFrame(found, columns=["group", "spread", "seeds"])


def spread(rows: pd.DataFrame, losses: tuple[str, ...]) -> float:
    """Largest difference of win rate between losses at the same point and seed; NaN without rows."""
    grouped = rows[rows["loss"].isin(losses)].groupby(["seed", "point"])["win_rate"]
    return float((grouped.max() - grouped.min()).max())


def _share_rows(config: Config, rows: pd.DataFrame, outcome: str) -> pd.DataFrame:
    """Shares over the whole grid with bootstrap intervals over seeds, then over ranges about the mean's best point.

    ``decades`` is the width of the range; of the narrower ones f's share less β's at one width has an interval.
    """
    names, values = cube(rows, outcome)
    points = np.sort(rows["grid"].unique())
    by_seed = np.moveaxis(values, 2, 0)
    found = []
    for effect in (*EFFECTS, *MADE_OF):
        interval = bootstrap_interval(
            by_seed, lambda x, e=effect: _sum_of(shares(np.moveaxis(x, 0, 2)), e),  # type: ignore[misc]
            resamples=config.resamples, seed=config.seed, within=(-1.0 if effect == "beta - f" else 0.0, 1.0),
        )  # fmt: skip
        found.append((effect, np.log10(points[-1] / points[0]), interval.value, interval.low, interval.high))
    found += rows_near(values, points, shares, config.resamples, config.seed)
    best = int(values.mean(axis=(0, 2)).argmax())
    for reach in range(1, len(points) - 1):
        low, high = max(0, best - reach), min(len(points), best + reach + 1)
        if high - low < len(points):
            part = shares(values[:, low:high])
            width = np.log10(points[high - 1] / points[low])
            found += [(effect, width, part[effect], np.nan, np.nan) for effect in EFFECTS]
    table = pd.DataFrame(found, columns=["effect", "decades", "share", "low", "high"])
    return table.assign(losses=len(names))


def _sum_of(found: dict[str, float], effect: str) -> float:
    return sum(sign * found[part] for part, sign in MADE_OF.get(effect, {effect: 1.0}).items())


def cube(rows: pd.DataFrame, outcome: str) -> tuple[list[str], FloatArray]:
    """Losses without a missing value, and the outcome as an array (f, β, seed)."""
    wide = rows.pivot_table(index=["loss", "point"], columns="seed", values=outcome, sort=False, dropna=False)
    kept = [name for name in dict.fromkeys(rows["loss"]) if wide.loc[name].notna().to_numpy().all()]
    return kept, np.array([wide.loc[name].sort_index().to_numpy() for name in kept])


def shares(values: FloatArray) -> dict[str, float]:
    """Shares of the variance of an array (f, β, seed): f, β, their interaction, and seeds with all theirs."""
    return variance_shares(values, ["f", "beta"])


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Where equal strength is exact, what β and f explain, and where f counts."""
    explained, curves = find(table, part="share"), find(table, part="curve")
    of_f = [*_shares(config, explained), *check_near(explained, curves, config.seeds, SCALES)]
    if few := _too_few(config, explained):
        of_f = [Check.not_run(one.claim, one.predicted, few) for one in of_f]
    elif set(config.losses) != set(Config().losses):
        of_f = [replace(one, note=f"{one.note}; f: {', '.join(config.losses)}") for one in of_f]
    return [*_collapse(config, find(table, part="spread")), *of_f]


def _too_few(config: Config, explained: pd.DataFrame) -> str:
    """Why nothing is said of the factor f, which has two values at least; empty where it has."""
    if len(config.losses) < 2:
        return f"{config.losses[0]} is the only loss of this run: f has no variance to explain"
    return "" if explained["losses"].min() > 1 else "in some setting fewer than two losses have policies throughout"


def _collapse(config: Config, spreads: pd.DataFrame) -> list[Check]:
    exact, here = find(spreads, labels=EXACT), config.losses

    def logit(claim: str) -> Check:
        parts = {
            f"{kind} preferences": Check.equal(
                "difference", 0.0, float(get(exact, "spread", problem=kind, group="logit")), 1e-6
            )
            for kind in ("weak", "strong")
        }
        return Check.each(claim, parts)

    def parts_further(claim: str) -> Check:
        differs, near = (
            float(get(exact, "spread", problem=kind, group="logistic and squared")) for kind in ("strong", "weak")
        )
        note = f"{differs:.3g} against {near:.3g}, the largest over {config.seeds} problems each; exact optima"
        return Check.at_least(claim, 1.0, differs / near, note=note)

    inside = find(exact, group="within 1")
    claim = "Bradley–Terry, exact shares, equal βκ: logistic, exponential and Savage have one win rate (largest gap)"
    note = f"{int(inside['seeds'].sum())} of {config.seeds * len(inside)} problems are of this kind"
    return [
        stated(here, claim.replace(LOGIT_WORDS, _listed(those(here, LOGIT)) or LOGIT_WORDS), logit, some=LOGIT, least=2)
        .as_theorem(),
        stated(
            here, "squared's margins within 1: truncated quadratic has the same win rate (largest difference)",
            lambda claim: Check.equal(claim, 0.0, float(inside["spread"].max()), 1e-9, note=note),
            of=("squared", "truncated_quadratic"),
        ).as_theorem(),
        stated(
            here, "logistic and squared at equal βκ part further with strong preferences than with weak ones (ratio of "
            "the largest differences of win rate, exact shares)", parts_further, of=("logistic", "squared"),
        ),
    ]  # fmt: skip


LOGIT_WORDS = "logistic, exponential and Savage"


def _listed(names: tuple[str, ...]) -> str:
    """At least two of the logit family in words; of fewer nothing."""
    words = ["Savage" if name == "savage" else name for name in names]
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else ""


def whole(explained: pd.DataFrame) -> pd.DataFrame:
    """Shares over the whole grid, indexed by problem, labels, scale, outcome and effect."""
    rows = explained[explained["low"].notna()]
    return rows.set_index(["problem", "labels", "scale", "outcome", "effect"])[["share", "low", "high"]].sort_index()


def _shares(config: Config, explained: pd.DataFrame) -> list[Check]:
    found, over, few = whole(explained), f"{config.seeds} seeds", fewest(config)
    checks = []
    for outcome, scale in itertools.product(OUTCOMES, SCALES):
        part = found.xs((scale, outcome, "beta - f"), level=("scale", "outcome", "effect"))
        settings = {
            f"{kind}, {labels_words(count)}": Check.above("difference", 0.0, _interval(row), over)
            for (kind, count), row in part.iterrows()
        }
        claim = f"{outcome}, equal {scale}, three decades: β's share of the variance exceeds f's (least difference)"
        with_theirs = _with_interaction(found, explained, outcome, scale)
        checks.append(Check.each(claim, settings, note=f"main effects; {with_theirs}"))
    for outcome in OUTCOMES:
        rows = {scale: _of_f(found, scale, outcome, EXACT) for scale in SCALES}
        claim = f"{outcome}, exact shares: what is f's, alone and with β, shrinks on the scale βκ (ratio over scales)"
        checks.append(Check.each(claim, _smaller(rows["strength"], rows["beta"], over)))
    rows = {labels: _of_f(found, "strength", "win_rate", labels) for labels in (EXACT, few)}
    than = f"with exact shares than with {labels_words(few)} (ratio)"
    claim = f"win rate, equal βκ: f, alone and with β, explains less {than}"
    return [*checks, Check.each(claim, _smaller(rows[EXACT], rows[few], over))]


def _with_interaction(found: pd.DataFrame, explained: pd.DataFrame, outcome: str, scale: str) -> str:
    """In which settings f together with its interaction has more than β, and how many settings lack a loss."""
    part = found.xs((scale, outcome), level=("scale", "outcome"))["share"].unstack("effect")
    more = part[part["f in all"] > part["beta"]]
    named = "; ".join(
        f"{kind}, {labels_words(count)}: {row['f in all']:.3f} against {row['beta']:.3f}"
        for (kind, count), row in more.iterrows()
    )
    losses = explained.groupby(["problem", "labels"])["losses"].min()
    lacking = int((losses < losses.max()).sum())
    words = f"f with its interaction has more than β in {len(more)} of {len(part)}" + (f" ({named})" if named else "")
    return words + (f"; {lacking} of {len(losses)} settings leave out a loss without an optimum" if lacking else "")


def _interval(row: pd.Series[float]) -> Interval:
    return Interval(float(row["share"]), float(row["low"]), float(row["high"]))


def _of_f(found: pd.DataFrame, scale: str, outcome: str, labels: int) -> pd.DataFrame:
    """Share of f, alone and with β, a row a problem, with its interval."""
    return found.xs((labels, scale, outcome, "f in all"), level=("labels", "scale", "outcome", "effect"))


def _smaller(less: pd.DataFrame, more: pd.DataFrame, over: str) -> dict[str, Check]:
    """For each problem the ratio of two shares against 1; its ends are those of the two intervals, which is wide."""
    ends = less[["share", "low", "high"]] / more[["share", "high", "low"]].to_numpy()
    return {str(kind): Check.below("ratio", 1.0, _interval(row), over) for kind, row in ends.iterrows()}


def fewest(config: Config) -> int:
    """The smallest number of labels a pair."""
    return min(count for count in config.labels if count != EXACT)


def best_of_each(curves: pd.DataFrame) -> pd.DataFrame:
    """The win rate of every f at its best β, on the curve of means over seeds; a row a problem and number of labels."""
    rows = find(curves, scale="beta")
    return rows.groupby(["problem", "labels", "loss"], sort=False)["win_rate"].max().unstack("loss")


@of_the_preset
def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found."""
    curves, explained = find(table, part="curve"), find(table, part="share")
    found, few = whole(explained).xs("win_rate", level="outcome"), fewest(config)

    def share(kind: str, count: int, scale: str, effect: str) -> Interval:
        row = 100 * found.loc[(kind, count, scale, effect)]
        return Interval(row["share"], row["low"], row["high"])

    def mean(scale: str, effect: str) -> float:
        return 100 * float(found.xs((scale, effect), level=("scale", "effect"))["share"].mean())

    best = best_of_each(curves).xs(EXACT, level="labels")
    gap = best.max(axis=1) - best.min(axis=1)
    lost = sorted({str(name) for name, rows in curves.groupby("loss") if rows["lost"].any()})
    absent = f" ({', '.join(lost)} left out where some sample has no finite optimum)" if lost else ""
    return f"""Over three decades β explains on average {mean("beta", "beta"):.0f} % of the variance of the win rate
    within a setting, f {mean("beta", "f"):.1f} % and their interaction {mean("beta", "f:beta"):.1f} %, the rest being
    seeds{absent}; with the grids matched in βκ these are {mean("strength", "beta"):.0f}, {mean("strength", "f"):.1f}
    and {mean("strength", "f:beta"):.1f} %. With strong Bradley–Terry preferences and exact shares f has
    {share("strong", EXACT, "beta", "f"):.2g} % at equal β and {share("strong", EXACT, "strength", "f"):.2g} % at
    equal βκ (95 % intervals over {config.seeds} seeds), against {share("strong", EXACT, "beta", "beta"):.3g} % of β;
    with {labels_words(few)} f has {share("strong", few, "strength", "f"):.2g} % at equal βκ and β
    {share("strong", few, "strength", "beta"):.2g} %, a difference of
    {share("strong", few, "strength", "beta - f"):.2g} points: there f matters nearly as much. The collapse on βκ is
    exact for the logit family under Bradley–Terry preferences and for squared and truncated quadratic while margins
    stay within 1, and only approximate otherwise. Each at its best β, the six differ in win rate by {gap.min():.3g} to
    {gap.max():.3g} with exact shares. Within half a decade of the best
    β, at equal β: {in_words(near_best(explained, "beta"))}; at equal βκ: {in_words(near_best(explained, "strength"))};
    but in {len(ends_of_the_grid(curves, "beta"))} of the settings that best β is an end of the grid.
    To remember: β matters more than f because β may be wrong by decades; once it is about right neither explains much,
    and with one label a pair the choice of f is of the same order."""
