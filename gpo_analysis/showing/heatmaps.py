"""Drawing a quantity over two axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.showing.style import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


def plot_heatmap(
    values: ArrayLike,
    columns: ArrayLike,
    rows: ArrayLike,
    ax: Axes | None = None,
    *,
    x: str = "",
    y: str = "",
    value: str = "",
    format: str = "{:.2f}",
    limits: tuple[float, float] | None = None,
    from_top: bool = False,
    gap: float = 0.05,
) -> Axes:
    """Draw a table of numbers as cells, each with its number written in it, so that it reads without colour.

    Parameters
    ----------
    values : array_like, shape (r, c)
        Numbers; NaN cells stay white and say "–".
    columns, rows : array_like, shapes (c,) and (r,)
        Values or names of the axes; the first row is drawn at the bottom.
    ax : Axes, optional
        Where to draw; a new figure by default.
    x, y, value : str
        What the axes and the colours mean.
    format : str
        How a number is written; "" for none.
    limits : tuple of float, optional
        Values of the two ends of the colours; the least and the largest by default.
    from_top : bool
        Whether the first row is at the top.
    gap : float
        Of the axes' width, between the cells and the colours, where no constrained layout makes room.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> ax = plot_heatmap([[0.0, 1.0]], columns=[1, 2], rows=[0.5], x="mean", y="width", value="share")
    >>> [text.get_text() for text in ax.texts]
    ['0.00', '1.00']
    """
    cells = np.asarray(values, dtype=float)
    across, up = np.asarray(columns), np.asarray(rows)
    if cells.shape != (len(up), len(across)):
        raise ValueError(f"values have shape {cells.shape}; accepted is {(len(up), len(across))}, rows by columns")
    ax = axes_or_new(ax)
    low, high = (None, None) if limits is None else limits
    image = ax.imshow(
        cells, origin="upper" if from_top else "lower", aspect="auto", cmap="cividis", vmin=low, vmax=high
    )
    for (row, column), number in np.ndenumerate(cells) if format else ():
        red, green, blue, _ = image.cmap(image.norm(number))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 and np.isfinite(number)
        text = (format if abs(number) < 1e6 else "{:.3g}").format(number) if np.isfinite(number) else "–"
        ax.text(column, row, text, ha="center", va="center", fontsize="small", color="white" if dark else "black")
    ax.set_xticks(range(len(across)), [str(name) for name in across])
    ax.set_yticks(range(len(up)), [str(name) for name in up])
    ax.grid(False)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    made_room = isinstance(ax.figure.get_layout_engine(), ConstrainedLayoutEngine)
    room: dict[str, Any] = {} if made_room else {"pad": gap}
    ax.figure.colorbar(image, ax=ax, label=value, **room)
    return ax
