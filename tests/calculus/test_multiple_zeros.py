"""Zeros of higher order, signs far out without proof, and what stays undecided without an exception."""

from __future__ import annotations

import json

import mpmath
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.calculus.arithmetic import NUMBERS
from gpo_analysis.calculus.jets import JetFunction
from gpo_analysis.calculus.multiple_zeros import isolate_all
from gpo_analysis.calculus.pieces import kinks_of, pieces_of
from gpo_analysis.calculus.signs import signs_on

Z = sympy.Symbol("z", real=True)


@pytest.mark.parametrize(
    ("expression", "signs"),
    [
        (sympy.exp(-Z) + Z - 1, (1, 1)),  # e^{-z} > 1 - z
        (sympy.log(1 + sympy.exp(-Z)) - sympy.log(2) + Z / 2, (1, 1)),  # log cosh(z/2)
        (sympy.tanh(Z) - Z, (1, -1)),
        (sympy.log(sympy.cosh(Z)) - Z**2 / 2 + Z**4 / 12, (1, 1)),  # begins with z^6/45
    ],
)
@pytest.mark.parametrize("shift", [0, sympy.Rational(1, 3)])
def test_a_zero_of_higher_order_is_found(expression: sympy.Expr, signs: tuple[int, int], shift: sympy.Expr) -> None:
    found = signs_on(expression.subs(Z, Z - shift), Z)
    assert found is not None
    assert found.proved
    assert (found.zeros, found.signs) == ((shift,), signs)


def test_a_maximum_that_touches_is_one_piece() -> None:
    (piece,) = pieces_of(sympy.Max(sympy.exp(-Z), 1 - Z), Z)
    assert piece.expression == sympy.exp(-Z)
    found = gpo.analyze(gpo.parse_loss("max(exp(-z), 1-z)"))
    assert (found.is_convex, found.is_calibrated, found.kinks, found.taylor_radius) == (True, True, (), sympy.oo)
    assert gpo.optimal_margin(found.loss, 0.9) == pytest.approx(float(mpmath.log(9) / 2), rel=1e-12)


def test_a_sign_that_changes_far_out_is_found_and_not_called_proved() -> None:
    # beyond z = 64 the other branch leads until z²/10⁴ outgrows 5.1 z
    text = "max(z/10+sigmoid(z)--log(erfc(z/100)),-5*z+2)"
    loss = gpo.parse_loss(text)
    with mpmath.workdps(50):
        right = [
            mpmath.findroot(
                lambda z: z / 10 + 1 / (1 + mpmath.exp(-z)) + mpmath.log(mpmath.erfc(z / 100)) + 5 * z - 2, start
            )
            for start in (0.3, 51_000)
        ]
    kinks = kinks_of(loss.expression, loss.symbol)
    assert [float(kink) for kink in kinks] == pytest.approx([float(x) for x in right], rel=1e-14)
    assert not any(piece.proved for piece in pieces_of(loss.expression, loss.symbol))


def test_what_is_not_decided_is_said_and_not_raised() -> None:
    # z + 2 − asinh z has one zero below −2, but no tail is found where z + √(z² + 1) cancels
    found = gpo.analyze(gpo.parse_loss("max(-z, 2-log(z+sqrt(z**2+1)))"))
    assert "changes its sign" in found.undecided
    assert found.value == 2
    assert found.is_convex is None
    assert "changes its sign" in found.convexity_proof
    assert found.is_calibrated is None
    assert "changes its sign" in found.calibration_proof
    assert found.at_certainty.kind == "undecided"
    assert found.kinks == ()
    assert "not decided" in str(found)
    assert json.loads(found.to_json())["undecided"] == found.undecided
    with pytest.raises(ValueError, match="changes its sign"):
        found.optimal_margin(0.7)
    assert gpo.analyze("dpo").undecided == ""


def isolated(expression: sympy.Expr, low: float, high: float) -> tuple[list[float], list[int]] | None:
    found = isolate_all(expression, Z, JetFunction(expression, Z), NUMBERS.mpf(low), NUMBERS.mpf(high))
    return None if found is None else ([float(zero) for zero in found[0]], found[1])


TOUCHING = sympy.exp(Z) - 1 - Z  # the width of its proof about 0 is 4


@pytest.mark.parametrize(
    ("expression", "low", "high", "zeros", "signs"),
    [
        (TOUCHING, -4, 4, [0], [1, 1]),  # the proof reaches exactly to both ends
        (TOUCHING, -5, 9, [0], [1, 1]),
        (TOUCHING, -1, 1, [0], [1, 1]),
        (TOUCHING, 0, 3, [], [1]),  # at an end it does not count
        (TOUCHING, -3, 0, [], [1]),
        (-TOUCHING, -5, 9, [0], [-1, -1]),
        (sympy.tanh(Z) - Z, -3, 3, [0], [1, -1]),
        (TOUCHING.subs(Z, Z - sympy.Rational(1, 3)), -5, 9, [1 / 3], [1, 1]),
        (TOUCHING.subs(Z, Z - sympy.Rational(5, 7)) * (Z + 2), -5, 9, [-2, 5 / 7], [-1, 1, 1]),
        (TOUCHING * (Z - 1) * (Z + 3), -5, 9, [-3, 0, 1], [1, -1, -1, 1]),
        (TOUCHING * TOUCHING.subs(Z, Z - 2), -5, 9, [0, 2], [1, 1, 1]),
        (sympy.exp(Z) - 2, -5, 9, [float(sympy.log(2))], [-1, 1]),
        (Z * sympy.exp(Z), -5, 9, [0], [-1, 1]),
    ],
)
def test_zeros_of_every_order_and_the_signs_between(
    expression: sympy.Expr, low: float, high: float, zeros: list[float], signs: list[int]
) -> None:
    found = isolated(expression, low, high)
    assert found is not None
    assert found[0] == pytest.approx(zeros, rel=1e-15, abs=1e-15)
    assert found[1] == signs


def test_orders_up_to_eight_are_decided() -> None:
    assert isolated(Z**8 * sympy.exp(Z), -2, 3) == ([0], [1, 1])
    assert isolated(Z**9 * sympy.exp(Z), -2, 3) is None


def test_what_nearly_vanishes_is_no_zero() -> None:
    found = isolated(TOUCHING + sympy.Rational(1, 10**40), -5, 9)
    assert found is None or found[0] == []
    irrational = isolated(TOUCHING.subs(Z, Z - sympy.sqrt(2)), -5, 9)
    assert irrational is None  # no fraction: not decided
