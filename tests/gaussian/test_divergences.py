"""KL and μ-weighted square loss: against mpmath, closed forms, reductions to one dimension, and between methods."""

from __future__ import annotations

import itertools
import math
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from gpo_analysis.gaussian import (
    GaussianMixture,
    IntegrationWarning,
    closed_form_kl,
    closed_form_mu_squared_loss,
    counterexample,
    kl_estimate,
    mu_squared_loss_estimate,
)
from tests.cases import cases

CE = counterexample()
#: Pairs whose components differ in width by factors up to 1e5, or stand far apart.
HARD = {
    "counterexample": (CE.reference.shifted(1.3), CE.reference),
    "widths 1e-4 and 10": (
        GaussianMixture([0.5, 0.5], [0.0, 1.0], [1e-4, 10.0]),
        GaussianMixture([0.3, 0.7], [5.0, 1e-3], [10.0, 2e-4]),
    ),
    "narrow in wide": (
        GaussianMixture([1.0], [0.0], [10.0]),
        GaussianMixture([0.999, 0.001], [0.0, 7.3], [10.0, 1e-4]),
    ),
    "far apart": (
        GaussianMixture([0.5, 0.5], [-1e3, 1e3], [1.0, 0.1]),
        GaussianMixture([0.2, 0.8], [-1e3 + 0.5, 1e3], [0.7, 2.0]),
    ),
    "sharp crossing": (
        GaussianMixture([1.0], [0.3], [2.0]),
        GaussianMixture([0.5, 0.5], [-50.0, 50.0], [1.0, 1.0]),
    ),
    "tiny weight": (
        GaussianMixture([1 - 1e-12, 1e-12], [0.0, 30.0], [1.0, 1.0]),
        GaussianMixture([1.0], [0.1], [1.1]),
    ),
    "zero weight": (
        GaussianMixture([0.0, 1.0], [9.0, 0.0], [1e-5, 1.0]),
        GaussianMixture([0.4, 0.0, 0.6], [0.0, 1.0, 2.0], [1.0, 1e-9, 0.5]),
    ),
}


def _parts(g: GaussianMixture) -> list[tuple[float, float, float]]:
    """Weight, mean and scale of each component that has weight."""
    return [p for p in zip(g.weights.tolist(), g.means.tolist(), g.scales.tolist(), strict=True) if p[0]]


def _mp_log_density(g: GaussianMixture):
    parts = [tuple(map(mpmath.mpf, p)) for p in _parts(g)]
    half_log_2pi = mpmath.log(2 * mpmath.pi) / 2

    def log_density(y):
        terms = [mpmath.log(w) - half_log_2pi - mpmath.log(s) - ((y - m) / s) ** 2 / 2 for w, m, s in parts]
        top = max(terms)
        return top + mpmath.log(sum(mpmath.exp(t - top) for t in terms))

    return log_density


def _mp_expectation(measure: GaussianMixture, f, others: list[GaussianMixture]):
    """E[f(y)] by mpmath, split at every component's centre and at multiples of its width, and where two cross."""
    total = mpmath.mpf(0)
    edges = []
    for g in [measure, *others]:
        parts = _parts(g)
        for _, m, s in parts:
            edges += [m + k * s for k in (-40, -12, -6, -3, -1, 0, 1, 3, 6, 12, 40)]
        for (w, m, s), (v, n, r) in itertools.combinations(parts, 2):
            a, b = 0.5 / r**2 - 0.5 / s**2, m / s**2 - n / r**2
            c = 0.5 * (n / r) ** 2 - 0.5 * (m / s) ** 2 + math.log(w / v) - math.log(s / r)
            roots = np.roots([a, b, c]) if a else np.array([-c / b] if b else [])
            for x in roots[np.isreal(roots)].real:
                edges += [x - 0.03, x, x + 0.03]
    for w, m, s in _parts(measure):
        inside = sorted({e for e in edges if m - 13 * s < e < m + 13 * s} | {m - 13 * s, m + 13 * s})
        total += w * mpmath.quad(lambda y, m=m, s=s: mpmath.npdf(y, m, s) * f(y), inside, maxdegree=6)
    return total


@pytest.mark.parametrize("name", HARD)
def test_kl_against_mpmath(name: str) -> None:
    p, q = HARD[name]
    with mpmath.workdps(20):
        log_p, log_q = _mp_log_density(p), _mp_log_density(q)
        expected = float(_mp_expectation(p, lambda y: log_p(y) - log_q(y), [q]))
    e = kl_estimate(p, q)
    assert e.method == "quadrature"
    assert e.error <= 1e-10 * max(1.0, e.value)
    assert abs(e.value - expected) <= e.error + 1e-14 * expected
    assert e.value == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", HARD)
