"""Charts and texts at the edges of their rules: what is just drawn, written and named, and what just is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from gpo_analysis.showing.charts import Cells, Curve, Panel, bars, intervals, lines, policies
from gpo_analysis.showing.draw import figure_of
from gpo_analysis.showing.heatmaps import plot_heatmap
from gpo_analysis.showing.shown import Shown, table_text, without_noise
from gpo_analysis.showing.style import cycle_style, loss_label, loss_style
from tests.showing.panels import drawn


def over(y: Any, log: str = "", x: str = "t") -> plt.Axes:
    return drawn(lines("", x, "y", np.arange(len(y), dtype=float), {"a": y}, log=log))


def note_of(ax: plt.Axes) -> str:
    return " ".join(text.get_text() for text in ax.texts)


def edge_marks(ax: plt.Axes) -> dict[str, list[tuple[float, float]]]:
    """Points at the edges by their markers: those that are not clipped."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in ax.lines:
        if not line.get_clip_on():
            found.setdefault(str(line.get_marker()), []).extend(map(tuple, np.asarray(line.get_xydata()).tolist()))
    return found


# -- the range of an axis ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "log", "limits"),
    [
        ([0.0, 10.0, np.inf], "", (-0.4, 10.4)),  # a margin of 4 % on either side
        ([3.0, 3.0, np.inf], "", (2.85, 3.15)),
        ([-3.0, -3.0, np.inf], "", (-3.15, -2.85)),
        ([0.0, 0.0, np.inf], "", (-1.0, 1.0)),
        ([1.0, 100.0, np.inf], "y", (10**-0.08, 10**2.08)),
        ([100.0, 100.0, np.inf], "y", (10**1.5, 10**2.5)),
        ([np.nan], "", (-1.0, 1.0)),
        ([-1.0], "y", (0.1, 10.0)),
    ],
)
def test_the_range_of_values_has_a_margin(values: list[float], log: str, limits: tuple[float, float]) -> None:
    assert over(values, log).get_ylim() == pytest.approx(limits)


@pytest.mark.parametrize(
    ("far", "runs_away"), [(64.4, False), (64.6, True), (-61.4, False), (-61.6, True), (1e300, True)]
)
def test_a_value_has_run_away_from_25_quartile_distances_on(far: float, runs_away: bool) -> None:
    """0 … 4 and one more: the median is 2 and the quartiles 2.5 apart (from below: 0.25 and 2.75, with a lower middle
    of 1), so that reach is 62.5."""
    ax = over([0.0, 1.0, 2.0, 3.0, 4.0, far])
    assert note_of(ax) == ("1 value beyond the axes (at the edge)" if runs_away else "")
    low, high = ax.get_ylim()
    assert (low <= far <= high) != runs_away
    marker, edge = ("^", high) if far > 0 else ("v", low)
    assert edge_marks(ax) == ({marker: [(5.0, edge)]} if runs_away else {})


@pytest.mark.parametrize(("far", "runs_away"), [(0.99e12, False), (1.02e12, True), (1.01e-12, False), (0.98e-12, True)])
def test_on_a_logarithmic_axis_from_twelve_decades_on(far: float, runs_away: bool) -> None:
    ax = over([1.0, 1.0, 1.0, 1.0, far], "y")
    assert note_of(ax) == ("1 value beyond the axes (at the edge)" if runs_away else "")
    ax = drawn(lines("", "β", "y", [1.0, 1.0, 1.0, 1.0, far], {"a": np.ones(5)}, log="x"))
    assert note_of(ax) == ("1 point with β beyond the axis" if runs_away else "")


def test_what_runs_away_is_counted_over_all_curves() -> None:
    y = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    many = {"a": [*y, 1e9, -1e9], "b": [*y, 1e9, np.nan], "c": [*y, -np.inf, np.inf]}
    ax = drawn(lines("", "t", "y", np.arange(7.0), many))
    assert note_of(ax) == "5 values beyond the axes (at the edge, 2 infinite); 1 without a value"
    low, high = ax.get_ylim()
    found = edge_marks(ax)
    assert sorted(found["^"]) == [(5.0, high), (5.0, high), (6.0, high)]
    assert sorted(found["v"]) == [(5.0, low), (6.0, low)]
    two = drawn(lines("", "β", "y", [0.1, 1.0, 1e30, 1e40], {"a": np.ones(4)}, log="x"))
    assert note_of(two) == "2 points with β beyond the axis"
    assert note_of(over([1.0, 0.0, -1.0, np.nan, 2.0], "y")) == (
        "1 without a value; 2 not above 0, which a logarithmic axis lacks"
    )


