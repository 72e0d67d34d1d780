"""Tables that are results: a pandas DataFrame in every way, which shows itself as other results do.

A function that computes a table returns a `ResultTable`: ``summary()``, ``to_frame()`` (the plain DataFrame) and
``plot(ax=)`` say what the table is about, where pandas' own plot would draw columns over row numbers. Rows taken from
it stay what they are while the columns that its chart needs are there; anything else is a plain DataFrame.

The only module of this package that imports pandas: functions import it when they make a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from pandas.plotting import PlotAccessor

from gpo_analysis.arrays import FloatArray
from gpo_analysis.showing.charts import Curve, Panel, intervals
from gpo_analysis.showing.shown import Shown, axes_for, table_text
from gpo_analysis.showing.style import cycle_style, loss_label, loss_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = {
    "kl": "KL(π‖πref)  [nats]",
    "mu_squared_loss": "½E_μ[ρ²]  [nats²]",
    "population_loss": "E f(βρ)",
    "max_margin": "largest |βρ|",
}
_ABOVE = ("kl", "mu_squared_loss")  # drawn on a logarithmic axis
_MOST_REASONS = 6
_APART = 0.015  # decades of β between the ranges of two losses


class ResultPlot(PlotAccessor):
    """``table.plot(ax=)`` draws what the table is about; with ``x=`` or ``kind=``, or ``.plot.scatter``, pandas'."""

    def __init__(self, data: ResultTable) -> None:
        super().__init__(data)
        self._table = data

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Draw the table's chart.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.
        y : str, optional
            Of a grid over β: the column that is drawn, KL by default.
        by : str, optional
            Of a grid: the column that has a curve for each of its values, the losses by default.

        Raises
        ------
        ValueError
            For an option that is neither this chart's nor goes with ``x=`` or ``kind=``.
        """
        given = len(args) == 1 and (args[0] is None or hasattr(args[0], "get_xscale"))
        if (args and not given) or {"x", "kind"} & set(options) or not self._table._is_whole:
            return super().__call__(*args, **options)
        if args and "ax" in options:
            raise ValueError("ax is given twice")
        ax = args[0] if args else options.pop("ax", None)
        known = self._table._options
        if unknown := sorted(set(options) - set(known)):
            accepted = " and ".join(f"{name}=" for name in ("ax", *known))
            raise ValueError(
                f"plot of a {type(self._table).__name__} takes {accepted}, not {unknown[0]!r}; with x= or kind= it is "
                "pandas' own and takes all that pandas does"
            )
        return self._table._draw(ax, **options)


class ResultTable(pd.DataFrame, Shown):
    """A DataFrame that is a result; see this module."""

    #: Columns without which it is a plain DataFrame.
    _needed: ClassVar[frozenset[str]] = frozenset()
    #: What ``plot`` takes besides ``ax``.
    _options: ClassVar[tuple[str, ...]] = ()
    #: The columns of its summary's rows; all by default.
    _brief: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.__repr__ = pd.DataFrame.__repr__  # type: ignore[assignment,method-assign]

    __repr__ = pd.DataFrame.__repr__
    __str__ = pd.DataFrame.__repr__

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        kind = type(self)

        def made(*args: Any, **options: Any) -> pd.DataFrame:
            table = pd.DataFrame(*args, **options)
            return kind(table) if kind._needed <= set(table.columns) else table

        return made

    @property
    def plot(self) -> ResultPlot:
        """Draw it: see `ResultPlot`."""
        return ResultPlot(self)

    @property
    def _is_whole(self) -> bool:
        """Whether the columns are there that make it a result: set_index, pop and del take them from it in place."""
        return self._needed <= set(self.columns)

    def to_frame(self) -> pd.DataFrame:
        """The same as a plain DataFrame."""
        return pd.DataFrame(self)

    def summary(self) -> str:
        """What the table is about, its first rows, and why cells have no value."""
        return super().summary() if self._is_whole else str(self.to_frame())

    def _notes(self) -> list[str]:
        return []

    def _table_text(self, most: int) -> list[str]:
        table = self.to_frame()
        known = [name for name in self._brief if name in table.columns] or list(table.columns)
        return table_text(table[known], most) if len(table) else []

    def _draw(self, ax: Axes | None, **options: Any) -> Axes:
        from gpo_analysis.showing.draw import draw

        panel = self._panel(**options)
        with axes_for(ax) as drawn_on:
            if ax is None and len(panel.rows) > 12:
                drawn_on.figure.set_figheight(1.0 + 0.17 * len(panel.rows))  # type: ignore[union-attr]
            return draw(panel, drawn_on)


class SolutionGrid(ResultTable):
    """Optima over problems × losses × β: what `gpo_analysis.solve_grid` returns.

    ``plot(ax=, y=, by=)`` draws KL(π‖πref), or the column ``y``, over β with a line a loss, or a value of the column
    ``by``; of several problems the median, and the range from the least to the largest.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> grid = gpo.solve_grid(problem, ["dpo", "ipo"], [0.1, 1.0, 10.0])
    >>> ax = grid.plot()
    >>> ax.get_xlabel(), ax.get_xscale(), len(ax.lines)
    ('β', 'log', 2)
    >>> type(grid[grid["loss"] == "squared"]).__name__, type(grid[["kl"]]).__name__
    ('SolutionGrid', 'DataFrame')
    """

    _needed = frozenset({"loss", "beta"})
    _options = ("y", "by")
    _brief = ("problem", "loss", "beta", "link", "kl", "mu_squared_loss", "max_margin", "status")

    def _facts(self) -> list[tuple[str, Any]]:
        facts: list[tuple[str, Any]] = [("problems", self["problem"].nunique())] if "problem" in self else []
        facts.append(("losses", ", ".join(map(str, self["loss"].unique()))))
        betas = pd.to_numeric(self["beta"], errors="coerce").dropna().unique()
        if len(betas):
            low, high = f"{min(betas):g}", f"{max(betas):g}"
            facts.append(("β", low if len(betas) == 1 else f"{low} to {high}, {len(betas)} values"))
        if "link" in self and list(self["link"].unique()) not in ([], ["reverse_kl"]):
            facts.append(("link", ", ".join(map(str, self["link"].unique()))))
        if "converged" in self:
            facts.append(("with an optimum", f"{int(self['converged'].sum())} of {len(self)} cells"))
        return facts

    def _notes(self) -> list[str]:
        if not {"converged", "status", "reason"} <= set(self.columns):
            return []
        bad = self.to_frame()[~self["converged"].astype(bool)]
        lines = [
            f"{loss}: {status} in {len(rows)} cell{'s' * (len(rows) > 1)}" + (f" ({reason})" if reason else "")
            for (loss, status, reason), rows in bad.groupby(["loss", "status", "reason"], sort=False)
        ]
        more = [f"{len(lines) - _MOST_REASONS} more reasons: columns status and reason"] * (len(lines) > _MOST_REASONS)
        return lines[:_MOST_REASONS] + more

    def _panel(self, y: str | None = None, by: str | None = None) -> Panel:
        return over_beta(self, y, by)


class ScoreDifferences(ResultTable):
    """Differences of scores, a row a pair: what `Ranking.differences` returns; its plot has their intervals."""

    _needed = frozenset({"first", "second", "difference", "low", "high"})

    def _facts(self) -> list[tuple[str, Any]]:
        apart = ((self["low"] > 0) | (self["high"] < 0)).sum()
        return [("pairs", len(self)), ("intervals without 0", int(apart))]

    def _panel(self) -> Panel:
        names = [f"{first} − {second}" for first, second in zip(self["first"], self["second"], strict=True)]
        ends = (self[end].to_numpy(dtype=float) for end in ("difference", "low", "high"))
        return intervals("differences of scores", "difference of scores", names, *ends, level=0.0)


class ModelComparison(ResultTable):
    """Models on the same held-out votes: what `ranking.compare_models` returns; its plot has how far each is behind."""

    _needed = frozenset({"log_likelihood", "behind", "behind_low", "behind_high"})

    def _facts(self) -> list[tuple[str, Any]]:
        best = self["log_likelihood"].idxmax() if self["log_likelihood"].notna().any() else "none"
        return [("models", len(self)), ("best", str(best))]

    def to_frame(self) -> pd.DataFrame:
        """The same as a plain DataFrame, the models' names in a column."""
        return pd.DataFrame(self).rename_axis("model").reset_index()

    def _panel(self) -> Panel:
        ends = (self[end].to_numpy(dtype=float) for end in ("behind", "behind_low", "behind_high"))
        x = "held-out log-likelihood a vote, behind the best  [nats]"
        return intervals("models on the same held-out votes", x, list(map(str, self.index)), *ends, level=0.0)


