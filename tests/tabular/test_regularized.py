"""The KL-regularized optimum against direct maximisation, limits and bad input."""

from __future__ import annotations

import cvxpy as cp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpo_analysis.tabular.regularized import regularized_optimum
from tests.cases import cases


@pytest.mark.parametrize("beta", [0.05, 1.0, 30.0])
def test_maximises_reward_minus_kl_by_cvxpy(beta: float) -> None:
    rng = np.random.default_rng(1)
    reward, reference = rng.normal(size=6), rng.dirichlet(np.ones(6))
    policy = cp.Variable(6)
    objective = policy @ reward - beta * cp.sum(cp.kl_div(policy, reference))
    cp.Problem(cp.Maximize(objective), [cp.sum(policy) == 1]).solve()
    np.testing.assert_allclose(regularized_optimum(reward, reference, beta), policy.value, atol=2e-5)


def test_against_fifty_digits() -> None:
    reward, reference, beta = [0.3, -1.7, 2.2], [0.2, 0.5, 0.3], 0.037
    with mpmath.workdps(50):
        weights = [mpmath.mpf(p) * mpmath.exp(mpmath.mpf(r) / beta) for r, p in zip(reward, reference, strict=True)]
        exact = [float(mpmath.log(w / sum(weights))) for w in weights]
    np.testing.assert_allclose(regularized_optimum(reward, reference, beta, log=True), exact, rtol=1e-14, atol=1e-20)


def test_keeps_in_the_log_what_underflows() -> None:
    log_policy = regularized_optimum([0.0, 1.0], [0.5, 0.5], 1e-5, log=True)
    assert log_policy[0] == pytest.approx(-1e5)
    assert regularized_optimum([0.0, 1.0], [0.5, 0.5], 1e-5)[0] == 0.0


@pytest.mark.parametrize("beta", [1e-320, 1e-300, 1e-6])
def test_small_beta_keeps_the_reference_on_the_best(beta: float) -> None:
    np.testing.assert_allclose(regularized_optimum([1e3, 1e3, -1e3], [0.1, 0.3, 0.6], beta), [0.25, 0.75, 0.0])


def test_large_beta_is_the_reference() -> None:
    np.testing.assert_allclose(regularized_optimum([1.0, 2.0, 3.0], [0.1, 0.3, 0.6], 1e300), [0.1, 0.3, 0.6])


def test_outside_the_reference_nothing_even_if_best() -> None:
    policy = regularized_optimum([0.0, 1.0, 1e9], [0.5, 0.5, 0.0], 1.0)
    assert policy[2] == 0.0
    assert policy[1] == pytest.approx(1 / (1 + np.exp(-1)))


def test_broadcasts_over_prompts() -> None:
    reward = np.array([[0.0, 1.0], [2.0, -1.0]])
    both = regularized_optimum(reward, [0.3, 0.7], 0.5)
    assert both.shape == (2, 2)
    for row, expected in zip(reward, both, strict=True):
        np.testing.assert_array_equal(regularized_optimum(row, [0.3, 0.7], 0.5), expected)
    prompts = regularized_optimum([0.0, 1.0], [[0.3, 0.7], [1.0, 0.0]], 0.5)
    np.testing.assert_array_equal(prompts[1], [1.0, 0.0])


@cases(50)
@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=6),
    st.floats(1e-3, 1e3),
    st.floats(-1e3, 1e3),
)
def test_log_ratio_is_reward_over_beta_up_to_a_constant(reward: list[float], beta: float, shift: float) -> None:
    reference = np.full(len(reward), 1 / len(reward))
    log_policy = regularized_optimum(np.add(reward, shift), reference, beta, log=True)
    assert np.exp(log_policy).sum() == pytest.approx(1.0)
    h = log_policy - np.log(reference)
    np.testing.assert_allclose(beta * (h - h[0]), np.subtract(reward, reward[0]), atol=1e-9 * (1 + beta))


@pytest.mark.parametrize(
    ("reward", "reference", "beta", "message"),
    [
        ([0.0, np.nan], [0.5, 0.5], 1.0, "reward"),
        (1.0, [0.5, 0.5], 1.0, "reward"),
        ([0.0, 1.0], [0.2, 0.3, 0.5], 1.0, "shape"),
        ([0.0, 1.0], [0.6, 0.6], 1.0, "sum to one"),
        ([0.0, 1.0], [1.5, -0.5], 1.0, "non-negative"),
        ([0.0, 1.0], [np.nan, 0.5], 1.0, "non-negative"),
        ([0.0, 1.0], [0.5, 0.5], 0.0, "beta"),
        ([0.0, 1.0], [0.5, 0.5], np.nan, "beta"),
        ([0.0, 1.0], [0.5, 0.5], np.inf, "beta"),
    ],
)
def test_bad_input(reward: object, reference: object, beta: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        regularized_optimum(reward, reference, beta)  # type: ignore[arg-type]
