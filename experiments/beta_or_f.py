"""β or f? A full factorial with exact optima: how much of the outcome is due to which.

Tang et al. (arXiv 2402.05749): β matters more than f. Every combination of f, β, problem, number of labels a pair and
seed is solved exactly, once with the same grid of β for every f, once with the same grid of strengths βκ (hinge, whose
κ is 0, over β in both). Worked out beforehand: with Bradley–Terry preferences and exact label shares, logistic,
exponential and Savage have the same policy at equal βκ, whatever the margin; squared and truncated quadratic have the
same where squared's margins stay within 1; all five agree only near indifference. With few labels a pair the observed
shares are 0 and 1, so the families part at every β. And since β → ∞ gives πref and β → 0 the best response for every f,
β's share of the variance must grow with the range of β that is looked at, and f's share must win where that range is
narrow enough: both are measured. Where a fit with few labels has no finite optimum its limit is used: all mass on the
responses that nobody outside beats, fitted among themselves. Problems and grids are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

import gpo_analysis as gpo
from experiments.framework import Check
from gpo_analysis.losses import MarginLoss
from gpo_analysis.statistics import Interval, bootstrap_interval, variance_shares
from gpo_analysis.tabular import Fit, PreferenceProblem

CLAIM = (
    "Over three decades of β, β explains more of the variance of win rate and gold reward than f, and on the scale βκ "
    "less is left to f; over a narrow range of β, with few labels a pair or far from indifference, f counts."
)
FIGURE = "beta-or-f"

EXACT = 0
"""Number of labels a pair that stands for the exact shares."""

LOGIT = ("logistic", "exponential", "savage")
SCALES = ("beta", "strength")
OUTCOMES = ("win_rate", "gold")
EFFECTS = ("f", "beta", "f:beta", "within")
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """The factors.

    Parameters
    ----------
    losses
        The paper's six.
    problems
        Kinds of preferences: see `preference_of`.
    labels
        Labels a pair; 0 stands for exact shares.
    responses
        Number of responses n; μ is uniform, πref Dirichlet(2).
    low, high, points
        Grid of β (or of βκ), geometric.
    seeds
        Repetitions: rewards, πref and labels are drawn anew; the same for every f.
    resamples
        Of the bootstrap over seeds.
    seed
        Of all that is drawn.
    """

    losses: tuple[str, ...] = ("logistic", "squared", "hinge", "exponential", "truncated_quadratic", "savage")
    problems: tuple[str, ...] = ("weak", "strong", "two groups", "cycle")
    labels: tuple[int, ...] = (1, 3, 30, EXACT)
    responses: int = 8
    low: float = 0.03
    high: float = 30.0
    points: int = 13
    seeds: int = 12
    resamples: int = 300
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "paper": Config(labels=(1, 3, 10, 30, 300, EXACT), points=25, seeds=60, resamples=2000),
}


def cells(config: Config) -> list[dict[str, Any]]:
    """One cell a problem and number of labels."""
    shared = {
        "losses": list(config.losses), "responses": config.responses, "low": config.low, "high": config.high,
        "points": config.points, "seeds": config.seeds, "resamples": config.resamples, "seed": config.seed,
    }  # fmt: skip
    return [{**shared, "problem": kind, "labels": count} for kind in config.problems for count in config.labels]


def preference_of(kind: str, rewards: FloatArray) -> FloatArray:
    """Preferences whose gold reward is `rewards`, shape (n,) → (n, n).

    weak, strong: Bradley–Terry with rewards times ½ and 3; two groups: 70 % of annotators with rewards times 3 and 30 %
    with the opposite order; cycle: Bradley–Terry with a cycle of strength 1 added to the logits.
    """
    if kind in ("weak", "strong"):
        return np.asarray(gpo.bradley_terry((0.5 if kind == "weak" else 3.0) * rewards))
    if kind == "two groups":
        groups = [gpo.bradley_terry(3.0 * rewards), gpo.bradley_terry(-rewards)]
        return np.asarray(gpo.mixture_of_annotators(groups, [0.7, 0.3]))
    n = len(rewards)
    ahead = np.subtract.outer(np.arange(n), np.arange(n)) % n
    turn = np.where(ahead == 1, 1.0, np.where(ahead == n - 1, -1.0, 0.0))
    return np.asarray(1 / (1 + np.exp(-(np.subtract.outer(rewards, rewards) + turn))))


def run(cell: dict[str, Any]) -> pd.DataFrame:
    """Three parts: ``curve``, means over seeds, a row a f, scale and grid point; ``spread``, how far losses part;
    ``share``, shares of variance, a row a scale, outcome, range and effect.
    """
    outcomes = outcomes_of(cell)
    tables = [_curve_rows(outcomes).assign(part="curve"), _spread_rows(outcomes).assign(part="spread")]
    for scale, rows in outcomes.groupby("scale", sort=False):
        for outcome in OUTCOMES:
            tables.append(_share_rows(rows, outcome, cell).assign(part="share", scale=scale, outcome=outcome))
    return pd.concat(tables, ignore_index=True).assign(problem=cell["problem"], labels=cell["labels"])


def _curve_rows(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds; NaN where a seed has no policy, whose number is ``lost``."""
    grouped = outcomes.groupby(["loss", "scale", "point", "grid", "beta"], sort=False)
    means = grouped[["win_rate", "gold", "kl"]].agg(lambda values: values.mean(skipna=False))
    return means.assign(lost=grouped["win_rate"].agg(lambda values: int(values.isna().sum()))).reset_index()


