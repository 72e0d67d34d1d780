"""Where f changes the winner, how far each is from the Nash policy, and held-out votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from gpo_analysis.plotting import cycle_style, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("not-bradley-terry",)
NAME = "not-bradley-terry"
LABELS = {"cycle": "cycle", "annotators": "annotators", "noise": "label noise"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config, table = records[NAME].config, records[NAME].table
    votes = "votes" in set(table["part"])
    last = (
        "(d) Real votes on arguments: held-out log-likelihood a vote over that of a coin, mean over sides of debates "
        "with its standard error; scores scaled by one number fitted on the training votes (filled) or read by the "
        "loss's own link (open; hinge has none)."
        if votes
        else "(d) Real votes were not run: no data."
    )
    return f"""Preferences that are not Bradley–Terry; {config["responses"]} responses, {config["problems"]} random
    problems a level, βκ = {config["strength"]:g}; settings ours. (a) Cyclic share of the preference flow (Hodge), which
    no policy can represent, over the level of each structure as a share of its highest. (b) Share of problems on which
    some f with κ > 0 has another winner than logistic, with 95 % intervals. (c) Total variation between each f's
    offline optimum and the regularized Nash policy, over the strength of the cycle. {last}"""


def draw(records: Mapping[str, Record]) -> Figure:
    """Four panels."""
    table = records[NAME].table
    rows = find(table, part="structures")
    figure, ((first, second), (third, fourth)) = new_figure(2, 2, height=2.9)
    for k, structure in enumerate(LABELS):
        own = find(rows, structure=structure, loss="logistic")
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
    third.set_xlabel("strength of the cycle")
    third.set_ylabel("distance to the Nash policy")
    _votes(fourth, find(table, part="votes"))
    titles = ("what none can represent", "f changes the winner", "offline against Nash", "real votes")
    for letter, ax, title in zip("abcd", (first, second, third, fourth), titles, strict=True):
        panel_label(ax, letter, title)
    handles, labels = third.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _changed(ax: Axes, rows: pd.DataFrame, k: int) -> None:
    wide = rows[rows["loss"] != "hinge"].pivot(index=["level", "number"], columns="loss", values="winner")
    apart = wide.ne(wide["logistic"], axis=0).any(axis=1)
    levels = apart.index.get_level_values("level").unique()
    ends = []
    for level in levels:
        hits = apart.xs(level, level="level")
        ends.append(binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson"))
    share = apart.groupby("level").mean().to_numpy()
    errors = np.clip([share - [e.low for e in ends], [e.high for e in ends] - share], 0.0, None)
    style = cycle_style(k)
    x = np.asarray(levels) / max(levels) + 0.008 * (k - 1)
    ax.errorbar(x, share, yerr=errors, elinewidth=0.8, **style.points())


def _votes(ax: Axes, rows: pd.DataFrame) -> None:
    ax.set_ylabel("log-likelihood over log ½  [nats/vote]")
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
