"""Losses made to order, and how they behave beside those of the catalogue."""

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

    from gpo_analysis.plotting import LossStyle
    from gpo_analysis.records import Record

EXPERIMENTS = ("loss-to-order",)
GREY = "#6E6E6E"
DESIGNED = {"clipped": 3, "heavy": 4, "huber": 5}  # places in the cycle of styles that the baselines leave free


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config, table = records["loss-to-order"].config, records["loss-to-order"].table
    asked = find(table, part="wishes")
    return f"""Losses made to order; settings ours. Of {len(asked)} combinations of wishes asked for,
    {int(asked["designed"].sum())} were met, the others refused as worked out. Shown: clipped (κ = ¾, margin 2 at
    η = 1), heavy (κ = ¾, infinite margin, no logit link), huber (κ = ¾, finite margin), all with a bounded gradient,
    beside catalogue losses at the same βκ, on {config["responses"]} responses with random μ and πref, {config["seeds"]}
    draws. (a) KL over logistic's against the largest logit of a Bradley–Terry problem, mean over draws at βκ = 0.5,
    bars: 95 % intervals; dotted line: clipped's wall. (b) The same for the largest |ρ|. (c) The slowest local rate of
    gradient flow over β²f″(0). (d) Squared signal to noise over logistic's[[hinge|; hinge has none]]."""


def draw(records: Mapping[str, Record]) -> Figure:
    """KL, deviation, speed and precision against the largest logit."""
    table = records["loss-to-order"].table
    tried = find(table, part="tried", kind="bradley-terry")
    strengths = np.sort(tried["beta_kappa"].unique())
    middle = strengths[len(strengths) // 2]
    figure, axes = new_figure(2, 2, height=2.6)
    shown = (
        ("a", "KL", "kl", middle, "KL / logistic's", True),
        ("b", "deviation", "deviation", middle, "largest |ρ| / logistic's", True),
        ("c", "local rate", "rate", strengths[0], "slowest rate / β²f″(0)", False),
        ("d", "precision", "efficiency", strengths[0], "signal² to noise\n/ logistic's", False),
    )
    for ax, (letter, title, column, strength, label, relative) in zip(axes.ravel(), shown, strict=True):
        _against_spread(ax, find(tried, beta_kappa=strength), column, relative)
        ax.set_ylabel(label)
        panel_label(ax, letter, title)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _style(loss: str) -> LossStyle:
    return cycle_style(DESIGNED[loss]) if loss in DESIGNED else loss_style(loss)


def _against_spread(ax: Axes, rows: pd.DataFrame, column: str, relative: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    wide = rows.pivot_table(index=["spread", "seed"], columns="loss", values=column, dropna=False)
    if relative:
        wide = wide.div(wide["logistic"], axis=0)
    ax.axvline(3.0, color=GREY, linewidth=0.9, linestyle=":", zorder=0)
    for loss in dict.fromkeys(rows["loss"]):
        if loss not in wide or wide[loss].isna().all() or loss == "hinge":
            continue
        part = wide[loss].dropna().groupby("spread")
        mean, half = part.mean(), 1.96 * part.std() / np.sqrt(part.size())
        style = _style(str(loss))
        name = str(loss) if loss in DESIGNED else loss_label(str(loss))
        ax.errorbar(mean.index, mean.to_numpy(), yerr=half.to_numpy(), **style.line(label=name), capsize=2)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("largest logit between two responses")
