"""Validity of the second-order expansion in the training of a language model, and progress over steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-taylor",)
FLOOR = 1e-6


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    table = records["llm-taylor"].table
    strengths = sorted(set(find(table, kind="trace")["strength"]))
    middle = strengths[len(strengths) // 2]
    return f"""(a) Relative error of the second-order expansion of the gradient on held-out pairs, against the 90
    % quantile of |βρ|, at every checkpoint; grey: π, the Taylor radius of the logistic and Savage losses;
    crosses: the error of the weights f′(βρ), from f and the margins alone. Squared is exact (rounding alone;
    errors below {FLOOR:g} are drawn there), hinge is linear until its kink. (b) Cosine of the two gradients. (c)
    Mean margin κβρ (hinge: βρ) of the training batches over steps at βκ = {middle:g}, in units in which the
    squared loss's target is 1, smoothed over 20 steps. Study {records["llm-taylor"].config["study"]}; settings
    ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Error, cosine, progress."""
    table = records["llm-taylor"].table
    rows, trace = find(table, kind="gradient"), find(table, kind="trace")
    figure, (error, cosine, progress) = new_figure(1, 3, height=3.3)
    for loss, part in rows.groupby("loss", sort=False):
        style = loss_style(str(loss))
        point = {"linestyle": "none", "marker": style.marker, "color": style.color, "markerfacecolor": "white"}
        size = np.maximum(part["relative_error_2"], FLOOR)
        error.plot(part["margin_q90"], size, **point, label=loss_label(str(loss)))
        if loss not in ("squared", "hinge"):
            error.plot(part["margin_q90"], part["predicted_error_2"], "x", color=style.color, alpha=0.5, markersize=4)
        cosine.plot(part["margin_q90"], part["cosine_2"], **point)
    error.set_yscale("log")
    for ax in (error, cosine):
        ax.axvline(np.pi, color=COLORS["grey"], linewidth=0.9, zorder=0)
        ax.set_xscale("log")
        ax.set_xlabel("90 % quantile of |βρ|")
    error.set_ylabel("relative error")
    cosine.set_ylabel("cosine")
    strengths = sorted(set(trace["strength"]))
    middle = find(trace, strength=strengths[len(strengths) // 2])
    for loss, part in middle.groupby("loss", sort=False):
        part = part.sort_values("step")
        margin = (part["strength"] * part["mean_rho"]).rolling(4, min_periods=1).mean()
        progress.plot(part["step"], margin, **loss_style(str(loss)).line())
    progress.set_xlabel("step")
    progress.set_ylabel("mean κβρ")
    panel_label(error, "a", "size")
    panel_label(cosine, "b", "direction")
    panel_label(progress, "c", "progress")
    handles, labels = error.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
