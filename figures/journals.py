"""Scores and policies that six losses make of the citations among four journals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("journals",)
CAPTION = """Citations among four statistics journals (Stigler 1994) as comparisons that the cited journal wins. (a)
Scores at β = 1, the log-ratio to a uniform reference with Biometrika at 0; black diamonds are the published
Bradley-Terry abilities. (b) Scores times the loss's κ = f″(0)/|f′(0)| over logistic's, which would be equal if margins
were small[[hinge|; hinge, with κ = 0, cannot be scaled so and is left out]]. Large margins are fitted by their
tails."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Draw scores as points, a row a journal."""
    table = records["journals"].table
    published = find(table, loss="published").sort_values("score").reset_index(drop=True)
    positions = {journal: position for position, journal in enumerate(published["journal"])}
    figure, (left, right) = new_figure(1, 2, height=3.3, sharey=True)
    names = [str(name) for name in table["loss"].unique() if name != "published"]
    for index, name in enumerate(names):
        rows = find(table, loss=name)
        y = np.array([positions[journal] for journal in rows["journal"]]) + 0.3 - 0.12 * index
        style = loss_style(name)
        point = {"linestyle": "none", "marker": style.marker, "color": style.color, "markersize": 6.0}
        left.plot(rows["score"], y, label=loss_label(name), **point)
        if rows["kappa"].iloc[0] > 0:
            right.plot(rows["score"] * rows["kappa"] / 0.5, y, **point)
    for ax in (left, right):
        ax.plot(
            published["score"],
            np.arange(len(positions)) + 0.42,
            linestyle="none",
            marker="d",
            color=COLORS["black"],
            markersize=6.0,
            label="published abilities",
        )
        ax.axvline(0.0, color=COLORS["grey"], linewidth=0.8, zorder=0)
        for position in range(1, len(positions)):
            ax.axhline(position - 0.45, color="#E3E3E3", linewidth=0.6, zorder=0)
        ax.grid(False, axis="y")
    left.set_yticks(range(len(positions)), [journal.replace(" in ", "\nin ") for journal in positions])
    left.set_xlabel("score at β = 1  [nats]")
    right.set_xlabel("score times κ/κ(logistic)  [nats]")
    panel_label(left, "a", "equal β")
    panel_label(right, "b", "equal βκ")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure
