"""Drawing losses: f over the margin, and the 0-1 loss beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.showing.style import axes_or_new, loss_label, loss_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from gpo_analysis.losses import MarginLoss


def plot_loss(
    loss: MarginLoss | str,
    ax: Axes | None = None,
    *,
    low: float = -1.0,
    high: float = 2.0,
    scaled: bool = False,
    points: int = 401,
) -> Axes:
    """Draw f(z) over z in [low, high].

    Parameters
    ----------
    loss : MarginLoss or str
        A loss or its name.
    ax : Axes, optional
        Where to draw; a new figure by default.
    low, high : float
        Range of z = βρ.
    scaled : bool
        Divide by f(0), so that the curve passes through (0, 1).
    points : int
        Number of points.

    Raises
    ------
    ValueError
        If low ≥ high, or ``scaled`` and f(0) is zero.

    Examples
    --------
    >>> ax = plot_loss("logistic", scaled=True)
    >>> ax.get_xlabel()
    'margin $z = βρ$'
    """
    from gpo_analysis.losses import get_margin_loss

    if not low < high:
        raise ValueError(f"low = {low} and high = {high}; accepted is low < high")
    known = get_margin_loss(loss)
    z = np.linspace(low, high, points)
    value = known(z)
    if scaled:
        at_zero = float(known(np.zeros(1))[0])
        if at_zero == 0:
            raise ValueError(f"loss {known.name} is 0 at 0 and cannot be scaled to pass through (0, 1)")
        value = value / at_zero
    ax = axes_or_new(ax)
    ax.plot(z, value, label=loss_label(known.name), **loss_style(known.name).line())
    ax.set_xlabel("margin $z = βρ$")
    ax.set_ylabel("$f(z)\\,/\\,f(0)$" if scaled else "loss $f(z)$")
    return ax


def plot_losses(
    losses: Sequence[MarginLoss | str],
    ax: Axes | None = None,
    *,
    low: float = -1.0,
    high: float = 2.0,
    scaled: bool = False,
    zero_one: bool = True,
) -> Axes:
    """Draw several losses with a legend, and the 0-1 loss beneath them.

    Examples
    --------
    >>> ax = plot_losses(["dpo", "ipo", "slic"], scaled=True)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['0-1 loss', 'logistic (DPO)', 'squared (IPO)', 'hinge (SLiC)']
    """
    ax = axes_or_new(ax)
    if zero_one:
        plot_zero_one(ax, low=low, high=high)
    for loss in losses:
        plot_loss(loss, ax, low=low, high=high, scaled=scaled)
    ax.legend()
    return ax


def plot_zero_one(ax: Axes | None = None, *, low: float = -1.0, high: float = 2.0) -> Axes:
    """Draw the 0-1 loss: 1 where the margin has the wrong sign, with the jump at 0 left open."""
    ax = axes_or_new(ax)
    style = loss_style("zero_one")
    ax.plot([low, 0.0, np.nan, 0.0, high], [1.0, 1.0, np.nan, 0.0, 0.0], label=loss_label("zero_one"), **style.line())
    ax.plot([0.0], [1.0], marker="o", color=style.color, linestyle="none")
    ax.plot([0.0], [0.0], marker="o", color=style.color, markerfacecolor="white", linestyle="none")
    return ax


def plot_curve(name: str, x: ArrayLike, y: ArrayLike, ax: Axes | None = None, *, markers: bool = False) -> Axes:
    """Draw a curve in the colour, dash and marker of the loss ``name``."""
    ax = axes_or_new(ax)
    style = loss_style(name)
    ax.plot(np.asarray(x), np.asarray(y), label=loss_label(name), **(style.points() if markers else style.line()))
    return ax
