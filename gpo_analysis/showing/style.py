"""How figures look: one colour, dash and marker for each loss, sizes for print.

Colours are those of Okabe and Ito (2008), which people with any common colour blindness tell apart. Dashes and
markers differ too, so that a figure can be read in grey.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpo_analysis.loss_names import OF_MARGINS, OF_TWO_RATIOS, proper_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


COLORS = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "grey": "#6E6E6E",
}

Dash = str | tuple[int, tuple[float, ...]]

_SOLID: Dash = "-"
_DASHED: Dash = (0, (5.0, 2.0))
_DASH_DOT: Dash = (0, (6.0, 2.0, 1.2, 2.0))
_DOTTED: Dash = (0, (1.2, 1.6))
_LONG: Dash = (0, (10.0, 3.0))
_DASH_DOT_DOT: Dash = (0, (5.0, 1.8, 1.2, 1.8, 1.2, 1.8))

WIDTH = 7.0
"""Width in inches of a figure across a page."""

_RC = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "figure.dpi": 100,
    "font.family": ["DejaVu Sans"],
    "mathtext.fontset": "dejavusans",
}


@dataclass(frozen=True)
class LossStyle:
    """Colour, dash and marker of a curve."""

    color: str
    linestyle: Dash
    marker: str

    def line(self, **more: Any) -> dict[str, Any]:
        """Return keyword arguments for a line without markers."""
        return {"color": self.color, "linestyle": self.linestyle, **more}

    def points(self, **more: Any) -> dict[str, Any]:
        """Return keyword arguments for a line with markers (white inside, so that they show where lines cross)."""
        return {**self.line(), "marker": self.marker, "markerfacecolor": "white", "markeredgewidth": 1.2, **more}


_LOSSES = {
    "logistic": LossStyle(COLORS["blue"], _SOLID, "o"),
    "squared": LossStyle(COLORS["vermillion"], _DASHED, "s"),
    "hinge": LossStyle(COLORS["green"], _DASH_DOT, "^"),
    "exponential": LossStyle(COLORS["purple"], _DOTTED, "D"),
    "truncated_quadratic": LossStyle(COLORS["orange"], _LONG, "v"),
    "savage": LossStyle(COLORS["black"], _DASH_DOT_DOT, "P"),
    "zero_one": LossStyle(COLORS["grey"], _SOLID, ""),
}
_ALIASES = {"dpo": "logistic", "ipo": "squared", "slic": "hinge"}
_LABELS = {
    "logistic": "logistic (DPO)",
    "squared": "squared (IPO)",
    "hinge": "hinge (SLiC)",
    "exponential": "exponential",
    "truncated_quadratic": "truncated quadratic",
    "savage": "Savage",
    "zero_one": "0-1 loss",
}
_OTHERS = [
    LossStyle(color, dash, marker)
    for dash, marker in ((_DASHED, "X"), (_DOTTED, "*"), (_DASH_DOT, "p"), (_LONG, "h"))
    for color in (COLORS["sky"], COLORS["grey"], COLORS["purple"], COLORS["orange"])
]
_TYPED = [
    LossStyle(color, dash, marker)
    for dash, marker in (
        *((_SOLID, "d"), (_DASHED, "<"), (_DASH_DOT, ">"), (_DOTTED, "8"), (_LONG, "H"), (_DASH_DOT_DOT, "d")),
        *((_SOLID, "<"), (_DASHED, ">"), (_DASH_DOT, "8"), (_DOTTED, "H"), (_LONG, "d"), (_DASH_DOT_DOT, "<")),
    )
    for color in ("#332288", "#44AA99", "#882255", "#999933", "#CC6677", "#117733", "#661100")
]
"""Of losses that are in no catalogue: colours (Tol's muted ones) and markers that no loss of the catalogue has."""
_DRAWN: dict[int, str] = {}
"""Which typed loss has which style of _TYPED in the figure that is drawn; figure_style begins anew."""
_STEP = 11  # to another colour, dash and marker
_LONGEST_LABEL, _TAIL = 24, 9
"""Characters of a label: the title of one of three panels side by side holds so many."""
_CYCLE = [
    LossStyle(COLORS[color], dash, marker)
    for color, dash, marker in (
        ("blue", _SOLID, "o"),
        ("vermillion", _DASHED, "s"),
        ("green", _DASH_DOT, "^"),
        ("purple", _DOTTED, "D"),
        ("orange", _LONG, "v"),
        ("black", _DASH_DOT_DOT, "P"),
        ("sky", _DASHED, "X"),
        ("grey", _DOTTED, "*"),
    )
]


def loss_style(name: str) -> LossStyle:
    """Return the style of a loss, the same in every figure.

    Losses beyond the paper's six get one from their name, always the same: others of the catalogue one of sixteen,
    those that were typed in one of 84 with colours and markers of their own, the next free one where two of a figure
    would have the same.

    Examples
    --------
    >>> loss_style("dpo") == loss_style("logistic")
    True
    >>> loss_style("my own loss") == loss_style("my own loss")
    True
    """
    name = _ALIASES.get(name, name)
    known = _LOSSES.get(name)
    if known is not None:
        return known
    key = zlib.crc32(name.encode())
    if name in {*proper_names(OF_MARGINS), *proper_names(OF_TWO_RATIOS)}:
        return _OTHERS[key % len(_OTHERS)]
    place = key % len(_TYPED)
    while len(_DRAWN) < len(_TYPED) and _DRAWN.get(place, name) != name:
        place = (place + _STEP) % len(_TYPED)  # another has it in this figure
    _DRAWN.setdefault(place, name)
    return _TYPED[place]


def loss_label(name: str) -> str:
    """Return what a legend, a title or a tick calls a loss; of a long formula the beginning and the end.

    Examples
    --------
    >>> loss_label("squared"), loss_label("robust_logistic"), loss_label("c*exp(-z) with c=2")
    ('squared (IPO)', 'robust logistic', 'c*exp(-z) with c=2')
    >>> loss_label("log(1+exp(-z)) + 0.1*(z-1)**2 + 0.2*log(cosh(1-z))")
    'log(1+exp(-z … osh(1-z))'
    """
    known = _LABELS.get(_ALIASES.get(name, name))
    if known is not None:
        return known
    if name.isidentifier():
        return name.replace("_", " ")
    short = name
    if len(name) > _LONGEST_LABEL:
        short = f"{name[: _LONGEST_LABEL - 3 - _TAIL].rstrip()} … {name[-_TAIL:].lstrip()}"
    return short.replace("$", r"\$")  # matplotlib would read formulas of its own


def cycle_style(index: int) -> LossStyle:
    """Return the style of the ``index``-th curve where curves are not losses (orders, β, seeds)."""
    return _CYCLE[index % len(_CYCLE)]


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw with this package's sizes and fonts; the settings outside are left alone.

    Examples
    --------
    >>> with figure_style():
    ...     figure, ax = new_figure()
    """
    import matplotlib as mpl

    _DRAWN.clear()
    with mpl.rc_context(_RC):  # type: ignore[arg-type]
        yield


_GIVEN: ContextVar[Any] = ContextVar("figure", default=None)


@contextmanager
def drawing_in(figure: Figure | SubFigure | None) -> Iterator[None]:
    """Within it `new_figure` makes its panels in this figure, or part of one, in place of a new one.

    Parameters
    ----------
    figure : Figure or SubFigure or None
        None changes nothing.
    """
    before = _GIVEN.set(figure)
    try:
        yield
    finally:
        _GIVEN.reset(before)


def new_figure(rows: int = 1, columns: int = 1, *, height: float = 2.9, **more: Any) -> tuple[Figure, Any]:
    """Return a page-wide figure with constrained layout, and its axes (as ``matplotlib.pyplot.subplots`` does).

    The figure is not registered with pyplot: it needs no closing and opens no window. Within `drawing_in` it is the
    figure given.

    Parameters
    ----------
    rows, columns : int
        Number of panels.
    height : float
        Inches for each row.
    **more : object
        Passed to ``Figure.subplots``.
    """
    from matplotlib.figure import Figure

    given = _GIVEN.get()
    if given is not None:
        return given, given.subplots(rows, columns, **more)
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, **more)


def axes_or_new(ax: Axes | None) -> Axes:
    """Return ``ax``, or fresh axes of a figure of pyplot, with room for a legend beside them, where none was given."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")[1]


def panel_label(ax: Axes, letter: str, title: str = "") -> Axes:
    """Head a panel with a letter in bold and a few words."""
    ax.set_title(rf"$\bf{{{letter}}}$  {title}" if title else rf"$\bf{{{letter}}}$")
    return ax
