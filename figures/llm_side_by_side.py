"""Side-by-side win rates of the losses at their best β."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.plotting import loss_label, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-side-by-side",)
SCALE = (0.4, 0.6)


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    record = records["llm-side-by-side"]
    margin = record.config["margin"]
    return f"""Win rate of the row's loss over the column's, each at its best strength (written below its name:
    βκ[[hinge|, for
    hinge β]]), by the gold reward on the same {record.table["prompts"].iloc[0]} prompts, a tie half; below it the half
    width of its 95 % interval over prompts. White is even, the colours end at {SCALE[0]:g} and {SCALE[1]:g}; about the
    same means within ½ ± {margin:g}. The best strength is chosen on these prompts, and seeds share their pairs. Study
    {record.config["study"]}; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """One matrix."""
    table = records["llm-side-by-side"].table
    losses = list(dict.fromkeys(table["first"]))
    square = table.pivot(index="first", columns="second", values="win_rate").reindex(index=losses, columns=losses)
    half = (table["high"] - table["low"]) / 2
    widths = table.assign(half=half).pivot(index="first", columns="second", values="half")
    widths = widths.reindex(index=losses, columns=losses)
    figure, ax = new_figure(height=4.6)
    values = square.to_numpy(dtype=float)
    image = ax.imshow(values, cmap="PuOr", vmin=SCALE[0], vmax=SCALE[1])
    for (i, j), value in np.ndenumerate(values):
        if i == j:
            ax.text(j, i, "–", ha="center", va="center", color="0.5")
        elif np.isfinite(value):
            shade = "white" if abs(value - 0.5) > 0.07 else "black"
            text = f"{value:.3f}\n±{widths.iloc[i, j]:.3f}"
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color=shade)
    strengths = table.groupby("first")["strength"].first()
    labels = [f"{loss_label(str(name))}\n{'β' if name == 'hinge' else 'βκ'} = {strengths[name]:g}" for name in losses]
    ax.set_xticks(range(len(losses)), labels, rotation=30, ha="right", fontsize=7.5)
    ax.set_yticks(range(len(losses)), labels, fontsize=7.5)
    ax.grid(False)
    ax.set_xlabel("… over this one")
    ax.set_ylabel("win rate of this loss …")
    ends = "both" if np.nanmax(np.abs(values - 0.5)) > 0.1 else "neither"
    bar = figure.colorbar(image, ax=ax, label="win rate of the row's loss  (white: even)", shrink=0.8, extend=ends)
    bar.set_ticks([0.4, 0.45, 0.5, 0.55, 0.6], labels=["0.40", "0.45", "0.50", "0.55", "0.60"])
    return figure
