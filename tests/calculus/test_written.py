"""Exact expressions as people read them: short, named, with the value that they have, and read back by the parser."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import sympy
from sympy import CRootOf, E, Eq, LambertW, Piecewise, Rational, exp, log, oo, sqrt

import gpo_analysis as gpo
from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.calculus.written import SHORT, constant, digits, formula, plain, with_value
from gpo_analysis.losses import parse_loss

ETA, S, X = sympy.Symbol("eta", real=True), sympy.Symbol("s", real=True), sympy.Symbol("x")
TYPED = [
    line.strip()
    for line in (Path(__file__).parents[2] / "fuzz" / "typed_losses.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]
ROOT = CRootOf(X**5 - X - 1, 0)
LONG = (1 + E + exp(2) + exp(3)) * (3 + 26 * E + 17 * exp(2)) / (2 * (1 + 5 * E + 3 * exp(2) + 7 * exp(3)))


def test_constants_are_short_and_have_their_value() -> None:
    assert constant(log(2) / 3) == "log(2)/3"
    assert with_value(log(2)) == "log(2) ≈ 0.693147"
    assert with_value(sympy.Integer(0)) == "0"
    assert with_value(oo) == "∞"
    assert with_value(sympy.nan) == "not defined"
    for long in (ROOT, LONG, 1 + ROOT):
        text = constant(long)
        assert len(text) <= SHORT
        assert abs(float(text) - float(number(long))) < 1e-8
        assert with_value(long) == f"≈ {digits(long, 6)} (exact form: --json)"


def test_common_factors_are_taken_out() -> None:
    once = 1 + E + exp(2) + exp(3) + exp(4) + exp(5) + exp(6) + exp(7)
    assert constant(sympy.Mul(once, 3 * E + 1, sympy.Pow(once, -1, evaluate=False), evaluate=False)) == "1 + 3*E"


def test_pieces_say_for_which_values_they_are_meant() -> None:
    steps = Piecewise((oo, Rational(1, 2) < ETA), (0, Eq(ETA, Rational(1, 2))), (-oo, True))
    assert formula(steps) == "∞ for η > 1/2; 0 for η = 1/2; -∞ else"
    turned = Piecewise((1, exp(8) / (1 + exp(8)) < ETA), (ETA, True))
    assert formula(turned) == "1 for η > c; η else where c = exp(8)/(1 + exp(8)) ≈ 0.999665"


def test_long_constants_and_repeats_are_named() -> None:
    w = LambertW(1)
    text = formula(Piecewise((w * ETA + exp(w), (1 + exp(w)) / (2 + exp(w) + exp(-w)) < ETA), (log(ETA), True)))
    assert "LambertW" in text
    assert text.count("LambertW") == 1
    assert text.endswith("c = LambertW(1) ≈ 0.567143")
    root = formula(ETA * ROOT + S)
    assert "CRootOf" not in root
    assert root == "c*η + s where c = 1.1673"
    inner = sqrt(1 + 3 * ETA**2 - 4 * ETA * exp(1) + ETA**3)
    repeated = formula(ETA * log(1 + inner) + (1 - ETA) * log(3 - inner) + inner / 2 + log(5 + 2 * inner) * ETA**2)
    assert "where u = sqrt(" in repeated
    assert repeated.count("sqrt") == 1


def test_what_stays_too_long_is_left_to_the_json() -> None:
    long = sum((k * ETA**k * log(ETA + k) for k in range(1, 40)), sympy.S.Zero)
    assert re.fullmatch(r"a formula of \d+ characters \(--json has it\)", formula(long))


def value_of(text: str, at: dict[str, float]) -> float:
    """What one line of a formula without pieces stands for, its names put in."""
    body, _, names = text.replace("\n", " ").partition(" where ")
    known = dict(at)
    for one in reversed([part for part in re.split(r",\s+(?=[cu]\d* =)", names) if part]):
        name, _, meaning = one.partition(" = ")
        exact = meaning.partition(" ≈ ")[0]
        known[name] = float(sympy.sympify(exact.replace("^", "**").replace("η", "eta"), locals=dict(known)))
    return float(sympy.sympify(body.replace("^", "**").replace("η", "eta"), locals=known))


@pytest.mark.parametrize(
    "expression",
    [
        ETA * log(1 + exp(Rational(17, 3)) * ETA) + LambertW(3) * ETA,
        log(ETA + sqrt(2 + exp(8) / (1 + exp(8)))) * exp(8) / (1 + exp(8)),
        gpo.analyze("-logsigmoid(z-0.5)").bayes_risk,
    ],
)
def test_a_named_formula_has_the_value_of_the_exact_one(expression: sympy.Expr) -> None:
    at = 0.3
    exactly = float(expression.subs(ETA, at))
    assert value_of(formula(expression), {"eta": at}) == pytest.approx(exactly, rel=1e-5)


@pytest.mark.parametrize("text", TYPED)
def test_a_loss_that_is_shown_is_read_back(text: str) -> None:
    loss = parse_loss(text)
    again, z = parse_loss(plain(loss.expression)), np.linspace(-5.0, 5.0, 11)
    assert again(z) == pytest.approx(loss(z), rel=1e-9)


@pytest.mark.parametrize(
    "text", ["max(0,exp(-z)-z)", "log(cosh(1-z))", "log(1+exp(-z))+max(0,z-8)/2", "z**4/4-z", "-z"]
)
def test_an_analysis_has_no_long_line(text: str) -> None:
    found = gpo.analyze(text)
    for line in str(found).splitlines():
        assert len(line) <= 170, line
    assert not re.search(r"CRootOf|Piecewise|\boo\b|e-1[5-9]|-0\.0*(?!\d)", str(found))


def test_pieces_that_do_not_fit_on_a_line_stand_below_one_another() -> None:
    first_form = sum((ETA + k) ** (k + 2) * log(ETA + k) for k in range(2, 7))
    second_form = sum((ETA - k) ** (k + 3) * exp(ETA + k) for k in range(2, 7))
    text = formula(Piecewise((first_form, Rational(1, 2) < ETA), (second_form, True)))
    first, second = text.split(";\n")
    assert re.sub(r"\s+", " ", first) == f"{plain(first_form)} for η > 1/2"
    assert re.sub(r"\s+", " ", second) == f"{plain(second_form)} else"
