"""What goes into the library shows itself too: problems, losses, links, trees, comparisons."""

from __future__ import annotations

import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.tabular import PrefixTree


def cells(ax: plt.Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array().filled(np.nan))  # type: ignore[union-attr]


def bars(ax: plt.Axes) -> dict[str, list[float]]:
    (side,) = ax.child_axes
    return {str(part.get_label()): [bar.get_width() for bar in part] for part in side.containers}  # type: ignore[union-attr, misc]


def names(ax: plt.Axes) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def test_a_problem_draws_its_matrix_with_mu_and_the_reference() -> None:
    matrix, mu, reference = gpo.bradley_terry([0.0, 1.0, 2.5]), [0.5, 0.3, 0.2], [0.6, 0.3, 0.1]
    problem = gpo.PreferenceProblem(matrix, mu, reference, items=["a", "b$", "c"])
    ax = problem.plot()
    assert np.array_equal(cells(ax), matrix)
    assert ax.images[0].get_clim() == (0.0, 1.0)
    assert names(ax) == ["a", r"b\$", "c"]
    assert ax.yaxis_inverted(), "the first is at the top"
    assert bars(ax) == {"μ": pytest.approx(mu), "πref": pytest.approx(reference)}
    wins = [sum(mu[j] * matrix[i, j] for j in range(3)) for i in range(3)]
    assert list(problem.to_frame()["wins"]) == pytest.approx(wins)
    assert repr(problem) == "PreferenceProblem(3 responses)"


def test_observed_comparisons_draw_shares_and_what_was_never_compared() -> None:
    seen = gpo.Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1), ("b", "c", 2)])
    problem = gpo.PreferenceProblem.from_comparisons(seen)
    nan = np.nan
    assert np.array_equal(cells(problem.plot()), [[nan, 0.75, nan], [0.25, nan, 1.0], [nan, 0.0, nan]], equal_nan=True)
    table = problem.to_frame().set_index("item")
    assert table["wins"].to_dict() == {"a": 0.75, "b": 0.5, "c": 0.0}
    assert "6 comparisons" in problem.summary()


def test_of_many_responses_those_that_mu_draws_most() -> None:
    generator = np.random.default_rng(0)
    mu, matrix = generator.dirichlet(np.ones(300)), gpo.bradley_terry(generator.normal(size=300))
    ax = gpo.PreferenceProblem(matrix, mu).plot()
    kept = np.sort(np.argsort(-mu)[:30])
    assert names(ax) == [str(k) for k in kept]
    assert np.array_equal(cells(ax), matrix[np.ix_(kept, kept)])
    said = [text.get_text() for text in ax.texts]
    assert said == ["the 30 of 300 responses that μ draws most"], "no numbers in cells that are too small for them"


def test_contexts_are_rows_and_the_first_is_drawn() -> None:
    stack = np.stack([gpo.bradley_terry([0.0, x]) for x in (1.0, 2.0, 3.0)])
    problem = gpo.PreferenceProblem(stack)
    assert np.array_equal(cells(problem.plot()), stack[0])
    table = problem.to_frame()
    assert list(table["context"]) == [0, 0, 1, 1, 2, 2]
    assert list(table["wins"]) == pytest.approx(list((0.25 + stack[:, [0, 1], [1, 0]] / 2).ravel()))
    certain = gpo.PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    assert "certain pairs  1 of 1" in certain.summary()


@pytest.mark.parametrize("name", ["dpo", "slic", "lrml", "savage", "exp(-10*z)", "c*exp(-z) with c=2"])
def test_a_loss_shows_its_values_and_its_strength_or_why_there_is_none(name: str) -> None:
    loss = gpo.get_loss(name)
    table = loss.to_frame()
    assert list(table["f(z)"]) == [float(loss(z)) for z in table["z"]]
    text = loss.summary()
    if name == "lrml":
        assert "none: lrml has slope" in text
    else:
        assert re.search(rf"^κ +{loss.curvature_ratio}$", text, re.MULTILINE)
    ax = loss.plot()
    low, high = ax.get_ylim()
    assert low <= float(loss(0.0)) <= high < 500
    page = loss._repr_html_()
    assert str(loss._repr_latex_()) in page
    assert repr(loss) == str(loss)


def test_a_tree_draws_how_long_its_responses_are() -> None:
    tree = PrefixTree(letters=2, depth=4, stop=0.25)
    ax = tree.plot()
    heights = [bar.get_height() for bar in ax.containers[0]]  # type: ignore[union-attr]
    assert heights == pytest.approx([0.25, 0.75 * 0.25, 0.75**2])  # after one letter, after two; the rest have four
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2", "3", "4"]


def test_a_ranking_problem_counts_a_tie_as_half() -> None:
    problem = gpo.ComparisonProblem([0, 0], [1, 2], wins=[3, 0], losses=[1, 0], ties=[0, 2], items=["a", "b", "c"])
    ax = problem.plot()
    assert [float(x) for x in ax.lines[0].get_xdata()] == pytest.approx([4 / 6, 0.5, 0.25])
    assert names(ax) == ["a", "c", "b"]
    assert list(problem.to_frame().columns) == ["first", "second", "wins", "losses", "ties"]


@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
def test_bars_and_colours_beside_a_matrix_do_not_overlap(layout: str | None) -> None:
    figure, (ax, other) = plt.subplots(1, 2, figsize=(12, 4), layout=layout)
    gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]).plot(ax=ax)
    figure.canvas.draw()
    boxes = [axes.get_window_extent() for axes in (ax, *ax.child_axes, *figure.axes) if axes is not other]
    boxes = sorted({(round(box.x0), round(box.x1)) for box in boxes})
    assert len(boxes) == 3  # cells, bars, colours
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(boxes))
    plt.close(figure)
