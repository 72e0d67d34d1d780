"""Advice on one's own data against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from gpo_analysis.plotting import loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("own-data",)
GREY = "#6E6E6E"
TRUTHS = {"bradley-terry": "Bradley–Terry truth", "linear": "linear truth"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config = records["own-data"].config
    size, shown = config["sizes"][0], _shown(records["own-data"])
    who = shown if shown == "logistic" else loss_label(shown)
    return f"""Advice from generated labels of {config["responses"]} responses, {config["repetitions"]} data sets of
    each kind; settings ours. (a) β that {who} is recommended for a KL budget of {config["budget"]:g} nats from
    {size:,} labels, with 95 % intervals, data sets in order of β; line: the population's; open: intervals that miss it.
    (b) KL that a fit to as many fresh labels spends at the recommended β, over the budget; bars: geometric mean with
    its 95 % interval. (c), (d) Held-out choice: share of data sets in which a loss is the best or cannot be told from
    it, where preferences are Bradley–Terry (logit link) and where p = ½ + half the difference of
    scores; bars: Wilson 95 % intervals over data sets, points of the losses side by side."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Intervals of β, fresh KL, and the choice under two truths."""
    record = records["own-data"]
    table, size = record.table, record.config["sizes"][0]
    figure, axes = new_figure(2, 2, height=2.6)
    beta = find(table, part="beta", size=size)
    shown = _shown(record)
    _intervals(axes[0, 0], find(beta, what=shown), shown)
    panel_label(axes[0, 0], "a", "recommended β")
    _fresh(axes[0, 1], beta, record.config["budget"])
    panel_label(axes[0, 1], "b", "spent on fresh labels")
    for letter, ax, (truth, words) in zip("cd", axes[1], TRUTHS.items(), strict=True):
        _choice(ax, find(table, part="choice", what=truth))
        panel_label(ax, letter, words)
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _shown(record: Record) -> str:
    """The loss whose intervals are drawn: logistic, or the first where that is not there."""
    losses = [str(name) for name in record.config["losses"]]
    return "logistic" if "logistic" in losses else losses[0]


def _intervals(ax: Axes, rows: pd.DataFrame, loss: str) -> None:
    rows = rows.sort_values("beta")
    true, style = float(rows["true"].iloc[0]), loss_style(loss)
    ax.axhline(true, color=GREY, linewidth=0.9, zorder=0)
    for k, row in enumerate(rows.to_dict("records")):
        held = row["low"] <= true <= row["high"]
        ax.plot([k, k], [row["low"], row["high"]], color=style.color, linewidth=1.0, alpha=0.6)
        face = style.color if held else "white"
        ax.plot(k, row["beta"], style.marker, markersize=3.5, color=style.color, markerfacecolor=face)
    for face, label in ((style.color, "holds the population's β (line)"), ("white", "misses it")):
        ax.plot([], [], style.marker, markersize=3.5, color=style.color, markerfacecolor=face, label=label)
    ax.legend(loc="upper left", fontsize=7)
    ax.set_xlabel("data set, by its β")
    ax.set_ylabel("recommended β, 95 %")


def _fresh(ax: Axes, rows: pd.DataFrame, budget: float) -> None:
    losses = list(dict.fromkeys(rows["what"]))
    ax.axhline(1.0, color=GREY, linewidth=0.9, zorder=0)
    rng = np.random.default_rng(0)  # places points side by side
    for k, loss in enumerate(losses):
        style = loss_style(loss)
        logs = np.log(rows.loc[rows["what"] == loss, "fresh_kl"].dropna().to_numpy() / budget)
        if not len(logs):
            continue
        ax.plot(k + rng.uniform(-0.25, 0.25, len(logs)), np.exp(logs), ".", markersize=3, color=style.color, alpha=0.5)
        mean, half = logs.mean(), 1.96 * logs.std(ddof=1) / np.sqrt(len(logs)) if len(logs) > 1 else 0.0
        ends = np.exp([[mean - half], [mean + half]])
        ax.errorbar(
            [k], [np.exp(mean)], yerr=np.abs(ends - np.exp(mean)), color="black", capsize=4, marker=style.marker,
            markersize=5, markerfacecolor=style.color,
        )  # fmt: skip
    ax.set_yscale("log")
    ax.set_yticks([0.5, 1.0, 2.0], ["0.5", "1", "2"])
    ax.minorticks_off()
    ax.set_xticks(range(len(losses)), [loss_label(loss).replace(" ", "\n") for loss in losses])
    ax.set_ylabel("KL on fresh labels / budget")


def _choice(ax: Axes, rows: pd.DataFrame) -> None:
    for k, (loss, part) in enumerate(rows.groupby("loss", sort=False)):
        hits = part.groupby("size")["as_good"].agg(["sum", "count"])
        share = (hits["sum"] / hits["count"]).to_numpy(float)
        ends = [binomtest(int(h), int(n)).proportion_ci(method="wilson") for h, n in hits.itertuples(index=False)]
        errors = np.clip([share - [e.low for e in ends], [e.high for e in ends] - share], 0.0, None)
        style, x = loss_style(str(loss)), hits.index * 1.06 ** (k - 2)
        ax.errorbar(x, share, errors, elinewidth=0.9, **style.points(label=loss_label(str(loss)), markersize=4))
    ax.set_xscale("log")
    sizes = sorted(set(rows["size"].astype(int)))
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.set_ylim(-0.05, 1.05)
    ax.set_xlabel("labels")
    ax.set_ylabel("share best or as good")
