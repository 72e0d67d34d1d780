"""Deviation from the reference on and off the compared responses, and the chosen responses' log-probability."""

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

EXPERIMENTS = ("policy-deviation",)


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings and findings."""
    config, table = records["policy-deviation"].config, records["policy-deviation"].table
    away = table[(table["part"] == "chosen") & ~_flag(table["matched"])]
    return f"""Policies over {config["responses"]} responses of which μ reaches {config["seen"]}; Bradley–Terry
    preferences, {config["seeds"]} problems, settings ours. (a) Largest |log π/πref| on μ's support at the population
    optimum over β (markers: means over problems) and what z*(η)/β predicts (lines). (b) The same off the support:
    free logits (lines) move by the normaliser alone, policies with {config["dimension"]} linear features, trained on
    {config["labels"]} labels (markers), go much farther. (c) Change of the mass that π gives to responses nobody
    compared, with features, after a fiftieth of training, against the first-order prediction from f′(0), which f and β
    do not enter but by the clock. (d) Change of the mean log-probability of the chosen responses in training, against
    its first slope over β|f′(0)|; μ = πref (open) and μ elsewhere (filled), free logits and features, population and
    sample. With μ elsewhere it ends lower in {(away["change"] < 0).mean():.0%} of the runs."""


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
    panel_label(axes.flat[2], "c", "leak off the support, features")
    _chosen(axes.flat[3], chosen)
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
    for loss, run in rows.groupby("loss", sort=False):
        style = loss_style(str(loss))
        ax.plot(run["predicted_leak"], run["early_leak"], style.marker, color=style.color, markersize=3, alpha=0.6)
    for line in (ax.axhline, ax.axvline):
        line(0.0, color=COLORS["grey"], linewidth=0.9, zorder=0)
    ax.locator_params(axis="x", nbins=4)
    ax.set(xlabel="predicted from the slope, per unit of the clock", ylabel="change of mass")


def _chosen(ax: Axes, rows: pd.DataFrame) -> None:
    for loss, run in rows.groupby("loss", sort=False):
        style = loss_style(str(loss))
        for matched, fill in ((True, "white"), (False, style.color)):
            part = run[_flag(run["matched"]) == matched]
            ax.plot(
                part["predicted_slope"], part["change"], style.marker, color=style.color, markerfacecolor=fill,
                markersize=3, alpha=0.6,
            )  # fmt: skip
    for line in (ax.axhline, ax.axvline):
        line(0.0, color=COLORS["grey"], linewidth=0.9, zorder=0)
    ax.set_yscale("symlog", linthresh=0.1)
    ax.set(xlabel="first slope over β|f′(0)|  [nats]", ylabel="change in training  [nats]")
