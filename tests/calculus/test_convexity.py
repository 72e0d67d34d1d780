"""Convexity: every verdict tested against chords and second differences in many digits."""

from __future__ import annotations

import random

import mpmath
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.calculus.convexity import convexity_of, curvature_by_rules
from gpo_analysis.calculus.limits import value_at
from gpo_analysis.losses.shape import convexity
from tests.cases import cases

Z = sympy.Symbol("z", real=True)
Max, Min, Abs, exp, log, oo = sympy.Max, sympy.Min, sympy.Abs, sympy.exp, sympy.log, sympy.oo
Interval = sympy.Interval

CONVEX = [
    log(sympy.cosh(1 - Z)),
    sympy.sqrt(1 + (1 - Z) ** 2),
    Max(0, 1 - Z) ** 3,
    Max(0, 1 - Z) ** sympy.Rational(3, 2),
    Abs(1 - Z),
    Abs(Z) ** 3,
    log(1 + exp(-Z)) + Max(0, -Z) / 2,
    exp(-Z) + Z,
    Z**4 / 4 - Z,
    -log(sympy.erfc(-Z / sympy.sqrt(2)) / 2),
    -log(1 - sympy.erf(Z - 1)),
    -log(2 * sympy.erfc(Z)),
    sympy.Integer(1),
    -Z,
    Z,
    exp(exp(-Z)),
    sympy.sqrt(1 + exp(-Z)),
    exp(Z**2),
    sympy.cosh(2 * Z - 1),
    log(1 + exp(-Z)) ** 2,
    log(exp(Z) + exp(-Z) + exp(3 - Z / 2)),
    -log(1 + sympy.tanh(Z)),
    log(1 + exp(-Z)) + Z**2 / 100 + sympy.atan(Z) / 10000,
    Max(1 - Z, 0, (1 - Z) ** 3),
    -Min(Z, 2 * Z),
    1 / (1 + log(1 + exp(-Z))) * 0 + (1 + Z**2),
]
NOT_CONVEX = [
    (1 - sympy.tanh(Z), Interval.open(-oo, 0)),
    (sympy.atan(-Z), Interval.open(-oo, 0)),
    (sympy.erfc(Z), Interval.open(-oo, 0)),
    (1 / (1 + exp(Z - 1)) ** 2, Interval.open(-oo, 1 - log(2))),
    (exp(-(Z**2)), Interval.open(-sympy.sqrt(2) / 2, sympy.sqrt(2) / 2)),
    (log(1 + Abs(Z)), sympy.Union(Interval.open(-oo, 0), Interval.open(0, oo))),
    (Min(1, Max(0, 1 - Z)), sympy.FiniteSet(0)),
    (Min(Abs(Z - 1), 3), sympy.FiniteSet(-2, 4)),
    (sympy.Heaviside(-Z), sympy.FiniteSet(0)),
    (Z**4 - Z**2, Interval.open(-sympy.sqrt(6) / 6, sympy.sqrt(6) / 6)),
    (log(1 + exp(1 - Z**2)), Interval.open(-1, 1)),
]


def values(expression: sympy.Expr, points: list[mpmath.mpf]) -> list[mpmath.mpf]:
    function = sympy.lambdify(Z, expression, "mpmath")
    return [mpmath.mpf(function(x)) for x in points]


def chord_gap(expression: sympy.Expr, low: float, high: float, share: float) -> mpmath.mpf:
    """(1−t) f(a) + t f(b) − f((1−t) a + t b), at least 0 for convex f."""
    a, b, t = mpmath.mpf(low), mpmath.mpf(high), mpmath.mpf(share)
    first, last, middle = values(expression, [a, b, (1 - t) * a + t * b])
    return (1 - t) * first + t * last - middle


@pytest.mark.parametrize("expression", CONVEX, ids=str)
def test_convex_ones_have_no_chord_below(expression: sympy.Expr) -> None:
    verdict = convexity_of(expression, Z)
    assert verdict.is_convex is True
    assert verdict.region is None
    assert verdict.proof
    generator = random.Random(7)
    with mpmath.workdps(400):
        for _ in range(150):
            low, high = sorted(generator.uniform(-6, 6) for _ in range(2))
            gap = chord_gap(expression, low, high, generator.random())
            assert gap >= -(mpmath.mpf(10) ** -60)


@pytest.mark.parametrize(("expression", "region"), NOT_CONVEX, ids=str)
def test_regions(expression: sympy.Expr, region: sympy.Set) -> None:
    verdict = convexity_of(expression, Z)
    assert verdict.is_convex is False
    assert verdict.region == region
    assert verdict.exact


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("savage", Interval.open(-oo, -log(2))),
        ("sba", Interval.open(log(3) / 2, oo)),
        ("lsif", Interval.open(log(2) / 3, oo)),
    ],
)
def test_catalogue_regions(name: str, region: sympy.Set) -> None:
    assert convexity(gpo.get_loss(name)).region == region


