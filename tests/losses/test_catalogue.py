"""Every loss of the catalogue against 50-digit arithmetic on the formula written here; its claims put to the test."""

from __future__ import annotations

import pickle
import re

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.losses import PAPER_LOSSES, catalogue
from gpo_analysis.losses.compile import needs_precision

GRID = np.array(
    [
        -1000.0,
        -709.0,
        -100.0,
        -37.0,
        -36.0,
        -5.0,
        -1.0,
        -0.5,
        -1e-8,
        0.0,
        1e-8,
        0.3,
        1.0 - 1e-9,
        1.0,
        1.0 + 1e-9,
        2.0,
        5.0,
        36.0,
        37.0,
        100.0,
        709.0,
        1000.0,
    ]
)


def _robust(z):
    return (
        mpmath.mpf("0.9") * mpmath.log1p(mpmath.exp(-z)) - mpmath.mpf("0.1") * mpmath.log1p(mpmath.exp(z))
    ) / mpmath.mpf("0.8")


def _lrml(z):
    sigma = 1 / (1 + mpmath.exp(-z * 20))
    return (1 - sigma) * mpmath.log1p(mpmath.exp(-z)) + sigma * mpmath.exp(-z)


# the formulas once more, in another arithmetic and not from the code under test
FORMULAS = {
    "logistic": lambda z: mpmath.log1p(mpmath.exp(-z)),
    "hinge": lambda z: max(mpmath.mpf(0), 1 - z),
    "squared": lambda z: (z - 1) ** 2,
    "exponential": lambda z: mpmath.exp(-z),
    "truncated_quadratic": lambda z: max(mpmath.mpf(0), 1 - z) ** 2,
    "savage": lambda z: 1 / (1 + mpmath.exp(z)) ** 2,
    "cell": lambda z: (mpmath.log1p(mpmath.exp(-z)) + mpmath.exp(-z)) / 2,
    "lrml": _lrml,
    "smoothed_logistic": lambda z: (9 * mpmath.log1p(mpmath.exp(-z)) + mpmath.log1p(mpmath.exp(z))) / 10,
    "robust_logistic": _robust,
    "sba": lambda z: mpmath.exp(-1.5 * z) / 6 - mpmath.exp(z / 2) / 2,
    "lsif": lambda z: mpmath.exp(-2 * z) - 2 * mpmath.exp(z),
    "kliep": lambda z: mpmath.exp(-z) - z,
}


def exact(name: str, order: int, z: float) -> float:
    """The value in 50 digits and more; derivatives by differences of 300 digits, one-sided to the right at the kink."""
    formula = FORMULAS[name]
    with mpmath.workdps(1500):
        point = mpmath.mpf(z)
        if order == 0:
            return float(formula(point))
        step = mpmath.mpf(10) ** -250
        if order == 1:
            return float((formula(point + step) - formula(point)) / step)
        return float((formula(point + 2 * step) - 2 * formula(point + step) + formula(point)) / step**2)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("name", gpo.list_losses())
def test_values_against_high_precision(name: str, order: int) -> None:
    found = gpo.get_loss(name).derivative(GRID, order)
    assert found.shape == GRID.shape
    assert found.dtype == np.float64
    expected = np.array([exact(name, order, z) for z in GRID])
    # the others have zeros near grid points, where a value is small beside its terms
    np.testing.assert_allclose(
        found, expected, rtol=2e-13 if name != "lrml" else 1e-11, atol=1e-240 if name in PAPER_LOSSES else 1e-14
    )


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("name", gpo.list_losses())
def test_float32_keeps_its_dtype_and_value(name: str, order: int) -> None:
    z = GRID.astype(np.float32)
    found = gpo.get_loss(name).derivative(z, order)
    assert found.dtype == np.float32
    with np.errstate(over="ignore", under="ignore"):
        expected = np.array([exact(name, order, float(point)) for point in z]).astype(np.float32)
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-44 if name in PAPER_LOSSES else 1e-7)


