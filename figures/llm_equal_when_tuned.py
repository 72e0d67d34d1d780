"""Win rate over βκ on prompts that no policy saw, a panel a loss; tuned rates; ω² by width of the grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpo_analysis.plotting import COLORS, loss_label, loss_style, new_figure, panel_label
from gpo_analysis.tables import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpo_analysis.records import Record

EXPERIMENTS = ("llm-equal-when-tuned",)
MEASURES = {"tilt": "decided", "own": "own_decided"}
WORDS = {"tilt": "tilt of πref's samples", "own": "the policy's own samples"}
TITLES = {"tilt": "tilt", "own": "own"}
EFFECTS = {"strength": ("β", "blue", "o"), "loss": ("f", "vermillion", "s"), "loss:strength": ("β × f", "purple", "^")}
EFFECTS |= {"seed": ("seeds", "grey", "D"), "rest": ("seeds × β, f", "black", "x")}


def caption(records: Mapping[str, Record]) -> str:
    """The caption, with the record's settings."""
    record = records["llm-equal-when-tuned"]
    policies = find(record.table, kind="policy")
    few, many = _sizes(policies)
    away = int((policies["status"] != "ok").sum())
    return f"""Decided rate (wins over wins and defeats against an independent sample of πref, ties left out) on prompts
    that no policy was trained on, over βκ[[hinge| (hinge, whose κ is 0: over β)]]. Rows 1 and 2: {few} and {many}
    trained
    prompts. In each panel the loss of its heading over the others in grey. Dots and line: the tilt of πref's
    samples by π/πref, a dot a seed, the line their median; open circles: the median of the policies' own samples.
    Bars at the top: 95 % interval of the best strength by either (faint where it may lie at the edge of what ran).
    (g, h) Rate of each loss at its best β, chosen on half of the prompts and judged on the other, less that of
    logistic, by the tilt and by own samples, with 95 % two-way intervals; within the grey band, ±0.03, a difference
    counts as none. (i, j) ω² of β, f, their interaction, seeds and the interactions of seeds, by the width of the
    grid about the best β, runaways as what they reached (the record has them also without). {away} of
    {len(policies)} policies ran away (fewer than half of their samples came to their end): crosses at the foot of the
    panels; they enter nothing else. {policies["seed"].nunique()} seeds redraw πref, prompts, samples, labels and order.
    Study {record.config["study"]}, trained on {policies["study_device"].iloc[0]}; settings ours."""


def _sizes(policies: pd.DataFrame) -> tuple[int, int]:
    sizes = sorted({int(one) for one in policies["trained"]})
    return sizes[0], sizes[-1]


def draw(records: Mapping[str, Record]) -> Figure:
    """Two rows of a panel a loss, and two rows of what follows."""
    table = records["llm-equal-when-tuned"].table
    policies = find(table, kind="policy")
    losses, sizes = list(dict.fromkeys(policies["loss"])), _sizes(policies)
    figure, _ = new_figure(1, 1, height=8.8)
    figure.clear()
    outer = figure.add_gridspec(2, 1, height_ratios=(2.0, 1.5))
    upper = outer[0].subgridspec(2, len(losses))
    first: Axes | None = None
    for row, trained in enumerate(sizes):
        for column, loss in enumerate(losses):
            ax = figure.add_subplot(upper[row, column], sharex=first, sharey=first)
            first = first or ax
            _curves(ax, find(policies, trained=trained), find(table, kind="best", trained=trained), loss)
            if row == 0:
                panel_label(ax, "abcdef"[column], _short(loss)).title.set_fontsize(8.5)
            else:
                ax.set_xlabel("β" if loss == "hinge" else "βκ")
            ax.tick_params(labelbottom=row == 1, labelleft=column == 0)
            if column == 0:
                ax.set_ylabel(f"decided rate\n{trained} prompts")
    lower = outer[1].subgridspec(2, 4)
    for row, trained in enumerate(sizes):
        for column, measure in enumerate(MEASURES):
            ax = figure.add_subplot(lower[row, column])
            _tuned(ax, find(table, kind="pair", measure=measure, trained=trained), losses, column == 0)
            if row == 0:
                panel_label(ax, "gh"[column], f"tuned, {TITLES[measure]}")
            else:
                ax.set_xlabel("rate less logistic's")
            if column == 0:
                ax.set_ylabel(f"{trained} prompts")
            ax = figure.add_subplot(lower[row, 2 + column])
            _omega(ax, find(table, kind="omega", measure=measure, trained=trained))
            if row == 0:
                panel_label(ax, "ij"[column], f"ω², {measure}")
            else:
                ax.set_xlabel("width  [decades]")
            if column == 0:
                ax.set_ylabel("share of variance")
    _legend(figure)
    return figure


