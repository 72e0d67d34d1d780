"""What f changes in an arena, the rule it is near, and cycles against noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import t

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("arena",)
RULES = {"borda": "Borda", "copeland": "Copeland", "kemeny": "Kemeny"}
CHANGED = ("exponential", "savage")
SHOWN = ("logistic", "squared", "truncated_quadratic", "exponential", "savage", "hinge")


def _which(table: pd.DataFrame) -> str:
    return "arena" if "arena" in set(table["data"]) else "generated"


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with what was read."""
    config, table = records["arena"].config, records["arena"].table
    sides = find(table, data="debate")["prompt"].nunique() if "debate" in set(table["data"]) else 0
    rows = find(table, data=_which(table), part="fit").iloc[0]
    arena = "Chatbot Arena votes" if _which(table) == "arena" else "a generated arena"
    debates = f"{sides} sides of debates (dots) and " if sides else ""
    random = len(find(table, part="random", data="uniform", loss="logistic"))
    return f"""What f does to an arena: {rows["items"]:.0f} items, {rows["votes"]:,.0f} votes ({arena}, ties at half a
    win each). (a) Scores on the scale of logits (2κg) less logistic's, over logistic's: an item a point.
    [[savage,exponential|(b) Savage's
    change over exponential's; line: −2, as third derivatives say.]] (c) Cyclic part of the flow that is found over what
    exactly Bradley–Terry voters would show with as many votes: {debates}the arena (diamond, with the central 95 % of
    noise); filled where it is more than noise at 0.05; line: equal. (d) Mean τ of each f with three voting rules on
    {random} random preferences of {config["responses"]} items, with 95 % intervals over
    preferences[[logistic,squared|; logistic,
    squared and Borda order alike]]."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Four panels."""
    table = records["arena"].table
    figure, axes = new_figure(2, 2, height=2.9)
    _changes(axes[0, 0], axes[0, 1], find(table, data=_which(table), part="score"))
    _cycles(axes[1, 0], table)
    _rules(axes[1, 1], find(table, part="random", data="uniform"))
    return figure


def _changes(left: Axes, right: Axes, scores: pd.DataFrame) -> None:
    wide = scores.pivot_table(index="item", columns="loss", values="score")
    typed = [str(name) for name in wide if name not in SHOWN]
    changes = {name: wide[name] - wide["logistic"] for name in (*CHANGED, *typed) if name in wide}
    for name, change in changes.items():
        style = loss_style(name)
        left.plot(wide["logistic"], change, linestyle="none", marker=style.marker, color=style.color, markersize=3.0,
                  label=loss_label(name))  # fmt: skip
    left.axhline(0.0, color=COLORS["grey"], linewidth=0.8, zorder=0)
    left.set_xlabel("score, logistic  [nats]")
    left.set_ylabel("change of score  [nats]")
    left.legend(loc="best")
    panel_label(left, "a", "what f changes")
    if set(CHANGED) <= set(changes):
        x, y = changes["exponential"], changes["savage"]
        right.plot(x, y, linestyle="none", marker="o", color=COLORS["black"], markersize=3.0)
        ends = np.array([x.min(), x.max()])
        right.plot(ends, -2 * ends, color=COLORS["grey"], linewidth=1.0, zorder=0)
    else:
        right.text(0.5, 0.5, "exponential and Savage\nare not among the losses", transform=right.transAxes, ha="center")
    right.locator_params(axis="x", nbins=5)
    right.set_xlabel("change, exponential  [nats]")
    right.set_ylabel("change, Savage  [nats]")
    panel_label(right, "b", "opposite, twice as large")


def _cycles(ax: Axes, table: pd.DataFrame) -> None:
    noise = find(table, part="noise", test="cyclic_share")
    for rows, marker, size in (
        (noise[noise["data"] == "debate"], "o", 4.0),
        (find(noise, data=_which(table)), "D", 6.0),
    ):
        for more in (True, False):
            some = rows[(rows["p"] <= 0.05) == more]
            ax.plot(some["expected"], some["observed"], linestyle="none", marker=marker, color=COLORS["vermillion"],
                    markerfacecolor=COLORS["vermillion"] if more else "white", markersize=size)  # fmt: skip
    dark, shape = COLORS["vermillion"], {"linestyle": "none", "color": COLORS["vermillion"]}
    key = {"o": "a side of a debate", "D": "the arena, 95 % of noise", "s": "filled: more than noise"}
    for marker, label in key.items():
        face = dark if marker == "s" else "none"
        if marker != "o" or "debate" in set(noise["data"]):
            ax.plot([], [], marker=marker, markerfacecolor=face, markersize=4.0, label=label, **shape)
    ax.legend(loc="lower right", fontsize=6.5)
    one = find(noise, data=_which(table)).iloc[0]
    ax.hlines(one["observed"], one["low"], one["high"], colors=COLORS["vermillion"], linewidth=1.2)
    top = 1.08 * float(noise[["expected", "observed", "high"]].max().max() if len(noise) == 1 else
                       noise[["expected", "observed"]].max().max())  # fmt: skip
    ax.plot([0, top], [0, top], color=COLORS["grey"], linewidth=0.8, zorder=0)
    ax.set_xlabel("cyclic part by noise alone")
    ax.set_ylabel("cyclic part found")
    panel_label(ax, "c", "cycles against noise")


def _rules(ax: Axes, random: pd.DataFrame) -> None:
    for k, rule in enumerate(RULES):
        there = set(random["loss"])
        names = [*(name for name in SHOWN if name in there), *sorted(there - set(SHOWN))]
        for index, name in enumerate(names):
            values = find(random, loss=name)[f"tau_{rule}"].dropna()
            mean = float(values.mean())
            half = float(t.ppf(0.975, len(values) - 1)) * float(values.sem())
            style, x = loss_style(name), k + 0.12 * (index - 2.5)
            ax.vlines(x, mean - half, mean + half, colors=style.color, linewidth=1.2)
            ax.plot(x, mean, linestyle="none", marker=style.marker, color=style.color,
                    label=loss_label(name) if k == 0 else None)  # fmt: skip
    ax.set_xticks(range(len(RULES)), list(RULES.values()))
    ax.grid(False, axis="x")
    ax.set_ylabel("mean Kendall τ")
    ax.legend(loc="upper right", ncols=1, fontsize=6.5)
    panel_label(ax, "d", "random preferences")