def over_beta(table: pd.DataFrame, y: str | None = None, by: str | None = None) -> Panel:
    """A column over β, a curve a loss; where a curve has several rows at a β, their median and range.

    Parameters
    ----------
    table : DataFrame
        With the columns ``beta`` and ``y``; ``loss``, ``link`` and ``problem`` are understood.
    y : str, optional
        KL by default, or the first column of numbers there is.
    by : str, optional
        Another column that tells curves apart.

    Raises
    ------
    ValueError
        For a missing column, or one that holds no numbers.
    """
    for name, column in (("y", y), ("by", by)):
        if column is not None and not isinstance(column, str):
            raise ValueError(f"{name} is {column!r}; accepted is the name of a column")
    y = _first_numbers(table) if y is None else y
    missing = [name for name in ("beta", y, *filter(None, [by])) if name not in table.columns]
    if missing:
        raise ValueError(f"no column {missing[0]!r}; the table has {', '.join(map(str, table.columns))}")
    if not pd.api.types.is_numeric_dtype(table[y]):
        raise ValueError(f"column {y!r} holds no numbers; those that do: {', '.join(_numbers(table))}")
    told = [
        name for name in ("loss", "link") if name in table.columns and (name == "loss" or table[name].nunique() > 1)
    ]
    told = told if by is None else [by]
    groups = table.groupby(told, sort=False) if told else [((), table)]
    curves, most = [], 1
    for k, (names, rows) in enumerate(groups):
        at, values, low, high, count = _by_beta(rows, y)
        loss, *link = map(str, names) if isinstance(names, tuple) and names else [""]
        own = by is None or by == "loss"
        label = ", ".join(filter(None, (loss_label(loss) if loss else "", *link))) if own else f"{by} = {loss}"
        style = loss_style(loss) if own and not link else cycle_style(k)
        ends = (low, high) if count > 1 else (None, None)
        curves.append(Curve(at, values, label, style, len(at) == 1, low=ends[0], high=ends[1]))
        most = max(most, count)
    if most > 1:  # side by side, so that one range does not hide another
        curves = [
            replace(curve, aside=10.0 ** (_APART * (k - (len(curves) - 1) / 2))) for k, curve in enumerate(curves)
        ]
    log = "xy" if y in _ABOVE else "x"
    note = ""
    if most > 1:
        named = "problem" in table.columns and table["problem"].nunique() == most
        without = int(table[y].isna().sum())
        beside = " (side by side)" if len(curves) > 1 else ""
        note = f"median and range{beside} of {most} {'problems' if named else 'rows'}"
        note += f"; {without} of {len(table)} cells have no value" if without else ""
    return Panel("at the optimum, over β", "β", _UNITS.get(y, y.replace("_", " ")), curves, log=log, note=note)


def _numbers(table: pd.DataFrame) -> list[str]:
    """Columns that can be drawn over β."""
    kinds = {str(name): kind for name, kind in table.dtypes.items() if name not in ("beta", "problem")}
    return [
        name for name, kind in kinds.items()
        if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
    ]  # fmt: skip


def _first_numbers(table: pd.DataFrame) -> str:
    found = [name for name in _UNITS if name in table.columns] or _numbers(table)
    if not found:
        raise ValueError(f"no column of numbers beside beta; the table has {', '.join(map(str, table.columns))}")
    return found[0]


def _by_beta(rows: pd.DataFrame, y: str) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, int]:
    """β in order; median, least and largest of what there is at each; the most rows at one."""
    beta, values = (rows[name].to_numpy(dtype=np.float64) for name in ("beta", y))
    at, place = np.unique(beta[np.isfinite(beta)], return_inverse=True)
    parts = [values[np.isfinite(beta)][place == k] for k in range(len(at))]
    known = [part[~np.isnan(part)] for part in parts]
    found = [[float(of(part)) if len(part) else np.nan for part in known] for of in (np.median, np.min, np.max)]
    middle, low, high = (np.array(one, dtype=np.float64) for one in found)
    return at, middle, low, high, max((len(part) for part in parts), default=0)
