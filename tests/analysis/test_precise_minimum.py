"""Minimisers in many digits where floats do not settle them, against mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis import precise_minimum
from gpo_analysis.analysis.objective import Objective
from gpo_analysis.calculus.arithmetic import NUMBERS

M = NUMBERS.mpf


@pytest.mark.parametrize(
    ("name", "f"), [("dpo", lambda z: mpmath.log1p(mpmath.exp(-z))), ("ipo", lambda z: (z - 1) ** 2)]
)
def test_the_objective_and_its_slope(name: str, f: object) -> None:
    """p f(z) + q f(−z) − s z, in 45 digits; a weight of 0 leaves its part out, whatever it is."""
    loss = gpo.get_loss(name)
    for p, q, s in ((0.7, 0.3, 0.0), (1.0, 0.0, 0.25), (0.0, 2.0, -0.5)):
        for z in (-2.5, 0.0, 0.75, 30.0):
            value, slope = precise_minimum.precise_jet(loss, (M(p), M(q), M(s)), M(z))
            with mpmath.workdps(60):
                objective = lambda x, p=p, q=q, s=s: p * f(x) + q * f(-x) - s * x  # type: ignore[operator]  # noqa: E731
                assert abs(value - objective(mpmath.mpf(z))) < 1e-40
                assert abs(slope - mpmath.diff(objective, mpmath.mpf(z))) < 1e-25
    assert precise_minimum._times(M(0), NUMBERS.inf) == 0
    assert precise_minimum._times(M(2), M(3)) == 6


@pytest.mark.parametrize("eta", ["0.5000001", "0.9", "0.999999999"])
def test_a_root_beside_a_rounded_one(eta: str) -> None:
    """log(η/(1 − η)) for the logistic loss, from a start that is off by 10⁻⁶ of it."""
    p = M(eta)
    exact = NUMBERS.log(p / (1 - p))
    start = float(exact) * (1 + 1e-6)
    loss = gpo.get_loss("dpo")
    assert precise_minimum.precise_root(loss, (p, 1 - p), start, abs(start) * 1e-5) == float(exact)
    assert precise_minimum.precise_root(loss, (p, 1 - p), start, abs(start) * 1e-8) is None  # no root that near
    assert precise_minimum.precise_root(loss, (p, 1 - p), float(exact), abs(start) * 1e-8) == float(exact)


def test_no_root_where_the_objective_bends_down_or_has_no_jet() -> None:
    assert precise_minimum.precise_root(gpo.parse_loss("-(z-1)**2"), (M(1), M(0)), 1.0, 1.0) is None
    assert precise_minimum.precise_root(gpo.parse_loss("z"), (M(1), M(0)), 1.0, 1.0) is None
    z = gpo.get_loss("dpo").symbol
    assert precise_minimum.precise_root(gpo.MarginLoss("g", sympy.loggamma(z**2 + 1)), (M(1), M(1)), 1.0, 1.0) is None


def test_a_root_on_the_piece_of_its_place() -> None:
    loss = gpo.parse_loss("max(0, 1-z)**2 + max(0, z-2)**2")  # p f(z): least at 1 … 2; with a pull of q f(−z) inside
    p = M("0.8")
    # p 2(z − 1) + q 2(1 + z) = 0 left of 1: z = p − q
    assert precise_minimum.precise_root(loss, (p, 1 - p), 0.6 + 1e-7, 1e-3) == pytest.approx(0.6, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "weights", "z"),
    [("dpo", (0.9, 0.1, 0.0), math.log(9)), ("dpo", (0.1, 0.9, 0.0), -math.log(9)), ("ipo", (1.0, 0.0, 0.5), 1.25),
     ("ipo", (0.75, 0.25, 0.0), 0.5), ("exponential", (0.9, 0.1, 0.0), math.log(9) / 2),
     ("log(1+exp(-z/500))", (0.9, 0.1, 0.0), 500 * math.log(9))],
)  # fmt: skip
def test_least_points_on_the_whole_line_and_beside_a_known_one(name: str, weights: tuple[float, ...], z: float) -> None:
    loss = gpo.get_loss(name)
    unit = 500.0 if "500" in name else 1.0
    objective = Objective(loss, *[np.array([w]) for w in weights])
    for known in (None, z, z * (1 + 1e-9)):
        for to_the_right in (True, False):
            found = precise_minimum.precise_minimum(objective, 0, to_the_right, (unit, unit), known)
            assert found == pytest.approx(z, rel=1e-14)
    far = precise_minimum.precise_minimum(objective, 0, True, (unit, unit), z + 3 * unit)
    assert far is None  # nothing is stationary there


def test_an_end_that_is_lower_or_unbounded_has_no_least_point() -> None:
    falling = Objective(gpo.get_loss("dpo"), np.array([1.0]), np.array([0.0]), np.array([0.0]))
    assert precise_minimum.precise_minimum(falling, 0, True, (1.0, 1.0), None) is None
    without = Objective(gpo.parse_loss("-z"), np.array([1.0]), np.array([0.0]), np.array([0.0]))
    assert precise_minimum.precise_minimum(without, 0, True, (1.0, 1.0), None) is None


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("name", ["dpo", "exponential", "savage", "log(cosh(z-1))", "sqrt(1+z**2)-z"])
def test_margins_next_to_one_half_keep_their_digits(name: str, gap: float) -> None:
    """Where η f′(z) and (1 − η) f′(−z) cancel: against a root in 80 digits."""
    loss = gpo.get_loss(name)
    eta = 0.5 + gap
    found = float(gpo.optimal_margin(loss, eta))
    with mpmath.workdps(80):
        slope = sympy.lambdify(loss.symbol, loss.expression.diff(loss.symbol), "mpmath")
        p = mpmath.mpf(eta)
        exact = mpmath.findroot(lambda z: p * slope(z) - (1 - p) * slope(-z), (found * 0.999, found * 1.001))
    assert found == pytest.approx(float(exact), rel=4e-15)
    mirrored = float(gpo.optimal_margin(loss, 1 - eta))
    assert mirrored == pytest.approx(-found, rel=1e-3 if gap < 1e-10 else 1e-6)
