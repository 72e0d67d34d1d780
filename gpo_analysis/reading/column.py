"""A column as codes of its different values, so that each value is checked once, however many rows have it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpo_analysis.arrays import BoolArray, IntArray
from gpo_analysis.reading.values import is_blank


class _Missing:
    """Stands where a JSON row has no such key."""

    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()


@dataclass(frozen=True, eq=False)
class Column:
    """One column.

    Attributes
    ----------
    codes : array of int, shape (rows,)
        Index into `values`.
    values : tuple
        The different values, none of them unused.
    """

    codes: IntArray
    values: tuple[Any, ...]

    @cached_property
    def first(self) -> IntArray:
        """The row where each value stands first, shape (values,)."""
        rows = np.empty(len(self.values), dtype=np.int64)
        rows[self.codes[::-1]] = np.arange(len(self.codes))[::-1]
        return rows

    def __getitem__(self, row: int) -> Any:
        return self.values[self.codes[row]]

    @cached_property
    def blank(self) -> BoolArray:
        """Rows whose cell is empty or missing, shape (rows,)."""
        return np.array([is_blank(value) or value is MISSING for value in self.values], dtype=bool)[self.codes]

    def chosen(self, rows: BoolArray | IntArray) -> Column:
        """Some of the rows."""
        codes = self.codes[rows]
        is_used = np.bincount(codes, minlength=len(self.values)) > 0
        if is_used.all():
            return Column(codes, self.values)
        used = np.flatnonzero(is_used)
        return Column((np.cumsum(is_used) - 1)[codes], tuple(self.values[i] for i in used))

    @staticmethod
    def of(cells: Iterable[Any]) -> Column:
        """From the cells, row by row.

        Examples
        --------
        >>> found = Column.of(["b", "a", "b", 1, True])
        >>> found.values, found.codes
        (('b', 'a', 1, True), array([0, 1, 0, 2, 3]))
        """
        book: dict[Any, int] = {}
        values: list[Any] = []
        codes = []
        for cell in cells:
            key = cell if type(cell) is str else _hashed(cell)
            code = book.get(key)
            if code is None:
                code = book[key] = len(values)
                values.append(cell)
            codes.append(code)
        return Column(np.array(codes, dtype=np.int64), tuple(values))


@dataclass(frozen=True, eq=False)
class ColumnTable:
    """What a file or a frame holds, of the columns that are of use.

    Attributes
    ----------
    path : str
    format : str
        Such as "CSV (semicolons)", "JSON lines", "Parquet", "DataFrame".
    unit : str
        What `lines` number: "line", or "row" (from 0, of a frame or a Parquet file).
    lines : array of int, shape (rows,)
    columns : dict of str to Column
    names : dict of str to int
        Every column of the file, with the line where it first stands; in their order.
    blank : tuple of int
        Lines of rows with nothing but separators.
    written : tuple of str
        The columns as the header of a CSV file or a frame has them, or nothing.
    """

    path: str
    format: str
    unit: str
    lines: IntArray
    columns: dict[str, Column]
    names: dict[str, int]
    blank: tuple[int, ...] = ()
    written: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int | None = None) -> str:
        """The place of a row, or of the header, for a message."""
        if row is not None:
            return f"{self.path}, {self.unit} {self.lines[row]}"
        return self.path if self.unit == "row" else f"{self.path}, line {next(iter(self.names.values()), 1)}"

    def lines_of(self, rows: BoolArray | IntArray) -> tuple[int, ...]:
        """Their lines."""
        return tuple(int(line) for line in self.lines[rows])


def _hashed(cell: Any) -> Any:
    """A key that tells 1 from True and from 1.0, and lists by what they hold."""
    try:
        hash(cell)
    except TypeError:
        return type(cell), repr(cell)
    if isinstance(cell, float) and math.isnan(cell):
        return float, "nan"
    return type(cell), cell
