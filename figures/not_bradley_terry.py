"""Preferences that are not Bradley–Terry: winners, exploitability, self-play, real votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpo_analysis.plotting import cycle_style, loss_label, loss_style, new_figure, panel_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("not-bradley-terry",)
STRUCTURES = {"cycle": "cycle (logits)", "second group": "second group (share)", "noise": "label noise (share)"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    record = records["not-bradley-terry"]
    config = record.config
    votes = record.table[record.table["part"] == "votes"]
    real = (
        f"""Mean log-likelihood of a held-out vote over {votes["prompt"].nunique()} sides of debates (UKPConvArg1), each
    f by the probabilities of its own link, with 95 % intervals over sides."""
        if len(votes)
        else "Real votes were not at hand when this record was made."
    )
    return f"""Exact optima for {config["responses"]} responses, uniform μ and πref, {config["seeds"]} random problems a
    strength; settings ours. (a) Share of problems in which two of the six losses have different winners, against the
    strength of what is not Bradley–Terry, each scaled to its largest; bars: standard errors. (b) Cycle: what the best
    single response wins against each policy beyond one half, at a KL of {config["kl"]:g} nats from πref, and against
    the regularized Nash policy of the same KL (black). (c) Cycle: distance of self-play's last iterate from the
    regularized Nash policy, by step: online IPO is at rounding, Nash-MD off by a multiple of the step. (d) {real}"""


def draw(records: Mapping[str, Record]) -> Figure:
    """Winners, exploitability, self-play, votes."""
    table = records["not-bradley-terry"].table
    parts = {name: table[table["part"] == name] for name in ("optima", "self-play", "votes")}
    figure, axes = new_figure(2, 2, height=2.7)
    _winners(axes[0, 0], parts["optima"])
    panel_label(axes[0, 0], "a", "losses disagree")
    _exploitability(axes[0, 1], parts["optima"])
    panel_label(axes[0, 1], "b", "exploitability")
    _self_play(axes[1, 0], parts["self-play"])
    panel_label(axes[1, 0], "c", "self-play")
    _votes(axes[1, 1], parts["votes"])
    panel_label(axes[1, 1], "d", "real votes")
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _winners(ax: Axes, rows: pd.DataFrame) -> None:
    for k, (structure, label) in enumerate(STRUCTURES.items()):
        part = rows[rows["structure"] == structure]
        grouped = part.astype({"first": np.int64}).groupby(["level", "seed"])["first"]
        apart = grouped.agg(lambda masks: int(np.bitwise_and.reduce(masks.to_numpy()))) == 0
        share, count = apart.groupby("level").mean(), apart.groupby("level").size()
        error = np.sqrt(share * (1 - share) / count)
        place = share.index.to_numpy() / max(share.index.max(), 1e-12)
        ax.errorbar(place, share, yerr=error, label=label, capsize=2, **cycle_style(k).points())
    ax.set_ylim(-0.03, 1)
    ax.set_xlabel("strength / largest strength")
    ax.set_ylabel("share of problems")
    ax.legend()


def _exploitability(ax: Axes, rows: pd.DataFrame) -> None:
    cycle = rows[rows["structure"] == "cycle"]
    for loss, part in cycle.groupby("loss", sort=False):
        mean = part.groupby("level")["exploitability"].mean()
        ax.plot(mean.index, mean, **loss_style(str(loss)).points(label=loss_label(str(loss))))
    nash = cycle.groupby("level")["nash_exploitability"].mean()
    ax.plot(nash.index, nash, color="black", linewidth=2.2, label="regularized Nash")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("strength of the cycle  [logits]")
    ax.set_ylabel("win rate of the best\nresponse − ½")


def _self_play(ax: Axes, rows: pd.DataFrame) -> None:
    rows = rows[rows["level"] > 0]
    for k, (opponent, label) in enumerate({"mixture": "Nash-MD", "policy": "online IPO"}.items()):
        part = rows[rows["opponent"] == opponent].groupby("step")["distance"].mean()
        ax.plot(part.index, np.maximum(part, 1e-16), **cycle_style(k).points(label=label))
    offline = rows["offline_distance"].mean()
    ax.axhline(offline, color="#6E6E6E", linewidth=1.0, label="offline IPO")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("step ητ")
    ax.set_ylabel("total variation\nfrom Nash")
    ax.legend()


def _votes(ax: Axes, rows: pd.DataFrame) -> None:
    if rows.empty:
        ax.text(0.5, 0.5, "no real votes at hand", ha="center", va="center", transform=ax.transAxes)
        ax.set_xticks([])
        ax.set_yticks([])
        return
    wide = rows.pivot_table(index="prompt", columns="loss", values="log_likelihood", sort=False).dropna()
    for place, loss in enumerate(wide.columns):
        style, values = loss_style(str(loss)), wide[loss]
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
        ax.errorbar(values.mean(), place, xerr=half, marker=style.marker, color=style.color, capsize=3)
    ax.set_yticks(range(len(wide.columns)), [loss_label(str(loss)) for loss in wide.columns])
    ax.set_ylim(len(wide.columns) - 0.5, -0.5)
    ax.set_xlabel("log-likelihood a held-out vote  [nats]")
