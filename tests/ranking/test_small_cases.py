"""Small rankings by hand: rows that are named, groups of two-way wins, parameters that are not there, sure shares."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.losses import get_margin_loss
from gpo_analysis.ranking import ComparisonProblem, rank
from gpo_analysis.ranking.intervals import _two_way_groups
from gpo_analysis.ranking.joint import System
from gpo_analysis.ranking.outcomes import outcome_model
from gpo_analysis.ranking.quality import _slope
from gpo_analysis.ranking.ranks import RankSets


@pytest.mark.parametrize(("second", "row", "name"), [([0, 2, 1], 0, "x"), ([1, 1, 0], 1, "y"), ([1, 2, 2], 2, "z")])
def test_the_row_that_sets_an_item_against_itself_is_named(second: list[int], row: int, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^row {row} sets '{name}' against itself"):
        ComparisonProblem([0, 1, 2], second, items=("x", "y", "z"))


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_one_vote_the_other_way_joins_two_items(share: float) -> None:
    def groups(wins: float, losses: float, ties: float) -> int:
        problem = ComparisonProblem([0], [1], [wins], [losses], [ties])
        system = System(problem.rows, 2, problem.parts, outcome_model(get_margin_loss("logistic"), "half"), 0.0, 0.0)
        return len(set(_two_way_groups(system).tolist()))

    assert groups(3, share, 0) == groups(share, 3, 0) == groups(3, 0, share) == groups(0, 3, share) == 1
    assert groups(0, 0, share) == 1  # a tie is half a win each
    assert groups(share, 0, 0) == groups(0, share, 0) == 2


def test_a_parameter_of_ties_is_there_where_a_model_has_one_and_an_answer() -> None:
    both = ComparisonProblem([0], [1], [3], [2], [4])
    assert np.isnan(rank(both).tie_parameter)
    found = rank(both, ties="davidson")
    # three outcomes, three shares: ν = t / √(w l)
    assert found.tie_parameter == pytest.approx(np.log(4 / np.sqrt(6)), abs=1e-9)
    lost = rank(ComparisonProblem([0, 1], [1, 2], [3, 2], [2, 0], [4, 0]), ties="davidson")
    assert not lost.converged
    assert np.isnan(lost.tie_parameter)
    assert found._facts()[0] == ("loss", found.loss)
    assert [name for name, _ in found._facts()] == ["loss", "ties", "status"]


def test_shares_of_zero_and_one_have_a_finite_slope() -> None:
    share, total = np.array([1.0, 0.0, 0.75, 0.25]), np.array([4.0, 4.0, 20.0, 20.0])
    found = _slope(share, np.array([4.0, 0.0, 15.0, 5.0]), total)
    assert np.isfinite([found.low, found.high]).all()
    assert found.low < 1 < found.high


def test_a_set_of_one_rank_has_the_width_one() -> None:
    none = np.zeros((3, 3), dtype=bool)
    sets = RankSets(np.array([1, 2, 1]), np.array([1, 3, 3]), none, np.ones(3) / 3, 2.0, 2.0, 0.95)
    np.testing.assert_array_equal(sets.width, [1, 2, 3])


def test_counts_given_as_whole_numbers_or_truths_are_numbers_with_a_point() -> None:
    for wins, losses, ties in (([3], [2], [1]), ([True], [False], [True])):
        problem = ComparisonProblem([0], [1], wins, losses, ties)
        assert problem.counts.dtype == np.float64
        np.testing.assert_array_equal(problem.counts, [[float(wins[0])], [float(losses[0])], [float(ties[0])]])