def test_mu_squared_loss_against_mpmath(name: str) -> None:
    p, q = HARD[name]
    mu = GaussianMixture([0.5, 0.5], [0.0, 1.0], [0.5, 3.0])
    with mpmath.workdps(20):
        log_p, log_q = _mp_log_density(p), _mp_log_density(q)
        first = _mp_expectation(mu, lambda y: log_p(y) - log_q(y), [p, q])
        second = _mp_expectation(mu, lambda y: (log_p(y) - log_q(y) - first) ** 2, [p, q])
    e = mu_squared_loss_estimate(p, q, mu, method="quadrature")
    assert e.error <= 1e-10 * max(1.0, e.value)
    assert abs(e.value - float(second)) <= e.error + 1e-14 * float(second)


MIXTURE = st.builds(
    lambda parts: GaussianMixture(
        np.array([w for w, _, _ in parts]) / sum(w for w, _, _ in parts),
        [m for _, m, _ in parts],
        [10.0**s for _, _, s in parts],
    ),
    st.lists(st.tuples(st.floats(0.05, 1), st.floats(-5, 5), st.floats(-2, 1)), min_size=1, max_size=4),
)


@given(MIXTURE, MIXTURE)
@cases(15)
def test_kl_against_scipy_on_random_mixtures(p: GaussianMixture, q: GaussianMixture) -> None:
    e = kl_estimate(p, q, method="quadrature")
    total = 0.0
    places = np.concatenate([g.means + k * g.scales for g in (p, q) for k in (-6, -2, 0, 2, 6)])
    for w, m, s in _parts(p):
        points = np.unique((places - m) / s)

        def f(z: float, m: float = m, s: float = s) -> float:
            density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
            return density * float(p.log_prob(m + s * z) - q.log_prob(m + s * z))

        inner = points[np.abs(points) < 9]
        total += w * integrate.quad(f, -10, 10, points=inner, epsabs=1e-9, epsrel=1e-10, limit=400)[0]
    assert abs(e.value - total) <= e.error + 1e-7  # scipy's own error estimate falls short at crossings
    assert e.value >= 0.0


@given(st.floats(-4, 4), st.floats(-1.5, 1.0), st.floats(-1.5, 1.0), st.floats(0.1, 3))
def test_quadrature_gives_the_closed_forms_of_single_gaussians(c: float, s: float, r: float, width: float) -> None:
    p, q = GaussianMixture([1.0], [c], [10.0**s]), GaussianMixture([1.0], [0.5], [10.0**r])
    mu = GaussianMixture([0.3, 0.7], [-1.0, 2.0], [width, 1.0])
    kl = kl_estimate(p, q, method="quadrature")
    assert abs(kl.value - closed_form_kl(p, q)) <= kl.error + 1e-14 * (1 + kl.value)
    loss = mu_squared_loss_estimate(p, q, mu, method="quadrature")
    exact = closed_form_mu_squared_loss(p, q, mu)
    assert abs(loss.value - exact) <= loss.error + 1e-13 * exact
    assert loss.value == pytest.approx(exact, rel=1e-10, abs=1e-10)


def test_a_split_component_is_the_same_mixture() -> None:
    p, q = HARD["counterexample"]
    split = GaussianMixture(np.repeat(p.weights / 2, 2), np.repeat(p.means, 2), np.repeat(p.scales, 2))
    assert kl_estimate(split, q).value == pytest.approx(kl_estimate(p, q).value, abs=1e-12)
    assert kl_estimate(split, p).value == pytest.approx(0.0, abs=1e-14)


@given(st.floats(-100, 100), st.floats(1e-3, 1e3))
def test_kl_and_loss_do_not_feel_a_change_of_place_and_unit(shift: float, unit: float) -> None:
    def moved(g: GaussianMixture) -> GaussianMixture:
        return GaussianMixture(g.weights, unit * (g.means + shift), unit * g.scales)

    p, q = HARD["counterexample"]
    assert kl_estimate(moved(p), moved(q)).value == pytest.approx(kl_estimate(p, q).value, rel=1e-9)
    loss = mu_squared_loss_estimate(p, q, CE.behavior).value
    assert mu_squared_loss_estimate(moved(p), moved(q), moved(CE.behavior)).value == pytest.approx(loss, rel=1e-9)


def test_fifty_components_in_one_dimension() -> None:
    rng = np.random.default_rng(4)
    weights = rng.dirichlet(np.ones(50))
    p = GaussianMixture(weights, rng.normal(size=50) * 20, 10 ** rng.uniform(-3, 1, 50))
    q = GaussianMixture(weights[::-1], rng.normal(size=50) * 20, 10 ** rng.uniform(-3, 1, 50))
    exact = kl_estimate(p, q)
    assert exact.error <= 1e-10 * max(1.0, exact.value)
    sampled = kl_estimate(p, q, method="monte_carlo", samples=200_000)
    assert abs(sampled.value - exact.value) < 4 * sampled.error