def test_a_line_may_leave_limits_that_are_given_points_and_bars_may_not() -> None:
    x, y = np.arange(4.0), np.array([0.5, 2.0, -2.0, 0.0])
    for kind, beyond in ({}, False), ({"points": True}, True), ({"bars": True}, True):
        ax = drawn(Panel("", "x", "y", [Curve(x, y, "a", cycle_style(0), **kind)], ylim=(-1.0, 1.0)))
        assert ax.get_ylim() == (-1.0, 1.0)
        assert note_of(ax) == ("2 values beyond the axes (at the edge)" if beyond else "")
        assert edge_marks(ax) == ({"^": [(1.0, 1.0)], "v": [(2.0, -1.0)]} if beyond else {})
        if "bars" in kind:
            assert [bar.get_height() for bar in ax.patches] == [0.5, 1.0, -1.0, 0.0]


def test_ends_that_are_infinite_are_arrows_outwards() -> None:
    low, high = np.array([-np.inf, 0.5, np.nan]), np.array([0.5, np.inf, 1.0])
    ax = drawn(intervals("", "score", ["a", "b", "c"], [0.0, 1.0, 0.5], low, high))
    left, right = ax.get_xlim()
    assert edge_marks(ax) == {"<": [(left, 0.0)], ">": [(right, 1.0)]}
    (put,) = ax.collections
    assert [segment[:, 0].tolist() for segment in put.get_segments()] == [[left, 0.5], [0.5, right]]
    curve = Curve(np.arange(3.0), np.array([0.0, 1.0, 0.5]), "a", cycle_style(0), low=low, high=high)
    ax = drawn(Panel("", "x", "y", [curve]))
    bottom, top = ax.get_ylim()
    assert edge_marks(ax) == {"v": [(0.0, bottom)], "^": [(1.0, top)]}


def test_marks_levels_bands_and_scales() -> None:
    curve = Curve(np.array([1.0, 2.0]), np.array([-5.0, 5.0]), "f", cycle_style(0))
    panel = Panel(
        "", "z", "f", [curve], xlim=(0.0, 3.0), symlog=True, level=1.5, marks=[(1.25, "#123456")],
        bands=[(0.5, 0.75, "here")],
    )  # fmt: skip
    ax = drawn(panel)
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlim()) == ("linear", "symlog", (0.0, 3.0))
    upright = [line for line in ax.lines if list(line.get_xdata()) == [1.25, 1.25]]
    assert [to_hex(line.get_color()) for line in upright] == ["#123456"]
    assert [list(line.get_ydata()) for line in ax.lines if list(line.get_xdata()) == [0, 1]] == [[1.5, 1.5]]
    assert [(band.get_x(), band.get_width()) for band in ax.patches] == [(0.5, 0.25)]
    faint = drawn(Panel("", "z", "f", [Curve(curve.x, curve.y, "", cycle_style(0), faint=True)]))
    assert faint.lines[0].get_linewidth() < ax.lines[0].get_linewidth()
    assert faint.get_legend() is None


@pytest.mark.parametrize("x", ["step", "record"])
def test_steps_and_records_are_whole(x: str) -> None:
    ax = over([1.0, 2.0, 3.0], x=x)
    assert all(float(tick).is_integer() for tick in ax.get_xticks())
    assert not all(float(tick).is_integer() for tick in over([1.0, 2.0, 3.0], x="time").get_xticks())


@pytest.mark.parametrize(("high", "plain"), [(9.0, True), (90.0, True), (900.0, True), (2000.0, False)])
def test_less_than_three_decades_have_plain_numbers(high: float, plain: bool) -> None:
    ax = drawn(
        Panel("", "x", "y", [Curve(np.arange(2.0), np.array([1.0, high]), "", cycle_style(0))], "y", ylim=(1.0, high))
    )
    ax.figure.canvas.draw()
    words = [text.get_text() for text in ax.get_yticklabels()]
    assert all("$" not in word for word in words) == plain
    if plain:
        assert {"1", "2", "5"} <= set(words)
        assert ("3" in words) == (high < 10)
        assert not [text.get_text() for text in ax.get_yticklabels(minor=True) if text.get_text()]


