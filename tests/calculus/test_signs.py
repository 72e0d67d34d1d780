"""Signs decided by algebra or enclosures against plain samples in many digits."""

from __future__ import annotations

import mpmath
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from gpo_analysis.calculus.exponentials import exact_numbers, exponential_base, exponential_form, with_exponential
from gpo_analysis.calculus.signs import Signs, signs_on, sort_numbers
from gpo_analysis.calculus.tail_signs import tail_sign
from tests.cases import cases

Z = sympy.Symbol("z", real=True)
exp, log = sympy.exp, sympy.log


def sampled(expression: sympy.Expr, points: list[float]) -> list[int]:
    with mpmath.workdps(60):
        function = sympy.lambdify(Z, expression, "mpmath")
        return [int(mpmath.sign(function(mpmath.mpf(x)))) for x in points]


def claimed(signs: Signs, points: list[float]) -> list[int]:
    zeros = [float(x) for x in signs.zeros]
    return [signs.signs[sum(x > zero for zero in zeros)] for x in points]


@pytest.mark.parametrize(
    ("expression", "zeros"),
    [
        (4 * exp(-2 * Z) - 2 * exp(Z), [log(2) / 3]),
        (Z**2 - 2, [-sympy.sqrt(2), sympy.sqrt(2)]),
        ((Z - 1) ** 2, [1]),
        ((Z - 1) ** 3 * exp(-Z), [1]),
        (Z**3 - Z - 1, [sympy.CRootOf(Z**3 - Z - 1, 0)]),
        (exp(Z - 1) - 3, [1 + log(3)]),
        (exp(Z / 2) - exp(-Z / 3), [0]),
        (exp(sympy.sqrt(2) * Z) - 2, [log(2) / sympy.sqrt(2)]),
        (log(1 + exp(-Z)) - 1, [-log(sympy.E - 1)]),
        (exp(exp(Z)) - 3, [log(log(3))]),
        (sympy.sqrt(1 + Z**2) - 2, [-sympy.sqrt(3), sympy.sqrt(3)]),
        (sympy.atan(Z) - 1, [sympy.tan(1)]),
        (sympy.tanh(2 * Z - 1), [sympy.Rational(1, 2)]),
        (sympy.cosh(Z) * sympy.erfc(Z), []),
        (sympy.erf(Z - 2) * exp(Z), [2]),
        (-log(Z**2 + 2), []),
        (sympy.pi - 3 + 0 * Z, []),
    ],
    ids=str,
)
def test_exact_zeros(expression: sympy.Expr, zeros: list[sympy.Expr]) -> None:
    found = signs_on(expression, Z)
    assert found is not None
    assert found.exact
    assert found.proved
    assert len(found.zeros) == len(zeros)
    for a, b in zip(found.zeros, zeros, strict=True):
        assert abs(sympy.N(a - b, 40)) < sympy.Float("1e-35")
    points = [-7.3, -3.1, -1.9, -0.83, 0.11, 0.37, 0.71, 1.23, 1.41, 1.71, 2.13, 4.7]
    assert claimed(found, points) == sampled(expression, points)


@pytest.mark.parametrize(
    "expression",
    [
        log(1 + Z**2) - exp(-Z),
        Z + exp(-Z) - 2,
        Z * exp(-Z) + exp(2 * Z) - 3,
        log(1 + exp(-Z)) * Z - sympy.Rational(1, 5),
        sympy.atan(Z) * exp(-Z) + 1 / (1 + Z**2) - sympy.Rational(1, 3),
        sympy.sqrt(1 + exp(-Z)) - sympy.sqrt(1 + exp(Z)) * 2 + Z / 7,
        sympy.erfc(Z) - 1 + Z / 3,
    ],
    ids=str,
)
def test_enclosed_zeros(expression: sympy.Expr) -> None:
    found = signs_on(expression, Z)
    assert found is not None
    points = [x / 7 + 0.013 for x in range(-60, 61)] + [-300.0, 300.0]
    assert claimed(found, points) == sampled(expression, points)
    for zero in found.zeros:
        if not zero.is_Float:
            continue
        with mpmath.workdps(60):
            assert abs(sympy.lambdify(Z, expression, "mpmath")(mpmath.mpf(str(zero)))) < mpmath.mpf(10) ** -36


@given(
    roots=st.lists(st.fractions(-4, 4, max_denominator=12), min_size=1, max_size=5, unique=True),
    powers=st.lists(st.integers(1, 3), min_size=5, max_size=5),
    rate=st.sampled_from([0, 1, -2]),
)
@cases(40)
def test_products_of_known_factors(roots: list, powers: list[int], rate: int) -> None:
    exact = [sympy.Rational(r.numerator, r.denominator) for r in sorted(roots)]
    expression = sympy.expand(sympy.prod([(Z - r) ** k for r, k in zip(exact, powers, strict=False)])) * exp(rate * Z)
    found = signs_on(expression, Z)
    assert found is not None
    assert list(found.zeros) == exact
    assert found.signs[-1] == 1


