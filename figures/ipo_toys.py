"""Learning curves of the three-action toy."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from gpo_analysis.plotting import cycle_style, loss_label, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("ipo-toys",)
CAPTION = """Three actions, softmax policy, Adam (learning rate 0.01), mini-batches of 9 with replacement, mean over 10
seeds with its 95 % interval (shaded), uniform πref = 1/3 (grey line); after Azar et al., arXiv 2310.12036, §5.4; the
values of τ and the pairs of D3 are ours. Columns: a total order D1 = {a≻b, b≻c, a≻c}, probability of a; a cycle
D2 = {a≻b, b≻c, c≻a}, probability of a; D3 = {a≻b, b≻a, a≻c}, in which c only loses, probability of c (logarithmic).
Top, DPO at β = τ: on D1 and D3 no finite optimum exists, and the policy leaves πref without end, later for larger τ.
Bottom, IPO: it settles at the exact optimum (diamonds at the right edge), which τ sets."""

PANELS = (
    ("D1", "a", "D1, total order: $p(a)$"),
    ("D2", "a", "D2, cycle: $p(a)$"),
    ("D3", "c", "D3, $c$ only loses: $p(c)$"),
)
SMALLEST = 1e-4


def draw(records: Mapping[str, Record]) -> Figure:
    """Two rows, DPO and IPO, and a column a data set."""
    table = records["ipo-toys"].table
    methods = [str(name) for name in table["method"].drop_duplicates()]
    figure, axes = new_figure(len(methods), 3, height=2.6, sharex=True)
    for row, method in zip(axes, methods, strict=True):
        for ax, (dataset, action, title) in zip(row, PANELS, strict=True):
            part = find(table, dataset=dataset, method=method)
            _curves(ax, part, action)
            letter = ascii_lowercase[list(axes.flat).index(ax)]
            short = f"{loss_label(method)}, {dataset}: $p({action})$"
            panel_label(ax, letter, f"{method.upper()}, {title}" if method in ("dpo", "ipo") else short)
            if dataset == "D3":
                ax.set_yscale("log")
                ax.set_ylim(SMALLEST, 1.0)
            else:
                ax.set_ylim(-0.03, 1.03)
    for ax in axes[-1]:
        ax.set_xlabel("steps  [thousands]")
    for row in axes:
        row[0].set_ylabel("probability")
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _curves(ax: Axes, part: pd.DataFrame, action: str) -> None:
    ax.axhline(1 / 3, color="#6E6E6E", linewidth=0.8, zorder=0)
    for k, (tau, runs) in enumerate(part.groupby("tau")):
        style: dict[str, Any] = cycle_style(k).line(label=f"τ = {tau:g}")
        by_step = runs.groupby("step")[f"p_{action}"]
        mean, count = by_step.mean(), by_step.count()
        half = stats.t.ppf(0.975, np.maximum(count - 1, 1)) * by_step.std().fillna(0.0) / np.sqrt(count)
        steps = mean.index.to_numpy() / 1000
        ax.plot(steps, np.maximum(mean, SMALLEST / 10), **style)
        low = np.maximum(mean - half, SMALLEST / 10)
        ax.fill_between(steps, low, np.maximum(mean + half, low), color=style["color"], alpha=0.2, linewidth=0)
        optimum = float(runs[f"optimum_{action}"].iloc[0])
        if np.isfinite(optimum):
            ax.plot(steps[-1], optimum, marker="D", markersize=4, color=style["color"], clip_on=False, linestyle="")
