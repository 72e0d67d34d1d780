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
    risen, starts = _risen(records["kl-and-mu-square"].table)
    return f"""KL(πθ‖πref) and the μ-weighted square loss ½E_μ[ρ²] along training of a softmax policy over
    {config["responses"]} responses with Bradley–Terry preferences; settings ours; μ elsewhere puts 90 % on the two
    responses that πref likes least. (a), (b) Learning from preferences by gradient flow from πref,
    β = {config["beta"]:g}: dots mark the end. While the policy is near πref, ½E_μ[ρ²] is 2KL (grey line) for μ = πref
    and μ = πθ; with μ elsewhere it starts an order of magnitude above and ends below. (c) Descending ½E_μ[ρ²] alone:
    KL over its value at the start, medians over {config["starts"]} random policies; thin: with μ elsewhere, every
    start, and in black the one from which KL rises most in proportion.
    With μ elsewhere KL rises somewhere on the way in {risen} of {starts} starts; with the others in none."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Two panels of learning, one of the square loss alone."""
    table = records["kl-and-mu-square"].table
    figure, (first, second, third) = new_figure(1, 3, height=3.0)
    learning = find(table, part="learning")
    for letter, ax, loss in zip("ab", (first, second), SHOWN, strict=True):
        _learning(ax, find(learning, objective=loss))
        panel_label(ax, letter, f"learning, {loss_label(loss)}")
    _regularizing(third, find(table, part="regularizing"))
    panel_label(third, "c", "square loss alone")
    handles, labels = first.get_legend_handles_labels()
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