def _turned(means: np.ndarray, angle: float) -> np.ndarray:
    """Places on a line laid across the plane."""
    return means[:, None] * np.array([math.cos(angle), math.sin(angle)]) + np.array([0.3, -0.2])


@pytest.mark.parametrize("angle", [0.0, 0.5, math.pi / 4])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-8])
@pytest.mark.parametrize("c", [0.4, 1.5, 3.0])
def test_the_error_stated_in_two_dimensions_bounds_the_true_error(c: float, angle: float, tolerance: float) -> None:
    """With means on a line and one scale, the coordinate across the line cancels: the plane's value is the line's."""
    w, s = np.array([0.2, 0.5, 0.3]), np.full(3, 0.5)
    line = GaussianMixture(w, [-3.0, 0.0, 3.0], s)
    plane = GaussianMixture(w, _turned(line.means, angle), s)
    plane_c = GaussianMixture(w, _turned(line.means + c, angle), s)
    kl = kl_estimate(plane_c, plane, tolerance=tolerance)
    assert kl.method == "quadrature"
    assert abs(kl.value - kl_estimate(line.shifted(c), line).value) <= kl.error <= tolerance * max(1.0, kl.value)
    mu, mu_plane = GaussianMixture([1.0], [0.2], [0.5]), GaussianMixture([1.0], _turned(np.array([0.2]), angle), [0.5])
    loss = mu_squared_loss_estimate(plane_c, plane, mu_plane, tolerance=tolerance)
    exact = mu_squared_loss_estimate(line.shifted(c), line, mu).value
    assert abs(loss.value - exact) <= loss.error <= tolerance * max(1.0, exact)


def test_two_dimensions_with_unequal_widths_against_a_radial_integral() -> None:
    """Concentric components of different widths: the plane's integral is one over the radius."""
    p = GaussianMixture([0.5, 0.5], np.zeros((2, 2)), [0.05, 2.0])
    q = GaussianMixture([0.1, 0.9], np.zeros((2, 2)), [0.01, 1.0])

    def f(r: float) -> float:
        at = np.array([r, 0.0])
        return 2 * math.pi * r * math.exp(p.log_prob(at)) * float(p.log_prob(at) - q.log_prob(at))

    edges = [0.01, 0.03, 0.05, 0.1, 0.15, 0.3, 0.5, 1.0, 3.0, 6.0]
    expected, error = integrate.quad(f, 0, 25, points=edges, epsabs=1e-12, epsrel=1e-12, limit=1000)
    e = kl_estimate(p, q)
    assert abs(e.value - expected) <= e.error + error
    assert e.error <= 1e-8 * max(1.0, e.value)


FIVE = GaussianMixture([0.6, 0.4], np.array([[0.0] * 5, [1.0] * 5]), [1.0, 0.7])
FIVE_SHIFTED = FIVE.shifted([0.3, 0.0, 0.0, -0.2, 0.0])
FIVE_MU = GaussianMixture([0.5, 0.5], np.array([[0.5] * 5, [-1.0, 0, 0, 0, 0]]), [1.0, 0.8])


def test_monte_carlo_covers_the_truth_as_often_as_its_standard_error_says() -> None:
    """Against quadrature, over 300 seeds: about 95 % within 1.96 standard errors, mean error zero."""
    p, q = HARD["counterexample"]
    for truth, sampled in (
        (kl_estimate(p, q).value, [kl_estimate(p, q, method="monte_carlo", samples=2_000, seed=s) for s in range(300)]),
        (
            mu_squared_loss_estimate(p, q, CE.behavior).value,
            [
                mu_squared_loss_estimate(p, q, CE.behavior, method="monte_carlo", samples=2_000, seed=s)
                for s in range(300)
            ],
        ),
    ):
        z = np.array([(e.value - truth) / e.error for e in sampled])
        assert 0.90 <= np.mean(np.abs(z) < 1.96) <= 0.99
        assert abs(z.mean()) < 4 / math.sqrt(300)
        assert np.ptp(z) > 3  # the seeds really differ


