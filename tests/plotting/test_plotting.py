"""Plotting: what is drawn is what was given, on the axes that were given, told apart without colour."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

import gpo_analysis as gpo
from gpo_analysis import plotting
from gpo_analysis.losses import get_loss, list_losses, two_ratio_losses
from gpo_analysis.plotting import (
    cycle_style,
    figure_style,
    loss_label,
    loss_style,
    new_figure,
    plot_curve,
    plot_frontier,
    plot_heatmap,
    plot_landscape,
    plot_loss,
    plot_losses,
    plot_policy,
    plot_preference,
    plot_sweep,
    plot_trajectory,
    plot_zero_one,
)

SIX = ("logistic", "squared", "hinge", "exponential", "truncated_quadratic", "savage")
SWEEP = pd.DataFrame(
    {"loss": ["dpo", "ipo"] * 3, "beta": [1.0, 1.0, 0.1, 0.1, 3.0, 3.0], "kl": range(6), "win_rate": [0.6] * 6}
)


@pytest.fixture
def ax() -> Iterator[Axes]:
    yield plt.figure().subplots()
    plt.close("all")


def lightness(color: str) -> float:
    """CIE L*, what remains of a colour in grey print."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    return 116.0 * luminance ** (1 / 3) - 16.0 if luminance > 0.008856 else 903.3 * luminance


def test_the_six_losses_differ_in_colour_dash_and_marker() -> None:
    styles = [loss_style(name) for name in SIX]
    for first, second in itertools.combinations(styles, 2):
        assert first.color != second.color
        assert first.linestyle != second.linestyle
        assert first.marker != second.marker
    assert loss_style("slic") == loss_style("hinge")


def test_every_loss_of_the_catalogue_has_a_style_and_a_label() -> None:
    for name in [*list_losses(), "typed by a user"]:
        assert loss_style(name) == loss_style(name)
        assert loss_label(name)
        assert "_" not in loss_label(name)


def test_typed_losses_have_styles_of_their_own() -> None:
    typed = ["c*exp(-z) with c=2", r"\log(1+e^{-2z})", "log(cosh(1-z))", *(f"max(0, {k} - z)" for k in range(40))]
    catalogue = {loss_style(name) for name in (*list_losses(), *two_ratio_losses())}
    with figure_style():
        styles = {name: loss_style(name) for name in typed}
    assert len(set(styles.values())) == len(typed)
    assert not set(styles.values()) & catalogue
    with figure_style():
        assert {name: loss_style(name) for name in typed} == styles
        assert loss_style(typed[0]) == styles[typed[0]]
    assert loss_label(r"$\log z$") == r"\$\log z\$"
    long = "exp(-z) + " * 20
    assert len({loss_label(f"{long}{k}*z") for k in range(9)}) == 9  # the end tells formulas apart, too
    assert all(len(loss_label(f"{long}{k}*z")) <= 30 for k in range(9))


def test_curves_that_are_no_losses_can_be_told_apart_in_grey_too() -> None:
    styles = [cycle_style(index) for index in range(8)]
    assert len({(style.linestyle, style.marker) for style in styles}) == 8
    assert cycle_style(8) == cycle_style(0)
    assert all(lightness(style.color) < 75 for style in styles)  # seen on white


def test_plot_loss_draws_the_loss(ax: Axes) -> None:
    assert plot_loss("savage", ax, low=-3.0, high=5.0, points=33) is ax
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(y, 1.0 / (1.0 + np.exp(np.asarray(x))) ** 2)
    assert (x[0], x[-1], len(x)) == (-3.0, 5.0, 33)
    assert ax.get_ylabel() == "loss $f(z)$"


def test_a_scaled_loss_passes_through_0_1(ax: Axes) -> None:
    plot_losses(["dpo", get_loss("ipo"), "slic"], ax, scaled=True)
    for line in ax.lines[-3:]:
        assert np.interp(0.0, *line.get_data()) == pytest.approx(1.0, abs=1e-3)
    assert "f(0)" in ax.get_ylabel()


