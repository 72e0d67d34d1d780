"""What a log may be given as: a file or folder, a frame, columns, rows; its names; which of its rows have numbers.

One rule for all readers of logs: a row in which a value that is needed is missing, infinite or NaN, as after a
divergence, is left out, and that is said; what is no number at all, such as a word, is refused.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

from gpo_analysis.reading import Row, Table, is_blank
from gpo_analysis.reading.columns import Renamed

Source: TypeAlias = Any
"""str, Path, a DataFrame, a mapping of columns, or a sequence of rows (mappings), as ``trainer.state.log_history``."""
NEEDED = ("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected")
OPTIONAL = ("chosen_length", "rejected_length", "step")
RATIOS = ("chosen_logratio", "rejected_logratio")
MARGIN = "rho"
LOSS = "loss"
LABEL = "soft_label"
RENAMED = (
    *NEEDED, *OPTIONAL, MARGIN, *RATIOS, "margin", "chosen_reward", "rejected_reward", LOSS, LABEL,
    "rewards/margins", "rewards/chosen", "rewards/rejected", "rewards/accuracies", "logps/chosen", "logps/rejected",
)  # fmt: skip
"""Names that a log's own columns may be given for."""
_ACCEPTED = (
    "a file or a run's folder (str or Path), a DataFrame, a dictionary of columns, or a list of rows such as "
    "trainer.state.log_history"
)


def is_file(source: Source) -> TypeGuard[str | Path]:
    """Whether a log is given by its place."""
    return isinstance(source, str | Path)


def names_of(columns: Mapping[str, str] | None) -> Renamed:
    """The log's own names of columns, checked.

    Raises
    ------
    ValueError
        For a name that is not understood.

    Examples
    --------
    >>> names_of({"policy_chosen": "pi_w"})(["pi_w", "step"])
    ['policy_chosen', 'step']
    """
    for name in columns or ():
        if name not in RENAMED:
            raise ValueError(f"a column is named as {name!r:.60}; accepted are {', '.join(RENAMED)}")
    return Renamed(columns)


def renamed(table: Table, names: Renamed) -> Table:
    """The table under the names that are understood.

    Raises
    ------
    ValueError
        Where a column that was named is not there.
    """
    if not names.given:
        return table
    names.check(table.columns, table.path)
    new = dict(zip(table.columns, names(list(table.columns)), strict=True))
    rows = tuple(Row(row.line, {new[key]: value for key, value in row.values.items()}) for row in table.rows)
    columns = {new[key]: line for key, line in table.columns.items()}
    return Table(table.path, table.format, rows, columns, table.blank, table.unit)


def table_of(source: Source, what: str = "log") -> Table:
    """A frame, columns or rows as a table; NaN of a frame is a missing value.

    Raises
    ------
    ValueError
        Where it is none of these.

    Examples
    --------
    >>> table_of({"rho": [0.5, 1.0]}).rows
    (Row(line=0, values={'rho': 0.5}), Row(line=1, values={'rho': 1.0}))
    >>> table_of(3)
    Traceback (most recent call last):
    ...
    ValueError: log is a int; accepted are a file or a run's folder (str or Path), a DataFrame, a dictionary of \
columns, or a list of rows such as trainer.state.log_history
    """
    frame = source.to_pandas() if hasattr(source, "to_pandas") else source
    if isinstance(frame, Mapping) and "log_history" in frame:
        frame = frame["log_history"]
    if isinstance(frame, list | tuple) and frame and all(isinstance(row, Mapping) for row in frame):
        rows = [dict(row) for row in frame]
        return _table("the rows", "a list of rows", rows)
    if isinstance(frame, Mapping) or (hasattr(frame, "columns") and hasattr(frame, "to_dict")):
        columns = {str(key): _values(frame[key]) for key in frame}
        lengths = {key: len(values) for key, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of {what} have lengths {lengths!r:.200}; accepted is one length")
        names = list(columns)
        rows = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        is_frame = not isinstance(frame, Mapping)
        return _table("the frame" if is_frame else "the columns", "DataFrame" if is_frame else "columns", rows)
    raise ValueError(f"{what} is a {type(source).__name__}; accepted are {_ACCEPTED}")


def _values(column: Any) -> list[Any]:
    values = column.tolist() if hasattr(column, "tolist") else column
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"a column of the log is {values!r:.60}; accepted are sequences of one length")
    return list(values)


def _table(path: str, form: str, rows: list[dict[str, Any]]) -> Table:
    columns: dict[str, int] = {}
    found = []
    for line, row in enumerate(rows):
        fields: dict[str, Any] = {}
        for key, value in row.items():
            name = str(key).strip().lower()
            if name in fields:
                raise ValueError(f"{path} has the column {name!r:.60} twice but for case or white space")
            columns.setdefault(name, line)
            plain = value.item() if hasattr(value, "item") else value
            fields[name] = None if isinstance(plain, float) and math.isnan(plain) else plain
        found.append(Row(line, fields))
    return Table(path, form, tuple(found), columns, unit="row")


def has_no_number(value: Any, most: float = sys.float_info.max) -> bool:
    """Whether a value is missing, NaN or infinite; False for words, which are refused elsewhere.

    Parameters
    ----------
    value : object
        What stands in the log.
    most : float
        The largest size of a number.

    Examples
    --------
    >>> [has_no_number(value) for value in (None, "", "nan", "-inf", "2.5", 1, "x")]
    [True, True, True, True, False, False, False]
    """
    try:
        return not abs(float(value)) <= most
    except (TypeError, ValueError, OverflowError):
        return is_blank(value)


def rows_with_numbers(
    rows: Iterable[Row], keys: Sequence[str], most: float = sys.float_info.max
) -> tuple[list[Row], list[Row]]:
    """The rows that have a number for all of these columns, and those that have not; rows of others are neither.

    Parameters
    ----------
    rows : iterable of Row
    keys : sequence of str
    most : float
        The largest size of a number.
    """
    whole: list[Row] = []
    broken: list[Row] = []
    for row in rows:
        values = row.values
        if not any(has_no_number(values.get(key), most) for key in keys):
            whole.append(row)
        elif not all(is_blank(values.get(key)) for key in keys):  # without any: an evaluation, a last summary
            broken.append(row)
    return whole, broken
