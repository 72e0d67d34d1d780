"""What bounds a typed formula, at the bound and beyond it; constants chosen by values; statements taken apart."""

from __future__ import annotations

import pytest
import sympy

from gpo_analysis.losses import build
from gpo_analysis.losses.build import Part, constant, formula, read_number
from gpo_analysis.losses.margin_loss import MARGIN as Z
from gpo_analysis.losses.statement import Statement, read_statement, split_parameters, written
from gpo_analysis.losses.words import Refused

WORDS = {"z": Part(Z, 1)}


def read(text: str) -> sympy.Expr:
    return formula(text, WORDS)[0].expression


def refusal(text: str) -> str:
    with pytest.raises(Refused) as refused:
        formula(text, WORDS)
    return str(refused.value)


CHOSEN = {
    "abs(1/2)": "1/2", "abs(-1/2)": "1/2", "abs(0)": "0", "abs(3)": "3", "abs(1)": "1", "relu(1/2)": "1/2",
    "relu(-1/2)": "0", "relu(0)": "0", "relu(1)": "1", "max(1/2, 1/3)": "1/2", "min(1/2, 1/3)": "1/3",
    "max(-1, pi, 3)": "pi", "min(-1, pi, 3)": "-1", "max(z, 1, 2, -3)": "Max(2, z)", "min(1, z, 2)": "Min(1, z)",
    "max(z, 2*z)": "Max(z, 2*z)", "-(1/2)": "-1/2", "+z": "z", "0.1": "1/10", "1e-3": "1/1000", "2**-2": "1/4",
    "pow(z, 2)": "z**2", "power(z, exponent=3)": "z**3", "clamp(z, 0)": "Max(0, z)", "clamp(z, None, 1)": "Min(1, z)",
    "clamp(z, max=1)": "Min(1, z)", "clamp(z, min=0, max=None)": "Max(0, z)", "clip(z, a_max=2)": "Min(2, z)",
    "clamp_min(z, 1)": "Max(1, z)", "np.exp(z)": "exp(z)", "torch.nn.functional.relu(z)": "Max(0, z)",
    "z.exp()": "exp(z)", "EXP(z)": "exp(z)", "e**z": "exp(z)", "z-z": "0", "(1-z).pow(2)": "(1 - z)**2",
}  # fmt: skip


def test_what_is_read() -> None:
    for text, meant in CHOSEN.items():
        wanted = sympy.sympify(meant, locals={"z": Z})
        assert read(text) == wanted, text