def test_the_jump_of_the_0_1_loss_is_left_open(ax: Axes) -> None:
    plot_zero_one(ax, low=-2.0, high=3.0)
    x, y = map(np.asarray, ax.lines[0].get_data())
    assert np.isnan(y).sum() == 1
    assert (y[x < 0] == 1.0).all()
    assert (y[x > 0] == 0.0).all()


def test_plot_curve(ax: Axes) -> None:
    plot_curve("hinge", [0, 1], [2, 3], ax, markers=True)
    assert ax.lines[0].get_marker() == "^"
    assert ax.lines[0].get_label() == "hinge (SLiC)"


def test_plot_policy(ax: Axes) -> None:
    plot_policy({"dpo": [0.7, 0.3], "ipo": [0.6, 0.4]}, [0.5, 0.5], ax, labels=["yes", "no"])
    assert [patch.get_height() for patch in ax.patches] == [0.7, 0.3, 0.6, 0.4]
    assert len({patch.get_hatch() for patch in ax.patches}) == 2
    assert [text.get_text() for text in ax.get_xticklabels()] == ["yes", "no"]


def test_plot_preference(ax: Axes) -> None:
    plot_preference([[0.5, 0.9], [0.1, 0.5]], ax)
    assert [text.get_text() for text in ax.texts] == ["0.50", "0.90", "0.10", "0.50"]
    np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), [[0.5, 0.9], [0.1, 0.5]])


def test_plot_heatmap_writes_every_number_readably(ax: Axes) -> None:
    plot_heatmap([[0.0, np.nan], [0.5, 1.0]], ["l", "r"], [1, 2], ax, value="share")
    assert [text.get_text() for text in ax.texts] == ["0.00", "–", "0.50", "1.00"]
    assert [text.get_color() for text in ax.texts] == ["white", "black", "white", "black"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["1", "2"]


def test_every_loss_is_drawn_over_the_range_that_was_asked_for(ax: Axes) -> None:
    plot_losses(["dpo", "ipo"], ax, low=-1.25, high=2.75)
    curves = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) > 10]
    assert len(curves) >= 2
    for x in curves:
        assert (min(x), max(x)) == (-1.25, 2.75)


def test_plot_sweep_sorts_and_separates(ax: Axes) -> None:
    plot_sweep(SWEEP, "kl", ax)
    assert [line.get_label() for line in ax.lines] == ["logistic (DPO)", "squared (IPO)"]
    np.testing.assert_array_equal(ax.lines[0].get_data(), [[0.1, 1.0, 3.0], [2, 0, 4]])
    plot_sweep(SWEEP[SWEEP["loss"] == "ipo"], "kl", ax)  # first of its table, in its own colour all the same
    assert to_rgb(ax.lines[-1].get_color()) == to_rgb(loss_style("squared").color)
    assert to_rgb(ax.lines[-1].get_color()) != to_rgb(cycle_style(0).color)
    plot_sweep(SWEEP, "kl", ax, by="win_rate")
    assert ax.lines[-1].get_label() == "win_rate = 0.6"


def test_plot_scores_marks_ends_beyond_the_known_values(ax: Axes) -> None:
    """Infinite ends stand a tenth of the known range outside of it, or at ±1 where nothing is known."""
    plotting.plot_scores(["a", "b"], [1.0, np.nan], [0.0, -np.inf], [np.inf, 2.0], ax)
    scores, left, right = ax.lines
    np.testing.assert_array_equal(scores.get_data(), [[1.0, np.nan], [0, 1]])
    np.testing.assert_allclose(left.get_data(), [[-0.2], [1]])
    np.testing.assert_allclose(right.get_data(), [[2.2], [0]])
    assert [mark.get_marker() for mark in (left, right)] == ["<", ">"]
    plotting.plot_scores(["c"], [np.nan], [-np.inf], [np.inf], ax)
    assert [list(line.get_xdata()) for line in ax.lines[-2:]] == [[-1.0], [1.0]]


def test_plot_frontier(ax: Axes) -> None:
    plot_frontier(SWEEP, ax)
    assert ax.get_ylabel() == "win rate against πref"
    assert list(ax.lines[-1].get_ydata()) == [0.5, 0.5]


