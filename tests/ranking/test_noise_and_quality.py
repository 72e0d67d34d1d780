"""Tests against noise, deviance, calibration and held-out likelihood, against simulation and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2

from gpo_analysis.datasets import load_journals
from gpo_analysis.preferences import Comparisons, diagnostics
from gpo_analysis.ranking import (
    ComparisonProblem,
    calibration,
    compare_models,
    goodness,
    held_out,
    noise_tests,
    rank,
)
from gpo_analysis.ranking.quality import _slope


def bradley_terry_votes(n: int, votes: int, spread: float, seed: int) -> ComparisonProblem:
    rng = np.random.default_rng(seed)
    g = spread * rng.normal(size=n)
    i, j = np.triu_indices(n, 1)
    wins = rng.binomial(votes, expit(g[i] - g[j]))
    return ComparisonProblem(i, j, wins, votes - wins)


def as_comparisons(problem: ComparisonProblem) -> Comparisons:
    i, j, (won, lost, _) = problem.first, problem.second, problem.counts
    return Comparisons(np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([won, lost]))


@pytest.mark.parametrize("votes", [1, 4])
def test_statistics_are_those_of_the_diagnostics(votes: int) -> None:
    problem = bradley_terry_votes(12, votes, 0.7, 3)
    found, there = noise_tests(problem, simulations=19), diagnostics(as_comparisons(problem))
    assert found.cyclic_share.observed == pytest.approx(there.hodge.cyclic_share, abs=1e-12)
    assert found.cyclic_triples is not None
    assert found.weak_violations is not None
    assert found.strong_violations is not None
    assert found.cyclic_triples.observed == there.cyclic_triples
    assert found.weak_violations.observed == there.weak_violations
    assert found.strong_violations.observed == there.strong_violations


def test_thirty_items_that_are_bradley_terry_are_not_called_cyclic() -> None:
    problem = bradley_terry_votes(30, 2, 0.6, 0)
    found = noise_tests(problem)
    assert diagnostics(as_comparisons(problem)).hodge.cyclic_share > 0.4  # the word of the diagnostics alone
    assert all(one.p > 0.05 for one in found.tests)
    assert found.cyclic_share.low < found.cyclic_share.observed < found.cyclic_share.high
    assert "no more than noise" in str(found)
    assert "more than noise" not in str(found).replace("no more than noise", "")


def test_a_cycle_is_more_than_noise() -> None:
    i, j = np.triu_indices(9, 1)
    ahead = (j - i) <= 4  # a wheel: each beats the four after it
    wins = np.where(ahead, 14, 6)
    found = noise_tests(ComparisonProblem(i, j, wins, 20 - wins))
    assert found.cyclic_share.p <= 0.01
    assert found.cyclic_triples is not None
    assert found.cyclic_triples.p <= 0.01
    assert found.misfit.p <= 0.01
    assert found.chi_square_p < 1e-6


def test_one_vote_a_pair_of_a_whole_round_says_nothing() -> None:
    found = noise_tests(bradley_terry_votes(10, 1, 0.5, 1))
    assert [one.p for one in found.tests[:4]] == [1.0] * 4


def test_misfit_is_pearsons_statistic_of_the_fit() -> None:
    problem = bradley_terry_votes(6, 400, 0.5, 2)
    p = rank(problem).predict_proba(problem.first, problem.second)
    wanted = float(((problem.counts[0] - 400 * p) ** 2 / (400 * p * (1 - p))).sum())
    found = noise_tests(problem, simulations=99)
    assert found.misfit.observed == pytest.approx(wanted, rel=0.02)  # one step from the null instead of the fit
    assert found.degrees_of_freedom == 15 - 5
    assert found.chi_square_p == pytest.approx(chi2.sf(wanted, 10), abs=0.03)


def test_what_noise_cannot_be_told_of_is_refused() -> None:
    with pytest.raises(ValueError, match="weights, with fractions"):
        noise_tests(ComparisonProblem([0, 1], [1, 2], [0.5, 1.2]))
    with pytest.raises(ValueError, match="only ties"):
        noise_tests(ComparisonProblem([0], [1], [0], [0], [3]))
    with pytest.raises(ValueError, match="at least 19"):
        noise_tests(load_journals(), simulations=5)


def test_the_deviance_of_two_thirds_of_a_cycle_has_a_closed_form() -> None:
    # a, b, c on a cycle of equal lead: the fit is p = ½, the saturated model 2/3 each
    found = goodness(rank(ComparisonProblem([0, 1, 2], [1, 2, 0], [20, 20, 20], [10, 10, 10])))
    wanted = 2 * 3 * (20 * np.log(20 / 15) + 10 * np.log(10 / 15))
    assert found.deviance == pytest.approx(wanted, rel=1e-10)
    assert found.degrees_of_freedom == 1
    assert found.p == pytest.approx(chi2.sf(wanted, 1), rel=1e-8)
    assert found.parameters == 2
    assert found.aic == pytest.approx(4 - 2 * found.log_likelihood)
    with pytest.raises(ValueError, match="no likelihood"):
        goodness(rank(ComparisonProblem([0], [1], [3], [2]), "squared"))


def test_the_true_model_of_ties_predicts_best_and_is_calibrated() -> None:
    rng = np.random.default_rng(7)
    g = rng.normal(size=8)
    i, j = np.triu_indices(8, 1)
    z = g[i] - g[j]
    p = np.stack([expit(z - 0.5), expit(-z - 0.5)])
    drawn = np.array([rng.multinomial(800, [*q, 1 - q.sum()]) for q in p.T]).T
    problem = ComparisonProblem(i, j, *drawn)
    table = compare_models(problem, {"dk": {"ties": "davidson"}, "rk": {"ties": "rao-kupper"}})
    assert table.loc["rk", "behind"] == 0
    assert table.loc["dk", "behind_low"] > 0
    truth = float((p * np.log(p)).sum() + ((1 - p.sum(axis=0)) * np.log(1 - p.sum(axis=0))).sum()) / 28
    assert table.loc["rk", "low"] < truth < table.loc["rk", "high"]
    found = calibration(held_out(problem, ties="rao-kupper"))
    assert 1.0 in found.slope
    assert found.error < 0.015
    assert len(found.to_frame()) == 10
    wrong = calibration(held_out(problem, "exponential", ties="half"))
    assert wrong.error >= 0.0
    assert compare_models(problem).index.tolist() == ["logistic", "davidson", "rao-kupper"]


def test_whole_clusters_are_held_out() -> None:
    rng = np.random.default_rng(1)
    i = rng.integers(4, size=200)
    problem = ComparisonProblem(i, (i + 1) % 4, rng.random(200), cluster=np.arange(200) // 10)
    votes = held_out(problem, folds=4)
    np.testing.assert_allclose(votes.counts.sum(axis=0), problem.rows.counts)
    with pytest.raises(ValueError, match="at most the number of clusters"):
        held_out(problem, folds=30)
    with pytest.raises(ValueError, match="whole numbers"):
        held_out(ComparisonProblem([0], [1], [1.5]), folds=2)


def test_a_fold_without_a_fit_is_counted() -> None:
    table = compare_models(ComparisonProblem([0, 1, 0], [1, 2, 2], [1, 1, 1], [1, 1, 1]), ["logistic", "squared"])
    assert table.loc["logistic", "folds_without_fit"] > 0
    assert np.isnan(table.loc["logistic", "log_likelihood"])


@pytest.mark.parametrize("slope", [0.4, 1.0, 1.7])
def test_the_slope_of_shares_that_are_too_sure_or_not_sure_enough(slope: float) -> None:
    """Observed shares σ(b·logit p) have slope b; its interval has the width of the sandwich, as 1/√votes."""
    p = np.linspace(0.05, 0.95, 13)
    x = np.log(p / (1 - p))
    observed = expit(slope * x)
    found = _slope(p, 200 * observed, np.full(13, 200.0))
    assert found.value == pytest.approx(slope, abs=1e-9)
    information = (200 * observed * (1 - observed) * x**2).sum()
    assert (found.low, found.high) == pytest.approx(slope + np.array([-1, 1]) * 1.959964 * np.sqrt(2 / information))


@pytest.mark.parametrize(("wins", "is_given"), [(5, False), (6, True)])
def test_a_deviance_has_a_p_value_from_five_expected_votes_an_outcome(wins: int, is_given: bool) -> None:
    """A cycle of equal lead: each outcome is expected (wins + 4)/2 times, 4.5 or 5 of them."""
    found = goodness(rank(ComparisonProblem([0, 1, 2], [1, 2, 0], [wins] * 3, [4] * 3)))
    assert found.degrees_of_freedom == 1
    assert np.isfinite(found.p) == is_given
