"""Angle between the two regularizers' gradients, and steps on which they part, as μ leaves πθ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.plotting import cycle_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("online-and-offline",)
NAME = "online-and-offline"
LABELS = {"tabular": "tabular logits", "features": "linear features", "gaussian": "mixture of Gaussians"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config = records[NAME].config
    return f"""The offline regularizer ½E_μ[ρ²] beside KL(πθ‖πref) as μ goes from πθ over πref to a narrow distribution;
    settings ours. Small steps down ½E_μ[ρ²] from {config["starts"]} random policies, {config["steps"]} steps each.
    (a) Mean angle between the two gradients. (b) Share of steps on which one of the two falls and the other rises.
    Bands are the 2.5 % and 97.5 % quantiles of bootstrapped means over starts. (c) The angle of every policy against
    D₂(μ‖πθ); on the grey line and below lie angles under 90°, where a small step lowers KL. Filled: certified below 90°
    by the bound from χ² alone."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Three panels."""
    table = records[NAME].table
    figure, (first, second, third) = new_figure(1, 3, height=3.1)
    apart = (table["kl_change"] * table["square_change"] < 0).astype(float)
    table = table.assign(apart=apart)
    for k, setting in enumerate(LABELS):
        rows = find(table, setting=setting)
        style = cycle_style(k)
        for ax, column in ((first, "angle"), (second, "apart")):
            means = rows.groupby(["start", "t"])[column].mean().unstack()
            draws = np.random.default_rng(0).integers(len(means), size=(400, len(means)))
            low, high = np.nanquantile(np.nanmean(means.to_numpy()[draws], axis=1), [0.025, 0.975], axis=0)
            ax.plot(means.columns, means.mean(), **style.points(label=LABELS[setting]))
            ax.fill_between(means.columns, low, high, color=style.color, alpha=0.15, linewidth=0)
        shown = rows[rows["chi_squared"] > 1e-9].iloc[:: max(1, len(rows) // 600)]
        certified = shown["angle_bound"] < 90
        for filled, mask in ((True, certified), (False, ~certified)):
            third.scatter(
                np.log1p(shown["chi_squared"][mask]), shown["angle"][mask], s=9, linewidths=0.5, marker=style.marker,
                facecolors=style.color if filled else "none", edgecolors=style.color, alpha=1.0 if filled else 0.5,
            )  # fmt: skip
    for ax in (first, second):
        _interpolation(ax)
    first.set_ylabel("angle of the gradients  [degrees]")
    second.set_ylabel("share of steps that part")
    third.axhline(90.0, color="#6E6E6E", linewidth=0.9, zorder=0)
    third.set_xscale("log")
    third.set_xlabel("Rényi D₂(μ‖πθ)  [nats]")
    third.set_ylabel("angle of the gradients  [degrees]")
    for letter, ax, title in zip("abc", (first, second, third), ("angle", "opposed steps", "mismatch"), strict=True):
        panel_label(ax, letter, title)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _interpolation(ax: Axes) -> None:
    ax.set_xticks([0, 1, 2], ["πθ", "πref", "narrow"])
    ax.set_xlabel("μ")