def _short(loss: str) -> str:
    return loss_label(loss).split(" (")[0].replace("truncated quadratic", "trunc. q.")


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    black = COLORS["black"]
    handles = [
        Line2D([], [], color=black, marker=".", label=WORDS["tilt"]),
        Line2D([], [], color=black, marker="o", markerfacecolor="white", linestyle="none", label=WORDS["own"]),
        Line2D([], [], color=COLORS["grey"], label="other losses"),
        Line2D([], [], color=black, marker="x", linestyle="none", label="ran away"),
        Line2D([], [], color=black, linewidth=1.8, label="best β (bars at the top)"),
        Line2D([], [], color=black, linewidth=1.8, alpha=0.35, label="maybe at the grid's edge"),
    ]
    handles += [Line2D([], [], color=COLORS[c], marker=m, label=f"ω² of {name}") for name, c, m in EFFECTS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)


def _curves(ax: Axes, policies: pd.DataFrame, best: pd.DataFrame, loss: str) -> None:
    from matplotlib.ticker import NullLocator

    ax.axhline(0.5, color=COLORS["grey"], linewidth=0.6)
    kept = policies[policies["status"] == "ok"]
    for other, rows in kept.groupby("loss", sort=False):
        if other != loss:
            middle = rows.groupby("strength")[["decided", "own_decided"]].median()
            ax.plot(middle.index, middle["decided"], color=COLORS["grey"], linewidth=0.6, alpha=0.5)
            ax.plot(middle.index, middle["own_decided"], "o", color=COLORS["grey"], markersize=2, alpha=0.35)
    style, rows = loss_style(loss), find(kept, loss=loss)
    for measure, level, mark, dash in (("tilt", 0.84, ".", "-"), ("own", 0.79, "o", "-")):
        for found in find(best, loss=loss, measure=measure).itertuples():
            if np.isfinite(found.low):
                faint = 0.35 if found.edge_share > 0.025 else 1.0
                ax.plot([found.low, found.high], [level, level], dash, color=style.color, alpha=faint, linewidth=1.8)
                ax.plot(
                    [found.value], [level], mark, color=style.color, alpha=faint, markerfacecolor="white", markersize=4
                )
    ax.plot(rows["strength"], rows["decided"], ".", color=style.color, markersize=3)
    middle = rows.groupby("strength")[["decided", "own_decided"]].median()
    ax.plot(middle.index, middle["decided"], color=style.color, linewidth=1.4)
    ax.plot(middle.index, middle["own_decided"], "o", color=style.color, markerfacecolor="white", markersize=4)
    gone = find(policies, loss=loss)
    gone = gone[gone["status"] != "ok"].groupby("strength").size()
    for strength, count in gone.items():
        ax.plot([strength], [0.06], "x", color=COLORS["black"], markersize=4)
        ax.annotate(str(count), (float(strength), 0.06), (0, 4), textcoords="offset points", ha="center", fontsize=6.5)
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks([0.01, 0.1, 1.0], ["0.01", "", "1"])
    ax.set_ylim(0.0, 0.9)


def _tuned(ax: Axes, pairs: pd.DataFrame, losses: list[str], named: bool) -> None:
    """Each loss at its best β, less logistic at its own."""
    ax.axvspan(-0.03, 0.03, color=COLORS["grey"], alpha=0.15, linewidth=0)
    ax.axvline(0.0, color=COLORS["grey"], linewidth=0.6)
    others = [loss for loss in reversed(losses) if loss != "logistic"]
    for position, loss in enumerate(others):
        style = loss_style(loss)
        for sign, rows in (
            (1, find(pairs, loss=loss, other="logistic")),
            (-1, find(pairs, loss="logistic", other=loss)),
        ):
            for found in rows.itertuples():
                ax.plot([sign * found.low, sign * found.high], [position, position], color=style.color)
                ax.plot([sign * found.value], [position], style.marker, color=style.color, markerfacecolor="white")
    ax.set_yticks(range(len(others)), [_short(loss) for loss in others] if named else [""] * len(others))
    reach = max(0.05, *(abs(one) for one in ax.get_xlim()))
    ax.set_xlim(-reach, reach)
    end = 0.05 if reach < 0.1 else 0.1
    ax.set_xticks([-end, 0.0, end], [f"−{end:g}", "0", f"{end:g}"])
    ax.set_ylim(-0.6, len(others) - 0.4)


def _omega(ax: Axes, rows: pd.DataFrame) -> None:
    ax.axhline(0.0, color=COLORS["grey"], linewidth=0.6)
    for effect, (_, color, marker) in EFFECTS.items():
        part = find(rows, effect=effect, runaways=True).sort_values("decades")
        ax.plot(part["decades"], part["value"], marker=marker, markersize=4, color=COLORS[color], linewidth=1.0)
    ax.set_ylim(-0.15, 1.0)
