"""Zeros by bisection of boxes against those that are known; the quick answer of a box in floats."""

from __future__ import annotations

import mpmath
import pytest
import sympy

from gpo_analysis.calculus import boxes
from gpo_analysis.calculus.arithmetic import NUMBERS
from gpo_analysis.calculus.boxes import around_zero, isolate
from gpo_analysis.calculus.jets import JetFunction

Z = sympy.Symbol("z", real=True)
exp, log, Q = sympy.exp, sympy.log, sympy.Rational
LN2 = "0.693147180559945309417232121458176568075500134360255254"


def of(expression: sympy.Expr) -> JetFunction:
    return JetFunction(expression, Z)


@pytest.mark.parametrize(
    ("expression", "low", "high", "zeros", "signs"),
    [
        (Z - 1, -3, 5, ["1"], [-1, 1]),  # at an edge of boxes
        (1 - Z, -3, 5, ["1"], [1, -1]),
        (exp(Z) - 1, -3, 5, ["0"], [-1, 1]),
        (Z * (Z - 1) * (Z + 2), -3, 5, ["-2", "0", "1"], [-1, 1, -1, 1]),
        (exp(-Z) - Q(1, 2), -3, 5, [LN2], [1, -1]),
        (exp(1000 * Z) - 2, -3, 5, ["0.000" + LN2[2:]], [-1, 1]),
        (sympy.sin(Z), -4, 4, ["-" + mpmath.nstr(mpmath.pi, 15), "0", mpmath.nstr(mpmath.pi, 15)], [1, -1, 1, -1]),
        (Z**2 - Z + Q(3, 10), -1, 2, [], [1]),
        (Z - Z**2 - Q(3, 10), -1, 2, [], [-1]),
        ((Z - Q(1, 3)) * (Z - Q(1, 3) - Q(1, 10**12)), -1, 2,
         ["0." + "3" * 45, "0." + "3" * 11 + "4" + "3" * 33], [1, -1, 1]),
        (Z - 3, 2, 4, ["3"], [-1, 1]),
        (log(1 + Z**2) - 1, 0, 3, ["1.31083249443208615640176623361"], [-1, 1]),
    ],
    ids=str,
)  # fmt: skip
def test_zeros_and_the_signs_between_them(
    expression: sympy.Expr, low: int, high: int, zeros: list[str], signs: list[int]
) -> None:
    found = isolate(of(expression), NUMBERS.mpf(low), NUMBERS.mpf(high))
    assert found is not None
    assert found[1] == signs
    assert len(found[0]) == len(zeros)
    with mpmath.workdps(50):
        f = sympy.lambdify(Z, expression, "mpmath")
        for zero, known in zip(found[0], zeros, strict=True):
            assert abs(zero - mpmath.mpf(known)) <= 1e-14
            step = mpmath.mpf(10) ** -41
            assert f(zero - step) * f(zero + step) < 0  # the place itself is known to 41 digits


def test_a_zero_of_higher_order_is_told_and_not_found() -> None:
    stuck: list[object] = []
    assert isolate(of((exp(Z) - 3) ** 2), NUMBERS.mpf(-3), NUMBERS.mpf(5), stuck) is None
    assert len(stuck) == 1
    assert abs(stuck[0] - NUMBERS.log(3)) < 1e-10
    assert isolate(of(exp(Z) - 1 - Z), NUMBERS.mpf(-3), NUMBERS.mpf(5)) is None  # without a list, too


def test_operations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the boxes or the work are used up, the place reached is told."""
    function = of(log(1 + exp(-Z)) - Q(7, 10))
    full = isolate(function, NUMBERS.mpf(-3), NUMBERS.mpf(5))
    assert full is not None
    for name, most in (("MAX_BOXES", 2), ("MAX_WORK", 6 * function.cost)):
        with monkeypatch.context() as patch:
            patch.setattr(boxes, name, most)
            stuck: list[object] = []
            assert isolate(function, NUMBERS.mpf(-3), NUMBERS.mpf(5), stuck) is None
            assert stuck == [-0.5]  # two boxes are done, the third, from −1 to −1/2, is not
            patch.setattr(boxes, name, 10**9)
            assert isolate(function, NUMBERS.mpf(-3), NUMBERS.mpf(5)) == full


def test_the_quick_sign_of_a_box() -> None:
    """By the enclosure alone, by the slope as well; 0 where the box is to be halved, None where digits are missing."""
    quickly = boxes._quickly
    m = NUMBERS.mpf
    assert quickly(of(exp(Z)), m(0), m(10)) == 1  # the slope's enclosure would leave this open
    assert quickly(of(-exp(Z)), m(0), m(10)) == -1
    parabola = Z**2 - Z + Q(3, 10)  # at least 1/20
    assert quickly(of(parabola), m("0.4"), m("0.5")) == 1
    assert quickly(of(-parabola), m("0.4"), m("0.5")) == -1
    assert quickly(of(parabola), m(0), m(1)) == 0
    assert quickly(of(Z - Q(45, 100)), m(0), m(1)) is None  # monotone: its zero is for many digits
    close = sympy.expand((Z - 1) ** 2 + Q(1, 10**24))
    assert quickly(of(close), 1 - m(10) ** -14, 1 + m(10) ** -14) is None  # what floats leave is their rounding
    assert quickly(of(sympy.LambertW(exp(Z))), m(0), m(1)) is None


def test_many_digits_are_asked_where_floats_do_not_settle_a_box() -> None:
    """Of e^{−z} + z − 1/2 nearly all boxes are settled in floats."""
    function = of(exp(-Z) + Z - Q(1, 2))
    asked = []
    over = function.over
    function.over = lambda *box: asked.append(box) or over(*box)  # type: ignore[method-assign,func-returns-value]
    assert isolate(function, NUMBERS.mpf(-60), NUMBERS.mpf(60)) == ([], [1])
    assert len(asked) <= 2


@pytest.mark.parametrize(
    ("expression", "order", "before", "after"),
    [
        (Z**2, 2, 1, 1), (-(Z**2), 2, -1, -1), (Z**3, 3, -1, 1), (-(Z**3), 3, 1, -1), (exp(Z) - 1 - Z, 2, 1, 1),
        (Z**2 - Z**4, 2, 1, 1), (sympy.sin(Z) - Z, 3, 1, -1), (Z, 1, -1, 1), (Z**2 - 1000 * Z**3, 2, 1, 1),
    ],
)  # fmt: skip
def test_signs_about_a_zero(expression: sympy.Expr, order: int, before: int, after: int) -> None:
    found = around_zero(of(expression), NUMBERS.mpf(0), order)
    assert found is not None
    width, *signs = found
    assert signs == [before, after]
    f = sympy.lambdify(Z, expression, "mpmath")
    for share in (0.01, 0.5, 1.0):
        assert (NUMBERS.sign(f(-share * width)), NUMBERS.sign(f(share * width))) == (before, after)
    assert width >= 1e-4  # no narrower than the function asks for


def test_no_signs_about_a_zero_of_still_higher_order() -> None:
    assert around_zero(of(Z**4), NUMBERS.mpf(0), 2) is None
    far = around_zero(of((Z - 5) ** 3), NUMBERS.mpf(5), 3)
    assert far is not None
    assert far[1:] == (-1, 1)
