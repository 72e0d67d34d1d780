"""Gold reward and win rate against KL, with their frontiers; the best β over n."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import t

from gpo_analysis.plotting import cycle_style, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("over-optimisation",)
NAME = "over-optimisation"
WORLD = 0
LARGEST = 200.0
"""|c| of the worlds left out, as in the experiment."""


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config = records[NAME].config
    return f"""Over-optimisation of a gold reward known exactly; settings ours: {config["responses"]} responses, a
    policy πref exp(φ·w) of {config["features"]} features, gold reward a·φ − ½b‖φ‖², labels Bradley–Terry in it.
    (a), (b) One world of {config["seeds"]}: mean gold reward and win rate against πref over √KL(πθ‖πref), at the end of
    training, each curve one f over β from large (left) to small, for the fewest and (faint) the most pairs. Black line:
    the most any policy has at that KL, a frontier of its own in each panel. Grey dots: best-of-n by the gold reward.
    {_again(records[NAME].table)}(c) The same along training from πref (left) at βκ nearest {config["shown"]:g},
    {min(config["pairs"]):,} pairs, mean over worlds, a mark a checkpoint. (d) n × log of the best β from n labels over
    that of the projected gold reward, less its first-order score, in {config["wide_worlds"]} worlds of {config["wide"]}
    responses: means with 95 % intervals over worlds. Full lines: c = ∇B·bias + ½ tr(∇²B Σ), predicted; dotted:
    tr Σ/‖v‖² alone. A fall of the best β as 1/n is level here."""


def _again(table: pd.DataFrame) -> str:
    """A sentence where the world shown is one whose reward rises again at last; else nothing."""
    rows = find(table, kind="policy", world=WORLD)
    names = list(rows["loss"].drop_duplicates())
    rows = find(rows, loss="logistic" if "logistic" in names else names[0])
    rows = find(rows, pairs=rows["pairs"].min(), step=rows["step"].max()).sort_values("kl")
    gold = rows["gold"].to_numpy()
    peak = int(np.flatnonzero(np.diff(gold) < 0)[0]) if (np.diff(gold) < 0).any() else len(gold) - 1
    if gold[-1] <= gold[peak:].min() + 0.05 * np.ptp(gold):
        return ""
    return (
        "The farthest responses of this world happen to be good, so that the reward rises again at last; the peak "
        "that is meant is the first. "
    )


def draw(records: Mapping[str, Record]) -> Figure:
    """Four panels."""
    from matplotlib.lines import Line2D

    whole = records[NAME].table
    table = find(whole, part="curves")
    figure, axes = new_figure(2, 2, height=2.9)
    (first, second), (third, fourth) = axes
    _against_kl(first, table, "gold", "frontier of reward", "mean gold reward  (0 at πref)")
    panel_label(first, "a", "gold reward")
    _against_kl(second, table, "win_rate", "frontier of win rate", "win rate against πref")
    panel_label(second, "b", "gold win rate")
    _training(third, table, records[NAME].config["shown"])
    panel_label(third, "c", "along training")
    _best(fourth, find(whole, part="best"))
    panel_label(fourth, "d", "the best β falls as 1/n")
    handles, labels = first.get_legend_handles_labels()
    few, many = table["pairs"].min(), table["pairs"].max()
    handles += [Line2D([], [], color="0.3", alpha=alpha) for alpha in (1.0, 0.35)]
    labels += [f"{few:,.0f} pairs (a–c)", f"{many:,.0f} pairs (a, b)"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, columnspacing=1.2)
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
    rows = find(table, kind="fitted") if "fitted" in set(table["kind"]) else table.iloc[:0]
    if rows.empty:
        ax.text(0.5, 0.5, "neither logistic nor squared", transform=ax.transAxes, ha="center")
        return
    colors = "; ".join(
        {"logistic": "blue: logistic", "squared": "orange: squared"}[name] for name in rows["loss"].unique()
    )
    for k, name in enumerate(rows["loss"].unique()):
        own, style = find(rows, loss=name), loss_style(name)
        sound = np.isfinite(own["beyond_score"]) & (own["shift"].abs() < LARGEST)
        own = own[sound.groupby(own["world"]).transform("all")]
        theory = own.groupby("world")[["shift", "trace"]].first().mean()
        ax.axhline(theory["shift"], color=style.color, linewidth=1.2)
        ax.axhline(theory["trace"], color=style.color, linestyle=":", linewidth=1.2)
        for size, group in own.groupby("size"):
            value, half = _mean(size * group.groupby("world")["beyond_score"].mean())
            ax.errorbar(size * (1 + 0.08 * k), value, half, fmt=style.marker, color=style.color, elinewidth=1.0)
    ax.set_xscale("log")
    sizes = sorted(rows["size"].unique())
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlim(sizes[0] / 2, sizes[-1] * 2)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("labelled pairs n")
    ax.set_ylabel("n log β*(n)/β*(∞)")
    for mark, label in (("k-", "predicted"), ("k:", "variance alone"), ("ko", "measured")):
        ax.plot([], [], mark, label=label)
    ax.legend(loc="lower center", title=colors, title_fontsize=7.5)


def _mean(values: pd.Series) -> tuple[float, float]:
    """Mean over what was drawn, with the half width of Student's 95 % interval."""
    return float(values.mean()), float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