@pytest.mark.parametrize("name", gpo.list_losses())
def test_the_catalogue_claims_the_truth(name: str) -> None:
    loss = gpo.get_loss(name)
    assert loss.claims is not None
    assert convexity(loss).is_convex is loss.claims.convex


def test_lrml_by_enclosures() -> None:
    loss = gpo.get_loss("lrml")
    verdict = convexity(loss)
    assert verdict.is_convex is False
    assert not verdict.exact
    assert isinstance(verdict.region, Interval)
    with mpmath.workdps(2000):
        second = sympy.lambdify(Z, loss.expression.diff(Z, 2), "mpmath")
        low, high = (mpmath.mpf(str(end)) for end in (verdict.region.start, verdict.region.end))
        for end in (low, high):
            assert abs(second(end)) < mpmath.mpf(10) ** -36
        for k in range(1, 100):
            assert second(low + (high - low) * k / 100) < 0
            assert second(low - mpmath.mpf(k) ** 3 / 1000) > 0
            assert second(high + mpmath.mpf(k) ** 3 / 1000) > 0


@pytest.mark.parametrize(("expression", "region"), NOT_CONVEX[:6], ids=str)
def test_regions_against_second_derivatives(expression: sympy.Expr, region: sympy.Set) -> None:
    with mpmath.workdps(50):
        for k in range(-40, 41):
            x = mpmath.mpf(k) / 10 + mpmath.mpf("0.0371")
            step = mpmath.mpf(10) ** -12
            left, here, right = values(expression, [x - step, x, x + step])
            assert ((left - 2 * here + right) < 0) == bool(region.contains(sympy.Float(str(x), 30)))


@given(
    weights=st.lists(st.fractions(-2, 2, max_denominator=6), min_size=4, max_size=4),
    place=st.fractions(-2, 2, max_denominator=6),
)
@cases(40)
def test_random_mixtures_against_chords(weights: list, place) -> None:
    a, b, c, d = (sympy.Rational(w.numerator, w.denominator) for w in weights)
    x = sympy.Rational(place.numerator, place.denominator)
    expression = a * log(1 + exp(-Z)) + b * exp(-Z) + c * (Z - x) ** 2 + d * Max(0, x - Z)
    verdict = convexity_of(expression, Z)
    assert verdict.is_convex is not None
    generator = random.Random(3)
    with mpmath.workdps(80):
        if verdict.is_convex:
            for _ in range(40):
                low, high = sorted(generator.uniform(-30, 30) for _ in range(2))
                assert chord_gap(expression, low, high, generator.random()) >= -(mpmath.mpf(10) ** -50)
            return
        # a chord across a place of the region lies below f
        region = verdict.region
        assert region is not None
        first = region.args[0] if isinstance(region, sympy.Union) else region
        if isinstance(first, sympy.FiniteSet):
            middle, width = float(first.args[0]), 1e-9
        else:
            ends = [max(float(first.start), -50.0), min(float(first.end), 50.0)]
            middle, width = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 20
        assert chord_gap(expression, middle - width, middle + width, 0.5) < 0


def test_undecided_is_none() -> None:
    verdict = convexity_of(sympy.sqrt(sympy.cosh(Z) - 1) * 1, Z)
    assert verdict.is_convex in (None, True)
    assert convexity_of(sympy.loggamma(Z**2 + 2), Z).is_convex is None


def test_a_certified_point_is_enough() -> None:
    verdict = convexity_of(log(1 + exp(-Z)) + sympy.sin(Z) / 20, Z)
    assert verdict.is_convex is False
    assert verdict.region is None
    assert "enclosed" in verdict.proof
    half_known = convexity_of(sympy.Piecewise((-(Z**2), Z < 0), (sympy.sin(Z), True)), Z)
    assert half_known.is_convex is False
    assert half_known.region is None


