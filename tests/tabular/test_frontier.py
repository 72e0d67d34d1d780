"""Frontiers against constrained optimisation, best-of-n against sampling and its bound."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.tabular import best_of_n, reward_frontier, win_rate, win_rate_frontier

RNG = np.random.default_rng(5)
REWARD, REFERENCE = RNG.normal(size=6), RNG.dirichlet(np.full(6, 2.0))


@pytest.mark.parametrize("which", ["reward", "win rate"])
def test_no_policy_of_the_same_kl_is_better(which: str) -> None:
    preference = gpo.bradley_terry(REWARD)
    gain = REWARD if which == "reward" else preference @ REFERENCE
    curve = reward_frontier(REWARD, REFERENCE) if which == "reward" else win_rate_frontier(preference, REFERENCE)
    assert np.all(np.diff(curve.kl) >= -1e-12)
    for k in (60, 90, 110):
        pi = cp.Variable(6)
        budget = [cp.sum(cp.kl_div(pi, REFERENCE)) <= curve.kl[k], cp.sum(pi) == 1, pi >= 0]
        best = cp.Problem(cp.Maximize(gain @ pi), budget).solve(solver=cp.CLARABEL)
        assert curve.value[k] == pytest.approx(best, abs=1e-5)
    assert curve.at(curve.kl[90]) == pytest.approx(curve.value[90])


def test_win_rate_by_hand_and_of_the_reference_itself() -> None:
    preference = gpo.bradley_terry(REWARD)
    assert win_rate(REFERENCE, REFERENCE, preference) == pytest.approx(0.5)
    rows = win_rate(np.eye(6), REFERENCE, preference)
    np.testing.assert_allclose(rows, [sum(preference[i, j] * REFERENCE[j] for j in range(6)) for i in range(6)])


@pytest.mark.parametrize("n", [1, 2, 7])
def test_best_of_n_is_what_sampling_gives(n: int) -> None:
    scores = np.array([0.3, 2.0, 0.3, -1.0, 0.5, 1.0])  # one tie
    policy = best_of_n(scores, REFERENCE, n)
    rng = np.random.default_rng(0)
    draws = rng.choice(6, size=(200_000, n), p=REFERENCE)
    kept = draws[np.arange(len(draws)), np.argmax(scores[draws] + 1e-9 * rng.random(draws.shape), axis=1)]
    np.testing.assert_allclose(np.bincount(kept, minlength=6) / len(draws), policy, atol=5e-3)
    assert gpo.kl_divergence(policy, REFERENCE) <= np.log(n) - (n - 1) / n + 1e-12


def test_best_of_n_reaches_its_bound_on_a_fine_grid() -> None:
    policy = best_of_n(np.arange(20_000.0), np.full(20_000, 1 / 20_000), 8)
    assert gpo.kl_divergence(policy, np.full(20_000, 1 / 20_000)) == pytest.approx(np.log(8) - 7 / 8, abs=1e-3)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        best_of_n(REWARD, REFERENCE, 0)
    with pytest.raises(ValueError, match="finite"):
        reward_frontier([0.0, np.inf], [0.5, 0.5])
