"""What sequences tend to, limits by parts and beside a point; and that nothing is said where nothing is known."""

from __future__ import annotations

import itertools
import math

import pytest
import sympy

from gpo_analysis.calculus import limits
from gpo_analysis.calculus.arithmetic import NUMBERS
from gpo_analysis.calculus.budget import digits, fraction_size, is_small, nodes, simplified
from gpo_analysis.calculus.exponentials import (
    constants_named,
    exact_numbers,
    exponential_base,
    exponential_form,
    is_unwieldy,
    with_exponential,
)
from gpo_analysis.calculus.limits import FAR, FURTHER, by_parts, limit_at_infinity, value_at

Z = sympy.Symbol("z", real=True)
T = sympy.Symbol("t", positive=True)
exp, log, oo, Q, nan = sympy.exp, sympy.log, sympy.oo, sympy.Rational, sympy.nan
M = NUMBERS.mpf


def sequence(f: object, points: tuple[int, ...] = FAR) -> list[object]:
    return [f(M(x)) for x in points]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("f", "limit"),
    [
        (lambda x: 3 + 1 / x, 3),
        (lambda x: -2 + 0 * x, -2),
        (lambda x: 1 / x, 0),
        (lambda x: 1 / NUMBERS.sqrt(x), 0),
        (lambda x: 5 - x ** M("-0.1"), 5),
        (lambda x: 7 + 2 * x ** M("-0.2"), 7),
        (lambda x: NUMBERS.log(x), math.inf),
        (lambda x: -NUMBERS.log(x), -math.inf),
        (lambda x: x**2, math.inf),
        (lambda x: -NUMBERS.sqrt(x), -math.inf),
        (lambda x: NUMBERS.inf, math.inf),
        (lambda x: NUMBERS.ninf, -math.inf),
        (lambda x: (-1) ** int(NUMBERS.log(x, 10)), None),
        (lambda x: NUMBERS.nan, None),
        (lambda x: NUMBERS.exp(-x), 0),
    ],
)
def test_what_a_sequence_tends_to(f: object, limit: float | None) -> None:
    found = limits._trend(sequence(f))
    if limit is None:
        assert found is None
    elif math.isinf(limit):
        assert found == limit
    else:
        assert abs(found - limit) <= 1e-8 * (1 + abs(limit))


def test_the_last_value_may_be_rounding_alone() -> None:
    values = [M(2) + M(10) ** -k for k in (1, 3, 6, 9, 12, 15)]
    assert abs(limits._trend([*values, M(40)]) - 2) < 1e-9
    assert limits._tendency([M(2)] * 3) is None  # too few
    assert limits._tendency([M(2)] * 4) == 2
    assert limits._tendency([NUMBERS.nan, *[M(2)] * 4]) == 2


def test_the_points_of_a_sequence_grow() -> None:
    for points in (FAR, FURTHER):
        assert all(b >= 100 * a for a, b in itertools.pairwise(points))
    assert FAR[0] == 10
    assert (FAR[-1], FURTHER[-1]) == (10**18, 10**310)
    assert limits._askew((10, 1000)) == (73, 7003)


@pytest.mark.parametrize(
    ("expression", "left", "right"),
    [
        (exp(Z), 0, oo), (sympy.sinh(Z), -oo, oo), (sympy.asinh(Z), -oo, oo), (sympy.cosh(Z), oo, oo),
        (sympy.tanh(Z), -1, 1), (sympy.erf(Z), -1, 1), (sympy.erfc(Z), 2, 0),
        (sympy.atan(Z), -sympy.pi / 2, sympy.pi / 2),
        (log(exp(Z)), None, oo), (3 * exp(-Z) - 1, oo, -1), (Z * exp(Z), None, oo), (Z + exp(-Z), None, oo),
        (sympy.atan(exp(Z)), 0, sympy.pi / 2), (log(2 + exp(Z)), log(2), oo), (sympy.sin(Z), None, None),
        (log(-exp(Z) - 1), None, None), (sympy.Integer(5), 5, 5), (sympy.exp(sympy.tanh(Z)), exp(-1), exp(1)),
        (Z**Z, None, None),
    ],
)  # fmt: skip
def test_limits_by_parts(expression: sympy.Expr, left: sympy.Expr, right: sympy.Expr) -> None:
    for side, wanted in ((-1, left), (1, right)):
        found = by_parts(expression, Z, side)
        if expression == log(exp(Z)) and side < 0:
            assert found in (-oo, None)
        else:
            assert found == wanted, side


