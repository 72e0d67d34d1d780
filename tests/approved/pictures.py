"""What is drawn: charts and states of the explorer, by what their artists, axes and widgets hold."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

import gpo_analysis as gpo
from gpo_analysis import plotting
from gpo_analysis.explore.state import VIEWS
from tests.approved.texts import dumped, table_of
from tests.showing.results import example

Cases = dict[str, Callable[[], str]]
GAMES = "winner,loser,count\na,b,7\nb,a,3\nb,c,6\nc,b,5\na,c,8\nc,a,2\n"


# -- charts ----------------------------------------------------------------------------------------------------------

SWEEP = pd.DataFrame(
    {"loss": ["dpo", "ipo"] * 3, "beta": [1.0, 1.0, 0.1, 0.1, 3.0, 3.0], "kl": [0.5, 1, 2, 3, 4, 5.0],
     "win_rate": [0.6, 0.6, 0.55, 0.7, 0.8, 0.65], "problem": [0, 0, 0, 0, 1, 1]}
)  # fmt: skip
TRAINED = pd.DataFrame({"step": [0, 1, 4], "time": [0.0, 0.1, 0.3], "kl": [0.0, 1.0, 1.2], "max_margin": [0.0, 2.0, 3]})
PAIR = [[0.5, 0.9], [0.1, 0.5]]
THREE = {"dpo": [0.7, 0.3], "ipo": [0.6, 0.4], "mine": [0.2, 0.8]}
CHARTS: dict[str, Callable[[Axes], Any]] = {
    "loss": lambda ax: plotting.plot_loss("dpo", ax),
    "loss scaled": lambda ax: plotting.plot_loss("ipo", ax, scaled=True, low=-2.0, high=3.0, points=11),
    "losses": lambda ax: plotting.plot_losses(["dpo", "slic"], ax),
    "losses scaled": lambda ax: plotting.plot_losses(["dpo", "ipo"], ax, scaled=True, zero_one=False),
    "zero one": lambda ax: plotting.plot_zero_one(ax),
    "curve": lambda ax: plotting.plot_curve("hinge", [0, 1], [2, 3], ax),
    "curve markers": lambda ax: plotting.plot_curve("ipo", [0, 1], [2, 3], ax, markers=True),
    "policy": lambda ax: plotting.plot_policy(THREE, [0.5, 0.5], ax),
    "policy named": lambda ax: plotting.plot_policy({"dpo": [0.7, 0.3]}, None, ax, labels=["$1", "no"]),
    "preference": lambda ax: plotting.plot_preference(PAIR, ax),
    "preference named": lambda ax: plotting.plot_preference(PAIR, ax, labels=["yes", "no"]),
    "heatmap": lambda ax: plotting.plot_heatmap([[0.0, np.nan], [0.6, 1.0]], ["l", "r"], [1, 2], ax, value="share"),
    "sweep": lambda ax: plotting.plot_sweep(SWEEP, "kl", ax),
    "sweep by": lambda ax: plotting.plot_sweep(SWEEP, "kl", ax, x="win_rate", by="problem"),
    "frontier": lambda ax: plotting.plot_frontier(SWEEP, ax),
    "landscape": lambda ax: plotting.plot_landscape([-1, 0, 1.0], [3, 1.0, 2], ax, minima=[0.0], label="mine", index=2),
    "landscape bare": lambda ax: plotting.plot_landscape([-1, 0, 1.0], [3, 1.0, 2], ax),
    "trajectory": lambda ax: plotting.plot_trajectory(TRAINED, ["kl", "max_margin"], ax, x="time"),
    "trajectory steps": lambda ax: plotting.plot_trajectory(TRAINED, ax=ax),
    "scores": lambda ax: plotting.plot_scores(["$a", "b"], [1.0, -1.0], [0.5, -np.inf], [np.inf, -0.5], ax),
    "scores none": lambda ax: plotting.plot_scores(["a"], [np.nan], [np.nan], [np.nan], ax, style="ipo"),
    "scores many": lambda ax: plotting.plot_scores([f"n{k}" for k in range(41)], *np.arange(123.0).reshape(3, 41), ax),
    "over beta": lambda ax: plotting.plot_result(SWEEP, ax),
    "over beta win rate": lambda ax: plotting.plot_result(SWEEP.drop(columns=["loss", "problem"]), ax, y="win_rate"),
    "over one beta": lambda ax: plotting.plot_result(SWEEP.iloc[:2], ax),
    "together": lambda ax: plotting.plot_result([example("tabular.Solution"), example("tabular.Solution")], ax),
}  # fmt: skip


def of_chart(made: Callable[[Axes], Any]) -> str:
    """What stands on the axes."""
    figure, ax = plt.subplots()
    try:
        made(ax)
        return "\n".join(line for one in figure.axes for line in _drawn(one))
    finally:
        plt.close(figure)


def _drawn(ax: Axes) -> list[str]:
    titles = [ax.get_title(loc) for loc in ("left", "center", "right")]
    lines = [f"axes: {titles} x {ax.get_xlabel()!r} {ax.get_xscale()} y {ax.get_ylabel()!r} {ax.get_yscale()}"]
    if ax.lines or ax.patches or ax.images:
        lines.append(f"limits: {' '.join(f'{x:.5g}' for x in (*ax.get_xlim(), *ax.get_ylim()))}")
    for axis in (ax.xaxis, ax.yaxis):
        lines.append(f"ticks: {[label.get_text() for label in axis.get_ticklabels()]}")
    legend = ax.get_legend()
    if legend is not None:
        lines.append(f"legend: {legend.get_title().get_text()!r} {[text.get_text() for text in legend.get_texts()]}")
    for line in ax.lines:
        data = "; ".join(_ends(part) for part in line.get_data())
        looks = (
            line.get_label(),
            line.get_color(),
            line.get_linestyle(),
            line.get_marker(),
            line.get_markerfacecolor(),
        )
        lines.append(f"line: {[str(one) for one in looks]} {len(np.asarray(line.get_xdata()))} points {data}")
    for patch in ax.patches:
        box = patch.get_bbox().bounds if hasattr(patch, "get_bbox") else ()
        lines.append(f"patch: {' '.join(f'{x:.4g}' for x in box)} hatch {patch.get_hatch()} {_colour(patch)}")
    for text in ax.texts:
        where = f"{text.get_horizontalalignment()} {text.get_verticalalignment()} {text.get_color()}"
        lines.append(f"text: {text.get_text()!r} at {' '.join(f'{x:.4g}' for x in text.get_position())} {where}")
    for image in ax.images:
        lines.append(
            f"image: {np.asarray(image.get_array()).round(6).tolist()} {image.get_cmap().name} {image.get_clim()}"
        )
    for group in ax.collections:
        segments = getattr(group, "get_segments", list)()
        lines.append(f"collection: {type(group).__name__} {np.asarray(segments).round(5).ravel().tolist()[:40]}")
    return lines


def _ends(values: Any) -> str:
    """The first, middle and last of some numbers."""
    part = np.asarray(values, float)
    return " ".join(f"{v:.5g}" for v in part[[0, len(part) // 2, -1]]) if len(part) else ""


def _colour(patch: Any) -> str:
    return " ".join(f"{x:.3g}" for x in patch.get_facecolor())


# -- the explorer ----------------------------------------------------------------------------------------------------

MIXED = ("dpo", "slic", "log(cosh(1-z))")
STATES: dict[str, dict[str, Any]] = {
    "losses": {"losses": (*MIXED, "abs(z-1) + abs(z)"), "view": "losses", "order": "6"},
    "link": {"losses": MIXED, "view": "link"},
    "policies": {"losses": MIXED, "view": "policies", "mu": "1, 2, 3", "reference": "3, 2, 1"},
    "policies cycle": {"losses": MIXED, "view": "policies", "by": "strength", "amount": "0.2", "preferences": "cycle",
                       "cycle": "0.3"},
    "policies matrix": {"losses": ("dpo",), "view": "policies", "preferences": "matrix"},
    "policies without": {"losses": ("dpo",), "view": "policies", "preferences": "matrix", "matrix": "0.5, 1; 0, 0.5"},
    "policies file": {"losses": ("ipo", "dpo"), "view": "policies", "preferences": "file", "file": "games.csv"},
    "regularizers": {"losses": ("ipo", "exp(-z)"), "view": "regularizers", "preferences": "annotators"},
    "training": {"losses": ("ipo", "savage"), "view": "training", "by": "strength", "amount": "0.1", "steps": "37",
                 "optimizer": "adam", "rate": "0.1", "step": "5"},
    "training flow": {"losses": ("dpo",), "view": "training", "steps": "20", "optimizer": "flow", "mu": "1, 1, 4"},
    "training rising": {"losses": ("ipo",), "view": "training", "rate": "1e3", "steps": "50"},
    "mixture": {"view": "mixture", "modes": "-2, 0.5, 3", "weights": "1, 2, 1", "width": "0.7", "mean": "0.5"},
    "mixture default": {"view": "mixture"},
}  # fmt: skip


@cache
def _games() -> Any:
    from gpo_analysis.preferences import read_comparisons

    with TemporaryDirectory() as folder:
        path = Path(folder, "games.csv")
        path.write_text(GAMES, encoding="utf-8")
        return read_comparisons(path)


def of_state(given: dict[str, Any]) -> str:
    """A view: its table, notes, facts, panels and script."""
    from gpo_analysis.explore import State, notes, script, table
    from gpo_analysis.explore.drawing import panels
    from gpo_analysis.explore.fields import betas_of
    from gpo_analysis.explore.words import facts_html

    state, files = State(**given), {"games.csv": _games()}
    rows = table(state, files)
    lines = ["# table", table_of(rows), "# notes", *notes(state, files)]
    lines += ["# facts", facts_html(state, betas_of(state)[0])] if state.view != "mixture" else []
    for panel in panels(state, files, rows):
        lines += ["# panel", *dumped(panel)]
    return "\n".join([*lines, "# script", script(state, files).replace(gpo.__version__, "VERSION")])


def of_page() -> str:
    """The page: every widget with what it says and offers; then, view by view, those that changed."""
    from gpo_analysis.explore import Explorer, State

    lines: list[str] = []
    states = [State(view=view, amount="2", step="24", steps="80") for view in VIEWS]
    states += [
        State(losses=("savage", "exp(-z)"), view="policies", by="strength", preferences="annotators"),
        State(losses=("dpo",), view="policies", preferences="file", file="games.csv"),
        State(losses=("dpo",), view="mixture", modes="-4, 2", shift="-20", weights="1, 2"),
        State(preferences="cycle", view="policies", amount="x", order="99"),
        State(view="training", rate="x", step="5"),
        State(view="training", steps="x", step="5"),
        State(view="training", step="x"),
        State(view="mixture", modes="x"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = Explorer(files={"games.csv": _games()})
        shown: set[str] = set()
        for state in states:
            page.load(state)
            now = [f"{k}: {line}" for k, line in enumerate([*_widgets(page), *_bokeh(page.plot.object)])]
            lines += [f"# {state.query()}", *(line for line in now if line not in shown)]
            shown = set(now)
        page.amount.value = 3
        page.movers[0].value = -2.5
        page.view.value = "link"
        lines += ["# moved", page.state.query(), *(one.filename for one in page.downloads)]
    return "\n".join(lines)


SAID = (
    "label", "name", "value", "options", "placeholder", "start", "end", "step", "object", "filename", "accept",
    "visible", "width", "sizing_mode",
)  # fmt: skip


def _widgets(page: Any) -> list[str]:
    lines = []
    for one in page.layout.select():
        said = {
            key: getattr(one, key)
            for key in SAID
            if hasattr(one, key)
        }  # fmt: skip
        kept = {key: value for key, value in said.items() if isinstance(value, str | int | float | list | dict | tuple)}
        if kept.get("name", "").startswith(type(one).__name__):
            kept.pop("name")
        lines.append(f"{type(one).__name__} {kept}")
    return lines


def _bokeh(row: Any) -> list[str]:
    lines = []
    for plot in row.children:
        ranges = [getattr(r, end, None) for r in (plot.x_range, plot.y_range) for end in ("start", "end")]
        lines.append(f"plot {plot.title.text!r} {plot.width} {plot.height} {plot.min_width} {ranges}")
        lines += [f"axis {type(axis).__name__} {axis.axis_label!r}" for axis in (*plot.xaxis, *plot.yaxis)]
        lines += [f"names {plot.xaxis[0].major_label_overrides} {plot.xaxis[0].major_label_orientation}"]
        lines += [f"tool {type(tool).__name__} {getattr(tool, 'tooltips', '')}" for tool in plot.toolbar.tools]
        for drawn in plot.renderers:
            glyph = drawn.glyph
            looks = [
                str(getattr(glyph, key, "")) for key in ("line_color", "line_dash", "line_width", "marker", "size")
            ]
            lines.append(f"glyph {drawn.name!r} {type(glyph).__name__} {looks} {len(drawn.data_source.data['x'])}")
        for legend in plot.legend:
            items = [item.label.value for item in legend.items]
            lines.append(f"legend {items} {legend.click_policy} {legend.ncols} {legend.padding} {legend.spacing}")
    return lines


PICTURES: Cases = {f"chart {name}": partial(of_chart, made) for name, made in CHARTS.items()}
PICTURES |= {f"explore {name}": partial(of_state, given) for name, given in STATES.items()}
PICTURES |= {"page": of_page}
