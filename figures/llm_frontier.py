"""Win rate against KL of the losses on a trained language model, a panel a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from figures._panels import KEYS, count, key, label_axes, loss_panels, own_medians, own_points, plain_ticks, runaway
from gpo_analysis.plotting import COLORS, loss_style
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-frontier",)
SPAN = (0.44, 0.94)


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    table = records["llm-frontier"].table
    last = _last(table)
    return f"""Win rate against πref by the gold reward (a tie half) against KL(πθ‖πref), measured on-policy over the
    whole vocabulary; a panel a loss. Dots: a policy after the last step, one a β and seed; markers: medians over the
    {last["seed"].nunique()} seeds at each β (small β on the right), which redraw the order of the same pairs alone;
    grey: the medians of the other losses.
    {int(runaway(last).sum())} of {len(last)} policies ran away; they stand at the right edge, are counted in their
    panels and enter no median. Dotted: the exact population optimum of the loss on the same prompts, which training of
    this length does not reach; crosses: best-of-n of πref, n written beside. Study
    {records["llm-frontier"].config["study"]}; settings ours."""


def _last(table: pd.DataFrame) -> pd.DataFrame:
    measured = find(table, kind="measured", arm="fresh")
    return find(measured, step=measured["step"].max())


def medians(rows: pd.DataFrame) -> pd.DataFrame:
    """Median KL and win rate at each strength, by KL; runaways are left out."""
    return rows[~runaway(rows)].groupby("strength")[["kl", "win_rate"]].median().sort_values("kl")


def draw(records: Mapping[str, Record]) -> Figure:
    """A panel a loss, measured on predicted."""
    table = records["llm-frontier"].table
    last = _last(table)
    own = {str(loss): rows for loss, rows in last.groupby("loss", sort=False)}
    lines = {loss: (found["kl"], found["win_rate"]) for loss, rows in own.items() for found in [medians(rows)]}
    kept = last.loc[~runaway(last), "kl"]
    low, high = 0.7 * float(kept.min()), 1.6 * float(kept.max())
    best = table[(table["kind"] == "best_of_n") & (table["kl"] > low) & (table["kl"] < high)].sort_values("kl")
    figure, axes = loss_panels(own)
    for loss, ax in axes.items():
        for other, (x, y) in lines.items():
            if other != loss:
                ax.plot(x, y, **KEYS["dots"], zorder=1)
        _baselines(ax, best, find(table, kind="predicted", loss=loss), (low, high), loss)
        rows = own[loss]
        away = runaway(rows)
        own_points(ax, loss, rows["kl"][~away], rows["win_rate"][~away])
        own_medians(ax, loss, *lines[loss], joined=False)
        if away.any():
            ax.plot(np.full(away.sum(), high / 1.08), rows["win_rate"][away].clip(*SPAN), ">",
                    color=loss_style(loss).color, markersize=5, clip_on=False)  # fmt: skip
            count(ax, f"{away.sum()} ran away, KL up to {rows['kl'][away].max():.2g}")
        ax.axhline(0.5, color=COLORS["grey"], linewidth=0.8, zorder=0)
        ax.set_xscale("log")
        ax.set_xlim(low, high)
        ax.set_ylim(*SPAN)
        plain_ticks(ax.xaxis, [t for t in (0.01, 0.1, 1.0, 10.0) if low < t < high])
    label_axes(axes, "KL(πθ‖πref)  [nats]", "win rate over πref")
    words = {"seeds": "policy (one seed)", "marker": "median over seeds, one a β", "dots": "medians of the others",
             "theory": "exact population optimum", "crosses": "best-of-n of πref", "clipped": "ran away"}  # fmt: skip
    key(figure, words)
    return figure


def _baselines(ax: Axes, best: pd.DataFrame, optimum: pd.DataFrame, limits: tuple[float, float], loss: str) -> None:
    inside = optimum[(optimum["kl"] > limits[0] / 2) & (optimum["kl"] < 2 * limits[1])].sort_values("kl")
    ax.plot(inside["kl"], inside["win_rate"], linestyle=":", color=loss_style(loss).color, linewidth=1.4, zorder=1)
    ax.plot(best["kl"], best["win_rate"], "x-", color=COLORS["grey"], linewidth=0.9, markersize=4, zorder=1)
    for row in best.itertuples():
        ax.annotate(f"{int(row.n)}", (row.kl, row.win_rate), (-3, 4), textcoords="offset points", fontsize=6.5,
                    color="0.4", ha="right")  # fmt: skip