@pytest.mark.parametrize("name", gpo.list_losses())
def test_shapes_and_non_finite_input(name: str) -> None:
    loss = gpo.get_loss(name)
    for order in (0, 1, 2, 3):
        assert loss.derivative(np.zeros((2, 0, 3)), order).shape == (2, 0, 3)
        assert loss.derivative(np.zeros((2, 1, 3)), order).shape == (2, 1, 3)
        assert np.ndim(loss.derivative(0.5, order)) == 0
        assert np.isnan(loss.derivative(np.array([np.nan, 0.0]), order)).tolist() == [True, False]
    assert loss([0, 1]).dtype == np.float64
    with pytest.raises(TypeError, match="real numbers"):
        loss(np.array([1j]))


@pytest.mark.parametrize("name", gpo.list_losses())
def test_no_loss_of_the_catalogue_falls_back_to_slow_arithmetic(name: str) -> None:
    loss = gpo.get_loss(name)
    assert [needs_precision(loss.expression, loss.symbol, order) for order in (0, 1, 2)] == [False] * 3


@pytest.mark.parametrize("name", gpo.list_losses())
def test_convexity_claim(name: str) -> None:
    """Midpoint convexity over random triples refutes a false claim; a claim of the contrary needs one triple."""
    loss = gpo.get_loss(name)
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-8.0, 8.0, (2, 20_000))
    assert a.std() > 1.0
    gap = 0.5 * (loss(a) + loss(b)) - loss(0.5 * (a + b))
    scale = np.abs(loss(a)) + np.abs(loss(b)) + 1.0
    convex = bool(np.all(gap > -1e-13 * scale))
    assert loss.claims is not None
    assert convex is loss.claims.convex


@pytest.mark.parametrize("name", gpo.list_losses())
def test_kink_claim(name: str) -> None:
    """Where a kink is claimed f, f′ or f″ jumps; on a fine grid nothing jumps elsewhere."""
    loss = gpo.get_loss(name)
    assert loss.claims is not None
    kinks = [float(sympy.sympify(kink)) for kink in loss.claims.kinks]
    grid = np.linspace(-3.0, 3.0, 6001) + 1e-4 * np.sqrt(2)
    for kink in kinks:
        jumps = [abs(loss.derivative(kink + 1e-9, k) - loss.derivative(kink - 1e-9, k)) for k in range(3)]
        assert max(jumps) > 0.5
    far = np.all([np.abs(grid[:-1] - kink) > 2e-3 for kink in kinks], axis=0) if kinks else np.ones(6000, bool)
    bound = 1e-3 * (np.abs(loss.derivative(grid, 3)).max() + 1.0)
    assert np.all(np.abs(np.diff(loss.derivative(grid, 2)))[far] <= bound)


@pytest.mark.parametrize("name", gpo.list_losses())
def test_boundedness_claim(name: str) -> None:
    loss = gpo.get_loss(name)
    assert loss.claims is not None
    lowest = float(np.min(loss(np.linspace(-1000.0, 1000.0, 4001))))
    assert (lowest > -1.0) is loss.claims.bounded_below


@given(st.sampled_from(gpo.list_losses()), st.floats(-20.0, 20.0))
def test_derivatives_by_finite_differences(name: str, z: float) -> None:
    loss = gpo.get_loss(name)
    kinks = [float(sympy.sympify(kink)) for kink in (loss.claims.kinks if loss.claims else ())]
    if any(abs(z - kink) < 1e-3 for kink in kinks):
        z += 0.01
    for order in (0, 1):
        step = 1e-6
        slope = (loss.derivative(z + step, order) - loss.derivative(z - step, order)) / (2 * step)
        around = np.abs(loss.derivative(np.array([z - step, z, z + step]), order)).max()
        curve = abs(float(loss.derivative(z, order + 2))) if order == 0 else abs(float(loss.derivative(z, 3)))
        assert slope == pytest.approx(loss.derivative(z, order + 1), rel=1e-4, abs=1e-9 * (1 + around) + 1e-5 * curve)


