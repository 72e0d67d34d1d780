"""Sandwich covariances against Fisher information, finite differences of the estimator, and simulation."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.estimation import asymptotics, relative_efficiency, sampled_fits
from gpo_analysis.preferences import label_noise

REWARDS = np.array([0.0, 0.7, -0.4, 1.3])
MU = [0.4, 0.3, 0.2, 0.1]
BT = gpo.PreferenceProblem(gpo.bradley_terry(REWARDS), MU)
OTHER = gpo.PreferenceProblem(
    gpo.mixture_of_annotators([gpo.bradley_terry(2 * REWARDS), gpo.bradley_terry(-REWARDS)], [0.8, 0.2]), MU
)
SMOOTH = ["logistic", "exponential", "squared", "savage", "cell", "smoothed_logistic", "robust_logistic"]


def test_logistic_has_the_fisher_information_of_bradley_terry() -> None:
    found = asymptotics(BT, "logistic")
    information = np.zeros((4, 4))
    share = 1 - np.sum(np.square(MU))
    for i in range(4):
        for j in range(i):
            eta = 1 / (1 + np.exp(REWARDS[j] - REWARDS[i]))
            e = np.eye(4)[i] - np.eye(4)[j]
            information += 2 * MU[i] * MU[j] / share * eta * (1 - eta) * np.outer(e, e)
    np.testing.assert_allclose(found.bread, information, atol=1e-10)
    np.testing.assert_allclose(found.meat, information, atol=1e-10)
    np.testing.assert_allclose(found.covariance, np.linalg.pinv(information), atol=1e-8)
    np.testing.assert_allclose(found.scores, REWARDS - REWARDS.mean(), atol=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("problem", [BT, OTHER], ids=["bradley-terry", "mixture"])
def test_influence_of_one_more_pair_by_differences(name: str, problem: gpo.PreferenceProblem) -> None:
    """Covariance is the mean square of how the optimum moves when a pair gets more weight; the move by differences."""
    found = asymptotics(problem, name)
    n, step = problem.n, 1e-6
    eta, mu = np.asarray(problem.preference), np.asarray(problem.behavior)
    weight = np.outer(mu, mu) * eta
    np.fill_diagonal(weight, 0.0)
    weight /= weight.sum()
    expected = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            ends = []
            for sign in (1, -1):
                changed = (1 - sign * step) * weight
                changed[i, j] += sign * step
                counts = gpo.Comparisons(*np.nonzero(changed), changed[np.nonzero(changed)])
                ends.append(gpo.PreferenceProblem.from_comparisons(counts).solve(name, 1.0))
            gs = [s.log_ratio - np.mean(s.log_ratio) for s in ends]
            influence = (gs[0] - gs[1]) / (2 * step)
            expected += weight[i, j] * np.outer(influence, influence)
    np.testing.assert_allclose(found.covariance, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["exponential", "savage", "cell", "sba", "lsif"])
def test_nothing_is_more_efficient_than_logistic_under_bradley_terry(name: str) -> None:
    ratio = relative_efficiency(asymptotics(BT, name), asymptotics(BT, "logistic"))
    assert ratio.shape == (6,)
    if name != "cell":  # whose link is no multiple of the logit
        assert np.all(ratio <= 1 + 1e-9)
    assert np.all(ratio > 0.3)


@pytest.mark.parametrize("name", ["logistic", "squared", "truncated_quadratic"])
def test_simulation(name: str) -> None:
    found = asymptotics(OTHER, name)
    fits = sampled_fits(OTHER, name, 2000, 400, seed=3)
    assert fits.without_fit == 0
    assert fits.g.shape == (400, 4)
    covariance = 2000 * np.cov(fits.g.T)
    assert np.linalg.norm(covariance - found.covariance) < 0.2 * np.linalg.norm(found.covariance)
    error = (fits.g.mean(axis=0) - found.g) / (found.standard_errors(2000) / 20)
    assert np.abs(error).max() < 4.5


def test_scale_and_what_the_logit_family_estimates() -> None:
    for name in ("logistic", "exponential", "savage"):
        np.testing.assert_allclose(asymptotics(BT, name).scores, REWARDS - REWARDS.mean(), atol=1e-6)
    squared = asymptotics(BT, "squared")
    assert squared.scale == 2
    assert np.abs(squared.scores - (REWARDS - REWARDS.mean())).max() > 0.05
    twice = asymptotics(BT, gpo.parse_loss("3*log(1+exp(-2*z))", name="twice"))
    np.testing.assert_allclose(twice.scores, REWARDS - REWARDS.mean(), atol=1e-8)
    np.testing.assert_allclose(twice.score_covariance, asymptotics(BT, "logistic").score_covariance, rtol=1e-7)


def test_robust_estimates_under_noise_what_the_plain_loss_does_without() -> None:
    noisy = gpo.PreferenceProblem(label_noise(gpo.bradley_terry(REWARDS), 0.15), MU)
    logistic = gpo.get_loss("logistic")
    repaired, clean = asymptotics(noisy, logistic.robust(0.15)), asymptotics(BT, logistic)
    np.testing.assert_allclose(repaired.g, clean.g, atol=1e-8)
    assert np.trace(repaired.covariance) > np.trace(clean.covariance)
    smoothed, plain = asymptotics(BT, logistic.smoothed(0.15)), asymptotics(noisy, logistic)
    np.testing.assert_allclose(smoothed.g, plain.g, atol=1e-8)


def test_samples_without_an_optimum_are_counted() -> None:
    steep = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 3.0, 6.0]))
    logistic, squared = (sampled_fits(steep, name, 12, 60, seed=0) for name in ("logistic", "squared"))
    assert logistic.statuses["no finite optimum"] > 30
    assert logistic.without_fit + len(logistic.g) == 60
    assert squared.without_fit < logistic.without_fit
    again = sampled_fits(steep, "logistic", 12, 60, seed=0)
    np.testing.assert_array_equal(again.g, logistic.g)


def test_what_has_no_covariance_is_refused() -> None:
    with pytest.raises(ValueError, match="hinge has no asymptotic covariance here"):
        asymptotics(BT, "hinge")
    one_sided = gpo.PreferenceProblem(gpo.deterministic([0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="no finite optimum"):
        asymptotics(one_sided, "logistic")
    batch = gpo.PreferenceProblem(np.array([BT.preference] * 2), np.array([MU] * 2))
    with pytest.raises(ValueError, match="without contexts"):
        asymptotics(batch, "logistic")
    with pytest.raises(ValueError, match="replications must be"):
        sampled_fits(BT, "logistic", 10, 0, seed=0)
    with pytest.raises(ValueError, match="size must"):
        asymptotics(BT, "logistic").standard_errors(0)


def test_shown_as_a_table() -> None:
    found = asymptotics(BT, "exponential")
    frame = found.to_frame()
    assert list(frame.columns) == ["g", "error_of_g", "scores", "error"]
    np.testing.assert_allclose(frame["error"], 2 * frame["error_of_g"])
    assert "<table" in found._repr_html_()
