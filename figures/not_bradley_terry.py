"""Where f changes the winner, how far each is from the Nash policy, and held-out votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import binomtest, t

from gpo_analysis.plotting import cycle_style, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("not-bradley-terry",)
NAME = "not-bradley-terry"
FAR = 0.4
"""Distance beyond which Savage has given up a pair: without that its largest is 0.27."""
LABELS = {"cycle": "cycle", "annotators": "annotators", "noise": "label noise"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config, table = records[NAME].config, records[NAME].table
    votes = "votes" in set(table["part"])
    spike = _given_up(table)
    last = (
        "(e) Real votes on arguments: held-out log-likelihood a vote over that of a coin, mean over sides of debates "
        "with its standard error; scores scaled by one number fitted on the training votes (filled) or read by the "
        "loss's own link (open[[hinge|; hinge has none]])."
        if votes
        else "(e) Real votes were not run: no data."
    )
    return f"""Preferences that are not Bradley–Terry; {config["responses"]} responses, {config["problems"]} random
    problems a level, βκ = {config["strength"]:g}; settings ours. (a) Cyclic share of the preference flow (Hodge), which
    no policy can represent, over the level of each structure as a share of its highest. (b) Share of problems on which
    some f with κ > 0 has another winner than logistic, with 95 % intervals; a loss without a fit has no winner and
    counts as unchanged. (c) Total variation between each f's offline optimum and the regularized Nash policy, over the
    strength of the cycle, means over the problems that have an optimum. {spike} (d) Squared's distance to the Nash
    policy over the number m of annotators (points: means with 95 % intervals over problems); line: the second order in
    P − ½, which falls as 1/m. {last}"""


def _given_up(table: pd.DataFrame) -> str:
    """What Savage's curve is made of at strong cycles, in a sentence."""
    rows = find(table, part="structures", structure="cycle", loss="savage")
    if rows.empty:
        return ""
    means = rows.groupby("level")["distance"].mean()
    level, last = means.idxmax(), rows["level"].max()
    top, known = find(rows, level=level), find(rows, level=last)["known"].astype(bool).mean()
    return (
        f"Savage is not convex: near sure cycles it gives up a pair. At strength {level:g} its margins have run to a "
        f"distance above 0.4 in {(top['distance'] > FAR).mean():.0%} of the problems, while the median is "
        f"{top['distance'].median():.2g}; at {last:g} only {known:.0%} have a finite optimum, and the mean is theirs."
    )


def draw(records: Mapping[str, Record]) -> Figure:
    """Four panels."""
    table = records[NAME].table
    rows = find(table, part="structures")
    figure, axes = new_figure(3, 2, height=2.7)
    first, second, third, fourth, fifth, empty = axes.flat
    empty.set_axis_off()
    for k, structure in enumerate(LABELS):
        own = find(rows, structure=structure, loss=rows["loss"].iloc[0])
        mean = own.groupby("level")["cyclic_share"].mean()
        first.plot(mean.index / mean.index.max(), mean, **cycle_style(k).points(label=LABELS[structure]))
        _changed(second, find(rows, structure=structure), k)
    first.set_xlabel("level / highest level")
    first.set_ylabel("cyclic share of the flow")
    first.legend()
    second.set_xlabel("level / highest level")
    second.set_ylabel("share with another winner")
    cycle = find(rows, structure="cycle")
    for name in cycle["loss"].unique():
        mean = find(cycle, loss=name).groupby("level")["distance"].mean()
        third.plot(mean.index, mean, **loss_style(name).points(label=loss_label(name)))
    _mark_savage(third, find(cycle, loss="savage"))
    third.set_xlabel("strength of the cycle")
    third.set_ylabel("distance to the Nash policy")
    _annotators(fourth, find(rows, structure="annotators", loss="squared"))
    _votes(fifth, find(table, part="votes"))
    titles = ("what none can represent", "f changes the winner", "offline against Nash", "more annotators, squared",
              "real votes")  # fmt: skip
    for letter, ax, title in zip("abcde", (first, second, third, fourth, fifth), titles, strict=True):
        panel_label(ax, letter, title)
    handles, labels = third.get_legend_handles_labels()
    empty.legend(handles, labels, loc="center", title="f in c and e")
    return figure


