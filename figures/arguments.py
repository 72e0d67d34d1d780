"""Six losses on real votes about arguments: held-out accuracy, and KL at equal βκ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures._panels import strength_label
from gpo_analysis.plotting import loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("arguments",)


def caption(records: Mapping[str, Record]) -> str:
    """Say what is drawn, with the numbers of problems."""
    table = records["arguments"].table
    names = list(table["loss"].drop_duplicates())
    base = "logistic" if "logistic" in names else names[0]
    one = find(table, loss=base, strength=1.0)
    count = "Six" if len(names) == 6 else len(names)
    first = "Logistic" if base == "logistic" else base
    lost = int(one["kl"].isna().sum())
    cycles, triples = int(one["cycles"].sum()), int(one["triples"].sum())
    return f"""{count} losses fitted to votes on pairs of arguments (Habernal and Gurevych 2016), {len(one)} sides of
    debates with {int(one["items"].median())} arguments each (median); {cycles:,} of {triples:,} decided triples are
    cycles. (a) Share of held-out pairs on which the argument of higher score has more votes, equal scores counted half,
    on the problems where every loss has an answer; bars are 95 % bootstrap intervals over problems. (b) KL(π‖πref) at
    equal βκ[[hinge| (hinge: at β, in grey)]], median over the same problems; πref uniform. {first} has a
    finite optimum on {len(one) - lost} of {len(one)} problems."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Draw accuracy and KL."""
    table = records["arguments"].table
    table = table[table.groupby("prompt")["kl"].transform(lambda kl: kl.notna().all())]
    figure, (left, right) = new_figure(1, 2, height=3.1)
    names = [str(name) for name in table["loss"].unique()]
    for position, name in enumerate(names):
        rows = find(table, loss=name, strength=1.0)
        accuracy, low, high = _interval(rows)
        style = loss_style(name)
        left.errorbar(
            accuracy,
            -position,
            xerr=[[accuracy - low], [high - accuracy]],
            color=style.color,
            marker=style.marker,
            capsize=3,
        )
        median = find(table, loss=name).groupby("strength")["kl"].median()
        grey = {"color": "#9A9A9A"} if name == "hinge" else {}
        right.plot(median.index, median, label=loss_label(name), **{**style.points(), **grey})
    left.set_yticks([-position for position in range(len(names))], [loss_label(name) for name in names])
    left.set_xlabel("held-out pairs ranked as voted")
    left.grid(False, axis="y")
    right.set(xscale="log", yscale="log", xlabel=strength_label(names), ylabel="KL(π‖πref)  [nats]")
    strengths = sorted(table["strength"].unique())
    right.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
    right.set_xticks([], minor=True)
    right.legend()
    panel_label(left, "a", "held-out accuracy")
    panel_label(right, "b", "distance at equal βκ")
    return figure


def _interval(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Return the share of right pairs with a 95 % bootstrap interval over problems."""
    right, tested = rows["right"].to_numpy(), rows["tested"].to_numpy()
    drawn = np.random.default_rng(0).integers(0, len(rows), size=(2000, len(rows)))
    shares = right[drawn].sum(axis=1) / tested[drawn].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(right.sum() / tested.sum()), float(low), float(high)
