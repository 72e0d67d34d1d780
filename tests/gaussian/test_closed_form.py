"""Closed forms against integrals taken by scipy and against samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from gpo_analysis.gaussian import GaussianMixture, closed_form_kl, closed_form_mu_squared_loss

MEAN = st.floats(-5, 5)
SCALE = st.floats(0.05, 20)


@given(MEAN, SCALE, MEAN, SCALE)
def test_kl_against_scipys_quadrature(m: float, s: float, n: float, r: float) -> None:
    def f(z: float) -> float:
        y = m + s * z
        return stats.norm.pdf(z) * (stats.norm.logpdf(y, m, s) - stats.norm.logpdf(y, n, r))

    expected = integrate.quad(f, -12, 12, epsabs=1e-11, epsrel=1e-11, limit=200)[0]
    computed = closed_form_kl(GaussianMixture([1.0], [m], [s]), GaussianMixture([1.0], [n], [r]))
    assert computed == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_kl_of_extreme_scales_keeps_its_digits() -> None:
    base = GaussianMixture([1.0], [0.0], [1.0])
    nearly = GaussianMixture([1.0], [0.0], [1.0 + 1e-6])
    assert closed_form_kl(nearly, base) == pytest.approx(1e-12, rel=2e-4)  # e² + O(e³) for a relative e in the scale
    narrow = GaussianMixture([1.0], [0.0], [1e-30])
    assert closed_form_kl(narrow, base) == pytest.approx(30 * math.log(10) - 0.5, rel=1e-13)
    assert closed_form_kl(base, base) == 0.0


def test_mu_squared_loss_against_samples_in_three_dimensions() -> None:
    rng = np.random.default_rng(0)
    policy = GaussianMixture([1.0], rng.normal(size=(1, 3)), [0.8])
    reference = GaussianMixture([1.0], rng.normal(size=(1, 3)), [1.1])
    behavior = GaussianMixture([0.3, 0.7], rng.normal(size=(2, 3)), [0.5, 1.5])
    y = behavior.sample(400_000, seed=1)
    ratio = policy.log_prob(y) - reference.log_prob(y)
    error = ratio.var() * np.sqrt(stats.kurtosis(ratio, fisher=False) / len(y))
    assert abs(closed_form_mu_squared_loss(policy, reference, behavior) - ratio.var()) < 4 * error


@given(st.floats(-10, 10), SCALE, MEAN, SCALE)
def test_one_gaussian_of_equal_scale_gives_a_parabola(c: float, s: float, m: float, width: float) -> None:
    g = GaussianMixture([1.0], [0.7], [s])
    loss = closed_form_mu_squared_loss(g.shifted(c), g, GaussianMixture([1.0], [m], [width]))
    assert loss == pytest.approx(c**2 * width**2 / s**4, rel=1e-9, abs=1e-12)


def test_mixtures_are_refused() -> None:
    one = GaussianMixture([1.0], [0.0], [1.0])
    two = GaussianMixture([0.5, 0.5], [0.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"single Gaussians.*2 and 1"):
        closed_form_kl(two, one)
    with pytest.raises(ValueError, match=r"single Gaussians.*1 and 2"):
        closed_form_mu_squared_loss(one, two, one)
