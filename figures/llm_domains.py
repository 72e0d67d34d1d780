"""Win rate against βκ in several domains, a panel each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from figures._panels import KEYS, LETTERS, runaway, strength_label
from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
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
    policies = f"a policy of one of {seeds} seeds" if seeds > 1 else "the policy of the one seed"
    return f"""Win rate against πref, by each domain's own gold reward (a tie half), against βκ[[hinge|
    (hinge, whose κ is 0: against β)]]; a panel a domain (studies {names}), the losses it was run with side by side at
    each strength. Markers:
    {policies} after the last step; bars: 95 % over prompts; filled: the {int(runaway(measured).sum())} of
    {len(measured)} policies that ran away; the horizontal line is even. Domains differ in reward and have scales of
    their own; settings ours."""


def draw(records: Mapping[str, Record]) -> Figure:
    """A panel a domain, the losses side by side at each strength."""
    measured = find(records["llm-domains"].table, kind="measured")
    studies, losses = ([str(name) for name in dict.fromkeys(measured[column])] for column in ("study", "loss"))
    columns = min(2, len(studies))
    figure, axes = new_figure(-(-len(studies) // columns), columns, height=2.5, squeeze=False)
    for ax in axes.flat[len(studies) :]:
        ax.set_visible(False)
    for letter, ax, study in zip(LETTERS, axes.flat, studies, strict=False):
        rows = find(measured, study=study)
        strengths = sorted(rows["strength"].unique())
        own = [loss for loss in losses if loss in set(rows["loss"])]
        for k, loss in enumerate(own):
            _points(ax, loss, find(rows, loss=loss), strengths, 0.8 * (k - (len(own) - 1) / 2) / len(losses))
        away = int(runaway(rows).sum())
        words = f"{away} of {len(rows)} ran away" if away else "none ran away"
        ax.text(0.97, 0.95, words, transform=ax.transAxes, fontsize=7.5, ha="right", va="top")
        ax.axhline(0.5, color=COLORS["grey"], linewidth=0.8, zorder=0)
        ax.set_xticks(range(len(strengths)), [f"{strength:g}" for strength in strengths])
        ax.grid(visible=False, axis="x")
        ax.set(xlabel=strength_label(losses), ylabel="win rate over πref")
        panel_label(ax, letter, TITLES.get(study.removeprefix("small-"), study))
    handles = [Line2D([], [], linestyle="none", **_mark(loss)) for loss in losses]
    handles.append(Line2D([], [], **{**KEYS["filled"], "linestyle": "none"}))
    labels = [*(loss_label(loss) for loss in losses), "filled: ran away"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _mark(loss: str) -> dict[str, Any]:
    style = loss_style(loss)
    return {"marker": style.marker, "color": style.color, "markerfacecolor": "white", "markersize": 4.5}


def _points(ax: Axes, loss: str, part: pd.DataFrame, strengths: list[float], aside: float) -> None:
    """One loss over the strengths: each policy with its interval over prompts, filled where it ran away."""
    away = runaway(part)
    for row, fled in zip(part.itertuples(), away, strict=True):
        spans = [[row.win_rate - row.win_rate_low], [row.win_rate_high - row.win_rate]]
        mark = {**_mark(loss), "markerfacecolor": loss_style(loss).color if fled else "white"}
        ax.errorbar([strengths.index(row.strength) + aside], [row.win_rate], spans, elinewidth=0.8, **mark)
