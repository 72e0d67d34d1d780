"""Charts: what has run away is at the edge and counted, scales fit, nothing to draw is said."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.plotting import plot_result
from gpo_analysis.showing.charts import Curve, Panel, bars, intervals, lines, policies
from gpo_analysis.showing.style import cycle_style
from tests.showing.panels import drawn


def note_of(ax: plt.Axes) -> str:
    return " ".join(text.get_text() for text in ax.texts)


def test_runaway_points_are_clipped_and_counted() -> None:
    y = np.concatenate([np.linspace(0.0, 1.0, 20), [1e9, np.inf, np.nan, -1e7]])
    ax = drawn(lines("t", "step", "nats", np.arange(24.0), {"a": y}))
    low, high = ax.get_ylim()
    assert -0.2 < low < 0 < 1 < high < 1.2
    assert note_of(ax) == "3 values beyond the axes (at the edge, 1 infinite); 1 without a value"
    edges = {float(v) for line in ax.lines if line.get_linestyle() == "None" for v in np.atleast_1d(line.get_ydata())}
    assert edges == {low, high}


def test_nothing_is_clipped_without_need() -> None:
    y = np.array([0.0, 0.1, 0.3, 1.0, 2.0, 5.0])
    ax = drawn(lines("t", "step", "nats", np.arange(6.0), {"a": y}))
    assert ax.get_ylim()[1] > 5.0
    assert note_of(ax) == ""


def test_a_logarithmic_axis_says_what_it_lacks() -> None:
    ax = drawn(lines("t", "β", "nats", [0.1, 1.0, 10.0, 100.0], {"a": [1.0, 0.1, 0.0, -1.0]}, log="xy"))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert note_of(ax) == "2 not above 0, which a logarithmic axis lacks"


def test_on_a_logarithmic_axis_a_far_x_is_left_out_and_counted() -> None:
    ax = drawn(lines("t", "β", "nats", [0.1, 1.0, 10.0, 1e300], {"a": [1.0, 0.1, 0.01, 0.0]}, log="xy"))
    assert ax.get_xlim()[1] < 20.0
    assert note_of(ax) == "1 point with β beyond the axis"
    ax = drawn(lines("t", "β", "nats", [1e-3, 1.0, 1e3], {"a": [1.0, 0.1, 0.01]}, log="xy"))
    assert note_of(ax) == ""


@pytest.mark.parametrize("values", [[], [np.nan], [np.nan, np.nan]])
def test_nothing_to_draw_is_said(values: list[float]) -> None:
    ax = drawn(lines("t", "step", "nats", np.arange(len(values)), {"a": values}))
    assert "no value can be drawn" in note_of(ax)


def test_one_point_is_a_marker_and_open_intervals_reach_the_edge() -> None:
    ax = drawn(lines("t", "step", "nats", [0.0], {"a": [1.0]}))
    assert ax.lines[0].get_marker() == "o"
    ax = drawn(intervals("t", "score", ["a", "b"], [0.0, 1.0], [-np.inf, 0.5], [0.5, np.inf]))
    (segments,) = (part.get_segments() for part in ax.collections)
    low, high = ax.get_xlim()
    assert segments[0][0, 0] == low
    assert segments[1][1, 0] == high
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first is at the top"


def test_names_of_items_cannot_break_a_chart() -> None:
    names = ["$x$ and \\frac", "a" * 200, "line\nbreak", "\x1b[31m"]
    ax = drawn(bars("a $ title", "", "p", names, {"$y": np.ones(4)}))
    ax.figure.canvas.draw()
    assert max(len(text.get_text()) for text in ax.get_xticklabels()) < 45


def test_more_items_than_fit_are_counted() -> None:
    ax = drawn(intervals("t", "score", [str(k) for k in range(500)], np.arange(500.0)))
    assert "of 500" in note_of(ax)
    assert len(ax.get_yticklabels()) < 150


def test_of_many_responses_the_most_probable_are_drawn() -> None:
    policy = np.full(200, 0.1 / 199)
    policy[150] = 0.9
    names = [f"r{k}" for k in range(200)]
    ax = drawn(policies(names, np.full(200, 1 / 200), {"dpo": policy}, "t"))
    assert max(bar.get_height() for bar in ax.patches) == 0.9
    assert "r150" in [text.get_text() for text in ax.get_xticklabels()]
    assert "the 40 most probable of 200" in note_of(ax)


def test_a_steep_loss_shows_what_lies_around_zero() -> None:
    assert gpo.analyze("exp(-10*z)").plot().get_ylim()[1] < 400


def test_short_decades_have_plain_numbers() -> None:
    ax = drawn(intervals("t", "β", ["a", "b"], [0.3, 0.9], [0.2, 0.8], [0.4, 1.2], log="x"))
    ax.figure.canvas.draw()
    assert "0.5" in [text.get_text() for text in ax.get_xticklabels()]


def test_a_band_a_level_and_a_range() -> None:
    z = np.linspace(-1, 1, 5)
    curve = Curve(z, np.array([0.0, np.inf, 2.0, 3.0, 50.0]), "f", cycle_style(0))
    ax = drawn(Panel("t", "z", "f", [curve], ylim=(0.0, 4.0), bands=[(-0.5, 0.5, "radius")], level=1.0))
    assert ax.get_ylim() == (0.0, 4.0)
    assert "1 infinite" in note_of(ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["f", "radius"]


def test_lists_and_tables_are_drawn() -> None:
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0]))
    runs = gpo.train_many([problem], ["dpo", "ipo"], [1.0], steps=5, learning_rate=0.1)
    ax = plot_result(runs)
    assert len(ax.get_legend().get_texts()) == 4
    grid = gpo.solve_grid(problem, ["dpo", "ipo"], [0.1, 1.0, 10.0])
    ax = plot_result(grid)
    assert (ax.get_xscale(), ax.get_yscale(), len(ax.lines)) == ("log", "log", 2)
    assert list(ax.lines[0].get_ydata()) == pytest.approx(list(grid[grid["loss"] == "logistic"]["kl"]))
    with pytest.raises(ValueError, match="no column 'win_rate'"):
        plot_result(grid, y="win_rate")
    with pytest.raises(ValueError, match="a int cannot be drawn"):
        plot_result(3)
    with pytest.raises(ValueError, match="do not go on one pair of axes"):
        plot_result([runs[0], problem.solve("dpo", 1.0)])
