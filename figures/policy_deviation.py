"""Deviation from the reference on and off the compared responses, and the chosen responses' log-probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from figures._panels import binned, plain_ticks
from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("policy-deviation",)


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings and findings."""
    config, table = records["policy-deviation"].config, records["policy-deviation"].table
    chosen, leaks = find(table, part="chosen"), find(table, part="features")
    away = chosen[~_flag(chosen["matched"])]
    known, solved = away[away["predicted_change"].notna()], leaks[leaks["linear_leak"].notna()]
    right = (np.sign(known["change"]) == np.sign(known["predicted_change"])).mean()
    same = (np.sign(solved["final_leak"]) == np.sign(solved["linear_leak"])).mean()
    return f"""Policies over {config["responses"]} responses of which μ reaches {config["seen"]}; Bradley–Terry
    preferences, {config["seeds"]} problems, settings ours. (a) Largest |log π/πref| on μ's support at the population
    optimum over β (markers: means over problems) and what z*(η)/β predicts (lines). (b) The same off the support:
    free logits (lines) move by the normaliser alone, policies with {config["dimension"]} linear features, trained on
    {config["labels"]} labels (markers), go much farther. (c) Change of the mass that π gives to responses nobody
    compared, with features, at the end of training, against πref exp(g/β)/Z off the support, g from one linear
    solve[[hinge| (hinge has none)]]; on the grey line it is that; signs agree in {same:.0%}. (d) Change of the mean
    log-probability of
    the chosen responses in training, μ elsewhere than πref, over β/β_c, where β_c is the root of A/β = Λ(1/β) at the
    fitted direction: left of 1 they are to fall, right of it to rise. At the left edge, A ≤ 0: they are to fall at
    every β. Dots: a run, its loss by colour, free logits and features, population and sample; black: medians with
    quartiles in bins; signs agree in {right:.0%}."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Two panels of sizes, one of leaks, one of the chosen."""
    table = records["policy-deviation"].table
    figure, axes = new_figure(2, 2, height=2.9)
    tabular, features, chosen = (find(table, part=part) for part in ("tabular", "features", "chosen"))
    tabular = tabular[~_flag(tabular["uniform"])]
    _sizes(axes.flat[0], tabular, "predicted_largest_on", tabular, "largest_on")
    axes.flat[0].set_ylabel("largest |log π/πref|  [nats]")
    panel_label(axes.flat[0], "a", "on the support")
    _sizes(axes.flat[1], tabular, "largest_off", features, "largest_off")
    axes.flat[1].set_ylabel("largest |log π/πref|  [nats]")
    panel_label(axes.flat[1], "b", "off the support")
    _leaks(axes.flat[2], features)
    panel_label(axes.flat[2], "c", "mass off the support, features")
    _chosen(axes.flat[3], chosen[~_flag(chosen["matched"])])
    panel_label(axes.flat[3], "d", "chosen log-probability")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _flag(values: pd.Series) -> pd.Series[bool]:
    return values.fillna(False).astype(bool)


def _sizes(ax: Axes, lines: pd.DataFrame, line: str, points: pd.DataFrame, point: str) -> None:
    for loss, rows in lines.groupby("loss", sort=False):
        style = loss_style(str(loss))
        means = rows.groupby("beta")[line].mean()
        ax.plot(means.index, means, **style.line())
        found = find(points, loss=loss).groupby("beta")[point].mean()
        label = loss_label(str(loss))
        ax.plot(found.index, found, style.marker, color=style.color, markerfacecolor="white", label=label)
    ax.set(xscale="log", yscale="log", xlabel="β")


def _leaks(ax: Axes, rows: pd.DataFrame) -> None:
    rows = rows[rows["linear_leak"].notna()]
    for loss, run in rows.groupby("loss", sort=False):
        style = loss_style(str(loss))
        ax.plot(run["linear_leak"], run["final_leak"], style.marker, color=style.color, markersize=3, alpha=0.6)
    ends = [rows["linear_leak"].min(), rows["linear_leak"].max()]
    ax.plot(ends, ends, color=COLORS["grey"], linewidth=0.9, zorder=0)
    for line in (ax.axhline, ax.axvline):
        line(0.0, color=COLORS["grey"], linewidth=0.9, zorder=0)
    ax.set(xlabel="change of mass, one linear solve", ylabel="change of mass, trained")


NEAREST = 0.02
"""β/β_c at the left edge of panel d, where those stand that have no β_c."""


def _chosen(ax: Axes, rows: pd.DataFrame) -> None:
    rows = rows[rows["edge"].notna()]
    x = (rows["beta"] / rows["edge"]).clip(lower=NEAREST)
    rng = np.random.default_rng(0)  # places points side by side
    x = x * np.exp(rng.uniform(-0.06, 0.06, len(x)))
    for loss, run in rows.groupby("loss", sort=False):
        ax.plot(x[run.index], run["change"], ".", color=loss_style(str(loss)).color, markersize=3, alpha=0.3)
    edges = [0.5 * NEAREST, 1.1 * NEAREST, 0.06, 0.15, 0.4, 0.7, 0.95, 1.05, 1.5, 3.0, 30.0]
    middle, values, low, high = binned(x, rows["change"], edges, least=5)
    ax.errorbar(middle, values, [values - low, high - values], fmt="ko-", markersize=3.5, linewidth=0.9, capsize=2)
    ax.axhline(0.0, color=COLORS["grey"], linewidth=0.9, zorder=0)
    ax.axvline(1.0, color=COLORS["grey"], linewidth=0.9, zorder=0)
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=0.1)
    plain_ticks(ax.xaxis, [0.1, 1.0, 10.0])
    ax.set_xticks([NEAREST, 0.1, 1.0, 10.0], ["A ≤ 0", "0.1", "1", "10"])
    for at, words in ((0.03, "to fall"), (0.97, "to rise")):
        ax.text(at, 0.97, f"predicted {words}", transform=ax.transAxes, fontsize=7, va="top",
                ha="left" if at < 0.5 else "right")  # fmt: skip
    ax.set_ylim(top=20.0)
    ax.set(xlabel="β / $β_c$", ylabel="change in training  [nats]")
