"""Drawing whatever a function of the library returned: a result, several of one kind, or a table over β."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Curve, Panel
from gpo_analysis.showing.draw import draw
from gpo_analysis.showing.shown import axes_for
from gpo_analysis.showing.style import cycle_style, loss_label, loss_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_UNITS = {
    "kl": "KL(π‖πref)  [nats]",
    "mu_squared_loss": "½E_μ[ρ²]  [nats²]",
    "population_loss": "E f(βρ)",
    "max_margin": "largest |βρ|",
}
_ABOVE = ("kl", "mu_squared_loss")  # drawn on a logarithmic axis


def plot_result(result: Any, ax: Axes | None = None, *, y: str = "kl") -> Axes:
    """Draw what a function of the library returned: what its own ``plot`` draws, and beyond it lists and tables.

    Parameters
    ----------
    result : Shown, sequence of Shown, or DataFrame
        Any result; several whose charts have the same axes (runs of `train_many`, say), each in a style of its own; or
        a table with a column ``beta``, as `solve_grid` makes it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    y : str
        Of a table: the column that is drawn over β.

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
    if isinstance(result, Shown):
        return result.plot(ax)
    if isinstance(result, Sequence) and result and all(isinstance(one, Shown) for one in result):
        panel = _together(result)
    elif hasattr(result, "columns") and hasattr(result, "groupby"):
        panel = _over_beta(result, y)
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


def _over_beta(table: pd.DataFrame, y: str) -> Panel:
    missing = [name for name in ("beta", y) if name not in table.columns]
    if missing:
        raise ValueError(f"no column {missing[0]!r}; the table has {', '.join(map(str, table.columns))}")
    several = "problem" in table.columns and table["problem"].nunique() > 1
    if several:
        table = table[table["problem"] == table["problem"].iloc[0]]
    groups = table.groupby("loss", sort=False) if "loss" in table.columns else [("", table)]
    curves = []
    for name, rows in groups:
        ordered, label = rows.sort_values("beta"), str(name)
        at, values = (ordered[column].to_numpy(dtype=float) for column in ("beta", y))
        curves.append(Curve(at, values, loss_label(label), loss_style(label), points=len(at) == 1))
    note = "of the first problem" if several else ""
    log = "xy" if y in _ABOVE else "x"
    return Panel("at the optimum, over β", "β", _UNITS.get(y, y.replace("_", " ")), curves, log=log, note=note)
