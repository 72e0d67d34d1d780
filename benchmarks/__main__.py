"""Measurements of speed and memory against other libraries, in alternating runs.

    python -m benchmarks list
    python -m benchmarks run graph                                 all tasks at their default sizes
    python -m benchmarks run graph --task logistic --sizes 100x1k 100kx5M --rounds 5 --out graph.json

A size is ITEMSxCOMPARISONS. Ratios are the other side's time over ours, median and range over the rounds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.framework import Benchmark, Row, Size, Task, about_run, exponent, run_task, work_here
from benchmarks.graph import GRAPH

BENCHMARKS = {benchmark.name: benchmark for benchmark in (GRAPH,)}
SCRIPTS = ("llm_sweep.py", "llm_optimum_gpu.py")
WARM = Size(20, 400)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what can be measured")
    run = commands.add_parser("run", help="measure, print a table, write a record")
    run.add_argument("benchmark", choices=BENCHMARKS)
    run.add_argument("--task", action="append", help="one of the benchmark's tasks; may be repeated (default: all)")
    run.add_argument("--sizes", nargs="+", type=_size, metavar="SIZE", help="ITEMSxCOMPARISONS (default: the task's)")
    run.add_argument("--rounds", type=int, default=3, help="times that each side is measured (default: 3)")
    run.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="of which time ratios are (default: cpu)")
    run.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="for one measurement")
    run.add_argument("--out", metavar="FILE", help="write all numbers there as JSON")
    one = commands.add_parser("measure", help="one measurement in this process, as JSON")
    for name in ("benchmark", "task", "side", "size"):
        one.add_argument(name)
    given = parser.parse_args(arguments)
    if given.command == "list":
        print("\n".join(listed()))
        return 0
    benchmark = BENCHMARKS[given.benchmark]
    if given.command == "measure":
        side = next(side for side in benchmark.task(given.task).sides if side.name == given.side)
        print(json.dumps(work_here(side, Size.read(given.size), WARM)))
        return 0
    names = [task.name for task in benchmark.tasks]
    for name in given.task or []:
        if name not in names:
            parser.error(f"{given.benchmark} has no task {name!r}; it has {', '.join(names)}")
    if given.rounds < 1:
        parser.error("--rounds takes 1 or more")
    chosen = [task for task in benchmark.tasks if not given.task or task.name in given.task]
    return _run(benchmark, chosen, given)


def _size(text: str) -> Size:
    try:
        return Size.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(benchmark: Benchmark, tasks: Sequence[Task], given: argparse.Namespace) -> int:
    record = {**about_run(benchmark), "clock": given.clock, "rounds": given.rounds, "tasks": []}
    failed = False
    for task in tasks:
        rows = run_task(benchmark, task, given.sizes or task.sizes, given.rounds, given.timeout, _say)
        print("\n".join(table(task, rows, given.clock)), flush=True)
        record["tasks"].append(as_record(task, rows, given.clock))
        failed = failed or any(row.failed for row in rows)
        if given.out:  # after every task: what was measured stays
            Path(given.out).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(failed)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def listed() -> list[str]:
    """What there is, in lines."""
    lines = []
    for benchmark in BENCHMARKS.values():
        lines.append(f"{benchmark.name}: {benchmark.about}")
        for task in benchmark.tasks:
            lines.append(f"  {task.name}: {task.about}")
            lines.append(f"    sizes {' '.join(map(str, task.sizes))}; sides {', '.join(s.name for s in task.sides)}")
    return [*lines, *(f"python benchmarks/{script} --help" for script in SCRIPTS)]


def table(task: Task, rows: Sequence[Row], clock: str) -> list[str]:
    """The rows as text."""
    numbers = sorted({name for row in rows for one in row.rounds for name in one} - {"wall", "cpu", "times", "memory"})
    numbers = [name for name in numbers if name != "failed"]
    head = f"{'size':>16} {'side':24}{'wall s':>10}{'cpu s':>10}{'MiB':>8}{'ratio':>8} {'range':>15}"
    lines = [f"\n{task.name}: {task.about}", *([f"aim: {task.aim}"] if task.aim else [])]
    lines.append(head + "".join(f"{name:>14}" for name in numbers))
    for row in rows:
        start = f"{row.size!s:>16} {row.side:24}"
        if row.failed:
            lines.append(f"{start} failed: {row.failed}")
            continue
        middle, low, high = row.ratios(_ours(task, rows, row.size), clock)
        ratio = "" if math.isnan(middle) or row.side == task.sides[0].name else f"{middle:.2f}"
        span = f"{low:.2f} – {high:.2f}" if ratio else ""
        times = f"{row.median('wall'):10.4g}{row.median('cpu'):10.4g}{row.median('memory') / 2**20:8.0f}"
        values = "".join("" if math.isnan(row.median(n)) else f"{row.median(n):14.4g}" for n in numbers)
        lines.append(f"{start}{times}{ratio:>8} {span:>15}{values}")
    for side in task.sides:
        slope = exponent([row for row in rows if row.side == side.name], clock)
        if not math.isnan(slope):
            lines.append(f"{side.name}: time grows as comparisons to the power {slope:.2f}")
    return lines


def _ours(task: Task, rows: Sequence[Row], size: Size) -> Row:
    return next(row for row in rows if row.size == size and row.side == task.sides[0].name)


def as_record(task: Task, rows: Sequence[Row], clock: str) -> dict[str, object]:
    """The rows for JSON."""
    found = []
    for row in rows:
        middle, low, high = row.ratios(_ours(task, rows, row.size), clock)
        ratio = None if math.isnan(middle) else {"median": middle, "low": low, "high": high}
        found.append({"side": row.side, "size": str(row.size), "ratio": ratio, "rounds": list(row.rounds)})
    slopes = {side.name: exponent([row for row in rows if row.side == side.name], clock) for side in task.sides}
    return {
        "task": task.name,
        "about": task.about,
        "aim": task.aim,
        "rows": found,
        "exponents": {name: None if math.isnan(slope) else slope for name, slope in slopes.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
