"""Files and frames of millions of rows, read by column.

Where a CSV file has no quotes, every line is a row, and pandas cuts the lines; what has quotes, or lines of unequal
length, goes through the strict reader of `tables`, which names lines.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.arrays import IntArray
from gpo_analysis.reading.column import MISSING, Column, ColumnTable
from gpo_analysis.reading.files import bytes_of, decoded
from gpo_analysis.reading.tables import (
    SEPARATORS,
    Table,
    csv_head,
    csv_records,
    holds_json,
    json_table,
    key_of,
    width_refused,
)

if TYPE_CHECKING:
    import pandas as pd

Keep = Callable[[Sequence[str]], Collection[str] | None]


def read_columns(
    source: str | Path | Any,
    keep: Keep,
    accepted: str,
    *,
    separator: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> ColumnTable:
    """Read CSV, TSV, JSON lines, a JSON array, Parquet or a frame.

    Parameters
    ----------
    source : str, Path or frame
        ``-`` is standard input. A frame is one of pandas, or anything with a method ``to_pandas``.
    keep : function of the columns to a collection of them, or None
        Which are of use; None where the header has not what is needed. Columns are named in lower case.
    accepted : str
        The columns, for messages.
    separator : str, optional
        One character; found by which header fits, by default.
    rename : mapping of str to str, optional
        From names that are understood to the file's own: ``{"winner": "preferred"}``.

    Raises
    ------
    ValueError
        Naming the file, the line and what is accepted.
    OSError
        Where the file cannot be opened.
    """
    names = Renamed(rename)
    if not isinstance(source, str | Path):
        return _of_frame(source, keep, names, "the frame", "DataFrame")
    data = bytes_of(source)
    path = "standard input" if str(source) == "-" else str(source)
    if data.startswith(b"PAR1"):
        return _of_frame(_parquet(data, path), keep, names, path, "Parquet")
    text = decoded(path, data)
    del data
    if holds_json(path, text) and separator is None:
        return _of_rows(json_table(path, text), keep, names)
    return _of_csv(path, text, keep, names, accepted, separator)


class Renamed:
    """Columns under the names that are understood.

    Parameters
    ----------
    rename : mapping of str to str, or None
        From names that are understood to the file's own.
    """

    def __init__(self, rename: Mapping[str, str] | None) -> None:
        self.given = {key_of(own): known for known, own in (rename or {}).items()}
        self.rename = {known: key_of(own) for known, own in (rename or {}).items()}

    def __call__(self, columns: Sequence[str]) -> list[str]:
        """The columns' names; one that is displaced by another stands in brackets."""
        missing = [own for own in self.given if own not in columns]
        if missing:
            return list(columns)  # whoever asks is told which columns there are
        return [self.given.get(name) or (f"({name})" if name in self.given.values() else name) for name in columns]

    def check(self, columns: Iterable[str], path: str) -> None:
        """Raise ValueError where a column that was named is not there."""
        have = list(columns)
        for known, own in self.rename.items():
            if own not in have:
                raise ValueError(
                    f"{path} has no column {own!r:.60}, which was named as {known}; it has {', '.join(have)!r:.200}"
                )


def _of_csv(path: str, text: str, keep: Keep, names: Renamed, accepted: str, separator: str | None) -> ColumnTable:
    start, body, separator, head, written = csv_head(
        path, text, lambda columns: keep(names(columns)) is not None, accepted, separator
    )
    names.check(head[1], path)
    columns = names(head[1])
    kept = set(keep(columns) or columns) | {name for name in columns if name.startswith("(unnamed")}
    used = [i for i, name in enumerate(columns) if name in kept]
    form = f"CSV ({SEPARATORS.get(separator, repr(separator))})"
    every = dict.fromkeys(columns, head[0])
    found = _quick(body, head[0] - start, separator, len(columns), used)
    if found is None:
        found = _slow(path, body, start, separator, columns, used)
    lines, cells, blank = found
    if found is not None and isinstance(lines, int):
        lines = np.arange(lines, dtype=np.int64) + head[0] + 1
    of_name = dict(zip((columns[i] for i in used), cells, strict=True))
    if len(blank):
        left = ~np.isin(np.arange(len(lines)), blank)
        of_name = {name: column.chosen(left) for name, column in of_name.items()}
    else:
        left = np.ones(len(lines), dtype=bool)
    for name in [name for name in of_name if name.startswith("(unnamed") and bool(of_name[name].blank.all())]:
        del of_name[name], every[name]
    blank_lines = tuple(int(i) for i in lines[~left])
    return ColumnTable(path, form, "line", lines[left], of_name, every, blank_lines, tuple(written))


_Cells = tuple[Any, list[Column], IntArray]


