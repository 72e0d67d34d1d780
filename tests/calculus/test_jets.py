"""Taylor recurrences against sympy's derivatives, mpmath's numbers, and enclosures against samples."""

from __future__ import annotations

import math

import mpmath
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from gpo_analysis.calculus.arithmetic import NUMBERS, bounds, number, polynomial, sign_of
from gpo_analysis.calculus.jets import JetFunction, Unsupported
from tests.cases import cases

Z = sympy.Symbol("z", real=True)
EXPRESSIONS = [
    sympy.log(1 + sympy.exp(-Z)),
    sympy.log(3 + sympy.exp(-Z)),
    1 / (1 + sympy.exp(Z)) ** 2,
    (Z - 1) ** 2,
    sympy.sqrt(1 + (1 - Z) ** 2),
    (2 + Z**2) ** sympy.Rational(-5, 3),
    (2 + Z**2) ** sympy.pi,
    sympy.pi**Z,
    sympy.log(sympy.cosh(1 - Z)),
    sympy.sinh(Z) * sympy.cosh(2 * Z),
    sympy.tanh(Z) * sympy.atan(1 - Z),
    1 - sympy.tanh(3 * Z),
    sympy.asinh(Z) * sympy.sin(Z + 1) - sympy.cos(Z) ** 3,
    sympy.erf(Z) + sympy.erfc(Z / 2) ** 2,
    1 - sympy.erf(Z),
    1 + sympy.erf(Z) + Z,
    -sympy.log(sympy.erfc(-Z / sympy.sqrt(2)) / 2),
    sympy.LambertW(sympy.exp(Z)),
    sympy.log(2) * Z + sympy.sqrt(2) * Z**3,
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
@pytest.mark.parametrize("point", ["-1.7", "-0.25", "0.3", "2.125"])
def test_coefficients_are_sympys_derivatives(expression: sympy.Expr, point: str) -> None:
    exact_point = sympy.Rational(point)
    jet = JetFunction(expression, Z).at(point, 4)
    with mpmath.workdps(60):
        for order, found in enumerate(jet):
            derivative = expression.diff(Z, order) if order else expression
            wanted = mpmath.mpf(str(sympy.N(derivative.subs(Z, exact_point), 45))) / math.factorial(order)
            assert abs(mpmath.mpf(found) - wanted) <= mpmath.mpf(10) ** -38 * (1 + abs(wanted))


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_exact_coefficients_at_zero(expression: sympy.Expr) -> None:
    if expression.has(sympy.LambertW):
        pytest.skip("LambertW(1) has no shorter exact form to compare")
    jet = JetFunction(expression, Z).exactly_at_zero(3)
    for order, found in enumerate(jet):
        derivative = expression.diff(Z, order) if order else expression
        wanted = sympy.N(derivative.subs(Z, 0), 40) / math.factorial(order)
        assert abs(sympy.N(found, 40) - wanted) < sympy.Float("1e-35")


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
@given(middle=st.floats(-3, 3), width=st.floats(1e-6, 1.5), share=st.floats(0, 1))
@cases(15)
def test_enclosures_hold_every_point(expression: sympy.Expr, middle: float, width: float, share: float) -> None:
    function = JetFunction(expression, Z)
    low_end, high_end = NUMBERS.mpf(middle), NUMBERS.mpf(middle) + NUMBERS.mpf(width)
    enclosed = function.over(low_end, high_end, 3)
    values = function.at(low_end + (high_end - low_end) * share, 3)
    for interval, value in zip(enclosed, values, strict=True):
        low, high = bounds(interval)
        slack = NUMBERS.mpf(10) ** -40 * (1 + abs(value))
        assert low - slack <= value <= high + slack


def test_digits_survive_far_out() -> None:
    softplus = JetFunction(sympy.log(1 + sympy.exp(-Z)), Z)
    with mpmath.workdps(60):
        for order, sign in enumerate((1, -1, 1)):
            wanted = sign * mpmath.exp(-1000) / math.factorial(order)
            assert abs(mpmath.mpf(softplus.at(1000, 2)[order]) / wanted - 1) < mpmath.mpf(10) ** -40
    probit = JetFunction(-sympy.log(sympy.erfc(-Z / sympy.sqrt(2)) / 2), Z)
    with mpmath.workdps(60):
        wanted = -mpmath.log(mpmath.erfc(1000 / mpmath.sqrt(2)) / 2)
        assert abs(mpmath.mpf(probit.at(-1000)[0]) / wanted - 1) < mpmath.mpf(10) ** -40
    assert softplus.at(-(10**12), 1)[1] == -1
    assert JetFunction(1 + sympy.tanh(Z), Z).at(-100)[0] > 0


def test_towers_of_exponentials_come_back() -> None:
    tower = JetFunction(sympy.exp(sympy.exp(Z)), Z)
    assert tower.at(1000)[0] == NUMBERS.inf
    assert tower.at(-1000)[0] == 1
    assert bounds(tower.over(900, 1000)[0])[1] == NUMBERS.inf
    falling = JetFunction(sympy.exp(-sympy.exp(Z)), Z)
    assert bounds(falling.over(900, 1000)[0])[0] == 0
    assert bounds(falling.over(900, 1000)[0])[1] < 1e-300


def test_no_value_is_nan_and_no_information_is_everything() -> None:
    assert all(NUMBERS.isnan(c) for c in JetFunction(1 / Z, Z).at(0, 2))
    assert bounds(JetFunction(1 / Z, Z).over(-1, 1)[0]) == (NUMBERS.ninf, NUMBERS.inf)
    assert bounds(JetFunction(sympy.log(Z), Z).over(-1, 1)[0]) == (NUMBERS.ninf, NUMBERS.inf)
    assert bounds(JetFunction(sympy.log(1 + Z), Z).over(-2, 1)[0]) == (NUMBERS.ninf, NUMBERS.inf)
    assert bounds(JetFunction(sympy.sqrt(Z), Z).over(-1, 1)[0]) == (NUMBERS.ninf, NUMBERS.inf)


def test_what_is_not_supported_says_so() -> None:
    with pytest.raises(Unsupported, match="gamma"):
        JetFunction(sympy.gamma(Z), Z)
    with pytest.raises(Unsupported, match="not a finite"):
        JetFunction(Z + sympy.Add(Z, sympy.oo, evaluate=False), Z)


def test_signs_and_numbers() -> None:
    function = JetFunction(Z**2, Z)
    assert sign_of(function.over(1, 2)[0]) == 1
    assert sign_of(JetFunction(-(Z**2), Z).over(1, 2)[0]) == -1
    assert sign_of(function.over(0, 0)[0]) == 0
    assert sign_of(function.over(-1, 1)[0]) is None
    assert bounds(function.over(-1, 1)[0])[0] == 0  # a square knows that it is not negative
    assert number(sympy.oo) == NUMBERS.inf
    assert number(-sympy.oo) == NUMBERS.ninf
    assert NUMBERS.isnan(number(sympy.I))
    assert polynomial([1.0, 2.0, 3.0], 2.0) == 17.0
