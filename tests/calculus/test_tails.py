"""Tails against values far out, and against what is known of every loss."""

from __future__ import annotations

import mpmath
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.calculus.limits import by_parts, limit_at_infinity
from gpo_analysis.calculus.tails import KINDS, tails_of
from gpo_analysis.losses.shape import tails

Z = sympy.Symbol("z", real=True)
exp, log, oo = sympy.exp, sympy.log, sympy.oo
Q = sympy.Rational

# left: kind, limit, slope; right: kind, limit, slope, attained
CATALOGUE = {
    "logistic": (("linear", oo, -1), ("vanishing", 0, 0, False)),
    "hinge": (("linear", oo, -1), ("flat", 0, 0, True)),
    "squared": (("polynomial", oo, -oo), ("polynomial", oo, oo, True)),
    "exponential": (("exponential", oo, -oo), ("vanishing", 0, 0, False)),
    "truncated_quadratic": (("polynomial", oo, -oo), ("flat", 0, 0, True)),
    "savage": (("vanishing", 1, 0), ("vanishing", 0, 0, False)),
    "cell": (("exponential", oo, -oo), ("vanishing", 0, 0, False)),
    "lrml": (("linear", oo, -1), ("vanishing", 0, 0, False)),
    "smoothed_logistic": (("linear", oo, -Q(9, 10)), ("linear", oo, Q(1, 10), True)),
    "robust_logistic": (("linear", oo, -Q(9, 8)), ("unbounded_below", -oo, -Q(1, 8), False)),
    "sba": (("exponential", oo, -oo), ("unbounded_below", -oo, -oo, False)),
    "lsif": (("exponential", oo, -oo), ("unbounded_below", -oo, -oo, False)),
    "kliep": (("exponential", oo, -oo), ("unbounded_below", -oo, -1, False)),
}


def test_every_loss_is_here() -> None:
    assert set(CATALOGUE) == set(gpo.list_losses())


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue(name: str) -> None:
    both = tails(gpo.get_loss(name))
    left, right = CATALOGUE[name]
    assert (both.left.kind, both.left.limit, both.left.slope) == left
    assert (both.right.kind, both.right.limit, both.right.slope, both.right.attained) == right
    assert both.left.attained


@pytest.mark.parametrize(
    ("expression", "left", "right", "growth"),
    [
        (log(sympy.cosh(1 - Z)), ("linear", oo, -1), ("linear", oo, 1), (1, 1)),
        (sympy.sqrt(1 + (1 - Z) ** 2), ("linear", oo, -1), ("linear", oo, 1), (1, 1)),
        (1 - sympy.tanh(Z), ("vanishing", 2, 0), ("vanishing", 0, 0), (2, 2)),
        (sympy.atan(-Z), ("vanishing", sympy.pi / 2, 0), ("vanishing", -sympy.pi / 2, 0), (0, 0)),
        (Z**4 / 4 - Z, ("polynomial", oo, -oo), ("polynomial", oo, oo), (4, 4)),
        (-log(sympy.erfc(-Z / sympy.sqrt(2)) / 2), ("polynomial", oo, -oo), ("vanishing", 0, 0), (2, oo)),
        (sympy.erfc(Z), ("vanishing", 2, 0), ("vanishing", 0, 0), (oo, oo)),
        (exp(exp(-Z)), ("exponential", oo, -oo), ("vanishing", 1, 0), (oo, 1)),
        (sympy.sqrt(1 + exp(-Z)), ("exponential", oo, -oo), ("vanishing", 1, 0), (Q(1, 2), 1)),
        (log(1 + sympy.Abs(Z)), ("sublinear", oo, 0), ("sublinear", oo, 0), (0, 0)),
        (sympy.sqrt(sympy.Abs(Z)), ("sublinear", oo, 0), ("sublinear", oo, 0), (Q(1, 2), Q(1, 2))),
        (-log(1 + sympy.tanh(Z)), ("linear", oo, -2), ("vanishing", -log(2), 0), (1, 2)),
        (2 ** (-Z), ("exponential", oo, -oo), ("vanishing", 0, 0), (log(2), log(2))),
        (-Z, ("linear", oo, -1), ("unbounded_below", -oo, -1), (1, None)),
        (Z, ("unbounded_below", -oo, 1), ("linear", oo, 1), (None, 1)),
        (sympy.Abs(1 - Z), ("linear", oo, -1), ("linear", oo, 1), (1, 1)),
        (sympy.sqrt(log(1 + exp(-2 * Z))), ("sublinear", oo, 0), ("vanishing", 0, 0), (Q(1, 2), 1)),
    ],
    ids=str,
)
def test_typed(expression: sympy.Expr, left: tuple, right: tuple, growth: tuple) -> None:
    both = tails_of(expression, Z)
    for tail, (kind, limit, slope), rate in ((both.left, left, growth[0]), (both.right, right, growth[1])):
        assert tail.kind == kind
        assert tail.limit == limit
        assert tail.slope == slope
        if rate is None or rate == oo:
            assert tail.growth == rate
        else:
            assert abs(sympy.N(tail.growth - rate, 20)) < 1e-9
        assert tail.kind in KINDS


