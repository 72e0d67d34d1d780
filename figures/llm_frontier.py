"""Win rate against KL of the six losses on a trained language model, with best-of-n."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-frontier",)


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    table = records["llm-frontier"].table
    measured = find(table, kind="measured")
    seeds = measured["seed"].nunique()
    return f"""Win rate against πref by the gold reward (a tie half) against KL(πθ‖πref), measured on-policy over
    the whole vocabulary. (a) Policies after the last step, one marker a β{" and seed" if seeds > 1 else ""}, bars
    95 % over prompts; lines join β in order. Grey: best-of-n of πref at its bound log n − (n−1)/n. Faint:
    checkpoints earlier in training. (b) What the population optimum of each f reaches on the same prompts:
    preferences known exactly, no limit of steps. Study {records["llm-frontier"].config["study"]}; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Measured beside predicted."""
    table = records["llm-frontier"].table
    figure, (left, right) = new_figure(1, 2, height=3.4, sharey=True)
    measured = find(table, kind="measured", arm="fresh")
    last = find(measured, step=measured["step"].max())
    _points(left, last, errors=True)
    early = measured[measured["step"] < measured["step"].max()]
    for loss, rows in early.groupby("loss", sort=False):
        style = loss_style(str(loss))
        left.plot(rows["kl"], rows["win_rate"], style.marker, color=style.color, alpha=0.25, markersize=3, zorder=1)
    _points(right, find(table, kind="predicted"), errors=False)
    best = table[(table["kind"] == "best_of_n") & (table["kl"] > 0)]
    for ax in (left, right):
        ax.plot(best["kl"], best["win_rate"], color=COLORS["grey"], marker="x", linewidth=1.0, label="best-of-n")
        for row in best.itertuples():
            ax.annotate(f"{int(row.n)}", (row.kl, row.win_rate), (3, -9), textcoords="offset points", fontsize=7)
        ax.axhline(0.5, color=COLORS["grey"], linewidth=0.8, zorder=0)
        ax.set_xscale("log")
        ax.set_xlabel("KL(πθ‖πref)  [nats]")
    left.set_ylabel("win rate against πref")
    panel_label(left, "a", "trained")
    panel_label(right, "b", "population optimum")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _points(ax: Axes, rows: pd.DataFrame, *, errors: bool) -> None:
    for loss, part in rows.groupby("loss", sort=False):
        style = loss_style(str(loss))
        means = part.groupby("strength")[["kl", "win_rate"]].mean().sort_index()
        ax.plot(means["kl"], means["win_rate"], **style.line(label=loss_label(str(loss))), zorder=2)
        ax.plot(part["kl"], part["win_rate"], style.marker, color=style.color, markerfacecolor="white", zorder=3)
        if errors:
            spans = [part["win_rate"] - part["win_rate_low"], part["win_rate_high"] - part["win_rate"]]
            ax.errorbar(part["kl"], part["win_rate"], yerr=spans, fmt="none", ecolor=style.color, alpha=0.35, zorder=1)
