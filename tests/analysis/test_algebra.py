"""Candidates for the solutions of an equation, held against it in many digits; forms that are the same function."""

from __future__ import annotations

import pytest
import sympy

from gpo_analysis.analysis import algebra
from gpo_analysis.analysis.algebra import agree, as_fraction, is_tractable, length, short_forms, solutions, value_of
from gpo_analysis.calculus.arithmetic import NUMBERS, number

Z, S, T = sympy.Symbol("z", real=True), sympy.Symbol("s", real=True), sympy.Symbol("t", positive=True)
X, ETA = sympy.Symbol("x", real=True), sympy.Symbol("eta", real=True)
exp, log, sqrt, Q = sympy.exp, sympy.log, sympy.sqrt, sympy.Rational

# an equation in z and s, a value of s, all of its real solutions there
EQUATIONS = [
    (2 * (Z - 1) - S, 3, ["2.5"]),
    (-exp(-Z) - S, -2, ["-log(2)"]),
    (Z**2 - S, 4, ["2", "-2"]),
    (Z**2 + Z - S, 6, ["2", "-3"]),
    (Z**3 - S, -8, ["-2"]),
    (Z**3 - S, 27, ["3"]),
    (Z**4 - S, 16, ["2", "-2"]),
    (1 / Z - S, 4, ["0.25"]),
    (exp(Z) / (1 + exp(Z)) - S, Q(3, 4), ["log(3)"]),
    (exp(2 * Z) - exp(Z) - S, 6, ["log(3)"]),
    (exp(3 * Z) - S, 5, ["log(5)/3"]),
    (sympy.tanh(Z) - S, Q(1, 3), ["log(2)/2"]),
    (sympy.sinh(Z) - S, Q(3, 4), ["log(2)"]),
    (sympy.cosh(Z) - S, Q(5, 4), ["log(2)", "-log(2)"]),
    (Z / sqrt(1 + Z**2) - S, Q(3, 5), ["0.75"]),
    (sqrt(1 + Z**2) + Z - S, 2, ["0.75"]),
    (log(1 + exp(Z)) - S, 2, ["log(e**2-1)"]),
    (3 * log(2 + Z) - S, 3, ["e-2"]),
    (exp(exp(Z)) - S, 7, ["log(log(7))"]),
    (sympy.atan(2 * Z) - S, 1, ["tan(1)/2"]),
    (sympy.cbrt(1 + Z) - S, 2, ["7"]),
    ((log(1 + exp(Z))) ** 3 - S, 8, ["log(e**2-1)"]),
    (exp(Z) + Z - S, 1, ["0"]),
    (exp(-Z) - 2 * Z - S, 1, ["0"]),
    (Z * exp(-Z) - S, Q(1, 10), ["-LambertW(-1/10)", "-LambertW(-1/10, -1)"]),
    (exp(2 * Z) + 3 * Z - 1 - S, 0, ["0"]),
]


@pytest.mark.parametrize(("equation", "at", "known"), EQUATIONS, ids=lambda case: str(case)[:30])
def test_all_real_solutions_are_among_the_candidates(equation: sympy.Expr, at: sympy.Expr, known: list[str]) -> None:
    found = [value_of(one, {S: sympy.sympify(at)}) for one in solutions(equation, Z)]
    for one in known:
        wanted = number(sympy.sympify(one, rational=True, locals={"e": sympy.E}), 50)
        assert any(abs(x - wanted) < 1e-40 for x in found if not NUMBERS.isnan(x)), (one, found)
    assert len(found) <= 4


def test_what_is_not_solved_has_no_candidates() -> None:
    for equation in (
        sympy.erf(Z) - S,
        Z + log(1 + exp(Z)) ** 2 - S,
        sympy.sin(Z) - S,
        S - 1,
        sqrt(Z) + sqrt(1 + Z) + exp(Z),
    ):
        assert solutions(equation, Z) == [], equation


def test_real_powers() -> None:
    """x^power = value: of even powers both roots, of odd ones the one of the sign, of e^{cz} the positive one."""
    root = algebra._extracted
    assert root(S, 1, X) == [S]
    assert root(sympy.Integer(-8), 3, X) == [-2]
    assert root(sympy.Integer(16), 4, X) == [2, -2]
    assert root(sympy.Integer(16), 4, T) == [2]


