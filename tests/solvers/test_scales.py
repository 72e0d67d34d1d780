"""Hard scales: nearly polygonal losses, weights many orders of magnitude apart, any unit of z."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.special import expit, logit

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons
from gpo_analysis.solvers.functions import unit_of
from gpo_analysis.tabular import PreferenceProblem


def pair(eta: float) -> PreferenceProblem:
    return PreferenceProblem([[0.5, eta], [1 - eta, 0.5]])


def games(*pairs: tuple) -> PreferenceProblem:
    return PreferenceProblem.from_comparisons(Comparisons.from_pairs(pairs))


def margin_of(derivative, eta: float, guess: float) -> float:
    """The stationary margin of one pair, ``η f′(z) = (1 − η) f′(−z)``, by mpmath."""
    with mpmath.workdps(40):
        return float(mpmath.findroot(lambda z: eta * derivative(z) - (1 - eta) * derivative(-z), guess))


def test_smooth_hinge_at_a_temperature_of_a_tenth():
    # Newton's first step from 0 lands where f has no curvature; η = σ(2)
    found = PreferenceProblem(gpo.bradley_terry([0.0, 2.0])).fit(gpo.parse_loss("softplus(10*(1-z))/10"))
    eta = float(expit(2.0))
    z = margin_of(lambda x: -1 / (1 + mpmath.exp(-10 * (1 - x))), eta, 1.2)
    assert found.status == "optimum"
    np.testing.assert_allclose(found.reward[1] - found.reward[0], z, rtol=1e-12)
    assert z == pytest.approx(1.18546, abs=1e-5)
    assert found.value == pytest.approx(0.63666, abs=1e-5)


@pytest.mark.parametrize("difference", [5.0, 10.0, 20.0, 30.0, 36.0])
@pytest.mark.parametrize("sharpness", [5, 20, 40])
def test_smooth_hinge_on_nearly_certain_preferences(sharpness, difference):
    # f is straight to the last digit round 0 and beyond: Newton's steps of 1e57 ended as "not converged", or far out,
    # where no curvature is left, as an "optimum" of margin 1e15
    preference = gpo.bradley_terry([0.0, difference])
    problem = PreferenceProblem(preference)
    found = problem.fit(gpo.parse_loss(f"softplus({sharpness}*(1-z))/{sharpness}"))
    p, q = (mpmath.mpf(float(weight)) for weight in (problem.preference[1, 0], problem.preference[0, 1]))
    slope = lambda x: -1 / (1 + mpmath.exp(-sharpness * (1 - x)))  # noqa: E731
    with mpmath.workdps(60):
        z = mpmath.findroot(lambda x: mpmath.log(p * slope(x) / (q * slope(-x))), 1 + difference / sharpness)
    assert found.status == "optimum", found.reason
    np.testing.assert_allclose(found.reward[1] - found.reward[0], float(z), rtol=1e-9)


@pytest.mark.parametrize("sharpness", [3, 30, 300])
def test_nearly_polygonal_losses_approach_hinge(sharpness):
    problem = PreferenceProblem(gpo.bradley_terry([0.0, 2.0, -1.0, 3.0]), [0.1, 0.2, 0.3, 0.4])
    found = problem.fit(gpo.parse_loss(f"softplus({sharpness}*(1-z))/{sharpness}"))
    assert found.status == "optimum"
    hinge = problem.fit("hinge").value
    assert hinge < found.value <= hinge + np.log(2) / sharpness, "softplus lies within log 2/s of max(0, ·)"
    step = 1e-3 / sharpness
    for k in range(4):
        for side in (-step, step):
            moved = found.reward + side * np.eye(4)[k]
            loss = gpo.parse_loss(f"softplus({sharpness}*(1-z))/{sharpness}")
            assert problem.loss_at(moved, loss, 1.0) >= found.value - 1e-15


@pytest.mark.parametrize(
    "name", ["logistic", "exponential", "squared", "truncated_quadratic", "savage", "smoothed_logistic"]
)
def test_counts_of_a_trillion_beside_three(name):
    # a tree of pairs: each margin is that of its pair alone, however heavy the others
    heavy = [("a", "b", 1e12), ("b", "a", 2e12), ("c", "d", 3e12), ("d", "c", 1e12)]
    found = games(*heavy, ("b", "c", 3), ("c", "b", 1)).fit(name)
    assert found.converged, found.reason
    alone = [gpo.optimal_margin(name, eta) for eta in (2 / 3, 3 / 4, 3 / 4)]
    g = found.reward
    np.testing.assert_allclose([g[1] - g[0], g[1] - g[2], g[2] - g[3]], alone, rtol=1e-9)


@pytest.mark.parametrize("rare", [1e-6, 1e-10, 1e-14])
@pytest.mark.parametrize("name", ["logistic", "exponential", "savage"])
def test_a_tiny_behaviour_beside_a_half(name, rare):
    # Bradley–Terry: g is the reward (half of it for exponential), whatever μ
    rewards = np.array([0.0, 2.0, -1.0, 30.0])
    found = PreferenceProblem(gpo.bradley_terry(rewards), [rare, rare, 0.5, 0.5 - 2 * rare]).fit(name)
    assert found.converged, found.reason
    scale = 0.5 if name == "exponential" else 1.0
    np.testing.assert_allclose(found.reward - found.reward[0], scale * (rewards - rewards[0]), rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-9, 500.0, 1e12])
@pytest.mark.parametrize(
    "text",
    ["1/(1+exp({z}))**2", "log(1+exp(-{z}))", "max(0, 1-{z})", "max(0, 1-{z})**2", "(1-{z})/(1+{z}**2)",
     "max(0, 1-{z})+{z}**2/10", "softplus(20*(1-{z}))"],
)  # fmt: skip
def test_nothing_depends_on_the_unit_of_the_margin(text, unit):
    plain, scaled = gpo.parse_loss(text.format(z="z")), gpo.parse_loss(text.format(z=f"(z/{unit!r})"))
    for problem in (pair(0.9), PreferenceProblem(gpo.bradley_terry([0.3, -0.2, 1.1]))):
        one, other = problem.fit(plain), problem.fit(scaled)
        assert other.status == one.status
        assert other.value == pytest.approx(one.value, rel=1e-9)
        if one.converged:
            np.testing.assert_allclose(other.reward / unit, one.reward, rtol=1e-6, atol=1e-9)


def test_a_savage_loss_in_other_units():
    found = pair(0.9).fit(gpo.parse_loss("1/(1+exp(z/500))**2"))
    assert found.converged
    assert found.reward[0] - found.reward[1] == pytest.approx(500 * logit(0.9), rel=1e-9), "1098.6"


def test_the_catalogue_has_a_unit_of_about_one():
    for name in gpo.PAPER_LOSSES:
        assert unit_of(gpo.get_loss(name)) == 1.0
    assert unit_of(gpo.parse_loss("(z - 100)**2")) == 256.0


def test_slopes_far_out_that_no_curvature_holds():
    # f falls by z/2 to the right, so that E f falls by (0.8 − 0.2) z/2
    assert pair(0.8).fit(gpo.parse_loss("log(1+z**2)-z/2")).status == "unbounded below"
    assert pair(0.5).fit(gpo.parse_loss("log(1+z**2)-z/2")).value < np.inf
    # f falls on both sides
    assert pair(0.6).fit(gpo.parse_loss("exp(-z**2) - abs(z)")).status == "unbounded below"


def test_cusps():
    # of 0.8 √|z−1| + 0.2 √|z+1| the least value is at the cusp z = 1: 0.2 √2
    found = pair(0.8).fit(gpo.parse_loss("sqrt(abs(z-1))"))
    assert found.converged
    assert found.reward[0] - found.reward[1] == pytest.approx(1.0, abs=1e-12)
    assert found.value == pytest.approx(0.5 + 0.5 * 0.2 * np.sqrt(2), rel=1e-12)
    three = PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 3.0])).fit(gpo.parse_loss("sqrt(abs(z-1))"))
    assert np.isfinite(three.value)


def test_savage_on_many_sparse_draws_looks_at_few_splits():
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=320)
    i = rng.integers(0, 320, 1300)
    j = (i + rng.integers(1, 320, 1300)) % 320
    won = rng.random(1300) < expit(rewards[i] - rewards[j])
    problem = PreferenceProblem.from_comparisons(Comparisons(np.where(won, i, j), np.where(won, j, i)))
    found = problem.fit("savage")
    assert found.status == "no finite optimum"
    assert "separable" in found.reason
    assert found.value < problem.loss_at(rewards, "savage", 1.0)
