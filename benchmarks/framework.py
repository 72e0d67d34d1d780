"""What a benchmark is, and how it is measured.

A benchmark has tasks, a task has sizes and sides: ours and its peers, which do the same thing. A measurement is one
side at one size, in a process of its own, so that nothing is warm that was not warmed and the peak of memory is its
own. The sides take turns, round after round: what else the machine does then falls on all alike, and the ratio of two
sides in one round says more than either time. Time is the processor's by default, summed over threads.

A side is a function of a size that prepares its input and returns the work, which is timed, and a judge, which is not:
from what the work returned it computes the numbers by which the sides are compared (gradient norms, values, gaps).
Before it is timed the work is done once at a tiny size: what is loaded late is loaded then. Short work is repeated
until half a second has gone.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from gpo_analysis.provenance import device, git_state, versions

ROOT = Path(__file__).parents[1]
#: Seconds of repeated work in one measurement.
ENOUGH = 0.5


@dataclass(frozen=True)
class Work:
    """What is timed, and what is said of its result."""

    do: Callable[[], Any]
    judge: Callable[[Any], Mapping[str, float]]


@dataclass(frozen=True)
class Size:
    """How many items and comparisons; written ``2000x200000``."""

    items: int
    comparisons: int

    @classmethod
    def read(cls, text: str) -> Size:
        """From ``ITEMSxCOMPARISONS``, with ``k`` and ``M`` for thousands and millions.

        Raises
        ------
        ValueError
            For anything else.

        Examples
        --------
        >>> Size.read("2000x0.2M")
        Size(items=2000, comparisons=200000)
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)x(\d+(?:\.\d+)?)([kM]?)", text)
        if found is None:
            raise ValueError(f"size is {text!r}; accepted is ITEMSxCOMPARISONS, such as 2000x200000 or 100kx5M")
        items, first, comparisons, second = found.groups()
        scale = {"": 1, "k": 1000, "M": 1_000_000}
        size = cls(round(float(items) * scale[first]), round(float(comparisons) * scale[second]))
        if size.items < 2 or size.comparisons < 2 * size.items:
            raise ValueError(f"size is {text!r}; accepted are at least 2 items and twice as many comparisons")
        return size

    def __str__(self) -> str:
        return f"{self.items}x{self.comparisons}"


@dataclass(frozen=True)
class Side:
    """One way of doing a task.

    Attributes
    ----------
    name : str
    prepare : function of Size
        Makes the input, imports what it needs, returns the work.
    distribution : str
        What has to be installed for it; "" for ours.
    environment : dict of str to str
        Set for the measurement's process; a value "" takes the variable out.
    most : int
        Comparisons above which it is left out, because it would take too long or too much memory.
    """

    name: str
    prepare: Callable[[Size], Work]
    distribution: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    most: int = 10**12

    def is_installed(self) -> bool:
        """Whether its distribution is there."""
        try:
            return not self.distribution or bool(metadata.version(self.distribution))
        except metadata.PackageNotFoundError:
            return False


@dataclass(frozen=True)
class Task:
    """One thing done by several sides, ours first.

    Attributes
    ----------
    name : str
    about : str
        One line.
    sizes : tuple of Size
        By default.
    sides : tuple of Side
    aim : str
        What was asked for, in words.
    """

    name: str
    about: str
    sizes: tuple[Size, ...]
    sides: tuple[Side, ...]
    aim: str = ""


@dataclass(frozen=True)
class Benchmark:
    """Tasks under one name."""

    name: str
    about: str
    tasks: tuple[Task, ...]

    def task(self, name: str) -> Task:
        """The task of a name."""
        return next(task for task in self.tasks if task.name == name)


def work_here(side: Side, size: Size, warm: Size) -> dict[str, Any]:
    """One measurement, in this process: seconds, peak of memory above what the input took, the judge's numbers."""
    side.prepare(warm).do()
    work = side.prepare(size)
    before, wall, cpu = _reset_peak(), [], []
    while not wall or (sum(wall) < ENOUGH and len(wall) < 200):
        start, used = time.perf_counter(), time.process_time()
        result = work.do()
        cpu.append(time.process_time() - used)
        wall.append(time.perf_counter() - start)
    taken = _peak() - before
    times = {"wall": statistics.median(wall), "cpu": statistics.median(cpu), "times": len(wall), "memory": taken}
    return {**times, **work.judge(result)}


