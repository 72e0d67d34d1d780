"""Compare two records, or two folders of them: are the tables the same, bit for bit, and if not, by how much?

The same seed gives the same bits on one machine, whatever the number of processes, the folder, and whether a run was
killed on its way. Between machines it does not: OpenBLAS and numpy choose their kernels by the processor, which adds up
in another order, and the system's exp and log differ in a last digit; what is trained step by step amplifies that.
``machines.json`` holds what was measured of it (`python -m fuzz.same_bits --machines`): the columns in which the same
code differed between kernels, and by how much.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.framework.discovery import get_experiments
from experiments.framework.tolerances import ATOL, RTOL
from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.records import META_FILE, Record, RecordError, canonical_json, find_records, plain, read_record
from gpo_analysis.runs import latest_record

MACHINES = Path(__file__).with_name("machines.json")
ASIDE = ("wall_seconds", "finished", "checks", "summary", "checked")
"""What is said of a run and follows from its table, or from the clock."""


@dataclass(frozen=True)
class Column:
    """How a column of two tables differs.

    Attributes
    ----------
    name : str
    kind : str
        ``numbers``, ``whole numbers`` or ``values`` (texts, truth values, dates, lists).
    rows, differing : int
        Rows in all; rows that are not the same bits (NaN is NaN).
    absolute, relative, ulps : float
        Largest difference of numbers, the same over the larger of the two, and in units of the last place; infinite
        where one is NaN or infinite and the other is not. Of values: 0 or infinite.
    within : bool
        Whether every row is within the tolerance.
    known : str
        What was measured of this column between kernels of two processors, in words.
    """

    name: str
    kind: str
    rows: int
    differing: int = 0
    absolute: float = 0.0
    relative: float = 0.0
    ulps: float = 0.0
    within: bool = True
    known: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two tables of the same name, side by side.

    Attributes
    ----------
    name : str
    columns : tuple of Column
        Those that both have, where they have as many rows.
    problems : tuple of str
        Why they are no two runs of the same thing: another configuration, other rows or columns.
    provenance : tuple of str
        What is another in how they were made; of itself no difference of the tables.
    """

    name: str
    columns: tuple[Column, ...] = ()
    problems: tuple[str, ...] = ()
    provenance: tuple[str, ...] = field(default=())

    @property
    def identical(self) -> bool:
        """Whether the tables are the same bits."""
        return not self.problems and not any(column.differing for column in self.columns)

    @property
    def within(self) -> bool:
        """Whether every column is within the tolerance."""
        return not self.problems and all(column.within for column in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON (infinite differences are the text ``inf``)."""
        told = {**asdict(self), "identical": self.identical, "within": self.within}
        return json.loads(json.dumps(told).replace("Infinity", '"inf"'))  # type: ignore[no-any-return]


def compare(a: Path, b: Path, rtol: float = RTOL, atol: float = ATOL, *, common: bool = False) -> list[Comparison]:
    """Compare two records, two folders of records, or two folders with Parquet tables.

    Parameters
    ----------
    a, b : path
        ``<out>/<name>/<key>``, ``<out>``, or the folder of a study. Of folders, records of the same name and
        configuration are compared, the last ones where there are several.
    rtol, atol : float
        Numbers x and y are close where |x − y| ≤ atol + rtol max(|x|, |y|); of a column that was measured to differ
        between kernels ``atol`` is at least ten times that (residuals are rounding themselves).
    common : bool
        Leave out what only one of them has.

    Raises
    ------
    RecordError
        Where there is nothing to compare, or something is damaged.
    ValueError
        For a negative tolerance.
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value >= 0:
            raise ValueError(f"{name} is {value}; accepted are 0 and more")
    first, second = _tables(a), _tables(b)
    if not set(first) & set(second):
        raise RecordError(f"{a} has {', '.join(first)}; {b} has {', '.join(second)}: nothing of the same name")
    found = []
    for name in sorted(set(first) | set(second)):
        if name in first and name in second:
            found.append(_compared(name, *_matched(first[name], second[name]), rtol, atol))
        elif not common:
            found.append(Comparison(name, problems=(f"only in {a if name in first else b}",)))
    return found


def _tables(folder: Path) -> dict[str, list[Record]]:
    """What is in a folder, by name; of several records of a name and configuration the last one."""
    if (folder / META_FILE).is_file():
        record = read_record(folder)
        return {record.name: [record]}
    names = sorted({path.parent.name for path in find_records(folder)})
    found: dict[str, list[Record]] = {}
    for name in names:
        records = [read_record(path) for path in find_records(folder, name)]
        last = latest_record(folder, name)
        records.sort(key=lambda record: record.key == last.key)
        found[name] = list({canonical_json(record.config): record for record in records}.values())
    if not found:
        found = {path.name: [_bare(path)] for path in sorted(folder.glob("*.parquet"))}
    if not found:
        raise RecordError(f"{folder} holds no record and no table; accepted are <records>/<name>/<key> and <records>")
    return found


def _bare(path: Path) -> Record:
    try:
        return Record(path.name, {}, pd.read_parquet(path).reset_index(drop=True))
    except Exception as error:  # pyarrow raises its own kinds
        raise RecordError(f"{path} is no table ({' '.join(str(error).split())})") from error


def _matched(first: list[Record], second: list[Record]) -> tuple[Record, Record]:
    """The last pair of one configuration; where there is none, the last of each."""
    for one in reversed(first):
        for other in reversed(second):
            ours, theirs = _configs(one, other)
            if ours == theirs:
                return one, other
    return first[-1], second[-1]


def _configs(one: Record, other: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """Their configurations; a field that one of them has not yet has its default of today."""
    if one.config.keys() == other.config.keys():
        return one.config, other.config
    try:
        kind = get_experiments([one.name])[0].load().Config
    except ValueError:  # an experiment that is no more, or a table alone
        return one.config, other.config
    usual = {
        field.name: plain(field.default)
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING and field.name in one.config.keys() | other.config.keys()
    }
    return {**usual, **one.config}, {**usual, **other.config}


def _compared(name: str, one: Record, other: Record, rtol: float, atol: float) -> Comparison:
    problems = [f"configuration: {line}" for line in _differences(*_configs(one, other))]
    a, b = one.table, other.table
    for label, here, there in (("first", a, b), ("second", b, a)):
        lone = [column for column in here if column not in there]
        problems += [f"columns only in the {label}: {', '.join(lone)}"] if lone else []
    if len(a) != len(b):
        problems.append(f"{len(a)} rows and {len(b)}")
        columns: tuple[Column, ...] = ()
    else:
        columns = tuple(
            column_of(a[c], b[c], rtol, max(atol, 10 * measured(name, str(c))), known(name, str(c)))
            for c in a
            if c in b
        )
    told = tuple(_differences(_making(one), _making(other)))
    return Comparison(name, columns, tuple(problems), told)


def _making(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record.meta.items() if key not in ASIDE}


def _differences(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Lines ``where: a → b`` for what differs between two documents."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(set(a) | set(b)):
            yield from _differences(a.get(key), b.get(key), f"{where}.{key}" if where else key)
    elif a != b:
        yield f"{where}: {_short(a)} → {_short(b)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else text[:76] + " …"


def column_of(a: pd.Series[Any], b: pd.Series[Any], rtol: float = RTOL, atol: float = ATOL, known: str = "") -> Column:
    """Compare two columns of one length.

    Parameters
    ----------
    a, b : Series
    rtol, atol : float
    known : str
        What is known of it, for `Column.known`.

    Examples
    --------
    >>> import pandas as pd
    >>> found = column_of(pd.Series([1.0, 0.3], name="x"), pd.Series([1.0, 0.1 + 0.2], name="x"))
    >>> found.differing, found.ulps, found.within
    (1, 1.0, True)
    """
    name, rows = str(a.name), len(a)
    kinds = {a.dtype.kind, b.dtype.kind}
    if kinds == {"f"} and a.dtype == b.dtype:
        x, y = a.to_numpy(), b.to_numpy()
        off = ~_same_bits(x, y)
        if not off.any():
            return Column(name, "numbers", rows, known=known)
        x, y = x[off], y[off]
        absolute, relative, ulps = _apart(x, y)
        close = absolute <= atol + rtol * np.where(np.isfinite(absolute), np.maximum(np.abs(x), np.abs(y)), 0.0)
        worst = (float(np.max(part)) for part in (absolute, relative, ulps))
        return Column(name, "numbers", rows, int(off.sum()), *worst, bool(close.all()), known)
    if kinds <= {"i", "u"}:
        gaps = [abs(int(x) - int(y)) for x, y in zip(a, b, strict=True) if x != y]
        if not gaps:
            return Column(name, "whole numbers", rows, known=known)
        relatives = [abs(int(x) - int(y)) / max(abs(int(x)), abs(int(y))) for x, y in zip(a, b, strict=True) if x != y]
        return Column(name, "whole numbers", rows, len(gaps), float(max(gaps)), max(relatives), np.inf, False, known)
    lists = [_numbers(a), _numbers(b)]
    if lists[0] is not None and lists[1] is not None and lists[0].shape == lists[1].shape:
        found = column_of(pd.Series(lists[0], name=name), pd.Series(lists[1], name=name), rtol, atol, known)
        return replace(found, name=name, rows=rows, differing=min(found.differing, rows))
    if a.dtype != b.dtype and not (kinds <= {"O", "b"} or len(kinds) == 1):
        return Column(f"{name} ({a.dtype}, {b.dtype})", "values", rows, rows, np.inf, np.inf, np.inf, False, known)
    other = sum(_text(x) != _text(y) for x, y in zip(a, b, strict=True))
    far = np.inf if other else 0.0
    return Column(name, "values", rows, other, far, far, far, not other, known)


def _numbers(column: pd.Series[Any]) -> FloatArray | None:
    """All numbers of a column whose cells are lists of them, also as JSON's text; None for any other."""
    found: list[float] = []
    for cell in column:
        value = cell.tolist() if isinstance(cell, np.ndarray) else cell
        if isinstance(value, str) and value.startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                return None
        if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            value = [None]
        if not isinstance(value, list) or not all(item is None or type(item) in (int, float) for item in value):
            return None
        found += [float(len(value)), *(np.nan if item is None else float(item) for item in value)]
    return np.array(found) if found else None


def _text(value: Any) -> str:
    """A cell's value as text, missing ones alike; numbers within lists with all their digits."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return "missing" if value is None or value is pd.NA or value != value else f"{type(value).__name__} {value!r}"


def _same_bits(x: FloatArray, y: FloatArray) -> BoolArray:
    bits = {2: np.int16, 4: np.int32, 8: np.int64}[x.dtype.itemsize]
    same = x.view(bits) == y.view(bits) if x.flags.c_contiguous and y.flags.c_contiguous else None
    if same is None:
        same = np.ascontiguousarray(x).view(bits) == np.ascontiguousarray(y).view(bits)
    return np.asarray(same | (np.isnan(x) & np.isnan(y)))


def _apart(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Absolute and relative differences and those in units of the last place; infinite beside what is not finite."""
    with np.errstate(all="ignore"):
        absolute = np.abs(x.astype(np.float64) - y.astype(np.float64))
        of_either = np.maximum(np.abs(x), np.abs(y))
        largest = of_either.astype(np.float64)
        relative = np.where(largest > 0, absolute / np.where(largest > 0, largest, 1.0), 0.0)
        unit = np.spacing(of_either)  # upwards, where the greatest number of all has none
        unit = np.where(np.isfinite(unit), unit, of_either - np.nextafter(of_either, of_either.dtype.type(0)))
        ulps = absolute / unit.astype(np.float64)
    odd = ~(np.isfinite(x) & np.isfinite(y))
    return tuple(np.where(odd, np.inf, part) for part in (absolute, relative, ulps))  # type: ignore[return-value]


# -- between machines --------------------------------------------------------------------------------------------------


@cache
def _measured() -> dict[str, dict[str, list[float]]]:
    try:
        document: dict[str, dict[str, list[float]]] = json.loads(MACHINES.read_text(encoding="utf-8"))["columns"]
    except FileNotFoundError:
        return {}
    return document


def measured(name: str, column: str) -> float:
    """The largest absolute difference of an experiment's column between kernels; 0 where none was seen."""
    return _measured().get(name, {}).get(column, [0.0])[0]


def known(name: str, column: str) -> str:
    """What was measured of an experiment's column between kernels, in words.

    Parameters
    ----------
    name, column : str
    """
    if name not in _measured():
        return "not measured between processors"
    worst = _measured()[name].get(column)
    if worst is None:
        return "the same between processors, where it was measured"
    return f"known to differ between processors, by {worst[0]:.0e} (relative {worst[1]:.0e}) at a small size"


def in_words(found: list[Comparison], a: Path, b: Path, rtol: float, atol: float) -> str:
    """The whole comparison as text.

    Parameters
    ----------
    found : list of Comparison
    a, b : path
    rtol, atol : float
    """
    lines, groups = [], dict[tuple[str, ...], list[str]]()
    for one in found:
        off = [column for column in one.columns if column.differing]
        word = "identical" if one.identical else "within tolerance" if one.within else "DIFFERS"
        lines.append(f"{one.name}: {word}; {len(one.columns) - len(off)} of {len(one.columns)} columns bit for bit")
        lines += [f"    {problem}" for problem in one.problems]
        for c in sorted(off, key=lambda column: column.within):
            far = f"absolute {c.absolute:.1e}, relative {c.relative:.1e}, {c.ulps:.3g} ulps"
            size = "" if c.kind == "values" else f": {far}" if c.kind == "numbers" else f": at most {c.absolute:.0f}"
            verdict = "within" if c.within else "BEYOND"
            lines.append(f"    {c.name}: {verdict}, {c.differing} of {c.rows} rows{size}; {c.known}")
        groups.setdefault(one.provenance, []).append(one.name)
    for told, names in groups.items():
        if told:
            lines.append(f"made differently ({', '.join(names)}):")
            lines += [f"    {line}" for line in told]
    same = sum(one.identical for one in found)
    close = sum(one.within for one in found) - same
    lines.append(
        f"{a} and {b}: {same} of {len(found)} tables identical, {close} within the tolerance (rtol {rtol:g}, "
        f"atol {atol:g}), {len(found) - same - close} beyond"
    )
    return "\n".join(lines)
