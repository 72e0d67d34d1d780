"""Speed of training by loss: over steps, local rates, stable steps."""

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

EXPERIMENTS = ("speed-and-dynamics",)
SHORT = {"truncated_quadratic": "trunc. quad.", "savage": "Savage"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings and findings."""
    config, table = records["speed-and-dynamics"].config, records["speed-and-dynamics"].table
    descent = table[table["part"] == "descent"]
    whole, alone = ((descent[name] / descent["predicted"]).dropna() for name in ("measured", "slowest"))
    modes = (descent["measured"] / descent["expected"]).dropna()
    edge = table.loc[table["part"] == "adam", "edge"].dropna()
    return f"""Training a softmax policy over {config["responses"]} responses with Bradley–Terry preferences; settings
    ours. (a), (b) One problem, β = 0.3, gradient descent with the clock of the start made equal for all losses
    (β²|f′(0)| × step = 0.5): KL(πθ‖πref), which starts alike, and the distance of the logits to each loss's own
    optimum. (c) The same distance with each loss's best step 2/(λ_min + λ_max)[[hinge| (hinge, which has no
    curvature, as
    in b)]], (d) and with Adam at learning rate 0.03. (e) Local rates measured over {config["seeds"]} problems against
    those
    of the Hessian (descent per step, flow per unit of time, Adam from its own scale √v̂); ratio for descent and flow
    {whole.min():.3g} to {whole.max():.3g}, where a second mode is nearly as slow; to what all modes of the Hessian give
    from the window's start {modes.min():.4g} to {modes.max():.4g}, along the slowest alone {alone.min():.4g} to
    {alone.max():.4g}. (f) Largest stable step of descent over 2/λ_max, near the optimum (filled)
    and from πref (open); lr·λ_max(P⁻¹H)/38 at the end of {config["edge_steps"]} steps of Adam (grey), median
    {edge.median():.2g}."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Four panels over steps, one of rates, one of stability."""
    table = records["speed-and-dynamics"].table
    figure, axes = new_figure(2, 3, height=2.7)
    progress = find(table, part="progress")
    shown = (
        ("same clock", "kl", "KL(πθ‖πref)  [nats]", "KL, one clock"),
        ("same clock", "distance", "distance / first", "distance, one clock"),
        ("best step", "distance", "distance / first", "best steps"),
        ("adam", "distance", "distance / first", "Adam"),
    )
    for letter, ax, (schedule, column, label, title) in zip("abcd", axes.flat, shown, strict=False):
        _over_steps(ax, find(progress, schedule=schedule), column)
        ax.set_ylabel(label)
        panel_label(ax, letter, title)
    _rates(axes.flat[4], table)
    panel_label(axes.flat[4], "e", "local rates")
    _stability(axes.flat[5], table)
    panel_label(axes.flat[5], "f", "stable steps")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _over_steps(ax: Axes, rows: pd.DataFrame, column: str) -> None:
    for loss, run in rows.groupby("loss", sort=False):
        style = loss_style(str(loss))
        ax.plot(run["step"], run[column].clip(lower=1e-9), **style.line(label=loss_label(str(loss))))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(bottom=5e-3 if column == "kl" else 1e-8)
    ax.set_xlabel("step")


def _rates(ax: Axes, table: pd.DataFrame) -> None:
    for name, marker, color in (("gd", "o", "blue"), ("flow", "s", "vermillion"), ("adam", "^", "green")):
        rows = table[(table["optimizer"] == name) & table["measured"].notna()]
        label = {"gd": "descent", "flow": "flow", "adam": "Adam"}[name]
        ax.plot(rows["predicted"], rows["measured"], marker, markersize=3, color=COLORS[color], alpha=0.6, label=label)
    ends = [1e-4, 1.0]
    ax.plot(ends, ends, color=COLORS["grey"], linewidth=0.9, zorder=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("predicted")
    ax.set_ylabel("measured")
    ax.legend(loc="upper left", handlelength=1.0)


def _stability(ax: Axes, table: pd.DataFrame) -> None:
    losses = list(dict.fromkeys(table.loc[table["part"] == "descent", "loss"]))
    adam = table[(table["part"] == "adam") & table["edge"].notna()]
    for position, loss in enumerate(losses):
        style = loss_style(str(loss))
        for start, shift, fill in (("optimum", -0.22, style.color), ("reference", 0.0, "white")):
            rows = find(table, loss=loss, start=start)
            ax.plot(
                [position + shift] * len(rows), rows["stable_over_predicted"], style.marker, color=style.color,
                markerfacecolor=fill, markersize=4,
            )  # fmt: skip
        edges = adam.loc[adam["loss"] == loss, "edge"]
        ax.plot([position + 0.22] * len(edges), edges, "_", color=COLORS["grey"], markersize=6)
    ax.axhline(1.0, color=COLORS["grey"], linewidth=0.9, zorder=0)
    short = [SHORT.get(str(loss), str(loss)[:14]) for loss in losses]
    ax.set_xticks(range(len(losses)), short, rotation=60, fontsize=7)
    ax.set_ylim(0.4, 1.6)
    ax.set_ylabel("found / predicted")
