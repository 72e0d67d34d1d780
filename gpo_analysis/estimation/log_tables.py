"""A run's log as a table, whatever its form: CSV, JSON, a trainer's state, TensorBoard's exports and event files.

One definition for all that reads logs (`gpo_analysis.estimation.logs` pairs, `histories` means over batches, `loss_log`
losses beside them), so that what one of them takes the others take too, or say what it lacks.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpo_analysis.estimation.log_sources import Source, is_file, names_of, renamed, table_of
from gpo_analysis.reading import OneDocument, Row, Table, json_decoder, read_table, shown, text_of

LOGS = ("log.jsonl", "log.jsonl.gz", "trainer_state.json")
"""A run's log in its folder: that of pairs, which says more, before the state of a trainer."""
EVENTS = "TensorBoard's events"
METRICS = ("rewards/margins", "rewards/chosen", "rewards/rejected", "mean_rho")
_METRIC = re.compile(
    r"(?:(?P<part>train|eval|valid|validation|test)[/_])?(?P<kind>rewards|logps|log_probs)"
    r"(?:_(?P<of>train|eval))?[/_](?P<what>chosen|rejected|margins|accuracies)"
)
_OTHER = re.compile(r"(?:(?P<part>train|eval|valid|validation|test)[/_])?(?P<what>loss|mean_rho|mu_squared_loss)")
_LOSS_OF = re.compile(r"loss/(?P<part>train|eval)")
_CLOCK = re.compile(r".*tag[-_](?P<tag>.+?)(?: \(\d+\))?\.csv(?:\.gz)?", re.IGNORECASE)


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


def log_table(
    source: Source,
    fits: Callable[[Sequence[str]], bool],
    accepted: str,
    columns: Mapping[str, str] | None = None,
) -> Table:
    """The table of a run's log, whatever its form; every verb that reads a log reads it by this.

    Parameters
    ----------
    source : str or Path, or what is no file
        What :func:`gpo_analysis.reading.read_table` reads; a trainer's state, of whose ``log_history`` each entry is a
        row with its line; one of TensorBoard's event files; or a folder: of a run of ``python -m llm train`` (its
        ``log.jsonl``), of TRL (the newest ``trainer_state.json``), of event files. Or a DataFrame, a mapping of
        columns, a list of rows.
    fits : function of the columns to bool
    accepted : str
        As :func:`gpo_analysis.reading.read_table` takes them.
    columns : mapping of str to str, optional
        From names that are understood to the log's own: ``{"policy_chosen": "pi_w"}``.

    Raises
    ------
    ValueError
        As there; where log_history is no list of objects; for a folder with none of these, or with several runs.
    OSError
        Where the file cannot be opened.
    """
    names = names_of(columns)
    table = _of_place(source, lambda own: fits(names(own)), accepted) if is_file(source) else table_of(source)
    return renamed(table, names)


def _of_place(path: str | Path, fits: Callable[[Sequence[str]], bool], accepted: str) -> Table:
    if Path(path).is_dir():
        path = log_in(Path(path))
    if Path(path).is_dir() or "tfevents" in Path(path).name:
        return _events(Path(path), accepted)
    text = _without_half_a_line(path, text_of(path))
    try:
        table = read_table(path, fits, accepted, text)
    except OneDocument as error:
        if "log_history" not in error.keys:
            raise
    else:
        if "log_history" not in table.columns or len(table.rows) != 1:
            return table
    history = json_decoder().decode(text.strip())["log_history"]
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise ValueError(f"{path}: log_history is no list of objects; accepted are {accepted}")
    rows, columns = [], dict[str, int]()
    for line, entry in zip(_lines_of(text, len(history)), history, strict=True):
        rows.append(Row(line, {str(key).strip().lower(): value for key, value in entry.items()}))
        for key in rows[-1].values:
            columns.setdefault(key, line)
    return Table(str(path), "a trainer's log_history", tuple(rows), columns)


def _without_half_a_line(path: str | Path, text: str) -> str:
    """JSON lines without a last one that a run under way, or a killed one, has not finished; a warning says so."""
    whole, newline, last = text.rpartition("\n")
    if not newline or not last.lstrip().startswith("{") or not whole.rstrip().endswith("}"):
        return text
    try:
        json.loads(last)
    except RecursionError:  # whoever reads the line says so
        return text
    except ValueError:
        line = text.count("\n") + 1
        warnings.warn(
            f"{path}, line {line}: half a line, as a run leaves one that is not finished; left out", stacklevel=3
        )
        return whole + newline
    return text


def _lines_of(text: str, count: int) -> list[int]:
    """The line on which each entry of log_history begins."""
    lines, at, decoder = [], text.index("[", text.rindex('"log_history"')) + 1, json.JSONDecoder()
    for _ in range(count):
        at = text.index("{", at)
        lines.append(1 + text.count("\n", 0, at))
        _, at = decoder.raw_decode(text, at)
    return lines


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


def log_in(folder: Path) -> Path:
    """The log that a run has left in its folder, or the folder itself where that is of event files."""
    for name in LOGS:
        if (folder / name).is_file():
            return folder / name
    states = sorted(folder.glob("checkpoint-*/trainer_state.json"), key=lambda state: (len(state.parts[-2]), state))
    if states:
        return states[-1]
    runs = sorted({found.parent.name for name in LOGS for found in folder.glob(f"*/{name}")})
    if len(runs) == 1:
        return log_in(folder / runs[0])
    if runs:
        raise ValueError(
            f"{folder} holds the runs {', '.join(map(shown, runs))}; accepted is the folder of one, such as "
            f"{folder / runs[0]}"
        )
    return folder


def _events(place: Path, accepted: str) -> Table:
    """A folder of TensorBoard's event files, or one of them."""
    files = [place] if place.is_file() else sorted(place.rglob("*tfevents*"))
    if len({file.parent for file in files}) > 1:
        folders = ", ".join(sorted({str(file.parent) for file in files}))
        raise ValueError(f"{place} holds event files in {folders}; accepted is the folder of one run")
    if not files:
        raise ValueError(
            f"{place} is a folder without a log: no {', '.join(LOGS)}, and no event files of TensorBoard; accepted "
            f"are {accepted}"
        )
    place = files[0].parent if place.is_dir() else place
    try:
        from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
            EventAccumulator,
        )
    except ImportError:
        raise ValueError(
            f"{place}: reading event files needs tensorboard (pip install tensorboard); or download its scalars as CSV"
        ) from None
    loaded = EventAccumulator(str(place), size_guidance={"scalars": 0}).Reload()  # 0: every one
    values: dict[int, dict[str, float]] = {}
    for tag in loaded.Tags()["scalars"]:
        for event in loaded.Scalars(tag):
            values.setdefault(event.step, {"step": float(event.step)})[tag.lower()] = float(event.value)
    rows = tuple(Row(k, values[step]) for k, step in enumerate(sorted(values), start=1))
    return Table(str(place), EVENTS, rows, {key: row.line for row in reversed(rows) for key in row.values})
