"""Trained policies beside the exact optimum of their loss: a panel a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures._panels import key
from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-optimum",)
LEFT_OUT = ("runaway", "stopped")
SPAN = 0.35


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    record = records["llm-optimum"]
    policies = record.table[record.table["kind"] == "policy"]
    away = int(policies["status"].isin(LEFT_OUT).sum())
    return f"""Upper panels: KL(q‖μ) of the samples trained on, q ∝ μ πθ/πref, which is what the loss determines (the
    mass that πθ puts elsewhere is free), against βκ[[hinge| (hinge, whose κ is 0: against β)]]. Dots: a trained
    policy a seed;
    markers their median; line: the exact optimum of the same problem, median over seeds, with nothing fitted; grey
    lines: the optima of the other losses. Lower panels: log of measured over predicted, clipped at ±{SPAN:g}
    (triangles); the band is ±0.1. {len(policies)} policies of {policies["seed"].nunique()} seeds, which redraw πref,
    prompts, samples and order; {away} ran away and are counted in their panels. Study {record.config["study"]},
    trained on {policies["study_device"].iloc[0]}; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Two panels a loss."""
    table = records["llm-optimum"].table
    policies = table[table["kind"] == "policy"]
    losses = list(dict.fromkeys(policies["loss"]))
    columns = min(3, len(losses))
    blocks = -(-len(losses) // columns)
    from matplotlib.ticker import NullLocator

    figure, axes = new_figure(2 * blocks, columns, height=1.75, sharex=True, squeeze=False)
    for unused in range(len(losses), blocks * columns):
        block, column = divmod(unused, columns)
        for ax in axes[2 * block : 2 * block + 2, column]:
            ax.set_visible(False)
    for position, loss in enumerate(losses):
        block, column = divmod(position, columns)
        above, below = axes[2 * block, column], axes[2 * block + 1, column]
        _levels(above, policies, loss)
        _ratios(below, policies[policies["loss"] == loss], loss)
        panel_label(above, "abcdefghij"[position], loss_label(loss))
        below.set_xlabel("β" if loss == "hinge" else "βκ")
        strengths = sorted(set(policies["strength"]))
        below.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
        below.xaxis.set_minor_locator(NullLocator())
        if column == 0:
            above.set_ylabel("KL  [nats]")
            below.set_ylabel("log(KL/KL*)")
    words = {"line": "KL*, the exact optimum's", "marker": "trained, median over seeds", "seeds": "trained, one seed",
             "others": "optima of the other losses", "below": f"beyond ±{SPAN:g}"}  # fmt: skip
    key(figure, words)
    return figure


def _levels(ax: Axes, policies: pd.DataFrame, loss: str) -> None:
    for other, rows in policies.groupby("loss", sort=False):
        if other != loss:
            theory = rows.groupby("strength")["kl_optimum"].median()
            ax.plot(theory.index, theory, color=COLORS["grey"], linewidth=0.6, alpha=0.5)
    rows, style = policies[policies["loss"] == loss], loss_style(loss)
    theory = rows.groupby("strength")["kl_optimum"].median()
    ax.plot(theory.index, theory, color=style.color)
    kept = rows[~rows["status"].isin(LEFT_OUT)]
    ax.plot(kept["strength"], kept["kl"], ".", color=style.color, markersize=3, alpha=0.6)
    middle = kept.groupby("strength")["kl"].median()
    ax.plot(middle.index, middle, style.marker, color=style.color, markerfacecolor="white")
    ax.set_xscale("log")
    ax.set_yscale("log")
    away = len(rows) - len(kept)
    if away:
        ax.text(0.04, 0.06, f"{away} ran away", transform=ax.transAxes, fontsize=7.5)


def _ratios(ax: Axes, rows: pd.DataFrame, loss: str) -> None:
    style = loss_style(loss)
    ax.axhspan(-0.1, 0.1, color=COLORS["grey"], alpha=0.15, linewidth=0)
    ax.axhline(0.0, color=COLORS["grey"], linewidth=0.8)
    kept = rows[~rows["status"].isin(LEFT_OUT)]
    ratio = (kept["kl"] / kept["kl_optimum"]).map(np.log)
    inside = ratio.abs() <= SPAN
    ax.plot(kept["strength"][inside], ratio[inside], ".", color=style.color, markersize=3, alpha=0.6)
    for sign, mark in ((1.0, "^"), (-1.0, "v")):
        out = ratio * sign > SPAN
        ax.plot(kept["strength"][out], np.full(int(out.sum()), sign * SPAN), mark, color=style.color, markersize=4)
    middle = ratio.groupby(kept["strength"]).median().clip(-SPAN, SPAN)
    ax.plot(middle.index, middle, style.marker, color=style.color, markerfacecolor="white")
    ax.set_ylim(-1.08 * SPAN, 1.08 * SPAN)
    ax.set_xscale("log")
