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


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    record = records["llm-side-by-side"]
    best = record.table.groupby("first", sort=False)["beta"].first()
    betas = ", ".join(f"{loss_label(str(name))} {beta:.2g}" for name, beta in best.items())
    return f"""Win rate of the row's loss over the column's, each at its best β, by the gold reward on the same
    {record.table["prompts"].iloc[0]} prompts, a tie half; below it the half-width of its 95 % interval. Best β:
    {betas}. Study {record.config["study"]}; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """One matrix."""
    table = records["llm-side-by-side"].table
    losses = list(dict.fromkeys(table["first"]))
    square = table.pivot(index="first", columns="second", values="win_rate").reindex(index=losses, columns=losses)
    half = (table["high"] - table["low"]) / 2
    widths = table.assign(half=half).pivot(index="first", columns="second", values="half")
    widths = widths.reindex(index=losses, columns=losses)
    figure, ax = new_figure(height=4.4)
    values = square.to_numpy(dtype=float)
    limit = max(0.02, float(np.nanmax(np.abs(values - 0.5))))
    image = ax.imshow(values, cmap="PuOr", vmin=0.5 - limit, vmax=0.5 + limit)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            shade = "white" if abs(value - 0.5) > 0.7 * limit else "black"
            text = f"{value:.3f}\n±{widths.iloc[i, j]:.3f}"
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color=shade)
    labels = [loss_label(str(name)) for name in losses]
    ax.set_xticks(range(len(losses)), labels, rotation=25, ha="right")
    ax.set_yticks(range(len(losses)), labels)
    ax.grid(False)
    ax.set_xlabel("… over this one")
    ax.set_ylabel("win rate of this loss …")
    figure.colorbar(image, ax=ax, label="win rate", shrink=0.8)
    return figure
