"""Training runs beside what was said of them before: a panel a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-predicted-training",)
SPAN = 0.4


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    record = records["llm-predicted-training"]
    rows = _grid(record.table)
    runs = rows[["loss", "strength", "seed", "status"]].drop_duplicates()
    away = int((runs["status"] != "ok").sum())
    strengths = ", ".join(f"{value:g}" for value in sorted(set(rows["strength"]) - {0.0}))
    return f"""Upper panels: mean margin of the pairs trained on, against steps of Adam, for the limit β → 0 (uppermost)
    and βκ = {strengths}[[hinge| (hinge, whose κ is 0: β)]], written at the ends. Dots: a network a seed; markers
    their median;
    lines: the tangent at πref, trained likewise; dashes: the law of two parts, from the limit run alone (both medians
    over seeds); grey: the other losses' tangents. Lower panels: log(predicted/measured) of the mean margin at every
    step, against the KL of the network, tangent (dots) and two parts (crosses), clipped at ±{SPAN:g} (triangles); the
    band is ±0.1. Nothing is fitted. {len(runs)} runs of {rows["seed"].nunique()} seeds, which redraw πref, prompts,
    samples, pairs, labels and order; {away} ran away and are left out. Study {record.config["study"]}, on
    {rows["study_device"].iloc[0]}; settings ours."""


def _grid(table: pd.DataFrame) -> pd.DataFrame:
    """Runs of the main grid by Adam, on samples trained on."""
    rows = table[(table["kind"] == "step") & (table["split"] == "seen") & (table["optimizer"] == "adamw")]
    return rows[(rows["rate"] == 1) & (rows["epsilon"] == 0) & (rows["batch"] == rows["batch"].mode().iloc[0])]


def draw(records: Mapping[str, Record]) -> Figure:
    """Two panels a loss."""
    rows = _grid(records["llm-predicted-training"].table)
    rows = rows[rows["status"] == "ok"]
    losses = list(dict.fromkeys(rows[rows["strength"] > 0]["loss"]))
    columns = min(3, len(losses))
    blocks = -(-len(losses) // columns)
    figure, axes = new_figure(2 * blocks, columns, height=1.9, squeeze=False)
    for unused in range(len(losses), blocks * columns):
        block, column = divmod(unused, columns)
        for ax in axes[2 * block : 2 * block + 2, column]:
            ax.set_visible(False)
    for position, loss in enumerate(losses):
        block, column = divmod(position, columns)
        above, below = axes[2 * block, column], axes[2 * block + 1, column]
        _courses(above, rows, loss)
        _errors(below, rows[(rows["loss"] == loss) & (rows["strength"] > 0)], loss)
        panel_label(above, "abcdefghij"[position], loss_label(loss))
        above.set_xlabel("step")
        below.set_xlabel("KL of the samples  [nats]")
        if column == 0:
            above.set_ylabel("mean ρ  [nats]")
            below.set_ylabel("log(predicted/measured)")
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    dark, grey = COLORS["black"], COLORS["grey"]
    handles = [
        Line2D([], [], color=dark, marker="o", markerfacecolor="white", linestyle="none", label="networks: median"),
        Line2D(
            [], [], color=dark, marker=".", linestyle="none", label="a network (above); the tangent's error (below)"
        ),
        Line2D([], [], color=dark, label="said before: tangent at πref"),
        Line2D([], [], color=dark, linestyle="--", label="said before: law from the run at β → 0"),
        Line2D([], [], color=dark, marker="x", linestyle="none", label="the law's error (below)"),
        Line2D([], [], color=grey, alpha=0.6, label="other losses (above); ±10 % (band below)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _courses(ax: Axes, rows: pd.DataFrame, loss: str) -> None:
    style = loss_style(loss)
    tangents, laws = rows[rows["method"] == "tangent"], rows[rows["method"] == "scalar"]
    for (other, strength), part in tangents.groupby(["loss", "strength"], sort=False):
        middle = part.groupby("step")["mean_rho_predicted"].median()
        own = other == loss or strength == 0
        ax.plot(
            middle.index, middle, color=style.color if own else COLORS["grey"], linewidth=1.1 if own else 0.6,
            alpha=1.0 if own else 0.4, zorder=2 if own else 1,
        )  # fmt: skip
        if own:
            measured = part.groupby("step")["mean_rho"].median()
            ax.plot(part["step"], part["mean_rho"], ".", color=style.color, markersize=2.5, alpha=0.5)
            ax.plot(measured.index, measured, style.marker, color=style.color, markerfacecolor="white", markersize=4)
            name, raised = (f"{strength:g}", 0) if strength else ("β → 0", 5)
            ax.annotate(
                name, (middle.index[-1], middle.iloc[-1]), (3, raised), textcoords="offset points", va="center",
                fontsize=6, color=style.color,
            )  # fmt: skip
    for _, part in laws[laws["loss"] == loss].groupby("strength"):
        middle = part.groupby("step")["mean_rho_predicted"].median()
        ax.plot(middle.index, middle, "--", color="black", linewidth=0.9)
    ax.set_xscale("log")
    ax.set_yscale("log")
    steps = sorted(set(rows["step"]))
    ax.set_xticks(steps, [f"{step:g}" for step in steps])
    ax.set_xlim(0.9 * steps[0], 1.5 * steps[-1])
    low, high = ax.get_ylim()
    ticks = [tick for tick in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0) if low <= tick <= high]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


def _errors(ax: Axes, rows: pd.DataFrame, loss: str) -> None:
    style = loss_style(loss)
    ax.axhspan(-0.1, 0.1, color=COLORS["grey"], alpha=0.15, linewidth=0)
    ax.axhline(0.0, color=COLORS["grey"], linewidth=0.8)
    for method, mark, color in (("tangent", ".", style.color), ("scalar", "x", "black")):
        part = rows[(rows["method"] == method) & (rows["mean_rho"] > 0) & (rows["mean_rho_predicted"] > 0)]
        error = np.log(part["mean_rho_predicted"] / part["mean_rho"])
        inside = error.abs() <= SPAN
        ax.plot(part["kl"][inside], error[inside], mark, color=color, markersize=3, alpha=0.6)
        for sign, triangle in ((1.0, "^"), (-1.0, "v")):
            out = error * sign > SPAN
            ax.plot(part["kl"][out], np.full(int(out.sum()), sign * SPAN), triangle, color=color, markersize=3)
    ax.set_ylim(-1.08 * SPAN, 1.08 * SPAN)
    ax.set_xscale("log")
    low, high = rows["kl"].min(), rows["kl"].max()
    ticks = [tick for tick in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0) if low / 1.5 <= tick <= 1.5 * high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