def test_rules_of_composition() -> None:
    rules = curvature_by_rules
    assert rules(sympy.Integer(2), Z) == "constant"
    assert rules(3 - Z, Z) == "affine"
    assert rules(-Max(0, Z), Z) == "concave"
    assert rules(Min(0, Z), Z) == "concave"
    assert rules(log(2 - exp(-Z) * 0 + Z * 0 + 1), Z) == "constant"
    assert rules(log(1 + Z), Z) == "concave"
    assert rules(log(sympy.erfc(Z)), Z) == "concave"
    assert rules(log(1 + sympy.erf(Z)), Z) == "concave"
    assert rules(log(2 + sympy.erf(Z)), Z) is None
    assert rules(log(1 + exp(Z) - exp(-Z)), Z) is None
    assert rules(log(1 + Z * exp(Z)), Z) is None
    assert rules(Z * exp(Z), Z) is None
    assert rules(exp(-Z) - Z**2, Z) is None
    assert rules(exp(-exp(Z)), Z) is None
    assert rules(sympy.cosh(Z**2), Z) is None
    assert rules(sympy.tanh(Z), Z) is None
    assert rules(Abs(Z**2 + 1), Z) == "convex"
    assert rules(Abs(Z**3), Z) is None
    assert rules(sympy.sqrt(Max(0, 1 - Z)), Z) is None
    assert rules(sympy.sqrt(1 + Z), Z) == "concave"
    assert rules(sympy.sqrt(Z**2 - 2 * Z), Z) is None
    assert rules(1 / log(Z + 1), Z) is None
    assert rules(sympy.Pow(2, Z, evaluate=False), Z) is None
    assert rules(Max(0, sympy.tanh(Z)), Z) is None


@pytest.mark.parametrize(
    "rest", [Z**2, Z**2 + exp(Z), exp(-(Z**2)), sympy.tanh(Z), Abs(Z), exp(Z) - exp(2 * Z)], ids=str
)
def test_logarithms_of_what_is_no_sum_of_exponentials_are_not_called_convex(rest: sympy.Expr) -> None:
    """Each has second differences below 0 somewhere, so that no rule may call it convex."""
    expression = log(3 + rest) if rest != exp(Z) - exp(2 * Z) else log(3 + exp(2 * Z) - exp(Z))
    f = sympy.lambdify(Z, expression, "mpmath")
    with mpmath.workdps(30):
        second = [f(x - 0.1) + f(x + 0.1) - 2 * f(x) for x in map(mpmath.mpf, range(-6, 7))]
    assert min(second) < 0
    assert curvature_by_rules(expression, Z) is None


def test_a_proof_names_the_piece_only_where_there_are_several() -> None:
    whole = convexity_of(1 / (1 + exp(Z)) ** 2, Z)
    assert " on (" not in whole.proof
    cut = convexity_of(Max(0, 1 - Z) ** 3 - Abs(Z) ** 3, Z)
    assert " on (" in cut.proof


def test_one_sided_limits() -> None:
    assert value_at(Z**2, Z, sympy.Integer(3), 1) == 9
    assert value_at(sympy.sinh(Z) / Z, Z, sympy.S.Zero, 1) == 1
    root = sympy.sqrt(sympy.cosh(Z) - 1).diff(Z)
    slope = value_at(root, Z, sympy.S.Zero, 1)
    assert slope is sympy.nan or abs(sympy.N(slope - 1 / sympy.sqrt(2))) < 1e-12


def test_jumps_of_the_value_are_not_convex() -> None:
    verdict = convexity_of(sympy.Piecewise((Z**2 + 1, Z < 0), (Z**2, True)), Z)
    assert verdict.is_convex is False
    assert verdict.region == sympy.FiniteSet(0)
    assert "jumps" in verdict.proof


@pytest.mark.parametrize("text", ["tanh(abs(z))", "sqrt(abs(z))+sqrt(abs(z-1))", "log(1+abs(z))-log(1+abs(z+2))/3"])
def test_regions_of_several_pieces_are_those_of_second_differences(text: str) -> None:
    loss = gpo.parse_loss(text)
    found = convexity(loss)
    kinks = [float(point) for point in gpo.analyze(loss).kinks]
    assert found.is_convex is False
    assert found.region is not None
    for place in [x / 16 + 0.01 for x in range(-48, 48)]:
        step = min([0.01, *(abs(place - kink) / 2 for kink in kinks)])  # all three points in one piece
        below, here, above = (loss(place + k * step) for k in (-1, 0, 1))
        assert (place in found.region) == (below - 2 * here + above < 0), place


@pytest.mark.parametrize("text", ["1+exp(-z**2)", "2+exp(-z)+exp(-z**2)", "exp(z)+exp(sin(z))", "1+exp(tanh(z))"])
def test_the_logarithm_of_exponentials_of_what_is_not_convex_follows_no_rule(text: str) -> None:
    z = sympy.Symbol("z", real=True)
    expression = sympy.log(sympy.sympify(text, {"z": z}))
    second = sympy.lambdify(z, expression.diff(z, 2), "mpmath")
    assert min(second(mpmath.mpf(k) / 8) for k in range(-40, 41)) < -1e-3  # so that no rule may call it convex
    assert curvature_by_rules(expression, z) != "convex"
