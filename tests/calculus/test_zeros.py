"""Identities and near-identities: what vanishes, and what only nearly does, to any number of digits."""

from __future__ import annotations

import mpmath
import pytest
import sympy

from gpo_analysis.calculus.budget import Size, fraction_size, is_small, simplified
from gpo_analysis.calculus.zeros import vanishes

Z = sympy.Symbol("z", real=True)
exp, log = sympy.exp, sympy.log
ZERO = [
    log(1 + exp(Z)) - Z - log(1 + exp(-Z)),
    sympy.tanh(Z) - 1 + 2 / (1 + exp(2 * Z)),
    sympy.cosh(Z) ** 2 - sympy.sinh(Z) ** 2 - 1,
    (Z - 1) ** 2 - Z**2 + 2 * Z - 1,
    sympy.erf(Z) + sympy.erfc(Z) - 1,
    sympy.sqrt(3 + 2 * sympy.sqrt(2)) - 1 - sympy.sqrt(2) + 0 * Z,
    exp(500 * Z) * exp(-500 * Z + sympy.log(2)) - 2,
]
TINY = [Z / 10**60, Z / 10**200, exp(-300 + Z), sympy.Rational(1, 10**90) + 0 * Z]


@pytest.mark.parametrize("zero", ZERO, ids=str)
def test_identities(zero: sympy.Expr) -> None:
    assert vanishes(zero, Z)


@pytest.mark.parametrize("tiny", TINY, ids=str)
@pytest.mark.parametrize("zero", ZERO[:3], ids=str)
def test_a_tiny_term_is_no_rounding(zero: sympy.Expr, tiny: sympy.Expr) -> None:
    assert not vanishes(zero + tiny, Z)
    with mpmath.workdps(400):  # it is really there
        assert mpmath.mpf(sympy.lambdify(Z, zero + tiny, "mpmath")(mpmath.mpf("0.71"))) != 0


def test_on_a_piece() -> None:
    assert vanishes(sympy.sqrt(Z) ** 2 - Z, Z, sympy.S.Zero, sympy.oo)
    assert vanishes(log(Z**2) - 2 * log(Z), Z, sympy.S.One, sympy.Integer(2))
    assert not vanishes(log(Z**2) - 2 * log(Z) + Z / 10**50, Z, sympy.S.One, sympy.Integer(2))
    assert vanishes(sympy.sqrt(-Z) ** 2 + Z, Z, -sympy.oo, sympy.S.Zero)
    assert not vanishes(sympy.loggamma(Z) - sympy.loggamma(Z + 1), Z)


@pytest.mark.parametrize(
    "expression",
    [
        (1 + Z) ** 3 + 1 / (1 + Z**2) ** 2,
        1 / (1 + exp(Z)) + exp(Z) / (1 + exp(Z)) ** 3 + Z,
        (1 + Z + Z**2) ** 4 / (2 + Z) - 1 / (3 - Z),
        (log(1 + exp(Z)) + exp(Z)) ** 2 / (1 + exp(Z)),
    ],
    ids=str,
)
def test_sizes_are_upper_bounds(expression: sympy.Expr) -> None:
    size = fraction_size(expression)
    generators = {Z: sympy.Dummy(), exp(Z): sympy.Dummy(), log(1 + exp(Z)): sympy.Dummy()}
    names = list(generators.values())
    parts = sympy.fraction(sympy.together(expression))
    for part in parts:
        polynomial = sympy.Poly(sympy.expand(part).subs(list(generators.items())[::-1]), *names)
        assert size.terms >= len(polynomial.terms())
        assert size.degree >= polynomial.total_degree()
    assert size.generators == sum(expression.has(g) for g in (exp(Z), log)) + expression.subs(exp(Z), 1).has(Z)


def test_towers_are_counted_without_being_built() -> None:
    assert fraction_size((1 + Z + exp(Z)) ** 5000).terms == 10**6
    assert fraction_size(sympy.Pow(Z, 10**30)) == Size(1, 10**6, 1)
    assert not is_small(Z + sympy.Integer(10) ** 1000, 10)


def test_what_is_large_stays_as_it_is() -> None:
    long = sum((sympy.sqrt(p) for p in sympy.primerange(200)), sympy.S.Zero) ** 3
    assert simplified(long) is long
    assert simplified(sympy.sqrt(8) / sympy.sqrt(2)) == 2


def test_one_count_too_many_is_too_many() -> None:
    for terms in (4, 5, 6):
        for degree in (2, 3, 4):
            for generators in (1, 2, 3, 4):
                size = Size(terms, degree, generators)
                assert size.within(5, 3, 2) == (max(terms - 5, degree - 3, generators - 2) <= 0)
                assert size.within(5, 3) == (max(terms - 5, degree - 3, generators - 3) <= 0)
