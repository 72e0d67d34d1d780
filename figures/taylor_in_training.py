"""The expansion in the margin along training, the share beyond its radius, and the rule's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from gpo_analysis.plotting import COLORS, cycle_style, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("taylor-in-training",)
REACHED = 0.999


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings and findings."""
    config, table = records["taylor-in-training"].config, records["taylor-in-training"].table
    rule = find(table, part="rule")
    wrong = [np.nan if rule.empty else _wrong(rule, name).mean() for name in ("both", "fading", "fading_optimum")]
    base = _base(find(table, part="path"))
    return f"""Gradients of the expansions of order 1, 2 and 3 beside the true one, in training a softmax policy over
    {config["responses"]} responses (Bradley–Terry, {config["seeds"]} problems; settings ours). (a) Relative error of
    each order for {base} over the largest |βρ| of the policy, one line a problem; [[logistic|dotted, the radius π of
    logistic. ]]It
    rises as a power at first and without end as training comes to rest. (b) Error of order 2 over the norm of the first
    gradient, one problem, all losses[[squared|: zero for squared]][[squared,truncated_quadratic|, and for truncated
    quadratic up to |βρ| = 1]]. (c) Cosine of order
    2 with the true gradient over the clock β²|f′(0)|t. (d) Quantiles of |βρ| over the radius of convergence on the same
    path, {base}. (e) Share of the pairs beyond the radius over β: at the population optimum (lines) and after 3,000
    steps of one learning rate (markers), means over problems[[hinge| (hinge's margins come to rest at its
    kink, and descent rattles across it)]]. (f) Error rates of rules that say beforehand whether |βρ| ever reaches the
    radius, with Wilson
    intervals over {len(rule)} random problems: pairs move at the speed of the slope until they rest where their own
    labels say (link) or at the solved optimum, {wrong[0]:.1%} wrong by the link; or by the pair's own equation,
    {wrong[1]:.1%} with the link and {wrong[2]:.1%} with the optimum; or pairs know their own labels only."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Four panels along training, one of shares, one of rules."""
    from matplotlib.lines import Line2D

    table = records["taylor-in-training"].table
    figure, axes = new_figure(2, 3, height=2.7)
    path, shares, rule = (find(table, part=part) for part in ("path", "share", "rule"))
    whole = path[(path["seed"] == path["seed"].min()) & ~path["fine"].astype(bool)]
    base = _base(path)
    shown = base if base == "logistic" else loss_label(base)
    _orders(axes.flat[0], find(path, loss=base))
    panel_label(axes.flat[0], "a", f"{shown}, orders 1–3")
    for letter, ax, (x, y) in zip(
        "bc", axes.flat[1:3], (("largest", "scaled_error_2"), ("clock", "cosine_2")), strict=True
    ):
        for loss, run in whole.groupby("loss", sort=False):
            # an exact expansion has error 0, which a logarithm cannot show
            values = run[y].where(run[y].abs() > 1e-10)
            ax.plot(run[x], values, **loss_style(str(loss)).line(label=loss_label(str(loss))))
        ax.set_xscale("log")
        panel_label(ax, letter, "order 2, all losses")
    axes.flat[1].set(
        yscale="log", xlabel="largest |βρ|", ylabel="error / first gradient", ylim=(1e-6, 10), xlim=(0.05, 20)
    )
    axes.flat[2].set(xlabel="β²|f′(0)|t", ylabel="cosine", ylim=(-1.05, 1.05))
    _quantiles(axes.flat[3], find(whole, loss=base))
    panel_label(axes.flat[3], "d", f"margins, {shown}")
    _shares(axes.flat[4], shares)
    panel_label(axes.flat[4], "e", "pairs beyond the radius")
    _rules(axes.flat[5], rule)
    panel_label(axes.flat[5], "f", "rules made beforehand")
    _, labels = axes.flat[2].get_legend_handles_labels()
    handles = [
        Line2D([], [], **loss_style(str(loss)).points(markersize=4)) for loss, _ in whole.groupby("loss", sort=False)
    ]
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _base(path: pd.DataFrame) -> str:
    """The loss of panels a and d: logistic, or the first where that is not there."""
    names = list(path["loss"].drop_duplicates())
    return "logistic" if "logistic" in names else str(names[0])


