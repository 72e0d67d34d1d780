"""Observed comparisons that stay sparse: against the dense solver, choix, closed forms."""

from __future__ import annotations

import choix
import numpy as np
import pytest
from scipy.special import expit

from gpo_analysis.preferences import Comparisons
from gpo_analysis.tabular import PreferenceProblem, setting


def random_games(n, k, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    rewards = scale * rng.normal(size=n)
    i = rng.integers(n, size=k)
    j = (i + rng.integers(1, n, size=k)) % n
    first = rng.random(k) < expit(rewards[i] - rewards[j])
    return Comparisons(np.where(first, i, j), np.where(first, j, i)), rewards


@pytest.mark.parametrize("name", ["logistic", "squared", "exponential", "truncated_quadratic", "smoothed_logistic"])
def test_sparse_and_dense_solvers_agree(name, monkeypatch):
    games, _ = random_games(40, 1500)
    problem = PreferenceProblem.from_comparisons(games)
    dense = problem.solve(name, 1.0)
    monkeypatch.setattr(setting, "DENSE", 1)
    sparse = problem.solve(name, 1.0)
    assert sparse.converged
    assert sparse.population_loss == pytest.approx(dense.population_loss, rel=1e-12)
    np.testing.assert_allclose(sparse.log_ratio, dense.log_ratio, atol=1e-9)


def test_logistic_fit_agrees_with_choix():
    games, _ = random_games(400, 20000)
    found = PreferenceProblem.from_comparisons(games).solve("logistic", 1.0)
    data = np.column_stack([np.repeat(games.winner, 1), games.loser])
    other = choix.opt_pairwise(games.n, data.tolist(), alpha=0.0, method="Newton-CG", tol=1e-12)
    np.testing.assert_allclose(found.scores, other - other.mean(), atol=1e-4)


def test_a_long_chain_has_a_closed_form():
    # Conjugate gradients fail on it, the factor does not: margins log 3 along a path of 3,000.
    i = np.arange(2999)
    games = Comparisons(np.r_[i, i + 1], np.r_[i + 1, i], np.r_[np.full(2999, 3.0), np.ones(2999)])
    problem = PreferenceProblem.from_comparisons(games)
    for name, margin in (("logistic", np.log(3)), ("exponential", np.log(3) / 2), ("squared", 0.5)):
        found = problem.solve(name, 1.0)
        assert found.converged
        np.testing.assert_allclose(-np.diff(found.log_ratio), margin, rtol=1e-7)
    found = problem.solve("truncated_quadratic", 1.0)
    np.testing.assert_allclose(-np.diff(found.log_ratio), 0.5, rtol=1e-7)


def test_ten_thousand_responses_and_two_hundred_thousand_comparisons():
    games, rewards = random_games(10_000, 400_000)
    problem = PreferenceProblem.from_comparisons(games)
    found = problem.solve("logistic", 1.0)
    assert found.converged
    assert found.error < 1e-10
    # At the optimum every response wins as often as the fit expects, Bradley–Terry's moment equations.
    pairs = problem.directed_pairs()
    upset = pairs.weight * expit(-found.margins)
    balance = np.bincount(pairs.winner, upset, games.n) - np.bincount(pairs.loser, upset, games.n)
    assert np.abs(balance).max() < 1e-15
    assert np.corrcoef(found.scores, rewards)[0, 1] > 0.95


def test_sparse_separable_unconnected_and_flat():
    games, _ = random_games(400, 600)
    problem = PreferenceProblem.from_comparisons(games)
    assert problem.solve("logistic", 1.0).status == "no finite optimum"
    squared = problem.solve("squared", 1.0)
    assert squared.status == "not unique"
    assert squared.reason.startswith("the comparison graph has")
    assert problem.loss_at(squared.representative, "squared", 1.0) == pytest.approx(squared.population_loss, rel=1e-10)
    flat = problem.solve("truncated_quadratic", 1.0)
    assert flat.status == "not unique"
    value = problem.loss_at(flat.representative, "truncated_quadratic", 1.0)
    assert value == pytest.approx(flat.population_loss, rel=1e-8)


def test_counts_weigh_pairs_and_repeats_add_up():
    once = PreferenceProblem.from_comparisons(Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1)]))
    often = PreferenceProblem.from_comparisons(Comparisons.from_pairs([("a", "b")] * 3 + [("b", "a")]))
    assert often.solve("logistic", 1.0).population_loss == once.solve("logistic", 1.0).population_loss
    assert len(often.directed_pairs()) == 2
    found = once.solve("logistic", 1.0)
    assert found.mu_squared_loss == pytest.approx(0.5 * np.log(3) ** 2, rel=1e-9), "over the observed pairs"
