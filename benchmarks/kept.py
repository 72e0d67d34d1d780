"""Benchmarks as records: a row a measurement, with what was measured where, and back again to tables."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.framework import ROOT, Benchmark, Row, Size, Task
from benchmarks.summary import Growth, Line, growth, summed_up
from gpo_analysis.provenance import device, git_state, versions
from gpo_analysis.records import Record, find_records, read_record

if TYPE_CHECKING:
    import pandas as pd

#: Where records are committed.
RESULTS = ROOT / "results" / "benchmarks"


def as_record(benchmark: Benchmark, rows: Sequence[Row], *, clock: str, rounds: int) -> Record:
    """The measurements of a run."""
    import pandas as pd

    names = list(dict.fromkeys(row.task for row in rows))
    tasks = [benchmark.task(name) for name in names]
    peers = {side.distribution for task in tasks for side in task.sides if side.is_installed()} - {""}
    table = pd.DataFrame(
        [
            {"task": row.task, "side": row.side, "size": str(row.size), "round": k, **one}
            for row in rows
            for k, one in enumerate(row.rounds)
        ]
    )
    meta = {
        "command": _command(sys.argv[1:]),
        "versions": {**versions(), **{name: metadata.version(name) for name in sorted(peers)}},
        "device": device(),
        "git": git_state(ROOT, str(RESULTS.relative_to(ROOT))),
        "load": os.getloadavg()[0],
        "tasks": {task.name: {"about": task.about, "aim": task.aim} for task in tasks},
    }
    config = {"tasks": names, "clock": clock, "rounds": dict.fromkeys(names, rounds), "sizes": _sizes_of(rows)}
    return Record(benchmark.name, config, table, meta)


def _command(arguments: Sequence[str]) -> str:
    """What was typed, without where it was written to."""
    words = [word for k, word in enumerate(arguments) if "--out" not in arguments[max(k - 1, 0) : k + 1]]
    return shlex.join(["python", "-m", "benchmarks", *words])


def _sizes_of(rows: Sequence[Row]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        if str(row.size) not in found.setdefault(row.task, []):
            found[row.task].append(str(row.size))
    return found


def rows_of(record: Record) -> list[Row]:
    """The measurements of a record."""
    rows = []
    for (task, side, size), part in _grouped(record.table):
        rounds = [
            {name: value for name, value in one.items() if value is not None and value == value}
            for one in part.drop(columns=["task", "side", "size", "round"]).to_dict("records")
        ]
        rows.append(Row(task, side, Size.read(size), tuple(rounds)))
    return rows


def _grouped(table: pd.DataFrame) -> Any:
    return table.groupby(["task", "side", "size"], sort=False)


def _is_of_one_kind(old: Record, new: Record) -> bool:
    """Whether two records are of one machine, one clock and the same committed code, with the same packages."""
    versions = [record.meta["versions"] for record in (old, new)]
    return (
        new.meta["git"]["dirty"] is False
        and old.meta["git"] == new.meta["git"]
        and old.meta["device"] == new.meta["device"]
        and old.config["clock"] == new.config["clock"]
        and all(versions[0][name] == versions[1][name] for name in set(versions[0]) & set(versions[1]))
    )


def joined(benchmark: Benchmark, record: Record, out: Path) -> Record:
    """A record with what an older one in that folder has of other tasks and sizes.

    Only where it was measured on the same machine, by the same code, committed, and clock; else the record alone.
    """
    import pandas as pd

    old = latest(benchmark.name, out)
    if old is None or not _is_of_one_kind(old, record):
        return record
    new = set(zip(record.table["task"], record.table["size"], strict=True))
    stays = [key not in new for key in zip(old.table["task"], old.table["size"], strict=True)]
    table = pd.concat([old.table[stays], record.table], ignore_index=True)
    order = {task.name: k for k, task in enumerate(benchmark.tasks)}
    places = [
        (order[task], benchmark.amount(Size.read(size)))
        for task, size in zip(table["task"], table["size"], strict=True)
    ]
    table = table.iloc[sorted(range(len(places)), key=places.__getitem__)].reset_index(drop=True)
    sizes = {name: list(dict.fromkeys(part["size"])) for name, part in table.groupby("task", sort=False)}
    meta = {**record.meta, "command": f"{old.meta['command']}; {record.meta['command']}",
            "load": max(old.meta["load"], record.meta["load"]),
            "versions": {**old.meta["versions"], **record.meta["versions"]},
            "tasks": {**old.meta["tasks"], **record.meta["tasks"]}}  # fmt: skip
    rounds = {**old.config["rounds"], **record.config["rounds"]}
    config = {"tasks": list(sizes), "clock": record.config["clock"], "rounds": rounds, "sizes": sizes}
    return Record(benchmark.name, config, table, meta)


def latest(name: str, out: Path = RESULTS) -> Record | None:
    """The record of a benchmark; None where there is none."""
    found = find_records(out, name)
    return read_record(found[-1]) if found else None


def tables(benchmark: Benchmark, record: Record) -> list[tuple[Task, list[Line], dict[str, Growth]]]:
    """The record's tasks that the benchmark still has: lines, and the growth of each side's time."""
    clock, rows, found = str(record.config["clock"]), rows_of(record), []
    for name in record.config["tasks"]:
        if name not in [task.name for task in benchmark.tasks]:
            continue
        task = benchmark.task(name)
        own = [row for row in rows if row.task == name]
        grown = {}
        for side in dict.fromkeys(row.side for row in own):
            one = growth(benchmark, [row for row in own if row.side == side], clock)
            if one is not None:
                grown[side] = one
        found.append((task, summed_up(task, own, clock), grown))
    return found


HEAD = ("task", "size", "side", "time", "ratio to ours [95 %]", "error", "memory", "grows as")


def cells(benchmark: Benchmark, record: Record) -> list[tuple[str, ...]]:
    """Rows under :data:`HEAD`, as text."""
    found = []
    for task, lines, grown in tables(benchmark, record):
        for line in lines:
            power = grown.get(line.side)
            found.append(
                (
                    f"{benchmark.name}/{task.name}", line.size, line.side, shown_seconds(line.seconds),
                    shown_ratio(line), "" if math.isnan(line.error) else f"{line.error:.1e}",
                    "" if math.isnan(line.memory) else f"{line.memory / 2**20:.0f} MiB", shown_growth(power),
                )
            )  # fmt: skip
    return found


def shown_seconds(seconds: float) -> str:
    """A time in the unit that fits.

    Examples
    --------
    >>> shown_seconds(0.0312), shown_seconds(12.3), shown_seconds(4.2e-5)
    ('31.2 ms', '12.3 s', '42 µs')
    """
    if math.isnan(seconds):
        return ""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1 or unit == "µs":
            return f"{seconds * scale:.3g} {unit}"
    raise AssertionError("the last unit takes all")


def shown_ratio(line: Line) -> str:
    """Median and interval, and what is to be known of it."""
    if line.ratio is None:
        return line.remark
    mark = "" if line.ratio.covers >= 0.95 else f" ({100 * line.ratio.covers:.0f} %)"
    found = f"{line.ratio.median:.3g} [{line.ratio.low:.3g}, {line.ratio.high:.3g}]{mark}"
    return f"{found}; {line.remark}" if line.remark else found


def shown_growth(power: Growth | None) -> str:
    """The power with its interval."""
    if power is None:
        return ""
    return f"^{power.power:.2f}" + ("" if math.isnan(power.within) else f" ± {power.within:.2f}")
