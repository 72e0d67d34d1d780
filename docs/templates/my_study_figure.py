"""KL against ½E_μ[ρ²] of every optimum; lies in figures/ under the study's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpo_analysis.plotting import loss_label, loss_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("my-study",)
CAPTION = "Optima of every loss and problem. Settings ours."


def draw(records: Mapping[str, Record]) -> Figure:
    """One panel, a point an optimum."""
    table = records["my-study"].table
    figure, ax = new_figure()
    for (loss, mu), rows in table.groupby(["loss", "mu"], sort=False):
        style = loss_style(str(loss))
        face = style.color if mu == "reference" else "white"
        label = f"{loss_label(str(loss))}, μ {'= πref' if mu == 'reference' else 'elsewhere'}"
        ax.plot(rows["kl"], rows["mu_squared_loss"], style.marker, color=style.color, mfc=face, label=label)
    ends = table["kl"].agg(["min", "max"])
    ax.plot(ends, 2 * ends, color="grey", label="2 KL", scalex=False, scaley=False)
    ax.set(xscale="log", yscale="log", xlabel="KL(π‖πref)  [nats]", ylabel="½E_μ[ρ²]  [nats²]")
    ax.legend()
    return figure