def test_names_aliases_and_order() -> None:
    names = gpo.list_losses()
    assert (
        tuple(names[:6])
        == PAPER_LOSSES
        == ("logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage")
    )
    pairs = {"dpo": "logistic", "ipo": "squared", "slic": "hinge", "discopop": "lrml", "cdpo": "smoothed_logistic"}
    assert {alias: gpo.get_loss(alias).name for alias in pairs} == pairs
    assert gpo.get_loss("Truncated-Quadratic") is gpo.get_loss("truncated quadratic")
    assert gpo.get_loss(gpo.get_loss("dpo")) is gpo.get_loss("dpo")
    assert all(gpo.get_loss(name).reference for name in names)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("logistc", "logistic"), ("ipoo", "ipo"), ("hing", "hinge"), ("Squard", "squared"), ("DPO loss", "dpo")],
)
def test_unknown_names_say_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"unknown loss '{name}'; did you mean '{nearest}'"):
        gpo.get_loss(name)
    with pytest.raises(ValueError, match="known: logistic"):
        gpo.get_loss("zzzzzz")
    with pytest.raises(ValueError, match="unknown loss 3"):
        gpo.get_loss(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", gpo.list_losses())
def test_losses_are_values(name: str) -> None:
    loss = gpo.get_loss(name)
    copy = pickle.loads(pickle.dumps(loss))
    assert copy == loss
    assert hash(copy) == hash(loss)
    np.testing.assert_array_equal(copy(GRID), loss(GRID))
    assert loss._repr_latex_().startswith("$")
    assert name in str(loss)
    with pytest.raises(AttributeError):
        loss.name = "other"  # type: ignore[misc]


def test_bad_construction_and_order() -> None:
    x = sympy.Symbol("x")
    with pytest.raises(ValueError, match="no symbol but the real z"):
        gpo.MarginLoss("bad", x + 1)
    with pytest.raises(ValueError, match="must be a sympy expression"):
        gpo.MarginLoss("bad", "z")
    with pytest.raises(ValueError, match="name must be text that is not empty"):
        gpo.MarginLoss("", x.subs(x, 1))
    for order in (-1, 1.5, True, "1"):
        with pytest.raises(ValueError, match="order must be an integer"):
            gpo.get_loss("dpo").derivative(0.0, order)  # type: ignore[arg-type]


def test_savage_curvature_at_its_zero() -> None:
    """f″ vanishes at z = −ln 2: there the error is absolute, a few units of the last place of its terms (0.15)."""
    z = np.nextafter(-np.log(2.0), [-1.0, 1.0])
    found = gpo.get_loss("savage").derivative(np.array([-np.log(2.0), *z]), 2)
    expected = [exact("savage", 2, point) for point in (-np.log(2.0), *z)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-16)


def test_sba_has_the_gradient_it_is_known_by() -> None:
    """df/dR = (R^λ + R^(−λ−1))/s at λ = 1/2, s = 4, R = e^−z: so f′(z) = −R (R^λ + R^(−λ−1))/s."""
    z = np.linspace(-3, 3, 25)
    ratio = np.exp(-z)
    np.testing.assert_allclose(gpo.get_loss("sba").derivative(z), -ratio * (ratio**0.5 + ratio**-1.5) / 4, rtol=1e-12)


def test_the_catalogue_built_anew() -> None:
    """All formulas, kinks, claims and sources at once."""
    built = catalogue._catalogue.__wrapped__()
    assert list(built) == gpo.list_losses()
    with mpmath.workdps(60):
        for name, loss in built.items():
            f = sympy.lambdify(loss.symbol, loss.expression, "mpmath")
            for z in map(mpmath.mpf, ("-7.3", "-1.4", "0", "0.6", "0.99", "1.01", "3.7")):
                assert mpmath.almosteq(f(z), FORMULAS[name](z), 1e-50), (name, z)
            claims = loss.claims
            assert claims is not None
            assert claims.bounded_below is (min(f(mpmath.mpf(-90)), f(mpmath.mpf(90))) > -1), name
            middles = [mpmath.mpf(k) / 3 for k in range(-6, 13)]
            gaps = [f(z - 0.25) + f(z + 0.25) - 2 * f(z) for z in middles]
            assert claims.convex is bool(min(gaps) > -1e-50), name
            assert claims.kinks == (("1",) if loss.expression.has(sympy.Max) else ()), name
            assert re.search(r"arXiv \d{4}\.\d{5}|\b(19|20)\d\d\b", loss.reference), name
            assert "None" not in loss.reference, name
            for alias in loss.aliases:
                assert gpo.get_loss(alias).name == name
