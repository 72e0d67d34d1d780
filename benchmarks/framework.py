"""What a benchmark is, and how it is measured.

A benchmark has tasks, a task has sizes and sides: ours and its peers, which do the same thing. A measurement is one
side at one size, in a process of its own, so that nothing is warm that was not warmed and the peak of memory is its
own. The sides take turns, round after round, in opposite order every second one: what else the machine does then falls
on all alike, and the ratio of two sides in one round says more than either time. Time is the processor's by default,
summed over threads and over the processes that the work starts.

A side is a function of a size that prepares its input and returns the work, which is timed, and a judge, which is not:
from what the work returned it computes the numbers by which the sides are compared (errors, gradient norms, gaps).
Before it is timed the work is done once at a tiny size: what is loaded late is loaded then. Short work is repeated
until half a second has gone. A side that does the same thing cell after cell may do a part of it; its times are then
divided by that share, which the record says.
"""

from __future__ import annotations

import json
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

ROOT = Path(__file__).parents[1]
#: Seconds of repeated work in one measurement.
ENOUGH = 0.5
_PART = re.compile(r"(\d+(?:\.\d+)?)([kM]?)")


@dataclass(frozen=True)
class Work:
    """What is timed, and what is said of its result.

    Attributes
    ----------
    do : function
    judge : function of what ``do`` returned, giving dict of str to float
    share : float
        Which part of the task ``do`` does; times are divided by it.
    """

    do: Callable[[], Any]
    judge: Callable[[Any], Mapping[str, float]]
    share: float = 1.0


@dataclass(frozen=True)
class Size:
    """How large a task is: whole numbers, which the benchmark names; written ``20x100x50``."""

    numbers: tuple[int, ...]

    @classmethod
    def read(cls, text: str) -> Size:
        """From numbers with ``x`` between them, ``k`` and ``M`` standing for thousands and millions.

        Raises
        ------
        ValueError
            For anything else.

        Examples
        --------
        >>> Size.read("2000x0.2M")
        Size(numbers=(2000, 200000))
        """
        parts = [_PART.fullmatch(part) for part in text.split("x")]
        scale = {"": 1, "k": 1000, "M": 1_000_000}
        numbers = tuple(round(float(part[1]) * scale[part[2]]) for part in parts if part)
        if not all(parts) or min(numbers, default=0) < 1:
            raise ValueError(f"size is {text!r}; accepted are numbers of at least 1, such as 2000x200000 or 100kx5M")
        return cls(numbers)

    def __str__(self) -> str:
        return "x".join(map(str, self.numbers))


def sizes(*texts: str) -> tuple[Size, ...]:
    """Several sizes."""
    return tuple(map(Size.read, texts))


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
        The task's amount above which it is left out, because it would take too long or too much memory.
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
    accuracy : str
        Which of the judge's numbers says how far from right a result is; "" where there is nothing to get wrong.
    allowed : float
        Up to which all count as equally right. A ratio counts only where ours is within it, or as right as the peer.
    """

    name: str
    about: str
    sizes: tuple[Size, ...]
    sides: tuple[Side, ...]
    aim: str = ""
    accuracy: str = ""
    allowed: float = 0.0

    def side(self, name: str) -> Side:
        """The side of a name; a ValueError says which there are."""
        for side in self.sides:
            if side.name == name:
                return side
        known = ", ".join(side.name for side in self.sides)
        raise ValueError(f"no side {name!r:.60} of {self.name}; accepted are {known}")


@dataclass(frozen=True)
class Benchmark:
    """Tasks under one name.

    Attributes
    ----------
    name, about : str
    tasks : tuple of Task
    axes : tuple of str
        What the numbers of a size count.
    amount : function of Size
        Against which the growth of time is fitted; the last number by default.
    warm : Size
        The tiny size done before a measurement.
    """

    name: str
    about: str
    tasks: tuple[Task, ...]
    axes: tuple[str, ...]
    warm: Size
    amount: Callable[[Size], int] = lambda size: size.numbers[-1]

    def task(self, name: str) -> Task:
        """The task of a name."""
        return next(task for task in self.tasks if task.name == name)

    def read(self, text: str) -> Size:
        """A size, with as many numbers as there are axes.

        Raises
        ------
        ValueError
            For anything else.
        """
        size = Size.read(text)
        if len(size.numbers) != len(self.axes):
            raise ValueError(f"size of {self.name} is {text!r}; accepted is {'x'.join(self.axes).upper()}")
        return size


def work_here(side: Side, size: Size, warm: Size) -> dict[str, Any]:
    """One measurement, in this process: seconds, peak of memory above what the input took, the judge's numbers."""
    side.prepare(warm).do()
    work = side.prepare(size)
    before, wall, cpu = _reset_peak(), [], []
    while not wall or (sum(wall) < ENOUGH and len(wall) < 200):
        start, used = time.perf_counter(), _processor_time()
        result = work.do()
        cpu.append(_processor_time() - used)
        wall.append(time.perf_counter() - start)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    taken = max(_peak() - before, children)
    seconds = {"wall": statistics.median(wall) / work.share, "cpu": statistics.median(cpu) / work.share}
    return {**seconds, "times": len(wall), "memory": taken, "share": work.share, **work.judge(result)}


def _processor_time() -> float:
    """Of this process and of those that it has started and waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


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


def environment_of(side: Side) -> dict[str, str]:
    """The variables of a measurement's process: one thread, this tree's code, and what the side asks for."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    found = {**os.environ, "PYTHONPATH": path}
    for name, value in {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **side.environment}.items():
        found.pop(name, None)
        found |= {name: value} if value else {}
    return found


def measure(benchmark: Benchmark, task: Task, side: Side, size: Size, timeout: float) -> dict[str, Any]:
    """One measurement, in a process of its own; ``{"failed": why}`` where it does not come to an end."""
    command = [sys.executable, "-m", "benchmarks", "measure", benchmark.name, task.name, side.name, str(size)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment_of(side), cwd=ROOT, timeout=timeout
        )
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
        return next((str(one["failed"]) for one in self.rounds if one.get("failed")), "")


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
        here = [side for side in sides if benchmark.amount(size) <= side.most]
        found: dict[str, list[dict[str, Any]]] = {side.name: [] for side in here}
        for turn in range(rounds):
            for side in here if turn % 2 == 0 else here[::-1]:
                if not any("failed" in one for one in found[side.name]):
                    found[side.name].append(measure(benchmark, task, side, size, timeout))
            say(f"{task.name} {size}: round {turn + 1} of {rounds}")
        rows += [Row(task.name, side.name, size, tuple(found[side.name])) for side in here]
    return rows
