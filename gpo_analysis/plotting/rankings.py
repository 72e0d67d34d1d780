"""Drawing rankings: scores with their intervals, readable for ten items and for 130."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.showing.shown import axes_for
from gpo_analysis.showing.style import COLORS, loss_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


def plot_scores(
    names: Sequence[str],
    scores: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    ax: Axes | None = None,
    *,
    style: str = "logistic",
) -> Axes:
    """Draw scores as points with intervals, a row an item from the top, no lines between items.

    Parameters
    ----------
    names : sequence of str
        n of them.
    scores, low, high : array, shape (n,)
        Ends that are infinite are drawn to the edge of the axes; items without a score have an interval alone.
    ax : Axes, optional
        A new figure, of a height for n rows, by default.
    style : str
        The loss whose colour is used; points are round, for triangles are ends that are infinite.

    Raises
    ------
    ValueError
        For arrays of different lengths.

    Examples
    --------
    >>> ax = plot_scores(["a", "b"], [1.0, -1.0], [0.5, -1.5], [1.5, -0.5])
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['a', 'b']
    """
    x, left, right = (np.asarray(part, dtype=np.float64) for part in (scores, low, high))
    n = len(names)
    if not x.shape == left.shape == right.shape == (n,):
        raise ValueError(f"names, scores, low and high must be of one length, got {n}, {x.shape}, {left.shape}")
    if ax is None:
        with axes_for(None) as ax:
            ax.figure.set_figheight(max(2.0, 0.16 * n + 1.0))  # type: ignore[union-attr]
    rows = np.arange(n)
    marks = loss_style(style)
    known = np.concatenate([part[np.isfinite(part)] for part in (x, left, right)])
    span = (float(np.ptp(known)) if len(known) else 0.0) or 1.0
    edges = (known.min() - 0.1 * span, known.max() + 0.1 * span) if len(known) else (-1.0, 1.0)
    ends = (
        np.where(np.isnan(left), np.nan, np.clip(left, *edges)),
        np.where(np.isnan(right), np.nan, np.clip(right, *edges)),
    )
    ax.hlines(rows, *ends, colors=marks.color, linewidth=1.2)
    ax.plot(x, rows, linestyle="none", marker="o", color=marks.color, markersize=3.5 if n > 40 else 4.5)
    for end, values, mark in zip(ends, (left, right), ("<", ">"), strict=True):
        endless = np.isinf(values)
        ax.plot(end[endless], rows[endless], linestyle="none", marker=mark, color=COLORS["grey"], markersize=4)
    size = 8.0 if n <= 40 else 5.0
    ax.set_yticks(rows, [name.replace("$", r"\$") for name in names], fontsize=size)
    ax.set_ylim(n - 0.4, -0.6)
    ax.set_xlabel("score  [nats]")
    return ax
