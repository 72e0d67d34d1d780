"""Predicted beside measured: statistics of their ratios, with two-way intervals."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from experiments.framework import Check
from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.statistics import Interval, mean_interval, two_way

RUN = ["loss", "strength", "optimizer", "rate", "batch", "epsilon"]

#: ½E_μ[ρ²] beyond this many times that of the limit run: as w < 1 but for wrong labels, only noise does that.
RUNAWAY = 2.0
OVER = "seeds, and prompts within them"
WIDER = (
    "27 November 2026: intervals over so few seeds are made wider; a table of a run before that day has percentiles of "
    "the two-way bootstrap, too narrow"
)

Where = Callable[[pd.DataFrame], "pd.Series[bool]"]


class Resampling(Protocol):
    """What the bootstrap is told; any configuration with these fields will do."""

    @property
    def resamples(self) -> int: ...
    @property
    def seed(self) -> int: ...


class Errors:
    """Statistics of predicted beside measured, with two-way intervals."""

    def __init__(self, prompts: pd.DataFrame, config: Resampling) -> None:
        self.config = config
        self.prompts = prompts[prompts["status"] == "ok"]
        self.seeds = sorted(set(prompts["seed"]))
        self.last = int(prompts["step"].max())
        self.batch = int(prompts["batch"].mode().iloc[0])

    def base(self, optimizer: str) -> Where:
        """Runs of the main grid: rate, batch and labels not varied."""
        return every(
            equal("optimizer", optimizer), equal("rate", 1.0), equal("epsilon", 0.0), equal("batch", self.batch)
        )

    def rows(self, where: Where, method: str, split: str = "seen") -> pd.DataFrame:
        """Rows of one method and split, of runs that have it."""
        table = self.prompts
        return table[(table["method"] == method) & (table["split"] == split) & where(table)]

    def interval(
        self, groups: Sequence[pd.DataFrame], quantity: str, statistic: Any, *, paired: bool = False
    ) -> Interval | None:
        """A statistic of (predicted, measured) of each group, (seeds, runs and steps) each; None without any.

        ``paired`` keeps what all groups have of loss, strength and step, in one order.
        """
        if paired:
            common = [set(g[["loss", "strength", "step"]].itertuples(index=False, name=None)) for g in groups]
            both = set.intersection(*common)
            groups = [
                g[[key in both for key in g[["loss", "strength", "step"]].itertuples(index=False, name=None)]]
                for g in groups
            ]
        if not all(len(group) for group in groups):
            return None
        seeds = sorted(set(self.prompts["seed"]))
        placed = [_placed(group) for group in groups]
        tables = [
            [_wide(g, g["seed"].to_numpy() == seed, quantity, *own) for g, own in zip(groups, placed, strict=True)]
            for seed in seeds
        ]
        size = max(len(one) for own in tables for one in own)
        data = [np.concatenate([_filled(one, size) for one in own], 1) for own in tables]
        edges = np.cumsum([0, *(2 * count for _, count in placed)])

        def of(means: FloatArray) -> float:
            parts = [means[:, low:high] for low, high in itertools.pairwise(edges)]
            return float(statistic(*((part[:, ::2], part[:, 1::2]) for part in parts)))

        return two_way(data, of, self.config.resamples, self.config.seed)

    def rms(self, where: Where, method: str, quantity: str = "mean_rho", split: str = "seen") -> Interval | None:
        """Rms of E over what is left by ``where``."""
        error = difference if quantity == "chosen_logp" else log_ratio
        return self.interval([self.rows(where, method, split)], quantity, lambda part: root_mean_square(error(*part)))

    def by_seed(
        self, where: Where, method: str, quantity: str, split: str = "seen"
    ) -> tuple[Interval | None, list[int]]:
        """Mean over seeds of a seed's own rms of E, with Student's interval over seeds, and the seeds that have none.

        E is of means over all prompts of a seed, which are not drawn again: an rms grows with what is drawn. A seed
        whose runs all ran away has no rms. None for fewer than two seeds.
        """
        error = difference if quantity == "chosen_logp" else log_ratio
        rows = self.rows(where, method, split)
        keys = ["seed", *RUN, "step"]
        means = rows.groupby(keys)[[f"{quantity}_predicted", quantity]].mean()
        errors = pd.Series(error(*(means[name].to_numpy() for name in means.columns)), index=means.index)
        own = errors.groupby("seed").agg(lambda one: root_mean_square(one.to_numpy())).dropna()
        without = [seed for seed in self.seeds if seed not in own.index]
        return (mean_interval(own.to_numpy()) if len(own) > 1 else None), without


def _placed(rows: pd.DataFrame) -> tuple[IntArray, int]:
    """Which run and step each row is of, numbered in their order, and how many there are."""
    keys = list(rows[[*RUN, "step"]].itertuples(index=False, name=None))
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    return np.array([numbers[key] for key in keys], dtype=np.int64), len(numbers)


def _wide(rows: pd.DataFrame, kept: BoolArray, quantity: str, place: IntArray, count: int) -> FloatArray:
    """(prompts, 2 · runs and steps): predicted and measured side by side; NaN where a seed lacks a run."""
    if not kept.any():
        return np.full((1, 2 * count), np.nan)
    prompts, prompt = np.unique(rows["prompt"].to_numpy()[kept], return_inverse=True)
    if len(np.unique(prompt * count + place[kept])) < len(prompt):
        raise ValueError("a run has a prompt twice at one step")
    found = np.full((len(prompts), count, 2), np.nan)
    for k, name in enumerate((f"{quantity}_predicted", quantity)):
        found[prompt, place[kept], k] = rows[name].to_numpy()[kept]
    return found.reshape(len(prompts), -1)


def _filled(values: FloatArray, rows: int) -> FloatArray:
    """A seed without any of a group's runs, as long as the others."""
    return np.broadcast_to(values, (rows, values.shape[1])) if len(values) == 1 else values


