"""Deviation: closed forms, the solver, and derivatives of training."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.training import chosen_slope, compared, deviation, link_log_ratio


def problem_of(seed: int, n: int = 6, seen: int = 4) -> gpo.PreferenceProblem:
    rng = np.random.default_rng(seed)
    mu = np.append(rng.dirichlet(np.full(seen, 3.0)), np.zeros(n - seen))
    return gpo.PreferenceProblem(gpo.bradley_terry(rng.normal(size=n)), mu, rng.dirichlet(np.full(n, 2.0)))


@pytest.mark.parametrize(("loss", "factor"), [("logistic", 1.0), ("savage", 1.0), ("exponential", 0.5)])
def test_link_gives_the_rewards_back(loss: str, factor: float) -> None:
    rewards, beta = np.array([0.3, -1.0, 0.8, 2.0]), 0.4
    problem = gpo.PreferenceProblem(gpo.bradley_terry(rewards), [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
    tilted = problem.reference * np.exp(factor * rewards / beta)
    np.testing.assert_allclose(
        link_log_ratio(problem, loss, beta), np.log(tilted / tilted.sum() / problem.reference), rtol=1e-9
    )


def test_link_is_the_squared_losses_optimum_whatever_the_preferences() -> None:
    rng = np.random.default_rng(1)
    upper = np.triu(rng.uniform(size=(5, 5)), 1)
    preference = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(5)
    problem = gpo.PreferenceProblem(preference, rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5)))
    np.testing.assert_allclose(
        link_log_ratio(problem, "squared", 0.3), problem.solve("squared", 0.3).log_ratio, atol=1e-8
    )


@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential"])
def test_training_of_free_logits_ends_there_off_the_support_too(loss: str) -> None:
    problem, beta = problem_of(2), 0.5
    slope = abs(float(gpo.get_loss(loss).derivative(0.0, 1)))
    run = gpo.train(problem, loss, beta, learning_rate=0.5 / (beta**2 * slope), steps=4000, record_every=4000)
    np.testing.assert_allclose(
        np.log(run.final_policy / problem.reference), link_log_ratio(problem, loss, beta), atol=1e-6
    )


def test_no_link_for_certain_pairs_and_none_for_comparisons() -> None:
    certain = gpo.PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    assert np.isnan(link_log_ratio(certain, "dpo", 1.0)).all()
    assert np.ptp(link_log_ratio(certain, "ipo", 2.0)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="comparisons"):
        link_log_ratio(gpo.PreferenceProblem.from_comparisons(certain.sample(5, seed=0)), "dpo", 1.0)


def test_sizes_on_and_off_the_support() -> None:
    problem, h = problem_of(3), np.random.default_rng(4).normal(size=6)
    policy = problem.reference * np.exp(h)
    policy /= policy.sum()
    size = np.abs(np.log(policy / problem.reference))
    found = deviation(problem, h)
    assert compared(problem).tolist() == [True] * 4 + [False] * 2
    assert found.largest_on == pytest.approx(size[:4].max())
    assert found.mean_on == pytest.approx(size[:4].mean())
    assert found.largest_off == pytest.approx(size[4:].max())
    assert found.mean_off == pytest.approx(size[4:].mean())
    assert found.mass_off == pytest.approx(policy[4:].sum())
    assert found.reference_mass_off == pytest.approx(problem.reference[4:].sum())
    assert np.isnan(deviation(problem_of(3, 4, 4), h[:4]).largest_off)
    with pytest.raises(ValueError, match="log_ratio"):
        deviation(problem, h[:3])


@pytest.mark.parametrize("with_features", [False, True])
@pytest.mark.parametrize("loss", ["logistic", "hinge", "savage"])
@pytest.mark.parametrize("seed", [5, 6])
def test_chosen_slope_is_the_first_derivative_of_training(with_features: bool, loss: str, seed: int) -> None:
    problem, beta = problem_of(seed), 0.7
    data = gpo.PreferenceProblem.from_comparisons(problem.sample(30, seed=seed), problem.reference)
    features = np.random.default_rng(seed).normal(size=(6, 3)) if with_features else None
    slope, rate = abs(float(gpo.get_loss(loss).derivative(0.0, 1))), 1e-6
    for source in (problem, data):
        run = gpo.train(source, loss, beta, learning_rate=rate, steps=1, features=features)
        change = float(np.diff(run.columns["chosen_logp"])[0])
        assert change / (rate * beta * slope) == pytest.approx(chosen_slope(source, features), rel=1e-4, abs=1e-7)


def test_chosen_cannot_fall_at_first_where_pairs_come_from_the_reference_and_can_elsewhere() -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        mu = rng.dirichlet(np.ones(5))
        problem = gpo.PreferenceProblem(gpo.bradley_terry(rng.normal(size=5)), mu)
        seen = mu * (1 - mu)  # how often a response is in a pair of unequal draws
        assert chosen_slope(problem, rng.normal(size=(5, 3)), policy=seen / seen.sum()) > 0
    # the loser shares its feature with what πref likes: pushing it down pulls nothing up; and the other way about
    pair = gpo.PreferenceProblem([[0.5, 0.9, 0.5], [0.1, 0.5, 0.5], [0.5] * 3], [0.5, 0.5, 0.0], [0.01, 0.01, 0.98])
    assert chosen_slope(pair, [[1.0], [0.0], [3.0]]) < 0 < chosen_slope(pair, [[1.0], [0.0], [-3.0]])
    with pytest.raises(ValueError, match="policy"):
        chosen_slope(pair, policy=[0.5, 0.5])
