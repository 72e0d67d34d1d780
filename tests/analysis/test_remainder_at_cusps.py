"""The bound on a Taylor polynomial's error where a derivative of f is infinite in or next to the interval."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import gpo_analysis as gpo


@pytest.mark.parametrize(
    "text", ["max(0,1-z)^1.5", "max(0,1-z)^0.5", "abs(z-1)^0.5", "abs(z-0.3)^1.2", "max(0,2/3-z)^0.7"]
)
@pytest.mark.parametrize(("order", "radius"), [(0, 1.0), (2, 0.99), (2, 1.5), (5, 0.99)])
def test_the_difference_itself_is_enclosed(text: str, order: int, radius: float) -> None:
    """Lagrange's form is infinite there: above the largest difference on a fine grid, and not six times as large."""
    loss = gpo.parse_loss(text)
    grid = np.linspace(-radius, radius, 40_001)
    polynomial = sympy.lambdify(loss.symbol, gpo.taylor(loss, order).as_expr(), "numpy")
    met = float(np.abs(np.asarray(loss(grid)) - polynomial(grid)).max())
    bound = gpo.taylor_remainder_bound(loss, order, radius)
    assert met <= bound <= 6 * met


def test_lagranges_form_stays_where_it_is_the_nearer() -> None:
    """max |f⁗| r⁴/4! = r⁴/192 of the logistic loss, to a percent."""
    assert gpo.taylor_remainder_bound("dpo", 3, 0.01) == pytest.approx(0.01**4 / 192, rel=0.011)