def _spread_rows(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Largest difference of win rate between losses at equal strength and seed, for groups of losses."""
    equal = outcomes[outcomes["scale"] == "strength"]
    squared = equal[equal["loss"] == "squared"]
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


def outcomes_of(cell: dict[str, Any]) -> pd.DataFrame:
    """A row a seed, f, scale and grid point."""
    truths = [_truth(cell, k) for k in range(cell["seeds"])]
    problems = [_observed(cell, k, preference, reference) for k, (preference, reference, _) in enumerate(truths)]
    grid = np.geomspace(cell["low"], cell["high"], cell["points"])
    rows = []
    for name in cell["losses"]:
        loss = gpo.get_loss(name)
        kappa = _kappa(loss)
        for k, found in enumerate(gpo.fit(problems, loss)):
            fit = _limit(problems[k], loss, found)
            for scale in SCALES:
                betas = grid / kappa if scale == "strength" and kappa > 0 else grid
                columns = {
                    "seed": k, "loss": name, "scale": scale, "point": range(len(grid)), "grid": grid, "beta": betas,
                    "status": found.status.value, **_outcomes(fit, betas, *truths[k]),
                }  # fmt: skip
                rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def _share_rows(rows: pd.DataFrame, outcome: str, cell: dict[str, Any]) -> pd.DataFrame:
    """Shares over the whole grid with bootstrap intervals over seeds, then over ranges about the mean's best point.

    ``decades`` is the width of the range; narrower ones are given without an interval.
    """
    names, values = cube(rows, outcome)
    grid = np.sort(rows["grid"].unique())
    by_seed = np.moveaxis(values, 2, 0)
    found = []
    for effect in EFFECTS:
        interval = bootstrap_interval(
            by_seed, lambda x, e=effect: shares(np.moveaxis(x, 0, 2))[e],  # type: ignore[misc]
            resamples=cell["resamples"], seed=cell["seed"],
        )  # fmt: skip
        found.append((effect, np.log10(grid[-1] / grid[0]), interval.value, interval.low, interval.high))
    best = int(values.mean(axis=(0, 2)).argmax())
    for reach in range(1, len(grid) - 1):
        low, high = max(0, best - reach), min(len(grid), best + reach + 1)
        if high - low < len(grid):
            part = shares(values[:, low:high])
            width = np.log10(grid[high - 1] / grid[low])
            found += [(effect, width, part[effect], np.nan, np.nan) for effect in EFFECTS]
    table = pd.DataFrame(found, columns=["effect", "decades", "share", "low", "high"])
    return table.assign(losses=len(names))


def _truth(cell: dict[str, Any], k: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng([cell["seed"], k])
    rewards = rng.normal(size=cell["responses"])
    return preference_of(cell["problem"], rewards), rng.dirichlet(np.full(cell["responses"], 2.0)), rewards


def _observed(cell: dict[str, Any], k: int, preference: FloatArray, reference: FloatArray) -> PreferenceProblem:
    """The problem with the observed shares of labels; the same number of labels for every pair, so μ is uniform."""
    if cell["labels"] == EXACT:
        return PreferenceProblem(preference, reference=reference)
    rng = np.random.default_rng([cell["seed"], k, cell["labels"]])
    first, second = np.triu_indices(len(preference), 1)
    wins = rng.binomial(cell["labels"], preference[first, second])
    shares = np.full(preference.shape, 0.5)
    shares[first, second], shares[second, first] = wins / cell["labels"], 1 - wins / cell["labels"]
    return PreferenceProblem(shares, reference=reference)


def _kappa(loss: MarginLoss) -> float:
    return float(loss.derivative(0.0, 2) / -loss.derivative(0.0, 1))


def _limit(problem: PreferenceProblem, loss: MarginLoss, fit: Fit) -> FloatArray | None:
    """``βh`` up to a constant, −∞ for what loses all mass; None where a non-convex loss leaves it open."""
    if fit.minimiser is not None:
        return fit.minimiser
    if loss.name == "savage":
        return None
    shares = np.asarray(problem.preference)
    wins = (shares > 0) & ~np.eye(problem.n, dtype=bool)
    _, label = connected_components(wins, directed=True, connection="strong")
    unbeaten = [c for c in set(label.tolist()) if not wins[np.ix_(label != c, label == c)].any()]
    top = np.flatnonzero(label == unbeaten[0])
    found = np.full(problem.n, -np.inf)
    found[top] = 0.0
    if len(top) > 1:
        inner = PreferenceProblem(shares[np.ix_(top, top)])
        best = inner.fit(loss)
        if not best.converged:  # the class is strongly connected, so this cannot be
            raise RuntimeError(f"{loss.name} on an unbeaten class: {best.status}: {best.reason}")
        found[top] = best.reward
    return found


def _outcomes(
    fit: FloatArray | None, betas: FloatArray, preference: FloatArray, reference: FloatArray, rewards: FloatArray
) -> dict[str, FloatArray]:
    """Win rate against πref, share of the attainable gold reward, KL and largest margin for each β, all (points,)."""
    names = ("win_rate", "gold", "kl", "max_margin")
    if fit is None:
        return {name: np.full(len(betas), np.nan) for name in names}
    with np.errstate(invalid="ignore"):
        exponent = np.log(reference) + np.where(np.isinf(fit), -np.inf, fit - fit.max()) / betas[:, None]
    policy = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    policy /= policy.sum(axis=1, keepdims=True)
    base = float(reference @ rewards)
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(policy > 0, policy * np.log(policy / reference), 0.0).sum(axis=1)
    return {
        "win_rate": policy @ (preference @ reference),
        "gold": (policy @ rewards - base) / (rewards.max() - base),
        "kl": kl,
        "max_margin": np.full(len(betas), float(np.ptp(fit))),
    }


def cube(rows: pd.DataFrame, outcome: str) -> tuple[list[str], FloatArray]:
    """Losses without a missing value, and the outcome as an array (f, β, seed)."""
    wide = rows.pivot_table(index=["loss", "point"], columns="seed", values=outcome, sort=False, dropna=False)
    kept = [name for name in dict.fromkeys(rows["loss"]) if wide.loc[name].notna().to_numpy().all()]
    return kept, np.array([wide.loc[name].sort_index().to_numpy() for name in kept])


def shares(values: FloatArray) -> dict[str, float]:
    """Shares of the variance of an array (f, β, seed): f, β, their interaction, and seeds with all theirs."""
    return variance_shares(values, ["f", "beta"])


def equal_range(rows: pd.DataFrame) -> float:
    """The widest range of grid about the best point, in decades, in which f explains as much as β; NaN: none.

    `rows` are the share rows of one setting, scale and outcome.
    """
    wide = rows.pivot_table(index="decades", columns="effect", values="share", aggfunc="first")
    ranges = wide.index[wide["f"] >= wide["beta"]]
    return float(ranges.max()) if len(ranges) else np.nan


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Where equal strength is exact, what β and f explain, and where f counts."""
    explained = table[table["part"] == "share"]
    return _collapse(config, table[table["part"] == "spread"]) + _shares(config, explained) + _narrow(explained)


def _collapse(config: Config, spreads: pd.DataFrame) -> list[Check]:
    exact = spreads[spreads["labels"] == EXACT].set_index(["problem", "group"])
    checks = [
        Check.equal(
            f"{kind} Bradley–Terry, exact shares, equal βκ: logistic, exponential and Savage have one win rate "
            "(largest difference)", 0.0, float(exact.loc[(kind, "logit"), "spread"]), 1e-6,
        )
        for kind in ("weak", "strong")
    ]  # fmt: skip
    inside = exact.xs("within 1", level="group")
    checks.append(
        Check.equal(
            "squared's margins within 1: truncated quadratic has the same win rate (largest difference)", 0.0,
            float(inside["spread"].max()), 1e-9,
            note=f"{int(inside['seeds'].sum())} of {config.seeds * len(inside)} problems are of this kind",
        )
    )  # fmt: skip
    differs, near = (float(exact.loc[(kind, "logistic and squared"), "spread"]) for kind in ("strong", "weak"))
    checks.append(
        Check.at_least(
            "logistic and squared at equal βκ part further with strong preferences than with weak ones (ratio of the "
            "largest differences of win rate)", 1.0, differs / near, note=f"{differs:.3g} against {near:.3g}",
        )
    )  # fmt: skip
    return checks


def whole(explained: pd.DataFrame) -> pd.DataFrame:
    """Shares over the whole grid, indexed by problem, labels, scale, outcome and effect."""
    rows = explained[explained["low"].notna()]
    return rows.set_index(["problem", "labels", "scale", "outcome", "effect"])[["share", "low", "high"]].sort_index()


def _shares(config: Config, explained: pd.DataFrame) -> list[Check]:
    found = whole(explained)
    checks = []
    for outcome in OUTCOMES:
        for scale in SCALES:
            part = found.xs((scale, outcome), level=("scale", "outcome"))
            gaps = part.xs("beta", level="effect")["low"] - part.xs("f", level="effect")["high"]
            fails = ", ".join(f"{kind} with {_labels(count)}" for kind, count in gaps.index[gaps <= 0])
            checks.append(
                Check.at_least(
                    f"{outcome}, equal {scale}, three decades: β's share exceeds f's in every problem and number of "
                    "labels (least gap between their 95 % intervals)", 0.0, float(gaps.min()),
                    note=f"fails for {fails}" if fails else f"in all {len(gaps)} settings",
                )
            )  # fmt: skip
        parts = {scale: mixed_share(found, scale, outcome, EXACT) for scale in SCALES}
        checks.append(
            Check.at_most(
                f"{outcome}, exact shares: what is f's, alone and with β, shrinks on the scale βκ (mean over problems)",
                parts["beta"], parts["strength"],
            )
        )  # fmt: skip
    few = fewest(config)
    checks.append(
        Check.at_least(
            f"win rate, equal βκ: f, alone and with β, explains more with {_labels(few)} than with exact shares",
            mixed_share(found, "strength", "win_rate", EXACT), mixed_share(found, "strength", "win_rate", few),
            note="mean over problems",
        )
    )  # fmt: skip
    return checks


def mixed_share(found: pd.DataFrame, scale: str, outcome: str, labels: int) -> float:
    """Share of f and of its interaction with β, mean over problems."""
    part = found.xs((labels, scale, outcome), level=("labels", "scale", "outcome"))["share"]
    return float((part.xs("f", level="effect") + part.xs("f:beta", level="effect")).mean())


def fewest(config: Config) -> int:
    """The smallest number of labels a pair."""
    return min(count for count in config.labels if count != EXACT)


def ranges_of(explained: pd.DataFrame) -> pd.Series[float]:
    """`equal_range` of the win rate at equal β for every problem and number of labels."""
    rows = explained[(explained["scale"] == "beta") & (explained["outcome"] == "win_rate")]
    return rows.groupby(["problem", "labels"], sort=False)[["decades", "effect", "share"]].apply(equal_range)


def _narrow(explained: pd.DataFrame) -> list[Check]:
    """Within what range of β about the best one f's share is as large as β's."""
    ranges = ranges_of(explained)
    known = ranges[ranges.notna()]
    told = "; ".join(f"{kind}, {_labels(count)}: {value:.2g}" for (kind, count), value in known.items()) or "none"
    return [
        Check.at_least(
            "settings in which f explains at least as much of the win rate as β does, in some range of β about the "
            "best", 1.0, float(len(known)), note=f"of {len(ranges)}; widest range in decades: {told}",
        )
    ]  # fmt: skip


def _labels(count: int) -> str:
    return "exact shares" if count == EXACT else f"{count} label{'s' if count > 1 else ''} a pair"


def best_of_each(curves: pd.DataFrame) -> pd.DataFrame:
    """The win rate of every f at its best β, on the curve of means over seeds; a row a problem and number of labels."""
    rows = curves[curves["scale"] == "beta"]
    return rows.groupby(["problem", "labels", "loss"], sort=False)["win_rate"].max().unstack("loss")


def summary(config: Config, table: pd.DataFrame) -> str:
    """What was found."""
    curves, explained = table[table["part"] == "curve"], table[table["part"] == "share"]
    found, few = whole(explained).xs("win_rate", level="outcome"), fewest(config)

    def told(kind: str, count: int, scale: str, effect: str) -> Interval:
        row = 100 * found.loc[(kind, count, scale, effect)]
        return Interval(row["share"], row["low"], row["high"])

    def mean(scale: str, effect: str) -> float:
        return 100 * float(found.xs((scale, effect), level=("scale", "effect"))["share"].mean())

    best = best_of_each(curves).xs(EXACT, level="labels")
    gap = best.max(axis=1) - best.min(axis=1)
    ranges = ranges_of(explained)
    lost = sorted({str(name) for name, rows in curves.groupby("loss") if rows["lost"].any()})
    absent = f" ({', '.join(lost)} left out where some sample has no finite optimum)" if lost else ""
    return f"""Over three decades β explains on average {mean("beta", "beta"):.0f} % of the variance of the win rate
    within a setting, f {mean("beta", "f"):.1f} % and their interaction {mean("beta", "f:beta"):.1f} %, the rest being
    seeds{absent}; with the grids matched in βκ these are {mean("strength", "beta"):.0f}, {mean("strength", "f"):.1f}
    and {mean("strength", "f:beta"):.1f} %. With strong Bradley–Terry preferences and exact shares f has
    {told("strong", EXACT, "beta", "f"):.2g} % at equal β and {told("strong", EXACT, "strength", "f"):.2g} % at equal βκ
    (95 % intervals over {config.seeds} seeds), against {told("strong", EXACT, "beta", "beta"):.3g} % of β; with
    {_labels(few)} f has {told("strong", few, "strength", "f"):.2g} % at equal βκ and β
    {told("strong", few, "strength", "beta"):.2g} %: there the claim that β matters more fails. The collapse on βκ is
    exact for the logit family under Bradley–Terry preferences and for squared and truncated quadratic while margins
    stay within 1, and only approximate otherwise. Each at its best β, the six differ in win rate by {gap.min():.3g} to
    {gap.max():.3g} with exact shares. Within a range of {ranges.min():.2g} to {ranges.max():.2g} decades about the best
    β f explains as much as β. To remember: β matters more than f because β may be wrong by decades; once it is
    about right, or with one label a pair, the choice of f is of the same order."""
