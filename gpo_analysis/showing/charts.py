"""A chart said once, as data: what `gpo_analysis.showing.draw` draws with matplotlib and the explorer with Bokeh.

Results say what their chart is without importing what draws it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.showing.style import LossStyle, cycle_style, loss_label, loss_style

MOST_ROWS = 60  #: Items of a chart; the table has all.
MOST_BARS = 40  #: Responses of a policy.
MOST_CURVES = 8  #: Of a chart with a curve a response.
GREY = LossStyle("#777777", (0, (2.0, 2.0)), "|")


@dataclass(frozen=True)
class Curve:
    """A line, or points, or bars.

    Attributes
    ----------
    x, y : array, shape (k,)
    label : str
        In the legend; "" for none.
    style : LossStyle
    points : bool
        Markers without a line.
    faint : bool
        Thin, to stand behind another.
    bars : bool
        Bars from 0 up to y.
    low, high : array, shape (k,), or None
        Ends of intervals: of x where the panel has rows, of y elsewhere; infinite ones are drawn to the edge.
    aside : float
        What x is multiplied by where intervals of y are drawn, so that those of several curves stand side by side.
    """

    x: FloatArray
    y: FloatArray
    label: str
    style: LossStyle
    points: bool = False
    faint: bool = False
    bars: bool = False
    low: FloatArray | None = None
    high: FloatArray | None = None
    aside: float = 1.0


@dataclass(frozen=True)
class Cells:
    """A quantity over two axes.

    Attributes
    ----------
    values : array, shape (r, c)
    columns, rows : array, shapes (c,) and (r,)
        Numbers or names; the first row is drawn at the bottom.
    value : str
        What the numbers are.
    limits : tuple of two floats, or None
        Values of the two ends of the colours.
    from_top : bool
        Whether the first row is at the top.
    beside : mapping of str to array, shape (r,)
        A number for each row, drawn as bars to the right, by the bars' labels.
    """

    values: FloatArray
    columns: ArrayLike
    rows: ArrayLike
    value: str
    limits: tuple[float, float] | None = None
    from_top: bool = False
    beside: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """Axes with their curves.

    Attributes
    ----------
    title, x, y : str
    curves : sequence of Curve
    log : str
        Which axes are logarithmic: "", "x", "y" or "xy".
    xlim, ylim : tuple of two floats, or None
    ticks : sequence of str
        Names of x = 0, 1, …
    marks : sequence of (float, str)
        Vertical lines, each with its colour.
    rows : sequence of str
        Names of y = 0, 1, … from the top: a row an item.
    bands : sequence of (float, float, str)
        Ranges of x that are shaded, each with its label.
    level : float or None
        A horizontal line.
    cells : Cells or None
        Instead of curves.
    note : str
        What is to be said in small print.
    symlog : bool
        Whether the axis of y is logarithmic beyond ±0.1 and linear within.
    """

    title: str
    x: str
    y: str
    curves: Sequence[Curve] = ()
    log: str = ""
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    ticks: Sequence[str] = ()
    marks: Sequence[tuple[float, str]] = ()
    rows: Sequence[str] = ()
    bands: Sequence[tuple[float, float, str]] = ()
    level: float | None = None
    cells: Cells | None = None
    note: str = ""
    symlog: bool = False


def lines(
    title: str, x: str, y: str, at: ArrayLike, values: Mapping[str, ArrayLike], *, log: str = "", by_loss: bool = False
) -> Panel:
    """Curves over one axis, by their labels.

    Parameters
    ----------
    title, x, y : str
    at : array, shape (k,)
    values : mapping of str to array, shape (k,)
    log : str
        As of `Panel`.
    by_loss : bool
        Whether the labels are names of losses, which have styles of their own.
    """
    where = np.asarray(at, dtype=np.float64)
    curves = [
        Curve(
            where,
            np.asarray(part, dtype=np.float64),
            loss_label(name) if by_loss else name,
            loss_style(name) if by_loss else cycle_style(k),
            points=len(where) == 1,
        )
        for k, (name, part) in enumerate(values.items())
    ]
    return Panel(title, x, y, curves, log=log)


def bars(
    title: str,
    x: str,
    y: str,
    names: Sequence[str],
    values: Mapping[str, ArrayLike],
    level: ArrayLike | None = None,
    *,
    by_loss: bool = False,
) -> Panel:
    """A group of bars a name, at most `MOST_ROWS` of them.

    Parameters
    ----------
    title, x, y : str
    names : sequence of str
        n of them.
    values : mapping of str to array, shape (n,)
        By the bars' labels.
    level : array, shape (n,), optional
        The reference πref, a tick across each group.
    by_loss : bool
        Whether the labels are names of losses, which have styles of their own.
    """
    n, width = min(len(names), MOST_ROWS), 0.8 / max(len(values), 1)
    places = np.arange(n, dtype=np.float64)
    curves = [
        Curve(
            places - 0.4 + width * (k + 0.5),
            np.asarray(part, dtype=np.float64)[:n],
            loss_label(name) if by_loss else name,
            loss_style(name) if by_loss else cycle_style(k),
            bars=True,
        )
        for k, (name, part) in enumerate(values.items())
    ]
    if level is not None:
        curves.append(Curve(places, np.asarray(level, dtype=np.float64)[:n], "reference πref", GREY, points=True))
    note = f"the first {n} of {len(names)}" if n < len(names) else ""
    return Panel(title, x, y, curves, ticks=list(names[:n]), xlim=(-0.6, n - 0.4), note=note)


def policies(
    items: Sequence[str],
    reference: FloatArray | None,
    found: Mapping[str, FloatArray],
    title: str,
    *,
    by_loss: bool = False,
) -> Panel:
    """Policies over one set of responses; with contexts those of the first.

    Parameters
    ----------
    items : sequence of str
        n of them, or none: then 1, 2, ….
    reference : array, shape (n,) or (m, n), or None
    found : mapping of str to array, shape (n,) or (m, n)
    title : str
    by_loss : bool
        Whether the labels are names of losses.
    """
    first = {name: np.atleast_2d(policy)[0] for name, policy in found.items()}
    n = len(next(iter(first.values())))
    names = list(items) if len(items) == n else [f"y{k + 1}" for k in range(n)]
    contexts = max(np.atleast_2d(policy).shape[0] for policy in found.values())
    level = None if reference is None else np.atleast_2d(reference)[0]
    some = ""
    if n > MOST_BARS:
        most = np.max([np.nan_to_num(policy) for policy in first.values()], axis=0)
        best = np.sort(np.argsort(-most, kind="stable")[:MOST_BARS])
        first, names = {name: policy[best] for name, policy in first.items()}, [names[k] for k in best]
        level, some = None if level is None else level[best], f"the {MOST_BARS} most probable of {n} responses"
    panel = bars(title, "response", "probability", names, first, level, by_loss=by_loss)
    more = f"the first of {contexts} contexts" if contexts > 1 else ""
    note = "; ".join(filter(None, (some, more)))
    largest = float(np.nanmax([np.nanmax(policy, initial=0.0) for policy in first.values()]))
    top = 1.15 * largest if n > 8 and 0 < largest < 0.5 else 1.03
    return Panel(title, panel.x, panel.y, panel.curves, ticks=panel.ticks, xlim=panel.xlim, ylim=(0.0, top), note=note)


def intervals(
    title: str,
    x: str,
    names: Sequence[str],
    value: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    *,
    log: str = "",
    by_loss: bool = False,
    level: float | None = None,
) -> Panel:
    """A row an item, a point with its interval, from the top; at most `MOST_ROWS` of them.

    Parameters
    ----------
    title, x : str
    names : sequence of str
        n of them.
    value : array, shape (n,)
    low, high : array, shape (n,), optional
    log : str
        "x" for a logarithmic axis.
    by_loss : bool
        Whether the names are losses'.
    level : float, optional
        A vertical line.
    """
    n = min(len(names), MOST_ROWS)
    at = np.asarray(value, dtype=np.float64)[:n]
    ends = [None if end is None else np.asarray(end, dtype=np.float64)[:n] for end in (low, high)]
    curves = []
    for k in range(n) if by_loss else ():
        part = slice(k, k + 1)
        both = [None if end is None else end[part] for end in ends]
        style, row = loss_style(names[k]), np.array([float(k)])
        curves.append(Curve(at[part], row, "", style, points=True, low=both[0], high=both[1]))
    if not by_loss:
        where = np.arange(n, dtype=np.float64)
        curves = [Curve(at, where, "", cycle_style(0), points=True, low=ends[0], high=ends[1])]
    rows = [loss_label(name) if by_loss else name for name in names[:n]]
    note = f"the first {n} of {len(names)}" if n < len(names) else ""
    marks = () if level is None else ((level, GREY.color),)
    return Panel(title, x, "", curves, log=log, rows=rows, note=note, marks=marks)
