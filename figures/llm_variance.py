"""Shares of variance due to β, f and seed on language models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.plotting import COLORS, new_figure, panel_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-variance",)
NAMES = {"strength": "β", "loss": "f", "interaction": "β × f", "seed": "seed"}
TITLES = {"win_rate": "win rate", "log_kl": "log KL"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    record = records["llm-variance"]
    seeds = int(record.table["seeds"].iloc[0])
    over = (
        "over seeds" if seeds > 1 else "over the noise of measurement; one seed, whose variance the interaction holds"
    )
    return f"""Shares of the sum of squares of win rate and log KL over a grid f × βκ of trained policies
    ({record.table["policies"].iloc[0]} policies, {seeds} seed{"s" if seeds > 1 else ""}): bars measured, with 95
    % bootstrap intervals {over}; diamonds the population optimum's. How large β's share is depends on the width
    of the grid. Study {record.config["study"]}; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """A panel a quantity."""
    table = records["llm-variance"].table
    figure, axes = new_figure(1, 2, height=2.9, sharey=True)
    for letter, ax, (quantity, rows) in zip("ab", axes, table.groupby("quantity", sort=False), strict=True):
        part = rows.set_index("source").reindex(NAMES)
        position = np.arange(len(part))
        ax.bar(position, part["measured"], 0.6, color=COLORS["sky"], label="measured")
        spans = [(part["measured"] - part["low"]).clip(lower=0), (part["high"] - part["measured"]).clip(lower=0)]
        ax.errorbar(position, part["measured"], yerr=spans, fmt="none", ecolor=COLORS["black"], capsize=3)
        ax.plot(position, part["predicted"], "D", color=COLORS["vermillion"], label="population optimum")
        ax.set_xticks(position, list(NAMES.values()))
        ax.set_ylim(0, 1)
        panel_label(ax, letter, TITLES[str(quantity)])
    axes[0].set_ylabel("share of the variance")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
