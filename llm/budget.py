"""How long a study may take, kept by itself: what no longer fits is left out, condition by condition and never by seed.

A run asks its `Budget` before it begins anything, and stops with `TimeIsUp` where even what it has begun takes longer;
the same command then goes on from what is on disk. No number depends on the clock, only which of them are there.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")
Clock = Callable[[], float]
#: Says, before a step is taken, whether to stop there.
Stop = Callable[[], bool]

TABLES = 0.05
"""Share of a budget that is kept for what is written at the end."""


class TimeIsUp(Exception):
    """The budget was spent before what was begun came to its end."""


@dataclass(frozen=True)
class Budget:
    """Wall time of one run, counted from when this is made.

    Parameters
    ----------
    seconds : float or None
        None for no limit.
    clock : callable
        Seconds.

    Examples
    --------
    >>> ticks = iter([0.0, 30.0, 95.0])
    >>> budget = Budget(100.0, lambda: next(ticks))
    >>> budget.allows(50.0), budget.is_up()
    (True, True)
    """

    seconds: float | None
    clock: Clock = time.perf_counter
    start: float = field(init=False)

    def __post_init__(self) -> None:
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"a budget of {self.seconds} seconds; accepted is a number above 0, or None")
        object.__setattr__(self, "start", self.clock())

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.start

    @property
    def left(self) -> float:
        """Seconds that are left for work, what is kept for the tables taken off; infinite without a limit."""
        return float("inf") if self.seconds is None else (1 - TABLES) * self.seconds - self.spent

    def allows(self, seconds: float) -> bool:
        """Whether work of this length, and a twentieth more, ends in time."""
        return 1.05 * seconds <= self.left

    def is_up(self) -> bool:
        """Whether nothing is left."""
        return self.seconds is not None and self.left <= 0

    def check(self) -> None:
        """Raise `TimeIsUp` where nothing is left."""
        if self.is_up():
            raise TimeIsUp(f"{self.spent:.0f} s of a budget of {self.seconds:.0f} s are spent")


def coarse_to_fine(values: Sequence[Item]) -> list[Item]:
    """The values in an order whose every beginning spans the whole: both ends, then the middle of the widest gap.

    Examples
    --------
    >>> coarse_to_fine([1, 2, 3, 4, 5, 6, 7])
    [1, 7, 4, 2, 5, 3, 6]
    """
    if len(values) < 3:
        return list(values)
    taken = [0, len(values) - 1]
    while len(taken) < len(values):
        ordered = sorted(taken)
        gaps = [(last - first, -first) for first, last in itertools.pairwise(ordered)]
        width, start = max(gaps)
        taken.append(-start + width // 2)
    return [values[index] for index in taken]
