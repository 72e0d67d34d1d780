"""Error of the Taylor series of each loss by order, over the margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures._panels import label_axes, loss_panels
from gpo_analysis.plotting import COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("taylor",)
CAPTION = """Error |f(z) − T_N(z)| of the Taylor series at 0 cut after order N, over the margin |z| = |βρ|; the larger
one of z and −z, computed with 60 digits. The vertical line is the radius r on which the series equals f: within it more
orders help, beyond it they make the error grow[[logistic,savage| (logistic, Savage: r = π)]] or change
nothing[[hinge,truncated_quadratic| (hinge, truncated quadratic: the kink at 1)]].[[squared| Squared is its own series
from order 2 on.]][[exponential| Exponential has no radius.]] Crosses: the
library's bound on the error of N = 2, the order of the paper's regularizer. Orders whose error is 0 or below the frame
are not seen."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Draw a panel a loss."""
    from matplotlib import colormaps

    table = records["taylor"].table
    orders = sorted(table["order"].unique())
    colors = colormaps["viridis"](np.linspace(0.0, 0.88, len(orders)))
    dashes = ("-", (0, (5, 2)), (0, (6, 2, 1.2, 2)), (0, (1.2, 1.6)), (0, (10, 3)), (0, (5, 1.8, 1.2, 1.8, 1.2, 1.8)))
    figure, panels = loss_panels(table["loss"].drop_duplicates(), height=2.5)
    for name, ax in panels.items():
        rows = table[table["loss"] == name]
        for index, order in enumerate(orders):
            curve = rows[(rows["order"] == order) & (rows["error"] > 1e-30)]
            ax.plot(
                curve["size"],
                curve["error"],
                color=colors[index],
                linestyle=dashes[index % len(dashes)],
                label=f"N = {order}",
            )
        bound = rows[rows["bound"] > 0]
        ax.plot(
            bound["size"], bound["bound"], linestyle="none", marker="x", color=COLORS["black"], label="bound, N = 2"
        )
        radius = float(rows["radius"].iloc[0])
        if np.isfinite(radius):
            ax.axvline(radius, color=COLORS["black"], linewidth=0.9)
            shown = "r = π" if abs(radius - np.pi) < 1e-9 else f"r = {radius:g}"
            ax.annotate(shown, (radius, 2e-9), xytext=(3, 0), textcoords="offset points", fontsize=8)
        else:
            ax.annotate("r = ∞", (0.97, 0.05), xycoords="axes fraction", ha="right", fontsize=8)
        ax.set(xscale="log", yscale="log", ylim=(1e-9, 1e7))
    label_axes(panels, "margin $|z| = |βρ|$", "error  $|f - T_N|$")
    handles, labels = next(iter(panels.values())).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, handlelength=4.0)
    return figure
