"""Preference models against closed forms and simulation; every result is a valid preference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

import gpo_analysis as gpo
from gpo_analysis.preferences import from_matrix

NAN, INF = float("nan"), float("inf")


def assert_valid(matrix):
    from_matrix(matrix)
    assert np.all(np.diagonal(matrix, axis1=-2, axis2=-1) == 0.5)


@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.1, 1.0, 1e3]))
def test_all_models_give_preferences(seed, n, scale):
    rng = np.random.default_rng(seed)
    scores = scale * rng.normal(size=n)
    models = [gpo.bradley_terry(scores), gpo.thurstone(scores), gpo.deterministic(scores)]
    for model in models:
        assert_valid(model)
        assert_valid(gpo.label_noise(model, 0.3))
    assert_valid(gpo.mixture_of_annotators(models, [0.5, 0.25, 0.25]))
    if n >= 3:
        assert_valid(gpo.cyclic(n, 0.4))
        assert_valid(gpo.cyclic(models[0], 0.4))


def test_bradley_terry_is_the_odds_of_exponentials():
    r = np.array([0.3, -1.0, 2.0])
    w = np.exp(r)
    np.testing.assert_allclose(gpo.bradley_terry(r), w[:, None] / (w[:, None] + w[None, :]), rtol=1e-14)
    np.testing.assert_allclose(gpo.bradley_terry(r + 100), gpo.bradley_terry(r), rtol=1e-12)
    assert gpo.bradley_terry(np.zeros((2, 3))).shape == (2, 3, 3)


def test_bradley_terry_far_apart_keeps_the_small_side():
    assert gpo.bradley_terry([0.0, 100.0])[0, 1] == pytest.approx(np.exp(-100.0), rel=1e-12)


def test_thurstone_is_the_chance_that_one_normal_draw_beats_another():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.7, 1.5, 400_000), rng.normal(0.0, 1.5, 400_000)
    assert gpo.thurstone([0.7, 0.0], 1.5)[0, 1] == pytest.approx(np.mean(a > b), abs=3e-3)
    assert gpo.thurstone([0.7, 0.0], 1.5)[0, 1] == pytest.approx(norm.cdf(0.7 / np.sqrt(4.5)), rel=1e-12)


def test_deterministic_and_ties():
    np.testing.assert_array_equal(gpo.deterministic([1.0, 1.0, 0.0]), [[0.5, 0.5, 1], [0.5, 0.5, 1], [0, 0, 0.5]])


def test_cycles():
    np.testing.assert_array_equal(gpo.cyclic(3, 1.0), [[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])
    np.testing.assert_array_equal(gpo.cyclic(5, 0.0), np.full((5, 5), 0.5))
    assert gpo.cyclic(4, 1.0)[0, 2] == 0.5, "opposite on a circle of even length"
    base = gpo.bradley_terry([0.0, 1.0, 2.0])
    np.testing.assert_allclose(gpo.cyclic(base, 0.25), 0.75 * base + 0.25 * gpo.cyclic(3, 1.0))
    for strength in (0.1, 0.5, 1.0):
        assert gpo.diagnostics(gpo.cyclic(7, strength)).hodge.cyclic_share == pytest.approx(1.0)


def test_annotators_who_are_each_consistent_may_cycle_together():
    voters = [gpo.deterministic(s) for s in ([3, 2, 1], [1, 3, 2], [2, 1, 3])]
    assert gpo.diagnostics(gpo.mixture_of_annotators(voters)).cyclic_share == 1.0
    assert all(gpo.diagnostics(v).cyclic_share == 0.0 for v in voters)


def test_label_noise_composes():
    p = gpo.bradley_terry([0.0, 2.0])
    np.testing.assert_allclose(gpo.label_noise(gpo.label_noise(p, 0.1), 0.2), gpo.label_noise(p, 0.1 * 0.8 + 0.9 * 0.2))
    np.testing.assert_allclose(gpo.label_noise(p, 0.5), 0.5)
    np.testing.assert_allclose(gpo.label_noise(p, 1.0), p.T)


def test_counts():
    np.testing.assert_allclose(gpo.from_counts([[9, 3], [1, 9]]), [[0.5, 0.75], [0.25, 0.5]])
    np.testing.assert_allclose(gpo.from_counts([[0, 3], [0, 0]], prior=1), [[0.5, 0.8], [0.2, 0.5]])
    with pytest.raises(ValueError, match="0 and 1 were never compared"):
        gpo.from_counts([[0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gpo.bradley_terry([0.0, NAN]), r"rewards\[1\] is nan"),
        (lambda: gpo.bradley_terry([0.0, INF]), r"rewards\[1\] is inf"),
        (lambda: gpo.bradley_terry(1.0), r"rewards must have shape \(..., n\)"),
        (lambda: gpo.bradley_terry([]), r"rewards must have shape"),
        (lambda: gpo.bradley_terry(["a", "b"]), "rewards must be an array of real numbers"),
        (lambda: gpo.thurstone([0.0, 1.0], 0.0), "scale must be a finite number above 0, got 0.0"),
        (lambda: gpo.thurstone([0.0, 1.0], "wide"), "scale must be a finite number"),
        (lambda: gpo.cyclic(2, 0.5), "at least 3"),
        (lambda: gpo.cyclic(-3, 0.5), "at least 3"),
        (lambda: gpo.cyclic(True, 0.5), "base must be square"),
        (lambda: gpo.cyclic(3, 1.5), r"strength must be a number in \[0, 1\], got 1.5"),
        (lambda: gpo.cyclic(3, "a"), r"strength must be a number in \[0, 1\]"),
        (lambda: gpo.cyclic(np.full((2, 3, 3), 0.5), 0.5), r"one \(n, n\) matrix"),
        (lambda: gpo.mixture_of_annotators([[0.5]]), r"shape \(a, ..., n, n\)"),
        (lambda: gpo.mixture_of_annotators([[[0.5]]], [0.5, 0.5]), r"weights must have shape \(1,\)"),
        (lambda: gpo.mixture_of_annotators([[[0.5]]] * 2, [0.5, 0.6]), "weights must sum to 1"),
        (lambda: gpo.label_noise([[0.5]], -0.1), r"epsilon must be a number in \[0, 1\], got -0.1"),
        (lambda: gpo.label_noise([[0.5]], NAN), "epsilon"),
        (lambda: gpo.label_noise([[0.5, 1], [1, 0.5]], 0.1), "must be 1"),
        (lambda: gpo.from_counts([[0, -1], [1, 0]]), r"counts\[0, 1\] is -1.0"),
        (lambda: gpo.from_counts([[0, NAN], [1, 0]]), r"counts\[0, 1\] is nan"),
        (lambda: gpo.from_counts([0, 1]), r"counts must have shape \(n, n\)"),
        (lambda: gpo.from_counts([[0, 1], [1, 0]], prior=-1), "prior must be a finite number of at least 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rows_of_a_stack_are_named():
    with pytest.raises(ValueError, match=r"behavior must sum to 1 .* in row \[1\], got 0.9"):
        gpo.PreferenceProblem(np.full((2, 2, 2), 0.5), [[0.5, 0.5], [0.5, 0.4]])


def test_scores_that_are_no_numbers_are_called_scores() -> None:
    from gpo_analysis.preferences.models import deterministic

    with pytest.raises(ValueError, match=r"scores\[1\] is nan; accepted are finite numbers"):
        deterministic([0.0, float("nan")])
    with pytest.raises(ValueError, match=r"scores must have shape \(\.\.\., n\)"):
        deterministic(1.0)