@pytest.mark.parametrize(
    ("expression", "limit"),
    [
        (sympy.sinh(Z) / Z * 0 + Z / 10**60 + 1, oo), (1 + exp(-Z / 500), 1), ((2 * Z + 1) / (3 * Z - 5), Q(2, 3)),
        (log(1 + exp(Z)) - Z, 0), (sympy.sqrt(1 + Z**2) - Z, 0), (sympy.sin(Z), nan), (sympy.besselj(0, Z) + 2, None),
        (Z * (sympy.pi / 2 - sympy.atan(Z)), 1), (sympy.erfc(Z) * exp(Z**2) * Z, None), (sympy.S.Pi, sympy.pi),
    ],
)  # fmt: skip
def test_limits(expression: sympy.Expr, limit: sympy.Expr | None) -> None:
    found = limit_at_infinity(expression, Z, 1)
    if limit is not None:
        assert found is limit or found == limit


@pytest.mark.parametrize(
    ("expression", "point", "side", "value"),
    [
        (sympy.sinh(Z) / Z, 0, 1, 1), (1 / Z, 0, 1, oo), (1 / Z, 0, -1, -oo), (Z**2, 3, 1, 9), (log(Z), 0, 1, -oo),
        (Z * log(Z), 0, 1, 0), ((exp(Z) - 1) / Z, 0, -1, 1), ((Z**2 - 1) / (Z - 1), 1, 1, 2), (exp(1 / Z), 0, -1, 0),
    ],
)  # fmt: skip
def test_values_at_a_point_from_one_side(expression: sympy.Expr, point: int, side: int, value: sympy.Expr) -> None:
    found = value_at(expression, Z, sympy.Integer(point), side)
    assert (
        found == value or (found.is_Float and abs(found - value) < 1e-9) or (found is nan and expression == Z * log(Z))
    )


def test_numbers_as_expressions() -> None:
    as_float = limits._as_float
    assert [as_float(M(x)) for x in ("inf", "-inf", 0, 3)] == [oo, -oo, 0, 3]
    assert as_float(M(3) + M(10) ** -16) == 3
    assert as_float(M("2.5")).is_Float
    assert abs(as_float(M("2.5")) - 2.5) < 1e-14
    for exact, numeric, same in ((oo, NUMBERS.inf, True), (oo, M(5), False), (Q(5), NUMBERS.inf, False),
                                 (Q(5), M("5.005"), True), (Q(5), M("5.007"), False), (-oo, NUMBERS.inf, False),
                                 (sympy.S.Zero, M("0.0009"), True), (sympy.S.Zero, M("0.0011"), False)):  # fmt: skip
        assert limits._agree(exact, numeric) == same, (exact, numeric)


# ---- rewriting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [sympy.sinh, sympy.cosh, sympy.tanh], ids=str)
def test_hyperbolic_functions_in_exponentials(head: object) -> None:
    for u in (Z, 1 - 2 * Z, Z / 3):
        expression = head(u) ** 2 + log(3 + head(u))  # type: ignore[operator]
        found = exponential_form(expression)
        assert not found.has(sympy.sinh, sympy.cosh, sympy.tanh)
        for x in (Q(-3, 2), Q(1, 7), 2):
            assert abs(sympy.N((found - expression).subs(Z, x), 30)) < 1e-25


