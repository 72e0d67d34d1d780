"""What is said of losses of two log-ratios, against differences, brute force and exact populations."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis.two_ratio_convexity import joint_convexity
from gpo_analysis.losses import get_two_ratio_loss, two_ratio_losses
from tests.losses.pair_formulas import SLOPES

SMOOTH = [name for name in two_ratio_losses() if name != "dpop"]


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_at_zero(name: str) -> None:
    a, step = gpo.analyze(name), 1e-5
    slopes = SLOPES[name]
    origin = np.zeros(1)
    np.testing.assert_allclose([float(s) for s in a.slopes], [float(s[0]) for s in slopes(origin, origin)], atol=1e-14)
    hessian = [[float(x) for x in row] for row in a.curvatures]
    for k, (i, j) in enumerate(((step, 0.0), (0.0, step))):
        up, down = slopes(np.array([i]), np.array([j])), slopes(np.array([-i]), np.array([-j]))
        column = [float((p[0] - q[0]) / (2 * step)) for p, q in zip(up, down, strict=True)]
        np.testing.assert_allclose([row[k] for row in hessian], column, atol=1e-8)
    (aa, ab), (_, bb) = hessian
    # (1) of the module: the quadratic form, put together again
    u, v = 0.7, -0.4
    split = float(a.margin_part) * (u - v) ** 2 + float(a.own_pulls[0]) * u**2 + float(a.own_pulls[1]) * v**2
    assert split == pytest.approx(aa * u * u + 2 * ab * u * v + bb * v * v, abs=1e-12)
    assert float(a.shift_curvature) == pytest.approx(aa + 2 * ab + bb, abs=1e-12)
    assert float(a.slope) == pytest.approx(float(a.slopes[0] - a.slopes[1]) / 2)


def test_a_margin_loss_is_the_case_of_a_difference() -> None:
    for text in ("log(1+exp(-z))", "(1-z)**2", "exp(-z)"):
        f = gpo.analyze(gpo.parse_loss(text))
        pair = gpo.analyze(gpo.parse_loss(text.replace("z", "(a-b)")))
        assert pair.is_shift_invariant
        assert pair.curvature_ratio == pair.population_curvature_ratio == f.curvature_ratio
        assert (pair.slope, pair.curvature, pair.margin_part) == (f.slope, f.curvature, f.curvature)
        assert pair.own_pulls == (0, 0)
        assert pair.shift_slope == pair.shift_curvature == 0
        assert pair.is_calibrated is f.is_calibrated
        assert pair.is_convex is f.is_convex


@pytest.mark.parametrize("name", ["bco_pair", "nca_pair", "sppo_hard", "cal_dpo", "dpo"])
def test_kappa_in_a_population_is_what_weighs_on_the_variance(name: str) -> None:
    """E F at u of mean zero, P near ½: 2μμP weights, equal draws included, to second order."""
    loss = gpo.get_loss(name)
    a = gpo.analyze(loss)
    mu, u = np.array([0.5, 0.3, 0.2]), np.array([0.4, -0.8, 0.2])
    u = u - mu @ u
    problem = gpo.PreferenceProblem(np.full((3, 3), 0.5), mu)
    size = 1e-3
    both = [problem.loss_at(size * sign * u, loss, 1.0) for sign in (1, -1)]
    curved = (both[0] + both[1] - 2 * problem.loss_at(0 * u, loss, 1.0)) / size**2
    kappa = a.population_curvature_ratio if hasattr(a, "population_curvature_ratio") else a.curvature_ratio
    variance = float(mu @ u**2)
    assert curved / 2 == pytest.approx(float(kappa) * abs(float(a.slope)) * variance, rel=1e-4)


@pytest.mark.parametrize("name", two_ratio_losses())
def test_claims_of_convexity_survive_random_chords(name: str) -> None:
    loss = gpo.get_loss(name)
    found = joint_convexity(loss)[0]
    assert found is loss.claims.convex
    x, y = np.random.default_rng(0).normal(0.0, 4.0, (2, 2, 4000))
    middle = loss(*(0.5 * (x + y)))
    above = middle - 0.5 * (loss(*x) + loss(*y))
    assert bool(above.max() > 1e-9) is (not found)


def test_convexity_that_is_not_decided_or_refuted() -> None:
    assert joint_convexity(gpo.parse_loss("log(1+exp(a)) + log(1+exp(b-a)) - log(1+exp(b))/9"))[0] is False
    assert joint_convexity(gpo.parse_loss("log(1+exp(a+b)) + a**2*b**2"))[0] is False
    assert joint_convexity(gpo.parse_loss("sqrt(1 + a**2 + b**2)"))[0] is None
    assert joint_convexity(gpo.parse_loss("log(exp(a) + exp(2*b) + 1) + max(a, 2*b, 0)"))[0] is True


def profiled(loss: object, eta: float) -> tuple[float, float]:
    """Least η-risk over m ≤ 0 and over m > 0, the common shift profiled out, by brute force."""
    s, m = np.meshgrid(np.linspace(-30, 30, 1201), np.linspace(-30, 30, 1201))
    risk = eta * loss(s + m / 2, s - m / 2) + (1 - eta) * loss(s - m / 2, s + m / 2)  # type: ignore[operator]
    return float(risk[m <= 1e-9].min()), float(risk[m > 1e-9].min())


@pytest.mark.parametrize("name", ["nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "cal_dpo"])
def test_calibration_against_brute_force(name: str) -> None:
    loss = gpo.get_loss(name)
    assert gpo.analyze(loss).is_calibrated is True
    for eta in (0.6, 0.9):
        wrong, right = profiled(loss, eta)
        assert right < wrong - 1e-6


def test_calibration_that_fails_or_is_not_defined() -> None:
    backward = gpo.parse_loss("log(1+exp(a)) + log(1+exp(-b))")
    assert gpo.analyze(backward).is_calibrated is False
    wrong, right = profiled(backward, 0.8)
    assert wrong < right
    for name in ("sft", "rpo"):
        found = gpo.analyze(name)
        assert found.is_calibrated is None
        assert "Σπ = 1" in found.calibration_proof


@pytest.mark.parametrize(
    ("name", "kind", "a", "b", "chosen"),
    [
        ("nca_pair", "infinity", np.log(2), -np.inf, 1.0),
        ("bco_pair", "infinity", np.inf, -np.inf, 1.0),
        ("sppo_hard", "finite", 0.5, -0.5, None),
        ("apo_down", "infinity", -np.inf, -np.inf, 1.0),
        ("sft", "unbounded below", np.inf, np.nan, 1.0),
        ("rpo", "unbounded below", np.inf, None, 1.0),
    ],
)
def test_a_pair_that_is_always_won(name: str, kind: str, a: float, b: float | None, chosen: float | None) -> None:
    found = gpo.analyze(name).at_certainty
    assert (found.kind, found.a) == (kind, pytest.approx(a, abs=1e-4))
    if b is not None:
        assert found.b == pytest.approx(b, abs=1e-4, nan_ok=True)
    one = gpo.PreferenceProblem.from_comparisons(gpo.Comparisons.from_pairs([("w", "l", 1)]))
    assert found.chosen == pytest.approx(one.solve(name, 1.0).limit[0] if chosen is None else chosen, abs=1e-7)


def test_the_shift_of_bco_moves_both() -> None:
    a = gpo.analyze(get_two_ratio_loss("bco_pair", shift=0.5))
    sigma = 1 / (1 + np.exp(-0.5))
    assert [float(s) for s in a.slopes] == pytest.approx([-sigma, 1 - sigma])
    assert float(a.shift_slope) == pytest.approx(1 - 2 * sigma)


def test_how_it_shows_itself() -> None:
    found = gpo.analyze("dpop")
    assert found.slopes[0] is sympy.nan
    assert found.curvature_ratio is sympy.nan
    for name in two_ratio_losses():
        a = gpo.analyze(name)
        told = json.loads(a.to_json())
        assert told["kind"] == "two log-ratios"
        assert told["name"] == name
        assert "κ in a population" in str(a)
        assert "<table>" in a._repr_html_()
    with pytest.raises(ValueError, match="not twice differentiable"):
        gpo.equivalent_beta(0.1, "dpop", "dpo")
    assert gpo.equivalent_beta(0.1, "bco_pair", "dpo") == pytest.approx(0.05)


@pytest.mark.parametrize("kink", ["max(0, b - a)", "max(b - a, 3*(b - a))", "abs(a - b)"])
def test_a_kink_at_the_best_common_shift_leaves_calibration_open(kink: str) -> None:
    """At a = b = ½ every slope between those of the two sides is one: what the sign of one of them says is no proof."""
    found = gpo.analyze(gpo.parse_loss(f"{kink} + (a + b - 1)**2"))
    assert found.is_calibrated is None
    assert "kink at the best common shift s = 0.5" in str(found)
    beside = gpo.analyze(
        gpo.parse_loss(f"{kink.replace('b - a', 'b - a + 1').replace('a - b', 'a - b - 1')} + (a + b - 1)**2")
    )
    assert beside.is_calibrated is True
