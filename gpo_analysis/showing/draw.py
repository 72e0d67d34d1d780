"""Drawing a chart with matplotlib: runaway points clipped to the edge and counted, the legend beside the axes."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.reading import shown
from gpo_analysis.showing.charts import Cells, Curve, Panel
from gpo_analysis.showing.heatmaps import plot_heatmap
from gpo_analysis.showing.style import COLORS, cycle_style, figure_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FAR = 25.0  # quartile distances from the median beyond which a value has run away
_DECADES = 12.0  # the same of a logarithmic axis
_TITLE = 80  # characters of a title's line
_NAME = 28  # characters of an item's name
_NUMBERS = 12  # columns of a heat map beyond which no numbers are written
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo")


def draw(panel: Panel, ax: Axes) -> Axes:
    """Draw a panel on axes.

    Parameters
    ----------
    panel : Panel
    ax : Axes
    """
    if panel.cells is not None:
        _cells(panel, panel.cells, ax)
        return ax
    panel = _without_far_x(panel)
    scale = _Scale.of(panel)
    for k, curve in enumerate(panel.curves):
        _curve(panel, ax, curve, scale, k)
    for at, color in panel.marks:
        ax.axvline(at, color=color, linewidth=0.9, linestyle=":")
    for low, high, label in panel.bands:
        ax.axvspan(low, high, color=COLORS["sky"], alpha=0.15, linewidth=0, label=label)
    if panel.level is not None:
        ax.axhline(panel.level, color=COLORS["grey"], linewidth=0.8, linestyle=":")
    _axes(panel, ax, scale)
    _words(panel, ax, scale.said())
    return ax


def _cells(panel: Panel, cells: Cells, ax: Axes) -> None:
    """A heat map, its numbers written where they fit, and bars for its rows beside it."""
    many = np.shape(cells.values)[1] > _NUMBERS
    columns, rows = ([_name(str(one)) for one in np.asarray(names)] for names in (cells.columns, cells.rows))
    look: Any = {"x": panel.x, "y": panel.y, "value": cells.value, "limits": cells.limits, "from_top": cells.from_top}
    if many:
        look["format"] = ""
    side = ax.inset_axes((1.02, 0.0, 0.22, 1.0), sharey=ax) if cells.beside else None
    if side is not None:
        look["gap"] = 0.24
    plot_heatmap(cells.values, columns, rows, ax, **look)
    if max(map(len, columns), default=0) * len(columns) > 50:
        ax.tick_params(axis="x", labelrotation=90, labelsize=6.0 if many else "small")
    if many:
        ax.tick_params(axis="y", labelsize=6.0)
    _words(panel, ax, [])
    if side is None:
        return
    height = 0.8 / len(cells.beside)
    for k, (label, share) in enumerate(cells.beside.items()):
        at = np.arange(len(share)) - 0.4 + height * (k + 0.5)
        color = cycle_style(k).color
        side.barh(at, np.clip(np.nan_to_num(share, posinf=1.0, neginf=0.0), 0.0, 1.0), height, color=color, label=label)
    side.tick_params(axis="y", left=False, labelleft=False)
    side.grid(False, axis="y")
    side.set_xlabel("probability")
    side.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize="x-small", borderaxespad=0.1)


def figure_of(panel: Panel) -> Figure:
    """A page-wide figure of a panel, as high as its rows need.

    Parameters
    ----------
    panel : Panel
    """
    with figure_style():
        figure, ax = new_figure(height=max(3.2, 1.0 + 0.17 * len(panel.rows)))
        draw(panel, ax)
    return figure


@dataclass
class _Scale:
    """The range of the axis of values, and how many of them are not in it."""

    low: float
    high: float
    clips: bool
    log: bool
    along_x: bool
    runaway: int = 0
    infinite: int = 0
    missing: int = 0
    not_above_zero: int = 0
    empty: bool = False

    @staticmethod
    def of(panel: Panel) -> _Scale:
        along_x = bool(panel.rows)
        log = ("x" if along_x else "y") in panel.log
        parts = [_values(curve, along_x) for curve in panel.curves]
        ends = [end for curve in panel.curves for end in (curve.low, curve.high) if end is not None]
        values, near = (np.concatenate([np.ravel(p) for p in part] or [np.zeros(0)]) for part in (parts, parts + ends))
        given = panel.xlim if along_x else panel.ylim
        if given is not None:
            low, high = given
        else:
            low, high = _range(values, near, log)
        usable = np.isfinite(values) & ((values > 0) | (not log))
        found = _Scale(low, high, given is not None, log, along_x, empty=not usable.any())
        found.infinite, found.missing = int(np.isinf(values).sum()), int(np.isnan(values).sum())
        found.not_above_zero = int((np.isfinite(values) & (values <= 0)).sum()) if log else 0
        for curve, part in zip(panel.curves, parts, strict=True):
            if given is None or curve.points or curve.bars:  # a line that leaves given limits is seen to
                found.runaway += int(found.beyond(part).sum())
        found.clips |= bool(found.runaway or found.infinite)
        return found

    def beyond(self, values: FloatArray) -> BoolArray:
        with np.errstate(invalid="ignore"):
            found = np.isfinite(values) & ((values < self.low) | (values > self.high))
        return np.asarray(found & (values > 0) if self.log else found, dtype=np.bool_)

    def said(self) -> list[str]:
        lines = []
        if self.empty:
            lines.append("no value can be drawn")
        if self.runaway or self.infinite:
            of = f", {self.infinite} infinite" if self.infinite else ""
            total = self.runaway + self.infinite
            lines.append(f"{total} value{'s' * (total > 1)} beyond the axes (at the edge{of})")
        if self.missing:
            lines.append(f"{self.missing} without a value")
        if self.not_above_zero:
            lines.append(f"{self.not_above_zero} not above 0, which a logarithmic axis lacks")
        return lines


def _without_far_x(panel: Panel) -> Panel:
    """Where x is logarithmic (β) without limits: without what is twelve decades from the middle, which is counted."""
    if "x" not in panel.log or panel.xlim or panel.rows or not panel.curves:
        return panel
    every = np.concatenate([np.asarray(curve.x, dtype=np.float64) for curve in panel.curves])
    low, high = _range(every, every, True)
    far = int((np.isfinite(every) & ((every > high) | ((every < low) & (every > 0)))).sum())
    if not far:
        return panel
    curves = []
    for curve in panel.curves:
        near = (curve.x >= low) & (curve.x <= high)
        low_end, high_end = (None if end is None else end[near] for end in (curve.low, curve.high))
        curves.append(replace(curve, x=curve.x[near], y=curve.y[near], low=low_end, high=high_end))
    note = f"{far} point{'s' * (far > 1)} with {panel.x} beyond the axis"
    return replace(panel, curves=curves, xlim=(low, high), note="; ".join(filter(None, (panel.note, note))))


def _values(curve: Curve, along_x: bool) -> FloatArray:
    return np.asarray(curve.x if along_x else curve.y, dtype=np.float64)


def _range(values: FloatArray, near: FloatArray, log: bool) -> tuple[float, float]:
    """Of the values that have not run away, and of ends of intervals that are not much farther, with a margin."""
    usable, all_of_them = (np.asarray(v[np.isfinite(v) & ((v > 0) | (not log))]) for v in (values, near))
    if not len(usable):
        return (0.1, 10.0) if log else (-1.0, 1.0)
    if log:
        usable, all_of_them = np.log10(usable), np.log10(all_of_them)
    middle = float(np.sort(usable)[(len(usable) - 1) // 2])  # one of them, so that it is kept
    away = np.abs(all_of_them - middle)
    spread = float(np.subtract(*np.quantile(all_of_them, [0.75, 0.25]))) or float(np.quantile(away, 0.9))
    reach = _DECADES if log else _FAR * spread
    kept = all_of_them[np.abs(all_of_them - middle) <= reach] if reach > 0 else all_of_them
    low, high = float(kept.min()), float(kept.max())
    space = 0.04 * (high - low) or (0.5 if log else 0.05 * abs(middle) or 1.0)
    low, high = low - space, high + space
    return (float(10**low), float(10**high)) if log else (low, high)


def _curve(panel: Panel, ax: Axes, curve: Curve, scale: _Scale, index: int) -> None:
    x, y = np.asarray(curve.x, dtype=np.float64), np.asarray(curve.y, dtype=np.float64)
    values = x if scale.along_x else y
    drawn = np.where(np.isfinite(values) & ((values > 0) | (not scale.log)), values, np.nan)
    pair = (drawn, y) if scale.along_x else (x, drawn)
    more: dict[str, Any] = {"label": curve.label.replace("$", r"\$")} if curve.label else {}
    _ends(ax, curve, scale)
    if curve.bars:
        count = sum(c.bars for c in panel.curves)
        hatch = _HATCHES[index % len(_HATCHES)]
        heights = np.clip(np.nan_to_num(values, nan=0.0, posinf=scale.high, neginf=scale.low), scale.low, scale.high)
        ax.bar(x, heights, 0.74 / count, color=curve.style.color, hatch=hatch, edgecolor="white", linewidth=0.4, **more)
    elif curve.points and curve.style.marker == "|":  # a level across a bar
        ax.hlines(pair[1], x - 0.45, x + 0.45, color=COLORS["black"], linestyle=(0, (2.0, 1.0)), linewidth=1.2, **more)
    elif curve.points:
        ax.plot(*pair, **curve.style.points(linestyle="none"), **more)
    else:
        ax.plot(*pair, **curve.style.line(linewidth=0.9 if curve.faint else 1.7), **more)
    other, given = (y, panel.ylim) if scale.along_x else (x, panel.xlim)
    out = scale.beyond(values) | np.isinf(values)
    out &= np.isfinite(other) if given is None else (other >= given[0]) & (other <= given[1])
    counted = panel.ylim is None or curve.points or curve.bars
    for side, edge, mark in ((values > 0, scale.high, "^>"), (values < 0, scale.low, "v<")):
        at = out & ((values > scale.high) if edge == scale.high else (values < scale.low)) if counted else out & side
        if at.any() and (counted or np.isinf(values[at]).any()):
            where = (np.full(at.sum(), edge), other[at]) if scale.along_x else (other[at], np.full(at.sum(), edge))
            look: Any = {"marker": mark[int(scale.along_x)], "color": curve.style.color, "markersize": 6.0}
            ax.plot(*where, linestyle="none", clip_on=False, zorder=5, **look)


def _ends(ax: Axes, curve: Curve, scale: _Scale) -> None:
    if curve.low is None or curve.high is None:
        return
    other = curve.y if scale.along_x else curve.x * curve.aside
    ends = [np.asarray(end, dtype=np.float64) for end in (curve.low, curve.high)]
    known = ~np.isnan(ends[0]) & ~np.isnan(ends[1])
    low, high = (np.clip(end, scale.low, scale.high)[known] for end in ends)
    put = ax.hlines if scale.along_x else ax.vlines
    put(other[known], low, high, colors=curve.style.color, linewidth=1.2)
    for end, edge, mark in ((ends[0], scale.low, "<v"), (ends[1], scale.high, ">^")):
        at = known & np.isinf(end)
        where = (np.full(at.sum(), edge), other[at]) if scale.along_x else (other[at], np.full(at.sum(), edge))
        if at.any():
            side = mark[0 if scale.along_x else 1]
            ax.plot(*where, linestyle="none", marker=side, color=COLORS["grey"], markersize=4, clip_on=False)


def _plain_decades(axis: Any) -> None:
    """On a logarithmic axis of less than three decades: 0.2, 0.5, 1, 2, … in place of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low) if low > 0 else np.inf
    if decades < 3:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades > 1 else tuple(range(1, 10))))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        axis.set_minor_formatter(NullFormatter())