def test_ranges_are_open() -> None:
    found = signs_on(Z * (Z - 1) * (Z - 2), Z, sympy.Integer(0), sympy.Integer(2))
    assert found is not None
    assert (found.zeros, found.signs) == ((1,), (1, -1))
    on_edge = signs_on(log(1 + Z**2) - Z * log(2), Z, -sympy.oo, sympy.Integer(1))
    assert on_edge is not None
    assert on_edge.signs == (1, -1)
    assert on_edge.zeros == (0,)


def test_what_is_not_decided_is_none() -> None:
    assert signs_on(sympy.sin(Z), Z) is None
    assert signs_on(sympy.gamma(Z**2 + 1) - 2, Z) is None
    assert signs_on(sympy.nan + 0 * Z, Z) is None
    assert signs_on(sympy.sqrt(Z) * Z, Z) is None  # not real on the left
    zero = signs_on(sympy.sqrt(2) ** 2 - 2 + sympy.S.Zero, Z)
    assert zero is not None
    assert zero.signs == (0,)


def test_double_zeros_by_intervals_are_not_guessed() -> None:
    assert signs_on((Z * exp(Z) - 1) ** 2 + sympy.erf(Z) * 0 + (log(1 + Z**2) - Z) ** 2 * 0, Z) is not None
    touching = (Z * exp(Z) + log(1 + Z**2)) ** 2 * exp(-Z) + 0
    expanded = sympy.expand(touching)
    found = signs_on(expanded, Z)
    assert found is None or all(sign == 1 for sign in found.signs)


@pytest.mark.parametrize(
    ("expression", "side", "sign"),
    [
        (exp(-Z) - Z * exp(-2 * Z), 1, 1),
        (-(Z**3) * exp(-2 * Z) + exp(-Z), -1, 1),
        (log(1 + exp(-Z)), 1, 1),
        (log(1 + exp(-Z)) + Z - exp(Z), -1, -1),
        (1 / (1 + Z**2) - 1 / Z**2, 1, -1),
        (sympy.sqrt(1 + Z**2) - Z, 1, 1),
        (sympy.sqrt(1 + exp(Z)) - 3 * Z, 1, 1),
        (sympy.atan(Z) - 1, 1, 1),
        (sympy.atan(Z) + 1, -1, -1),
        (sympy.atan(exp(-Z)) - exp(-Z), 1, -1),
        (sympy.tanh(Z) - 1, 1, -1),
    ],
    ids=str,
)
def test_tail_signs(expression: sympy.Expr, side: int, sign: int) -> None:
    found = tail_sign(expression, Z, side)
    assert found is not None
    reach, claimed_sign = found
    assert claimed_sign == sign
    # many digits: the sign at the edge of the tail and beyond, where the terms nearly cancel
    with mpmath.workdps(2000):
        function = sympy.lambdify(Z, expression, "mpmath")
        for factor in (1, 1.5, 4, 11):
            assert mpmath.sign(function(side * mpmath.mpf(reach) * factor)) == sign


def test_tails_outside_the_form_are_none() -> None:
    for expression in (sympy.erfc(Z), exp(-(Z**2)), log(Z**2 + 1) + exp(-Z), sympy.sin(Z), sympy.S.Zero * Z):
        assert tail_sign(expression, Z, 1) is None


def test_rewriting() -> None:
    assert exact_numbers(0.05 * Z) == Z / 20
    assert exponential_base(exp(Z / 2) + exp(-Z / 3), Z) == sympy.Rational(1, 6)
    assert exponential_base(exp(Z) + exp(sympy.pi * Z), Z) is None
    assert exponential_base(Z**2, Z) is None
    t = sympy.Symbol("t", positive=True)
    assert with_exponential(exp(2 * Z + 1), Z, sympy.Integer(1), t) == sympy.E * t**2
    for head in (sympy.sinh, sympy.cosh, sympy.tanh):
        assert abs(sympy.N((exponential_form(head(Z)) - head(Z)).subs(Z, 0.7), 30)) < 1e-14
    assert sort_numbers([sympy.pi, sympy.Integer(1), sympy.Integer(1)]) == [1, sympy.pi]


def test_beyond_the_reach_of_algebra_intervals_prove_what_they_can() -> None:
    """A constant of 500 digits is not factored with."""
    near = 1 + sympy.Rational(1, 10**500)
    found = signs_on(Z - near, Z)
    assert found is not None
    assert (found.signs, found.proved, found.method) == ((-1, 1), True, "intervals")
    assert abs(found.zeros[0] - 1) < sympy.Rational(1, 10**35)


def test_a_product_says_by_what_each_factor_was_decided() -> None:
    omega = sympy.LambertW(1)  # the zero of e^z + z is −Ω
    for product, method, zeros, signs in (
        ((sympy.exp(Z) - 2) * (sympy.exp(Z) + Z), {"algebra", "intervals"}, (-omega, sympy.log(2)), (1, -1, 1)),
        ((Z - 1) * (Z + 2), {"algebra"}, (-2, 1), (1, -1, 1)),
        ((Z - 1) * (sympy.exp(Z) + Z) ** 3, {"algebra", "intervals"}, (-omega, 1), (1, -1, 1)),
    ):
        found = signs_on(product, Z)
        assert found is not None
        assert set(found.method.split(" and ")) == method
        assert found.signs == signs
        for zero, known in zip(found.zeros, zeros, strict=True):
            assert abs(sympy.N(zero - known, 30)) < 1e-28
