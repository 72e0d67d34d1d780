"""Results that show themselves: text, a table, a notebook's view and a chart, all from three things a class says.

A result is a dataclass that inherits `Shown` and says, where what its fields give is not the best: ``_facts`` (a line
each), ``_columns`` (of its table) and ``_panel`` (its chart, as data). The rest follows: ``summary()``, ``str``, a
``repr`` of a few lines, ``to_frame()``, ``_repr_html_`` and ``plot(ax=)``. matplotlib and pandas are imported when they
are used.
"""

from __future__ import annotations

import contextlib
import html
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gpo_analysis.reading import shown, visible
from gpo_analysis.showing.charts import Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_NUMBERS = int | float | np.integer | np.floating | bool | np.bool_
_ROWS, _FEW, LINES, _WIDE = 20, 6, 24, 110
_NOTES = ("findings", "advice", "notes")  # fields that are lines of text
_LONG = 160  # characters of a fact
_COURSE = ("step", "time", "iteration")  # columns of a course, of which the end is what one wants


class Shown:
    """A result; see this module."""

    #: Why there is no chart, where there is none.
    _no_plot: ClassVar[str] = "it is a few numbers, which its table shows"
    #: Fields that are no facts of their own.
    _hidden: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "__repr__" not in vars(cls):  # before `dataclass` puts in its own
            cls.__repr__ = Shown.__repr__  # type: ignore[method-assign]

    # -- what a class may say of itself ------------------------------------------------------------------------------

    def _facts(self) -> list[tuple[str, Any]]:
        """What is said once, each with its name: by default the fields that are one value."""
        return [(name.replace("_", " "), value) for name, value in self._fields() if _is_fact(value)]

    def _columns(self) -> Mapping[str, Any]:
        """Columns of the table: by default the fields of one dimension and the commonest length, or one row of facts.

        A field that holds other dataclasses gives a column each of their fields.
        """
        if type(self).to_frame is not Shown.to_frame:
            return {str(name): column.to_numpy() for name, column in self.to_frame().items()}
        values = dict(self._fields())
        for value in values.values():
            if isinstance(value, tuple | list) and value and all(is_dataclass(one) for one in value):
                return of_rows(value)
        flat = {name: value for name, value in values.items() if name not in _NOTES and _is_column(value)}
        if not flat:
            return {name: [_cell(value)] for name, value in values.items() if _is_fact(value)}
        length = Counter(len(value) for value in flat.values()).most_common(1)[0][0]
        return {"item" if name == "items" else name: value for name, value in flat.items() if len(value) == length}

    def _notes(self) -> list[str]:
        """Lines of text that stand below: by default findings, advice and notes."""
        return [str(line) for name, value in self._fields() if name in _NOTES for line in value]

    def _panel(self) -> Panel:
        """The chart."""
        raise ValueError(f"{type(self).__name__} has no plot: {self._no_plot}")

    # -- what follows ------------------------------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        import pandas as pd

        return pd.DataFrame({str(name): column for name, column in self._columns().items()})

    def summary(self) -> str:
        """All that is to be said, as text: what is said once, the table's first rows, and what to beware of.

        Of a course over steps or time the last rows, too.
        """
        facts = [(name, _text(value)) for name, value in self._facts()]
        width = max((len(name) for name, _ in facts), default=0)
        lines = [type(self).__name__, *(f"{name:<{width}}  {value}" for name, value in facts)]
        table = self._table_text(_ROWS)
        lines += ["", *table] if table else []
        notes = [f"- {note}" for note in self._notes()]
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        if type(self).summary is not Shown.summary or type(self).__str__ is not Shown.__str__:
            return first_lines(str(self))
        facts = ", ".join(f"{name} {_text(value)}" for name, value in self._facts())
        head = textwrap.wrap(f"{type(self).__name__}: {facts}" if facts else type(self).__name__, _WIDE)
        head = [*head[:4], "…"] if len(head) > 5 else head
        return "\n".join([*head, *self._table_text(_FEW)])

    def _repr_html_(self) -> str:
        facts = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(_text(value))}</td></tr>'
            for name, value in self._facts()
        )
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self._notes())
        head = f"<table><caption>{type(self).__name__}</caption><tbody>{facts}</tbody></table>"
        return head + self._table_html() + (f"<ul>{notes}</ul>" if notes else "")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw it: scales, units and a legend beside the axes; what has run away is at the edge, counted.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.

        Raises
        ------
        ValueError
            Where there is nothing to draw, with the reason.
        """
        from gpo_analysis.showing.draw import draw

        panel = self._panel()
        with axes_for(ax) as drawn_on:
            if ax is None and len(panel.rows) > 12:
                drawn_on.figure.set_figheight(1.0 + 0.17 * len(panel.rows))  # type: ignore[union-attr]
            return draw(panel, drawn_on)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _fields(self) -> list[tuple[str, Any]]:
        named: Any = self
        return [
            (one.name, getattr(self, one.name)) for one in fields(named) if one.repr and one.name not in self._hidden
        ]

    def _has_table(self) -> bool:
        return any(_is_column(column) and len(column) != 1 for column in self._columns().values())

    def _table_text(self, most: int) -> list[str]:
        return table_text(self.to_frame(), most) if self._has_table() else []

    def _table_html(self) -> str:
        if not self._has_table():
            return ""
        table = self.to_frame()
        chosen, first = _chosen_rows(table, _ROWS)
        page = str(_with_text(chosen, visible).to_html(index=False, border=0, float_format=_number, na_rep="–"))
        more = more_rows(len(table) - _ROWS)
        if not more or first == _ROWS:
            return page + f"<p>{more}</p>" * bool(more)
        rows = page.split("<tr>")  # the head, then the rows
        between = f'<td colspan="{len(table.columns)}">{more}</td></tr>\n    '
        return "<tr>".join([*rows[: first + 1], between, *rows[first + 1 :]])


@contextlib.contextmanager
def axes_for(ax: Axes | None) -> Iterator[Axes]:
    """The axes given, or fresh ones of a page's width in this package's style."""
    from gpo_analysis.showing.style import axes_or_new, figure_style

    if ax is not None:
        yield ax
        return
    with figure_style():
        yield axes_or_new(None)


def _is_interval(value: Any) -> bool:
    return all(isinstance(getattr(value, end, None), float) for end in ("value", "low", "high"))


def _is_fact(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, _NUMBERS | Enum) or _is_interval(value) or hasattr(value, "free_symbols")


def _is_column(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, tuple | list) and all(isinstance(one, _NUMBERS | str | Enum) for one in value)


def of_rows(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """A column a field, intervals as value, low and high."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in vars(row).items():
            if _is_interval(value):
                for end, key in (("value", name), ("low", f"{name}_low"), ("high", f"{name}_high")):
                    found.setdefault(key, []).append(getattr(value, end))
            elif _is_fact(value) or value is None or value == "":
                found.setdefault(name, []).append(_cell(value))
    return {name: column for name, column in found.items() if len(column) == len(rows)}