def test_constants_have_names() -> None:
    """e^c, and whole powers of it up to the eighth."""
    e1, e2 = exp(sympy.Integer(2)), exp(sympy.Integer(6))
    names = constants_named(e1 * Z + e2 + exp(-4) * Z**2)
    assert set(names) == {e1, e2, exp(-4)}
    (name,) = [one for one in names.values() if one.is_Symbol]
    assert name.is_positive
    assert names == {e1: name, e2: name**3, exp(-4): name**-2}
    apart = constants_named(exp(sympy.sqrt(2)) + e1 + exp(sympy.Integer(18)))
    assert sum(one.is_Symbol for one in apart.values()) == 3  # √2 and 9 times are none
    assert constants_named(exp(sympy.Integer(16)) + e1)[exp(sympy.Integer(16))].is_Pow
    assert constants_named(exp(Z)) == {}


@pytest.mark.parametrize(
    ("expression", "base"),
    [
        (exp(Z), 1), (exp(-Z), 1), (exp(2 * Z) + exp(3 * Z), 1), (exp(Z / 2) + exp(-Z / 3), Q(1, 6)),
        (exp(4 * Z) + exp(-6 * Z), 2), (exp(200 * Z) + exp(Z), 1), (exp(201 * Z) + exp(Z), None),
        (exp(sympy.pi * Z) + exp(2 * sympy.pi * Z), sympy.pi), (exp(Z) + exp(sympy.pi * Z), None), (exp(Z**2), None),
        (exp(Z**2) + exp(3 * Z), 3), (Z, None), (exp(0.5 * Z) + exp(Z), Q(1, 2)), (exp(2), None),
    ],
)  # fmt: skip
def test_the_exponential_of_which_all_are_powers(expression: sympy.Expr, base: sympy.Expr | None) -> None:
    assert exponential_base(expression, Z) == base
    if base is not None and not expression.has(Z**2) and not expression.atoms(sympy.Float):
        changed = with_exponential(expression, Z, base, T)
        assert not changed.has(Z)
        assert sympy.simplify(changed.subs(T, exp(base * Z)) - expression) == 0


def test_numbers_that_are_large_or_floats() -> None:
    assert not is_unwieldy(Z + 10**4)
    assert is_unwieldy(Z + 10**4 + 1)
    assert is_unwieldy(Z / 10001)
    assert not is_unwieldy(Z / 9999 - 9999)
    assert is_unwieldy(Z - 10001)
    assert exact_numbers(0.05 * Z + sympy.Float("1e-30")) == Z / 20 + Q(1, 10**30)


def test_counts() -> None:
    assert nodes(log(1 + exp(-Z))) == 7
    assert [digits(Z + 10**k) for k in (0, 10, 20)] == [0, 10, 20]
    assert is_small(Z + 1, 3)
    assert not is_small(Z + 1, 2)
    assert is_small(Z * 10**20, 9, 20)
    assert not is_small(Z * 10**21, 9, 20)
    for expression, size in (
        (Z, (1, 1, 1)), (Z + exp(Z), (2, 1, 2)), ((1 + Z) ** 3, (4, 3, 1)), (Z / (1 + Z), (2, 1, 1)),
        (1 / (1 + Z) + 1 / (2 + Z), (4, 2, 1)), (sympy.Integer(7), (1, 0, 0)), (Z * exp(Z) * log(2 + Z), (1, 3, 3)),
    ):  # fmt: skip
        found = fraction_size(expression)
        assert found.terms >= size[0], expression
        assert found.degree >= size[1], expression
        assert found.generators == size[2], expression


def test_constants_are_shortened_where_that_is_quick() -> None:
    e = exp(1)
    assert simplified(e / (1 + e) + 1 / (1 + e)) == 1
    assert simplified(sympy.sqrt(3 + 2 * sympy.sqrt(2)) + 0) in (1 + sympy.sqrt(2), sympy.sqrt(3 + 2 * sympy.sqrt(2)))
    assert simplified((1 + sympy.sqrt(2)) ** 2 - 3 - 2 * sympy.sqrt(2)) == 0
    assert simplified(log(2) * (1 + log(3)) - log(2) * log(3)) == log(2)
    assert simplified(10**5 * log(2)) == 10**5 * log(2)
    assert simplified(nan) is nan
    assert simplified(Q(2, 4)) == Q(1, 2)