def log_ratio(predicted: FloatArray, measured: FloatArray) -> FloatArray:
    """E; NaN where it has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(predicted / measured)
    return np.where(np.isfinite(found), found, np.nan)


def difference(predicted: FloatArray, measured: FloatArray) -> FloatArray:
    """Predicted less measured, in nats."""
    return np.asarray(predicted - measured)


def root_mean_square(errors: FloatArray) -> float:
    """Of what is not NaN; NaN where all is."""
    known = errors[~np.isnan(errors)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")


def ends(value: Interval | None) -> dict[str, float]:
    if value is None:
        return {"value": np.nan, "low": np.nan, "high": np.nan}
    return {"value": value.value, "low": value.low, "high": value.high}


def with_status(steps: pd.DataFrame, kinds: Sequence[str] = ("", "_predicted")) -> pd.DataFrame:
    """With the column ``status``: "ok", "runaway" or "stopped", of the whole run.

    Parameters
    ----------
    steps : DataFrame
    kinds : sequence of str
        What may run away: the run itself (""), and what its tangent says of it ("_predicted").
    """
    keys = ["seed", "optimizer", "rate", "batch", "epsilon", "step"]
    seen = steps[(steps["split"] == "seen") & (steps["method"] == "tangent")]
    limits = seen[seen["strength"] == 0].set_index(keys)["mu_squared_loss"].rename("limit")
    limits = limits[~limits.index.duplicated()]
    seen = seen.join(limits, on=keys)
    most = seen[[f"mu_squared_loss{kind}" for kind in kinds]].max(axis=1)
    own = [*RUN, "seed"]
    away = set(seen[(seen["strength"] > 0) & (most > RUNAWAY * seen["limit"])].groupby(own).size().index)
    status = [
        "stopped" if one["stopped"] or one["tangent_stopped"] else "runaway" if tuple(key) in away else "ok"
        for key, one in zip(
            steps[own].itertuples(index=False, name=None),
            steps[["stopped", "tangent_stopped"]].to_dict("records"),
            strict=True,
        )
    ]
    return steps.assign(status=status)


def stated(
    number: int, claim: str, rule: str, bound: float, value: Interval | None, tolerance: float = np.nan
) -> dict[str, Any]:
    """A claim as a record keeps it; ``rule`` is "below", "above", "within" or "at_least"."""
    head: dict[str, Any] = {"number": number, "claim": claim, "rule": rule, "bound": bound, "tolerance": tolerance}
    return head | ends(value)


def decided(row: Mapping[str, Any], over: str, why: str) -> Check:
    """The check of a `stated`; ``why`` is said where it was not tested."""
    claim, bound = f"{int(row['number'])}. {row['claim']}", float(row["bound"])
    if not np.isfinite(row["value"]):
        return Check.not_run(claim, bound, why)
    value = Interval(row["value"], row["low"], row["high"])
    if row["rule"] == "below":
        return Check.below(claim, bound, value, over)
    if row["rule"] == "above":
        return Check.above(claim, bound, value, over)
    if row["rule"] == "within":
        return Check.within(claim, bound, value, float(row["tolerance"]), over)
    return Check.at_least(claim, bound, value.value)


def restated_wider(checks: Iterable[Check]) -> list[Check]:
    """The same checks, those marked as restated whose interval over seeds and prompts was made wider for few seeds.

    Examples
    --------
    >>> check = Check.below("c", 1.0, Interval(0.5, 0.4, 0.6), OVER)
    >>> [one.restated[:16] for one in restated_wider([check, Check.below("c", 1.0, Interval(0.5, 0.4, 0.6), "runs")])]
    ['27 November 2026', '']
    """
    found = []
    for check in checks:
        notes = [check.note, *(note for _, part in check.parts for note in (part.note, *_notes(part)))]
        wide = any(re.search("interval over seeds,? and prompts", note) for note in notes)
        found.append(check.as_restated("; ".join(filter(None, (check.restated, WIDER)))) if wide else check)
    return found


def _notes(check: Check) -> list[str]:
    return [part.note for _, part in check.parts]


def equal(name: str, value: Any) -> Where:
    return lambda table: table[name] == value


def between(name: str, low: float, high: float) -> Where:
    return lambda table: (table[name] >= low) & (table[name] <= high)


def one_of(name: str, values: Sequence[Any]) -> Where:
    return lambda table: table[name].isin(values)


def every(*parts: Where) -> Where:
    def where(table: pd.DataFrame) -> pd.Series[bool]:
        mask = pd.Series(True, index=table.index)
        for part in parts:
            mask &= part(table)
        return mask

    return where
