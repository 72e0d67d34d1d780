"""How each comparison of a table ended: a winner's name or side, marks, counts, ties as a column or a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.preferences.contests import FIRST, TIE
from gpo_analysis.preferences.layouts import NO, TIE_WORDS, YES, Layout, words_of_sides
from gpo_analysis.preferences.rows import cells_of, numbers
from gpo_analysis.reading import Names, is_blank
from gpo_analysis.reading.column import MISSING, ColumnTable

Outcomes = NDArray[np.int8]


def sided(
    table: ColumnTable,
    layout: Layout,
    rows: IntArray,
    a: IntArray,
    b: IntArray,
    book: Names,
    own: Mapping[str, str],
    notes: list[str],
) -> Outcomes:
    """Outcomes by a column that names the winner, its side, or a tie; a word for a side other than its column is noted.

    Raises
    ------
    ValueError
        Naming the line, where it says nothing that is known, or two things at once: an item called like the other side.
    """
    name = layout.ends[0]
    column = cells_of(table, name).chosen(rows)
    sides, known = words_of_sides(layout, own), {text: i for i, text in enumerate(book.order)}
    word = np.full(len(column.values), -1)
    item = np.full(len(column.values), -2)
    for i, value in enumerate(column.values):
        said = _said(value)
        word[i] = {**sides, **TIE_WORDS}.get(said, -1)
        item[i] = known.get(book.find(value) or "", -2)
    by_word, by_item = word[column.codes], item[column.codes]
    named = np.where(by_item == a, 0, np.where(by_item == b, 1, -1))
    twice = (named >= 0) & (by_word >= 0) & (named != by_word)
    outcome = np.where(named >= 0, named, by_word)
    for wrong, why in (
        (twice, "which names one of the two and is the word for another end; name sides or items otherwise"),
        (outcome < 0, ""),
    ):
        if wrong.any():
            at = int(np.argmax(wrong))
            said = why or _accepted(layout, sides, column[at])
            raise ValueError(f"{table.where(int(rows[at]))}: {name} is {column[at]!r:.60}{', ' if why else '; '}{said}")
    taken = [
        f"{str(column.values[i])!r:.40} is {(layout.first, layout.second)[word[i]]}"
        for i in np.argsort(column.first, kind="stable")
        if word[i] in (0, 1)
        and np.any(named[column.codes == i] < 0)
        and _said(column.values[i]) not in (_said(layout.first), _said(layout.second))
    ]
    if taken:
        notes.append(f"in {name}, {', '.join(taken)}")
    return np.asarray(outcome, dtype=np.int8)


def _said(value: Any) -> str:
    """A word in lower case with _ between its parts; a number with a sign or a point is no word."""
    text = str(value).strip().casefold()
    word = re.sub(r"[\W_]+", "_", text).strip("_")
    return text if word.isdigit() else word


def _accepted(layout: Layout, sides: Mapping[str, int], value: Any) -> str:
    """Every word that is taken, and of 0 what is not told by it."""
    words = [[word for word, code in sides.items() if code == side] for side in (0, 1)]
    ways = [f"{of[0]} (also {', '.join(of[1:])})" if of[1:] else of[0] for of in words]
    zero = f"; {value} does not say which side it is: write {words[0][-1]} and {words[1][-1]}"
    return (
        f"accepted are {ways[0]}, {ways[1]}, tie (also draw), tie (bothbad), or one of the two names"
        f"{zero if _said(value) in ('0', '-1', 'true', 'false', '0.0', '-1.0') else ''}"
    )


def marked(table: ColumnTable, layout: Layout, rows: IntArray) -> Outcomes:
    """Outcomes by columns of 0 and 1, a column an end, of which one is 1.

    Raises
    ------
    ValueError
        Naming the line where none or several are, or a cell is neither.
    """
    marks = np.zeros((4, len(rows)), dtype=bool)
    for code, name in enumerate(layout.ends):
        if name:
            marks[code] = _yes(table, name, rows)
    wrong = marks.sum(axis=0) != 1
    if wrong.any():
        at = int(np.argmax(wrong))
        names = [name for name in layout.ends if name]
        raise ValueError(
            f"{table.where(int(rows[at]))}: {int(marks[:, at].sum())} of {', '.join(names)} are 1; accepted is one"
        )
    return np.asarray(np.argmax(marks, axis=0), dtype=np.int8)


def counted(table: ColumnTable, layout: Layout, rows: IntArray) -> tuple[IntArray, Outcomes, FloatArray]:
    """Row, outcome and count of each end of each pair; a pair without any keeps one row, of count 0.

    Raises
    ------
    ValueError
        Naming the line of a count that is missing or no number of at least 0; a column without any entry says nothing.
    """
    table_of = np.zeros((len(rows), 4))
    for code, name in enumerate(layout.ends):
        if name and not (code >= TIE and table.columns[name].blank.all()):
            table_of[:, code] = numbers(table, name, rows, least=0, blank=False)
    kept = table_of > 0
    kept[~kept.any(axis=1), FIRST] = True
    row, outcome = np.nonzero(kept)
    return row, outcome.astype(np.int8), table_of[row, outcome]


def tied_rows(table: ColumnTable, layout: Layout, rows: IntArray, outcome: Outcomes, notes: list[str]) -> Outcomes:
    """Outcomes with ties where a column of ties is 1.

    Raises
    ------
    ValueError
        Naming the line of a cell that is neither 1 nor 0, or where a side has won and the tie is 1.
    """
    for name in layout.ties:
        tied = _yes(table, name, rows, empty=notes)
        if layout.kind == "sided" and np.any(tied & (outcome < TIE)):
            at = int(np.argmax(tied & (outcome < TIE)))
            raise ValueError(f"{table.where(int(rows[at]))}: {name} is 1, but {layout.ends[0]} names one of the two")
        outcome = np.where(tied & (outcome < TIE), TIE, outcome).astype(np.int8)
    return outcome


def _yes(table: ColumnTable, name: str, rows: IntArray, empty: list[str] | None = None) -> NDArray[np.bool_]:
    column = table.columns[name].chosen(rows)
    found = np.zeros(len(column.values), dtype=bool)
    for i in np.argsort(column.first, kind="stable"):
        value: Any = column.values[i]
        said = str(value).strip().casefold()
        if value is MISSING or is_blank(value):
            if empty is None:
                raise ValueError(f"{table.where(int(rows[column.first[i]]))}: {name} is empty; accepted are 1 and 0")
            times, line = int(np.sum(column.codes == i)), table.lines[rows[column.first[i]]]
            if not column.blank.all():
                empty.append(
                    f"{times} empty {'cell' if times == 1 else 'cells'} in {name}, taken as no tie (first: "
                    f"{table.unit} {line})"
                )
        elif said not in YES | NO | {"none"}:
            raise ValueError(
                f"{table.where(int(rows[column.first[i]]))}: {name} is {str(value)!r:.60}; accepted are 1 (neither "
                "won) and 0"
            )
        found[i] = said in YES
    return found[column.codes]
