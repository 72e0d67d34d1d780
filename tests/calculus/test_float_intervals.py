"""Intervals of floats hold the true values: against mpmath in 60 digits, and against the intervals in many digits."""

from __future__ import annotations

import math
import operator

import mpmath
import numpy as np
import pytest
import sympy

from gpo_analysis.calculus.arithmetic import bounds
from gpo_analysis.calculus.boxes import isolate
from gpo_analysis.calculus.float_intervals import FLOATS, FloatInterval, enclosed
from gpo_analysis.calculus.jets import JetFunction
from gpo_analysis.losses import get_loss, list_losses

M = mpmath.MPContext()
M.dps = 60
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
z = sympy.Symbol("z", real=True)


def random_floats(rng: np.random.Generator, count: int) -> list[float]:
    return [float(s * 10.0**e) for s, e in zip(rng.normal(size=count), rng.uniform(-320, 300, count), strict=True)]


@pytest.mark.parametrize("name", OPERATIONS)
def test_sums_and_products_hold_the_exact_ones(name: str) -> None:
    rng = np.random.default_rng(0)
    for a, b in zip(random_floats(rng, 400), random_floats(rng, 400), strict=True):
        if name == "/" and b == 0:
            continue
        found = OPERATIONS[name](enclosed(a), enclosed(b))
        exact = OPERATIONS[name](M.mpf(a), M.mpf(b))
        assert found.low <= exact <= found.high
        if 1e-290 < abs(exact) < 1e290 and abs(b) > 1e-290:
            assert found.high - found.low <= 1e-14 * abs(exact)


@pytest.mark.parametrize("name", OPERATIONS)
def test_of_intervals_every_point_is_held(name: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        ends = np.sort(rng.normal(size=(2, 2)) * 10.0 ** rng.integers(-3, 4, (2, 1)), axis=1)
        found = OPERATIONS[name](FloatInterval(*ends[0].tolist()), FloatInterval(*ends[1].tolist()))
        for share, other in rng.random((10, 2)):
            x, y = (
                M.mpf(low) + (M.mpf(high) - M.mpf(low)) * t
                for (low, high), t in zip(ends.tolist(), (share, other), strict=True)
            )
            assert found.low <= OPERATIONS[name](x, y) <= found.high


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "tanh", "atan", "erf", "erfc", "sqrt"])
def test_functions_hold_the_exact_values(name: str) -> None:
    rng = np.random.default_rng(2)
    function = getattr(FLOATS, name, None) or FLOATS.monotone[name]
    points = [*(rng.normal(size=200) * 10.0 ** rng.uniform(-8, 2.8, 200)).tolist(), 800.0, -800.0, 0.0, 1e-300]
    for x in points:
        if (name in ("log", "sqrt") and x <= 0) or (name == "log1p" and x <= -1):
            continue
        found = function(enclosed(x))
        assert found.low <= getattr(M, name)(M.mpf(x)) <= found.high


def test_ends_without_a_bound() -> None:
    everything = FloatInterval(-math.inf, math.inf)
    for found in (
        everything - everything,
        everything * enclosed(0.0) + everything,
        enclosed(1.0) / FloatInterval(-1, 1),
    ):
        assert (found.low, found.high) == (-math.inf, math.inf)
    assert (enclosed(1e308) * 10).high == math.inf
    assert enclosed(10**20 + 1).low < 10**20 + 1 < enclosed(10**20 + 1).high
    with pytest.raises(OverflowError):
        enclosed(10**400)


@pytest.mark.parametrize("name", list_losses())
def test_jets_of_losses_lie_within(name: str) -> None:
    """Those in many digits and at points inside; and the other way round, no wider than rounding makes them."""
    expression = get_loss(name).expression
    if expression.has(sympy.Max):
        expression = (1 - z) ** 2
    function = JetFunction(expression.diff(z), z)
    for low, high in [(-3.0, -2.75), (-0.5, 0.5), (0.25, 0.250001), (5.0, 6.0)]:
        quick, exact = function.quickly_over(low, high, 1), function.over(low, high, 1)
        assert quick is not None
        for narrow, wide in zip(exact, quick, strict=True):
            (a, b), (c, d) = bounds(narrow), bounds(wide)
            assert c <= a <= b <= d
            assert float(a - c) + float(d - b) <= 1e-9 * (1 + abs(float(a)) + abs(float(b)))


def test_what_floats_cannot_compute_is_left_to_many_digits() -> None:
    assert JetFunction(sympy.LambertW(sympy.exp(z)), z).quickly_over(0, 1) is None
    assert JetFunction(z * 10**400, z).quickly_over(0, 1) is None


def test_zeros_that_floats_cannot_tell_apart_are_found() -> None:
    """(z − 1)² − 1e-24 has two zeros 2e-12 apart, between which its values are below the rounding of floats."""
    g = sympy.expand((z - 1) ** 2 - sympy.Rational(1, 10**24))
    found = isolate(JetFunction(g, z), -3.0, 5.0)
    assert found is not None
    zeros, signs = found
    assert signs == [1, -1, 1]
    assert [float((zero - 1) * 10**12) for zero in zeros] == pytest.approx([-1, 1], abs=1e-12)
