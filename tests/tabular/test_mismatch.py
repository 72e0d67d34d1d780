"""Gradients against finite differences and the Gaussian quadrature, the bound against random problems."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

import gpo_analysis as gpo
from gpo_analysis.gaussian.regularizers import Regularizers
from gpo_analysis.tabular import chi_squared, regularizer_mismatch


def test_gradients_in_features_by_finite_differences() -> None:
    rng = np.random.default_rng(3)
    phi, w = rng.normal(size=(7, 3)), rng.normal(size=3)
    ref, mu = rng.dirichlet(np.ones(7)), rng.dirichlet(np.ones(7))

    def log_policy(weights: np.ndarray) -> np.ndarray:
        logits = np.log(ref) + phi @ weights
        return np.asarray(logits - logsumexp(logits))

    found = regularizer_mismatch(log_policy(w), np.log(ref), mu, phi)
    for k, step in enumerate(1e-5 * np.eye(3)):
        up, down = np.exp(log_policy(w + step)), np.exp(log_policy(w - step))
        slope = (gpo.kl_divergence(up, ref) - gpo.kl_divergence(down, ref)) / 2e-5
        assert found.kl_gradient[k] == pytest.approx(slope, rel=1e-6, abs=1e-9)
        square = (gpo.mu_squared_loss(up, ref, mu) - gpo.mu_squared_loss(down, ref, mu)) / 2e-5
        assert found.square_gradient[k] == pytest.approx(square, rel=1e-6, abs=1e-9)


def test_gaussian_gradients_are_those_of_the_quadrature() -> None:
    gaussian_point = pytest.importorskip("experiments.online_and_offline").gaussian_point

    behavior = gpo.GaussianMixture([1.0], [0.0], [0.5])
    point = gaussian_point(np.array([1.3, 0.0, 0.0, 0.0]))
    narrow = np.exp(behavior.log_prob(point.points))
    found = regularizer_mismatch(point.log_policy, point.log_reference, narrow / narrow.sum(), point.scores)
    reference = gpo.GaussianMixture(np.full(3, 1 / 3), [-3.0, 0.0, 3.0], [0.5] * 3)
    both = Regularizers.of(reference, reference, behavior=behavior)
    assert found.kl_gradient[0] == pytest.approx(both("kl", [1.3]).gradient[0, 0], rel=1e-5)
    assert found.square_gradient[0] == pytest.approx(both("mu_squared_loss", [1.3]).gradient[0, 0], rel=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_the_bound_is_never_broken_and_is_not_vacuous(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    ref, pi, other = rng.dirichlet(np.ones(n), size=3) + 1e-6
    ref, pi, other = ref / ref.sum(), pi / pi.sum(), other / other.sum()
    scores = rng.normal(size=(n, 3)) if seed % 2 else np.eye(n)
    for share in (0.0, 1e-3, 0.1, 1.0):
        found = regularizer_mismatch(np.log(pi), np.log(ref), (1 - share) * pi + share * other, scores)
        assert found.difference <= found.bound * (1 + 1e-9) + 1e-12
        assert found.angle <= found.angle_bound + 1e-4
        if share == 0.0:
            assert found.angle < 1e-3
    near = regularizer_mismatch(np.log(pi), np.log(ref), (1 - 1e-4) * pi + 1e-4 * other, scores)
    near_chi = chi_squared((1 - 1e-4) * pi + 1e-4 * other, pi)
    assert near.chi_squared == pytest.approx(near_chi)
    assert near.renyi == pytest.approx(np.log(np.sum(((1 - 1e-4) * pi + 1e-4 * other) ** 2 / pi)), abs=1e-12)


def test_the_bound_by_singular_values() -> None:
    """√χ² ‖√π|h| S‖ + χ² √E_π[h²] ‖√π S‖, h and scores centred under π: largest singular values for eigenvalues."""
    rng = np.random.default_rng(8)
    pi, ref, mu = rng.dirichlet(np.full(6, 2.0), 3)
    scores = rng.normal(size=(6, 3)) * 3
    found = regularizer_mismatch(np.log(pi), np.log(ref), mu, scores)
    h, s = np.log(pi / ref), scores - pi @ scores
    h = h - pi @ h
    chi = np.sum(mu**2 / pi) - 1
    mixed, plain = (np.linalg.norm((np.sqrt(pi) * weight)[:, None] * s, 2) for weight in (np.abs(h), 1.0))
    assert found.bound == pytest.approx(np.sqrt(chi) * mixed + chi * np.sqrt(pi @ h**2) * plain, rel=1e-10)


def test_mass_that_the_policy_lacks_and_bad_input() -> None:
    assert chi_squared([0.5, 0.5], [1.0, 0.0]) == np.inf
    with pytest.raises(ValueError, match="shapes must be"):
        regularizer_mismatch(np.log([0.5, 0.5]), np.log([0.5, 0.5]), [0.5, 0.5], np.eye(3))