def _axes(panel: Panel, ax: Axes, scale: _Scale) -> None:
    from matplotlib.ticker import MaxNLocator

    if "x" in panel.log:
        ax.set_xscale("log")
    if "y" in panel.log:
        ax.set_yscale("log")
    if panel.symlog:
        ax.set_yscale("symlog", linthresh=0.1)
    if panel.xlim:
        ax.set_xlim(*panel.xlim)
    if panel.ylim:
        ax.set_ylim(*panel.ylim)
    ends = any(c.low is not None and np.isinf(np.concatenate([c.low, c.high])).any() for c in panel.curves)
    if scale.clips or ends or scale.empty:
        (ax.set_xlim if scale.along_x else ax.set_ylim)(scale.low, scale.high)
    for axis, name in ((ax.xaxis, "x"), (ax.yaxis, "y")):
        if name in panel.log:
            _plain_decades(axis)
    if panel.x in ("step", "record"):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if panel.ticks:
        names = [_name(name) for name in panel.ticks]
        long, many = max(map(len, names)) * len(names) > 70, len(names) > 24
        look: Any = {"rotation": 90, "fontsize": 6.0} if many else {"rotation": 45, "ha": "right"} if long else {}
        ax.set_xticks(range(len(names)), names, **look)
        ax.grid(False, axis="x")
    if panel.rows:
        n = len(panel.rows)
        size: Any = {} if n <= 30 else {"fontsize": 5.5}
        ax.set_yticks(range(n), [_name(name) for name in panel.rows], **size)
        ax.set_ylim(n - 0.4, -0.6)


def _name(name: str) -> str:
    return shown(str(name), _NAME).replace("$", r"\$")


def _words(panel: Panel, ax: Axes, said: list[str]) -> None:
    note = "; ".join(filter(None, (panel.note, *said)))
    if panel.title:
        title = "\n".join(textwrap.wrap(panel.title, _TITLE)).replace("$", r"\$")
        ax.set_title(title, loc="left", pad=16.0 if note else None)
    if note:
        small = {"fontsize": "x-small", "color": COLORS["grey"]}
        ax.annotate(note, (0.0, 1.0), (0, 3), xycoords="axes fraction", textcoords="offset points", **small)  # type: ignore[arg-type]
    ax.set_xlabel(panel.x)
    ax.set_ylabel(panel.y)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
