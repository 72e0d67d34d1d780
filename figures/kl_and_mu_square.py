"""KL beside the μ-weighted square loss during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpo_analysis.plotting import cycle_style, loss_label, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("kl-and-mu-square",)
LABELS = {"reference": "μ = πref", "policy": "μ = πθ (refreshed)", "elsewhere": "μ elsewhere"}
SHOWN = ("logistic", "squared")


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings and findings."""
    config = records["kl-and-mu-square"].config
    shown = shown_of(records["kl-and-mu-square"])
    last = "abcd"[len(shown)]
    left_out = len(config["losses"]) - len(shown)
    learning = ", ".join(f"({letter})" for letter, _ in zip("abc", shown, strict=False))
    if shown != SHOWN:
        learning += f" {', '.join(map(loss_label, shown))}{f' ({left_out} more in the record)' if left_out else ''}:"
    risen, starts = _risen(records["kl-and-mu-square"].table)
    return f"""KL(πθ‖πref) and the μ-weighted square loss ½E_μ[ρ²] along training of a softmax policy over
    {config["responses"]} responses with Bradley–Terry preferences; settings ours; μ elsewhere puts 90 % on the two
    responses that πref likes least. {learning} Learning from preferences by gradient flow from πref,
    β = {config["beta"]:g}: dots mark the end. While the policy is near πref, ½E_μ[ρ²] is 2KL (grey line) for μ = πref
    and μ = πθ; with μ elsewhere it starts an order of magnitude above and ends below. ({last}) Descending the loss:
    KL over its value at the start, medians over {config["starts"]} random policies; thin: with μ elsewhere, every
    start, and in black the one from which KL rises most in proportion.
    With μ elsewhere KL rises somewhere on the way in {risen} of {starts} starts; with the others in none."""


def shown_of(record: Record) -> tuple[str, ...]:
    """The losses that have a panel: the two of the presets, of other losses the first three."""
    losses = tuple(record.config["losses"])
    return SHOWN if set(SHOWN) <= set(losses) and "losses" not in record.meta.get("changed", {}) else losses[:3]


def draw(records: Mapping[str, Record]) -> Figure:
    """Two panels of learning, one of the square loss alone."""
    table = records["kl-and-mu-square"].table
    losses = shown_of(records["kl-and-mu-square"])
    panels = len(losses) + 1
    figure, grid = new_figure(*((2, 2) if panels == 4 else (1, panels)), height=3.0)
    axes = np.ravel(grid)
    learning = find(table, part="learning")
    for letter, ax, loss in zip("abc", axes[:-1], losses, strict=False):
        _learning(ax, find(learning, objective=loss))
        panel_label(ax, letter, f"learning, {loss_label(loss)}" if losses == SHOWN else loss_label(loss))
    _regularizing(axes[-1], find(table, part="regularizing"))
    panel_label(axes[-1], "abcd"[len(losses)], "square loss alone")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _learning(ax: Axes, rows: pd.DataFrame) -> None:
    ends = rows["kl"].max() * np.array([1e-3, 1.5])
    ax.plot(ends, 2 * ends, color="#6E6E6E", linewidth=0.9, zorder=0, label="2 KL")
    for k, behavior in enumerate(LABELS):
        run = rows[(rows["behavior"] == behavior) & (rows["kl"] > ends[0])]
        style = cycle_style(k)
        ax.plot(run["kl"], run["mu_squared_loss"], **style.line(label=LABELS[behavior]))
        ax.plot(run["kl"].iloc[-1:], run["mu_squared_loss"].iloc[-1:], "o", markersize=4, color=style.color)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("KL(πθ‖πref)  [nats]")
    ax.set_ylabel(r"$\frac{1}{2}E_\mu[\rho^2]$  [nats²]")


def _regularizing(ax: Axes, rows: pd.DataFrame) -> None:
    for k, behavior in enumerate(LABELS):
        wide = find(rows, behavior=behavior).pivot_table(index="time", columns="start", values="kl")
        wide = wide / wide.iloc[0]
        if behavior == "elsewhere":
            worst = wide.max().idxmax()
            ax.plot(wide.index, wide, color=cycle_style(k).color, linewidth=0.4, alpha=0.15, zorder=1)
            ax.plot(wide.index, wide[worst], color="black", linewidth=0.9)
            top = (wide.index[wide[worst].argmax()], wide[worst].max())
            ax.annotate("worst start", top, xytext=(0.5, 0.97), textcoords="axes fraction", fontsize=7.5, va="top",
                        arrowprops={"arrowstyle": "-", "linewidth": 0.6})  # fmt: skip
        ax.plot(wide.index, wide.median(axis=1), **cycle_style(k).line(label=LABELS[behavior]))
    ax.axhline(1.0, color="#6E6E6E", linewidth=0.9, zorder=0)
    ax.set_ylim(0.0, 1.2)
    ax.set_xlabel("time  [steps × rate]")
    ax.set_ylabel("KL / KL at the start")


def _rises(rows: pd.DataFrame) -> pd.Series[float]:
    return rows.groupby("start")["kl"].apply(lambda kl: float((kl - kl.cummin()).max()))


def _risen(table: pd.DataFrame) -> tuple[int, int]:
    risen = _rises(find(table, part="regularizing", behavior="elsewhere"))
    return int((risen > 1e-9).sum()), len(risen)
