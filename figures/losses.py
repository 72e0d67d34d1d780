"""The paper's plot of the losses, and all six beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpo_analysis.plotting import loss_label, loss_style, new_figure, panel_label, plot_curve, plot_zero_one

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("losses",)
CAPTION = """Losses f over the margin ρ = log π(y_w)/πref(y_w) − log π(y_l)/πref(y_l), at β = 1. (a) The three of the
paper's first figure beside the 0-1 loss; the logistic curve is divided by log 2, so that all pass through (0, 1).
(b) All six losses, unscaled; the legend gives slope and curvature at ρ = 0. Squared and truncated quadratic are one
curve up to ρ = 1; Savage alone is bounded and not convex."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Draw both panels."""
    table = records["losses"].table
    figure, (left, right) = new_figure(1, 2, height=3.1)
    low, high = float(table["rho"].min()), float(table["rho"].max())
    plot_zero_one(left, low=low, high=high)
    for name, rows in table.groupby("loss", sort=False):
        scaled = name in ("logistic", "squared", "hinge")
        if scaled:
            plot_curve(str(name), rows["rho"], rows["scaled"], left)
        first = rows.iloc[0]
        label = f"{loss_label(str(name))}: {first['slope']:g}, {first['curvature']:g}"
        right.plot(rows["rho"], rows["value"], label=label, **loss_style(str(name)).line())
    panel_label(left, "a", "scaled to pass through (0, 1)")
    panel_label(right, "b", "all six, unscaled")
    for ax in (left, right):
        ax.set_xlabel("margin $ρ$  [nats], β = 1")
        ax.set_ylim(-0.15, 4.3)
        ax.axvline(0.0, color="#6E6E6E", linewidth=0.7, zorder=0)
    left.set_ylabel("$f(ρ)\\,/\\,f(0)$")
    right.set_ylabel("loss $f(ρ)$")
    left.legend()
    right.legend(title="loss: $f'(0)$, $f''(0)$")
    return figure