#: At a bound, and beyond it with what is said.
BOUNDS = {
    "z**64": ("z**65", "powers above 64 in all are not taken"),
    "z**32*z**32": ("z**32*z**33", "powers above 64 in all are not taken"),
    "(z**2)**32": ("(z**2)**33", "powers above 64 in all are not taken"),
    "z**64+z**64": ("z**64*z", "powers above 64 in all are not taken"),
    "abs(z)**(1/1000)": ("abs(z)**(1/1001)", "the exponent 1/1001 has a denominator above 1000"),
    "exp(230)": ("exp(232)", "the constant exp(232) has an exponent above 231"),
    "exp(-230)+z": ("exp(-232)+z", "the constant exp(-232) has an exponent above 231"),
    "1e100*z": ("1e101*z", "the number typed is beyond ±1e+100"),
    "1e-99*z": ("1e-101*z", "the constant 1/1000000000000000000000000000 is closer to 0 than 1e-100"),
    "exp(exp(z))": ("exp(exp(exp(z)))", "exponentials nested more than 2 deep are not taken"),
    "log(exp(exp(exp(z)*0+z)))": ("exp(exp(exp(z)))", "exponentials nested more than 2 deep are not taken"),
    "exp(exp(tanh(exp(z))))": ("exp(sinh(cosh(z)))", "exponentials nested more than 2 deep are not taken"),
    "exp(exp(1/(1+exp(z))))": ("exp(exp(1/(1-exp(z))))", "exponentials nested more than 2 deep are not taken"),
    "exp(1e6+z)": ("exp(1000001+z)", "an exponent beyond ±1e+06 at z = 0 is not taken"),
    "exp(z+64*log(2))": ("exp(z+65*log(2))", "the factor exp(65*log(2)) is not taken"),
    "exp(z+log(2)/1000)": ("exp(z+log(2)/1001)", "the factor exp(log(2)/1001) is not taken"),
    "10**(100+z)": ("10**(101+z)", "the constant factor of 10**(…) is beyond ±1e+100"),
    "2**z": ("0**z", "an exponent with z in it needs a positive number as its base"),
    "3**(z-1)": ("(-3)**(z-1)", "an exponent with z in it needs a positive number as its base"),
    "(1+z*z)**(1/2)": ("(1+z*z)**z", "an exponent with z in it needs a positive number as its base"),
    "0**2+z": ("0**0+z", "zero to a power that is not positive"),
    "0**(1/2)+z": ("0**(-1)+z", "zero to a power that is not positive"),
    "1/2": ("1/0", "division by zero"),
    "10**60": ("10**65", "powers above 64 in all are not taken"),
    "30**64": ("40**64", "the constant 40**64 is beyond ±1e+100"),
    "max(z,1)": ("max(z)", "max takes two arguments or more, got 1"),
    "logaddexp(z,1)": ("logaddexp(z)", "logaddexp takes two arguments, got 1"),
    "exp(z) ": ("exp(z,1)", "exp takes 1 argument, got 2"),
    "pow(z,2)": ("pow(z)", "pow takes u, exponent"),
    "clamp(z,0,1)": ("clamp(z,0,1,2)", "clamp takes u, min, max"),
    "clamp(z,0)": ("clamp(z,0,min=1)", "clamp takes u, min, max"),
    "clip(z,0)": ("clip(z,None,None)", "clip takes u, a_min, a_max"),
    "max(0,z)": ("(1-z).max(0)", ".max(…) of an array is another thing in numpy and torch: write max(u, v)"),
    "z+1": ("z+True", "'True' is not allowed"),
    "exp(z)": ("exp", "exp is a function: write exp(…)"),
    "z": ("k", "unknown name 'k', the margin is written z, the two log-ratios a and b; any other letter needs a value"),
    "z*1": ("tau*z", "unknown name 'tau', the margin is written z, the two log-ratios a and b; any other letter needs "
            "a value (IPO's (ρ - 1/(2τ))^2 is (1 - z)^2 at β = 2τ, up to a factor)"),
    "relu(z)": ("relu(z, inplace=1)", "relu(inplace=…) is not allowed"),
    "tanh(tanh(tanh(1)))": ("tanh(tanh(tanh(tanh(1))))", "the constant tanh(tanh(tanh(tanh(1)))) nests more than 3 "
                            "functions: write its value"),
    "z-1": ("z=1", "an equation is no loss: write the formula alone, or f(z) = formula"),
}  # fmt: skip


@pytest.mark.parametrize("inside", BOUNDS)
def test_at_a_bound_and_beyond_it(inside: str) -> None:
    beyond, said = BOUNDS[inside]
    assert read(inside) is not None
    found = refusal(beyond)
    assert found == said


def test_numbers_and_constants() -> None:
    assert read_number("1/3") == sympy.Rational(1, 3)
    assert read_number("sqrt(2)") == sympy.sqrt(2)
    assert constant(sympy.log(2)).value == pytest.approx(0.6931471805599453)
    assert constant(sympy.log(2)).is_constant
    assert not WORDS["z"].is_constant
    nothing = constant(sympy.sqrt(8) - 2 * sympy.sqrt(2))
    assert (nothing.expression, nothing.degree, nothing.value) == (0, 0, 0)


def test_how_deep_exponentials_stand() -> None:
    exp, log = sympy.exp, sympy.log
    for expression, growth in (
        (Z, 0), (exp(Z), 1), (sympy.sinh(exp(Z)), 2), (log(exp(Z) + 1), 0), (log(Z), 0), (sympy.tanh(exp(exp(Z))), 0),
        (sympy.erf(exp(Z)), 0), (sympy.atan(exp(Z)), 0), (1 / (1 + exp(Z)), 0), (1 / (exp(Z) - 1), 1), (exp(Z) ** 2, 1),
        (exp(sympy.Integer(3)), 0), (1 / (2 + Z**2 + exp(Z)), 1), (sympy.cosh(Z) + Z, 1), (1 / exp(exp(Z)), 2),
    ):  # fmt: skip
        assert build._growth(expression) == growth, expression


