"""What trainers record of themselves: means over batches, a row a logging step.

Read are TRL's ``trainer_state.json`` (its ``log_history``) and that list by itself, exports of W&B (a run's name before
the column, ``__MIN`` and ``__MAX`` after it), of TensorBoard (a scalar a file, or tag and value as columns; event
files where tensorboard is installed), and tables with the columns of TRL, torchtune, DPO's and HALOs' trainers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.reading import (
    LeftOut,
    OneDocument,
    ReadReport,
    Row,
    Table,
    json_decoder,
    number_in,
    read_table,
    shown,
    text_of,
)
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, lines

METRICS = ("rewards/margins", "rewards/chosen", "rewards/rejected", "mean_rho")
_METRIC = re.compile(
    r"(?:(?P<part>train|eval|valid|validation|test)[/_])?(?P<kind>rewards|logps|log_probs)"
    r"(?:_(?P<of>train|eval))?[/_](?P<what>chosen|rejected|margins|accuracies)"
)
_OTHER = re.compile(r"(?:(?P<part>train|eval|valid|validation|test)[/_])?(?P<what>loss|mean_rho|mu_squared_loss)")
_LOSS_OF = re.compile(r"loss/(?P<part>train|eval)")
_STEP = ("train/global_step", "global_step", "step", "_step", "trainer/global_step")
_RANGE = ("__min", "__max")
_CLOCK = re.compile(r".*tag[-_](?P<tag>.+?)(?: \(\d+\))?\.csv(?:\.gz)?", re.IGNORECASE)
ACCEPTED = (
    "rewards/margins, or rewards/chosen and rewards/rejected (means over batches, as TRL logs them; train/ or a run's "
    "name before them are understood), with rewards/accuracies, logps/chosen, loss and step where there are any"
)


def metric_of(column: str) -> tuple[str, str, str] | None:
    """The metric, the part ("train" or "eval") and the run that a column's name means.

    Examples
    --------
    >>> metric_of("dpo-run - train/rewards/margins"), metric_of("eval_loss"), metric_of("grad_norm")
    (('rewards/margins', 'train', 'dpo-run'), ('loss', 'eval', ''), None)
    """
    run, _, name = column.rpartition(" - ")
    found = _METRIC.fullmatch(name)
    if found:
        part = found["part"] or found["of"] or "train"
        kind = "logps" if found["kind"] == "log_probs" else found["kind"]
        return f"{kind}/{found['what']}", "train" if part == "train" else "eval", run
    found = _LOSS_OF.fullmatch(name)
    if found:
        return "loss", found["part"], run
    found = _OTHER.fullmatch(name)
    if found:
        return found["what"], "train" if found["part"] in (None, "train") else "eval", run
    return None


def tells_means(columns: Iterable[str]) -> bool:
    """Whether these are columns of batch means from which margins or rewards can be told."""
    return any((metric_of(name) or ("",))[0] in METRICS for name in columns)


def trainer_table(path: str | Path, fits: Callable[[Sequence[str]], bool], accepted: str) -> Table:
    """What `read_table` reads, or the ``log_history`` of a trainer's state, each entry with its line.

    Parameters
    ----------
    path : str or Path
    fits : function of the columns to bool
    accepted : str
        As :func:`gpo_analysis.reading.read_table` takes them.

    Raises
    ------
    ValueError
        As there, and where log_history is no list of objects.
    OSError
        Where the file cannot be opened.
    """
    try:
        table = read_table(path, fits, accepted)
    except OneDocument as error:
        if "log_history" not in error.keys:
            raise
    else:
        if "log_history" not in table.columns or len(table.rows) != 1:
            return table
    text = text_of(path)
    history = json_decoder().decode(text.strip())["log_history"]
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise ValueError(f"{path}: log_history is no list of objects; accepted are {accepted}")
    rows, columns = [], dict[str, int]()
    for line, entry in zip(_lines_of(text, len(history)), history, strict=True):
        rows.append(Row(line, {str(key).strip().lower(): value for key, value in entry.items()}))
        for key in rows[-1].values:
            columns.setdefault(key, line)
    return Table(str(path), "a trainer's log_history", tuple(rows), columns)


def _lines_of(text: str, count: int) -> list[int]:
    """The line on which each entry of log_history begins."""
    lines, at, decoder = [], text.index("[", text.rindex('"log_history"')) + 1, json.JSONDecoder()
    for _ in range(count):
        at = text.index("{", at)
        lines.append(1 + text.count("\n", 0, at))
        _, at = decoder.raw_decode(text, at)
    return lines


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
        return f"{self.report.file}, line {self.lines[k]}"

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


def read_history(path: str | Path) -> History:
    """Read a trainer's record of batch means.

    Parameters
    ----------
    path : str or Path
        As said above; evaluations are used where there is nothing of training.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted: no margins or rewards, two runs, two columns of one metric that differ,
        a share outside [0, 1].
    OSError
        Where the file cannot be opened.
    """
    return history_of(scalars_of(_events(path) or trainer_table(path, tells_means, ACCEPTED)))


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
    report = ReadReport(table.path, table.format, len(table.rows), len(order), left, (), unused, notes)
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


def scalars_of(table: Table) -> Table:
    """TensorBoard's exports as a table with a column a metric: one scalar a file, or a row a tag and step."""
    if not {"step", "value"} <= set(table.columns):
        return table
    if "tag" not in table.columns:
        found = _CLOCK.fullmatch(Path(table.path).name)
        metric = metric_of(found["tag"].lower()) if found else None
        if metric is None:
            raise ValueError(
                f"{table.path} is one scalar of TensorBoard, and its name does not say of what; accepted is the name "
                "it was downloaded under (run-…-tag-train_rewards_margins.csv), or its folder of event files"
            )
        tag = f"{metric[1]}/{metric[0]}"
        rows = tuple(Row(r.line, {"step": r.values["step"], tag: r.values["value"]}) for r in table.rows)
        return Table(table.path, f"TensorBoard's {tag}, {table.format}", rows, {"step": 1, tag: 1}, table.blank)
    runs = {str(row.values.get("run", "")) for row in table.rows}
    if len(runs) > 1:
        raise ValueError(f"{table.path} holds several runs, {' and '.join(sorted(map(shown, runs)))}; accepted is one")
    at: dict[Any, Row] = {}
    for row in table.rows:
        at.setdefault(str(row.values["step"]), Row(row.line, {"step": row.values["step"]}))
        at[str(row.values["step"])].values[str(row.values["tag"]).lower()] = row.values["value"]
    columns = {key: row.line for row in reversed(at.values()) for key in row.values}
    return Table(table.path, f"TensorBoard's scalars, {table.format}", tuple(at.values()), columns)


