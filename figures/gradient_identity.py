"""How far the two regularizers' gradients part as μ moves away from πθ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpo_analysis.plotting import cycle_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("gradient-identity",)
LABELS = {
    "reference": "$ν$ = πref",
    "uniform": "$ν$ uniform",
    "random": "$ν$ random",
    "concentrated": "$ν$: 95 % on the two\nleast likely under πθ",
}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings and how many gradients are opposed."""
    config, table = records["gradient-identity"].config, records["gradient-identity"].table
    arrived = find(table, target="concentrated")
    arrived = arrived[arrived["t"] == arrived["t"].max()]
    opposed = int((arrived["cosine"] < 0).sum())
    return f"""The gradient of the μ-weighted square loss ½E_μ[ρ²] (two independent responses, sampling not
    differentiated) against 2∇KL(πθ‖πref), in the logits of a softmax policy over {config["responses"]} responses, as μ
    moves from πθ to four distributions ν. Medians over {config["problems"]} random problems, bands from the 10th to the
    90th percentile, thin lines the least of them; settings ours. (a) Cosine of the two gradients: at μ = πθ they are
    one; below the grey line a small step down the square loss raises KL. With μ = ν on the two least likely it is
    negative in {opposed} of {len(arrived)} problems.
    (b) Ratio of their norms; the constant 2 is in the denominator."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Cosine and ratio of norms over the interpolation."""
    from matplotlib.lines import Line2D

    table = records["gradient-identity"].table
    figure, (left, right) = new_figure(1, 2, height=3.4)
    for k, (target, label) in enumerate(LABELS.items()):
        by_t = find(table, target=target).groupby("t")
        for ax, column in ((left, "cosine"), (right, "norm_ratio")):
            low, middle, high = (by_t[column].quantile(q) for q in (0.1, 0.5, 0.9))
            style = cycle_style(k)
            ax.plot(middle.index, middle, **style.line(label=label))
            ax.fill_between(middle.index, low, high, color=style.color, alpha=0.13, linewidth=0)
    for k, target in enumerate(LABELS):
        least = find(table, target=target).groupby("t")["cosine"].min()
        left.plot(least.index, least, **{**cycle_style(k).line(), "linewidth": 0.8})
    left.axhline(0.0, color="#6E6E6E", linewidth=0.9, zorder=0)
    right.axhline(1.0, color="#6E6E6E", linewidth=0.9, zorder=0)
    left.set_ylabel(r"cosine of $\nabla\frac{1}{2}E_\mu[\rho^2]$ and $2\nabla$KL")
    right.set_ylabel(r"$\|\nabla\frac{1}{2}E_\mu[\rho^2]\|\;/\;\|2\nabla$KL$\|$")
    right.set_yscale("log")
    right.set_yticks([0.5, 1.0, 2.0], ["0.5", "1", "2"])
    right.minorticks_off()
    panel_label(left, "a", "direction")
    panel_label(right, "b", "size")
    for ax in (left, right):
        ax.set_xlabel("$t$ in $μ = (1-t)\\,$πθ$\\, + t\\,ν$")
        ax.set_xlim(0.0, 1.0)
    left.text(0.03, -0.02, "below: a step raises KL", fontsize=7.5, va="top")
    handles, labels = left.get_legend_handles_labels()
    handles.append(Line2D([], [], color="0.25", linewidth=0.8))
    figure.legend(handles, [*labels, "least of all problems (a)"], loc="outside lower center", ncols=3)
    return figure
