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
