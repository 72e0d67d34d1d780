"""The Nash policy against scipy's root finder, mirror descent, cvxpy, and its own certificate."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import root

from gpo_analysis.tabular import nash as nash_module
from gpo_analysis.tabular.nash import NashSolution, nash_policy
from tests.cases import cases


def random_game(n: int, seed: int, sharp: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    upper = np.triu(np.round(rng.random((n, n))) if sharp else rng.random((n, n)), 1)
    preference = upper + np.tril(1 - upper.T, -1)
    np.fill_diagonal(preference, 0.5)
    return preference, rng.dirichlet(np.ones(n))


def log_sum_exp(x: np.ndarray) -> float:
    return float(x.max() + np.log(np.exp(x - x.max()).sum()))


def value(pi: np.ndarray, other: np.ndarray, preference: np.ndarray, reference: np.ndarray, tau: float) -> float:
    """Payoff of the first player, from the definition."""

    def kl(p: np.ndarray) -> float:
        return float(np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / reference), 0.0)))

    return float(pi @ preference @ other) - tau * kl(pi) + tau * kl(other)


CYCLE = np.array([[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]])


@pytest.mark.parametrize("tau", [10.0, 1.0, 0.3, 0.1])
@pytest.mark.parametrize("n", [2, 3, 8])
def test_against_scipy_root(n: int, tau: float) -> None:
    preference, reference = random_game(n, seed=n)

    def fixed_point(logits: np.ndarray) -> np.ndarray:
        policy = np.exp(logits - log_sum_exp(logits))
        return logits - np.log(reference) - (preference - 0.5) @ policy / tau

    found = root(fixed_point, np.log(reference), method="hybr", tol=1e-14)
    assert np.abs(found.fun).max() < 1e-10
    independent = np.exp(found.x - log_sum_exp(found.x))
    solution = nash_policy(preference, reference, tau)
    assert solution.converged
    np.testing.assert_allclose(solution.policy, independent, atol=1e-11)


def test_against_mirror_descent_as_in_nash_md() -> None:
    """Nash-MD (Munos et al. 2023): a step against the mixture of the policy with the reference."""
    preference, reference = random_game(6, seed=4)
    tau, eta = 0.2, 0.05
    log_policy = np.log(reference)
    for _ in range(8000):
        mixture = (1 - eta * tau) * log_policy + eta * tau * np.log(reference)
        opponent = np.exp(mixture - log_sum_exp(mixture))
        log_policy = mixture + eta * (preference @ opponent)
        log_policy -= log_sum_exp(log_policy)
    # Nash-MD stops short of the equilibrium by the mixture with the reference, of the order of η.
    solution = nash_policy(preference, reference, tau)
    np.testing.assert_allclose(solution.policy, np.exp(log_policy), atol=5e-3)


def test_against_cvxpy_through_the_duality_gap() -> None:
    """Minimising the convex duality gap with another solver gives the same policy."""
    preference, reference = random_game(5, seed=9)
    tau = 0.25
    policy = cp.Variable(5)
    best = tau * cp.log_sum_exp(np.log(reference) + (preference - 0.5) @ policy / tau)
    cp.Problem(cp.Minimize(best + tau * cp.sum(cp.kl_div(policy, reference))), [cp.sum(policy) == 1]).solve()
    np.testing.assert_allclose(nash_policy(preference, reference, tau).policy, policy.value, atol=1e-4)


@cases(60)
@given(st.integers(2, 12), st.integers(0, 10**6), st.floats(-6, 2), st.booleans())
def test_certificate_and_best_responses(n: int, seed: int, log10_tau: float, sharp: bool) -> None:
    preference, reference = random_game(n, seed, sharp)
    tau = 10.0**log10_tau
    solution = nash_policy(preference, reference, tau)
    assert solution.converged
    assert solution.gap <= 1e-12
    assert solution.distance_bound < 1e-6
    assert solution.policy.sum() == pytest.approx(1.0, abs=1e-12)
    best = tau * log_sum_exp(np.log(reference) + preference @ solution.policy / tau)
    kl = float(np.sum(np.where(solution.policy > 0, solution.policy * np.log(
        np.where(solution.policy > 0, solution.policy, 1) / reference), 0.0)))  # fmt: skip
    assert 2 * (best - 0.5 + tau * kl) < 1e-10  # the gap, from its definition
    rng = np.random.default_rng(seed)
    for deviation in rng.dirichlet(np.ones(n), size=5):
        assert value(deviation, solution.policy, preference, reference, tau) <= 0.5 + 1e-10


def test_gap_is_the_duality_gap_where_not_converged() -> None:
    preference, reference = random_game(6, seed=3)
    tau = 0.01
    stopped = nash_policy(preference, reference, tau, max_iterations=3)
    assert not stopped.converged
    assert stopped.status == "not converged"
    assert stopped.reason.startswith("duality gap")
    best = tau * log_sum_exp(np.log(reference) + (preference - 0.5) @ stopped.policy / tau)
    kl = float(stopped.policy @ np.log(stopped.policy / reference))
    assert stopped.gap == pytest.approx(2 * (best + tau * kl), rel=1e-9)
    exact = nash_policy(preference, reference, tau)
    assert np.abs(stopped.policy - exact.policy).sum() <= stopped.distance_bound


def test_distance_bound_holds() -> None:
    preference, reference = random_game(6, seed=5)
    exact = nash_policy(preference, reference, 0.5)
    for steps in range(4):
        stopped = nash_policy(preference, reference, 0.5, max_iterations=steps)
        assert np.abs(stopped.policy - exact.policy).sum() <= stopped.distance_bound + 1e-12


def test_two_responses_in_closed_form() -> None:
    for probability in (0.5, 0.7, 1.0):
        for tau in (0.01, 0.5, 5.0):
            solution = nash_policy([[0.5, probability], [1 - probability, 0.5]], [0.2, 0.8], tau)
            logit = np.log(0.2 / 0.8) + (probability - 0.5) / tau
            np.testing.assert_allclose(np.log(solution.policy[0] / solution.policy[1]), logit, rtol=1e-10)


def test_large_tau_is_the_reference() -> None:
    preference, reference = random_game(7, seed=0)
    np.testing.assert_allclose(nash_policy(preference, reference, 1e12).policy, reference, rtol=1e-11)


@pytest.mark.parametrize("n", [3, 7, 30])
def test_small_tau_tends_to_the_maximal_lottery(n: int) -> None:
    preference, reference = random_game(n, seed=n)
    lottery = nash_policy(preference, reference, 0)
    assert lottery.converged
    assert lottery.gap < 1e-13
    assert (lottery.policy @ preference >= 0.5 - 1e-13).all()
    np.testing.assert_allclose(nash_policy(preference, reference, 1e-8).policy, lottery.policy, atol=1e-5)


def test_condorcet_winner_is_the_maximal_lottery() -> None:
    lottery = nash_policy([[0.5, 0.6, 0.7], [0.4, 0.5, 0.9], [0.3, 0.1, 0.5]], [0.1, 0.1, 0.8], 0)
    np.testing.assert_array_equal(lottery.policy, [1.0, 0.0, 0.0])
    assert lottery.converged


def test_several_maximal_lotteries_are_said() -> None:
    indifferent = nash_policy(np.full((3, 3), 0.5), [0.2, 0.3, 0.5], 0)
    assert not indifferent.converged
    assert indifferent.status == "not unique"
    clones = np.array([[0.5, 0.5, 0.9, 0.1], [0.5, 0.5, 0.9, 0.1], [0.1, 0.1, 0.5, 0.9], [0.9, 0.9, 0.1, 0.5]])
    assert nash_policy(clones, np.full(4, 0.25), 0).status == "not unique"
    # the limit of small τ is the lottery nearest to the reference: the clones keep its proportions
    limit = nash_policy(clones, [0.1, 0.2, 0.3, 0.4], 1e-6).policy
    np.testing.assert_allclose(limit, [1 / 9, 2 / 9, 1 / 3, 1 / 3], atol=1e-5)


def test_missing_from_the_reference_is_missing_from_the_policy() -> None:
    solution = nash_policy(CYCLE, [0.5, 0.0, 0.5], 0.1)
    assert solution.policy[1] == 0.0
    smaller = nash_policy(CYCLE[np.ix_([0, 2], [0, 2])], [0.5, 0.5], 0.1)
    np.testing.assert_allclose(solution.policy[[0, 2]], smaller.policy, rtol=1e-12)


def test_one_response() -> None:
    assert nash_policy([[0.5]], [1.0], 0.1).policy == [1.0]
    assert nash_policy([[0.5]], [1.0], 0).converged


def test_reads_as_an_array() -> None:
    solution = nash_policy(CYCLE, np.full(3, 1 / 3), 1.0)
    assert isinstance(solution, NashSolution)
    np.testing.assert_allclose(np.asarray(solution), 1 / 3)
    assert np.asarray(solution, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize(
    ("preference", "reference", "tau", "message"),
    [
        ([[0.5, 0.5]], [1.0], 1.0, "shape"),
        ([[0.5, 1.2], [-0.2, 0.5]], [0.5, 0.5], 1.0, "between 0 and 1"),
        ([[0.5, np.nan], [0.2, 0.5]], [0.5, 0.5], 1.0, "between 0 and 1"),
        ([[0.5, 0.7], [0.7, 0.5]], [0.5, 0.5], 1.0, r"got 1\.4"),
        (CYCLE, [0.5, 0.5], 1.0, "reference must have shape"),
        (CYCLE, [0.5, 0.5, 0.5], 1.0, "sum to one"),
        (CYCLE, [1.5, -0.5, 0.0], 1.0, "non-negative"),
        (CYCLE, [0.2, 0.3, 0.5], -1.0, "tau"),
        (CYCLE, [0.2, 0.3, 0.5], 1e-13, "tau"),
        (CYCLE, [0.2, 0.3, 0.5], np.nan, "tau"),
        (CYCLE, [0.2, 0.3, 0.5], np.inf, "tau"),
    ],
)
def test_bad_input(preference: object, reference: object, tau: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nash_policy(preference, reference, tau)  # type: ignore[arg-type]


def test_bad_tolerance() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        nash_policy(CYCLE, [0.2, 0.3, 0.5], 1.0, tolerance=0.0)


@pytest.mark.parametrize(("tau", "seed"), [(0.1, 0), (0.1, 3), (0.03, 0), (0.03, 3)])
def test_a_step_that_is_too_long_is_halved(tau: float, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From logits of spread 4 in a cycle: whole steps alone do not lead to the root, the search along them does."""
    payoff, log_ref = np.array([[0, 0.4, -0.4], [-0.4, 0, 0.4], [0.4, -0.4, 0]]), np.log([0.2, 0.3, 0.5])
    inner, calls = nash_module._residual, []

    def counted(*given: object) -> object:
        calls.append(1)
        return inner(*given)

    monkeypatch.setattr(nash_module, "_residual", counted)
    logits, steps, done = nash_module._newton(payoff, log_ref, tau, np.random.default_rng(seed).normal(0, 4, 3), 200)
    assert done
    assert steps <= 20
    assert len(calls) > steps + 1
    assert np.abs(inner(payoff, log_ref, tau, logits)).max() < 1e-12


@pytest.mark.parametrize(("left", "done"), [(1.0, False), (1e-13, True)])
def test_where_no_step_helps_rounding_is_told_from_failure(
    left: float, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nash_module, "_residual", lambda *given: np.array([left, 0.0]))
    start = np.array([0.3, -0.3])
    logits, steps, ended = nash_module._newton(np.zeros((2, 2)), np.zeros(2), 1.0, start, 50)
    np.testing.assert_array_equal(logits, start)
    assert (steps, ended) == (1, done)
