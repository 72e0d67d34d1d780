"""What took the place of the testbed's failed claims, against hand calculation, sampling and high precision."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize, minimize_scalar

import gpo_analysis as gpo
from experiments._seeds import median_interval
from experiments.over_optimisation import best
from experiments.over_optimisation.setting import Config, first_peak, world_of
from experiments.policy_deviation import chosen
from experiments.policy_deviation.setting import by_problem, linear_direction
from experiments.speed_and_dynamics.setting import fitted
from experiments.taylor_in_training import rule
from gpo_analysis.tabular import PreferenceProblem, solve_features


@pytest.mark.parametrize("name", ["logistic", "squared", "savage"])
def test_the_attenuated_fit_is_that_of_many_random_pairs(name: str) -> None:
    rng, loss = np.random.default_rng(0), gpo.get_loss(name)
    phi, other = rng.normal(size=(2, 400_000, 4))
    gap = (phi - other)[:, 0] - 0.6 * ((phi**2).sum(axis=1) - (other**2).sum(axis=1))
    eta, u = 1.0 / (1.0 + np.exp(-gap)), (phi - other)[:, 0]
    fit = minimize_scalar(
        lambda v: np.mean(eta * loss(v * u) + (1 - eta) * loss(-v * u)), bounds=(0.05, 2), method="bounded"
    )
    expected = best.attenuated(name, 1.0, 1.2, 4)
    assert expected == pytest.approx(1.2 * float(loss.curvature_ratio) * fit.x, rel=0.01)


def test_the_projection_is_the_minimum_of_the_population_loss() -> None:
    features, gold, _ = world_of(Config(responses=12), 0)
    problem = PreferenceProblem(gpo.bradley_terry(gold))
    for name in ("logistic", "exponential"):
        found = minimize(lambda v, name=name: problem.loss_at(features @ v, name, 1.0), np.zeros(4), tol=1e-10)
        np.testing.assert_allclose(best.projected(features, gold, name), found.x, atol=1e-4)
        np.testing.assert_allclose(
            best.projected(features, gold, name), solve_features(problem, features, name, 1.0).weights, atol=1e-8
        )


def test_bias_and_covariance_of_the_fit_are_those_of_many_samples() -> None:
    features, gold, reference = world_of(Config(responses=30), 1)
    v = best.projected(features, gold, "logistic")
    _, sandwich, bias = best.moments(features, gold, "logistic", v)
    problem, fits = PreferenceProblem(gpo.bradley_terry(gold), reference), []
    for seed in range(1500):
        pairs = PreferenceProblem.from_comparisons(problem.sample(800, seed=seed), reference).directed_pairs()
        fits.append(best.fit(features[pairs.winner] - features[pairs.loser], pairs.weight, "logistic"))
    errors = np.array(fits) - v
    np.testing.assert_allclose(800 * np.cov(errors.T), sandwich, atol=0.15 * np.abs(sandwich).max())
    spread = 800 * errors.std(axis=0) / np.sqrt(1500)
    assert np.all(np.abs(800 * errors.mean(axis=0) - bias) < 4 * spread)


def test_the_first_peak_is_no_later_one() -> None:
    score = np.array([0.0, 1.0, 2.0, 10.0])
    assert first_peak(score, np.array([0.0, 1.0, -1.0, 5.0])) < first_peak(score, np.array([0.0, 1.0, -1.0, -5.0]))
    assert first_peak(score, -score) == np.inf
    assert first_peak(score, score) == 0.0
    x, tilts = np.linspace(-3.0, 3.0, 61), np.geomspace(1e-2, 30.0, 3001)
    gold = np.where(x > 2.9, 1.0, x - x**2)  # bends, but the farthest response is the best
    logits = tilts[:, None] * x
    policies = np.exp(logits - logits.max(axis=1, keepdims=True))
    rewards = (policies / policies.sum(axis=1, keepdims=True)) @ gold
    assert rewards.argmax() == len(tilts) - 1
    falling = int(np.flatnonzero(np.diff(rewards) < 0)[0])
    assert 1.0 / first_peak(x, gold) == pytest.approx(tilts[falling], rel=5e-3)


def test_the_chosen_cross_once_and_where_the_root_says() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        reference, winners, g = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6)), rng.normal(size=6)
        edge = chosen.crossing(winners, reference, g)
        for beta in np.geomspace(0.01, 100, 41):
            policy = reference * np.exp(g / beta) / (reference @ np.exp(g / beta))
            change = float(winners @ (np.log(policy) - np.log(reference)))
            assert chosen.change(winners, reference, g, beta) == pytest.approx(change, abs=1e-9)
            assert (change > 0) == (beta > edge)
        tilt, spread = chosen.moments(winners, reference, g)
        if tilt > 0:  # to second order in 1/β
            far = 1e4
            assert far**2 * (chosen.change(winners, reference, g, far) - tilt / far) == pytest.approx(
                -spread / 2, rel=1e-2
            )


def test_the_linear_solve_is_the_squared_fit_over_kappa() -> None:
    problem = PreferenceProblem(gpo.bradley_terry([0.0, 1.0, -0.5]))
    squared = problem.solve("squared", 1.0).log_ratio
    for name, kappa in (("squared", 1.0), ("logistic", 0.5)):
        found = linear_direction(problem, name, None)
        np.testing.assert_allclose(found - found.mean(), (squared - squared.mean()) / kappa, atol=1e-12)
    assert np.isnan(linear_direction(problem, "hinge", None)).all()


def test_time_to_the_radius_is_that_of_the_integrated_equation() -> None:
    loss, eta, speed = gpo.get_loss("logistic"), np.array([0.99, 0.7, 0.05]), np.array([0.3, 0.3, -0.2])
    found = rule.time_to(loss, 2.0, speed, eta)

    def pull(z: float, eta: float) -> float:
        return float((1 - eta) * loss.derivative(-z, 1) - eta * loss.derivative(z, 1))

    for k in (0, 2):
        moved = solve_ivp(
            lambda _, z, k=k: [speed[k] * pull(z[0], eta[k]) / pull(0.0, eta[k])], (0, found[k]), [0.0], rtol=1e-10
        )
        assert abs(moved.y[0, -1]) == pytest.approx(rule.REACHED * 2.0, rel=1e-4)
    assert found[1] == np.inf  # rests at log(0.7/0.3) < 2
    assert rule.time_to(loss, 2.0, -speed, eta)[0] == np.inf  # carried against its own labels
    np.testing.assert_allclose(rule.time_to(gpo.get_loss("hinge"), 1.0, speed, eta), rule.REACHED / np.abs(speed))
    z = np.array([0.4, -1.3])
    shares = rule.share_at(loss, z, np.full(2, 0.5))
    np.testing.assert_allclose(np.log(shares / (1 - shares)), z, atol=1e-12)


def test_a_window_with_two_modes_is_told_by_all_of_them_and_not_by_one() -> None:
    clock, decay, modes = np.arange(400.0), np.array([0.06, 0.065]), np.eye(3)[:, :2]
    gap = (np.array([1.0, 3.0]) * np.exp(-np.multiply.outer(clock, decay))) @ modes.T
    gap = gap - gap.mean(axis=1, keepdims=True)
    axes = np.linalg.qr(modes - modes.mean(axis=0))[0]  # as distances are up to a constant
    found = fitted(clock, (np.array([1.0, 3.0]) * np.exp(-np.multiply.outer(clock, decay))) @ axes.T, axes, decay)
    assert found.measured > 0.0605
    assert found.expected == pytest.approx(found.measured, rel=1e-9)
    assert found.slowest == pytest.approx(0.06, rel=1e-9)
    assert np.isnan(found.late)
    apart = np.array([0.06, 0.2])
    late = fitted(clock, (np.array([1.0, 3.0]) * np.exp(-np.multiply.outer(clock, apart))) @ axes.T, axes, apart)
    assert late.late == pytest.approx(0.06, rel=1e-6)


def test_intervals_are_over_problems() -> None:
    import pandas as pd

    hits, problem = pd.Series([True] * 6 + [False] * 2), pd.Series([0, 0, 0, 0, 1, 1, 1, 1])
    found = by_problem(hits, problem)
    assert found.value == 0.75
    assert found.high - found.low > 2  # two problems, not eight runs
    assert by_problem(hits[:6], problem[:6]).low == pytest.approx(0.342, abs=1e-3)  # Wilson, 2 of 2
    median = median_interval(np.arange(21.0))
    assert (median.value, median.low, median.high) == (10.0, 5.0, 15.0)
