"""A real model's runs beside what was said of them: a row a domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-real-model",)
SPAN = 0.6
NAMES = {"titles": "abstracts to titles", "hh": "people's pairs"}
METHODS = {  # in colours of no loss
    "tangent": ("-", "#8C564B", "linear in the weights W"),
    "parameters": (":", "#7F7F00", "tangent in A and B"),
    "scalar": ("--", "#17A2B8", "law from β → 0"),
}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    table = records["llm-real-model"].table
    steps = table[table["kind"] == "step"]
    runs = steps[["study", "loss", "strength", "rate", "seed", "status"]].drop_duplicates()
    away = int((runs["status"] != "ok").sum())
    strengths = ", ".join(f"{value:g}" for value in sorted(set(steps["strength"]) - {0.0}))
    return f"""SmolLM2-135M-Instruct with adapters on its two upper layers, A and B trained by Adam. Left: mean margin
    of the pairs trained on against steps, medians over seeds, for the limit β → 0 and the losses at βκ = {strengths}
    (markers: the model), beside its linearisation in the weights (lines), the tangent of the adapters' parameters
    (dots) and the law from the limit run alone (dashes). Middle: log(predicted/measured) of the mean margin after the
    last step against what ½E_μ[ρ²] had become, clipped at ±{SPAN:g}; the band is ±0.05. Right: win rate of the tilted
    samples against their KL, along steps and βκ, a line a loss, and best-of-n (stars; titles), or, of people's pairs,
    ½E_μ[ρ²] of their responses against 2KL of πref's own samples. Nothing is fitted. {len(runs)} runs; {away} ran away
    and are left out. Settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Three panels a domain."""
    table = records["llm-real-model"].table
    domains = [name for name in NAMES if name in set(table["domain"])]
    figure, axes = new_figure(len(domains), 3, height=2.3, squeeze=False)
    for row, domain in enumerate(domains):
        own = table[table["domain"] == domain]
        steps = own[(own["kind"] == "step") & (own["status"] == "ok") & (own["rate"] == 1.0)]
        seen = steps[steps["split"] == "seen"]
        _courses(axes[row, 0], seen)
        _errors(axes[row, 1], seen)
        if domain == "titles":
            _trade_off(axes[row, 2], seen, own[own["kind"] == "best"])
        else:
            _squares(axes[row, 2], steps)
        for column in range(3):
            panel_label(axes[row, column], "abcdef"[3 * row + column], NAMES[domain] if column == 0 else "")
    _legend(figure, table)
    return figure


def _courses(ax: Axes, seen: pd.DataFrame) -> None:
    for (loss, strength), part in seen.groupby(["loss", "strength"], sort=False):
        style = loss_style(loss)
        color = style.color if strength else COLORS["black"]
        for method, (line, _, _) in METHODS.items():
            middle = part[part["method"] == method].groupby("step")["mean_rho_predicted"].median()
            ax.plot(middle.index, middle, line, color=color, linewidth=0.9, alpha=0.8)
        measured = part[part["method"] == "tangent"].groupby("step")["mean_rho"].median()
        ax.plot(measured.index, measured, style.marker, color=color, markerfacecolor="white", markersize=4)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = sorted(set(seen["step"]))
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("step")
    ax.set_ylabel("mean ρ  [nats]")


def _errors(ax: Axes, seen: pd.DataFrame) -> None:
    ax.axhspan(-0.05, 0.05, color=COLORS["grey"], alpha=0.2, linewidth=0)
    last = seen[seen["step"] == seen["step"].max()]
    for method, (_, color, _) in METHODS.items():
        part = last[(last["method"] == method) & (last["mean_rho"] > 0) & (last["mean_rho_predicted"] > 0)]
        error = np.log(part["mean_rho_predicted"] / part["mean_rho"])
        inside = error.abs() <= SPAN
        ax.plot(part["mu_squared_loss"][inside], error[inside], ".", color=color, markersize=4)
        for sign, triangle in ((1.0, "^"), (-1.0, "v")):
            out = error * sign > SPAN
            ax.plot(
                part["mu_squared_loss"][out], np.full(int(out.sum()), sign * SPAN), triangle, color=color, markersize=3
            )
    ax.set_xscale("log")
    low, high = last["mu_squared_loss"].min(), last["mu_squared_loss"].max()
    ticks = [tick for tick in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0) if low / 2 <= tick <= 2 * high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(-1.1 * SPAN, 1.1 * SPAN)
    ax.set_xlabel("½E_μ[ρ²]  [nats²]")
    ax.set_ylabel("log(predicted/measured)", fontsize=7)


def _trade_off(ax: Axes, seen: pd.DataFrame, best: pd.DataFrame) -> None:
    rows = seen[seen["method"] == "tangent"]
    for loss in dict.fromkeys(rows[rows["strength"] > 0]["loss"]):
        style = loss_style(loss)
        part = rows[(rows["loss"] == loss) | (rows["strength"] == 0)]
        points = part.groupby(["strength", "step"])[["kl", "win_rate"]].mean().sort_values("kl")
        ax.plot(
            points["kl"], points["win_rate"], "-", marker=style.marker, color=style.color, markersize=3, linewidth=0.8
        )
    if len(best):
        ax.plot(best["kl"], best["win_rate"], "*", color=COLORS["black"], markersize=7)
    ax.set_xlabel("KL  [nats]")
    ax.set_ylabel("win rate")


def _squares(ax: Axes, steps: pd.DataFrame) -> None:
    keys = ["loss", "strength", "seed", "step"]
    rows = steps[steps["method"] == "tangent"]
    one, other = (rows[rows["split"] == name].set_index(keys) for name in ("seen", "held"))
    joined = one[["mu_squared_loss"]].join(other[["kl"]])
    for loss, part in joined.groupby("loss"):
        style = loss_style(loss)
        ax.plot(2 * part["kl"], part["mu_squared_loss"], ".", color=style.color, markersize=4)
    low, high = float((2 * joined["kl"]).min()), float(joined["mu_squared_loss"].max())
    ax.plot([low, high], [low, high], color=COLORS["grey"], linewidth=0.8)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("2KL of own samples  [nats]")
    ax.set_ylabel("½E_μ[ρ²], people's")


def _legend(figure: Figure, table: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    losses = dict.fromkeys(table[(table["kind"] == "step") & (table["strength"] > 0)]["loss"])
    handles = [
        Line2D([], [], color=color, linestyle=line, marker=".", label=label) for line, color, label in METHODS.values()
    ]
    handles += [
        Line2D([], [], color=loss_style(loss).color, marker=loss_style(loss).marker, linestyle="none",
               markerfacecolor="white", label=loss_label(loss))
        for loss in losses
    ]  # fmt: skip
    star = {"color": COLORS["black"], "marker": "*", "markersize": 7, "linestyle": "none"}
    handles.append(Line2D([], [], label="best of n samples of πref", **star))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