# -- names, titles, heat maps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "length", "rotation"), [(7, 10, 0.0), (7, 11, 45.0), (24, 2, 0.0), (24, 3, 45.0), (25, 1, 90.0)]
)
def test_names_below_an_axis_turn_where_they_would_overlap(count: int, length: int, rotation: float) -> None:
    names = [f"{k:x}".rjust(length, "n")[:length] for k in range(count)]
    ax = drawn(bars("", "", "p", names, {"a": np.ones(count)}))
    assert {text.get_rotation() for text in ax.get_xticklabels()} == {rotation}
    assert [text.get_text() for text in ax.get_xticklabels()] == names


def test_rows_are_from_the_top_and_many_are_smaller() -> None:
    sizes = []
    for n in (30, 31):
        ax = drawn(intervals("", "x", [f"r{k}" for k in range(n)], np.arange(float(n))))
        assert ax.get_ylim() == (n - 0.4, -0.6)
        assert list(ax.lines[0].get_ydata()) == list(range(n))
        sizes.append(ax.get_yticklabels()[0].get_fontsize())
    assert sizes[1] < sizes[0]
    few, many = (figure_of(intervals("", "x", ["r"] * n, np.ones(n))).get_figheight() for n in (5, 40))
    assert (few, many) == pytest.approx((3.2, 1.0 + 0.17 * 40))


def test_a_long_title_is_broken_and_nothing_is_a_formula() -> None:
    ax = drawn(Panel(("word " * 20).strip() + " $end", "x", "y", [Curve(np.ones(1), np.ones(1), "$c", cycle_style(0))]))
    first, second = ax.get_title(loc="left").split("\n")
    assert (first, second) == (("word " * 16).strip(), ("word " * 4).strip() + r" \$end")
    assert ax.get_legend().get_texts()[0].get_text() == r"\$c"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")


@pytest.mark.parametrize("count", [12, 13])
def test_numbers_are_written_in_a_heat_map_of_up_to_twelve_columns(count: int) -> None:
    values = np.arange(2.0 * count).reshape(2, count)
    shares = {"a": np.array([0.25, np.nan]), "b": np.array([2.0, np.inf])}
    cells = Cells(values, [f"c{k}" for k in range(count)], ["r0", "r1"], "size", limits=(0.0, 50.0), beside=shares)
    ax = drawn(Panel("", "x", "y", cells=cells))
    assert [text.get_text() for text in ax.texts] == ([f"{v:.2f}" for v in values.ravel()] if count == 12 else [])
    assert ax.images[0].get_clim() == (0.0, 50.0)
    (side,) = ax.child_axes
    assert [bar.get_width() for bar in side.patches] == [0.25, 0.0, 1.0, 1.0]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in side.patches]
    assert middles == pytest.approx([-0.2, 0.8, 0.2, 1.2])
    assert [text.get_text() for text in side.get_legend().get_texts()] == ["a", "b"]
    assert not drawn(Panel("", "x", "y", cells=Cells(values, range(count), range(2), "size"))).child_axes


def test_cells_are_where_their_row_and_column_say() -> None:
    values = [[0.0, 1.0, 2e6], [np.nan, 0.5, 1.0]]
    for from_top in (False, True):
        ax = plot_heatmap(
            values, [1, 2, 3], ["a", "b"], from_top=from_top, limits=(0.0, 1.0), x="across", y="up", value="v"
        )
        found = {text.get_position(): text.get_text() for text in ax.texts}
        assert found == {
            (0, 0): "0.00", (1, 0): "1.00", (2, 0): "2e+06", (0, 1): "–", (1, 1): "0.50", (2, 1): "1.00",
        }  # fmt: skip
        assert {text.get_position(): text.get_color() for text in ax.texts}[0, 0] == "white"
        assert {text.get_position(): text.get_color() for text in ax.texts}[1, 0] == "black"
        assert (ax.get_ylim()[0] > ax.get_ylim()[1]) == from_top
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("across", "up")
        assert ax.figure.axes[-1].get_ylabel() == "v"
    with pytest.raises(ValueError, match=r"shape \(2, 3\); accepted is \(3, 2\)"):
        plot_heatmap(values, [1, 2], [1, 2, 3])


# -- charts as data ------------------------------------------------------------------------------------------------


