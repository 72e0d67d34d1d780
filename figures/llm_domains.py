"""Win rate against βκ in several domains, a row a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from figures._panels import KEYS, key, own_medians, own_points, plain_ticks, runaway
from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-domains",)
TITLES = {"cpu": "generated records", "small": "generated records", "titles": "abstracts → titles"}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    measured = find(records["llm-domains"].table, kind="measured")
    names, seeds = ", ".join(dict.fromkeys(measured["study"])), measured["seed"].nunique()
    marks = f"medians over {seeds} seeds, dots the seeds" if seeds > 1 else "the policy of the one seed"
    return f"""Win rate against πref, by each domain's own gold reward (a tie half), against βκ (hinge, whose κ is 0:
    against β); a row a loss, a column a domain (studies {names}), empty where the domain was run without the loss.
    Markers: policies after the last step, {marks}; bars: 95 % over prompts; grey: the other losses of the domain;
    triangles: the {int(runaway(measured).sum())} of {len(measured)} policies that ran away; the horizontal line is
    even. Domains differ in reward and have scales of their own; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """A row a loss, a column a domain."""
    measured = find(records["llm-domains"].table, kind="measured")
    studies, losses = (list(dict.fromkeys(measured[name])) for name in ("study", "loss"))
    figure, axes = new_figure(len(losses), len(studies), height=1.15, sharex="col", sharey="col", squeeze=False)
    figure.supylabel("win rate over πref", fontsize=9)
    for column, study in enumerate(studies):
        rows = find(measured, study=study)
        lines = {str(loss): _medians(part) for loss, part in rows.groupby("loss", sort=False)}
        for row, loss in enumerate(map(str, losses)):
            ax, part = axes[row, column], find(rows, loss=loss)
            if column == 0:
                ax.set_ylabel(loss_label(loss).replace(" (", "\n(").replace("truncated ", "truncated\n"), fontsize=8)
            if row == 0:
                ax.set_title(TITLES.get(str(study).removeprefix("small-"), str(study)))
            if len(part):
                for other, (x, y) in lines.items():
                    if other != loss:
                        ax.plot(x, y, **KEYS["dots"], zorder=1)
                _panel(ax, loss, part, lines[loss])
                if column:
                    name = loss_label(loss).partition(" (")[0]
                    ax.text(0.97, 0.94, name, transform=ax.transAxes, fontsize=6.5, color="0.4", ha="right", va="top")
            else:
                ax.set_axis_off()
            ax.set_xscale("log")
            plain_ticks(ax.xaxis, [t for t in (0.01, 0.1, 1.0) if rows["strength"].min() <= t])
        lowest = max(row for row, loss in enumerate(losses) if str(loss) in lines)
        axes[lowest, column].set_xlabel("βκ  (hinge: β)")
        axes[lowest, column].tick_params(labelbottom=True)
    key(figure, {"marker": "policy after the last step", "dots": "the other losses", "clipped": "ran away"})
    return figure


def _panel(ax: Axes, loss: str, part: pd.DataFrame, line: tuple[Any, Any]) -> None:
    away = runaway(part)
    ax.axhline(0.5, color=COLORS["grey"], linewidth=0.8, zorder=0)
    if part["seed"].nunique() > 1:
        own_points(ax, loss, part["strength"][~away], part["win_rate"][~away])
    own_medians(ax, loss, *line, joined=False)
    spans = [part["win_rate"] - part["win_rate_low"], part["win_rate_high"] - part["win_rate"]]
    ax.errorbar(part["strength"], part["win_rate"], yerr=spans, fmt="none", ecolor=loss_style(loss).color,
                elinewidth=0.8, alpha=0.7, zorder=2)  # fmt: skip
    ax.plot(part["strength"][away], part["win_rate"][away], ">", color=loss_style(loss).color, markersize=5)


def _medians(rows: pd.DataFrame) -> tuple[Any, Any]:
    found = rows[~runaway(rows)].groupby("strength")["win_rate"].median().sort_index()
    return found.index, found
