"""KL against the μ-weighted square loss along the training of language models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-kl-and-mu-square",)


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    return f"""½E_μ[ρ²] against KL(πθ‖πref) at every checkpoint of every policy; grey line: 2KL, what both squares
    are to leading order. (a) Offline: on held-out pairs sampled from πref. Thin lines: the population optimum
    along β. (b) On-policy: two responses of πθ to a prompt. Study
    {records["llm-kl-and-mu-square"].config["study"]}; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Offline beside on-policy."""
    table = records["llm-kl-and-mu-square"].table
    measured, predicted = (find(table, kind=kind) for kind in ("measured", "predicted"))
    figure, axes = new_figure(1, 2, height=3.4, sharey=True)
    kl = np.array([measured["kl"].min() * 0.8, measured["kl"].max() * 1.2])
    for ax, column in zip(axes, ("offline", "mu_squared_loss_on_policy"), strict=True):
        ax.plot(kl, 2 * kl, color=COLORS["grey"], linewidth=0.9, zorder=0, label="2 KL")
        for loss, rows in measured.groupby("loss", sort=False):
            style = loss_style(str(loss))
            ax.plot(
                rows["kl"], rows[column], style.marker, color=style.color, markerfacecolor="white",
                label=loss_label(str(loss)),
            )  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("KL(πθ‖πref)  [nats]")
    for loss, rows in predicted.groupby("loss", sort=False):
        part = rows[(rows["kl"] > kl[0])].sort_values("kl")
        axes[0].plot(part["kl"], part["offline"], **loss_style(str(loss)).line(linewidth=0.8, alpha=0.7))
    axes[0].set_ylabel(r"$\frac{1}{2}E[\rho^2]$  [nats²]")
    panel_label(axes[0], "a", "offline, μ = πref")
    panel_label(axes[1], "b", "on-policy, μ = πθ")
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure
