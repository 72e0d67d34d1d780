"""Every kind of result that a public function returns shows itself: text, table, notebook, chart, whatever it holds."""

from __future__ import annotations

import dataclasses
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo
from gpo_analysis.showing import Shown
from tests.showing.results import EXAMPLES, NO_RESULTS, example, kinds, name_of


def test_the_list_of_results_is_complete() -> None:
    found = kinds()
    assert len(found) > 80
    plain = {kind.__name__ for kind in found if not issubclass(kind, Shown)}
    assert plain - set(NO_RESULTS) == set(), "results that do not show themselves; give them Shown, or say why not"
    assert set(NO_RESULTS) - plain == set(), "reasons for what is no more"
    shown = {name_of(kind) for kind in found if issubclass(kind, Shown)}
    assert shown - set(EXAMPLES) == set(), "results without an example"
    assert {name_of(type(example(name))) for name in EXAMPLES} == set(EXAMPLES)


#: What is one line as text, since it stands within sentences; `summary` has more.
LINES = {"losses.MarginLoss": str(gpo.get_loss("dpo")), "losses.TwoRatioLoss": str(gpo.get_loss("bco_pair"))}


def check(result: Any, name: str) -> None:
    text, table, page = result.summary(), result.to_frame(), result._repr_html_()
    assert isinstance(text, str)
    assert text.strip()
    if isinstance(result, pd.DataFrame):
        assert str(result) == repr(result) == repr(table if len(table.columns) == len(result.columns) else result)
    else:
        assert str(result) in (text, LINES.get(name))
        assert len(repr(result).splitlines()) <= 24, f"repr of {name} is no few lines"
    assert len(repr(result)) < 3000
    assert "array(" not in repr(result)
    assert "object at 0x" not in text + repr(result) + page
    assert len(table.columns) > 0
    assert all(isinstance(column, str) for column in table.columns)
    assert "<table" in page or "$" in page, "a table, or a formula"
    assert page.count("<table") == page.count("</table>")
    assert len(table) < 2 or 'class="dataframe"' in page or "$" in page, "rows are shown in a notebook"
    assert "<a>" not in page, "an item's name is HTML"


def has_plot(result: Any) -> bool:
    return type(result).plot is not Shown.plot or type(result)._panel is not Shown._panel


def check_plot(result: Any, name: str) -> None:
    if not has_plot(result):
        with pytest.raises(ValueError, match=f"{type(result).__name__} has no plot: "):
            result.plot()
        return
    figure, own = plt.subplots()
    ax = result.plot(ax=own)
    assert ax is own, "it draws on the axes it is given"
    assert ax.get_xlabel() or ax.get_ylabel(), "an axis says what it is"
    labelled = bool(ax.get_legend_handles_labels()[1])
    legend = ax.get_legend()
    assert labelled == (legend is not None)
    figure.canvas.draw()
    if legend is not None:
        box, axes = legend.get_window_extent(), ax.get_window_extent()
        assert box.x0 >= axes.x1, "the legend is beside the axes"
    if ax.get_xlabel().startswith("β") and ax.get_xlabel() != "β log π/πref  [nats]":
        assert ax.get_xscale() == "log"
    fresh = result.plot()
    assert fresh is not own


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_shows_itself(name: str) -> None:
    check(example(name), name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_draws_itself_or_says_why_not(name: str) -> None:
    check_plot(example(name), name)


def spoiled(result: Any, value: float, *, every: bool) -> Any:
    """The same with a value in its arrays and numbers: in all entries, or in the first."""
    if isinstance(result, pd.DataFrame):
        table = result.copy()
        for name in table.select_dtypes("float"):
            table.loc[table.index if every else table.index[:1], name] = value
        return table
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(result):
        held = getattr(result, field.name)
        if isinstance(held, np.ndarray) and held.dtype.kind == "f" and held.size:
            new = held.copy()
            new[... if every else (0,) * held.ndim] = value
            changed[field.name] = new
        elif isinstance(held, float):
            changed[field.name] = value
        elif isinstance(held, dict) and held and all(isinstance(v, np.ndarray) for v in held.values()):
            changed[field.name] = {
                key: np.full(len(v), value) if v.dtype.kind == "f" and key not in ("step", "time") else v
                for key, v in held.items()
            }
        elif isinstance(held, tuple) and held and all(dataclasses.is_dataclass(v) for v in held):
            changed[field.name] = tuple(spoiled(v, value, every=every) for v in held)
        elif isinstance(held, gpo.statistics.Interval):
            changed[field.name] = type(held)(value, value, value)
    copy = object.__new__(type(result))
    copy.__dict__.update({field.name: getattr(result, field.name) for field in dataclasses.fields(result)} | changed)
    return copy


#: Values that a class refuses when it is made, or that it computes from what it holds.
CHECKED = (
    "ranking.Ranking",
    "gaussian.GaussianMixture",
    "gaussian.Counterexample",
    "preferences.Comparisons",
    "estimation.TrainingLog",
    "tabular.PrefixTree",
    "ranking.ComparisonProblem",
    "preferences.Contests",
)


@pytest.mark.parametrize(("value", "every"), [(np.nan, True), (-np.inf, False), (1e300, False)])
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in CHECKED])
@pytest.mark.filterwarnings("ignore:.*invalid value|.*overflow|.*divide by zero:RuntimeWarning")
def test_it_shows_and_draws_what_has_run_away(name: str, value: float, every: bool) -> None:
    result = spoiled(example(name), value, every=every)
    check(result, name)
    if not has_plot(result):
        return
    ax = result.plot()
    ax.figure.draw_without_rendering()
    for low, high in (ax.get_xlim(), ax.get_ylim()):
        assert np.isfinite([low, high]).all()
        assert low != high
