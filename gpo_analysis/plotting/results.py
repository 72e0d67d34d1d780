"""Drawing whatever a function of the library returned: a result, several of one kind, or a table over β."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel
from gpo_analysis.showing.draw import draw
from gpo_analysis.showing.shown import axes_for
from gpo_analysis.showing.style import cycle_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_result(result: Any, ax: Axes | None = None, *, y: str | None = None) -> Axes:
    """Draw what a function of the library returned: what its own ``plot`` draws, and beyond it lists and tables.

    Parameters
    ----------
    result : Shown, sequence of Shown, or DataFrame
        Any result; several whose charts have the same axes (runs of `train_many`, say), each in a style of its own; or
        a table with a column ``beta``, as `solve_grid` makes it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    y : str, optional
        Of a table over β: the column that is drawn, KL by default.

    Raises
    ------
    ValueError
        For another type, a result without a chart, charts that do not go together, or a table without the columns.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> plot_result(gpo.analyze("dpo")).get_xlabel()
    'margin z = βρ'
    >>> problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> plot_result(gpo.solve_grid(problem, ["dpo", "ipo"], [0.1, 1.0, 10.0])).get_xscale()
    'log'
    """
    is_table = hasattr(result, "columns") and hasattr(result, "groupby")
    if isinstance(result, Shown) and not (is_table and y is not None):
        return result.plot(ax)
    if isinstance(result, Sequence) and result and all(isinstance(one, Shown) for one in result):
        panel = _together(result)
    elif is_table:
        from gpo_analysis.showing.tables import over_beta

        panel = over_beta(result, y)
    else:
        raise ValueError(
            f"a {type(result).__name__} cannot be drawn; accepted are results of this library, lists of them, and "
            "tables with a column beta"
        )
    with axes_for(ax) as drawn_on:
        return draw(panel, drawn_on)


def _together(results: Sequence[Shown]) -> Panel:
    panels = [one._panel() for one in results]
    first = panels[0]
    if any((p.x, p.y, p.ticks, p.rows) != (first.x, first.y, first.ticks, first.rows) or p.cells for p in panels):
        raise ValueError("these results do not go on one pair of axes; draw each by its own plot(ax=)")
    styled = [
        replace(curve, label=f"{k + 1}: {curve.label}".rstrip(": "), style=cycle_style(k), faint=j > 0)
        for k, panel in enumerate(panels)
        for j, curve in enumerate(panel.curves)
    ]
    return replace(first, title=f"{len(panels)} results", curves=styled, marks=(), bands=())
