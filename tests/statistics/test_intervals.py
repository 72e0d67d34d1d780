"""Intervals against scipy and their coverage; shares of variance against statsmodels' arithmetic done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gpo_analysis.statistics import Interval, bootstrap_interval, mean_interval, share_interval, variance_shares


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20), st.sampled_from([0.5, 0.9, 0.95]))
def test_mean_is_scipys_t_interval(values: list[float], confidence: float) -> None:
    found = mean_interval(values, confidence)
    spread = np.std(values, ddof=1) / np.sqrt(len(values))
    if spread > 0:
        low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=spread)
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert found.value in found or spread == 0


def test_few_or_no_values() -> None:
    assert np.isnan(mean_interval([]).value)
    one = mean_interval([2.0, np.nan])
    assert one.value == 2.0
    assert np.isnan(one.low)
    assert np.isnan(one.high)


def test_shares_by_wilsons_formula() -> None:
    n, k, z = 50, 7, stats.norm.ppf(0.975)
    p = k / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    found = share_interval(k, n)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half))
    assert found.value == p


def test_bootstrap_covers_a_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = sum(0.0 in bootstrap_interval(rng.normal(size=40), np.mean, resamples=200, seed=k) for k in range(200))
    assert 170 <= hits <= 199


def test_bootstrap_keeps_rows_whole_and_is_reproducible() -> None:
    x = np.column_stack([np.arange(10.0), 2 * np.arange(10.0)])
    slope = bootstrap_interval(x, lambda rows: float(rows[:, 1].sum() / rows[:, 0].sum()), seed=1)
    assert (slope.value, slope.low, slope.high) == pytest.approx((2, 2, 2))
    assert bootstrap_interval(x[:, 0], np.mean, seed=4) == bootstrap_interval(x[:, 0], np.mean, seed=4)
    assert bootstrap_interval(x[:, 0], np.mean, seed=4) != bootstrap_interval(x[:, 0], np.mean, seed=5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([1.0, 2.0], 1.5), "confidence must lie strictly between 0 and 1, got 1.5"),
        (lambda: share_interval(3, 2), "got 3 of 2"),
        (lambda: share_interval(0, 0), "total be at least 1"),
        (lambda: bootstrap_interval([1.0], np.mean, seed=0), "at least two repetitions"),
        (lambda: bootstrap_interval([1.0, 2.0], np.mean, resamples=0, seed=0), "resamples must be"),
        (lambda: variance_shares(np.zeros((2, 2)), ["f"], within=False), "has 2 axes; expected 1"),
        (lambda: variance_shares([[np.nan, 1.0]], ["f", "b"], within=False), "1 of 2 values are not"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_interval_shows_itself() -> None:
    assert f"{Interval(1.0, 0.5, 1.5):.2f}" == "1.00 [0.50, 1.50]"


@given(st.integers(0, 10**6))
def test_shares_add_up_and_find_planted_effects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = variance_shares(rng.normal(size=(2, 3, 4, 5)), ["a", "b", "c"])
    assert list(found) == ["a", "b", "c", "a:b", "a:c", "b:c", "a:b:c", "within"]
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) >= 0
    a, b = rng.normal(size=3), rng.normal(size=4)
    a, b = a - a.mean(), b - b.mean()
    planted = variance_shares(a[:, None] + b[None, :], ["a", "b"], within=False)
    total = 4 * (a**2).sum() + 3 * (b**2).sum()
    assert planted["a"] == pytest.approx(4 * (a**2).sum() / total)
    assert planted["a:b"] == pytest.approx(0, abs=1e-12)
    mixed = variance_shares(np.outer(a, b), ["a", "b"], within=False)
    assert mixed["a:b"] == pytest.approx(1)


def test_nothing_varies() -> None:
    assert np.isnan(variance_shares(np.ones((2, 2)), ["a", "b"], within=False)["a"])


@pytest.mark.parametrize("hits", [0, 1])
def test_a_share_of_one_trial(hits: int) -> None:
    """Wilson's at n = 1: from 0 to z²/(1 + z²), or from 1/(1 + z²) to 1."""
    z = stats.norm.ppf(0.975) ** 2
    found = share_interval(hits, 1)
    assert (found.low, found.high) == pytest.approx(((0, z / (1 + z)), (1 / (1 + z), 1))[hits])
    assert found.value == hits


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_confidence_lies_strictly_between_0_and_1(confidence: float) -> None:
    from gpo_analysis.statistics.intervals import checked_confidence

    with pytest.raises(ValueError, match="confidence must lie strictly between 0 and 1, got"):
        checked_confidence(confidence)
    assert (checked_confidence(1e-9), checked_confidence(0.5)) == (1e-9, 0.5)
