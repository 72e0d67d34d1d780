"""The rule on the line: beside scipy's quad, where it hands over to boxes, and shifts far away."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate

from gpo_analysis.arrays import BoolArray
from gpo_analysis.gaussian import GaussianMixture, Regularizers, quadrature, trapezoid

THREE = GaussianMixture([0.2, 0.5, 0.3], [-3.0, 0.5, 3.0], [0.5, 0.8, 0.5])
WIDE = GaussianMixture([0.6, 0.4], [-1.0, 2.0], [1.0, 0.7])


def by_quad(policy: GaussianMixture, reference: GaussianMixture, behavior: GaussianMixture) -> tuple[float, float]:
    """KL and the variance of the log-ratio under the behaviour policy."""

    def ratio(y: float) -> float:
        return float(policy.log_prob(y) - reference.log_prob(y))

    def mean(measure: GaussianMixture, power: int, centre: float = 0.0) -> float:
        def f(y: float) -> float:
            return float(np.exp(measure.log_prob(y))) * (ratio(y) - centre) ** power

        low, high = measure.means.min() - 12 * measure.scales.max(), measure.means.max() + 12 * measure.scales.max()
        places = [m for m in (*policy.means, *reference.means, *measure.means) if low < m < high]
        return float(integrate.quad(f, low, high, points=places, limit=400, epsabs=1e-13, epsrel=1e-12)[0])

    return mean(policy, 1), mean(behavior, 2, mean(behavior, 1))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[BoolArray]:
    """Which problems the rule finished, a list a call."""
    seen: list[BoolArray] = []
    whole = trapezoid.integrate_on_line

    def watched(*arguments: object, **settings: object) -> object:
        result, finished = whole(*arguments, **settings)  # type: ignore[arg-type]
        seen.append(finished)
        return result, finished

    monkeypatch.setattr(quadrature, "integrate_on_line", watched)
    return seen


@pytest.mark.parametrize("shift", [-4.0, -0.3, 0.0, 1.7])
def test_it_agrees_with_quad_within_the_stated_error(shift: float, done: list[BoolArray]) -> None:
    both = Regularizers.of(THREE, WIDE, THREE)
    expected = by_quad(THREE.shifted(shift), WIDE, THREE)
    for name, value in zip(("kl", "mu_squared_loss"), expected, strict=True):
        found = both(name, [shift])  # type: ignore[arg-type]
        assert found.error[0] <= 1e-9 * max(1.0, abs(value))
        assert abs(found.value[0] - value) <= found.error[0] + 1e-11 * max(1.0, abs(value))
    assert all(one.all() for one in done)


def test_gradients_are_those_of_the_values(done: list[BoolArray]) -> None:
    both, step, c = Regularizers.of(THREE, WIDE, THREE), 1e-4, np.array([-1.3, 0.4, 2.2])
    for name in ("kl", "mu_squared_loss"):
        below, above = (both(name, c + sign * step).value for sign in (-1, 1))  # type: ignore[arg-type]
        slope = both(name, c).gradient[:, 0]  # type: ignore[arg-type]
        np.testing.assert_allclose(slope, (above - below) / (2 * step), rtol=1e-6, atol=1e-6)
    assert all(one.all() for one in done)


@pytest.mark.parametrize("scale", [0.05, 1e-3])
def test_what_is_narrow_goes_to_the_boxes(scale: float, done: list[BoolArray]) -> None:
    narrow = GaussianMixture([0.99, 0.01], [0.0, 1.0], [1.0, scale])
    found = Regularizers.of(THREE, narrow, WIDE)("mu_squared_loss", [0.0])
    assert not done[0].any()
    assert abs(found.value[0] - by_quad(THREE, narrow, WIDE)[1]) <= found.error[0] + 1e-9 * found.value[0]


def test_what_bends_sharply_goes_to_the_boxes(done: list[BoolArray]) -> None:
    # two components far apart, as wide as μ: where they cross, log π bends within a fiftieth of a step
    far = GaussianMixture([0.5, 0.5], [-300.0, 300.0], [1.0, 1.0])
    normal = GaussianMixture([1.0], [0.0], [1.0])
    found = Regularizers.of(far, normal, normal)("mu_squared_loss", [0.0])
    assert not done[0].any()
    # log π = −(|y| − 300)²/2 + …, log πref = −y²/2 + …: the ratio is 300 |y| + …, of variance 300² (1 − 2/π)
    assert found.value[0] == pytest.approx(300.0**2 * (1 - 2 / np.pi), rel=1e-4)


def test_far_away_a_shift_is_exact(done: list[BoolArray]) -> None:
    c = 2.0**40
    near = Regularizers.of(THREE, WIDE, WIDE)("kl", [0.7])
    far = Regularizers.of(THREE, WIDE.shifted(c), WIDE)("kl", [c + 0.7])
    assert far.value[0] == pytest.approx(near.value[0], abs=1e-3)
    assert all(one.all() for one in done)


def test_two_rules_that_agree_by_chance_do_not_end_it() -> None:
    ones = np.ones((1, 1))
    sums = trapezoid._Sums(fine=ones, half=ones, quarter=0.9 * ones, size=ones, noise=0 * ones)
    assert sums.error()[0, 0] == pytest.approx(0.01)
    assert sums.foreseen(2)[0, 0] == 0.0
