"""Drawing policies: bars against the reference, preference matrices, curves over β, the KL frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.preferences.labels import common_items, in_order, labels_of
from gpo_analysis.showing.style import COLORS, axes_or_new, cycle_style, loss_label, loss_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo")


def plot_policy(
    policies: Mapping[str, ArrayLike],
    reference: ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    labels: Sequence[str] | None = None,
) -> Axes:
    """Draw policies over the same responses as groups of bars.

    Parameters
    ----------
    policies : mapping
        Name -> (n,) probabilities; a loss's name gives it the loss's colour.
    reference : array_like, shape (n,), optional
        The reference policy πref, drawn as a tick across each group.
    ax : Axes, optional
        Where to draw; a new figure by default.
    labels : sequence of str, optional
        n names of the responses; by default the labels of a Series, or y1, y2, ….

    Raises
    ------
    ValueError
        If there is no policy, their lengths differ, or two Series have different labels.

    Examples
    --------
    >>> ax = plot_policy({"logistic": [0.7, 0.3]}, reference=[0.5, 0.5])
    >>> [text.get_text() for text in ax.get_xticklabels()]
    ['y1', 'y2']
    """
    known = common_items(None, *policies.values(), reference)
    arrays = {name: np.asarray(in_order(values, name, known), dtype=float) for name, values in policies.items()}
    lengths = {name: values.shape for name, values in arrays.items()}
    if not arrays or len(set(lengths.values())) != 1 or len(next(iter(lengths.values()))) != 1:
        raise ValueError(f"policies have the shapes {lengths}; accepted are one or more of one length")
    n = len(next(iter(arrays.values())))
    labels = list(labels or known or (f"y{i + 1}" for i in range(n)))
    if len(labels) != n:
        raise ValueError(f"{len(labels)} labels for {n} responses")
    ax = axes_or_new(ax)
    width = 0.8 / len(arrays)
    for index, (name, values) in enumerate(arrays.items()):
        offsets = np.arange(n) - 0.4 + width * (index + 0.5)
        style = loss_style(name)
        ax.bar(
            offsets,
            values,
            width * 0.92,
            label=loss_label(name),
            color=style.color,
            hatch=_HATCHES[index % len(_HATCHES)],
            edgecolor="white",
            linewidth=0.4,
        )
    if reference is not None:
        ax.hlines(
            np.asarray(in_order(reference, "reference", known), dtype=float),
            np.arange(n) - 0.45,
            np.arange(n) + 0.45,
            color=COLORS["black"],
            linestyle=(0, (2.0, 1.0)),
            linewidth=1.2,
            label="reference",
        )
    ax.set_xticks(np.arange(n), labels)
    ax.grid(False, axis="x")
    ax.set_ylim(0.0, 1.0)
    ax.set_ylabel("probability")
    ax.legend()
    return ax


def plot_preference(preference: ArrayLike, ax: Axes | None = None, *, labels: Sequence[str] | None = None) -> Axes:
    """Draw a preference matrix as a grid of cells with their probabilities.

    Parameters
    ----------
    preference : array_like, shape (n, n)
        With P[i, j] = p(i ≻ j).
    ax : Axes, optional
        Where to draw; a new figure by default.
    labels : sequence of str, optional
        n names of the responses; by default those of a DataFrame, or y1, y2, ….

    Raises
    ------
    ValueError
        If the matrix is not square, or a table's rows and columns have different names.

    Examples
    --------
    >>> ax = plot_preference([[0.5, 0.8], [0.2, 0.5]])
    >>> ax.texts[1].get_text()
    '0.80'
    """
    matrix = np.asarray(in_order(preference, "preference", square=True), dtype=float)
    labels = labels_of(preference) if labels is None else labels
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"preference has shape {matrix.shape}; accepted is (n, n)")
    n = len(matrix)
    labels = [f"y{i + 1}" for i in range(n)] if labels is None else list(labels)
    ax = axes_or_new(ax)
    image = ax.imshow(matrix, cmap="cividis", vmin=0.0, vmax=1.0)
    for i in range(n):
        for j in range(n):
            ax.text(
                j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", color="white" if matrix[i, j] < 0.6 else "black"
            )
    ax.set_xticks(np.arange(n), labels)
    ax.set_yticks(np.arange(n), labels)
    ax.set_xlabel("loser $j$")
    ax.set_ylabel("winner $i$")
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label="$p(i ≻ j)$")
    return ax


def plot_sweep(table: pd.DataFrame, y: str, ax: Axes | None = None, *, x: str = "beta", by: str = "loss") -> Axes:
    """Draw a column over another, one curve for each loss (or other group), in the order of the table.

    Parameters
    ----------
    table : DataFrame
        One row a point.
    y, x : str
        Columns to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    by : str
        Column that separates curves; values that are losses' names get their colours.

    Raises
    ------
    ValueError
        If a column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> ax = plot_sweep(pd.DataFrame({"loss": ["dpo", "dpo"], "beta": [0.1, 1.0], "kl": [2.0, 0.3]}), "kl")
    >>> ax.lines[0].get_label()
    'logistic (DPO)'
    """
    for column in (x, y, by):
        if column not in table.columns:
            raise ValueError(f"no column {column!r}; the table has {', '.join(map(str, table.columns))}")
    ax = axes_or_new(ax)
    for index, (name, rows) in enumerate(table.groupby(by, sort=False)):
        style = loss_style(str(name)) if by == "loss" else cycle_style(index)
        label = loss_label(str(name)) if by == "loss" else f"{by} = {name}"
        ordered = rows.sort_values(x)
        ax.plot(ordered[x].to_numpy(), ordered[y].to_numpy(), label=label, **style.points())
    ax.set_xlabel(x.replace("_", " "))
    ax.set_ylabel(y.replace("_", " "))
    ax.legend()
    return ax


def plot_frontier(
    table: pd.DataFrame, ax: Axes | None = None, *, kl: str = "kl", win_rate: str = "win_rate", by: str = "loss"
) -> Axes:
    """Draw win rate against KL(π‖πref), one curve for each loss, with chance at ½.

    Parameters
    ----------
    table : DataFrame
        One row a policy.
    ax : Axes, optional
        Where to draw; a new figure by default.
    kl, win_rate : str
        Columns with the KL in nats and the win rate in [0, 1].
    by : str
        Column that separates curves.

    Raises
    ------
    ValueError
        If a column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> ax = plot_frontier(pd.DataFrame({"loss": ["dpo"], "kl": [0.3], "win_rate": [0.7]}))
    >>> ax.get_xlabel()
    'KL(π‖πref)  [nats]'
    """
    ax = plot_sweep(table, win_rate, ax, x=kl, by=by)
    ax.axhline(0.5, color=COLORS["grey"], linewidth=0.8, zorder=0)
    ax.set_xlabel("KL(π‖πref)  [nats]")
    ax.set_ylabel("win rate against πref")
    return ax
