"""The conjugate against brute maximisation, Fenchel and Young, and its closed forms."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.optimize
import sympy
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.analysis import closed_conjugate, conjugate
from tests.analysis.losses import TYPED, loss_of
from tests.cases import cases

S = sympy.Symbol("s", real=True)
CONVEX = [
    *("logistic", "hinge", "squared", "exponential", "truncated_quadratic", "cell", "smoothed_logistic"),
    *("robust_logistic", "kliep", "log(cosh(1-z))", "sqrt(1+(1-z)**2)", "max(0,1-z)**3", "abs(1-z)", "exp(-z)+z"),
    *("log(1+exp(-z))+max(0,-z)/2", "z**4/4-z", "-log(erfc(-z/sqrt(2))/2)", "2**(-z)", "max(0,exp(-z)-z)"),
]


def brute(text: str, slope: float) -> float:
    """sup over a grid of [−60, 60], polished by scipy."""
    loss = loss_of(text)
    grid = np.linspace(-60, 60, 24001)
    start = grid[np.argmax(slope * grid - loss(grid))]
    result = scipy.optimize.minimize_scalar(
        lambda z: float(loss(np.float64(z)) - slope * z),
        bounds=(start - 0.01, start + 0.01),
        method="bounded",
        options={"xatol": 1e-12},
    )
    return float(max(-result.fun, slope * start - loss(np.float64(start))))


@pytest.mark.parametrize("text", [text for text in CONVEX if "erfc" not in text])
def test_numbers_against_brute_force(text: str) -> None:
    domain = closed_conjugate(loss_of(text)).domain
    assert domain is not None
    low, high = max(float(domain.inf), -3.0), min(float(domain.sup), 3.0)
    for share in (0.05, 0.3, 0.52, 0.81, 0.97):
        slope = low + (high - low) * share
        assert float(conjugate(loss_of(text), slope)) == pytest.approx(brute(text, slope), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("text", CONVEX)
def test_domain(text: str) -> None:
    domain = closed_conjugate(loss_of(text)).domain
    assert domain is not None
    for end, outward in ((domain.inf, -1e-3), (domain.sup, 1e-3)):
        if end.is_finite:
            assert float(conjugate(loss_of(text), float(end) + outward)) == np.inf
            assert np.isfinite(float(conjugate(loss_of(text), float(end) - outward)))


@pytest.mark.parametrize("text", [*gpo.list_losses(), *TYPED])
def test_closed_forms_are_the_numbers(text: str) -> None:
    found = closed_conjugate(loss_of(text))
    if found.expression is None:
        return
    domain = found.domain
    assert domain is not None
    if isinstance(domain, sympy.FiniteSet):
        slope = domain.args[0]
        assert float(found.expression) == pytest.approx(float(conjugate(loss_of(text), float(slope))), rel=1e-10)
        return
    low, high = max(float(domain.inf), -4.0), min(float(domain.sup), 4.0)
    for share in (0.013, 0.21, 0.44, 0.61, 0.87, 0.991):
        slope = low + (high - low) * share
        value = complex(sympy.N(found.expression.subs(S, sympy.Float(slope, 30)), 20))
        assert value.real == pytest.approx(float(conjugate(loss_of(text), slope)), rel=1e-9, abs=1e-11)
        assert abs(value.imag) < 1e-12


@given(text=st.sampled_from(CONVEX), z=st.floats(-8, 8), other=st.floats(-8, 8))
@cases(60)
def test_fenchel_young(text: str, z: float, other: float) -> None:
    loss = loss_of(text)
    slope = float(loss.derivative(z))
    touching = float(loss(z)) + float(conjugate(loss, slope))
    assert touching == pytest.approx(slope * z, rel=1e-7, abs=1e-7)
    elsewhere = float(loss.derivative(other))
    assert float(loss(z)) + float(conjugate(loss, elsewhere)) >= elsewhere * z - 1e-7 * (1 + abs(elsewhere * z))


def test_ends_of_the_domain_are_limits() -> None:
    np.testing.assert_allclose(conjugate("logistic", [-1.0, 0.0]), [0.0, 0.0], atol=1e-15)
    np.testing.assert_array_equal(conjugate("logistic", [-1.5, 0.5]), [np.inf, np.inf])
    assert float(conjugate("exponential", 0.0)) == 0.0
    np.testing.assert_allclose(conjugate("robust_logistic", [-9 / 8, -1 / 8]), [0.0, 0.0], atol=1e-12)
    assert closed_conjugate(gpo.get_loss("smoothed_logistic")).domain == sympy.Interval(
        -sympy.Rational(9, 10), sympy.Rational(1, 10)
    )
    assert closed_conjugate(loss_of("-log(1+tanh(z))")).domain == sympy.Interval(-2, 0)


def test_not_convex() -> None:
    savage = closed_conjugate(gpo.get_loss("savage"))
    assert (savage.expression, savage.domain) == (0, sympy.FiniteSet(0))
    np.testing.assert_array_equal(conjugate("savage", [-0.1, 0.0, 0.1]), [np.inf, 0.0, np.inf])
    assert closed_conjugate(gpo.get_loss("lsif")).domain is sympy.S.EmptySet
    assert float(conjugate("lsif", -1.0)) == np.inf
    # of the convex hull: the slope −½ touches LRML where f′ = −½ furthest left
    lrml = loss_of("lrml")
    grid = np.linspace(-40, 40, 400001)
    assert float(conjugate(lrml, -0.5)) == pytest.approx(float(np.max(-0.5 * grid - lrml(grid))), abs=1e-8)
    dip = closed_conjugate(loss_of("-z*exp(-z**2)"))
    assert dip.expression is not None
    assert float(dip.expression) == pytest.approx(np.sqrt(0.5) * np.exp(-0.5), rel=1e-12)
    unknown = closed_conjugate(gpo.losses.MarginLoss("wave", sympy.sin(gpo.get_loss("dpo").symbol)))
    assert unknown.domain is None
    assert unknown.expression is None


def test_call_and_arguments() -> None:
    found = closed_conjugate(gpo.get_loss("squared"))
    np.testing.assert_allclose(found([[-2.0, 0.0]]), [[-1.0, 0.0]])
    assert found(1.0).shape == ()
    with pytest.raises(ValueError, match="finite"):
        conjugate("dpo", [np.nan])
    with mpmath.workdps(30):
        s = mpmath.mpf("-0.3")
        wanted = -s * mpmath.log(-s) + (1 + s) * mpmath.log(1 + s)
    assert float(found.loss is gpo.get_loss("squared"))
    assert float(conjugate("dpo", -0.3)) == pytest.approx(float(wanted), rel=1e-13)