def test_square_roots_take_squares_out() -> None:
    for expression in (S**2 * (1 + S), 4 * S**3, -9 * (S - 1) ** 4 * S, sympy.Integer(12), (1 - S) ** 5 / 7):
        found = algebra._square_root(sympy.expand(expression))
        assert sympy.simplify(found**2 - expression) == 0
    assert algebra._square_root(S**2 * (1 + S)) == S * sqrt(1 + S)


def test_fractions_as_people_write_them() -> None:
    assert str(as_fraction(-ETA / (ETA - 1))) == "eta/(1 - eta)"
    assert str(as_fraction(1 / (1 / ETA - 1))) == "eta/(1 - eta)"
    assert str(as_fraction((ETA**2 - ETA) / ETA)) == "eta - 1"
    assert as_fraction(sympy.Integer(3) / 4) == Q(3, 4)


def test_values_are_real_and_finite_or_nan() -> None:
    assert value_of(S + T, {S: T, T: sympy.Integer(2)}) == 4
    assert abs(value_of(sympy.erf(S), {S: sympy.Integer(1)}) - NUMBERS.erf(1)) < NUMBERS.mpf(10) ** -44
    for expression in (log(S), sqrt(S), S**0.5):
        assert NUMBERS.isnan(value_of(expression, {S: sympy.Integer(-1)}))
    assert NUMBERS.isnan(value_of(1 / S, {S: sympy.Integer(0)}))
    assert NUMBERS.isnan(value_of(S + X, {S: sympy.Integer(1)}))
    tiny = value_of(S + sympy.I / 10**35, {S: sympy.Integer(1)})
    assert tiny == 1


def test_agreement_is_to_25_digits_at_every_point() -> None:
    points = [Q(1, 4), Q(5, 8)]
    assert agree(log(S**2), 2 * log(S), S, points)
    assert agree(S, S + Q(1, 10**30), S, points)
    assert not agree(S, S + Q(1, 10**20), S, points)
    assert not agree(S, S + (S - Q(1, 4)), S, points)  # the same at the first
    assert not agree(S, S + (S - Q(5, 8)), S, points)  # the same at the last
    assert not agree(S, log(-S), S, points)
    assert agree(S / 10**10, S / 10**10 + Q(1, 10**29), S, points)
    assert not agree(0 * S, 0 * S + Q(1, 10**27), S, points)


def test_shorter_forms_are_the_same_function() -> None:
    sample = {S: 0.4}
    for expression in (
        log(S**2 * (1 + S) / (1 - S)), log(S / (1 - S)) + log(1 - S), (S**2 - 1) / (S - 1) + S, sqrt(S**2 / (1 - S)),
        log(sqrt(S) * (2 - S)), log(3 * S), sqrt((1 - S) ** 2 * (2 + S)), exp(S) * (1 + S) - exp(S),
        log((1 - S) ** 3 * (2 + S) ** -2),
    ):  # fmt: skip
        forms = short_forms(expression, sample, {})
        assert forms
        for form in forms:
            for value in (Q(2, 5), Q(3, 7)):
                assert abs(sympy.N((form - expression).subs(S, value), 30)) < 1e-25, (expression, form)
    apart = short_forms(log(S / (1 - S)), sample, {})
    assert any(form in (log(S) - log(1 - S), log(S / (1 - S))) for form in apart)


def test_logarithms_taken_apart() -> None:
    apart = algebra._log_apart
    assert apart(S**2 * (1 - S), {S: 0.4}) == 2 * log(S) + log(1 - S)
    assert apart(3 * S * (2 + S), {S: 0.4}) == log(3) + log(S) + log(2 + S)
    assert apart((S - 1) * (S - 2), {S: 0.4}) == log(1 - S) + log(2 - S)
    assert apart(S / (S + 2) ** 3, {S: 0.4}) == log(S) - 3 * log(S + 2)
    value = apart(sqrt(S) * sqrt(1 + S) * (2 + S), {S: 0.4})
    assert abs(sympy.N(value.subs(S, 3) - log(10 * sqrt(3)), 30)) < 1e-25


def test_what_is_tractable() -> None:
    assert is_tractable((1 + Z) ** 3 / (2 + exp(Z)))
    assert is_tractable((1 + Z) ** 24)
    assert not is_tractable((1 + Z) ** 25)
    assert not is_tractable(Z + sympy.Integer(10) ** 1000)
    assert not is_tractable(sum(exp(Z * sqrt(p)) for p in sympy.primerange(20)))
    assert length(Z + 1) < length(Z + S + 1)
    assert length(Z) < length(exp(Z))