def _cell(value: Any) -> Any:
    return str(value) if isinstance(value, Enum) or _is_interval(value) else value


def _number(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.6g}" if np.isfinite(value) else ("∞" if value > 0 else "−∞")


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return _number(float(value))
    text = visible(str(value))
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"


def without_noise(table: pd.DataFrame) -> pd.DataFrame:
    """The table with rounding errors as 0: in columns of both signs, what is 1e-13 of the largest or less.

    Parameters
    ----------
    table : DataFrame

    Examples
    --------
    >>> import pandas as pd
    >>> without_noise(pd.DataFrame({"score": [1.0, -1.0, 7.8e-17], "p": [0.5, 1e-20, 1.0]})).to_numpy().tolist()
    [[1.0, 0.5], [-1.0, 1e-20], [0.0, 1.0]]
    """
    known = table.copy()
    for name in known.columns:
        if known[name].dtype.kind != "f":
            continue
        values = known[name].to_numpy(copy=True)
        finite = values[np.isfinite(values)]
        if len(finite) and finite.min() < 0 < finite.max():
            values[np.abs(values) <= 1e-13 * np.abs(finite).max()] = 0.0
            known[name] = values
    return known


def table_text(table: pd.DataFrame, most: int) -> list[str]:
    """The first rows as lines of text, of a course over steps or time the last as well, and how many more there are.

    Parameters
    ----------
    table : DataFrame
    most : int
        Rows.

    Examples
    --------
    >>> import pandas as pd
    >>> print(*table_text(pd.DataFrame({"step": range(9)}), 4), sep="\\n")
     step
        0
        1
    … 5 more rows: to_frame() has all
        7
        8
    """
    chosen, first = _chosen_rows(table, most)
    text = [str(line) for line in _printable(chosen).splitlines()]
    more = more_rows(len(table) - most)
    return [*text[: first + 1], *([more] if more else []), *text[first + 1 :]]


def more_rows(hidden: int) -> str:
    """What stands in the place of rows that are not shown; nothing where there are none.

    Examples
    --------
    >>> more_rows(1), more_rows(0)
    ('… 1 more row: to_frame() has all', '')
    """
    return f"… {hidden} more row{'s' * (hidden != 1)}: to_frame() has all" if hidden > 0 else ""


def _chosen_rows(table: pd.DataFrame, most: int) -> tuple[pd.DataFrame, int]:
    """The rows that are shown, and after how many of them others are left out."""
    import pandas as pd

    over = next((name for name in _COURSE if name in table.columns), None)
    if len(table) <= most or over is None or not table[over].is_monotonic_increasing or table[over].nunique() < 2:
        return table.head(most), most
    return pd.concat([table.head((most + 1) // 2), table.tail(most // 2)]), (most + 1) // 2


def _printable(table: pd.DataFrame) -> str:
    known = _with_text(table, lambda text: shown(text, 40))
    return str(known.to_string(index=False, float_format=_number, na_rep="–", line_width=None))


def _with_text(table: pd.DataFrame, written: Callable[[str], str]) -> pd.DataFrame:
    """The table without rounding errors, its names and other objects as they are written."""
    known = without_noise(table)
    for name in known.columns:
        if known[name].dtype.kind == "O":  # of strings, too
            known[name] = ["–" if _is_missing(one) else written(str(one)) for one in known[name]]
    return known


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def first_lines(text: str) -> str:
    lines = [line if len(line) <= _WIDE else line[: _WIDE - 1] + "…" for line in text.splitlines()]
    if len(lines) <= LINES:
        return "\n".join(lines)
    left = lines[LINES - 1 :]
    more = f"… {len(left)} more line{'s' * (len(left) != 1)}: print() shows them"
    rows = ", to_frame() all rows" if any(line.startswith("… ") for line in left) else ""
    return "\n".join([*lines[: LINES - 1], more + rows])
