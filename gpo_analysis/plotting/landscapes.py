"""Drawing objectives over a parameter, and what training does to them over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.showing.style import COLORS, axes_or_new, cycle_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


def plot_landscape(
    location: ArrayLike,
    values: ArrayLike,
    ax: Axes | None = None,
    *,
    minima: ArrayLike = (),
    label: str | None = None,
    index: int = 0,
) -> Axes:
    """Draw an objective over a location c, its local minima marked by triangles, those of the first style larger.

    Where two objectives have a minimum in one place both are seen so.

    Parameters
    ----------
    location : array_like, shape (m,)
        Increasing values of c.
    values : array_like, shape (m,)
        The objective.
    ax : Axes, optional
        Where to draw; a new figure by default.
    minima : array_like, shape (k,)
        Places of its local minima, inside the range of ``location``.
    label : str, optional
        Name of the curve in the legend.
    index : int
        Which of the package's styles to use.

    Raises
    ------
    ValueError
        If the lengths differ, c does not increase, or a minimum lies outside.

    Examples
    --------
    >>> ax = plot_landscape([-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], minima=[0.0], label="KL")
    >>> len(ax.lines)
    2
    """
    c, y, at = (np.asarray(part, dtype=float) for part in (location, values, minima))
    if c.ndim != 1 or c.shape != y.shape or np.any(np.diff(c) <= 0):
        raise ValueError(f"location {c.shape} and values {y.shape}; accepted are an increasing (m,) and as many values")
    if at.size and (at.min() < c[0] or at.max() > c[-1]):
        raise ValueError(f"minima {at.tolist()} lie outside [{c[0]}, {c[-1]}]")
    ax = axes_or_new(ax)
    style = cycle_style(index)
    ax.plot(c, y, label=label, **style.line())
    if at.size:
        marker: dict[str, Any] = {"marker": "v", "markersize": 9.0 if index == 0 else 5.0, "markeredgecolor": "black"}
        ax.plot(at, np.interp(at, c, y), linestyle="none", color=style.color, zorder=4 + 0.1 * index, **marker)
    ax.set_xlabel("location $c$")
    ax.set_ylabel("objective")
    return ax


def plot_trajectory(
    table: pd.DataFrame, columns: Sequence[str] = ("kl",), ax: Axes | None = None, *, x: str = "step"
) -> Axes:
    """Draw columns of a training trajectory over the step.

    Parameters
    ----------
    table : DataFrame
        One row a recorded step.
    columns : sequence of str
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    x : str
        Column of the abscissa: ``step`` or ``time``.

    Raises
    ------
    ValueError
        If a column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> ax = plot_trajectory(pd.DataFrame({"step": [0, 1], "kl": [0.0, 0.1]}), ["kl"])
    >>> ax.get_xlabel()
    'step'
    """
    for column in (x, *columns):
        if column not in table.columns:
            raise ValueError(f"no column {column!r}; the table has {', '.join(map(str, table.columns))}")
    ax = axes_or_new(ax)
    for index, column in enumerate(columns):
        ax.plot(
            table[x].to_numpy(), table[column].to_numpy(), label=column.replace("_", " "), **cycle_style(index).line()
        )
    ax.axhline(0.0, color=COLORS["grey"], linewidth=0.6, zorder=0)
    ax.set_xlabel(x)
    ax.legend()
    return ax
