"""Shares of variance due to β and f, and where equal strength makes the losses alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from figures._panels import strength_label
from gpo_analysis.plotting import cycle_style, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("beta-or-f",)
EXACT = 0


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config = records["beta-or-f"].config
    few = _positions(config)[0]
    counted = f"for {few} label{'s' if few > 1 else ''} a pair" if few != EXACT else "once more"
    problem = _shown_problem(config)
    kind = "strong Bradley–Terry preferences" if problem == "strong" else f"the preferences called {problem}"
    return f"""Exact optima over {config["responses"]} responses for every f, β, kind of preference, number of labels a
    pair and {config["seeds"]} seeds; settings ours. (a) Share of the variance of the win rate against πref, over β from
    {config["low"]:g} to {config["high"]:g} equal for all f, that is due to β (full) and to f (dashed), with 95 %
    bootstrap intervals over seeds. (b) What is due to f, alone and together with β: grids equal in β (full) against
    equal in βκ (dashed). (c), (d) Mean win rate over βκ[[hinge| (hinge: over β)]] with {kind}, for
    exact shares and {counted}. (e) f's part of what f and β explain, for ranges of
    β about the best one (from the end of the grid where that is best), exact shares: above the grey line f explains
    more than β, if little, as within half a decade the two together have some
    {_near(records["beta-or-f"]):.2g} % of the variance."""


def _near(record: Record) -> float:
    """Per cent of the variance of the win rate that f and β have half a decade about the best β, most labels."""
    most = _positions(record.config)[-1]
    rows = find(record.table, part="share", outcome="win_rate", scale="beta", labels=most)
    rows = rows[rows["effect"].isin(["f", "beta"])]
    widths = rows["decades"].unique()
    near = rows[rows["decades"] == widths[np.abs(widths - 0.5).argmin()]]
    return 100 * float(near.groupby("problem")["share"].sum().mean())


def draw(records: Mapping[str, Record]) -> Figure:
    """Shares, curves, and the range of β."""
    record = records["beta-or-f"]
    table, config = record.table, record.config
    curves, explained = find(table, part="curve"), find(table, part="share")
    explained = find(explained, outcome="win_rate")
    figure, axes = new_figure(2, 3, height=2.7)
    _shares(axes[0, 0], explained, config)
    panel_label(axes[0, 0], "a", "β and f")
    _of_f(axes[0, 1], explained, config)
    panel_label(axes[0, 1], "b", "f, equal β or βκ")
    positions = _positions(config)
    most, few = positions[-1], positions[0]
    problem = _shown_problem(config)
    for letter, ax, labels, title in (
        ("c", axes[0, 2], most, f"{problem}, {'exact' if most == EXACT else 'most labels'}"),
        ("d", axes[1, 0], few, f"{problem}, {'exact' if few == EXACT else 'few labels'}"),
    ):
        _curves(ax, find(curves, problem=problem, labels=labels))
        panel_label(ax, letter, title)
    _ranges(axes[1, 1], explained, config)
    panel_label(axes[1, 1], "e", "range of β")
    _legend(axes[1, 2], axes[0, 2], config)
    return figure


def _shown_problem(config: Mapping[str, object]) -> str:
    """The problem of the curves."""
    problems = [str(problem) for problem in config["problems"]]  # type: ignore[attr-defined]
    return "strong" if "strong" in problems else problems[-1]


def _positions(config: Mapping[str, object]) -> list[int]:
    """Numbers of labels in their order, exact shares last."""
    counts = [int(count) for count in config["labels"]]  # type: ignore[attr-defined]
    return sorted(count for count in counts if count != EXACT) + [count for count in counts if count == EXACT]


def _axis(ax: Axes, config: Mapping[str, object]) -> None:
    positions = _positions(config)
    ax.set_xticks(range(len(positions)), ["∞" if count == EXACT else str(count) for count in positions])
    ax.set_xlabel("labels a pair")


def _shares(ax: Axes, rows: pd.DataFrame, config: Mapping[str, object]) -> None:
    whole = rows[rows["low"].notna() & (rows["scale"] == "beta")]
    for k, problem in enumerate(config["problems"]):  # type: ignore[arg-type]
        for effect, dash in (("beta", "-"), ("f", "--")):
            part = find(whole, problem=problem, effect=effect).set_index("labels")
            part = part.loc[_positions(config)]
            style = cycle_style(k)
            ax.errorbar(
                np.arange(len(part)) + 0.06 * (k - 1.5), part["share"],
                yerr=np.maximum([part["share"] - part["low"], part["high"] - part["share"]], 0.0), color=style.color,
                linestyle=dash, marker=style.marker, markersize=3.5, capsize=2, linewidth=1.2,
            )  # fmt: skip
    ax.set_ylim(0, 1)
    ax.set_ylabel("share of variance")
    _axis(ax, config)


def _of_f(ax: Axes, rows: pd.DataFrame, config: Mapping[str, object]) -> None:
    whole = rows[rows["low"].notna() & rows["effect"].isin(["f", "f:beta"])]
    for k, problem in enumerate(config["problems"]):  # type: ignore[arg-type]
        for scale, dash in (("beta", "-"), ("strength", "--")):
            part = find(whole, problem=problem, scale=scale).groupby("labels")["share"].sum()
            style = cycle_style(k)
            ax.plot(
                range(len(part)), part.loc[_positions(config)], color=style.color, linestyle=dash, marker=style.marker,
                markersize=3.5, linewidth=1.2,
            )  # fmt: skip
    if (whole["share"] > 0).any():  # of one loss all are 0
        ax.set_yscale("log")
    ax.set_ylabel("share of f and f × β")
    _axis(ax, config)


def _curves(ax: Axes, rows: pd.DataFrame) -> None:
    rows = find(rows, scale="strength")
    for loss, part in rows.groupby("loss", sort=False):
        if part["win_rate"].notna().all():
            ax.plot(part["grid"], part["win_rate"], **loss_style(str(loss)).line(label=loss_label(str(loss))))
    ax.set_xscale("log")
    ax.set_xlabel(strength_label(rows["loss"]))
    ax.set_ylabel("win rate against πref")


def _ranges(ax: Axes, rows: pd.DataFrame, config: Mapping[str, object]) -> None:
    rows = find(rows, scale="beta", labels=_positions(config)[-1])
    for k, problem in enumerate(config["problems"]):  # type: ignore[arg-type]
        wide = find(rows, problem=problem).pivot_table(
            index="decades", columns="effect", values="share", aggfunc="first"
        )
        ax.plot(wide.index, wide["f"] / (wide["f"] + wide["beta"]), **cycle_style(k).points(markersize=3.5))
    ax.axhline(0.5, color="#6E6E6E", linewidth=0.9, zorder=0)
    ax.set_ylim(0, 1)
    ax.set_xlabel("range of β  [decades]")
    ax.set_ylabel("f / (f + β)")


def _legend(ax: Axes, curves: Axes, config: Mapping[str, object]) -> None:
    """Problems and losses, in a panel of their own."""
    from matplotlib.lines import Line2D

    ax.axis("off")
    problems = [
        Line2D([], [], color=cycle_style(k).color, marker=cycle_style(k).marker, markersize=3.5, label=str(problem))
        for k, problem in enumerate(config["problems"])  # type: ignore[arg-type]
    ]
    problems += [Line2D([], [], color="0.25", linestyle=dash, label=words) for dash, words in
                 (("-", "β (a); equal β (b)"), ("--", "f (a); equal βκ (b)"))]  # fmt: skip
    first = ax.legend(handles=problems, title="preferences (a, b, e)", loc="upper left", bbox_to_anchor=(-0.1, 1.12))
    ax.add_artist(first)
    handles, labels = curves.get_legend_handles_labels()
    ax.legend(handles, labels, title="losses (c, d)", loc="lower left", bbox_to_anchor=(-0.1, -0.3))
