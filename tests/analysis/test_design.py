"""Losses to order: have they what was wished, measured without `analyze`; and are the right wishes refused?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import gpo_analysis as gpo
from gpo_analysis.analysis import IncompatibleWishesError, prove_design

WISHES = [
    {"kappa": "3/4", "margin": "infinite", "bounded_gradient": True, "logit_link": False},
    {"kappa": 0.3, "margin": "infinite", "bounded_gradient": False, "logit_link": "scaled"},
    {"kappa": 0.75, "margin": 2, "bounded_gradient": True},
    {"kappa": 0.75, "margin": 1, "bounded_gradient": True},
    {"kappa": 2, "margin": 2, "bounded_gradient": False},
    {"logit_link": True, "bounded_gradient": False},
    {"logit_link": True, "convex": False},
    {"kappa": "1/2", "logit_link": False, "convex": False},
    {"kappa": 1, "logit_link": False, "convex": False, "bounded_gradient": False},
    {"kappa": 1, "margin": 0.5, "convex": False},
    {"kappa": 3, "margin": 2, "logit_link": False},
    {"kappa": 0, "margin": "infinite"},
    {"kappa": 0, "margin": 3, "bounded_gradient": False},
]


@pytest.mark.parametrize("wishes", WISHES, ids=str)
def test_numbers_confirm_the_wishes(wishes: dict) -> None:
    f = gpo.design_loss(**wishes)
    h = 1e-4
    slope, curvature = (f(h) - f(-h)) / (2 * h), (f(h) - 2 * f(0.0) + f(-h)) / h**2
    kappa = float(eval(wishes["kappa"])) if isinstance(wishes.get("kappa"), str) else wishes.get("kappa", 0.5)
    assert curvature / abs(slope) == pytest.approx(kappa, abs=1e-5)
    assert slope < 0
    z = np.linspace(-30, 30, 6001)
    if isinstance(wishes.get("margin"), int | float):
        assert z[np.argmin(f(z))] == pytest.approx(wishes["margin"], abs=0.011)
    else:
        assert np.all(np.diff(f(z)) <= 0)
    growth = abs(f.derivative(-200.0)) / abs(f.derivative(-100.0))
    assert (growth < 1.01) == wishes.get("bounded_gradient", True)
    second = f(z[2:]) - 2 * f(z[1:-1]) + f(z[:-2])
    assert (second >= -1e-9 * (1 + abs(f(z[1:-1])))).all() == wishes.get("convex", True)


@pytest.mark.parametrize("convex", [True, False])
def test_logit_link_is_met_by_a_numerical_minimum(convex: bool) -> None:
    f = gpo.design_loss(logit_link="scaled", kappa=0.8, convex=convex)
    for eta in (0.6, 0.8, 0.95):
        risk = lambda z, eta=eta: float(eta * f(z) + (1 - eta) * f(-z))  # noqa: E731
        best = minimize_scalar(risk, bounds=(-4, 6), method="bounded", options={"xatol": 1e-9}).x
        assert best == pytest.approx(np.log(eta / (1 - eta)) / 1.6, abs=1e-5)


@pytest.mark.parametrize(
    ("wishes", "named"),
    [
        ({"logit_link": True, "kappa": 1}, ("logit_link=True", "kappa=1")),
        ({"logit_link": True, "margin": "finite"}, ("logit_link=True", "margin='finite'")),
        ({"logit_link": "scaled", "margin": 3.0}, ("logit_link='scaled'", "margin=3.0")),
        ({"logit_link": "scaled", "kappa": 0}, ("logit_link='scaled'", "kappa=0")),
        ({"kappa": -1}, ("kappa=-1", "calibration")),
        ({"margin": -2}, ("margin=-2", "calibration")),
    ],
)
def test_incompatible_wishes_are_named(wishes: dict, named: tuple[str, str]) -> None:
    with pytest.raises(IncompatibleWishesError) as caught:
        gpo.design_loss(**wishes)
    assert named in [conflict for conflict, _ in caught.value.conflicts]


def test_proof_refutes_losses_that_have_not_the_wish() -> None:
    dpo = gpo.get_loss("dpo")
    assert all(line.holds for line in gpo.prove_design(dpo, kappa="1/2", logit_link=True, margin="infinite"))
    for wishes in ({"kappa": 1}, {"margin": "finite"}, {"bounded_gradient": False}, {"logit_link": False}):
        assert not gpo.prove_design(dpo, **wishes)[-1].holds
    assert not gpo.prove_design(gpo.get_loss("exponential"), logit_link=True)[-1].holds
    assert not gpo.prove_design(gpo.get_loss("savage"), convex=True)[-1].holds
    assert not gpo.prove_design(gpo.get_loss("ipo"), logit_link="scaled")[-1].holds


@pytest.mark.parametrize("wishes", [{"kappa": "much"}, {"margin": "wide"}, {"logit_link": "probit"}, {"convex": None}])
def test_what_is_no_wish_is_refused(wishes: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wishes))):
        gpo.design_loss(**wishes)


@pytest.mark.parametrize(
    ("text", "bounded"),
    [
        ("abs(z-1)^0.5", False), ("max(0,1-z)^0.5", False), ("sqrt(abs(z-2))-z", False), ("log(1+sqrt(abs(z)))", False),
        ("abs(z-1)", True), ("max(0,1-z)^1.5/(1+max(0,1-z))", True), ("sqrt(1+(z-1)^2)", True),
        ("log(1+abs(z-1)^1.5)", True), ("max(0,1-z)-max(0,-1-z)", True),
    ],
)  # fmt: skip
def test_a_slope_is_bounded_where_it_is_so_everywhere(text: str, bounded: bool) -> None:
    """Beside a cusp too: against difference quotients over twelve decades about the kinks and far out."""
    loss = gpo.parse_loss(text)
    line = prove_design(loss, bounded_gradient=True)[-1]
    assert line.holds is bounded
    assert prove_design(loss, bounded_gradient=False)[-1].holds is not bounded
    sizes = np.geomspace(1e-12, 1e12, 200)
    places = np.concatenate([centre + sign * sizes for centre in (-1.0, 0.0, 1.0, 2.0) for sign in (-1.0, 1.0)])
    steepest = np.nanmax(np.abs(np.asarray(loss.derivative(places), dtype=float)))
    assert (steepest < 10) == bounded


def test_what_is_not_decided_is_not_called_refuted() -> None:
    """exp(−z³) is calibrated, by t = z³, which analyze does not see: None, not False."""
    assert gpo.analyze(gpo.parse_loss("exp(-z^3)")).is_calibrated is None
    assert prove_design(gpo.parse_loss("exp(-z^3)"))[0].holds is None
