"""Mixtures: densities against scipy and mpmath, scores against differences, samples against the density, validation."""

from __future__ import annotations

import copy
import pickle

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gpo_analysis.gaussian import GaussianMixture

ONE = GaussianMixture([0.2, 0.5, 0.3], [-3.0, 0.5, 4.0], [0.5, 1.5, 1e-3])
TWO = GaussianMixture([0.4, 0.6], [[-1.0, 2.0], [3.0, 0.0]], [0.7, 1.3])


def test_log_prob_is_that_of_scipys_normals() -> None:
    y = np.linspace(-6, 6, 41)
    expected = np.log(
        sum(w * stats.norm.pdf(y, m, s) for w, m, s in zip(ONE.weights, ONE.means, ONE.scales, strict=True))
    )
    np.testing.assert_allclose(ONE.log_prob(y), expected, rtol=1e-12)


def test_log_prob_in_two_dimensions_is_that_of_scipys_multivariate_normal() -> None:
    y = np.random.default_rng(1).normal(size=(3, 7, 2)) * 3
    parts = zip(TWO.weights, TWO.means, TWO.scales, strict=True)
    expected = np.log(sum(w * stats.multivariate_normal(m, s**2 * np.eye(2)).pdf(y) for w, m, s in parts))
    assert TWO.log_prob(y).shape == (3, 7)
    np.testing.assert_allclose(TWO.log_prob(y), expected, rtol=1e-12)


@pytest.mark.parametrize("y", [-1e4, -37.0, -3.0, 0.0, 4.0, 4.001, 4.2, 1e4])
def test_log_prob_against_fifty_digits(y: float) -> None:
    with mpmath.workdps(50):
        parts = zip(ONE.weights.tolist(), ONE.means.tolist(), ONE.scales.tolist(), strict=True)
        expected = mpmath.log(sum(mpmath.mpf(w) * mpmath.npdf(mpmath.mpf(y), m, s) for w, m, s in parts))
    assert float(ONE.log_prob(y)) == pytest.approx(float(expected), rel=1e-13)


def test_log_prob_is_finite_far_out_and_minus_infinity_at_infinity() -> None:
    assert np.all(np.isfinite(ONE.log_prob([-1e4, 1e4, 1e100])))
    assert ONE.log_prob(np.inf) == -np.inf
    assert ONE.log_prob([1e200])[0] == -np.inf
    assert np.isnan(ONE.log_prob(np.nan))


def test_tiny_scales_and_many_components() -> None:
    narrow = GaussianMixture([1.0], [2.0], [1e-8])
    assert float(narrow.log_prob(2.0)) == pytest.approx(-np.log(1e-8) - 0.5 * np.log(2 * np.pi), rel=1e-14)
    rng = np.random.default_rng(0)
    many = GaussianMixture(np.full(50, 0.02), rng.normal(size=(50, 5)), np.full(50, 0.5))
    assert many.dimension == 5
    assert many.n_components == 50
    assert np.all(np.isfinite(many.log_prob(rng.normal(size=(20, 5)) * 1e4)))


def test_a_component_of_weight_zero_counts_for_nothing() -> None:
    with_zero = GaussianMixture([1.0, 0.0], [0.0, 5.0], [1.0, 1.0])
    without = GaussianMixture([1.0], [0.0], [1.0])
    y = np.array([-2.0, 0.0, 5.0])
    np.testing.assert_array_equal(with_zero.log_prob(y), without.log_prob(y))
    np.testing.assert_array_equal(with_zero.responsibilities(y)[:, 1], 0.0)


@pytest.mark.parametrize("g", [ONE, TWO])
def test_the_score_is_the_gradient_of_log_prob(g: GaussianMixture) -> None:
    y = g.sample(30, seed=3) + 0.1
    h = 1e-6
    for axis in range(g.dimension):
        move = h if g.event_shape == () else h * np.eye(g.dimension)[axis]
        slope = (g.log_prob(y + move) - g.log_prob(y - move)) / (2 * h)
        computed = g.score(y) if g.event_shape == () else g.score(y)[:, axis]
        np.testing.assert_allclose(computed, slope, rtol=2e-4, atol=1e-5)


def test_the_score_far_out_is_that_of_the_nearest_heaviest_tail() -> None:
    assert float(ONE.score(1e4)) == pytest.approx((0.5 - 1e4) / 1.5**2, rel=1e-12)


def test_responsibilities_sum_to_one_where_densities_underflow() -> None:
    r = ONE.responsibilities([[-1e4, 0.0], [4.0, 1e4]])
    assert r.shape == (2, 2, 3)
    np.testing.assert_allclose(r.sum(axis=-1), 1.0, rtol=1e-14)


@given(st.floats(-50, 50), st.floats(-1e3, 1e3))
def test_a_shift_moves_the_density(c: float, y: float) -> None:
    assert float(TWO.shifted(c).log_prob([y, 1.0])) == pytest.approx(float(TWO.log_prob([y - c, 1.0 - c])), rel=1e-9)


def test_a_shift_by_a_vector_moves_each_coordinate() -> None:
    np.testing.assert_allclose(TWO.shifted([1.0, -2.0]).means, TWO.means + np.array([1.0, -2.0]))


def test_samples_follow_the_density() -> None:
    g = GaussianMixture([0.2, 0.8], [-2.0, 1.0], [0.3, 1.0])
    y = g.sample(20_000, seed=5)

    def cdf(x: np.ndarray) -> np.ndarray:
        return 0.2 * stats.norm.cdf(x, -2.0, 0.3) + 0.8 * stats.norm.cdf(x, 1.0, 1.0)

    assert stats.kstest(y, cdf).pvalue > 0.01


