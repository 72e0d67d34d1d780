"""Win rate against KL and against βκ in several domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-domains",)


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    table = records["llm-domains"].table
    names = ", ".join(dict.fromkeys(table["study"]))
    return f"""Win rate against πref, by each domain's own gold reward, a tie half: above against KL(πθ‖πref),
    below against βκ (hinge: β). A column a domain: {names}. Policies after the last step, means over seeds;
    settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """Two rows, a column a domain."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    table = records["llm-domains"].table
    measured = find(table, kind="measured")
    studies = list(dict.fromkeys(measured["study"]))
    figure, axes = new_figure(2, len(studies), height=5.0, sharey="col", squeeze=False)
    for column, study in enumerate(studies):
        for loss, rows in find(measured, study=study).groupby("loss", sort=False):
            means = rows.groupby("strength")[["kl", "win_rate"]].mean().sort_index()
            style = loss_style(str(loss)).points(label=loss_label(str(loss)))
            axes[0, column].plot(means["kl"], means["win_rate"], **style)
            axes[1, column].plot(means.index, means["win_rate"], **style)
        for row, label in ((0, "KL(πθ‖πref)  [nats]"), (1, "βκ  (hinge: β)")):
            axes[row, column].set_xscale("log")
            axes[row, column].xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes[row, column].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes[row, column].xaxis.set_minor_formatter(NullFormatter())
            axes[row, column].set_xlabel(label)
            axes[row, column].axhline(0.5, color=COLORS["grey"], linewidth=0.8, zorder=0)
        panel_label(axes[0, column], "abcdef"[column], str(study))
    for row in (0, 1):
        axes[row, 0].set_ylabel("win rate against πref")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