def test_monte_carlo_in_five_dimensions_agrees_with_plain_samples() -> None:
    kl = kl_estimate(FIVE_SHIFTED, FIVE)
    assert kl.method == "monte_carlo"
    y = FIVE_SHIFTED.sample(400_000, seed=11)
    plain = FIVE_SHIFTED.log_prob(y) - FIVE.log_prob(y)
    assert abs(kl.value - plain.mean()) < 4 * math.hypot(kl.error, plain.std() / math.sqrt(len(y)))
    loss = mu_squared_loss_estimate(FIVE_SHIFTED, FIVE, FIVE_MU)
    y = FIVE_MU.sample(400_000, seed=12)
    ratio = FIVE_SHIFTED.log_prob(y) - FIVE.log_prob(y)
    pairs = 0.5 * (ratio[::2] - ratio[1::2]) ** 2  # ½ρ² over independent pairs, not the variance
    assert abs(loss.value - pairs.mean()) < 4 * math.hypot(loss.error, pairs.std() / math.sqrt(len(pairs)))


def test_the_seed_decides_the_draws() -> None:
    first = kl_estimate(FIVE_SHIFTED, FIVE, samples=500, seed=1)
    assert first == kl_estimate(FIVE_SHIFTED, FIVE, samples=500, seed=1)
    assert first.value != kl_estimate(FIVE_SHIFTED, FIVE, samples=500, seed=2).value


def test_the_standard_error_falls_with_the_square_root() -> None:
    few, many = (kl_estimate(FIVE_SHIFTED, FIVE, samples=n) for n in (2_000, 200_000))
    assert few.error / many.error == pytest.approx(10.0, rel=0.15)
    assert many.evaluations == pytest.approx(200_000, abs=2)


def test_single_gaussians_use_the_closed_form_in_any_dimension() -> None:
    g = GaussianMixture([1.0], np.zeros((1, 5)), [0.5])
    e = kl_estimate(g.shifted(1.0), g)
    assert (e.value, e.error, e.method) == (10.0, 0.0, "closed_form")
    assert mu_squared_loss_estimate(g.shifted(1.0), g, FIVE_MU).method == "closed_form"


def test_the_methods_of_a_mixture_give_the_values() -> None:
    p, q = HARD["counterexample"]
    assert p.kl_divergence_to(q) == kl_estimate(p, q).value
    assert p.mu_squared_loss_to(q, CE.behavior) == mu_squared_loss_estimate(p, q, CE.behavior).value
    coarse = p.kl_divergence_to(q, method="monte_carlo", samples=1_000, seed=3)
    assert coarse == kl_estimate(p, q, method="monte_carlo", samples=1_000, seed=3).value


def test_a_policy_equal_to_the_reference_has_zero_of_both() -> None:
    for name, (p, _) in HARD.items():
        assert p.kl_divergence_to(p) == 0.0, name
        assert p.mu_squared_loss_to(p, CE.behavior) == 0.0, name


def test_what_cannot_be_reached_is_warned_of() -> None:
    p, q = HARD["sharp crossing"]
    with pytest.warns(IntegrationWarning, match="1e-17 was asked for"):
        p.kl_divergence_to(q, tolerance=1e-17)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kl_estimate(p, q, tolerance=1e-17)
        p.mu_squared_loss_to(q, CE.behavior)


def test_what_a_float_cannot_hold_is_infinite() -> None:
    wide, narrow = (GaussianMixture([0.5, 0.5], [0.0, 1.0], [s, s]) for s in (1.0, 1e-160))
    assert kl_estimate(wide, narrow).value == math.inf
    assert mu_squared_loss_estimate(narrow, wide, wide).value == math.inf


def test_bad_arguments_are_refused() -> None:
    p, q = HARD["counterexample"]
    with pytest.raises(ValueError, match=r"method must be one of auto, closed_form.*'simpson'"):
        kl_estimate(p, q, method="simpson")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"points of one shape, got \(\), \(5,\)"):
        p.kl_divergence_to(FIVE)
    with pytest.raises(ValueError, match="points of one shape"):
        p.mu_squared_loss_to(q, FIVE)
    with pytest.raises(ValueError, match="tolerance must be above zero"):
        kl_estimate(p, q, tolerance=0.0)
    with pytest.raises(ValueError, match="one or two dimensions, got 5"):
        kl_estimate(FIVE_SHIFTED, FIVE, method="quadrature")
    with pytest.raises(ValueError, match="samples must be 64 or more"):
        kl_estimate(p, q, method="monte_carlo", samples=3)
    with pytest.raises(ValueError, match="single Gaussians"):
        kl_estimate(p, q, method="closed_form")


@pytest.mark.parametrize("dimension", [3, 4])
def test_quadrature_is_refused_beyond_two_dimensions(dimension: int) -> None:
    policy, reference = (GaussianMixture([1.0], [np.full(dimension, mean)], [1.0]) for mean in (0.0, 0.5))
    with pytest.raises(ValueError, match=f"one or two dimensions, got {dimension}"):
        kl_estimate(policy, reference, method="quadrature")
    assert kl_estimate(policy, reference).value == pytest.approx(dimension * 0.125)