def _unbounded(ax: Axes, rows: pd.DataFrame) -> bool:
    """Whether there is nothing to draw, which is then said."""
    if rows.empty:
        ax.text(0.5, 0.5, "no loss with a finite radius", transform=ax.transAxes, ha="center")
    return bool(rows.empty)


def _orders(ax: Axes, rows: pd.DataFrame) -> None:
    for k, order in enumerate((1, 2, 3)):
        for n, (_, run) in enumerate(rows.groupby("seed")):
            run = run[run["largest"] > 0].sort_values("clock")
            style = cycle_style(k).line(label=f"order {order}" if n == 0 else None)
            ax.plot(run["largest"], run[f"relative_error_{order}"], **{**style, "linewidth": 0.9})
    if set(rows["loss"]) == {"logistic"}:
        ax.axvline(np.pi, color=COLORS["grey"], linestyle=":", linewidth=1.0)
        ax.text(2.8, 0.03, "radius π", transform=ax.get_xaxis_transform(), fontsize=7, ha="right", va="bottom")
    ax.set(xscale="log", yscale="log", xlabel="largest |βρ|", ylabel="relative error", ylim=(1e-7, 1e4))
    ax.legend(loc="upper left", handlelength=2.0)


def _quantiles(ax: Axes, rows: pd.DataFrame) -> None:
    usual = set(rows["loss"]) == {"logistic"}
    for k, (column, label) in enumerate((("largest", "largest"), ("q90", "90 %"), ("median", "median"))):
        ax.plot(rows["clock"], rows[column] / (np.pi if usual else 1.0), **cycle_style(k).line(label=label))
    if usual:
        ax.axhline(1.0, color=COLORS["grey"], linestyle=":", linewidth=1.0)
        ax.text(0.97, 1.02, "radius", transform=ax.get_yaxis_transform(), fontsize=7, ha="right", va="bottom")
    ax.set(xscale="log", xlabel="β²|f′(0)|t", ylabel="|βρ| / π" if usual else "|βρ|")
    ax.legend(loc="upper left", handlelength=2.0)


def _shares(ax: Axes, rows: pd.DataFrame) -> None:
    if _unbounded(ax, rows):
        return
    for loss, run in rows.groupby("loss", sort=False):
        style, means = loss_style(str(loss)), run.groupby("beta")[["optimum", "trained_3000"]].mean()
        ax.plot(means.index, means["optimum"], **style.line())
        ax.plot(means.index, means["trained_3000"], style.marker, color=style.color, markerfacecolor="white")
    for mark, label in (("-", "at the optimum"), ("o", "after 3,000 steps")):
        ax.plot([], [], mark, color="0.25", markerfacecolor="white", label=label)
    ax.legend(loc="upper left", fontsize=7)
    ax.set(xscale="log", xlabel="β", ylabel="share of the pairs", ylim=(-0.03, 0.8))


def _wrong(rows: pd.DataFrame, name: str) -> pd.Series[bool]:
    return (rows["largest"] >= REACHED) != (rows[name] >= REACHED)


def _rules(ax: Axes, rows: pd.DataFrame) -> None:
    if _unbounded(ax, rows):
        return
    names = {
        "both": "link,\nslope", "optimum": "optimum,\nslope", "fading": "link,\nown eq.",
        "fading_optimum": "optimum,\nown eq.", "own": "own\nlabels", "link": "link\nalone",
    }  # fmt: skip
    for k, (loss, group) in enumerate(rows.groupby("loss", sort=False)):
        style, n = loss_style(str(loss)), len(group)
        for position, name in enumerate(names):
            hits = int(_wrong(group, name).sum())
            share, ends = hits / n, binomtest(hits, n).proportion_ci(method="wilson")
            errors = [[max(share - ends.low, 0.0)], [max(ends.high - share, 0.0)]]
            ax.errorbar(
                position + 0.16 * (k - 1.5), share, errors, fmt=style.marker,
                color=style.color, markersize=3.5, elinewidth=1.0,
            )  # fmt: skip
    ax.set_xticks(
        range(len(names)), [name.replace("\n", " ") for name in names.values()], fontsize=6.5, rotation=35, ha="right"
    )
    ax.set(ylabel="share of problems wrong", ylim=(-0.02, 0.75))
