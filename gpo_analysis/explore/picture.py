"""A picture said once: panels of curves, which matplotlib draws for files and Bokeh on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.style import LossStyle, cycle_style, figure_style, loss_label, loss_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = {
    "o": "circle", "s": "square", "^": "triangle", "D": "diamond", "v": "inverted_triangle", "P": "plus", "X": "x",
    "*": "star", "p": "hex", "h": "hex", "|": "dash",
}  # fmt: skip


def styles_of(names: Sequence[str]) -> dict[str, LossStyle]:
    """A style a loss: its own, or where two would look alike the next one that is free.

    Examples
    --------
    >>> found = styles_of(["dpo", "logistic"])
    >>> found["dpo"] == loss_style("dpo"), found["logistic"] == found["dpo"]
    (True, False)
    """
    found: dict[str, LossStyle] = {}
    for name in names:
        wanted = [loss_style(name), *(cycle_style(k) for k in range(8))]
        taken = {one.color for one in found.values()}
        found[name] = next((one for one in wanted if one.color not in taken), wanted[0])
    return found


def label_of(name: str) -> str:
    """What a legend calls a loss, without matplotlib's escapes."""
    return loss_label(name).replace(r"\$", "$")


def as_matplotlib(panels: Sequence[Panel]) -> Figure:
    """The picture for a file."""
    with figure_style():
        figure, axes = new_figure(1, len(panels), height=3.2, squeeze=False)
        for panel, ax in zip(panels, axes[0], strict=True):
            for curve in panel.curves:
                more: dict[str, Any] = {"label": curve.label.replace("$", r"\$")} if curve.label else {}
                if curve.points:
                    look = curve.style.points(linestyle="none")
                else:
                    look = curve.style.line(linewidth=0.9 if curve.faint else 1.7)
                ax.plot(curve.x, curve.y, **look, **more)
            for at, color in panel.marks:
                ax.axvline(at, color=color, linewidth=0.9, linestyle=":")
            if "x" in panel.log:
                ax.set_xscale("log")
            if "y" in panel.log:
                ax.set_yscale("log")
            if panel.xlim:
                ax.set_xlim(*panel.xlim)
            if panel.ylim:
                ax.set_ylim(*panel.ylim)
            if panel.ticks:
                names = [name.replace("$", r"\$") for name in panel.ticks]
                ax.set_xticks(range(len(names)), names, rotation=0 if max(map(len, names)) < 5 else 45)
            ax.set_title(panel.title)
            ax.set_xlabel(panel.x)
            ax.set_ylabel(panel.y)
        seen = {text: handle for ax in axes[0] for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
        if seen:
            figure.legend(seen.values(), seen.keys(), loc="outside lower center", ncols=min(4, len(seen)))
    return figure


def as_bokeh(panels: Sequence[Panel], *, width: int = 470, height: int = 400) -> Any:
    """The picture for the page: a row of Bokeh figures, with the values under the pointer."""
    from bokeh.layouts import row
    from bokeh.models import HoverTool, Span
    from bokeh.plotting import figure

    drawn = []
    for panel in panels:
        plot = figure(
            width=width,
            height=height,
            title=panel.title,
            x_axis_label=panel.x,
            y_axis_label=panel.y,
            x_axis_type="log" if "x" in panel.log else "linear",
            y_axis_type="log" if "y" in panel.log else "linear",
            tools="pan,wheel_zoom,box_zoom,reset",
            active_scroll=None,
            sizing_mode="stretch_width",
            min_width=320,
            **({"x_range": panel.xlim} if panel.xlim else {}),
            **({"y_range": panel.ylim} if panel.ylim else {}),
        )
        for curve in panel.curves:
            _add(plot, curve)
        for at, color in panel.marks:
            plot.add_layout(Span(location=at, dimension="height", line_color=color, line_dash="dotted", line_width=1.5))
        if panel.ticks:
            plot.xaxis.ticker = list(range(len(panel.ticks)))
            plot.xaxis.major_label_overrides = dict(enumerate(panel.ticks))
            plot.xaxis.major_label_orientation = 0.0 if max(map(len, panel.ticks)) < 5 else 0.7
        plot.add_tools(HoverTool(tooltips=[("", "$name"), (panel.x, "$x{0.000 a}"), (panel.y, "$y{0.0000 a}")]))
        if plot.legend:
            legend = plot.legend[0]
            legend.click_policy = "hide"
            legend.background_fill_alpha = 0.7
            legend.label_text_font_size = "9pt"
            legend.padding, legend.spacing, legend.glyph_width = 4, 8, 34
            plot.add_layout(legend, "below")
            legend.ncols = 2
        plot.toolbar.logo = None
        drawn.append(plot)
    return row(*drawn, sizing_mode="stretch_width")


def _add(plot: Any, curve: Curve) -> None:
    x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float)
    named: dict[str, Any] = {"name": curve.label or " "} | ({"legend_label": curve.label} if curve.label else {})
    if curve.points:
        marker = _MARKERS.get(curve.style.marker, "circle")
        plot.scatter(x, y, size=9, marker=marker, color=curve.style.color, fill_alpha=0.35, line_width=2, **named)
        return
    dash = curve.style.linestyle
    width = 1.0 if curve.faint else 2.2
    pattern = "solid" if isinstance(dash, str) else [max(1, round(2 * part)) for part in dash[1]]
    plot.line(x, y, color=curve.style.color, line_dash=pattern, line_width=width, **named)
