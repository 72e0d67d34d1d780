"""κ = f″(0)/|f′(0)| of a loss against derivatives by mpmath, and the β that a strength βκ asks for."""

from __future__ import annotations

import mpmath
import pytest
import sympy

import gpo_analysis as gpo

FALLING = [name for name in gpo.list_losses() if name != "lrml"]


@pytest.mark.parametrize("name", [*FALLING, "log(cosh(1-z))", "max(0,1-z)**3", "sqrt(1+(1-z)**2)", "-log(erfc(-z))"])
def test_kappa_against_numerical_differentiation(name: str) -> None:
    loss = gpo.get_loss(name) if name in FALLING else gpo.parse_loss(name)
    f = sympy.lambdify(loss.symbol, loss.expression, "mpmath")
    with mpmath.workdps(40):
        wanted = mpmath.diff(f, 0, 2) / abs(mpmath.diff(f, 0, 1))
        assert abs(mpmath.mpf(str(sympy.N(loss.curvature_ratio, 30))) - wanted) < mpmath.mpf(10) ** -12
    strength = 0.07
    beta = loss.beta_of(strength)
    assert beta == pytest.approx(strength / float(wanted) if name != "hinge" else strength, rel=1e-12)


def test_hinge_takes_beta_itself() -> None:
    assert gpo.get_loss("slic").curvature_ratio == 0
    assert gpo.get_loss("slic").beta_of(0.3) == 0.3


def test_no_kappa_without_a_falling_slope() -> None:
    for name in ("lrml", "z**2", "z", "5"):
        loss = gpo.get_loss(name) if name == "lrml" else gpo.parse_loss(name)
        with pytest.raises(ValueError, match="≥ 0: it does not push"):
            _ = loss.curvature_ratio
        with pytest.raises(ValueError, match="≥ 0: it does not push"):
            loss.beta_of(0.1)


def test_no_kappa_at_a_kink() -> None:
    for text in ("max(0,-z)", "log(1+exp(-z))+max(0,-z)/2", "abs(z)-2*z", "max(0,-z)**2-z"):
        with pytest.raises(ValueError, match="not twice differentiable at 0"):
            _ = gpo.parse_loss(text).curvature_ratio


def test_a_negative_curvature_does_not_regularize() -> None:
    loss = gpo.parse_loss("-z-z**2/(1+z**2)")
    assert loss.curvature_ratio == -2
    with pytest.raises(ValueError, match="κ = -2 < 0"):
        loss.beta_of(0.1)


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf"), "0.1", None, True])
def test_bad_strengths(bad: object) -> None:
    with pytest.raises(ValueError, match="strength must be a positive finite number"):
        gpo.get_loss("dpo").beta_of(bad)  # type: ignore[arg-type]