STATEMENTS = {
    "exp(-z)": Statement("", "exp(-z)", (), {}),
    "f(x) = c*exp(-x) with c=2": Statement("", "c*exp(-x)", ("x",), {"c": "2"}),
    "f(x) := exp(-x), c=2, k=1/3": Statement("", "exp(-x)", ("x",), {"c": "2", "k": "1/3"}),
    "lambda a, b: a-b": Statement("", "a-b", ("a", "b"), {}),
    "λ x : x": Statement("", "x", ("x",), {}),
    "def f(u): return exp(u)": Statement("", "exp(u)", ("u",), {}),
    "x ↦ x": Statement("", "x", ("x",), {}),
    "x -> x": Statement("", "x", ("x",), {}),
    "x => x": Statement("", "x", ("x",), {}),
    r"x \mapsto x": Statement("", "x", ("x",), {}),
    "loss = exp(-z)": Statement("", "exp(-z)", (), {}),
    "g := exp(-z) where c = 2 and k = 3": Statement("", "exp(-z)", (), {"c": "2", "k": "3"}),
    "exp(-z) for c=2; k=3": Statement("", "exp(-z)", (), {"c": "2", "k": "3"}),
    "exp(-z) given τ = 1": Statement("", "exp(-z)", (), {"tau": "1"}),
    "squared: f(z) = (z - 1)**2": Statement("squared", "(z - 1)**2", ("z",), {}),
    "mine: F(a, b) = a - b": Statement("mine", "a - b", ("a", "b"), {}),
    "z == 1": Statement("", "z == 1", (), {}),
    "z = 1": Statement("", "z = 1", (), {}),
}


def test_statements_are_taken_apart() -> None:
    for text, statement in STATEMENTS.items():
        assert read_statement(text, {}) == statement, text
    assert read_statement("c*z", {"c": 0.5, "λ": "2"}).given == {"c": "0.5", "lambda_": "2"}
    for text, said in (("c*z with c=1", "the parameter c has two values, one in the text and 2 beside it"),
                       ("c*z with c=1, c=3", "the parameter c has two values")):  # fmt: skip
        with pytest.raises(Refused) as refused:
            read_statement(text, {"c": 2})
        assert str(refused.value) == said


def test_parameters_after_a_formula() -> None:
    assert split_parameters("max(0, 1-z)") == ("max(0, 1-z)", {})
    assert split_parameters("max(0, c=2)") == ("max(0, c=2)", {})
    assert split_parameters("[0, 1-z], c=2") == ("[0, 1-z]", {"c": "2"})
    assert split_parameters("{0, z} with c=2") == ("{0, z}", {"c": "2"})
    assert split_parameters("c*z, c==2") == ("c*z, c==2", {})


def test_values_of_parameters_as_texts() -> None:
    for value, text in ((0.1, "0.1"), (2, "2"), (" 1/3 ", "1/3"), (sympy.Rational(1, 3), "1/3"), (-1e-7, "-1e-07")):
        assert written("c", value) == text
    for bad in (True, float("nan"), float("inf"), -float("inf"), None, 1j):
        with pytest.raises(Refused) as refused:
            written("c", bad)
        assert str(refused.value) == f"the parameter c is {bad!r}; accepted is a finite number, or a text such as '1/3'"


def test_typed_numbers_are_shown_short() -> None:
    for number, shown in ((10**101, "typed"), (1e101, "typed"), (2 * 10**100, "typed")):
        with pytest.raises(Refused) as refused:
            build._number(number)
        assert str(refused.value) == f"the number {shown} is beyond ±1e+100"
    assert build._number(10**100) == 10**100
    assert build._number(0.1) == sympy.Rational(1, 10)
