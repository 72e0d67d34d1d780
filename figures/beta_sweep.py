"""DPO over β: KL, what is gained, and the price of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.plotting import COLORS, cycle_style, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("beta-sweep",)


def caption(records: Mapping[str, Record]) -> str:
    """Say what is drawn, with the sample's numbers."""
    table = _of(records, "sample")
    sizes = sorted(int(size) for size in table["comparisons"].unique())
    shares = []
    for size in sizes:
        rows = find(table, comparisons=size)
        lost = int(rows.groupby("seed")["kl"].apply(lambda kl: kl.isna().all()).sum())
        shares.append(f"{lost} of {rows['seed'].nunique()} samples of {size:,} comparisons")
    return f"""DPO on eight responses with Bradley-Terry preferences, settings ours. (a) KL(π‖πref) of the population
    optimum falls from −log πref(best) to ½ Var(r)/β² (dotted); thin lines are samples of labelled comparisons. (b)
    Share of the attainable win rate against πref that is gained. Grey at the left: collapsed, one response holds 95 %
    or more; hatched at the right: underfit, less than 10 % is gained. (c) The same policies as win rate against KL,
    with best-of-n sampling from πref. {" and ".join(shares)} have no finite optimum at any β (some response won or
    lost all its comparisons) and are not drawn."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Draw KL, gain and frontier."""
    population = _of(records, "population").sort_values("beta")
    figure, axes = new_figure(1, 3, height=2.9)
    left, middle, right = axes
    for ax in (left, middle):
        _regions(ax, population)
    for index, (size, rows) in enumerate(_of(records, "sample").groupby("comparisons"), start=1):
        label: str | None = f"{int(size):,} comparisons"  # one entry in the legend for all samples of a size
        for _, sample in rows[rows["kl"].notna()].groupby("seed"):
            _three(axes, sample, cycle_style(index).line(linewidth=0.8, alpha=0.8), label)
            label = None
    _three(axes, population, cycle_style(0).line(linewidth=2.2), "population")
    others = _of(records, "population, another loss")
    for name, rows in others.groupby("loss", sort=False) if len(others) else ():
        _three(axes, rows, loss_style(str(name)).line(linewidth=1.6), loss_label(str(name)))
    best = _of(records, "best of n")
    right.plot(
        best["kl"], best["win_rate"], linestyle="none", marker="o", color=COLORS["black"], label="best of n draws"
    )
    _ends(left, population)
    left.set(xscale="log", yscale="log", xlabel="β", ylabel="KL(π‖πref)  [nats]")
    left.set_ylim(float(population["kl"].min()) / 2.0, 25.0)
    middle.set(xscale="log", xlabel="β", ylabel="share of attainable win rate", ylim=(-0.03, 1.1))
    right.set(xlabel="KL(π‖πref)  [nats]", ylabel="win rate against πref")
    handles = [*left.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0][-1:]]
    columns = len(handles) if len(handles) <= 5 else 4
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.0, columnspacing=1.4)
    panel_label(left, "a", "distance")
    panel_label(middle, "b", "gain")
    panel_label(right, "c", "gain for distance")
    return figure


def _of(records: Mapping[str, Record], source: str) -> pd.DataFrame:
    table = records["beta-sweep"].table
    return find(table, source=source)


def _three(axes: Any, rows: pd.DataFrame, line: dict[str, Any], label: str | None) -> None:
    """Draw one sweep into the three panels."""
    left, middle, right = axes
    left.plot(rows["beta"], rows["kl"], label=label, **line)
    middle.plot(rows["beta"], rows["gain"], **line)
    right.plot(rows["kl"], rows["win_rate"], **line)


def _regions(ax: Axes, population: pd.DataFrame) -> None:
    """Shade the β at which the population's policy is collapsed or underfit."""
    betas = {word: rows["beta"] for word, rows in population.groupby("verdict")}
    low, high = float(population["beta"].min()), float(population["beta"].max())
    ax.axvspan(low, float(betas["collapsed"].max()), color="#D9D9D9", linewidth=0, zorder=0)
    ax.axvspan(
        float(betas["underfit"].min()),
        high,
        facecolor="white",
        edgecolor="#C4C4C4",
        hatch="////",
        linewidth=0,
        zorder=0,
    )
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
    for word, edge, height, along in (
        ("collapsed", low * betas["collapsed"].max(), 0.04, {"rotation": 90, "va": "bottom"}),
        ("underfit", high * betas["underfit"].min(), 0.985, {"rotation": 0, "va": "top"}),
    ):
        at = float(np.sqrt(edge))
        ax.text(at, height, word, transform=ax.get_xaxis_transform(), ha="center", fontsize=7.5, bbox=box, **along)


def _ends(ax: Axes, population: pd.DataFrame) -> None:
    """Draw what KL tends to at both ends, as dotted lines."""
    style = {"color": COLORS["black"], "linestyle": (0, (1.0, 1.5)), "linewidth": 1.2, "zorder": 5}
    last = population.iloc[-1]
    beta = population["beta"].to_numpy()
    ax.plot(beta, last["kl_large_beta"] * (last["beta"] / beta) ** 2, label="its two limits", **style)
    ax.axhline(float(population["kl_small_beta"].iloc[0]), **style)
