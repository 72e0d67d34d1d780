"""Closed forms of the nearest singularities, values round a loop, remainders, the parts of a verdict on calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis import closed_forms, singularities
from gpo_analysis.analysis.calibration import _less as less
from gpo_analysis.analysis.calibration import _lowest_left as lowest_left
from gpo_analysis.analysis.calibration import _same as same
from gpo_analysis.analysis.taylor import taylor_remainder_bound
from gpo_analysis.calculus.arithmetic import NUMBERS, number

Z = gpo.get_loss("dpo").symbol
exp, Q, pi = sympy.exp, sympy.Rational, math.pi


@pytest.mark.parametrize(
    ("inner", "moduli"),
    [
        (1 + exp(Z), [pi]),
        (1 + exp(-2 * Z), [pi / 2]),
        (3 + exp(Z), [math.hypot(math.log(3), pi)]),
        (3 - exp(Z), [math.log(3)]),
        (1 + exp(3 * Z) * 2, [math.hypot(math.log(2), pi) / 3]),
        (1 + exp(Z) + exp(2 * Z), [2 * pi / 3] * 2),
        (2 - 3 * exp(Z) + exp(2 * Z), [0, math.log(2)]),
        (exp(Z), []),
        (exp(Z) + exp(3 * Z), [pi / 2]),
        (1 + Z**2, [1, 1]),
        (Z**2 - 2 * Z + 5, [math.sqrt(5)] * 2),
        (Z - 3, [3]),
        (1 + Z**4, [1] * 4),
        (Z**3 - 2, [2 ** (1 / 3)] * 3),
        (1 / Z + 2, [0.5]),
    ],
    ids=str,
)
def test_moduli_of_zeros(inner: sympy.Expr, moduli: list[float]) -> None:
    found = singularities._exact_moduli(inner, Z)
    assert found is not None
    assert sorted(float(number(one)) for one in found) == pytest.approx(sorted(moduli), rel=1e-14, abs=1e-14)


def test_no_closed_forms_of_other_functions() -> None:
    for inner in (Z + exp(Z), sympy.log(Z + 2), sympy.sqrt(Z + 2), exp(Z**2) + 1):
        assert singularities._exact_moduli(inner, Z) is None, inner


def loop(f: object, count: int = 32) -> list[object]:
    points = [NUMBERS.expjpi(2 * NUMBERS.mpf(k) / count) for k in range(count)]
    return [f(x) for x in [*points, points[0]]]  # type: ignore[operator]


def test_values_round_a_loop() -> None:
    """Powers of z belong to an analytic function; 1/z, and a root or a logarithm that does not close, do not."""
    singular = singularities._has_singularity
    for analytic in (lambda z: 0 * z, lambda z: 3 + 0 * z, lambda z: z, lambda z: 1 + 2 * z**3,
                     lambda z: 1e-30 * z):  # fmt: skip
        assert not singular(loop(analytic))
    for other in (lambda z: 1 / z, lambda z: z + 1e-3 / z**2, lambda z: 1 + z**-5):
        assert singular(loop(other))
    half = [NUMBERS.expjpi(NUMBERS.mpf(k) / 32) for k in range(33)]
    assert singular(half)  # √z comes back as −√z
    assert singular([NUMBERS.mpc(0, 2 * k) for k in range(33)])


@pytest.mark.parametrize(
    ("text", "order", "radius", "least"),
    [
        ("dpo", 3, 1.0, 1 / 192), ("exponential", 2, 1.0, math.e / 6), ("exponential", 0, 2.0, 2 * math.exp(2)),
        ("slic", 1, 3.0, 2.0), ("slic", 0, 0.5, 0.5), ("slic", 1, 0.5, 0.0), ("slic", 2, 1.0, 0.0),
        ("max(0,1-z)**2", 2, 3.0, 4.0), ("max(0,1-z)**2", 2, 1.0, 0.0), ("max(0,-z-1)-z", 1, 1.0, 0.0),
        ("max(0,-z-1)-z", 1, 2.0, 1.0), ("ipo", 1, 3.0, 9.0), ("z**3", 0, 2.0, 24.0),
    ],
)  # fmt: skip
def test_remainders_are_bounded_closely(text: str, order: int, radius: float, least: float) -> None:
    """Lagrange's bound r^{n+1} max |f⁽ⁿ⁺¹⁾|/(n+1)! within a smooth piece, the difference itself beyond a kink."""
    bound = taylor_remainder_bound(text, order, radius)
    assert least <= bound <= 1.011 * least + 1e-300
    polynomial = gpo.taylor(text, order)
    for z in np.linspace(-radius, radius, 41):
        gap = abs(float(gpo.get_loss(text)(z)) - float(polynomial.subs(Z, z)))
        assert gap <= bound + 1e-13 * (1 + bound)


