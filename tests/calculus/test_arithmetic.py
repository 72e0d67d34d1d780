"""Enclosures and numbers at the places where another form of them is taken; against mpmath in more digits."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import sympy

from gpo_analysis.calculus.arithmetic import (
    EXACT,
    INTERVALS,
    NUMBERS,
    bounds,
    constant,
    encloses,
    exponential,
    monotone,
    number,
    numbers,
    polynomial,
    sign_of,
)
from gpo_analysis.calculus.float_intervals import FLOATS, FloatInterval, enclosed
from gpo_analysis.calculus.recurrences import power

HUGE = 2.0**1000
X = sympy.Symbol("x")


def interval(low: object, high: object) -> object:
    return INTERVALS.mpf([low, high])


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (-3, 2), ("-1e400", 0), (0, "1e400"), ("-1e400", "1e400"), ("1e350", "1e400"), ("-1e400", "-1e350"),
     ("-inf", "inf"), ("-inf", 0), (0, "inf"), (-700, 700)],
)  # fmt: skip
def test_exponentials_of_intervals(low: object, high: object) -> None:
    """Exact up to 2¹⁰⁰⁰ on either side; beyond it an end is 0 or ∞, never on the wrong side of the truth."""
    found = bounds(exponential(interval(low, high), INTERVALS))
    a, b = NUMBERS.mpf(low), NUMBERS.mpf(high)
    for end, is_right, value in ((a, found[0], "low"), (b, found[1], "high")):
        if abs(end) <= HUGE:
            assert abs(is_right - NUMBERS.exp(end)) <= NUMBERS.exp(end) * NUMBERS.mpf(10) ** -42, value
    assert found[0] >= 0
    if a < -HUGE:
        assert found[0] == 0
    if b > HUGE:
        assert found[1] == NUMBERS.inf
    if a > HUGE:
        assert NUMBERS.log(found[0]) >= HUGE * (1 - 1e-40)
    if b < -HUGE:
        assert 0 < found[1] <= NUMBERS.exp(-NUMBERS.mpf(HUGE)) * (1 + 1e-40)
    assert NUMBERS.exp(1 if a <= 1 <= b else max(a, -10)) <= found[1] or b < -HUGE


def test_exponentials_of_numbers_and_floats() -> None:
    assert exponential(NUMBERS.mpf("1e400"), NUMBERS) == NUMBERS.inf
    assert exponential(NUMBERS.mpf("-1e400"), NUMBERS) == 0
    assert exponential(NUMBERS.mpf(2), NUMBERS) == NUMBERS.exp(2)
    assert exponential(NUMBERS.mpc(2, 3), NUMBERS) == NUMBERS.exp(NUMBERS.mpc(2, 3))
    assert exponential(NUMBERS.mpc("1e400", 3), NUMBERS) == NUMBERS.inf
    low, high = bounds(exponential(enclosed(1.0), FLOATS))
    assert low < math.e < high < low + 1e-11


@pytest.mark.parametrize("name", ["tanh", "atan", "erf", "erfc", "log1p"])
@pytest.mark.parametrize(("low", "high"), [("-0.75", "0.5"), (0, 3), ("1e-30", "1e-29"), ("1e99", "1e101"), (5, 5)])
def test_monotone_functions_of_intervals(name: str, low: object, high: object) -> None:
    found = bounds(monotone(name, interval(low, high), INTERVALS, rising=name != "erfc"))
    with mpmath.workdps(80):
        ends = sorted(getattr(mpmath, name)(mpmath.mpf(x)) for x in (low, high))
    for value, end, outward in zip(found, ends, (-1, 1), strict=True):
        assert outward * (value - end) >= 0
        if name != "erfc" or high != "1e101":  # which is no float of so many bits
            assert abs(value - end) <= abs(end) * mpmath.mpf(10) ** -43


@pytest.mark.parametrize(("name", "left", "right"), [("tanh", -1, 1), ("erf", -1, 1), ("erfc", 2, 0)])
def test_functions_at_their_ends(name: str, left: int, right: int) -> None:
    assert monotone(name, NUMBERS.mpf("-1e101"), NUMBERS) == left
    assert monotone(name, NUMBERS.mpf("1e101"), NUMBERS) == right
    assert monotone(name, NUMBERS.mpf(1), NUMBERS) == getattr(NUMBERS, name)(1)
    assert monotone(name, NUMBERS.mpf(-1), NUMBERS) == getattr(NUMBERS, name)(-1)
    assert monotone("atan", NUMBERS.mpf("1e101"), NUMBERS) == NUMBERS.atan(NUMBERS.mpf("1e101"))


def test_signs_and_bounds() -> None:
    for low, high, sign in ((1, 2, 1), (-2, -1, -1), (0, 0, 0), (0, 1, None), (-1, 0, None), (-1, 1, None)):
        assert sign_of(interval(low, high)) == sign_of(FloatInterval(float(low), float(high))) == sign
    assert bounds(interval(-1, 2)) == (-1, 2)
    assert bounds(FloatInterval(-1.0, 2.0)) == (-1.0, 2.0)
    assert bounds(INTERVALS.mpf(["nan", "nan"])) == (NUMBERS.ninf, NUMBERS.inf)
    assert [encloses(one) for one in (INTERVALS, FLOATS, NUMBERS, EXACT)] == [True, True, False, False]


@pytest.mark.parametrize(
    "expression",
    [
        sympy.Rational(1, 3),
        sympy.Float("0.1"),
        sympy.pi,
        sympy.E,
        sympy.GoldenRatio,
        sympy.EulerGamma,
        sympy.Integer(7),
    ],
    ids=str,
)
def test_constants_in_every_arithmetic(expression: sympy.Expr) -> None:
    exact = sympy.Rational(1, 10) if expression.is_Float else expression  # decimals are what they are written as
    with mpmath.workdps(80):
        truth = mpmath.mpf(str(sympy.N(exact, 75)))
        for context, width in ((INTERVALS, 1e-43), (FLOATS, 1e-12)):
            low, high = bounds(constant(expression, context))
            assert low <= truth <= high
            assert high - low <= width * truth
        assert abs(constant(expression, NUMBERS) - truth) <= 1e-43 * truth
        assert abs(constant(expression, numbers(200)) - truth) <= mpmath.mpf(10) ** -58 * truth
    assert constant(expression, EXACT) is expression


def test_values_of_constant_expressions() -> None:
    assert number(sympy.oo) == NUMBERS.inf
    assert number(-sympy.oo) == NUMBERS.ninf
    assert number(sympy.Rational(1, 4)) == 0.25
    assert NUMBERS.isnan(number(sympy.I + 1))
    assert NUMBERS.isnan(number(sympy.nan))
    for digits in (20, 50, 70):
        root = number(sympy.CRootOf(X**5 - X - 1, 0) + 1, digits) - 1
        assert abs(root**5 - root - 1) <= 1e-14 if digits == 20 else abs(root**5 - root - 1) <= 1e-42
        assert abs(number(sympy.sqrt(2), digits) ** 2 - 2) <= max(1e-43, 10.0 ** (2 - digits))


def test_polynomials_and_exact_names() -> None:
    assert polynomial([3], 5) == 3
    assert polynomial([1, -2, 3], 5) == 1 - 10 + 75
    assert (EXACT.log1p(X), EXACT.mpf(3), EXACT.re(X)) == (sympy.log(1 + X), sympy.Integer(3), X)
    assert (EXACT.zero, EXACT.inf, EXACT.pi) == (0, sympy.oo, sympy.pi)
    for name in ("exp", "log", "sqrt", "sin", "cos", "sinh", "tanh", "atan", "asinh", "erf", "erfc"):
        assert getattr(EXACT, name)(X) == getattr(sympy, name)(X)
    assert EXACT.lambertw(X) == sympy.LambertW(X)


@pytest.mark.parametrize("exponent", [sympy.Rational(1, 2), sympy.Rational(-3, 2), sympy.Integer(3), sympy.Integer(-2)])
@pytest.mark.parametrize("ends", [("0.5", "0.75"), (2, 3)])
def test_powers_of_series_are_enclosed(exponent: sympy.Expr, ends: tuple[Any, Any]) -> None:
    """(x)^p about every point of an interval has the coefficients binom(p, k) x^{p−k}; nothing is said of roots < 0."""
    one, zero = INTERVALS.mpf(1), INTERVALS.zero
    jet = power([interval(*ends), one, zero], exponent, INTERVALS.mpf(int(exponent.p)) / int(exponent.q), INTERVALS)
    p = mpmath.mpf(int(exponent.p)) / int(exponent.q)
    for k in range(3):
        low, high = bounds(jet[k])
        for x in map(mpmath.mpf, (*ends, (float(ends[0]) + float(ends[1])) / 2)):
            exact = mpmath.binomial(p, k) * x ** (p - k)
            assert low - abs(exact) * 1e-14 <= exact <= high + abs(exact) * 1e-14


def test_ends_of_functions_that_level_off_are_reached_far_out_and_not_passed() -> None:
    for name, left, right in (("tanh", -1, 1), ("erf", -1, 1), ("erfc", 2, 0)):
        for far in ("1e101", "1e1000", "inf"):
            assert monotone(name, NUMBERS.mpf(far), NUMBERS) == right
            assert monotone(name, -NUMBERS.mpf(far), NUMBERS) == left
        near = monotone(name, NUMBERS.mpf(3), NUMBERS)
        assert min(left, right) < near < max(left, right)
