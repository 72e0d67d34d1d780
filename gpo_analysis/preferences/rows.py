"""Cells of a table of comparisons, by column: names, numbers and texts, each different value checked once."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.preferences.dialogues import TURN, Unfit, messages_of, split_dialogues, split_messages, written
from gpo_analysis.preferences.layouts import Layout
from gpo_analysis.reading import Names, is_blank, number_in
from gpo_analysis.reading.column import MISSING, Column, ColumnTable


class Told(Protocol):
    """Where it is said what was done with the rows."""

    notes: list[str]

    def leave_out(self, rows: BoolArray, why: str) -> None:
        """Count rows that are not used."""


def cells_of(table: ColumnTable, name: str) -> Column:
    """A column that every row has to have."""
    column = table.columns[name]
    if MISSING in column.values:
        row = int(column.first[column.values.index(MISSING)])
        raise ValueError(
            f"{table.where(row)}: missing {name!r}; the keys of the file are {', '.join(table.names)!r:.200}"
        )
    return column


def take_names(
    book: Names, table: ColumnTable, rows: IntArray, columns: list[tuple[str, Column]]
) -> tuple[list[IntArray], tuple[str, ...]]:
    """Each column's cells as indices of names, in the order in which they appear, row by row; and the names.

    Parameters
    ----------
    book : Names
    table : ColumnTable
    rows : array of int, shape (k,)
        Which rows of the table the columns' cells are.
    columns : list of (str, Column)
    """
    todo = sorted((int(row), side, i) for side, (_, column) in enumerate(columns) for i, row in enumerate(column.first))
    ids = [np.zeros(len(column.values), dtype=np.int64) for _, column in columns]
    order: dict[str, int] = {name: i for i, name in enumerate(book.order)}
    for row, side, i in todo:
        name, column = columns[side]
        taken = book.take(column.values[i], name, table.path, int(table.lines[rows[row]]))
        ids[side][i] = order.setdefault(taken, len(order))
    book.order = tuple(order)
    return [one[column.codes] for one, (_, column) in zip(ids, columns, strict=True)], book.order


def numbers(table: ColumnTable, name: str, rows: IntArray, *, least: float = -np.inf, blank: bool = True) -> FloatArray:
    """A column's numbers in these rows; NaN for empty cells where they may be `blank`, which are refused otherwise."""
    column = table.columns[name].chosen(rows)
    found = np.full(len(column.values), np.nan)
    order = np.argsort(column.first, kind="stable")
    for i in order:
        value = column.values[i]
        value = None if value is MISSING else value
        if not (blank and is_blank(value)):
            found[i] = number_in(value, name, table.where(int(rows[column.first[i]])), least=least)
    return found[column.codes]


def texts_of(
    table: ColumnTable,
    layout: Layout,
    prompt: Column | None,
    first: Column,
    second: Column,
    implicit: bool | None,
    told: Told,
) -> tuple[Column | None, Column, Column]:
    """Prompt and answers as texts: messages written out, the prompt taken from whole dialogues where there is none.

    Parameters
    ----------
    table : ColumnTable
    layout : Layout
    prompt, first, second : Column
        The prompt is None where there is no such column.
    implicit : bool, optional
        Whether the common beginning of the two is the prompt; by default where both are dialogues.
    told : Told
        What is left out is counted there.
    """
    columns = [column for column in (prompt, first, second) if column is not None]
    if any(_holds_messages(column) for column in columns):
        return _messages(table, layout, prompt, first, second)
    dialogues = prompt is None and all(
        isinstance(v, str) and TURN in v for column in (first, second) for v in column.values
    )
    if prompt is not None or not (dialogues if implicit is None else implicit):
        if prompt is None and implicit is None and layout.first == "chosen" and not layout.prompt:
            told.notes.append(
                "no prompts: a text is one item in the whole file (implicit prompts, their beginning, are an option)"
            )
        return prompt, first, second
    turn = TURN if dialogues else ""
    parts: list[tuple[str, str, str]] = []
    apart = np.zeros(len(first.codes), dtype=bool)
    for row, (a, b) in enumerate(zip(first.codes, second.codes, strict=True)):
        one, two = first.values[a], second.values[b]
        found = split_dialogues(one, two, turn=turn) if isinstance(one, str) and isinstance(two, str) else None
        apart[row] = found is None
        parts.append(found or ("", one, two))
    told.leave_out(apart, "the two texts share no beginning that could be a prompt")
    told.notes.append("prompts are the common beginning of chosen and rejected")
    asked, one, two = (Column.of(cells) for cells in zip(*parts, strict=True))
    return asked, one, two


def _holds_messages(column: Column) -> bool:
    return any(isinstance(value, list | dict) for value in column.values) or (
        isinstance(column.values[0], str) and column.values[0].lstrip().startswith("[{")
    )


def _messages(
    table: ColumnTable, layout: Layout, prompt: Column | None, first: Column, second: Column
) -> tuple[Column | None, Column, Column]:
    cells = []
    asked_of: list[Any] = []
    names = (layout.first, layout.second)
    for row in range(len(first.codes)):
        try:
            one, two = (messages_of(column[row], name) for column, name in zip((first, second), names, strict=True))
            asked = None if prompt is None else messages_of(prompt[row], "prompt")
        except Unfit as error:
            raise ValueError(f"{table.where(row)}: {error}") from None
        own = prompt[row] if prompt is not None and asked is None else None
        if one is None or two is None:
            asked_of.append(written(asked) if asked is not None else own)
            cells.append(tuple(c[row] if m is None else written(m) for c, m in ((first, one), (second, two))))
            continue
        shared, a, b = split_messages(one, two)
        if asked is not None:  # whole dialogues may stand beside their beginning
            a, b = (written(m[len(asked) :] if m[: len(asked)] == asked else m) for m in (one, two))
            shared = written(asked)
        elif own is not None:
            shared = own
        asked_of.append(shared)
        cells.append((a, b))
    given = [value for value in asked_of if value is not None and value != ""]
    one_side, other = (Column.of(side) for side in zip(*cells, strict=True))
    return (Column.of(asked_of) if given else None), one_side, other