def _reset_peak() -> int:
    """Start counting anew; bytes that are taken now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux: the peak is then that of the process's life
        return 0
    return _peak()


def _peak() -> int:
    """The largest resident size so far, in bytes."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * (int(found.group(1)) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def measure(benchmark: Benchmark, task: Task, side: Side, size: Size, timeout: float) -> dict[str, Any]:
    """One measurement, in a process of its own; ``{"failed": why}`` where it does not come to an end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for name, value in {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **side.environment}.items():
        environment.pop(name, None)
        environment |= {name: value} if value else {}
    command = [sys.executable, "-m", "benchmarks", "measure", benchmark.name, task.name, side.name, str(size)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {timeout:g} s"}
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"failed": said[-1] if said else f"ended with {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@dataclass(frozen=True)
class Row:
    """All rounds of one side at one size."""

    task: str
    side: str
    size: Size
    rounds: tuple[Mapping[str, Any], ...]

    @property
    def failed(self) -> str:
        """Why there is no number; "" where there is one."""
        return next((str(one["failed"]) for one in self.rounds if "failed" in one), "")

    def median(self, name: str) -> float:
        """Of one number over the rounds; NaN where a round has none."""
        values = [float(one.get(name, math.nan)) for one in self.rounds]
        return math.nan if any(map(math.isnan, values)) else statistics.median(values)

    def ratios(self, ours: Row, clock: str) -> tuple[float, float, float]:
        """Median, least and largest of this side's time over ours, round by round."""
        if self.failed or ours.failed:
            return math.nan, math.nan, math.nan
        quotients = [float(a[clock]) / float(b[clock]) for a, b in zip(self.rounds, ours.rounds, strict=True)]
        return statistics.median(quotients), min(quotients), max(quotients)


def run_task(
    benchmark: Benchmark, task: Task, sizes: Sequence[Size], rounds: int, timeout: float, say: Callable[[str], None]
) -> list[Row]:
    """Measure every side at every size, the sides taking turns; what is not installed is said and left out."""
    sides = [side for side in task.sides if side.is_installed()]
    for side in task.sides:
        if side not in sides:
            say(f"{task.name}: {side.name} is left out, {side.distribution} is not installed")
    rows = []
    for size in sizes:
        here = [side for side in sides if size.comparisons <= side.most]
        found: dict[str, list[dict[str, Any]]] = {side.name: [] for side in here}
        for turn in range(rounds):
            for side in here:
                if not any("failed" in one for one in found[side.name]):
                    found[side.name].append(measure(benchmark, task, side, size, timeout))
            say(f"{task.name} {size}: round {turn + 1} of {rounds}")
        rows += [Row(task.name, side.name, size, tuple(found[side.name])) for side in here]
    return rows


def exponent(rows: Sequence[Row], clock: str) -> float:
    """How time grows with comparisons: the slope of their logarithms over the upper half of the sizes; NaN for one."""
    good = sorted((row for row in rows if not row.failed), key=lambda row: row.size.comparisons)
    upper = good[len(good) // 2 :] if len(good) > 3 else good
    if len({row.size.comparisons for row in upper}) < 2:
        return math.nan
    points = [(math.log(row.size.comparisons), math.log(row.median(clock))) for row in upper]
    return float(statistics.linear_regression(*zip(*points, strict=True)).slope)


def about_run(benchmark: Benchmark) -> dict[str, Any]:
    """Machine, versions, commit and load, for the record."""
    peers = {side.distribution for task in benchmark.tasks for side in task.sides if side.is_installed()} - {""}
    return {
        "benchmark": benchmark.name,
        "command": " ".join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "versions": {**versions(), **{name: metadata.version(name) for name in sorted(peers)}},
        "device": device(),
        "code": git_state(ROOT),
        "load": os.getloadavg()[0],
    }