def test_plot_landscape_marks_minima_on_the_curve(ax: Axes) -> None:
    c = np.linspace(-1, 1, 201)
    plot_landscape(c, (c**2 - 0.25) ** 2, ax, minima=[-0.5, 0.5], label="loss")
    np.testing.assert_allclose(ax.lines[1].get_data(), [[-0.5, 0.5], [0.0, 0.0]], atol=1e-12)
    plot_landscape(c, c, ax)
    assert len(ax.lines) == 3
    plot_landscape(c, c**2, ax, minima=[0.5], index=1)  # a minimum in the place of another is smaller, and above it
    large, small = ax.lines[1], ax.lines[4]
    assert small.get_markersize() < large.get_markersize()
    assert small.get_zorder() > large.get_zorder()


@pytest.mark.parametrize("loss", ["exponential", "savage", "log(cosh(1-z))", "exp(-2*z)", "log(1+exp(-z))+z**2"])
def test_a_loss_and_its_polynomials_have_dashes_of_their_own(loss: str) -> None:
    own, *polynomials = gpo.analyze(loss)._panel().curves
    dashes = {str(one.style.linestyle) for one in (own, *polynomials)}
    assert len(dashes) == 1 + len(polynomials) == 3
    assert own.style.linestyle == "-"


def test_plot_trajectory(ax: Axes) -> None:
    table = pd.DataFrame({"step": [0, 1], "time": [0.0, 0.1], "kl": [0.0, 1.0], "max_margin": [0.0, 2.0]})
    plot_trajectory(table, ["kl", "max_margin"], ax, x="time")
    assert [line.get_label() for line in ax.lines[:2]] == ["kl", "max margin"]
    assert ax.get_xlabel() == "time"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_loss("dpo", low=1.0, high=1.0), "low = 1.0 and high = 1.0"),
        (lambda: plot_loss("nonsense"), "nonsense"),
        (lambda: plot_policy({}), "shapes"),
        (lambda: plot_policy({"a": [1.0], "b": [0.5, 0.5]}), "shapes"),
        (lambda: plot_policy({"a": [[1.0]]}), "shapes"),
        (lambda: plot_policy({"a": [0.5, 0.5]}, labels=["x"]), "1 labels for 2"),
        (lambda: plot_preference([[0.5, 0.5]]), r"\(1, 2\)"),
        (lambda: plot_heatmap([[1.0]], [1, 2], [1]), r"\(1, 1\); accepted is \(1, 2\)"),
        (lambda: plot_sweep(SWEEP, "nothing"), "no column 'nothing'; the table has loss"),
        (lambda: plot_frontier(SWEEP.drop(columns="kl")), "no column 'kl'"),
        (lambda: plot_landscape([0.0, 0.0], [1.0, 1.0]), "increasing"),
        (lambda: plot_landscape([0.0, 1.0], [1.0]), "increasing"),
        (lambda: plot_landscape([0.0, 1.0], [1.0, 1.0], minima=[2.0]), r"minima \[2.0\] lie outside"),
        (lambda: plot_trajectory(SWEEP, ["kl"]), "no column 'step'"),
    ],
)
def test_bad_input_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_a_loss_that_is_0_at_0_cannot_be_scaled() -> None:
    from gpo_analysis.losses import parse_loss

    with pytest.raises(ValueError, match="is 0 at 0"):
        plot_loss(parse_loss("z**2"), scaled=True)


def test_without_axes_a_new_figure_is_made() -> None:
    axes = [plot_loss("dpo"), plot_loss("ipo")]
    assert axes[0] is not axes[1]
    plt.close("all")


def test_the_style_stays_inside() -> None:
    before = dict(mpl.rcParams)
    with figure_style():
        assert mpl.rcParams["legend.frameon"] is False
        figure, axes = new_figure(2, 3, height=2.0)
        assert axes.shape == (2, 3)
        assert tuple(figure.get_size_inches()) == (7.0, 4.0)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_importing_it_loads_no_matplotlib() -> None:
    script = "import sys, gpo_analysis.plotting; sys.exit('matplotlib' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, check=False).returncode == 0


def test_everything_public_is_listed() -> None:
    assert all(hasattr(plotting, name) for name in plotting.__all__)
