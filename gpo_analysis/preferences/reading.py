"""Read observed comparisons from files: CSV or JSON lines, plain or gzip-compressed, every error with file and line.

- CSV: a header with the columns ``winner``, ``loser`` and optionally ``count`` or ``votes``; others are ignored.
- JSON lines: one object a line with the same keys.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COLUMNS = "columns winner, loser and optionally count or votes"
Row = tuple[int, dict[str, Any]]
Label = tuple[str, str, float]


def read_labels(path: str | Path) -> list[Label]:
    """Who beat whom by name, how often: the rows of a CSV or JSON-lines file, as they stand.

    Parameters
    ----------
    path : str or Path
        See :func:`gpo_analysis.preferences.read_comparisons`, which also says what is raised.

    Returns
    -------
    list of (str, str, float)
        Winner, loser, count; at least one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "games.csv")
    ...     _ = file.write_text("winner,loser,count\\nrock,scissors,3\\nscissors,paper,2\\n")
    ...     read_labels(file)
    [('rock', 'scissors', 3.0), ('scissors', 'paper', 2.0)]
    """
    text = text_of(path)
    suffixes = [s.lower() for s in Path(path).suffixes if s.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    is_json = kind in (".jsonl", ".ndjson", ".json") or (kind != ".csv" and text.lstrip()[:1] == "{")
    pairs: list[Label] = []
    for line, row in (json_rows if is_json else _csv_rows)(path, text):
        where = f"{path}, line {line}"
        winner, loser = name_in(row, "winner", where), name_in(row, "loser", where)
        if winner == loser:
            raise ValueError(f"{where}: winner and loser are both {winner!r}; they must differ")
        given = [key for key in ("count", "votes") if row.get(key) not in (None, "")]
        if len(given) == 2:
            raise ValueError(f"{where}: both count and votes are given; accepted is one of them")
        pairs.append((winner, loser, count_in(row[given[0]], given[0], where) if given else 1.0))
    if not pairs:
        raise ValueError(f"{path} holds no comparisons; accepted are {COLUMNS}, one comparison a line")
    return pairs


def text_of(path: str | Path) -> str:
    opener: Callable[..., Any] = gzip.open if str(path).lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            return str(file.read())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}; accepted are CSV or JSON lines, plain or .gz") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file: {error}") from None


def _csv_rows(path: str | Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(path, reader.line_num, cells)
            elif len(cells) != len(header):
                raise ValueError(
                    f"{path}, line {reader.line_num}: {len(cells)} fields, but the header has {len(header)} "
                    f"({', '.join(header)})"
                )
            else:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: malformed CSV ({error}); accepted are {COLUMNS}") from None
    if header is None:
        raise ValueError(f"{path} is empty; accepted are a header with {COLUMNS}, and one comparison a line")


def _header(path: str | Path, line: int, cells: list[str]) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    missing = [name for name in ("winner", "loser") if name not in header]
    if missing:
        raise ValueError(
            f"{path}, line {line}: missing column {' and '.join(missing)} in the header {', '.join(header)!r:.200}; "
            f"accepted are {COLUMNS}"
        )
    twice = [name for name in ("winner", "loser", "count", "votes") if header.count(name) > 1]
    if twice:
        raise ValueError(f"{path}, line {line}: column {twice[0]} occurs twice; accepted are {COLUMNS}")
    return header


def json_rows(path: str | Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number}: malformed JSON ({error}); accepted is one object a line"
            ) from None
        if not isinstance(row, dict):
            raise ValueError(
                f"{path}, line {number}: {line.strip():.60} is not an object; accepted is one object a line"
            )
        yield number, row


def name_in(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if value is None and key not in row:
        raise ValueError(f"{where}: missing {key!r}; the keys are {', '.join(map(repr, row)):.200}")
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise ValueError(f"{where}: {key} is {value!r:.60}; accepted are non-empty names")
    return str(value).strip()


def count_in(value: Any, key: str, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{where}: {key} is {value!r:.60}; accepted are finite numbers of at least 0")
    return number
