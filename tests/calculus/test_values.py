"""Values by one walk over the tree, against sympy's evaluation; what cancels is left to it."""

from __future__ import annotations

import pytest
import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS
from gpo_analysis.calculus.values import quick_value

z, eta = sympy.symbols("z eta", real=True)
TEXTS = [
    "log(eta/(1-eta))", "eta**(1/3)*exp(-2*z)", "sqrt(1+z**2)-1", "LambertW(exp(1-z))", "LambertW(-eta/4, -1)",
    "Abs(z-1)**1.5*sign(z)", "atan(z)+tanh(eta)", "sinh(z)*cosh(z)/tan(eta)", "log(-z)", "(z-5)**(1/3)", "pi*z+E",
    "exp(exp(z))", "(1-eta)**(-7)",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("point", [{"z": "7/3", "eta": "2/7"}, {"z": "1/1000", "eta": "999/1000"}])
def test_the_value_is_sympys(text: str, point: dict[str, str]) -> None:
    expression = sympy.sympify(text, locals={"z": z, "eta": eta}, rational=True)
    values = {z: sympy.Rational(point["z"]), eta: sympy.Rational(point["eta"])}
    found = quick_value(expression, values)
    real, imaginary = sympy.N(expression.subs(values), 50).as_real_imag()
    exact = NUMBERS.mpc(str(real), str(imaginary))
    assert found is not None
    assert abs(found - exact) <= NUMBERS.mpf(10) ** -44 * abs(exact)


def test_values_may_hold_other_symbols() -> None:
    link = sympy.log(eta / (1 - eta))
    found = quick_value(sympy.exp(z), {z: link, eta: sympy.Rational(9, 10)})
    assert abs(found - 9) <= NUMBERS.mpf(10) ** -44


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exp(z)-exp(z+1)/E", "0"),
        ("sqrt(10**180+z)-10**90", "cancels"),
        ("5+exp(1000*z)*(log(exp(1000*z)+1)-1000*z)", "6, though both precisions say 5"),
        ("5+exp(1000*z)*log(1+exp(-1000*z))", "6 likewise"),
        ("erf(z)", "no such function here"),
        ("log(z-1)", "infinite"),
        ("exp(10**9*z)", "beyond reach"),
        ("eta", "no value"),
    ],
)
def test_what_is_not_settled_is_left(text: str, why: str) -> None:
    expression = sympy.sympify(text, locals={"z": z, "eta": eta}, rational=True)
    assert quick_value(expression, {z: sympy.Integer(1)}) is None, why


@pytest.mark.parametrize("text", ["z", "z*exp(z)", "sign(z)", "Abs(z)", "sinh(z)", "tan(z)**2", "atan(z)/3"])
def test_a_value_of_0_is_left(text: str) -> None:
    """Nothing tells an exact 0 from what rounding leaves."""
    assert quick_value(sympy.sympify(text, locals={"z": z}), {z: sympy.Integer(0)}) is None


def test_where_two_precisions_disagree_the_value_is_left() -> None:
    """Beside its branch point −1/e LambertW loses half of the digits."""
    near = -sympy.exp(-1) + z
    for size, settled in ((20, True), (60, False), (100, False)):
        found = quick_value(sympy.LambertW(near), {z: sympy.Rational(1, 10**size)})
        assert (found is not None) == settled
    wanted = sympy.N(sympy.LambertW(-sympy.exp(-1) + sympy.Rational(1, 10**20)), 50)
    found = quick_value(sympy.LambertW(near), {z: sympy.Rational(1, 10**20)})
    assert abs(found - NUMBERS.mpf(str(wanted))) < NUMBERS.mpf(10) ** -44


@pytest.mark.parametrize(
    "text", ["z**(1/3)", "z**pi", "(z-3)**(2/3)", "(I*z)**pi", "z**eta", "exp(z)**(1/7)", "sqrt(-z)"]
)
def test_powers_that_are_no_whole_numbers(text: str) -> None:
    expression = sympy.sympify(text, locals={"z": z, "eta": eta}, rational=True)
    values = {z: sympy.Rational(7, 5), eta: sympy.Rational(2, 7)}
    real, imaginary = sympy.N(expression.subs(values), 50).as_real_imag()
    found = quick_value(expression, values)
    if "I" in text:
        assert found is None  # i itself is no number here
        return
    assert abs(found - NUMBERS.mpc(str(real), str(imaginary))) <= NUMBERS.mpf(10) ** -44


def test_exponentials_within_reach() -> None:
    for exponent, settled in ((999_999, True), (10**6, False), (-999_999, True), (-(10**6), False)):
        assert (quick_value(sympy.exp(z), {z: sympy.Integer(exponent)}) is not None) == settled