def test_bars_stand_in_groups_about_their_places() -> None:
    panel = bars("t", "x", "y", ["a", "b"], {"p": [1, 2], "q": [3, 4], "r": [5, 6]}, [0.1, 0.2])
    assert [curve.x.tolist() for curve in panel.curves[:3]] == [
        pytest.approx([k - 0.8 / 3 + j * 0.8 / 3 for k in (0, 1)]) for j in range(3)
    ]
    assert [curve.bars for curve in panel.curves] == [True, True, True, False]
    assert (panel.curves[3].label, panel.curves[3].points, panel.curves[3].y.tolist()) == (
        "reference πref",
        True,
        [0.1, 0.2],
    )
    assert (panel.xlim, panel.ticks, panel.note) == ((-0.6, 1.6), ["a", "b"], "")
    ax = drawn(panel)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.74 / 3] * 6)
    (level,) = ax.collections
    assert [segment.tolist() for segment in level.get_segments()] == [
        [[-0.45, 0.1], [0.45, 0.1]],
        [[0.55, 0.2], [1.45, 0.2]],
    ]
    assert len({bar.get_hatch() for bar in ax.patches}) == 3


@pytest.mark.parametrize("count", [60, 61])
def test_charts_have_up_to_sixty_items(count: int) -> None:
    names = [str(k) for k in range(count)]
    for panel in (
        bars("", "", "", names, {"a": np.arange(count)}, np.arange(count)),
        intervals("", "", names, np.arange(count), np.arange(count), np.arange(count)),
        intervals("", "", ["dpo"] * count, np.arange(count), np.arange(count), np.arange(count), by_loss=True),
    ):
        assert panel.note == ("the first 60 of 61" if count == 61 else "")
        assert len(panel.ticks or panel.rows) == 60
        together = np.concatenate(
            [curve.x if panel.rows else curve.y for curve in panel.curves if curve.label != "reference πref"]
        )
        assert together.tolist() == list(range(60))


def test_names_of_losses_have_their_words_and_styles() -> None:
    names = ["ipo", "dpo"]
    by_lines = lines("", "", "", [0.0, 1.0], {name: [1.0, 2.0] for name in names}, by_loss=True)
    by_bars = bars("", "", "", ["a"], {name: [1.0] for name in names}, by_loss=True)
    by_rows = intervals("", "", names, [1.0, 2.0], [0.0, 1.0], None, by_loss=True, level=0.5)
    for panel in (by_lines, by_bars):
        assert [curve.label for curve in panel.curves] == [loss_label(name) for name in names]
    for panel in (by_lines, by_bars, by_rows):
        assert [curve.style for curve in panel.curves] == [loss_style(name) for name in names]
    assert by_rows.rows == [loss_label(name) for name in names]
    assert [(curve.x.tolist(), curve.y.tolist()) for curve in by_rows.curves] == [([1.0], [0.0]), ([2.0], [1.0])]
    assert [curve.low.tolist() for curve in by_rows.curves] == [[0.0], [1.0]]
    assert [place for place, _ in by_rows.marks] == [0.5]
    plain = lines("", "", "", [0.0], {name: [1.0] for name in names})
    assert [(curve.label, curve.style, curve.points) for curve in plain.curves] == [
        (name, cycle_style(k), True) for k, name in enumerate(names)
    ]
    assert not any(curve.points for curve in by_lines.curves)


@pytest.mark.parametrize(
    ("n", "largest", "top"),
    [(8, 0.3, 1.03), (9, 0.3, 0.345), (9, 0.49, 0.5635), (9, 0.5, 1.03), (9, 0.0, 1.03), (2, 1.0, 1.03)],
)
def test_the_axis_of_probabilities(n: int, largest: float, top: float) -> None:
    policy = np.zeros(n)
    policy[0] = largest
    panel = policies([], None, {"p": policy}, "t")
    assert panel.ylim == (0.0, pytest.approx(top))
    assert panel.ticks == [f"y{k + 1}" for k in range(n)]
    assert panel.note == ""


