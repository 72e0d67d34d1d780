"""The quadrature engine alone: exactness, adaptivity, error estimates, first boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate as scipy_integrate

from gpo_analysis.gaussian import Estimate
from gpo_analysis.gaussian.integrate import BatchResult, graded_boxes, integrate_batch, rule


def _line(f, low: float, high: float, **options) -> BatchResult:
    """One integral of one function over [low, high]."""

    def evaluate(points, task):
        values = f(points[..., 0])[..., None]
        return values, 1e-16 * np.abs(values)

    settings = {"absolute": 1e-12, "relative": 1e-12, "max_evaluations": 10**6} | options
    zero = np.zeros(1, dtype=np.int64)
    return integrate_batch(evaluate, np.array([[low]]), np.array([high - low]), zero, zero, 1, **settings)


@pytest.mark.parametrize("degree", range(23))
def test_the_rules_integrate_polynomials_exactly(degree: int) -> None:
    nodes, kronrod, gauss = rule(1)
    exact = 0.0 if degree % 2 else 2.0 / (degree + 1)
    assert kronrod @ nodes[:, 0] ** degree == pytest.approx(exact, abs=2e-15)
    if degree <= 13:
        assert gauss @ nodes[:, 0] ** degree == pytest.approx(exact, abs=2e-15)


def test_the_gauss_nodes_are_numpys() -> None:
    nodes, _, gauss = rule(1)
    x, w = np.polynomial.legendre.leggauss(7)
    np.testing.assert_allclose(nodes[gauss > 0, 0], x, atol=1e-15)
    np.testing.assert_allclose(gauss[gauss > 0], w, atol=1e-15)


def test_the_rule_of_two_dimensions_is_the_product() -> None:
    nodes, kronrod, gauss = rule(2)
    value = nodes[:, 0] ** 6 * nodes[:, 1] ** 8
    assert kronrod @ value == pytest.approx(4 / 63, abs=1e-15)
    assert gauss @ value == pytest.approx(4 / 63, abs=1e-15)


@pytest.mark.parametrize(
    ("f", "low", "high"),
    [
        (np.exp, -1.0, 2.0),
        (lambda x: np.abs(x - 0.3), -1.0, 1.0),  # a kink off the nodes
        (lambda x: np.sqrt(np.abs(x)), -1.0, 1.0),
        (lambda x: 1 / (1e-8 + (x - 0.1) ** 2), -1.0, 1.0),  # a peak of width 1e-4
        (lambda x: np.cos(50 * x), 0.0, 3.0),
    ],
)
def test_integrals_agree_with_scipy_within_the_stated_error(f, low: float, high: float) -> None:
    result = _line(f, low, high)
    points = [p for p in (0.0, 0.1, 0.3) if low < p < high]
    expected, scipy_error = scipy_integrate.quad(f, low, high, points=points, epsabs=1e-13, epsrel=1e-13, limit=2000)
    difference = abs(result.values[0, 0] - expected)
    assert difference <= result.errors[0, 0] + scipy_error + 1e-13 * abs(expected)
    assert result.errors[0, 0] <= 1e-12 * max(1.0, abs(expected)) * 1.01


def test_the_budget_is_kept_and_the_error_says_so() -> None:
    full = _line(lambda x: np.abs(x - 1 / 3), -1.0, 1.0)
    cut = _line(lambda x: np.abs(x - 1 / 3), -1.0, 1.0, max_evaluations=60)
    exact = (4 / 3) ** 2 / 2 + (2 / 3) ** 2 / 2
    assert cut.evaluations[0] < 120 < full.evaluations[0]
    assert cut.errors[0, 0] > 1e-6
    assert abs(cut.values[0, 0] - exact) <= cut.errors[0, 0]


def test_boxes_of_pure_noise_are_not_split_for_ever() -> None:
    def evaluate(points, task):
        noise = 1e-9 * np.sin(1e12 * points[..., 0])
        return (1.0 + noise)[..., None], np.full((*points.shape[:2], 1), 1e-8)

    zero = np.zeros(1, dtype=np.int64)
    one = np.array([[0.0]]), np.array([1.0]), zero, zero, 1
    result = integrate_batch(evaluate, *one, absolute=1e-14, relative=1e-14, max_evaluations=10**6)
    assert result.evaluations[0] < 100
    assert abs(result.values[0, 0] - 1.0) <= result.errors[0, 0]


def test_a_batch_gives_each_integral_what_it_would_get_alone() -> None:
    centers = np.array([0.1, 0.5, 0.77])
    widths = np.array([1e-3, 0.1, 1e-5])

    def evaluate(points, task):
        z = (points[..., 0] - centers[task][:, None]) / widths[task][:, None]
        value = np.stack([1 / (1 + z**2), z**0], axis=-1)
        return value, 1e-16 * value

    task = np.arange(3)
    result = integrate_batch(
        evaluate, np.zeros((3, 1)), np.ones(3), task, task, 3, absolute=1e-13, relative=1e-12, max_evaluations=10**6
    )
    exact = widths * (np.arctan((1 - centers) / widths) + np.arctan(centers / widths))
    np.testing.assert_allclose(result.values[:, 0], exact, rtol=1e-11)
    np.testing.assert_allclose(result.values[:, 1], 1.0, rtol=1e-13)
    assert len(set(result.evaluations.tolist())) == 3


def test_two_dimensions_with_a_diagonal_kink() -> None:
    def evaluate(points, task):
        value = np.abs(points[..., 0] - points[..., 1])[..., None]
        return value, 1e-16 * value

    zero = np.zeros(1, dtype=np.int64)
    one = np.zeros((1, 2)), np.ones(1), zero, zero, 1
    result = integrate_batch(evaluate, *one, absolute=1e-5, relative=0.0, max_evaluations=10**7)
    assert result.errors[0, 0] <= 1e-5
    assert abs(result.values[0, 0] - 1 / 3) <= result.errors[0, 0]


@pytest.mark.parametrize("d", [1, 2])
def test_first_boxes_cover_the_ball_once_and_resolve_every_feature(d: int) -> None:
    rng = np.random.default_rng(3)
    centers = rng.normal(size=(2, 4, d)) * 3
    scales = np.array([[1e-5, 1.0, 0.02, np.inf], [0.3, 1e-2, 5.0, 1e-3]])
    lower, side, task = graded_boxes(centers, scales, radius=8.0, own=1.0, grading=2.0)
    for t in range(2):
        mine = task == t
        points = rng.uniform(-8, 8, size=(500, d))
        points = points[np.linalg.norm(points, axis=1) < 8]
        inside = np.all(
            (points[:, None] >= lower[mine]) & (points[:, None] < lower[mine] + side[mine, None, None][:, 0]), axis=-1
        )
        np.testing.assert_array_equal(inside.sum(axis=1), 1)
        for center, scale in zip(centers[t], scales[t], strict=True):
            if np.isfinite(scale) and np.linalg.norm(center) < 8:
                holding = np.all((center >= lower[mine]) & (center < lower[mine] + side[mine, None]), axis=-1)
                assert side[mine][holding].max() <= 2.0 * scale


def test_a_narrow_feature_by_the_edge_of_the_ball_is_covered() -> None:
    """Boxes as small as the feature lie beside an axis, just inside the radius; those just outside are left out."""
    lower, side, task = graded_boxes(np.array([[[7.99, 0.0]]]), np.array([[1e-3]]), radius=8.0, own=1.0, grading=2.0)
    angle = np.linspace(-np.pi, np.pi, 400)
    for reach in (7.995, 7.999, 3.0):
        points = reach * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points = np.vstack([points, [[reach, 0.0003]]])
        inside = np.all((points[:, None] >= lower) & (points[:, None] < lower + side[:, None]), axis=-1)
        np.testing.assert_array_equal(inside.sum(axis=1), 1)
    nearest = np.linalg.norm(np.clip(0.0, lower, lower + side[:, None]), axis=1)
    assert nearest.max() <= 8.0
    assert side[nearest > 7.98].min() <= 2e-3
    assert set(task) == {0}


def test_an_estimate_is_a_number_that_tells_its_error() -> None:
    e = Estimate(1.5, 1e-11, "quadrature", 300)
    assert float(e) == 1.5
    assert math.sqrt(e) == math.sqrt(1.5)
    assert "1.5 ± 1e-11 (quadrature, 300 points)" in repr(e)
