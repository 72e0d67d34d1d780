"""The paper's plot of the losses, and all six beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpo_analysis.plotting import loss_label, loss_style, new_figure, panel_label, plot_curve, plot_zero_one

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("losses",)
PAPER = "its first figure, in panel a"
CAPTION = """Losses f over the margin ρ = log π(y_w)/πref(y_w) − log π(y_l)/πref(y_l), at β = 1. (a) Beside the 0-1
loss[[logistic,squared,hinge|, the three of the paper's first figure]][[logistic|; the logistic curve is divided by log
2, so that all pass through (0, 1)]]. (b) All, unscaled.[[squared,truncated_quadratic| Squared and truncated quadratic
are one curve up to ρ = 1.]][[savage| Savage is bounded and not convex.]] Below, the losses as in the paper's Table 1,
with slope and curvature at ρ = 0 and κ = f″(0)/|f′(0)|, which β multiplies."""
FORMULAS = {
    "logistic": r"$\log(1+e^{-ρ})$",
    "hinge": r"$\max(0,\,1-ρ)$",
    "squared": r"$(1-ρ)^2$",
    "exponential": r"$e^{-ρ}$",
    "truncated_quadratic": r"$\max(0,\,1-ρ)^2$",
    "savage": r"$(1+e^{ρ})^{-2}$",
}


def draw(records: Mapping[str, Record]) -> Figure:
    """Draw both panels."""
    table = records["losses"].table
    figure, axes = new_figure(2, 2, height=2.5, height_ratios=(2.0, 1.0))
    left, right = axes[0]
    for ax in axes[1]:
        ax.remove()
    low, high = float(table["rho"].min()), float(table["rho"].max())
    plot_zero_one(left, low=low, high=high)
    for name, rows in table.groupby("loss", sort=False):
        scaled = name in ("logistic", "squared", "hinge") or name not in FORMULAS
        if scaled:
            plot_curve(str(name), rows["rho"], rows["scaled"], left)
        right.plot(rows["rho"], rows["value"], label=loss_label(str(name)), **loss_style(str(name)).line())
    panel_label(left, "a", "scaled to pass through (0, 1)")
    panel_label(right, "b", "all six, unscaled" if set(table["loss"]) == set(FORMULAS) else "all, unscaled")
    for ax in (left, right):
        ax.set_xlabel("margin $ρ$  [nats], β = 1")
        ax.set_ylim(-0.15, 4.3)
        ax.axvline(0.0, color="#6E6E6E", linewidth=0.7, zorder=0)
    left.set_ylabel("$f(ρ)\\,/\\,f(0)$")
    right.set_ylabel("loss $f(ρ)$")
    left.legend()
    right.legend()
    _table(figure.add_subplot(axes[1, 0].get_gridspec()[1, :]), table)
    return figure


def _table(ax: Axes, table: pd.DataFrame) -> None:
    """The losses as rows: f, slope, curvature, κ."""
    ax.set_axis_off()
    first = table.groupby("loss", sort=False)[["slope", "curvature"]].first()
    typed = table.groupby("loss")["formula"].first().dropna() if "formula" in table else {}
    formulas = {str(name): FORMULAS.get(str(name), "") for name in first.index}
    formulas |= {name: f"${text}$" for name, text in dict(typed).items() if len(text) <= 60 and "\\begin" not in text}
    cells = [
        [loss_label(str(name)), formulas[str(name)], *(f"{value:g}".replace("-", "−") for value in
         (row["slope"], row["curvature"], row["curvature"] / abs(row["slope"])))]
        for name, row in first.iterrows()
    ]  # fmt: skip
    heads = ["loss", "$f(ρ)$", "$f\\,′(0)$", "$f\\,″(0)$", "κ"]
    drawn = ax.table(cells, colLabels=heads, cellLoc="center", edges="horizontal", bbox=(0.02, 0.0, 0.96, 1.0))
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    for cell in drawn.get_celld().values():
        cell.set_linewidth(0.4)
