"""Nothing depends on the unit of z: what is said of f(z/L) is what is said of f, its lengths times L."""

from __future__ import annotations

import pytest
import sympy

from gpo_analysis.calculus.convexity import convexity_of
from gpo_analysis.calculus.pieces import kinks_of
from gpo_analysis.calculus.tails import tails_of
from gpo_analysis.calculus.units import unit_of

Z = sympy.Symbol("z", real=True)
exp, log, oo = sympy.exp, sympy.log, sympy.oo
FUNCTIONS = [
    1 / (1 + exp(Z)) ** 2,
    log(1 + exp(-Z)) + sympy.Max(0, Z - 8) / 2,
    exp(-(Z**2)),
    log(1 + (1 - Z) ** 2),
    sympy.erfc(Z),
    sympy.Max(exp(-Z), Z),
    sympy.sqrt(1 + (1 - Z) ** 2) - Z / 2,
    (1 - Z) / (1 + Z**2),
    sympy.tanh(Z) * Z - Z,
    log(2 + exp(Z) + exp(-3 * Z)) - Z / 7,
]
LENGTHS = [sympy.Integer(500), sympy.Rational(1, 1000), sympy.Integer(10) ** 12, sympy.Rational(1, 10**9)]


def ends_of(region: sympy.Set | None) -> list[float]:
    """The finite ends of a region, ascending."""
    return [] if region is None else sorted(float(end) for end in region.boundary)


@pytest.mark.parametrize("length", LENGTHS, ids=str)
@pytest.mark.parametrize("f", FUNCTIONS, ids=str)
def test_scaled_functions(f: sympy.Expr, length: sympy.Rational) -> None:
    g = f.subs(Z, Z / length)
    mine, theirs = convexity_of(f, Z), convexity_of(g, Z)
    assert theirs.is_convex is mine.is_convex
    wanted = [end * float(length) for end in ends_of(mine.region)]
    assert ends_of(theirs.region) == pytest.approx(wanted, rel=1e-12, abs=0)
    assert [float(x) for x in kinks_of(g, Z)] == pytest.approx(
        [float(x * length) for x in kinks_of(f, Z)], rel=1e-12, abs=0
    )
    for a, b in ((tails_of(f, Z).left, tails_of(g, Z).left), (tails_of(f, Z).right, tails_of(g, Z).right)):
        assert (b.kind, b.limit, b.attained) == (a.kind, a.limit, a.attained)
        assert float(b.slope * length) == pytest.approx(float(a.slope), rel=1e-12)
        is_rate = a.growth is not None and a.kind in ("exponential", "vanishing")
        assert b.growth == (a.growth / length if is_rate else a.growth)


def test_units() -> None:
    assert unit_of(exp(-Z / 500) + Z, Z) == 500
    assert unit_of(exp(-(Z**2) / 10000), Z) == 100
    assert unit_of(sympy.Max(0, 1 - Z / 40) ** 2, Z) == 40
    assert unit_of(sympy.sqrt(10**8 + Z**2), Z) == 10**4
    assert unit_of(Z**2 / 10**9 - Z, Z) == 1  # polynomials have their roots exactly
    assert unit_of(exp(-3 * Z), Z) == 1
    assert unit_of(exp(-sympy.sqrt(2) * Z / 1000), Z) == 512  # a rational number near it
