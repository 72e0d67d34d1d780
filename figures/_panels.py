"""Small multiples of losses: a panel each, the other losses in grey, and a key in neutral marks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DARK = "0.25"
KEYS: dict[str, dict[str, Any]] = {
    "seeds": {"marker": ".", "linestyle": "none", "color": DARK, "markersize": 4, "alpha": 0.6},
    "median": {"marker": "o", "linestyle": "-", "color": DARK, "markerfacecolor": "white"},
    "marker": {"marker": "o", "linestyle": "none", "color": DARK, "markerfacecolor": "white"},
    "line": {"linestyle": "-", "color": DARK},
    "theory": {"linestyle": ":", "color": DARK, "linewidth": 1.4},
    "dashed": {"linestyle": "--", "color": COLORS["grey"], "linewidth": 0.7},
    "filled": {"marker": "o", "linestyle": "-", "color": DARK},
    "radius": {"marker": "|", "linestyle": "none", "color": COLORS["grey"], "markersize": 11},
    "dots": {"marker": ".", "linestyle": "none", "color": COLORS["grey"], "markersize": 6, "alpha": 0.55},
    "others": {"linestyle": "-", "color": COLORS["grey"], "linewidth": 0.8, "alpha": 0.6},
    "clipped": {"marker": ">", "linestyle": "none", "color": DARK, "markersize": 5},
    "below": {"marker": "v", "linestyle": "none", "color": DARK, "markersize": 5},
    "crosses": {"marker": "x", "linestyle": "-", "color": COLORS["grey"], "markersize": 4, "linewidth": 0.9},
}
"""What a key shows: names of marks, the same in every figure."""


def loss_panels(losses: Iterable[str], *, columns: int = 3, height: float = 2.0) -> tuple[Figure, dict[str, Axes]]:
    """A panel a loss, all on one scale, headed by its name; panels left over are hidden."""
    names = list(losses)
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(rows, columns, height=height, sharex=True, sharey=True, squeeze=False)
    flat = list(axes.flat)
    for ax in flat[len(names) :]:
        ax.set_visible(False)
    for letter, name, ax in zip(LETTERS, names, flat, strict=False):
        panel_label(ax, letter, loss_label(name))
    for ax in flat[max(0, len(names) - columns) : len(names)]:
        ax.tick_params(labelbottom=True)
    return figure, dict(zip(names, flat, strict=False))


def strength_label(losses: Iterable[str]) -> str:
    """What an axis of strengths shows: βκ, and β of hinge, whose κ is 0, where it is there."""
    return "βκ  (hinge: β)" if "hinge" in set(losses) else "βκ"


def label_axes(axes: dict[str, Axes], x: str, y: str) -> None:
    """What the axes show, at the panels of the first column and at the lowest of each column."""
    for ax in axes.values():
        spec = ax.get_subplotspec()
        if spec is None or spec.is_first_col():
            ax.set_ylabel(y)
        if spec is None or ax.xaxis.get_tick_params().get("labelbottom", True):
            ax.set_xlabel(x)


def key(figure: Figure, words: dict[str, str], columns: int = 3) -> None:
    """A key below the panels: name of a mark → what it stands for."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **KEYS[name]) for name in words]
    figure.legend(handles, list(words.values()), loc="outside lower center", ncols=columns, frameon=False)


def grey_lines(ax: Axes, lines: dict[str, tuple[Any, Any]], loss: str) -> None:
    """Lines of the other losses."""
    for name, (x, y) in lines.items():
        if name != loss:
            ax.plot(x, y, **KEYS["others"], zorder=1)


def runaway(rows: pd.DataFrame) -> Any:
    """Which policies ran away, by their signature."""
    return rows["signature"].fillna("").str.contains("runaway").to_numpy(dtype=bool)


def count(ax: Axes, text: str) -> None:
    """A few words in the panel's lower right corner."""
    ax.text(0.97, 0.04, text, transform=ax.transAxes, fontsize=7.5, ha="right", va="bottom")


def plain_ticks(axis: Any, values: Iterable[float]) -> None:
    """These ticks alone, written as plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def binned(x: Any, y: Any, edges: Any, least: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Medians of x and y, and quartiles of y, in the bins that have at least ``least`` points.

    Examples
    --------
    >>> binned([1.0, 2.0, 8.0], [5.0, 7.0, 1.0], [0.0, 4.0, 9.0])[:2]
    (array([1.5]), array([6.]))
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    inside = [(x > low) & (x <= high) for low, high in itertools.pairwise(edges)]
    kept = [which for which in inside if which.sum() >= least]
    middle = [np.array([np.median(values[which]) for which in kept]) for values in (x, y)]
    ends = [np.array([np.quantile(y[which], q) for which in kept]) for q in (0.25, 0.75)]
    return middle[0], middle[1], ends[0], ends[1]


def own_points(ax: Axes, loss: str, x: Any, y: Any) -> None:
    """The seeds of a loss, as small dots of its colour."""
    ax.plot(x, y, **{**KEYS["seeds"], "color": loss_style(loss).color}, zorder=2)


def own_medians(ax: Axes, loss: str, x: Any, y: Any, *, joined: bool = True) -> None:
    """The medians of a loss, from left to right."""
    style, order = loss_style(loss), np.argsort(np.asarray(x, dtype=float))
    marks = {"marker": style.marker, "markerfacecolor": "white", "color": style.color, "markeredgewidth": 1.2}
    line = {"linestyle": "-" if joined else "none", "linewidth": 1.1}
    ax.plot(np.asarray(x)[order], np.asarray(y)[order], **marks, **line, zorder=3)
