"""What committed studies of language models decide when intervals are as wide as their few seeds need them.

    python -m experiments._few_seeds

Two records were made when intervals were percentiles of a two-way bootstrap over four or five seeds, which are too
narrow (docs/theory/estimation.md, T19). Their tables hold every seed's means, from which the intervals over seeds are
made again; each end is the farther of the one kept and the one made. Prints the claims, and their parts, whose verdict
changes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments import llm_optimum as optimum
from experiments import llm_real_model as real
from experiments._errors import OVER, decided
from experiments.framework import Check
from experiments.llm_real_model.claims import Found
from experiments.llm_real_model.claims import values as real_values
from gpo_analysis.records import Record
from gpo_analysis.runs import latest_record
from gpo_analysis.statistics import Interval, resampled_interval

RESULTS = Path(__file__).parents[1] / "results"
RESAMPLES = 1500


@dataclass(frozen=True)
class Before:
    """A claim as it is kept, and as it would be decided.

    Parameters
    ----------
    kept, again : Check
    """

    kept: Check
    again: Check

    def changes(self) -> Iterator[tuple[str, Check, Check]]:
        """The claim, and those of its parts, whose verdict is another one."""
        pairs = [("", self.kept, self.again)]
        pairs += [(name, one, other) for (name, one), (_, other) in zip(self.kept.parts, self.again.parts, strict=True)]
        yield from ((name, one, other) for name, one, other in pairs if one.verdict != other.verdict)


def of_the_real_model(record: Record) -> list[Before]:
    """The study of a real model, each domain by itself."""
    steps = _steps(record.table)
    nothing = pd.DataFrame(columns=["n", "seed", "prompt", "win_rate", "kl"])
    found: dict[int, Interval | None] = {}
    for domain in steps["domain"].unique():
        part = steps[steps["domain"] == domain]
        found |= real_values(Found(part, nothing, real.Config(resamples=RESAMPLES)), domain)
    return [_claim(row, found.get(int(row["number"]))) for row in _rows(record.table, "claim")]


def of_the_optimum(record: Record) -> list[Before]:
    """Study A."""
    table, again = record.table, record.table.copy()
    rng = np.random.default_rng(0)
    policies = table[(table["kind"] == "policy") & ~table["status"].isin(optimum.LEFT_OUT)]
    columns = [f"{name}{end}" for name in ("kl", "win_rate", "held_kl") for end in ("", "_optimum")]
    of = {
        key: dict(zip(part["seed"].tolist(), part[columns].to_numpy(), strict=True))
        for key, part in policies.groupby(["strength", "loss"])
    }
    for index, row in table[table["kind"] == "summary"].iterrows():
        own, base = of[row["strength"], row["loss"]], of.get((row["strength"], "logistic"), {})
        paired = row["quantity"].startswith("ratio")
        seeds = [seed for seed in sorted(own) if seed in base or not paired]
        x = np.stack([np.concatenate([own[s], base[s]]) if paired else own[s] for s in seeds])
        statistic = optimum._STATISTICS[row["quantity"]]
        drawn = [statistic(x[rng.integers(len(x), size=len(x))]) for _ in range(RESAMPLES)]
        _widen(again, [index], resampled_interval(statistic(x), drawn, len(x)))
    return _checked(optimum, record, again)


STUDIES = {
    "llm-optimum": of_the_optimum,
    "llm-real-model": of_the_real_model,
}


def _steps(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of runs, a seed's prompts as one: their means are what is kept."""
    return table[table["kind"] == "step"].assign(prompt=0, run_kl=lambda rows: rows["kl"])


def _rows(table: pd.DataFrame, kind: str) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table[table["kind"] == kind].to_dict("records")]


def _wider(kept: tuple[float, float], found: Interval | None) -> tuple[float, float]:
    """The farther of each pair of ends; what is kept where there is no other."""
    if found is None or not np.isfinite([found.low, found.high]).all():
        return kept
    return min(kept[0], found.low), max(kept[1], found.high)


def _claim(row: Mapping[str, Any], found: Interval | None) -> Before:
    low, high = _wider((row["low"], row["high"]), found)
    return Before(decided(row, OVER, ""), decided({**row, "low": low, "high": high}, OVER, ""))


def _widen(
    table: pd.DataFrame,
    index: Sequence[Any] | pd.Index[Any],
    found: Interval,
    value: str = "value",
    ends: tuple[str, str] = ("low", "high"),
) -> None:
    """Put the wider ends into rows; those whose kept interval does not hold the value are left to say so."""
    for one in index:
        low, high = (float(table.loc[one, end]) for end in ends)
        if low <= float(table.loc[one, value]) <= high:
            table.loc[one, list(ends)] = _wider((low, high), found)


def _checked(module: Any, record: Record, again: pd.DataFrame) -> list[Before]:
    config = module.Config(**record.config)
    pairs = zip(module.check(config, record.table), module.check(config, again), strict=True)
    return [Before(kept, new) for kept, new in pairs]


def main() -> int:
    """Print what changes, a study after the other."""
    for name, of in STUDIES.items():
        found = of(latest_record(RESULTS, name))
        changed = [part for one in found for part, *_ in one.changes()]
        whole, parts = len(found), sum(len(one.kept.parts) for one in found)
        print(f"{name}: {changed.count('')} of {whole} claims, {sum(map(bool, changed))} of {parts} parts")
        for one in found:
            for part, kept, new in one.changes():
                ends = " -> ".join(f"[{check.low:.3g}, {check.high:.3g}]" for check in (kept, new))
                print(f"  {kept.verdict} -> {new.verdict}: {one.kept.claim}{f' ({part})' if part else ''}  {ends}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
