"""What trainers record of themselves: means over batches, a row a logging step.

Read are TRL's ``trainer_state.json`` (its ``log_history``) and that list by itself, exports of W&B (a run's name before
the column, ``__MIN`` and ``__MAX`` after it), of TensorBoard (a scalar a file, or tag and value as columns; event
files where tensorboard is installed), and tables with the columns of TRL, torchtune, DPO's and HALOs' trainers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.log_sources import Source
from gpo_analysis.estimation.log_tables import METRICS, log_table, metric_of, scalars_of, tells_means
from gpo_analysis.reading import LeftOut, ReadReport, Table, number_in, shown
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, lines

_STEP = ("train/global_step", "global_step", "step", "_step", "trainer/global_step")
_RANGE = ("__min", "__max")
ACCEPTED = (
    "rewards/margins, or rewards/chosen and rewards/rejected (means over batches, as TRL logs them; train/ or a run's "
    "name before them are understood), with rewards/accuracies, logps/chosen, loss and step where there are any"
)


_DRAWN = ("rewards/margins", "rewards/chosen", "rewards/rejected")  # in the chart


@dataclass(frozen=True, eq=False)
class History(Shown):
    """Means over batches by logging step.

    Attributes
    ----------
    means : dict of str to array, shape (k,)
        By TRL's names without prefix; NaN where a row has none.
    step : array, shape (k,)
        The training step, or the number of the row where there is none.
    lines : tuple of int
        Where each row stands.
    report : ReadReport
        How the file was read.
    """

    means: dict[str, FloatArray]
    step: FloatArray
    lines: tuple[int, ...]
    report: ReadReport

    def where(self, k: int) -> str:
        """The place of a row, for a message."""
        return f"{self.report.file}, {self.report.unit} {self.lines[k]}"

    def __len__(self) -> int:
        return len(self.step)

    def _facts(self) -> list[tuple[str, Any]]:
        return [("file", self.report.file), ("rows", len(self)), ("last step", self.step[-1])]

    def _columns(self) -> Mapping[str, Any]:
        return {"step": self.step, **self.means}

    def _notes(self) -> list[str]:
        return self.report.lines()

    def _panel(self) -> Panel:
        parts = {name: self.means[name] for name in _DRAWN if name in self.means}
        return lines("means over batches", "step", "β log π/πref  [nats]", self.step, parts)


def read_history(path: Source, *, columns: Mapping[str, str] | None = None) -> History:
    """Read a trainer's record of batch means.

    Parameters
    ----------
    path : str or Path, DataFrame, mapping of columns, or list of rows
        As said above, or ``trainer.state.log_history`` itself; evaluations are used where there is nothing of training.
    columns : mapping of str to str, optional
        From TRL's names to the record's own: ``{"rewards/margins": "margin_mean"}``.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted: no margins or rewards, two runs, two columns of one metric that differ,
        a share outside [0, 1].
    OSError
        Where the file cannot be opened.
    """
    return history_of(scalars_of(log_table(path, tells_means, ACCEPTED, columns)))


def history_of(table: Table) -> History:
    """The means that a table holds; see :func:`read_history`."""
    named: dict[tuple[str, str], list[str]] = {}
    runs: dict[str, str] = {}
    for column in table.columns:
        metric = metric_of(column)
        if metric is not None:
            named.setdefault(metric[:2], []).append(column)
            runs.setdefault(metric[2], column)
    if len(runs) > 1:
        raise ValueError(
            f"{table.path} holds several runs, {' and '.join(shown(run or 'one without a name') for run in runs)}; "
            "accepted is one: export it alone"
        )
    part = "train" if any((name, "train") in named for name in METRICS) else "eval"
    used = {name: columns for (name, of), columns in named.items() if of == part}
    if not any(name in used for name in METRICS):
        raise ValueError(f"{table.path}: no margins and no rewards in it; accepted are {ACCEPTED}")
    means = {name: _column(table, name, columns) for name, columns in used.items()}
    known = np.any([np.isfinite(means[name]) for name in METRICS if name in means], axis=0)
    if not known.any():
        raise ValueError(f"{table.path}: no row has a number for {' or '.join(n for n in METRICS if n in used)}")
    steps = next((name for name in _STEP if name in table.columns), None)
    step = np.arange(1.0, len(table.rows) + 1) if steps is None else _column(table, "step", [steps])
    if steps is not None and not np.isfinite(step[known]).all():
        k = int(np.argmax(known & ~np.isfinite(step)))
        raise ValueError(
            f"{table.where(table.rows[k].line)}: no {steps}, which other rows have; accepted is a column that every "
            "row has, or none"
        )
    order = np.flatnonzero(known)[np.argsort(step[known], kind="stable")]
    means = {name: values[order] for name, values in means.items()}
    lines = tuple(table.rows[k].line for k in order)
    out = tuple(table.rows[k].line for k in np.flatnonzero(~known))
    left = (LeftOut(out, f"without margins and rewards of {'training' if part == 'train' else part}"),) if out else ()
    mine = {column for columns in used.values() for column in columns} | {steps}
    unused = tuple(c for c in table.columns if c not in mine and not c.endswith(_RANGE))
    notes = tuple(_ranges(table)) + (() if part == "train" else ("these are means over evaluation sets",))
    report = ReadReport(table.path, table.format, len(table.rows), len(order), left, (), unused, notes, unit=table.unit)
    found = History(means, step[order], lines, report)
    _check(found)
    return found


def _column(table: Table, name: str, columns: Sequence[str]) -> FloatArray:
    """One metric, NaN where a row has none; several columns of it have to agree."""
    values = [[_number(row.values.get(c), name, table.where(row.line)) for row in table.rows] for c in columns]
    array = np.array(values)
    for other, column in zip(array[1:], columns[1:], strict=True):
        differ = np.isfinite(array[0]) & np.isfinite(other) & (np.abs(array[0] - other) > 1e-6 * (1 + np.abs(other)))
        if differ.any():
            k = int(np.argmax(differ))
            raise ValueError(
                f"{table.where(table.rows[k].line)}: {shown(columns[0])} is {array[0, k]:g} and {shown(column)} is "
                f"{other[k]:g}, which mean the same; accepted is one of them"
            )
        array[0] = np.where(np.isfinite(array[0]), array[0], other)
    return np.asarray(array[0])


def _number(value: Any, name: str, where: str) -> float:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    if isinstance(value, str) and value.strip().lower() in ("", "nan", "none", "null", "-"):
        return math.nan
    return number_in(value, name, where)


def _ranges(table: Table) -> list[str]:
    """Whether W&B averaged several logged rows into one."""
    for column in table.columns:
        ends = [column + end for end in _RANGE]
        if metric_of(column) and all(end in table.columns for end in ends):
            apart = [row.line for row in table.rows if len({row.values.get(end) for end in ends}) > 1]
            if apart:
                return [f"{len(apart)} rows are averages of several that were logged (line {apart[0]}: MIN is not MAX)"]
    return []


def _check(history: History) -> None:
    """Refuse what cannot be, with the line; what bfloat16 and four decimals round is tolerated."""
    means = history.means
    share = means.get("rewards/accuracies")
    if share is not None and (wrong := (share < -1e-6) | (share > 1 + 1e-6)).any():
        k = int(np.argmax(wrong))
        raise ValueError(f"{history.where(k)}: rewards/accuracies is {share[k]:g}; a share lies between 0 and 1")
    for side in ("logps/chosen", "logps/rejected"):
        if side in means and (wrong := means[side] >= 0).any():
            k = int(np.argmax(wrong))
            raise ValueError(
                f"{history.where(k)}: {side} is {means[side][k]:g}; a mean log-probability of whole responses is "
                "below 0, so it was not computed"
            )
    if {"rewards/margins", "rewards/chosen", "rewards/rejected"} <= set(means):
        margin, chosen, rejected = (means[f"rewards/{name}"] for name in ("margins", "chosen", "rejected"))
        size = np.abs(margin) + np.abs(chosen) + np.abs(rejected)
        wrong = np.abs(margin - chosen + rejected) > 0.02 * size + 1e-3
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(
                f"{history.where(k)}: rewards/margins is {margin[k]:g}, but rewards/chosen less rewards/rejected is "
                f"{chosen[k] - rejected[k]:g}; these contradict each other beyond rounding"
            )


def one_row_a_step(step: FloatArray | None) -> bool:
    """Whether several steps have a single row each: then a row is no pair, but a mean over a batch."""
    return step is not None and len(step) > 2 and len(np.unique(step)) == len(step)
