"""The table of words is whole: every function, module and constant, each with its meaning; at a few points."""

from __future__ import annotations

import mpmath
import pytest
import sympy

from gpo_analysis.formula_words import FUNCTION_NAMES, SPECIAL
from gpo_analysis.losses.words import (
    ABS,
    CONSTANTS,
    FUNCTIONS,
    LOWER,
    MARGINS,
    MAX,
    MAX_ALTERNATIVES,
    MIN,
    MODULES,
    REASONS,
    RELU,
    Refused,
)
from tests.losses.test_words import MODULES as KNOWN_MODULES
from tests.losses.test_words import ONE, TWO

U, V = sympy.symbols("u v", real=True)
EXPONENTIAL = {
    "exp", "expm1", "sinh", "cosh", "tanh", "erf", "erfc", "sigmoid", "sigma", "expit", "softplus", "logsigmoid",
    "log_sigmoid", "log_expit", "Phi", "ndtr", "logcosh", "logaddexp",
}  # fmt: skip
MANY = {"max", "Max", "maximum", "min", "Min", "minimum"}


def test_the_words_are_these() -> None:
    assert list(FUNCTIONS) == list(FUNCTION_NAMES)
    assert set(FUNCTIONS) == {*ONE, *TWO} - {*SPECIAL}
    assert set(KNOWN_MODULES) == MODULES
    assert {"pi": sympy.pi, "e": sympy.E, "E": sympy.E} == CONSTANTS
    assert {name for name, function in FUNCTIONS.items() if function.exponentiates} == EXPONENTIAL
    arguments = {name: 0 if name in MANY else 2 if name == "logaddexp" else 1 for name in FUNCTIONS}
    assert {name: function.arguments for name, function in FUNCTIONS.items()} == arguments
    assert FUNCTIONS["expm1"].build(U) == sympy.exp(U) - 1
    assert FUNCTIONS["relu"].build(U) == sympy.Max(0, U)


def test_every_function_at_points() -> None:
    for name, function in FUNCTIONS.items():
        for x, y in ((0.4, 0.7), (1.5, -2.0), (2.25, 2.25)):
            if name in ONE:
                found, meant = function.build(U), ONE[name](mpmath.mpf(x))
            else:
                found, meant = function.build(U, V), TWO[name](mpmath.mpf(x), mpmath.mpf(y))
            assert float(found.subs({U: x, V: y})) == pytest.approx(float(meant), rel=1e-13), name
    assert float(FUNCTIONS["abs"].build(U).subs(U, -2)) == 2
    assert float(FUNCTIONS["relu"].build(U).subs(U, -2)) == 0


def test_names_in_any_case() -> None:
    assert {name.lower() for name in FUNCTIONS} == set(LOWER)
    assert all(FUNCTIONS[LOWER[name.lower()]] is function for name, function in FUNCTIONS.items() if name != "Abs")
    for name, kind in (("max", MAX), ("Max", MAX), ("maximum", MAX), ("min", MIN), ("Min", MIN), ("minimum", MIN),
                       ("relu", RELU), ("abs", ABS), ("Abs", ABS), ("fabs", ABS)):  # fmt: skip
        assert FUNCTIONS[name] is kind


def test_absolute_values_of_products_are_not_doubled() -> None:
    for product in (U * sympy.Abs(V), sympy.Abs(sympy.Abs(U) * V)):
        found = FUNCTIONS["abs"].build(product)
        assert "Abs(Abs" not in str(found)
        assert found.subs({U: -3, V: -2}) == 6


def test_alternatives_are_joined_and_counted() -> None:
    build = MAX.build
    assert build(U, U) == U
    assert build(build(U, V), V, 1) == sympy.Max(U, V, 1)
    several = [U + k for k in range(MAX_ALTERNATIVES)]
    assert len(build(*several).args) == MAX_ALTERNATIVES
    assert set(build(build(*several[:4]), MIN.build(U, V)).args) == {*several[:4], MIN.build(U, V)}
    with pytest.raises(Refused, match="max and min of more than 8 alternatives are not taken"):
        build(*several, V)


def test_words_with_another_place() -> None:
    beta = "β is no part of f: it stands in z = βρ and is given beside the loss (beta=, --beta)"
    assert REASONS["beta"].startswith(beta)
    assert {name for name, said in REASONS.items() if said.startswith("ρ is the margin without β")} == {
        "rho", "logits", "rho_theta",
    }  # fmt: skip
    assert REASONS["margin"] == "the margin is written z"
    assert not set(REASONS) & set(FUNCTIONS)
    assert FUNCTIONS["relu"].build(U) == MAX.build(0, U)  # whatever is no name of a function's
    assert {name for name, said in REASONS.items() if "policies do not stand in it" in said} == {
        "theta", "pi_theta", "pi_ref", "pi", "y_w", "y_l",
    }  # fmt: skip
    assert MARGINS == (
        "x", "t", "u", "v", "y", "m", "r", "s", "rho", "rho_theta", "margin", "logits", "delta", "diff", "Delta",
    )  # fmt: skip
