"""Comparisons are asked for wherever they are taken, with the way to make them of what was given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo

TAKERS: dict[str, Callable[[Any], Any]] = {
    "fit_comparisons": gpo.fit_comparisons,
    "recommend_beta": lambda given: gpo.recommend_beta(given, kl=0.5),
    "choose_loss": gpo.choose_loss,
    "bootstrap_scores": lambda given: gpo.bootstrap_scores(given, "dpo"),
    "rank": gpo.rank,
    "noise_tests": gpo.noise_tests,
    "PreferenceProblem": gpo.PreferenceProblem.from_comparisons,
    "ComparisonProblem": gpo.ComparisonProblem.from_comparisons,
}


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize(
    ("given", "way"),
    [("votes.csv", r"\.read\('votes.csv'\)"), (Path("votes.csv"), r"\.read\('votes.csv'\)"),
     (pd.DataFrame({"winner": ["a"], "loser": ["b"]}), r"\.from_frame"), (np.eye(2), r"\.from_counts"),
     (pd.DataFrame(np.eye(2), ["a", "b"], ["a", "b"]), r"\.from_counts\(table\) takes wins"),
     (3, r"\.read\(file\)")],
)  # fmt: skip
def test_what_is_no_comparisons_is_refused_with_the_way_to_them(name: str, given: Any, way: str) -> None:
    with pytest.raises(ValueError, match=f"is a {type(given).__name__}; accepted are Comparisons.*{way}"):
        TAKERS[name](given)


def test_a_ranking_takes_comparisons_themselves() -> None:
    games = gpo.Comparisons.from_pairs([("a", "b", 6), ("b", "a", 4)])
    assert gpo.rank(games).scores == pytest.approx(np.array([1, -1]) * np.log(6 / 4) / 2)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("kl", "kl_divergence"), ("mu_square", "mu_squared_loss"), ("Loss", "MarginLoss"), ("solvegrid", "solve_grid")],
)
def test_a_name_that_the_library_lacks_comes_with_the_one_meant(name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"gpo_analysis has no '{name}'; did you mean .*{meant}"):
        getattr(gpo, name)


def test_a_name_like_no_other_is_refused_too() -> None:
    with pytest.raises(AttributeError, match="lists what there is"):
        _ = gpo.xyzzy
    assert not hasattr(gpo, "__wrapped__")


@pytest.mark.parametrize("text", ["0.1", b"0.1"])
def test_a_number_written_as_text_is_refused_by_name(text: Any) -> None:
    problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    for ask in (lambda: problem.solve("dpo", text), lambda: gpo.solve_grid(problem, "dpo", [1.0, text])):
        with pytest.raises(ValueError, match="beta") as refused:
            ask()
        assert repr(text) in str(refused.value)


def test_a_loss_that_rises_is_fitted_with_a_word_of_it() -> None:
    games = gpo.Comparisons.from_counts([[0, 7, 8], [3, 0, 6], [2, 4, 0]])
    with pytest.warns(UserWarning, match="does not push chosen above rejected"):
        upside_down = gpo.rank(games, "sqrt(1+(1+z)**2)")
    assert list(np.argsort(upside_down.scores)) == list(np.argsort(-gpo.rank(games, "sqrt(1+(1-z)**2)").scores))
    with pytest.warns(UserWarning, match="does not push chosen above rejected"):
        gpo.recommend_beta(games, kl=0.1, losses="sqrt(1+(1+z)**2)", resamples=5)
