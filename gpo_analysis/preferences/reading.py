"""Read observed comparisons from files: CSV or JSON lines, plain or gzip-compressed, every error with file and line.

- CSV: a header with the columns ``winner``, ``loser`` and optionally ``count`` or ``votes``; others are ignored.
- JSON lines: one object a line with the same keys.
- Votes on arguments (:func:`read_argument_votes`): JSON lines with ``debate, prompt, chosen_id, rejected_id,
  votes_chosen, votes_rejected`` as derived from UKPConvArg1 (Habernal and Gurevych, ACL 2016).
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

from gpo_analysis.preferences.comparisons import Comparisons

__all__ = ["read_argument_votes", "read_comparisons"]

COLUMNS = "columns winner, loser and optionally count or votes"
Row = tuple[int, dict[str, Any]]


def read_comparisons(path: str | Path) -> Comparisons:
    """Read who beat whom from a CSV or JSON-lines file.

    Parameters
    ----------
    path : str or Path
        Names ending in .jsonl, .ndjson or .json (or these with .gz) are JSON lines, .csv is CSV; any other name is JSON
        lines if its first character is ``{``.

    Returns
    -------
    Comparisons
        Items in the order in which they appear, pairs as the file has them.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted: for a missing column, a count that is negative or not a finite number,
        an empty name, a winner equal to the loser, malformed CSV or JSON, a file without comparisons.
    OSError
        Where the file cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "games.csv")
    ...     _ = file.write_text("winner,loser,count\\nrock,scissors,3\\nscissors,paper,2\\n")
    ...     read_comparisons(file)
    Comparisons(3 items, 2 pairs, total count 5)
    """
    text = _text(path)
    suffixes = [s.lower() for s in Path(path).suffixes if s.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    is_json = kind in (".jsonl", ".ndjson", ".json") or (kind != ".csv" and text.lstrip()[:1] == "{")
    pairs: list[tuple[str, str, float]] = []
    for line, row in (_json_rows if is_json else _csv_rows)(path, text):
        where = f"{path}, line {line}"
        winner, loser = _name(row, "winner", where), _name(row, "loser", where)
        if winner == loser:
            raise ValueError(f"{where}: winner and loser are both {winner!r}; they must differ")
        given = [key for key in ("count", "votes") if row.get(key) not in (None, "")]
        if len(given) == 2:
            raise ValueError(f"{where}: both count and votes are given; accepted is one of them")
        pairs.append((winner, loser, _count(row[given[0]], given[0], where) if given else 1.0))
    return _comparisons(path, pairs)


def read_argument_votes(path: str | Path, *, by_side: bool = True) -> dict[str, Comparisons]:
    """Read votes on pairs of arguments: one problem a debate and side, the votes for both arguments kept as counts.

    Three votes for one argument and two for the other are two directed comparisons with counts 3 and 2, a soft label.
    Votes for "equally convincing" are left out.

    Parameters
    ----------
    path : str or Path
        A JSON-lines file, plain or .gz; or a folder, of which every ``*.jsonl`` and ``*.jsonl.gz`` is read. Records
        with ``a_id, b_id, votes_a, votes_b`` (ties by gold label) are taken too.
    by_side : bool
        One problem a debate and side (from the line "Side: …" of the prompt), or one a debate. Only arguments of one
        side are ever compared, so a whole debate falls into at least as many components as it has sides.

    Returns
    -------
    dict of str to Comparisons
        Sorted by name: "debate (side)", or the debate's.

    Raises
    ------
    ValueError
        Naming file, line and what is accepted.
    OSError
        Where the file cannot be opened.
    """
    place = Path(path)
    files = sorted([*place.glob("*.jsonl"), *place.glob("*.jsonl.gz")]) if place.is_dir() else [place]
    if not files:
        raise ValueError(f"{place} holds no .jsonl or .jsonl.gz file")
    groups: dict[str, list[tuple[str, str, float]]] = {}
    for file in files:
        for line, row in _json_rows(file, _text(file)):
            where = f"{file}, line {line}"
            name = _name(row, "debate", where)
            if by_side:
                name = f"{name} ({_side(row, where)})"
            keys = ("chosen_id", "rejected_id", "votes_chosen", "votes_rejected")
            if "a_id" in row:
                keys = ("a_id", "b_id", "votes_a", "votes_b")
            first, second = _name(row, keys[0], where), _name(row, keys[1], where)
            if first == second:
                raise ValueError(f"{where}: {keys[0]} and {keys[1]} are both {first!r}; they must differ")
            votes = [_count(row.get(key), key, where) for key in keys[2:]]
            groups.setdefault(name, []).extend([(first, second, votes[0]), (second, first, votes[1])])
    if not groups:
        raise ValueError(f"{place} holds no comparisons: the file is empty")
    voted = {name: pairs for name, pairs in sorted(groups.items()) if any(votes > 0 for *_, votes in pairs)}
    return {name: _comparisons(place, pairs).aggregated() for name, pairs in voted.items()}


def _text(path: str | Path) -> str:
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


def _json_rows(path: str | Path, text: str) -> Iterator[Row]:
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


def _name(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if value is None and key not in row:
        raise ValueError(f"{where}: missing {key!r}; the keys are {', '.join(map(repr, row)):.200}")
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise ValueError(f"{where}: {key} is {value!r:.60}; accepted are non-empty names")
    return str(value).strip()


def _count(value: Any, key: str, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{where}: {key} is {value!r:.60}; accepted are finite numbers of at least 0")
    return number


def _side(row: dict[str, Any], where: str) -> str:
    sides = [line.partition(":")[2].strip() for line in str(row.get("prompt", "")).splitlines() if line[:5] == "Side:"]
    if not sides:
        raise ValueError(f"{where}: prompt has no line 'Side: …'; got {row.get('prompt')!r:.80}")
    return sides[0]


def _comparisons(path: str | Path, pairs: list[tuple[str, str, float]]) -> Comparisons:
    if not pairs:
        raise ValueError(f"{path} holds no comparisons; accepted are {COLUMNS}, one comparison a line")
    try:
        return Comparisons.from_pairs(pairs)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
