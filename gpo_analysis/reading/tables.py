"""Rows of CSV and JSON files, each with its line; names of columns without regard to case."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpo_analysis.reading.files import text_of
from gpo_analysis.reading.values import MOST_DIGITS, float_of
from gpo_analysis.reading.visible import shown

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_ONE_A_LINE = "accepted is one object a line, or one array of objects"
Fields = dict[str, Any]
_SPACE = re.compile(r"\s*")


class OneDocument(ValueError):
    """The file is one JSON object over many lines, not a table; `keys` are its own."""

    def __init__(self, path: str | Path, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        super().__init__(f"{path} is one JSON object, with the keys {', '.join(keys)!r:.200}; {_ONE_A_LINE}")


@dataclass(frozen=True)
class Row:
    """A row's values by column, and the line on which it starts."""

    line: int
    values: Fields


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes
    ----------
    path : str
    format : str
        Such as "CSV (semicolons)", "JSON lines", "JSON array".
    rows : tuple of Row
        Keys in lower case without outer white space.
    columns : dict of str to int
        Every key of any row, with the line where it first stands; in their order.
    blank : tuple of int
        Lines of rows with nothing but separators.
    unit : str
        What places are numbered by: "line", or "row" (from 0) of what is no file.
    """

    path: str
    format: str
    rows: tuple[Row, ...]
    columns: dict[str, int]
    blank: tuple[int, ...] = ()
    unit: str = "line"

    def where(self, line: int) -> str:
        """The place, for a message."""
        return f"{self.path}, {self.unit} {line}"


def read_table(
    path: str | Path, fits: Callable[[Sequence[str]], bool], accepted: str, text: str | None = None
) -> Table:
    """Read a CSV or JSON file.

    Parameters
    ----------
    path : str or Path
        Names ending in .jsonl, .ndjson or .json (or these with .gz) are JSON, and so is whatever begins with ``{``, or
        with ``[`` unless its name ends in .csv or .tsv. JSON is one object a line, or one array of objects.
    fits : function of the columns to bool
        Whether a header has what is needed. Commas separate, unless the header fits only with semicolons, tabs or bars.
    accepted : str
        The columns, for messages.
    text : str, optional
        What the file holds, where it has been read.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted: malformed CSV or JSON, rows of another length than the header, a column
        that occurs twice.
    OneDocument
        Where the file is one JSON object over many lines.
    OSError
        Where the file cannot be opened.
    """
    text = text_of(path) if text is None else text
    return json_table(path, text) if holds_json(path, text) else _csv_table(path, text, fits, accepted)


def holds_json(path: str | Path, text: str) -> bool:
    """Whether a text is JSON, by the name of its file or by its first character."""
    suffixes = [s.lower() for s in Path(path).suffixes if s.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    first = text.lstrip()[:1]
    return kind in (".jsonl", ".ndjson", ".json") or first in (("{",) if kind in (".csv", ".tsv") else ("{", "["))


def _csv_table(path: str | Path, text: str, fits: Callable[[Sequence[str]], bool], accepted: str) -> Table:
    start, body, separator, head, _ = csv_head(path, text, fits, accepted)
    columns = head[1]
    rows, blank = [], []
    for line, cells in csv_records(path, body, start, separator, skip=1):
        if not any(cell.strip() for cell in cells):
            blank.append(line)
        elif len(cells) != len(columns):
            raise width_refused(path, line, cells, columns)
        else:
            rows.append(Row(line, dict(zip(columns, cells, strict=True))))
    empty = {name for name in columns if name.startswith("(unnamed") and not any(r.values[name].strip() for r in rows)}
    kept = {name: head[0] for name in columns if name not in empty}
    return Table(str(path), f"CSV ({SEPARATORS[separator]})", tuple(rows), kept, tuple(blank))


def width_refused(path: str | Path, line: int, cells: Sequence[str], columns: Sequence[str]) -> ValueError:
    """What is said of a record of another length than the header."""
    return ValueError(
        f"{path}, line {line}: {len(cells)} fields, but the header has {len(columns)} ({', '.join(columns)!r:.200})"
    )


def csv_head(
    path: str | Path,
    text: str,
    fits: Callable[[Sequence[str]], bool],
    accepted: str,
    separator: str | None = None,
) -> tuple[int, str, str, tuple[int, list[str]], list[str]]:
    """Where a CSV file begins and how it is separated.

    Returns
    -------
    int, str, str, (int, list of str), list of str
        Lines before the text that follows (Excel's ``sep=;``), that text, the separator, the header's line and
        columns: those of the first separator with which it fits, or else of the first of all; and they as written.

    Raises
    ------
    ValueError
        Where the file is empty or a column occurs twice.
    """
    named = re.match(r'"?sep=([,;|\t])"?\r?\n', text)  # what Excel writes and reads
    start, body = (1, text[named.end() :]) if named else (0, text)
    tried = [separator] if separator is not None else [named[1]] if named else list(SEPARATORS)
    found, head = _head(path, body, start, tried, fits)
    if head is None:
        raise ValueError(
            f"{path} is empty and holds no rows; accepted are a header with {accepted}, and one row a line"
        )
    columns = _named(head[1])
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}, line {head[0]}: column {shown(twice)} occurs twice; accepted are {accepted}")
    return start, body, found, (head[0], columns), [cell.strip() for cell in head[1]]


def _head(
    path: str | Path, text: str, start: int, separators: list[str], fits: Callable[[Sequence[str]], bool]
) -> tuple[str, tuple[int, list[str]] | None]:
    """The first separator with which the header fits, or else the first of all; and the header with its line."""
    first = next(csv_records(path, text, start, separators[0]), None)
    if not first or fits(_named(first[1])):
        return separators[0], first
    for separator in separators[1:]:
        with contextlib.suppress(ValueError):  # malformed as CSV of this kind
            found = next(csv_records(path, text, start, separator), None)
            if found and fits(_named(found[1])):
                return separator, found
    return separators[0], first


def _named(cells: Sequence[str]) -> list[str]:
    return [key_of(cell) or f"(unnamed {i})" for i, cell in enumerate(cells, start=1)]


def in_words(name: str) -> str:
    """A column's name with _ for whatever parts its words, and without a number at its end.

    Examples
    --------
    >>> in_words("train/global step"), in_words("sample-weight 2")
    ('train_global_step', 'sample_weight')
    """
    return re.sub(r"[\W_]+", "_", name).strip("_").rstrip("0123456789").rstrip("_") or name


def key_of(name: str) -> str:
    """A column's name without regard to case and outer white space."""
    return name.strip().strip("\ufeff\u200b").strip().lower()


def csv_records(
    path: str | Path, text: str, start: int, separator: str, skip: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Records but for the first few, and the line on which each starts; lines without anything are none."""
    with _fields_of_any_length():
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
        line = start + 1
        try:
            for cells in reader:
                if len(cells) > 1 or (cells and cells[0].strip()):
                    if skip:
                        skip -= 1
                    else:
                        yield line, cells
                line = start + reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {line}: malformed CSV ({error}); accepted are fields with or without double quotes, "
                "a quote within quotes doubled"
            ) from None


@contextlib.contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Python's csv refuses fields beyond 131,072 characters unless told otherwise, for the whole process."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def json_table(path: str | Path, text: str) -> Table:
    """The rows of JSON lines or of a JSON array."""
    is_array = text.lstrip()[:1] == "["
    rows = []
    columns: dict[str, int] = {}
    for line, value in _array(path, text) if is_array else _lines(path, text):
        if not isinstance(value, dict):
            raise ValueError(f"{path}, line {line}: {value!r:.60} is not an object; {_ONE_A_LINE}")
        fields: Fields = {}
        for key, item in value.items():
            name = key_of(key)
            if name in fields:
                raise ValueError(f"{path}, line {line}: key {name!r:.60} occurs twice; accepted is each key once")
            fields[name] = item
            columns.setdefault(name, line)
        rows.append(Row(line, fields))
    return Table(str(path), "JSON array" if is_array else "JSON lines", tuple(rows), columns)


def _lines(path: str | Path, text: str) -> Iterator[tuple[int, Any]]:
    first = True
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            yield line, json_decoder().decode(content.strip())
        except (ValueError, RecursionError) as error:
            if first:
                _refuse_one_document(path, text)
            raise _malformed(path, line, error) from None
        first = False


def _array(path: str | Path, text: str) -> Iterator[tuple[int, Any]]:
    """The elements of an array, one after another, for the sake of their lines."""
    decoder, at, line = json_decoder(), text.index("[") + 1, 1 + text.count("\n", 0, text.index("["))
    more = False  # whether a comma asks for another element
    while True:
        begin = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        line += text.count("\n", at, begin)
        if text[begin : begin + 1] == "]" and not more:
            break
        try:
            value, at = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            raise _malformed(path, line, error) from None
        yield line, value
        line += text.count("\n", begin, at)
        begin = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        more = text[begin : begin + 1] == ","
        if not more and text[begin : begin + 1] != "]":
            raise _malformed(path, line + text.count("\n", at, begin), ValueError("a comma or ] is missing"))
        line += text.count("\n", at, begin)
        at = begin + more
    if text[begin + 1 :].strip():
        raise _malformed(path, line, ValueError("text after the array"))


def json_decoder() -> json.JSONDecoder:
    """A decoder that refuses, with a ValueError, keys that occur twice and numbers that no float holds."""
    return json.JSONDecoder(object_pairs_hook=_once, parse_int=_whole, parse_float=_float)


def _whole(digits: str) -> int:
    """A whole number; Python refuses those of more than 4,300 digits in words of its own."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"{digits[:12]}… has {len(digits):,} digits; a number has at most {MOST_DIGITS}")
    return int(digits)


def _float(digits: str) -> float:
    """A float, or an infinity, which is refused under its key; what would become 0 is refused here."""
    number = float(digits)
    if number == 0 and math.isnan(float_of(digits)):
        raise ValueError(f"{digits:.24} is beyond what a float holds, 5e-324 to 1.8e308")
    return number


def _once(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r:.60} occurs twice")
    return fields


def _refuse_one_document(path: str | Path, text: str) -> None:
    try:
        whole = json_decoder().decode(text.strip())
    except (ValueError, RecursionError):
        return
    if isinstance(whole, dict):
        raise OneDocument(path, list(whole))


def _malformed(path: str | Path, line: int, error: Exception) -> ValueError:
    if isinstance(error, RecursionError):
        why = "nested too deeply"
    elif isinstance(error, json.JSONDecodeError):
        why = f"{error.msg}, column {error.colno}"
    else:
        why = str(error)
    return ValueError(f"{path}, line {line}: malformed JSON ({why:.120}); {_ONE_A_LINE}")
