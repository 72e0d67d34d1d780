"""From where on a sign far out is proved: never before the last zero, whatever the leading term says."""

from __future__ import annotations

import mpmath
import pytest
import sympy

from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.calculus.tail_signs import tail_sign

Z = sympy.Symbol("z", real=True)
exp, Q = sympy.exp, sympy.Rational


@pytest.mark.parametrize(
    ("expression", "sign"),
    [
        (1 - exp(4 - Z), 1),  # 0 at 4, where the first place is tried
        (exp(8 - Z) - 1, -1),
        (1 - 64 / Z**3, 1),
        (1 - Z / 4 * exp(4 - Z), 1),
        (1 - Z**10 * exp(-Z) / 10**5, 1),  # z^10 e^{−z} rises up to 10: its value at 4 bounds nothing
        (Z**10 * exp(-Z) / 10**5 - 1, -1),
        (1 - sympy.log(Z) ** 3 / Z, 1),
        (Z**2 - 100 * Z + 1, 1),
    ],
    ids=str,
)
def test_the_sign_holds_from_the_place_on(expression: sympy.Expr, sign: int) -> None:
    found = tail_sign(expression, Z, 1)
    assert found is not None
    reach, proved = found
    assert proved == sign
    f = sympy.lambdify(Z, expression, "mpmath")
    with mpmath.workdps(60):
        assert all(mpmath.sign(f(mpmath.mpf(reach) * (1 + mpmath.mpf(k) / 20))) == sign for k in range(200))


def test_signs_that_algebra_decides() -> None:
    """Polynomials in e^{cz}: their zeros are exact, whatever c is."""
    for rate in (1, -1, Q(1, 3), Q(-5, 2)):
        t = exp(rate * Z)
        found = signs_on(sympy.expand((t - 2) * (t - 3) * (t + 1)), Z)
        assert found is not None
        assert (found.exact, found.proved, found.method) == (True, True, "algebra")
        zeros = sorted([sympy.log(2) / rate, sympy.log(3) / rate], key=float)
        assert [sympy.simplify(a - b) for a, b in zip(found.zeros, zeros, strict=True)] == [0, 0]
        assert found.signs == (1, -1, 1)
