"""What rounds of measurements say: ratios with their spread, at equal accuracy, and how cost grows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.framework import Benchmark, Row, Task

#: Of the interval of a ratio's median.
CONFIDENCE = 0.95
_NUMBERS_OF_THE_FRAME = {"wall", "cpu", "times", "memory", "share", "failed"}


@dataclass(frozen=True)
class Ratio:
    """The median of a peer's time over ours, round by round, and between which two rounds the true median lies.

    Attributes
    ----------
    median, low, high : float
    covers : float
        With what probability, whatever the distribution, if the rounds are independent.
    """

    median: float
    low: float
    high: float
    covers: float

    @classmethod
    def of(cls, quotients: Sequence[float]) -> Ratio:
        """From the quotients of the rounds.

        Of n rounds the k-th smallest and the k-th largest have the median between them with probability
        1 − 2 P(B ≤ k − 1), B binomial (n, ½): each round is on either side of it with equal chance. k is the largest
        for which that is at least :data:`CONFIDENCE`; of fewer than six rounds the range is given.

        Examples
        --------
        >>> Ratio.of([3.0, 2.0, 4.0, 5.0, 2.5, 3.5])
        Ratio(median=3.25, low=2.0, high=5.0, covers=0.96875)
        """
        ordered, n = sorted(quotients), len(quotients)
        below = [sum(math.comb(n, j) for j in range(k)) / 2**n for k in range(1, n // 2 + 1)]
        k = max((k for k, tail in enumerate(below, 1) if 1 - 2 * tail >= CONFIDENCE), default=1)
        covers = 1 - 2 * below[k - 1] if below else 0.0
        return cls(statistics.median(ordered), ordered[k - 1], ordered[n - k], covers)


@dataclass(frozen=True)
class Growth:
    """Time as amount to a power: the power, and half the width of its 95 % interval (NaN where nothing is left)."""

    power: float
    within: float


@dataclass(frozen=True)
class Line:
    """One side at one size, summed up.

    Attributes
    ----------
    side, size : str
    seconds, memory : float
        Medians over the rounds; memory in bytes.
    ratio : Ratio or None
        Over ours; None for ours, for what failed, and where ours is less accurate.
    error : float
        Of the task's accuracy, the largest of any round; NaN where there is none.
    numbers : dict of str to float
        Medians of all that the judge said.
    remark : str
        Why there is no ratio, or that the peer is less accurate.
    """

    side: str
    size: str
    seconds: float
    memory: float
    ratio: Ratio | None
    error: float
    numbers: dict[str, float]
    remark: str


def summed_up(task: Task, rows: Sequence[Row], clock: str) -> list[Line]:
    """A line a row; ratios are over the task's first side at the same size."""
    return [_line(task, row, _ours(task, rows, row), clock) for row in rows]


def _ours(task: Task, rows: Sequence[Row], row: Row) -> Row | None:
    return next((one for one in rows if one.size == row.size and one.side == task.sides[0].name), None)


def _line(task: Task, row: Row, ours: Row | None, clock: str) -> Line:
    if row.failed:
        return Line(row.side, str(row.size), math.nan, math.nan, None, math.nan, {}, f"failed: {row.failed}")
    error, own = worst(task, row), math.nan if ours is None or ours.failed else worst(task, ours)
    ratio, remark = None, ""
    if ours is not None and ours is not row and not ours.failed:
        if own > task.allowed and not own <= error:
            remark = f"no ratio: ours is less accurate ({task.accuracy} {own:.1e})"
        else:
            quotients = [float(a[clock]) / float(b[clock]) for a, b in zip(row.rounds, ours.rounds, strict=True)]
            ratio = Ratio.of(quotients)
            if error > task.allowed and error > own:
                remark = f"less accurate than ours ({task.accuracy} {error:.1e} against {own:.1e})"
    names = {name for one in row.rounds for name in one} - _NUMBERS_OF_THE_FRAME
    numbers = {name: value for name in sorted(names) if not math.isnan(value := median(row, name))}
    return Line(row.side, str(row.size), median(row, clock), median(row, "memory"), ratio, error, numbers, remark)


def median(row: Row, name: str) -> float:
    """Of one number over the rounds; NaN where a round has none."""
    values = [float(one.get(name, math.nan)) for one in row.rounds]
    return math.nan if not values or any(map(math.isnan, values)) else statistics.median(values)


def worst(task: Task, row: Row) -> float:
    """The largest error of any round; NaN where the task has nothing to get wrong, ∞ where it was not judged."""
    if not task.accuracy:
        return math.nan
    found = [float(one.get(task.accuracy, math.inf)) for one in row.rounds]
    return math.inf if any(map(math.isnan, found)) else max(found)


def growth(benchmark: Benchmark, rows: Sequence[Row], clock: str) -> Growth | None:
    """How one side's time grows with the amount: the slope of their logarithms, all rounds, by least squares.

    Of four sizes and more the upper half counts: in the lower one what is done once tells. None for one size.
    """
    good = sorted((row for row in rows if not row.failed), key=lambda row: benchmark.amount(row.size))
    upper = good[len(good) // 2 :] if len(good) > 3 else good
    points = [
        (math.log(benchmark.amount(row.size)), math.log(float(one[clock]))) for row in upper for one in row.rounds
    ]
    if len({x for x, _ in points}) < 2:
        return None
    return slope_of(points)


def slope_of(points: Sequence[tuple[float, float]]) -> Growth:
    """The slope of a line through points (x, y), and half the width of its 95 % interval."""
    x, y = zip(*points, strict=True)
    fitted = statistics.linear_regression(x, y)
    spread = sum((value - statistics.mean(x)) ** 2 for value in x)
    left = sum((b - fitted.intercept - fitted.slope * a) ** 2 for a, b in points)
    if len(points) < 3:
        return Growth(fitted.slope, math.nan)
    from scipy.stats import t

    freedom = len(points) - 2
    return Growth(fitted.slope, float(t.ppf(0.5 + CONFIDENCE / 2, freedom)) * math.sqrt(left / freedom / spread))
