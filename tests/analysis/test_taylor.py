"""Taylor polynomials, their reach and their remainder, against derivatives, root tests and dense samples."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.analysis import taylor_radius
from gpo_analysis.analysis.singularities import convergence_radius
from gpo_analysis.analysis.taylor import derivative_at_zero
from tests.analysis.losses import loss_of, precise
from tests.cases import cases

Z = gpo.get_loss("dpo").symbol
SMOOTH = [
    *("logistic", "squared", "exponential", "savage", "cell", "lrml", "smoothed_logistic", "sba", "lsif", "kliep"),
    *("log(cosh(1-z))", "sqrt(1+(1-z)**2)", "1-tanh(z)", "atan(-z)", "-log(erfc(-z/sqrt(2))/2)", "exp(exp(-z))"),
    *("exp(-z**2)", "log(1+exp(1-z**2))", "log(1+exp(-z))**2", "hinge", "truncated_quadratic", "max(0,1-z)**3"),
]


@pytest.mark.parametrize("text", SMOOTH[:-3])
def test_coefficients_in_many_digits(text: str) -> None:
    loss = loss_of(text)
    polynomial = sympy.Poly(gpo.taylor(loss, order=5), Z)
    with mpmath.workdps(80):
        numeric = mpmath.taylor(precise(loss), 0, 5, radius=mpmath.mpf("1e-4"), method="quad")
        for k, wanted in enumerate(numeric):
            exact = mpmath.mpf(str(sympy.N(polynomial.coeff_monomial(Z**k), 60)))
            assert abs(exact - mpmath.re(wanted)) < mpmath.mpf(10) ** -20 * (1 + abs(exact))


def test_known_series() -> None:
    assert gpo.taylor("dpo") == -(Z**4) / 192 + Z**2 / 8 - Z / 2 + sympy.log(2)
    assert gpo.taylor("ipo", 7) == sympy.expand((Z - 1) ** 2)
    assert gpo.taylor("slic", 3) == 1 - Z
    assert gpo.taylor("exponential", 3) == 1 - Z + Z**2 / 2 - Z**3 / 6
    assert gpo.taylor("dpo", 0) == sympy.log(2)
    # log(1 + e^−z) = log 2 − z/2 + Σ (2^{2k} − 1) B_{2k} z^{2k} / (2k (2k)!)
    high = sympy.Poly(gpo.taylor("dpo", 30), Z)
    for k in range(1, 16):
        wanted = (4**k - 1) * sympy.bernoulli(2 * k) / (2 * k * sympy.factorial(2 * k))
        assert high.coeff_monomial(Z ** (2 * k)) == wanted


@pytest.mark.parametrize("scale", [1, 500])
def test_fractions_as_small_as_they_come_are_no_zeros(scale: int) -> None:
    series = sympy.Poly(gpo.taylor(gpo.parse_loss(f"exp(-z/{scale})"), 60), Z)
    expected = [sympy.Rational((-1) ** k, scale**k * math.factorial(k)) for k in range(61)]
    assert series.all_coeffs()[::-1] == expected


def test_kinks_at_zero_end_the_series() -> None:
    cubed = loss_of("abs(z)**3")
    assert gpo.taylor(cubed, 2) == 0
    with pytest.raises(ValueError, match="no derivative of order 3 at 0"):
        gpo.taylor(cubed, 3)
    with pytest.raises(ValueError, match="no derivative of order 1"):
        gpo.taylor(loss_of("abs(abs(z-1)-1)+abs(z)"), 1)
    with pytest.raises(ValueError, match="kink at 0"):
        gpo.taylor_remainder_bound(cubed, 2, 1.0)
    assert derivative_at_zero(cubed, 4) is sympy.nan


@pytest.mark.parametrize("order", [-1, 61, 2.0, True, "4", None])
def test_orders_are_checked(order: object) -> None:
    with pytest.raises(ValueError, match="order must be an integer"):
        gpo.taylor("dpo", order)  # type: ignore[arg-type]


@pytest.mark.parametrize("radius", [0, -1.0, math.nan, math.inf, "1", None, True])
def test_radii_are_checked(radius: object) -> None:
    with pytest.raises(ValueError, match="radius must be a positive finite"):
        gpo.taylor_remainder_bound("dpo", 2, radius)  # type: ignore[arg-type]


RADII = {
    "logistic": sympy.pi,
    "hinge": 1,
    "squared": sympy.oo,
    "exponential": sympy.oo,
    "truncated_quadratic": 1,
    "savage": sympy.pi,
    "cell": sympy.pi,
    "lrml": sympy.pi / 20,
    "smoothed_logistic": sympy.pi,
    "robust_logistic": sympy.pi,
    "sba": sympy.oo,
    "lsif": sympy.oo,
    "kliep": sympy.oo,
    "log(cosh(1-z))": sympy.sqrt(4 + sympy.pi**2) / 2,
    "sqrt(1+(1-z)**2)": sympy.sqrt(2),
    "1-tanh(z)": sympy.pi / 2,
    "atan(-z)": 1,
    "exp(exp(-z))": sympy.oo,
    "exp(-z**2)": sympy.oo,
    "erfc(z)": sympy.oo,
    "max(0,exp(-z)-z)": sympy.LambertW(1),
    "abs(abs(z-1)-1)": 0,
    "log(1+exp(-37*z))/37": sympy.pi / 37,
    "log(3+exp(-z))": sympy.sqrt(sympy.pi**2 + sympy.log(3) ** 2),
    "1/(2+z)": 2,
    "log(z**2+2*z+5)": sympy.sqrt(5),
    "max(0,2-z)+log(1+exp(-z/3))": 2,
}


@pytest.mark.parametrize("text", RADII)
def test_exact_radii(text: str) -> None:
    loss = loss_of(text) if text != "1/(2+z)" else None
    found = taylor_radius(loss) if loss is not None else convergence_radius(1 / (2 + Z), Z)
    wanted = sympy.sympify(RADII[text])
    assert found == wanted or abs(sympy.N(found - wanted, 30)) < 1e-25


@pytest.mark.parametrize(
    "text",
    [
        *("logistic", "savage", "lrml", "cell", "log(cosh(1-z))", "sqrt(1+(1-z)**2)", "atan(-z)", "1-tanh(z)"),
        *("-log(erfc(-z/sqrt(2))/2)", "log(1+exp(1-z**2))", "log(1+exp(-z))**2", "sqrt(log(1+exp(-2*z)))"),
    ],
)
def test_radii_by_cauchy_and_hadamard(text: str) -> None:
    loss = loss_of(text)
    radius = float(taylor_radius(loss))
    # coefficients by the trapezoidal rule on a circle inside, in many digits
    count, order = 512, 240
    with mpmath.workdps(60):
        # the slope, because a principal logarithm jumps inside the disc
        function = sympy.lambdify(Z, loss.expression.diff(Z), "mpmath")
        circle = [
            mpmath.mpf(radius) * mpmath.mpf("0.8") * mpmath.expjpi(2 * mpmath.mpf(k) / count) for k in range(count)
        ]
        values = np.array([complex(function(z)) for z in circle])
    size = np.abs(np.fft.fft(values) / count)[:order]  # |aₙ| (0.8 r)ⁿ
    usable = int(np.flatnonzero(size > 1e-14)[-1])
    windows = [slice(usable // 2 - 12, usable // 2), slice(usable - 12, usable)]
    peaks = [w.start + int(np.argmax(size[w])) for w in windows]
    rate = math.log(size[peaks[1]] / size[peaks[0]]) / (peaks[1] - peaks[0])
    assert 0.8 * math.exp(-rate) == pytest.approx(1.0, abs=0.09)


def test_removable_singularities_do_not_count() -> None:
    assert convergence_radius(sympy.log(1 + sympy.exp(-Z)) + (sympy.exp(Z - 1) - 1) / (Z - 1), Z) == sympy.pi
    assert convergence_radius((sympy.exp(Z - 1) - 1) / (Z - 1), Z) == sympy.oo
    assert convergence_radius(sympy.asinh(Z / 2), Z) == 2


def test_unknown_functions_have_no_radius() -> None:
    assert convergence_radius(sympy.log(sympy.gamma(Z + 3)), Z) is sympy.nan
    strange = gpo.losses.MarginLoss("strange", sympy.log(sympy.loggamma(Z**2 + 4)))
    assert taylor_radius(strange) is sympy.nan
    with pytest.raises(ValueError, match="no Taylor recurrence"):
        gpo.taylor_remainder_bound(strange, 1, 0.5)
    assert gpo.taylor(strange, 1) == sympy.log(sympy.log(6))


@pytest.mark.parametrize(
    ("expression", "radius"),
    [
        (sympy.log(2 + sympy.exp(-Z) + sympy.exp(2 * Z)), None),
        (1 / (Z**4 + 3 * Z**2 + Z + 7), None),  # irreducible of degree 4
        (sympy.log(1 + sympy.exp(-Z) + sympy.exp(sympy.pi * Z)), None),  # two rates without a common one
        (sympy.sqrt(1 + Z * sympy.exp(Z)), None),
        (sympy.log(4 - sympy.exp(Z)), math.log(4)),
        (sympy.sqrt(sympy.exp(2 * Z) + sympy.exp(Z) + 1), 2 * math.pi / 3),
    ],
    ids=str,
)
def test_other_radii_are_zeros_of_what_must_not_vanish(expression: sympy.Expr, radius: float | None) -> None:
    found = float(convergence_radius(expression, Z))
    inner = expression.base if isinstance(expression, sympy.Pow) else expression.args[0]
    # the least modulus of a zero, by counting zeros with the argument principle on two circles
    function, slope = (sympy.lambdify(Z, f, "numpy") for f in (inner, inner.diff(Z)))

    def zeros_within(r: float) -> int:
        angles = 2 * np.pi * (np.arange(4096) + 0.5) / 4096
        z = r * np.exp(1j * angles)
        return round(float(np.mean(slope(z) / function(z) * z).real))

    assert zeros_within(0.995 * found) == 0
    assert zeros_within(1.005 * found) >= 1
    if radius is not None:
        assert found == pytest.approx(radius, rel=1e-12)


@pytest.mark.parametrize("text", [t for t in SMOOTH if t != "lrml"])
@pytest.mark.parametrize(("order", "radius"), [(1, 0.9), (3, 2.5), (6, 1.1)])
def test_the_bound_holds_and_is_lagranges(text: str, order: int, radius: float) -> None:
    loss = loss_of(text)
    bound = gpo.taylor_remainder_bound(loss, order, radius)
    polynomial = sympy.lambdify(Z, gpo.taylor(loss, order), "mpmath")
    with mpmath.workdps(40):
        f = precise(loss)
        points = [mpmath.mpf(radius) * k / 40 for k in range(-40, 41)]
        worst = max(abs(f(z) - polynomial(z)) for z in points)
        assert worst <= bound + mpmath.mpf("1e-35")
        if not loss.expression.has(sympy.Max):
            derivative = sympy.lambdify(Z, loss.expression.diff(Z, order + 1), "mpmath")
            lagrange = max(abs(derivative(z)) for z in points) * mpmath.mpf(radius) ** (order + 1)
            assert bound <= lagrange / math.factorial(order + 1) * mpmath.mpf("1.05") + mpmath.mpf("1e-30")


def test_bounds_of_kinked_losses() -> None:
    assert gpo.taylor_remainder_bound("slic", 1, 1.0) == 0.0
    assert gpo.taylor_remainder_bound("slic", 1, 3.0) == pytest.approx(2.0, rel=0.01)
    assert gpo.taylor_remainder_bound("truncated_quadratic", 2, 3.0) == pytest.approx(4.0, rel=0.01)
    assert gpo.taylor_remainder_bound("ipo", 2, 1e6) == 0.0
    assert gpo.taylor_remainder_bound("ipo", 1, 2.0) == pytest.approx(4.0, rel=0.01)


@given(radius=st.floats(0.01, 4.0), order=st.integers(0, 6), share=st.floats(-1, 1))
@cases(15)
def test_the_bound_holds_everywhere(radius: float, order: int, share: float) -> None:
    bound = gpo.taylor_remainder_bound("dpo", order, radius)
    with mpmath.workdps(40):
        z = mpmath.mpf(radius) * mpmath.mpf(share)
        polynomial = sympy.lambdify(Z, gpo.taylor("dpo", order), "mpmath")(z)
        assert abs(mpmath.log1p(mpmath.exp(-z)) - polynomial) <= bound


def test_small_irrational_coefficients_are_kept():
    loss = gpo.parse_loss("1e-40*exp(pi*z)")
    wanted = sum(sympy.Rational(1, 10**40) * sympy.pi**k * loss.symbol**k / sympy.factorial(k) for k in range(4))
    assert sympy.expand(gpo.taylor(loss, 3) - wanted) == 0


def test_a_small_kink_is_a_kink():
    loss = gpo.parse_loss("1e-40*abs(z)+1e-40*pi*z")
    assert gpo.analyze(loss).slope is sympy.nan
    with pytest.raises(ValueError, match="kink"):
        gpo.taylor(loss, 1)