def test_mean_and_covariance_are_those_of_samples() -> None:
    y = TWO.sample(200_000, seed=2)
    np.testing.assert_allclose(TWO.mean, y.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(TWO.covariance, np.cov(y.T), atol=0.05)
    x = ONE.sample(200_000, seed=2)
    assert float(ONE.mean) == pytest.approx(x.mean(), abs=0.03)
    assert float(ONE.covariance) == pytest.approx(x.var(), rel=0.02)


def test_samples_repeat_with_the_seed_and_differ_without() -> None:
    np.testing.assert_array_equal(ONE.sample(10, seed=7), ONE.sample(10, seed=7))
    assert not np.array_equal(ONE.sample(10, seed=7), ONE.sample(10, seed=8))
    rng = np.random.default_rng(7)
    np.testing.assert_array_equal(ONE.sample(10, seed=rng), ONE.sample(10, seed=7))
    assert ONE.sample(0).shape == (0,)
    assert TWO.sample(4).shape == (4, 2)


@pytest.mark.parametrize(
    ("weights", "means", "scales", "words"),
    [
        ([0.5, 0.6], [0.0, 1.0], [1.0, 1.0], "sum to one.*1.1"),
        ([-0.5, 1.5], [0.0, 1.0], [1.0, 1.0], "not be negative.*-0.5"),
        ([np.nan, 1.0], [0.0, 1.0], [1.0, 1.0], "weights must be finite.*nan"),
        ([0.5, 0.5], [0.0, np.inf], [1.0, 1.0], "means must be finite.*inf"),
        ([0.5, 0.5], [0.0, 1.0], [1.0, 0.0], "above zero.*0.0"),
        ([0.5, 0.5], [0.0, 1.0], [1.0, -2.0], "above zero.*-2.0"),
        ([0.5, 0.5], [0.0, 1.0], [1.0, np.nan], "scales must be finite.*nan"),
        ([0.5, 0.5], [0.0, 1.0, 2.0], [1.0, 1.0], r"means must have shape \(2,\).*\(3,\)"),
        ([0.5, 0.5], [0.0, 1.0], [1.0], r"scales must have shape \(2,\)"),
        ([], [], [], r"weights must have shape \(k,\)"),
        (1.0, 0.0, 1.0, r"weights must have shape \(k,\)"),
        ([1.0], np.zeros((1, 0)), [1.0], "means must have shape"),
        ([1.0], np.zeros((1, 2, 2)), [1.0], "means must have shape"),
        (["a"], [0.0], [1.0], "weights must be an array of real numbers"),
        ([1j], [0.0], [1.0], "weights must be an array of real numbers"),
    ],
)
def test_bad_mixtures_are_refused_by_name(weights: object, means: object, scales: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GaussianMixture(weights, means, scales)  # type: ignore[arg-type]


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="c must be finite"):
        ONE.shifted(np.nan)
    with pytest.raises(ValueError, match="c must be one number"):
        ONE.shifted([1.0, 2.0])
    with pytest.raises(ValueError, match=r"y must have shape \(\.\.\., 2\)"):
        TWO.log_prob([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="n must be"):
        ONE.sample(-1)


def test_a_mixture_is_a_value() -> None:
    again = GaussianMixture(ONE.weights, ONE.means, ONE.scales)
    assert again == ONE
    assert hash(ONE) == hash(again)
    assert ONE != TWO
    assert ONE != "mixture"
    assert pickle.loads(pickle.dumps(ONE)) == ONE
    assert copy.deepcopy(TWO) == TWO
    assert GaussianMixture([1.0], [-0.0], [1.0]) == GaussianMixture([1.0], [0.0], [1.0])
    assert hash(GaussianMixture([1.0], [-0.0], [1.0])) == hash(GaussianMixture([1.0], [0.0], [1.0]))
    with pytest.raises(ValueError, match="read-only"):
        ONE.weights[0] = 1.0


def test_it_copies_what_it_is_given() -> None:
    means = np.array([0.0, 1.0])
    g = GaussianMixture([0.5, 0.5], means, [1.0, 1.0])
    means[0] = 99.0
    assert g.means[0] == 0.0


def test_it_shows_itself() -> None:
    assert "0.2 N(-3, 0.5²) + 0.5 N(0.5, 1.5²)" in repr(ONE)
    assert "in 2 dimensions" in repr(TWO)
    assert "N((-1, 2), 0.7² I)" in repr(TWO)
    many = GaussianMixture(np.full(20, 0.05), np.arange(20.0), np.ones(20))
    assert "… 8 more" in repr(many)
    assert repr(many).count("\n") == 14
    html = many._repr_html_()
    assert html.count("<tr>") == 14
    assert r"\mathcal{N}" in html
    assert r"\dots" in many.latex()
    assert many.formula().endswith("…")
    for count in (1, 4, 5):
        some = GaussianMixture(np.full(count, 1 / count), np.arange(float(count)), np.ones(count))
        shown = min(count, 4)
        assert some.formula().count("N(") == some.latex().count(r"\mathcal{N}") == shown
        assert some.formula().endswith(" + …") == some.latex().endswith(r" + \dots") == (count > 4)
    wide = GaussianMixture([1.0], np.zeros((1, 9)), [1.0])
    assert "…" in repr(wide)