def _quick(body: str, header: int, separator: str, width: int, used: list[int]) -> _Cells | None:
    """Number of rows, columns, and which rows are blank; None where a line may be more or less than a row.

    Without quotes a line is a row. Each must have as many separators as the header; else the strict reader says where
    one has not.
    """
    if '"' in body or len(separator.encode()) != 1:
        return None
    if "\r" in body:
        body = body.replace("\r\n", "\n")
        if "\r" in body:
            return None
    at = 0
    for _ in range(header):
        at = body.find("\n", at) + 1
        if not at:
            return None
    data = body[at:].rstrip("\n").encode()
    if not data:
        return None
    seen = np.frombuffer(data, dtype=np.uint8)
    ends = np.append(np.flatnonzero(seen == 10), len(seen))
    parted = np.flatnonzero(seen == ord(separator))
    if np.any(np.diff(np.searchsorted(parted, ends), prepend=0) != width - 1) or np.any(np.diff(ends, prepend=-1) < 2):
        return None
    import pandas as pd

    frame = pd.read_csv(
        io.BytesIO(data), sep=separator, header=None, names=list(range(width)), usecols=used, index_col=False,
        dtype=object, na_filter=False, quoting=csv.QUOTE_NONE, skip_blank_lines=False, low_memory=False,
    )  # fmt: skip
    if len(frame) != len(ends):
        return None
    cells = []
    for i in used:
        codes, values = pd.factorize(frame[i])
        cells.append(Column(codes.astype(np.int64), tuple(values.tolist())))
    nothing = np.flatnonzero(np.logical_and.reduce([column.blank for column in cells]))
    starts = np.append(0, ends[:-1] + 1)
    blank = [i for i in nothing if not data[starts[i] : ends[i]].decode().replace(separator, "").strip()]
    return len(frame), cells, np.array(blank, dtype=np.int64)


def _slow(path: str, body: str, start: int, separator: str, columns: list[str], used: list[int]) -> _Cells:
    """The strict reader's records, cut into columns: lines, columns, and which rows are blank."""
    lines: list[int] = []
    blank: list[int] = []
    cells: list[list[str]] = [[] for _ in used]
    for line, record in csv_records(path, body, start, separator, skip=1):
        if not any(cell.strip() for cell in record):
            blank.append(len(lines))
            record = [""] * len(columns)
        elif len(record) != len(columns):
            raise width_refused(path, line, record, columns)
        lines.append(line)
        for column, i in zip(cells, used, strict=True):
            column.append(record[i])
    return np.array(lines, dtype=np.int64), [Column.of(column) for column in cells], np.array(blank, dtype=np.int64)


def _of_rows(table: Table, keep: Keep, names: Renamed) -> ColumnTable:
    own = list(table.columns)
    if own:
        names.check(own, table.path)
    known = names(own)
    kept = set(keep(known) or known)
    columns = {
        name: Column.of(row.values.get(key, MISSING) for row in table.rows)
        for key, name in zip(own, known, strict=True)
        if name in kept
    }
    lines = np.array([row.line for row in table.rows], dtype=np.int64)
    every = dict(zip(known, table.columns.values(), strict=True))
    return ColumnTable(table.path, table.format, "line", lines, columns, every, table.blank)


def _parquet(data: bytes, path: str) -> Any:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ModuleNotFoundError:
        raise ValueError(
            f"{path} is a Parquet file, and pyarrow, which reads it, is not installed; it comes with: "
            "pip install 'gpo-analysis[experiments]'"
        ) from None
    try:
        return parquet.read_table(io.BytesIO(data))
    except (ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error!s:.200}") from None


def _of_frame(source: Any, keep: Keep, names: Renamed, path: str, form: str) -> ColumnTable:
    """A frame of pandas or a table of Arrow (or what becomes one); only what is kept is converted."""
    import pandas as pd

    is_arrow = hasattr(source, "column_names") and hasattr(source, "select") and hasattr(source, "to_pandas")
    if not isinstance(source, pd.DataFrame) and not is_arrow:
        if not hasattr(source, "to_pandas"):
            raise ValueError(
                f"{type(source).__name__} is no table; accepted are the path of a file, '-', a DataFrame of pandas, or "
                "what has a method to_pandas"
            )
        source = source.to_pandas()
        is_arrow = False
    raw = [str(name) for name in (source.column_names if is_arrow else source.columns)]
    own = [key_of(name) or f"(unnamed {i})" for i, name in enumerate(raw, start=1)]
    twice = next((name for name in own if own.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: column {twice!r:.60} occurs twice; accepted is each column once")
    names.check(own, path)
    known = names(own)
    kept = set(keep(known) or known)
    columns = {}
    for i, name in enumerate(known):
        if name in kept:
            columns[name] = _of_series(source.column(i).to_pandas() if is_arrow else source.iloc[:, i])
    lines = np.arange(source.num_rows if is_arrow else len(source), dtype=np.int64)
    return ColumnTable(path, form, "row", lines, columns, dict.fromkeys(known, 0), written=tuple(raw))


def _of_series(series: pd.Series[Any]) -> Column:
    import pandas as pd

    if series.dtype == object:
        cells = series.tolist()
        if any(not isinstance(cell, str) for cell in cells):
            return Column.of(map(_plain, cells))
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    codes, values = pd.factorize(series, use_na_sentinel=True)
    codes = np.asarray(codes, dtype=np.int64)
    plain: list[Any] = [_plain(value) for value in values.tolist()]
    if plain and all(isinstance(value, float) and value.is_integer() for value in plain):
        plain = [int(value) for value in plain]  # whole numbers are floats in a column with gaps
    if codes.size and codes.min() < 0:
        codes = np.where(codes < 0, len(plain), codes)
        plain.append(None)
    return Column(codes, tuple(plain))


def _plain(cell: Any) -> Any:
    """A cell as JSON would have it; what pandas and NumPy call missing is None."""
    if isinstance(cell, np.ndarray):
        return [_plain(item) for item in cell.tolist()]
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, list | tuple):
        return [_plain(item) for item in cell]
    if isinstance(cell, dict):
        return {key: _plain(value) for key, value in cell.items()}
    if type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and math.isnan(cell)):
        return None
    return cell