def test_a_remainder_needs_a_smooth_place_and_a_recurrence() -> None:
    with pytest.raises(ValueError, match="has a kink at 0, so that its Taylor series says nothing of f around it"):
        taylor_remainder_bound("abs(z)", 1, 1.0)
    with pytest.raises(ValueError, match="no bound for loggamma"):
        taylor_remainder_bound(gpo.MarginLoss("g", sympy.loggamma(Z**2 + 1)), 1, 1.0)


def test_numbers_that_are_one_or_differ_clearly() -> None:
    assert same(1.0, 1.0)
    assert same(math.inf, math.inf)
    assert same(-2.0, -2.0)
    assert same(0.0, 0.0)
    assert same(1.0, 1.0 + 1e-15)
    assert same(-1.0, -1.0 - 1e-15)
    for a, b in ((1.0, 1.001), (1.0, -1.0), (math.inf, 1.0), (math.inf, -math.inf), (1.0, math.inf)):
        assert not same(a, b)
    for a, b, smaller in ((1.0, 2.0, True), (2.0, 1.0, False), (1.0, 1.0, False), (-math.inf, 0.0, True),
                          (0.0, math.inf, True), (1.0, 1.0 + 1e-15, False),
                          (-2.0, -1.0, True), (-1.0, -2.0, False)):  # fmt: skip
        assert less(a, b) is smaller


@pytest.mark.parametrize(
    ("text", "lowest"),
    [("log(1+exp(-z))", math.log(2)), ("(z+1)**2-3", -3.0), ("exp(z)+1", 1.0), ("max(0,-z)-max(0,-z-2)*2", -math.inf),
     ("abs(z+2)-z/2", 1.0), ("(z-1)**2", 1.0), ("max(0,1-z)", 1.0), ("-z*exp(z)*0+max(z,-z-4)", -2.0)],
)  # fmt: skip
def test_the_lowest_value_left_of_0(text: str, lowest: float) -> None:
    loss = gpo.get_loss(text)
    assert lowest_left(loss) == pytest.approx(lowest, rel=1e-12)
    if math.isfinite(lowest):
        assert np.min(loss(np.linspace(-50, 0, 100_001))) == pytest.approx(lowest, abs=1e-3)


def test_whether_a_loss_falls_at_0() -> None:
    for text, sign in (("log(1+exp(-z))", 1), ("log(1+exp(z))", -1), ("abs(z)", 0), ("z**2", 0), ("max(0,-z)", 1),
                       ("abs(z)+z/3", -1), ("abs(z)-z/3", 1), ("3-2*z", 1), ("1e-20*z", -1)):  # fmt: skip
        assert closed_forms._falls_at_zero(gpo.get_loss(text)) == sign, text


def test_points_between_two_constants() -> None:
    for low, high in ((sympy.Integer(0), sympy.Integer(1)), (sympy.log(2), sympy.pi), (Q(-7), Q(-6))):
        points = closed_forms.points_between(low, high)
        assert len(points) == 9
        assert sorted(set(points)) == sorted(points)
        assert all(number(low) < number(point) < number(high) and point.is_Rational for point in points)
