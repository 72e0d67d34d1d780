"""KL by link at equal strength; the grid f × link; mass off the support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t

from gpo_analysis.plotting import cycle_style, loss_label, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("links-and-divergences",)
NAME = "links-and-divergences"
LABELS = {"reverse_kl": "log t (DPO)", "forward_kl": "forward KL", "jensen_shannon": "Jensen–Shannon", "alpha": "α = ½",
          "chi_po": "χPO"}  # fmt: skip


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    config, base = records[NAME].config, _base(records[NAME].table)
    return f"""The margin β[g(t_i) − g(t_j)], t = π/πref, with other links g; Bradley–Terry problems of
    {config["responses"]} responses, means over {config["seeds"]}; settings ours. (a) KL at the optimum over the
    logarithm's at βg′(1), {base}, with 95 % intervals over problems: 1 where βg′(1) alone sets the strength. (b)
    Mass on responses that μ leaves out
    ({config["unseen"]} of them) after gradient flow on softmax logits at βκ = {config["flow_strength"]:g}, over πref's
    mass there, for every f and link, with the half width of the 95 % interval over problems."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Two panels."""
    table = records[NAME].table
    figure, (first, second) = new_figure(1, 2, height=3.7)
    base = _base(table)
    rows = find(table, part="optimum", loss=base)
    for k, link in enumerate(LABELS):
        own = find(rows, link=link)
        ratio = (own["kl"] / own["kl_of_log"]).groupby(own["strength"])
        mean, x = ratio.mean(), np.array(sorted(own["strength"].unique())) * 1.03 ** (k - 2)
        first.errorbar(x, mean, _half(ratio), elinewidth=0.9, **cycle_style(k).points(label=LABELS[link], markersize=4))
    first.set_xscale("log")
    first.set_xlabel("βκ")
    first.set_ylabel("KL / KL of the logarithm at βg′(1)")
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.4)
    panel_label(first, "a", f"equal strength, {base if base == 'logistic' else loss_label(base)}")
    flow = find(table, part="off support")
    cells = (flow["off_mass"] / flow["off_reference"]).groupby([flow["loss"], flow["link"]], sort=False)
    grid, half = cells.mean().unstack()[list(LABELS)], _half(cells).unstack()[list(LABELS)]
    _grid(second, grid.to_numpy(), half.to_numpy(), [loss_label(name) for name in grid.index])
    panel_label(second, "b", "mass off the support, over πref's")
    return figure


def _base(table: pd.DataFrame) -> str:
    """The loss of panel a: logistic, or the first where that is not there."""
    names = list(table["loss"].drop_duplicates())
    return "logistic" if "logistic" in names else str(names[0])


def _half(groups: Any) -> Any:
    """Half widths of Student's 95 % intervals of the means of groups."""
    count = groups.count()
    return t.ppf(0.975, count - 1) * groups.std() / np.sqrt(count)


def _grid(ax: Axes, values: np.ndarray, half: np.ndarray, names: list[str]) -> None:
    ax.imshow(values, cmap="cividis", aspect="auto")
    middle = (values.min() + values.max()) / 2
    for (i, j), value in np.ndenumerate(values):
        words = f"{value:.2f}\n±{half[i, j]:.2f}"
        color = "white" if value < middle else "black"
        ax.text(j, i, words, ha="center", va="center", fontsize=7, linespacing=0.95, color=color)
    ax.set_xticks(range(len(LABELS)), list(LABELS.values()), rotation=30, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.grid(visible=False)
