"""Measurements of speed and memory against other libraries, in alternating runs.

    python -m benchmarks list
    python -m benchmarks run                                       all of them, at their default sizes
    python -m benchmarks run sweep graph/logistic --rounds 6 --out results/benchmarks
    python -m benchmarks run graph/logistic --sizes 100x1k 100kx5M
    python -m benchmarks show                                      the tables of what is committed

A size is numbers with x between them, as the list names them. Ratios are the other side's time over ours: the median
over the rounds, and between which rounds it lies; they count only at equal accuracy.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commands import COMMANDS
from benchmarks.framework import Benchmark, Row, Size, Task, run_task, work_here
from benchmarks.graph import GRAPH
from benchmarks.kept import HEAD, RESULTS, as_record, cells, joined, latest
from benchmarks.landscapes import LANDSCAPES
from benchmarks.llm import LLM
from benchmarks.sweep import SWEEP
from benchmarks.trajectories import TRAJECTORIES
from gpo_analysis.cli.arguments import Parser, number, whole
from gpo_analysis.cli.streams import guarded
from gpo_analysis.runs import replace_record

BENCHMARKS = {benchmark.name: benchmark for benchmark in (SWEEP, TRAJECTORIES, LANDSCAPES, GRAPH, COMMANDS, LLM)}
SCRIPTS = ("llm_sweep.py", "llm_optimum_gpu.py", "arena_table.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = Parser("python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what can be measured")
    run = commands.add_parser("run", help="measure, print a table, write a record")
    run.add_argument("names", nargs="*", metavar="NAME", help="a benchmark, or one of its tasks as BENCHMARK/TASK")
    run.add_argument("--sizes", nargs="+", metavar="SIZE", help="in place of the tasks' own")
    run.add_argument("--rounds", type=whole(1), default=6, help="times that each side is measured (default: 6)")
    run.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="of which time ratios are (default: cpu)")
    run.add_argument(
        "--timeout", type=number(0.0, above=True), default=600.0, metavar="SECONDS", help="for one measurement"
    )
    run.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="write a record a benchmark there; what an older one, of the same code and machine, has of other tasks "
        "and sizes stays",
    )
    show = commands.add_parser("show", help="the tables of records")
    show.add_argument("names", nargs="*", metavar="NAME", help="a benchmark")
    show.add_argument("--records", metavar="DIR", type=Path, default=RESULTS, help="(default: results/benchmarks)")
    one = commands.add_parser("measure", help="one measurement in this process, as JSON")
    for name in ("benchmark", "task", "side", "size"):
        one.add_argument(name)
    given = parser.parse_args(arguments)
    if given.command == "list":
        print("\n".join(listed()))
        return 0
    if given.command == "measure":
        try:
            ((benchmark, (task,)),) = tasks_of([f"{given.benchmark}/{given.task}"])
            side, size = task.side(given.side), benchmark.read(given.size)
        except ValueError as error:
            parser.error(str(error))
        print(json.dumps(work_here(side, size, benchmark.warm)))
        return 0
    try:
        chosen = tasks_of(given.names)
        if given.command == "show":
            return _show([benchmark for benchmark, _ in chosen], given.records)
        wanted = {benchmark.name: [benchmark.read(text) for text in given.sizes or ()] for benchmark, _ in chosen}
    except ValueError as error:
        parser.error(str(error))
    return max(_run(benchmark, tasks, wanted[benchmark.name], given) for benchmark, tasks in chosen)


def tasks_of(names: Sequence[str]) -> list[tuple[Benchmark, list[Task]]]:
    """The tasks that are named, by benchmark; all where there is no name.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest.
    """
    known = {**BENCHMARKS, **{f"{b.name}/{task.name}": b for b in BENCHMARKS.values() for task in b.tasks}}
    found: dict[str, list[Task]] = {}
    for name in names or BENCHMARKS:
        if name not in known:
            short = {one.rpartition("/")[2]: one for one in known}
            close = difflib.get_close_matches(name, [*known, *short], n=1, cutoff=0.4)
            hint = f"; did you mean {short.get(close[0], close[0])}?" if close else ""
            raise ValueError(f"no benchmark or task {name!r}{hint} (python -m benchmarks list has all)")
        benchmark = known[name]
        task = name.partition("/")[2]
        more = [benchmark.task(task)] if task else benchmark.tasks
        found.setdefault(benchmark.name, []).extend(one for one in more if one not in found.get(benchmark.name, []))
    return [(BENCHMARKS[name], tasks) for name, tasks in found.items()]


def _run(benchmark: Benchmark, tasks: Sequence[Task], sizes: Sequence[Size], given: argparse.Namespace) -> int:
    rows: list[Row] = []
    for task in tasks:
        rows += run_task(benchmark, task, sizes or task.sizes, given.rounds, given.timeout, _say)
        record = as_record(benchmark, rows, clock=given.clock, rounds=given.rounds)
    print("\n".join(table(benchmark, cells(benchmark, record))), flush=True)
    if given.out:
        _say(f"written: {replace_record(joined(benchmark, record, given.out), given.out)}")
    return int(any(row.failed for row in rows))


def _show(benchmarks: Sequence[Benchmark], records: Path) -> int:
    shown = False
    for benchmark in benchmarks:
        record = latest(benchmark.name, records)
        if record is not None:
            shown = True
            print("\n".join(table(benchmark, cells(benchmark, record))))
            print(f"commit {str(record.meta['git']['commit'])[:10]}, {record.meta['device']['processor']}, "
                  f"load {record.meta['load']:.1f}: {record.meta['command']}")  # fmt: skip
    if not shown:
        _say(f"no records in {records}: python -m benchmarks run --out {records} makes them")
    return int(not shown)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def listed() -> list[str]:
    """What there is, in lines."""
    lines = []
    for benchmark in BENCHMARKS.values():
        lines.append(f"{benchmark.name}: {benchmark.about}")
        for task in benchmark.tasks:
            lines.append(f"  {task.name}: {task.about}" + (f" (aim: {task.aim})" if task.aim else ""))
            given = f"{'x'.join(benchmark.axes)} {' '.join(map(str, task.sizes))}"
            lines.append(f"    sizes {given}; sides {', '.join(side.name for side in task.sides)}")
    return [*lines, *(f"python benchmarks/{script} --help" for script in SCRIPTS)]


def table(benchmark: Benchmark, rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows under a head, in columns."""
    widths = [max(len(row[k]) for row in [HEAD, *rows]) for k in range(len(HEAD))]
    lines = [f"\n{benchmark.name}: {benchmark.about} (sizes: {' × '.join(benchmark.axes)})"]
    for row in [HEAD, *rows]:
        lines.append("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return lines


if __name__ == "__main__":
    sys.exit(guarded("benchmarks", main))
