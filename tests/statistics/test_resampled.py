"""Intervals of what is drawn again: against Student's, scipy's, and variances that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gpo_analysis.statistics import (
    bootstrap_interval,
    mean_interval,
    mean_share_interval,
    resampled_ends,
    resampled_interval,
    two_way,
    two_way_interval,
    two_way_means,
)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 12, 20])
def test_a_mean_of_few_has_at_least_students_interval(n: int) -> None:
    """Percentiles of n = 4 draws lie within the four values: a normal mean is outside of these once in eight times."""
    x = np.random.default_rng(n).normal(size=n)
    found = bootstrap_interval(x, np.mean, resamples=4000, seed=0)
    low, high = stats.t.interval(0.95, n - 1, loc=x.mean(), scale=stats.sem(x))
    assert found.low <= low + 0.03 * (high - low)
    assert found.high >= high - 0.03 * (high - low)
    assert found.high - found.low <= 1.35 * (high - low)  # and not much more: percentiles know the skew, too
    plain = stats.bootstrap((x,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0))
    assert found.low <= plain.confidence_interval.low
    assert plain.confidence_interval.high <= found.high


def test_many_have_the_percentiles() -> None:
    x = np.random.default_rng(0).exponential(size=4000)
    found = bootstrap_interval(x, np.mean, resamples=3000, seed=0)
    plain = stats.bootstrap((x,), np.mean, n_resamples=3000, method="percentile", rng=np.random.default_rng(0))
    width = plain.confidence_interval.high - plain.confidence_interval.low
    assert found.low == pytest.approx(plain.confidence_interval.low, abs=0.06 * width)
    assert found.high == pytest.approx(plain.confidence_interval.high, abs=0.06 * width)


def test_one_thing_has_no_interval_and_neither_have_draws_without_values() -> None:
    assert np.isnan(resampled_interval(1.0, [0.9, 1.1], 1).low)
    assert np.isnan(two_way([np.arange(8.0)[:, None]], lambda m: float(m.mean()), 20, 0).high)
    assert np.isnan(resampled_interval(1.0, [0.9, np.nan, 1.1, np.nan], 5).low)
    kept = resampled_interval(1.0, [0.9, 1.1, np.nan, *[1.0] * 20], 5)
    assert 0.9 < kept.low < 1
    assert np.isnan(resampled_interval(np.nan, [0.9, 1.1], 5).low)


def test_a_statistic_that_drawing_again_moves_shows_it() -> None:
    """The largest of n values is never below its draws' percentiles, the number of different ones always above."""
    values = np.arange(20.0)
    found = bootstrap_interval(values, lambda x: float(len(set(x))), seed=0)
    assert found.value == 20
    assert found.high < found.value


def test_ends_are_cut_to_what_a_statistic_can_be() -> None:
    hits = np.array([1.0, 1.0, 1.0, 0.0])
    assert bootstrap_interval(hits, np.mean, seed=0).high > 1
    assert bootstrap_interval(hits, np.mean, seed=0, within=(0, 1)).high == 1


def test_intervals_of_several_values_at_once_are_those_of_each() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6, 3))
    drawn = x[rng.integers(6, size=(500, 6))].mean(1)
    low, high = resampled_ends(x.mean(0), drawn, 6, 0.9)
    for k in range(3):
        one = resampled_interval(float(x[:, k].mean()), drawn[:, k], 6, 0.9)
        assert (one.low, one.high) == pytest.approx((low[k], high[k]))


def test_two_way_intervals_are_as_wide_as_seeds_and_prompts_make_them() -> None:
    """Means of nested normal draws: variance σ²_seed/S + σ²_prompt/(S·P), here by the bootstrap."""
    rng = np.random.default_rng(1)
    data = [rng.normal() + rng.normal(size=(30, 1)) for _ in range(40)]
    found = two_way(data, lambda m: float(m.mean()), 2000, 0)
    expected = np.sqrt(np.var([d.mean() for d in data]) / 40 + np.mean([d.var() for d in data]) / (40 * 30))
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_seeds_have_students_interval_of_their_means(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    data = [rng.normal() + 0.1 * rng.normal(size=(50, 1)) for _ in range(seeds)]
    found = two_way(data, lambda m: float(m.mean()), 3000, 0)
    student = mean_interval([part.mean() for part in data])
    assert found.low <= student.low + 0.03 * (student.high - student.low)
    assert found.high >= student.high - 0.03 * (student.high - student.low)


def test_prompts_count_where_seeds_happen_to_agree() -> None:
    """Seeds whose means are alike: the percentiles of prompts drawn again remain."""
    rows = np.random.default_rng(0).normal(size=(40, 1))
    found = two_way([rows, rows.copy(), rows.copy()], lambda m: float(m.mean()), 2000, 0)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(rows.std() / np.sqrt(3 * 40), rel=0.1)


def test_both_draws_are_of_the_same_seeds() -> None:
    data = [np.full((4, 1), float(k)) for k in range(5)]
    both, seeds = two_way_means(data, 30, 0)
    assert both.tolist() == seeds.tolist()
    one = two_way_interval(2.0, both.mean((1, 2)), seeds.mean((1, 2)), 5)
    assert (one.low, one.high) == (two_way(data, lambda m: float(m.mean()), 30, 0).low, one.high)


def test_what_has_no_prompts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prompts of each seed: \[2, 0\]"):
        two_way([np.ones((2, 1)), np.ones((0, 1))], lambda m: float(m.mean()), 10, 0)


def test_the_value_is_that_of_the_means_over_each_seeds_own_prompts() -> None:
    rng = np.random.default_rng(3)
    data = [rng.normal(size=(prompts, 2)) for prompts in (2, 3, 5)]
    ratios = [sum(row[0] for row in part) / sum(row[1] for row in part) for part in data]  # in plain Python
    found = two_way(data, lambda m: float(np.sum(m[:, 0] / m[:, 1])), 20, 0)
    assert found.value == pytest.approx(sum(ratios))


@pytest.mark.parametrize("n", [2, 4, 8])
def test_a_mean_of_shares_is_held_at_least_as_often_as_a_coin_is(n: int) -> None:
    """Exact, over all outcomes of coins: Wilson's interval holds p = 0.3 with the probability of its binomial."""
    weights = stats.binom.pmf(np.arange(n + 1), n, 0.3)
    held = [0.3 in mean_share_interval([1.0] * k + [0.0] * (n - k)) for k in range(n + 1)]
    assert weights @ held >= 0.9
    beta = np.random.default_rng(n).beta(0.6, 1.4, size=(2000, n))
    assert np.mean([0.3 in mean_share_interval(row) for row in beta]) >= 0.95
