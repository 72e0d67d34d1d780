"""KL against the μ-weighted square loss along the training of language models, a panel a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures._panels import binned, count, key, label_axes, loss_panels, plain_ticks
from gpo_analysis.plotting import COLORS, loss_style
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-kl-and-mu-square",)
SPAN = (0.5, 8.0)
KINDS = {"offline": "offline", "on-policy": "mu_squared_loss_on_policy"}
FAR, LEAST = 5.0, 5


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    measured = find(records["llm-kl-and-mu-square"].table, kind="measured")
    return f"""½E_μ[ρ²] over 2KL(πθ‖πref) at {len(measured)} checkpoints of all policies, against KL, a panel a loss: 1
    to leading order (grey line), for pairs of πref (offline, filled) as for pairs of πθ (on-policy, hollow). Faint
    dots: a checkpoint; markers: medians in bins of KL that have {LEAST} checkpoints or more, bars the quartiles; grey
    lines: the offline medians of the other losses; dotted: the offline ratio of the exact population optimum. Ratios
    outside {SPAN[0]:g} to {SPAN[1]:g} and KL beyond {FAR:g} nats are clipped to the edge and counted. Seeds share πref
    and pairs and redraw their order alone. Study
    {records["llm-kl-and-mu-square"].config["study"]}; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """A panel a loss."""
    table = records["llm-kl-and-mu-square"].table
    measured, predicted = (find(table, kind=kind) for kind in ("measured", "predicted"))
    own = {str(loss): rows for loss, rows in measured.groupby("loss", sort=False)}
    low = 0.8 * float(measured["kl"].min())
    edges = np.geomspace(low, FAR, 7)
    offline = {loss: binned(rows["kl"], _ratio(rows, "offline"), edges, LEAST)[:2] for loss, rows in own.items()}
    figure, axes = loss_panels(own)
    for loss, ax in axes.items():
        ax.axhline(1.0, color=COLORS["grey"], linewidth=1.0, zorder=0)
        for other, (x, y) in offline.items():
            if other != loss:
                ax.plot(x, y, color=COLORS["grey"], linewidth=0.8, alpha=0.6, zorder=1)
        part = find(predicted, loss=loss)
        part = part[(part["kl"] > low) & (part["kl"] < FAR)].sort_values("kl")
        ax.plot(part["kl"], _ratio(part, "offline"), ":", color=loss_style(loss).color, linewidth=1.4)
        _panel(ax, loss, own[loss], edges)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(low, 1.1 * FAR)
        ax.set_ylim(0.95 * SPAN[0], 1.05 * SPAN[1])
        plain_ticks(ax.xaxis, [t for t in (0.001, 0.01, 0.1, 1.0) if t > low])
        plain_ticks(ax.yaxis, (0.5, 1.0, 2.0, 4.0, 8.0))
    label_axes(axes, "KL(πθ‖πref)  [nats]", "½E[ρ²] over 2 KL")
    key(figure, {"filled": "offline, μ = πref (filled)", "marker": "on-policy, μ = πθ (hollow)", "seeds": "checkpoint",
                 "others": "the other losses, offline", "theory": "exact optimum, offline",
                 "clipped": "beyond the edge"})  # fmt: skip
    return figure


def _ratio(rows: pd.DataFrame, column: str) -> pd.Series[float]:
    return rows[column] / (2 * rows["kl"])


def _panel(ax: Axes, loss: str, rows: pd.DataFrame, edges: np.ndarray) -> None:
    style, outside = loss_style(loss), 0
    for face, (_, column) in zip((style.color, "white"), KINDS.items(), strict=True):
        ratio = _ratio(rows, column)
        beyond = (rows["kl"] > FAR) | ~ratio.between(*SPAN)
        outside += int(beyond.sum())
        ax.plot(rows["kl"][~beyond], ratio[~beyond], ".", color=style.color, markersize=2.5, alpha=0.2, zorder=2)
        ax.plot(rows["kl"][beyond].clip(upper=FAR), ratio[beyond].clip(*SPAN), ">", color=style.color, markersize=3.5,
                markerfacecolor=face, markeredgewidth=0.8)  # fmt: skip
        x, y, low, high = binned(rows["kl"], ratio, edges, LEAST)
        ax.errorbar(x, y, yerr=[y - low, high - y], color=style.color, marker=style.marker, markerfacecolor=face,
                    markersize=4.5, linewidth=1.1 if face != "white" else 0.0, elinewidth=0.8, zorder=3)  # fmt: skip
    if outside:
        count(ax, f"{outside} beyond the edge")
