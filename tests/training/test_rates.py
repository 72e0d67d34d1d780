"""Rates: closed forms, finite differences, and training itself."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.training import (
    ADAM_EDGE,
    adam_second_moments,
    early_phase,
    local_rates,
    logit_hessian,
    momentum_factor,
    pair_curvature,
    preconditioned_curvature,
)

SMOOTH = ("logistic", "squared", "exponential", "savage", "truncated_quadratic")


def problem_of(seed: int, n: int = 5) -> gpo.PreferenceProblem:
    rng = np.random.default_rng(seed)
    mu, reference = rng.dirichlet(np.full(n, 3.0), size=2)
    return gpo.PreferenceProblem(gpo.bradley_terry(rng.normal(size=n)), mu, reference)


@pytest.mark.parametrize(
    ("loss", "weight"),
    [
        ("logistic", lambda p: p * (1 - p)),
        ("exponential", lambda p: 2 * np.sqrt(p * (1 - p))),
        ("savage", lambda p: 2 * p**2 * (1 - p) ** 2),
        ("squared", lambda p: 2 + 0 * p),
        ("hinge", lambda p: 0 * p),
    ],
)
def test_weight_of_a_pair_at_its_own_optimum(loss: str, weight) -> None:  # type: ignore[no-untyped-def]
    eta = np.linspace(0.01, 0.99, 33)
    margin = {"exponential": 0.5, "squared": 0.0, "hinge": 0.3}.get(loss, 1.0) * np.log(eta / (1 - eta))
    np.testing.assert_allclose(pair_curvature(loss, eta, margin), weight(eta), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("loss", SMOOTH)
def test_hessian_is_the_second_difference_of_the_loss_in_the_logits(loss: str) -> None:
    problem, beta, rng = problem_of(1), 0.7, np.random.default_rng(2)
    h = 0.4 * rng.normal(size=5)

    def value(logits: np.ndarray) -> float:
        policy = np.exp(logits - np.logaddexp.reduce(logits))  # through the softmax: its Jacobian is in the difference
        return float(problem.population_loss(policy, loss, beta))

    logits, step = np.log(problem.reference) + h, 1e-4
    found = np.array(
        [
            [
                (value(logits + step * (a + b)) - value(logits + step * (a - b)) - value(logits - step * (a - b))
                 + value(logits - step * (a + b))) / (4 * step**2)
                for b in np.eye(5)
            ]
            for a in np.eye(5)
        ]
    )  # fmt: skip
    np.testing.assert_allclose(logit_hessian(problem, loss, beta, h), found, atol=2e-6)


def test_hessian_is_the_laplacian_of_the_comparison_graph() -> None:
    problem, beta = problem_of(3), 0.5
    h = problem.solve("logistic", beta).log_ratio
    mu, eta = problem.behavior, problem.preference
    z = beta * (h[:, None] - h[None, :])
    weights = 2 * beta**2 * np.outer(mu, mu) * pair_curvature("logistic", eta, z)
    np.fill_diagonal(weights, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    np.testing.assert_allclose(local_rates(problem, "logistic", beta).hessian, laplacian, atol=1e-12)


@pytest.mark.parametrize("loss", SMOOTH)
def test_beta_is_a_clock(loss: str) -> None:
    problem = problem_of(4)
    first, second = local_rates(problem, loss, 0.2), local_rates(problem, loss, 1.0)
    np.testing.assert_allclose(second.eigenvalues, 25 * first.eigenvalues, rtol=1e-6)
    assert first.null_modes == 1
    assert second.condition == pytest.approx(first.condition, rel=1e-6)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_descent_leaves_the_optimum_just_beyond_the_largest_stable_step(factor: float) -> None:
    problem, beta = problem_of(5), 0.5
    rates = local_rates(problem, "logistic", beta)
    goal = np.log(problem.reference) + problem.solve("logistic", beta).log_ratio
    start = goal + 1e-3 * np.linalg.eigh(rates.hessian)[1][:, -1]
    run = gpo.train(
        problem, "logistic", beta, learning_rate=factor * rates.largest_stable_step, steps=200, initial=start
    )
    gone = np.linalg.norm(run.final_logits - goal) > 1e-3
    assert gone == (factor > 1)
    assert (rates.descent_rate(factor * rates.largest_stable_step) < 0) == (factor > 1)


def test_best_step_has_the_best_rate() -> None:
    rates = local_rates(problem_of(6), "exponential", 0.3)
    best = rates.descent_rate(rates.best_step)
    assert all(rates.descent_rate(f * rates.best_step) < best for f in (0.9, 0.99, 1.01, 1.05))
    assert best == pytest.approx(-np.log((rates.condition - 1) / (rates.condition + 1)))


def test_no_rate_where_there_is_no_curvature_or_no_optimum() -> None:
    with pytest.raises(ValueError, match="no curvature"):
        local_rates(problem_of(7), "hinge", 1.0, np.zeros(5))
    certain = gpo.PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    with pytest.raises(ValueError, match="no unique finite optimum"):
        local_rates(certain, "logistic", 1.0)
    with pytest.raises(ValueError, match="eta"):
        pair_curvature("logistic", 1.2, 0.0)
    with pytest.raises(ValueError, match="log_ratio"):
        logit_hessian(certain, "logistic", 1.0, [0.0, np.inf])


def test_unconnected_graph_has_a_null_mode_a_component() -> None:
    comparisons = gpo.Comparisons.from_pairs([("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")])
    problem = gpo.PreferenceProblem.from_comparisons(comparisons)
    assert local_rates(problem, "logistic", 1.0, np.zeros(4)).null_modes == 2


@pytest.mark.parametrize("loss", [*SMOOTH, "hinge"])
def test_start_of_the_flow(loss: str) -> None:
    problem, beta = problem_of(8), 0.6
    start = early_phase(problem, loss, beta)
    time = 1e-3 / (beta * start.speed)
    run = gpo.train(problem, loss, beta, optimizer="flow", learning_rate=time, steps=1, keep=("logits",))
    assert run.logits is not None
    moved = run.logits[1] - run.logits[0]
    np.testing.assert_allclose(moved, start.speed * time * start.direction, rtol=5e-3, atol=1e-9)
    assert run.columns["kl"][1] == pytest.approx(start.kl_coefficient * time**2, rel=5e-3)
    change = run.columns["loss"][1] - run.columns["loss"][0]
    assert change / time == pytest.approx(start.loss_rate, rel=5e-3)


def test_start_needs_a_slope_below_zero() -> None:
    with pytest.raises(ValueError, match="slope"):
        early_phase(problem_of(9), "lrml", 1.0)


def test_second_moments_are_those_of_the_run() -> None:
    problem = problem_of(10)
    run = gpo.train(problem, "dpo", 1.0, optimizer="adam", learning_rate=0.05, steps=40, keep=("gradients",))
    assert run.gradients is not None
    found = adam_second_moments(run.gradients[:-1])[-1] * (1 - 0.999**40)
    np.testing.assert_allclose(found, run.state.moments[1], rtol=1e-10)


def test_factor_of_momentum_is_that_of_the_recursion() -> None:
    for step in (0.01, 0.5, 5.0, 37.0, 39.0):
        matrix = np.array([[1 - 0.1 * step, -0.9], [0.1 * step, 0.9]])  # (x, m): x − m′, m′ = 0.9 m + 0.1 s x
        assert momentum_factor(step) == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=1e-9)
    assert momentum_factor(ADAM_EDGE * 0.999) < 1 < momentum_factor(ADAM_EDGE * 1.001)


def test_preconditioned_curvature_is_that_of_the_product() -> None:
    rng = np.random.default_rng(11)
    root, moment = rng.normal(size=(4, 4)), rng.uniform(0.1, 2.0, 4)
    hessian = root @ root.T
    expected = np.sort(np.linalg.eigvals(np.diag(1 / (np.sqrt(moment) + 1e-8)) @ hessian).real)
    np.testing.assert_allclose(preconditioned_curvature(hessian, moment), expected, rtol=1e-9)
