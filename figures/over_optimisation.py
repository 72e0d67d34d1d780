"""Gold reward and win rate against KL, with their frontiers; the best β over n."""

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

EXPERIMENTS = ("over-optimisation",)
NAME = "over-optimisation"
WORLD = 0


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config = records[NAME].config
    return f"""Over-optimisation of a gold reward known exactly; settings ours: {config["responses"]} responses, a
    policy πref exp(φ·w) of {config["features"]} features, gold reward a·φ − ½b‖φ‖², labels Bradley–Terry in it.
    (a), (b) One world of {config["seeds"]}: mean gold reward and win rate against πref over √KL(πθ‖πref), at the end of
    training, each curve one f over β from large (left) to small, for the fewest and (faint) the most pairs. Black line:
    the most any policy has at that KL, a frontier of its own in each panel. Grey dots: best-of-n by the gold reward.
    (c) The same along training from πref (left) at βκ nearest {config["shown"]:g}, {min(config["pairs"]):,} pairs, mean
    over worlds, a mark a checkpoint. (d) The best value of βκ (of β for hinge) against the number of pairs, geometric
    mean over worlds."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Four panels."""
    table = records[NAME].table
    figure, axes = new_figure(2, 2, height=2.9)
    (first, second), (third, fourth) = axes
    _against_kl(first, table, "gold", "frontier of reward", "mean gold reward  (0 at πref)")
    panel_label(first, "a", "gold reward")
    _against_kl(second, table, "win_rate", "frontier of win rate", "win rate against πref")
    panel_label(second, "b", "gold win rate")
    _training(third, table, records[NAME].config["shown"])
    panel_label(third, "c", "along training")
    _best(fourth, table)
    panel_label(fourth, "d", "best strength")
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _against_kl(ax: Axes, table: pd.DataFrame, value: str, frontier: str, label: str) -> None:
    world = find(table, world=WORLD)
    few, many = world["pairs"].min(), world["pairs"].max()
    curve = find(world, kind=frontier, pairs=few).sort_values("kl")
    ax.plot(np.sqrt(curve["kl"]), curve[value], color="black", linewidth=1.0, label="frontier")
    best = find(world, kind="best of n by gold", pairs=few)
    ax.plot(np.sqrt(best["kl"]), best[value], "o", markersize=4, color=cycle_style(7).color, label="best of n")
    policies = find(world, kind="policy", step=world["step"].max())
    for name in policies["loss"].unique():
        style = loss_style(name)
        for pairs, alpha in ((few, 1.0), (many, 0.35)):
            rows = find(policies, loss=name, pairs=pairs).sort_values("kl")
            named = {"label": loss_label(name)} if pairs == few else {}
            ax.plot(np.sqrt(rows["kl"]), rows[value], **style.line(alpha=alpha, linewidth=1.2, **named))
    ax.set_xlabel("√KL(πθ‖πref)  [√nats]")
    ax.set_ylabel(label)


def _training(ax: Axes, table: pd.DataFrame, shown: float) -> None:
    policies = find(table, kind="policy", pairs=table["pairs"].min())
    strengths = policies["strength"].unique()
    rows = find(policies, strength=strengths[np.abs(np.log(strengths / shown)).argmin()])
    for name in rows["loss"].unique():
        mean = find(rows, loss=name).groupby("step")[["kl", "gold"]].mean()
        start = np.zeros(1)
        x, y = np.append(start, np.sqrt(mean["kl"])), np.append(start, mean["gold"])
        ax.plot(x, y, **loss_style(name).points(linewidth=1.2, markersize=3))
    ax.set_xlabel("√KL(πθ‖πref)  [√nats]")
    ax.set_ylabel("mean gold reward")


def _best(ax: Axes, table: pd.DataFrame) -> None:
    policies = find(table, kind="policy", step=table["step"].max())
    top = policies.loc[policies.groupby(["loss", "pairs", "world"], sort=False)["gold"].idxmax()]
    for name in policies["loss"].unique():
        mean = np.exp(np.log(find(top, loss=name).set_index("pairs")["strength"]).groupby("pairs").mean())
        ax.plot(mean.index, mean, **loss_style(name).points())
    ax.set_xscale("log")
    ax.set_xlabel("labelled pairs")
    ax.set_ylabel("best βκ  (hinge: best β)")
