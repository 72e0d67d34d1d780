"""KL against βκ on a trained language model, and the ratio to the logistic loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-equal-strength",)


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    return f"""KL(πθ‖πref) after the last step against βκ, κ = f″(0)/|f′(0)| (hinge, whose κ is 0: against β). (a)
    Markers: measured; hollow grey rings mark policies limited by the learning rate, for which f was linear over
    the whole run. Thin lines without markers: the population optimum. (b) Win rate against πref on the same axis;
    bars below the axis span the 95 % interval of each loss's best βκ over the noise of win rates. Equal strength
    puts the losses with κ > 0 on one curve to leading order in the margin. Study
    {records["llm-equal-strength"].config["study"]}; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """KL, and win rate with the best strengths."""
    table = records["llm-equal-strength"].table
    figure, (left, right) = new_figure(1, 2, height=3.5)
    measured, predicted = (find(table, kind=kind) for kind in ("measured", "predicted"))
    for loss, rows in measured.groupby("loss", sort=False):
        style = loss_style(str(loss))
        means = rows.groupby("strength")[["kl", "win_rate"]].mean()
        left.plot(means.index, means["kl"], **style.points(label=loss_label(str(loss))))
        right.plot(means.index, means["win_rate"], **style.points())
        theory = find(predicted, loss=loss).sort_values("strength")
        left.plot(theory["strength"], theory["kl"], **style.line(linewidth=0.8, alpha=0.7))
    linear = measured[measured["signature"].fillna("").str.contains("learning rate")]
    left.plot(linear["strength"], linear["kl"], "o", markersize=11, color=COLORS["grey"], markerfacecolor="none")
    _best(right, find(table, kind="best"))
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xlabel("βκ  (hinge: β)")
    left.set_yscale("log")
    left.set_ylabel("KL(πθ‖πref)  [nats]")
    right.set_ylabel("win rate against πref")
    panel_label(left, "a", "distance from πref")
    panel_label(right, "b", "best strength")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _best(ax: Axes, rows: pd.DataFrame) -> None:
    low, high = ax.get_ylim()
    levels = low - (high - low) * np.linspace(0.06, 0.36, max(len(rows), 2))
    for level, row in zip(levels, rows.itertuples(), strict=False):
        style = loss_style(str(row.loss))
        ax.plot([row.strength_low, row.strength_high], [level, level], color=style.color, linewidth=2.0)
        ax.plot([row.strength], [level], style.marker, color=style.color, markerfacecolor="white")
    ax.set_ylim(low - 0.42 * (high - low), high)
