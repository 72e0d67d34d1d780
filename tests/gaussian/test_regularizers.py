"""Both regularizers over c: gradients against differences, the factor two, families of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.gaussian import (
    Family,
    GaussianMixture,
    LocationFamily,
    ParametricFamily,
    Regularizers,
    counterexample,
    kl_estimate,
    mu_squared_loss_estimate,
)
from gpo_analysis.gaussian.families import MixtureStack, as_family

CE = counterexample()
PLANE = GaussianMixture([0.3, 0.7], [[-1.0, 0.0], [1.0, 0.5]], [0.6, 0.9])
PLANE_MU = GaussianMixture([1.0], [[0.0, 0.3]], [0.7])


def _bend(c: float) -> GaussianMixture:
    """Weights, means and scales all move."""
    w = 1.0 / (1.0 + np.exp(-c))
    return GaussianMixture([w, 1.0 - w], [c, c**2 - 1.0], [np.exp(0.3 * c), 0.8 + 0.1 * np.sin(c)])


def _two(c: np.ndarray) -> GaussianMixture:
    """Two parameters of a mixture over numbers: spread and common scale."""
    return GaussianMixture([0.5, 0.5], [-c[0], c[0]], np.full(2, np.exp(c[1])))


REFERENCE = GaussianMixture([0.5, 0.5], [-1.0, 1.0], [0.7, 0.7])
BEHAVIOR = GaussianMixture([0.6, 0.4], [-0.5, 1.5], [0.5, 0.2])
CASES = {
    "shift": (Regularizers.of(CE.reference, CE.reference, CE.behavior), [[0.4], [2.3], [-5.0]]),
    "shift in the plane": (Regularizers.of(PLANE, PLANE, PLANE_MU), [[0.4, 0.1], [-1.5, 0.6]]),
    "all move": (Regularizers.of(_bend, REFERENCE, BEHAVIOR), [[0.4], [-1.1], [1.9]]),
    "two parameters": (Regularizers.of(_two, REFERENCE, BEHAVIOR, n_parameters=2), [[1.2, 0.3], [0.5, -0.8]]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("objective", ["kl", "mu_squared_loss"])
def test_gradients_are_those_of_the_values(name: str, objective: str) -> None:
    both, places = CASES[name]
    at = np.array(places)
    v = both(objective, at)
    h = 1e-4
    for j in range(at.shape[1]):
        move = h * np.eye(at.shape[1])[j]
        values = [both(objective, at + k * move).value for k in (-2, -1, 1, 2)]
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        tolerance = 1e-4 if both.reference.dimension == 2 else 1e-7
        np.testing.assert_allclose(v.gradient[:, j], slope, rtol=tolerance, atol=tolerance)
    assert np.all(v.gradient_error < 1e-6 * (1.0 + np.abs(v.gradient)))


@pytest.mark.parametrize("name", CASES)
def test_a_batch_gives_the_values_taken_one_by_one(name: str) -> None:
    both, places = CASES[name]
    kl, loss = both("kl", places), both("mu_squared_loss", places)
    for i, c in enumerate(places):
        policy = both.family(c)
        assert kl.value[i] == pytest.approx(kl_estimate(policy, both.reference).value, abs=1e-8)
        one = mu_squared_loss_estimate(policy, both.reference, both.behavior).value
        assert loss.value[i] == pytest.approx(one, abs=1e-8, rel=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_on_policy_the_square_losss_gradient_is_twice_the_kls(name: str) -> None:
    """∇ ½E_μ[ρ²] = 2 ∇KL at μ = π_c, sampling not differentiated: μ is frozen at π_c, then c varies."""
    both, places = CASES[name]
    for c in places:
        frozen = Regularizers(both.family, both.reference, both.family(c))
        loss, kl = frozen("mu_squared_loss", c), frozen("kl", c)
        np.testing.assert_allclose(loss.gradient, 2.0 * kl.gradient, rtol=1e-7, atol=1e-8)
        assert np.abs(kl.gradient).max() > 1e-5


def test_off_policy_it_is_not() -> None:
    both, places = CASES["shift"]
    loss, kl = both("mu_squared_loss", places).gradient, both("kl", places).gradient
    assert np.max(np.abs(loss - 2.0 * kl) / np.abs(2.0 * kl)) > 0.5
    assert np.any(np.sign(loss) != np.sign(kl))


def test_a_thousand_points_are_those_of_a_hundred() -> None:
    both = CASES["shift"][0]
    c = np.linspace(-6, 6, 1_000)
    some = both("kl", c[::10])
    np.testing.assert_allclose(both("kl", c).value[::10], some.value, rtol=1e-12, atol=1e-14)


def test_many_components_are_taken_in_batches() -> None:
    rng = np.random.default_rng(0)
    g = GaussianMixture(np.full(50, 0.02), rng.normal(size=50) * 3, np.full(50, 0.4))
    both = Regularizers.of(g, g, g)
    c = np.linspace(-1, 1, 45)  # 50 components of μ by 100 of π and πref: more than one batch
    v = both("kl", c)
    assert v.value[22] == pytest.approx(0.0, abs=1e-13)
    assert v.value[3] == pytest.approx(kl_estimate(g.shifted(c[3]), g).value, abs=1e-10)


def test_a_family_given_as_a_function_equals_the_location_family() -> None:
    family = ParametricFamily(lambda c: CE.reference.shifted(c))
    by_function = Regularizers(family, CE.reference, CE.behavior)
    by_shift = CASES["shift"][0]
    c = np.linspace(-4, 4, 9)
    for objective in ("kl", "mu_squared_loss"):
        a, b = by_function(objective, c), by_shift(objective, c)
        np.testing.assert_allclose(a.value, b.value, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(a.gradient, b.gradient, rtol=1e-9, atol=1e-9)


def test_derivatives_of_parameters_are_exact_to_rounding() -> None:
    c = np.array([[0.3], [-2.0], [7.0]])
    tangent = ParametricFamily(lambda c: GaussianMixture([1.0], [np.sin(c)], [np.exp(0.5 * c)])).tangent(c)
    np.testing.assert_allclose(tangent.means[:, 0, 0, 0], np.cos(c[:, 0]), atol=1e-11)
    assert tangent.weights is None
    assert tangent.scales is not None
    np.testing.assert_allclose(tangent.scales[:, 0, 0], 0.5 * np.exp(0.5 * c[:, 0]), rtol=1e-11)


def test_a_weight_may_pass_through_one_end_of_its_range() -> None:
    """At w = c² = 0 the second component has no weight, and the derivative of the KL is finite: zero."""
    family = ParametricFamily(lambda c: GaussianMixture([1 - c**2, c**2], [0.0, 3.0], [1.0, 0.5]))
    both = Regularizers(family, GaussianMixture([0.9, 0.1], [0.0, 3.0], [1.0, 0.5]), BEHAVIOR)
    v = both("kl", [0.0, 0.1])
    assert np.all(np.isfinite(v.gradient))
    assert v.gradient[0, 0] == pytest.approx(0.0, abs=1e-9)


def test_stacks_of_unequal_mixtures_are_padded_with_nothing() -> None:
    short, long = GaussianMixture([1.0], [2.0], [0.5]), CE.reference
    stack = MixtureStack.of([short, long])
    assert stack.weights.tolist() == [[1.0, 0.0, 0.0], long.weights.tolist()]


def test_monte_carlo_gradients_agree_with_quadrature() -> None:
    both, places = CASES["shift in the plane"]
    sampled = Regularizers.of(PLANE, PLANE, PLANE_MU, method="monte_carlo", samples=100_000, seed=4)
    assert not sampled.uses_quadrature
    for objective in ("kl", "mu_squared_loss"):
        exact, v = both(objective, places), sampled(objective, places)
        assert np.all(np.abs(v.value - exact.value) < 4 * v.error)
        assert np.all(np.abs(v.gradient - exact.gradient) < 4 * v.gradient_error)
        assert np.all(v.gradient_error > 0.0)


def test_monte_carlo_gradient_errors_cover() -> None:
    both, _ = CASES["shift"]
    exact = both("mu_squared_loss", 0.7).gradient[0, 0]
    z = []
    for seed in range(200):
        v = Regularizers.of(CE.reference, CE.reference, CE.behavior, method="monte_carlo", samples=1_000, seed=seed)(
            "mu_squared_loss", 0.7
        )
        z.append((v.gradient[0, 0] - exact) / v.gradient_error[0, 0])
    assert 0.89 <= np.mean(np.abs(z) < 1.96) <= 0.99


def test_common_draws_make_a_sampled_landscape_smooth() -> None:
    sampled = Regularizers.of(CE.reference, CE.reference, CE.behavior, method="monte_carlo", samples=500, seed=1)
    v = sampled("mu_squared_loss", np.linspace(1.0, 1.01, 11))
    steps = np.diff(v.value)
    assert np.ptp(steps) < 0.1 * np.abs(steps).max()
    assert v.error.max() > 10 * np.abs(steps).max()


def test_shapes_of_c() -> None:
    line, plane = CASES["shift"][0], CASES["shift in the plane"][0]
    assert line("kl", 1.0).value.shape == (1,)
    assert line("kl", [1.0, 2.0]).gradient.shape == (2, 1)
    assert plane("kl", [1.0, 2.0]).gradient.shape == (1, 2)
    column = GaussianMixture([1.0], [[0.0]], [0.5])  # vectors of one number
    assert Regularizers.of(column, column, column)("kl", [1.0]).value[0] == pytest.approx(2.0)
    assert LocationFamily(column)(1.0).means.tolist() == [[1.0]]
    for bad, words in (([1.0, 2.0, 3.0], "2 coordinates a point"), ([[np.nan, 0.0]], "c must be finite, got nan"),
                       (np.zeros((1, 2, 2)), "2 coordinates a point")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            plane("kl", bad)


def test_bad_arguments_are_refused() -> None:
    g = CE.reference
    cases = [
        (lambda: Regularizers.of(g, g, PLANE), "points of one shape"),
        (lambda: Regularizers.of(g, g, g, method="simpson"), "'simpson'"),  # type: ignore[arg-type]
        (lambda: Regularizers.of(g, g, g, tolerance=2.0), "between 0 and 1, got 2.0"),
        (lambda: Regularizers.of(g, g, g)("js", 0.0), "kl or mu_squared_loss, got 'js'"),  # type: ignore[arg-type]
        (lambda: Regularizers.of(PLANE, g, g)("kl", [0.0, 0.0]), "2 dimensions, the reference 1"),
        (lambda: as_family(3.0), "GaussianMixture, a Family or a function"),  # type: ignore[arg-type]
        (lambda: ParametricFamily(_bend, 0), "n_parameters must be 1 or more"),
        (lambda: ParametricFamily(_bend)([1.0, 2.0]), "1 coordinates, got 2"),
        (lambda: ParametricFamily(lambda c: c)(1.0), "must return a GaussianMixture, got float"),  # type: ignore
        (
            lambda: ParametricFamily(lambda c: g if c > 0 else CE.behavior).stack(np.array([[1.0], [-1.0]])),
            "one length and dimension",
        ),
        (
            lambda: Regularizers.of(*[GaussianMixture([1.0], [[0.0] * 3], [1.0])] * 3, method="quadrature"),
            "one or two dimensions, got 3",
        ),
    ]
    for call, words in cases:
        with pytest.raises(ValueError, match=words):
            call()


def test_a_family_stays_itself() -> None:
    family = LocationFamily(CE.reference)
    assert as_family(family) is family
    assert isinstance(family, Family)
    assert isinstance(as_family(_bend), ParametricFamily)
