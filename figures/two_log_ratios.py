"""The chosen and the mass that nobody compared, under losses of two log-ratios and of the margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpo_analysis.plotting import cycle_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("two-log-ratios",)
LABELS = {
    "logistic": "logistic",
    "squared": "squared",
    "nca_pair": "NCA",
    "bco_pair": "BCO",
    "sppo_hard": "SPPO",
    "rpo": "RPO",
}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config = records["two-log-ratios"].config
    n = config["seen"] + config["unseen"]
    return f"""Losses of the margin (logistic, squared) and of two log-ratios, exact optima; margin losses where the
    gradient flow from πref ends. (a) One pair that is always won among {n} responses of equal πref: probability of the
    chosen against β; logistic, BCO and RPO go to 1. NCA holds it at πref 2^(1/β), SPPO at πref e^(1/(2β)) while mass
    is left. (b) Bradley–Terry preferences at βκ = {config["strength"]:g}, κ in the population, {config["problems"]}
    random problems: mass of what is never compared over its mass under πref against the mean change of the chosen's
    log π; a point a problem, large points the means. Settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """The one-sided pair, and chosen against unseen."""
    table = records["two-log-ratios"].table
    figure, (left, right) = new_figure(1, 2, height=3.1)
    pairs = find(table, part="pairs")
    for k, (loss, label) in enumerate(LABELS.items()):
        style = cycle_style(k)
        alone = find(find(table, part="one-sided"), loss=loss).sort_values("beta")
        left.plot(alone["beta"], alone["chosen"], **style.line(label=label))
        rows = find(pairs, loss=loss)
        kept = rows["unseen"] / rows["reference_unseen"]
        right.plot(rows["chosen"], kept, linestyle="none", marker=".", markersize=3, color=style.color, alpha=0.45)
        right.plot([rows["chosen"].mean()], [kept.mean()], **style.points(), label=label)
    left.set_xscale("log")
    left.set_xticks([0.25, 0.5, 1.0, 2.0, 4.0], ["0.25", "0.5", "1", "2", "4"])
    left.minorticks_off()
    left.set_xlabel("β")
    left.set_ylabel("π(chosen)")
    left.set_ylim(0.0, 1.05)
    right.set_xlabel("mean change of log π of the chosen  [nats]")
    right.set_ylabel("unseen mass, π over πref")
    right.axhline(1.0, color="#6E6E6E", linewidth=0.9, zorder=0)
    panel_label(left, "a", "one pair, always won")
    panel_label(right, "b", "Bradley–Terry")
    left.legend(loc="center right")
    key = right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="large: means")
    key.get_title().set_fontsize(7)
    return figure
