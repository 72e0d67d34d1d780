"""Precision of fits: predicted by the sandwich covariance, measured over samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpo_analysis.plotting import cycle_style, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("statistical-efficiency",)
OTHER_LINKS = ("logistic", "hinge", "squared", "truncated_quadratic", "cell")
"""The baseline, and the losses of the presets that estimate something else than the logit."""
LOGIT = ("exponential", "savage")
"""Those of the presets that estimate the same as the baseline."""
GREY = "#6E6E6E"
KINDS = {"plain": "plain", "smoothed": "smoothed by ε", "robust": "robust correction"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config = records["statistical-efficiency"].config
    largest, smallest = max(config["sizes"]), min(config["sizes"])
    own = [loss_label(name) for name in config["losses"] if name not in OTHER_LINKS + LOGIT]
    signal = f"; of {', '.join(own)} the squared signal to noise over logistic's: it estimates its own" if own else ""
    return f"""Fits of each f to {config["replications"]:,} samples of labelled pairs of {len(config["rewards"])}
    responses; settings ours. (a) What is estimated under Bradley–Terry preferences: 2κ times the fitted βh, mean over
    samples of {largest:,} pairs, against the reward; on the grey line it is the reward. (b) Standard deviation of each
    response's fit over samples against the sandwich prediction; hollow: {smallest} pairs, full: {largest:,}. (c)
    Variance of logistic's fit over that of the others that estimate the same rewards: predicted (lines) and measured
    (points) on the same {config["paired"]:,} samples, with 95 % intervals of the ratio{signal}[[hinge|; hinge
    has no such variance]]. (d) {config["noise"]:.0%} of the labels flipped: mean squared
    distance of logistic's fit from the limit of clean labels; dotted: the bias alone."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Estimand, spread, efficiency, noise."""
    record = records["statistical-efficiency"]
    table, largest = record.table, max(record.config["sizes"])
    figure, axes = new_figure(2, 2, height=2.6)
    _estimand(axes[0, 0], find(table, setting="bradley-terry", size=largest))
    panel_label(axes[0, 0], "a", "what is estimated")
    _spread(axes[0, 1], find(table, setting="bradley-terry"), largest)
    panel_label(axes[0, 1], "b", "how precisely")
    _efficiency(axes[1, 0], find(table, setting="paired"))
    panel_label(axes[1, 0], "c", "against logistic")
    _noise(axes[1, 1], find(table, setting="noise", loss="logistic"))
    panel_label(axes[1, 1], "d", "noisy labels")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, columnspacing=1.4)
    return figure


def _named(loss: str) -> str:
    return "½ logistic + ½ exponential" if loss == "cell" else loss_label(loss)


def _scales(table: pd.DataFrame) -> dict[str, float]:
    """2κ of each loss, from the record: N × variance on the logit scale over the variance itself."""
    found = {}
    for loss, rows in table[table["predicted_trace"].notna()].groupby("loss", sort=False):
        one = find(rows, size=rows["size"].max())
        total = float((one["predicted_std"] ** 2).sum() * one["size"].iloc[0])
        found[str(loss)] = float(np.sqrt(one["predicted_trace"].iloc[0] / total))
    return found


def _estimand(ax: Axes, rows: pd.DataFrame) -> None:
    ends = np.array([rows["logit"].min(), rows["logit"].max()]) * 1.1
    ax.plot(ends, ends, color=GREY, linewidth=0.9, zorder=0)
    for loss, scale in _scales(rows).items():
        part = find(rows, loss=loss)
        ax.plot(part["logit"], scale * part["mean"], **loss_style(loss).points(label=_named(loss)))
    ax.set_xlabel("reward, centred")
    ax.set_ylabel("2κ × fitted βh")


def _spread(ax: Axes, rows: pd.DataFrame, largest: int) -> None:
    from matplotlib.ticker import NullFormatter

    rows = rows[rows["predicted_std"].notna()]
    ends = np.array([rows["predicted_std"].min() * 0.8, rows["predicted_std"].max() * 1.3])
    ax.plot(ends, ends, color=GREY, linewidth=0.9, zorder=0)
    for (loss, size), part in rows[rows["size"].isin([largest, rows["size"].min()])].groupby(["loss", "size"]):
        style = loss_style(str(loss))
        face = style.color if size == largest else "white"
        ax.plot(
            part["predicted_std"], part["std"], linestyle="none", marker=style.marker, markersize=4.5,
            color=style.color, markerfacecolor=face,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    sizes = {f"{int(rows['size'].min()):,} pairs": "white", f"{largest:,} pairs": "black"}
    for label, face in sizes.items():
        ax.plot([], [], "ko", markersize=4.5, markerfacecolor=face, label=label)
    ax.legend(loc="lower right")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("standard error predicted")
    ax.set_ylabel("standard deviation\nover samples")


def _efficiency(ax: Axes, rows: pd.DataFrame) -> None:
    rows = rows.set_index("loss")
    rows = rows[rows["ratio"].notna() & rows["predicted_ratio"].notna()]
    losses = [loss for loss in rows.index if loss not in OTHER_LINKS]
    for position, loss in enumerate(losses):
        own, style = rows.loc[loss], loss_style(loss)
        ends = [[own["ratio"] - own["ratio_low"]], [own["ratio_high"] - own["ratio"]]]
        ax.plot([own["predicted_ratio"]] * 2, [position - 0.3, position + 0.3], color=style.color, linewidth=1.6)
        ax.errorbar(own["ratio"], position, xerr=ends, marker=style.marker, color=style.color, capsize=3)
    ax.axvline(1.0, color=GREY, linewidth=0.9, zorder=0)
    ax.set_yticks(range(len(losses)), [loss_label(loss) for loss in losses])
    ax.set_ylim(len(losses) - 0.4, -0.6)
    ax.locator_params(axis="x", nbins=4)
    own = set(losses) - set(LOGIT)
    ax.set_xlabel("efficiency relative to logistic" if own else "variance of logistic's fit / of this one")
    for mark, label in (("k|", "predicted"), ("ko", "measured, 95 %")):
        ax.plot([], [], mark, label=label, markersize=9 if mark == "k|" else 4)
    ax.legend(loc="center right", fontsize=7)
    ax.text(1.0, 0.02, "logistic ", transform=ax.get_xaxis_transform(), fontsize=7, ha="right", va="bottom")


def _noise(ax: Axes, rows: pd.DataFrame) -> None:
    for k, (kind, label) in enumerate(KINDS.items()):
        part = find(rows, kind=kind)
        one = find(part, response=0).sort_values("size")
        style = cycle_style(k)
        ax.plot(one["size"], one["squared_error"], **style.points(label=label))
        bias = _bias(part, rows)
        if bias > 1e-9:
            ax.axhline(bias, color=style.color, linestyle=":", linewidth=1.0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("labelled pairs")
    ax.set_ylabel("squared error")
    ax.legend()


def _bias(part: pd.DataFrame, rows: pd.DataFrame) -> float:
    """Squared distance of a kind's limit from the robust one, which is that of clean labels."""
    own = find(part, size=part["size"].max())["limit"].to_numpy()
    clean = find(rows, kind="robust", size=rows["size"].max())["limit"].to_numpy()
    return float(np.sum((own - clean) ** 2))
