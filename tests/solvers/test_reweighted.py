"""Refits to resampled counts from the known fit, against fits of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

import gpo_analysis as gpo
from gpo_analysis.estimation.resampling import resampled
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.reweighted import _inverse, minimise_reweighted


def games(n: int, k: int, seed: int = 0) -> gpo.Comparisons:
    rng = np.random.default_rng(seed)
    rewards = 0.7 * rng.normal(size=n)
    i = rng.integers(n, size=k)
    j = (i + rng.integers(1, n, size=k)) % n
    first = rng.random(k) < expit(rewards[i] - rewards[j])
    return gpo.Comparisons(np.where(first, i, j), np.where(first, j, i)).aggregated()


def refits(pool: gpo.Comparisons, name: str, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    problem = gpo.PreferenceProblem.from_comparisons(pool)
    pairs = problem.directed_pairs()
    known = WeightedPairs(pool.n, pairs.winner, pairs.loser, pairs.weight, 0.0, pool.items, None)
    weights = counts / counts.sum(axis=1, keepdims=True)
    return minimise_reweighted(known, gpo.get_loss(name), problem.fit(name).minima[0], weights)


@pytest.mark.parametrize("name", ["logistic", "squared", "exponential", "truncated_quadratic", "savage"])
def test_refits_are_those_of_a_cold_start(name):
    pool = games(15, 4000)
    counts = np.random.default_rng(1).multinomial(4000, pool.count / pool.total, size=8)
    found, done = refits(pool, name, counts)
    assert done.all()
    for row, count in zip(found, counts, strict=True):
        on = count > 0
        again = gpo.Comparisons(pool.winner[on], pool.loser[on], count[on], items=pool.items)
        cold = gpo.PreferenceProblem.from_comparisons(again).fit(name)
        np.testing.assert_allclose(row, cold.reward, atol=1e-9)


def test_weights_of_another_sum_and_far_ones():
    pool = games(10, 3000)
    doubled, done = refits(pool, "logistic", 2 * pool.count[None])
    assert done.all()
    np.testing.assert_allclose(
        doubled[0], gpo.PreferenceProblem.from_comparisons(pool).fit("logistic").reward, atol=1e-9
    )
    far = pool.count * np.where(pool.winner < pool.loser, 1e6, 1.0)  # nothing like the data: not taken
    _, done = refits(pool, "logistic", far[None])
    assert not done.any()


def test_items_that_a_resample_leaves_out_or_separates_are_left_to_others():
    pool = games(8, 2000)
    absent = np.where((pool.winner == 3) | (pool.loser == 3), 0.0, pool.count)
    winning = np.where(pool.loser == 5, 0.0, pool.count)
    apart = np.where((pool.winner < 4) == (pool.loser < 4), pool.count, 0.0)
    for name in ("logistic", "squared", "exponential"):
        _, done = refits(pool, name, np.stack([absent, apart]))
        assert not done.any(), name
    _, done = refits(pool, "logistic", winning[None])
    assert not done.any()


def test_the_bootstrap_is_that_of_cold_fits():
    pool = games(12, 400)
    found = gpo.bootstrap_scores(pool, "logistic", resamples=30, seed=3)
    again = resampled(pool, 30, seed=3)
    cold = np.array(
        [fit.reward for fit in gpo.fit([gpo.PreferenceProblem.from_comparisons(one) for one in again], "logistic")]
    )
    whole = cold[np.isfinite(cold).all(axis=1)]
    assert found.without_fit == 30 - len(whole)
    np.testing.assert_allclose(found.standard_error, whole.std(axis=0, ddof=1), atol=1e-8)


def test_kinks_are_left_to_others():
    pool = games(6, 500)
    _, done = refits(pool, "hinge", pool.count[None])
    assert not done.any()


@pytest.mark.parametrize("n", [2, 3, 7])
def test_the_inverse_is_the_laplacian_s_pseudoinverse(n):
    winner, loser = np.nonzero(np.triu(np.ones((n, n)), 1))
    curvature = np.random.default_rng(n).exponential(size=len(winner))
    pairs = WeightedPairs(n, winner, loser, curvature, 0.0, tuple(map(str, range(n))), None)
    table = np.zeros((n, n))
    table[winner, loser] = curvature
    table += table.T
    expected = np.linalg.pinv(np.diag(table.sum(1)) - table)
    np.testing.assert_allclose(np.asarray(_inverse(pairs, curvature)), expected, atol=1e-12 * np.abs(expected).max())
    assert _inverse(pairs, -curvature) is None
    alone = np.where((winner == 0) | (loser == 0), 0.0, curvature)
    assert _inverse(pairs, alone) is None


def test_kinks_and_fits_that_did_not_end_are_left_to_others_even_where_nothing_would_move():
    """The weights are the known ones and no margin is near the kink at 20: a step would be 0."""
    pool = games(6, 2000)
    problem = gpo.PreferenceProblem.from_comparisons(pool)
    pairs = problem.directed_pairs()
    known = WeightedPairs(pool.n, pairs.winner, pairs.loser, pairs.weight, 0.0, pool.items, None)
    (found,) = problem.fit("logistic").minima
    _, done = minimise_reweighted(known, gpo.get_loss("logistic"), found, pairs.weight[None])
    assert done.all()
    kinked = gpo.parse_loss("log(1+exp(-z)) + max(0, z-20)")
    _, done = minimise_reweighted(known, kinked, found, pairs.weight[None])
    assert not done.any()
    lost = replace(found, status=Status.NOT_CONVERGED)
    reward, done = minimise_reweighted(known, gpo.get_loss("logistic"), lost, pairs.weight[None])
    assert not done.any()
    assert np.isnan(reward).all()
