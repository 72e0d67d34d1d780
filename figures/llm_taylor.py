"""Error of the second-order expansion in the training of a language model, a panel a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures._panels import binned, grey_lines, key, label_axes, loss_panels, own_medians, own_points, plain_ticks
from gpo_analysis.plotting import COLORS
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-taylor",)
RADII = {"logistic": np.pi, "savage": np.pi, "hinge": 1.0, "truncated_quadratic": 1.0}
SPAN = (1e-4, 10.0)
FAR = 30.0


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    rows = find(records["llm-taylor"].table, kind="gradient")
    return f"""Relative error of the second-order expansion of the gradient of E f(βρ) on held-out pairs, against the 90
    % quantile of |βρ|, at {len(rows)} checkpoints of all policies; a panel a loss. Dots: a checkpoint; markers: medians
    in bins; dotted: the error that f and the margins alone predict, medians in the same bins; grey: the measured
    medians of the other losses; vertical line: the Taylor radius[[logistic,savage| (π for logistic and
    Savage)]][[hinge,truncated_quadratic| (1 for hinge and truncated quadratic)]][[exponential,squared|; the series of
    exponential converges everywhere, and squared is its own]]. The dashed line is an error as
    large as the gradient. Errors below {SPAN[0]:g}, exact but for rounding, are drawn at the lower edge and counted;
    those beyond {SPAN[1]:g} or |βρ| of {FAR:g} at the other edges. Seeds share πref and pairs.
    Study {records["llm-taylor"].config["study"]};
    settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """A panel a loss."""
    rows = find(records["llm-taylor"].table, kind="gradient")
    own = {str(loss): part for loss, part in rows.groupby("loss", sort=False)}
    low = 0.8 * float(rows["margin_q90"].min())
    edges = np.geomspace(low, FAR, 9)
    lines = {
        loss: binned(part["margin_q90"], part["relative_error_2"].clip(*SPAN), edges)[:2]
        for loss, part in own.items()
        if loss != "squared"
    }
    figure, axes = loss_panels(own)
    for loss, ax in axes.items():
        grey_lines(ax, lines, loss)
        _panel(ax, loss, own[loss], edges)
        if loss in lines:
            own_medians(ax, loss, *lines[loss])
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(low, FAR * 1.1)
        ax.set_ylim(0.7 * SPAN[0], 1.4 * SPAN[1])
        plain_ticks(ax.xaxis, [t for t in (0.01, 0.1, 1.0, 10.0) if t > low])
    label_axes(axes, "90 % quantile of |βρ|", "relative error")
    key(figure, {"seeds": "measured, one checkpoint", "median": "measured, median in a bin",
                 "theory": "predicted from f and margins", "others": "the other losses, measured",
                 "radius": "Taylor radius of the loss",
                 "dashed": "as large as the gradient"})  # fmt: skip
    return figure


def _panel(ax: Axes, loss: str, part: pd.DataFrame, edges: np.ndarray) -> None:
    error = part["relative_error_2"]
    own_points(ax, loss, part["margin_q90"].clip(upper=FAR), error.clip(*SPAN))
    exact = int((error < SPAN[0]).sum())
    if exact:
        words = f"all {exact} exact" if exact == len(part) else f"{exact} of {len(part)} exact"
        ax.text(0.03, 0.95, words, transform=ax.transAxes, fontsize=7.5, va="top")
    if loss != "squared":
        x, y, _, _ = binned(part["margin_q90"], part["predicted_error_2"].clip(*SPAN), edges)
        ax.plot(x, y, ":", color="0.25", linewidth=1.6, zorder=4)
    if loss in RADII:
        ax.axvline(RADII[loss], color=COLORS["grey"], linewidth=0.9, zorder=0)
    ax.axhline(1.0, color=COLORS["grey"], linewidth=0.7, linestyle="--", zorder=0)