def _mark_savage(ax: Axes, rows: pd.DataFrame) -> None:
    """Say at the top of Savage's curve what share of the problems makes it."""
    if rows.empty:
        return
    means = rows.groupby("level")["distance"].mean()
    level = means.idxmax()
    far = (find(rows, level=level)["distance"] > FAR).mean()
    if far > 0:
        words = f"Savage gives up a pair\nin {far:.0%} of the problems"
        middle = (rows["level"].min() + rows["level"].max()) / 2
        ax.annotate(
            words, (level, means[level]), xytext=(middle, 0.7 * means[level]), ha="right", va="center", fontsize=7,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "black"},
        )  # fmt: skip


def _annotators(ax: Axes, rows: pd.DataFrame) -> None:
    if rows.empty:
        ax.text(0.5, 0.5, "squared is not among the losses", transform=ax.transAxes, ha="center")
        return
    style = loss_style("squared")
    for level, group in rows.groupby("level"):
        value, half = _mean(group["distance"])
        ax.errorbar(level, value, half, fmt=style.marker, color=style.color, elinewidth=1.0)
    expected = rows.groupby("level")["second_order"].mean()
    ax.plot(expected.index, expected, color="black", linewidth=1.0, label="second order in P − ½")
    ax.set(xscale="log", yscale="log", xlabel="annotators m", ylabel="distance to the Nash policy")
    ax.legend()


def _changed(ax: Axes, rows: pd.DataFrame, k: int) -> None:
    curved = rows[rows["loss"] != "hinge"].assign(winner=rows["winner"].where(rows["known"].astype(bool)).astype(float))
    wide = curved.pivot(index=["level", "number"], columns="loss", values="winner")
    if wide.empty:
        return
    base = wide["logistic" if "logistic" in wide else wide.columns[0]]
    differs = (wide.ne(base, axis=0) & wide.notna() & base.notna().to_numpy()[:, None]).any(axis=1)
    levels = differs.index.get_level_values("level").unique()
    ends = []
    for level in levels:
        hits = differs.xs(level, level="level")
        ends.append(binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson"))
    share = differs.groupby("level").mean().to_numpy()
    errors = np.clip([share - [e.low for e in ends], [e.high for e in ends] - share], 0.0, None)
    style = cycle_style(k)
    x = np.asarray(levels) / max(levels) + 0.008 * (k - 1)
    ax.errorbar(x, share, yerr=errors, elinewidth=0.8, **style.points())


def _votes(ax: Axes, rows: pd.DataFrame) -> None:
    ax.set_ylabel("log-likelihood over log ½\n[nats/vote]")
    if not len(rows):
        ax.text(0.5, 0.5, "not run: no data", ha="center", va="center", transform=ax.transAxes)
        ax.set_xticks([])
        return
    scored = rows[rows.groupby("prompt")["scaled"].transform(lambda value: value.notna().all())]
    names = list(scored["loss"].unique())
    for column, filled, shift in (("scaled", True, -0.12), ("own", False, 0.12)):
        values = scored.groupby("loss", sort=False)[column]
        mean, error = values.mean() + np.log(2.0), values.std() / np.sqrt(values.count())
        for position, name in enumerate(names):
            style = loss_style(name)
            face = style.color if filled else "white"
            ax.errorbar(
                position + shift, mean[name], yerr=error[name], fmt=style.marker, color=style.color,
                markerfacecolor=face, elinewidth=0.9,
            )  # fmt: skip
    ax.set_xticks(range(len(names)), [loss_label(n).split(" (")[0] for n in names], rotation=30, ha="right")


def _mean(values: pd.Series) -> tuple[float, float]:
    """Mean over what was drawn, with the half width of Student's 95 % interval."""
    return float(values.mean()), float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