@pytest.mark.parametrize("count", [40, 41])
def test_policies_of_many_responses_and_contexts(count: int) -> None:
    one, other, reference = np.full(count, 0.01), np.full(count, 0.01), np.linspace(0.0, 1.0, count)
    other[3], one[5], one[7] = np.nan, 0.4, 0.0
    panel = policies(
        [f"r{k}" for k in range(count)], np.stack([reference] * 2), {"p": one, "q": np.stack([other, one])}, "t"
    )
    kept = list(range(40)) if count == 40 else [k for k in range(41) if k != 40]
    assert panel.ticks == [f"r{k}" for k in kept]
    assert panel.curves[0].y.tolist() == one[kept].tolist()
    assert panel.curves[2].y.tolist() == reference[kept].tolist()
    some = "" if count == 40 else "the 40 most probable of 41 responses; "
    assert panel.note == some + "the first of 2 contexts"


# -- texts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=True)
class Made(Shown):
    """A result with what it is given."""

    word: str
    size: float
    sure: bool
    names: tuple[str, ...]
    values: Any
    findings: tuple[str, ...] = ()


def made(n: int, word: str = "w", **more: Any) -> Made:
    return Made(word, 0.5, True, tuple(f"n{k}" for k in range(n)), np.arange(float(n)), **more)


@pytest.mark.parametrize(("length", "cut"), [(160, False), (161, True)])
def test_a_long_fact_is_cut(length: int, cut: bool) -> None:
    shown = made(2, "x" * length).summary().splitlines()[1]
    assert shown == "word  " + ("x" * 159 + "…" if cut else "x" * 160)


@pytest.mark.parametrize(("rows", "more"), [(20, ""), (21, "… 1 more row"), (25, "… 5 more rows")])
def test_twenty_rows_of_a_table_are_in_a_summary_and_six_in_a_line(rows: int, more: str) -> None:
    more = more and f"{more}: to_frame() has all"
    result = made(rows, findings=("one finding", "another"))
    text = result.summary().splitlines()
    assert text[:4] == ["Made", "word  w", "size  0.5", "sure  yes"]
    assert text[4] == ""
    assert text[5].split() == ["names", "values"]
    assert [line.split() for line in text[6:26]] == [[f"n{k}", str(k)] for k in range(20)]
    assert text[26:] == [*([more] if more else []), "", "- one finding", "- another"]
    short = repr(result).splitlines()
    assert short[0] == "Made: word w, size 0.5, sure yes"
    assert [line.split()[0] for line in short[2:]] == [*(f"n{k}" for k in range(6)), "…"]
    assert short[-1] == f"… {rows - 6} more rows: to_frame() has all"
    page = result._repr_html_()
    assert page.count("<tr") == 3 + 1 + 20
    assert (f"<p>{more}</p>" in page) == bool(more)
    assert page.endswith("<ul><li>one finding</li><li>another</li></ul>")


def test_one_row_is_no_table_and_no_row_is_one() -> None:
    assert len(made(1).summary().splitlines()) == 4
    assert "<table border" not in made(1)._repr_html_()
    assert len(made(2).summary().splitlines()) == 8


def test_numbers_and_names_in_a_table() -> None:
    table = pd.DataFrame({"a": [1 / 3, np.nan, np.inf, -np.inf], "b": ["x" * 40, "x" * 41, None, "<a>"]})
    lines_of = [line.split() for line in table_text(table, 4)]
    assert [line[0] for line in lines_of[1:]] == ["0.333333", "–", "∞", "−∞"]
    assert [line[1] for line in lines_of[1:]] == ["x" * 40, "x" * 20 + "…" + "x" * 19, "–", "<a>"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.0, -1.0, 2e-13, -2e-13], [2.0, -1.0, 0.0, 0.0]),  # 1e-13 of the largest is rounding
        ([2.0, -1.0, 2.1e-13, 0.0], [2.0, -1.0, 2.1e-13, 0.0]),
        ([2.0, 1.0, 2e-14], [2.0, 1.0, 2e-14]),  # of one sign: it may be a probability
        ([2.0, 0.0, 2e-14], [2.0, 0.0, 2e-14]),
        ([-2.0, 0.0, -2e-14], [-2.0, 0.0, -2e-14]),
        ([np.inf, -1.0, 1.0, 1e-14, np.nan], [np.inf, -1.0, 1.0, 0.0, np.nan]),
    ],
)
def test_rounding_errors_beside_numbers_of_both_signs_are_zero(values: list[float], expected: list[float]) -> None:
    table = pd.DataFrame({"v": values, "n": range(len(values))})
    np.testing.assert_array_equal(without_noise(table)["v"], expected)
    np.testing.assert_array_equal(table["v"], values)