def _events(path: str | Path) -> Table | None:
    """A folder of TensorBoard's event files, or one of them; None for anything else."""
    place = Path(path)
    if not place.is_dir() and "tfevents" not in place.name:
        return None
    files = [place] if place.is_file() else sorted(place.rglob("*tfevents*"))
    if len({file.parent for file in files}) != 1:
        if not files and place.exists():
            raise ValueError(f"{path} is a folder without event files of TensorBoard; accepted are {ACCEPTED}")
        folders = ", ".join(sorted({str(file.parent) for file in files}))
        raise ValueError(f"{path} holds event files in {folders}; accepted is the folder of one run")
    try:
        from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
            EventAccumulator,
        )
    except ImportError:
        raise ValueError(
            f"{path}: reading event files needs tensorboard (pip install tensorboard); or download its scalars as CSV"
        ) from None
    loaded = EventAccumulator(str(place)).Reload()
    values: dict[int, dict[str, float]] = {}
    for tag in loaded.Tags()["scalars"]:
        for event in loaded.Scalars(tag):
            values.setdefault(event.step, {"step": float(event.step)})[tag.lower()] = float(event.value)
    rows = tuple(Row(k, values[step]) for k, step in enumerate(sorted(values), start=1))
    return Table(
        str(path), "TensorBoard's events", rows, {key: row.line for row in reversed(rows) for key in row.values}
    )


def one_row_a_step(step: FloatArray | None) -> bool:
    """Whether several steps have a single row each: then a row is no pair, but a mean over a batch."""
    return step is not None and len(step) > 2 and len(np.unique(step)) == len(step)