@pytest.mark.parametrize("name", sorted(CATALOGUE))
@pytest.mark.parametrize("side", [-1, 1])
def test_limits_against_values_far_out(name: str, side: int) -> None:
    loss = gpo.get_loss(name)
    tail = tails(loss).left if side < 0 else tails(loss).right
    with mpmath.workdps(2200):
        function = sympy.lambdify(loss.symbol, loss.expression, "mpmath")
        value = function(mpmath.mpf(side * 2000))
        slope = (function(side * mpmath.mpf(2000.5)) - value) * 2 * side
    for claimed, found in ((tail.limit, value), (tail.slope, slope)):
        if claimed.is_infinite:
            assert mpmath.sign(found) == sympy.sign(claimed)
            assert abs(found) > 1e2
        else:
            assert abs(found - mpmath.mpf(sympy.N(claimed, 30))) < 1e-2


def test_flat_and_attained() -> None:
    hinge = tails(gpo.get_loss("hinge"))
    assert hinge.right.flat_from == 1
    assert hinge.right.attained
    constant = tails_of(sympy.Integer(1), Z)
    assert (constant.left.kind, constant.left.limit, constant.right.attained) == ("flat", 1, True)
    ramp = tails_of(sympy.Min(1, sympy.Max(0, 1 - Z)), Z)
    assert (ramp.left.flat_from, ramp.left.limit, ramp.right.flat_from) == (0, 1, 1)
    hidden = tails_of(sympy.sin(Z) ** 2 + sympy.cos(Z) ** 2, Z)
    assert (hidden.left.kind, hidden.left.limit) == ("flat", 1)
    dip = tails_of(-Z * exp(-(Z**2)), Z)
    assert dip.right.attained  # negative at first, rising to 0
    assert not tails_of(sympy.erfc(Z), Z).right.attained


def test_no_limit() -> None:
    wave = tails_of(sympy.sin(Z), Z)
    assert wave.left.kind == wave.right.kind == "oscillating"
    assert wave.right.limit is sympy.nan
    unknown = tails_of(sympy.besselj(0, Z), Z)
    assert unknown.right.kind in KINDS


def test_limits() -> None:
    assert limit_at_infinity(log(1 + exp(Z)) - Z, Z, 1) == 0
    assert limit_at_infinity(sympy.Integer(3), Z, 1) == 3
    assert limit_at_infinity(log(1 + Z**2), Z, -1) == oo
    assert limit_at_infinity(-log(1 + Z**2), Z, 1) == -oo
    assert limit_at_infinity(sympy.sin(Z), Z, 1) is sympy.nan
    # sympy alone leaves this limit undone; the numbers give it
    probit_slope = (-log(sympy.erfc(-Z) / 2)).diff(Z) / Z
    assert limit_at_infinity(probit_slope, Z, -1) == 2


INNER = (Z, exp(Z), sympy.erfc(Z), sympy.tanh(Z), sympy.atan(Z), sympy.erf(Z), sympy.sinh(Z), sympy.cosh(Z))
POWERS = (2, 3, -1, -2, -3, Q(1, 2), -Q(1, 2))


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("inner", INNER, ids=str)
def test_limits_of_powers_by_parts_against_values_far_out(inner: sympy.Expr, side: int) -> None:
    """What 50 digits say at |z| = 200; nothing is said of 0^{-1}, whose sign is open, and of roots of what is < 0."""
    end = by_parts(inner, Z, side)
    assert end is not None
    with mpmath.workdps(50):
        base = sympy.lambdify(Z, inner, "mpmath")(mpmath.mpf(200 * side))
        for power in POWERS:
            found = by_parts(sympy.Pow(inner, power, evaluate=False), Z, side)
            open_sign = end == 0 and power < 0 and power != -2
            if open_sign or (end < 0 and not sympy.sympify(power).is_Integer):
                assert found is None, power
                continue
            assert found is not None, power
            value = base ** mpmath.mpf(sympy.N(power, 50))
            if found.is_infinite:
                assert mpmath.sign(value) == sympy.sign(found), power
                assert abs(value) > 10, power
            else:
                assert abs(value - mpmath.mpf(sympy.N(found, 50))) < 0.08, power
