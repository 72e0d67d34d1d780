"""Expected length of optima of sums, token means and SimPO, against β and at one KL a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpo_analysis.plotting import cycle_style, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("lengths",)
LOSSES = ("logistic", "exponential", "squared")
"""Those of the presets, of which the figure shows the first."""
LABELS = {"sum": "sums", "mean": "token means", "mean_without_reference": "SimPO"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config = records["lengths"].config
    base = _drawn(records["lengths"].table)[0]
    rewards = ", ".join(f"{reward:g}" for reward in config["rewards"])
    return f"""Exact optima over the words of up to {config["depth"]} letters of {config["letters"]}, each ended by an
    end token (probability {config["stop"]:g} under πref) or cut off at the largest depth; {base} loss, μ = πref.
    (a) Reward of the first letter alone ({rewards}), independent of length under πref: expected length against β. Sums
    keep πref's; token means lengthen, for large β by ½ Var(g)/β² (E T³ − (E T²)²/E T) (dashed), for β → 0 to a limit
    (dotted). (b) A reward for each word, N(0, 1), {config["draws"]} draws, at a KL of {config["kl"]:g} nats a sequence
    for sums and means, SimPO at the β of means: mass cut off against expected length; a point a draw, cross πref.
    Settings ours."""


def _drawn(table: pd.DataFrame) -> list[str]:
    """The losses that are drawn: logistic, or the first, and those that are not the presets'."""
    names = [str(name) for name in find(table, part="drawn")["loss"].drop_duplicates()]
    base = "logistic" if "logistic" in names else names[0]
    return [base, *(name for name in names if name != base and name not in LOSSES)]


def draw(records: Mapping[str, Record]) -> Figure:
    """Length against β, and what is cut off against length."""
    table = records["lengths"].table
    figure, (left, right) = new_figure(1, 2, height=3.1)
    base, *typed = _drawn(table)
    letter = find(table, part="first letter", loss=base)
    random = find(table, part="drawn", loss=base, at="kl")
    for k, (reduction, label) in enumerate(LABELS.items()):
        style = cycle_style(k)
        rows = find(letter, reduction=reduction).sort_values("beta")
        left.plot(rows["beta"], rows["length"], **style.line(label=label))
        if reduction == "mean":
            near = rows[rows["second_order"] < 1.02 * rows["limit"]]
            thin = {"color": style.color, "linewidth": 0.9}
            left.plot(near["beta"], near["second_order"], linestyle="--", **thin)
            limit, curved = float(rows["limit"].iloc[0]), near.iloc[0]
            left.axhline(limit, linestyle=":", **thin)
            beside = {"textcoords": "offset points", "fontsize": 7, "color": style.color}
            left.annotate("limit β → 0", (30.0, limit), (0, 3), ha="right", **beside)
            left.annotate("second order in 1/β", (curved["beta"], curved["second_order"]), (4, 0), **beside)
        points = find(random, reduction=reduction)
        right.plot(points["length"], points["cut_off"], **{**style.points(label=label), "linestyle": "none"})
    for name in typed:
        label = f"token means, {loss_label(name)}"
        rows = find(table, part="first letter", loss=name, reduction="mean").sort_values("beta")
        left.plot(rows["beta"], rows["length"], **loss_style(name).line(label=label))
        points = find(table, part="drawn", loss=name, at="kl", reduction="mean")
        right.plot(points["length"], points["cut_off"], **{**loss_style(name).points(label=label), "linestyle": "none"})
    first = random.iloc[0]
    right.plot([first["reference_length"]], [first["reference_cut_off"]], "x", color="#000000", label="πref")
    left.set_xscale("log")
    left.set_xlabel("β")
    left.set_ylabel("expected length  [tokens]")
    right.set_xlabel("expected length  [tokens]")
    right.set_ylabel("mass cut off")
    panel_label(left, "a", "reward without length")
    panel_label(right, "b", "drawn rewards")
    left.legend(loc="center left", bbox_to_anchor=(0.0, 0.68))
    right.legend(loc="upper left")
    return figure
