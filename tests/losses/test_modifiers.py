"""Smoothing, its robust correction, soft labels and rescaling, each against its definition and what follows from it."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo

LOSSES = [*gpo.list_losses(), "log(cosh(1-z))", "max(0,1-z)**3"]
Z = np.linspace(-4.0, 4.0, 41)


def loss_of(name: str) -> gpo.MarginLoss:
    return gpo.get_loss(name) if name in gpo.list_losses() else gpo.parse_loss(name)


@given(st.sampled_from(LOSSES), st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.49]))
def test_definitions(name: str, epsilon: float) -> None:
    loss = loss_of(name)
    np.testing.assert_allclose(
        loss.smoothed(epsilon)(Z), (1 - epsilon) * loss(Z) + epsilon * loss(-Z), rtol=1e-11, atol=1e-12
    )
    expected = ((1 - epsilon) * loss(Z) - epsilon * loss(-Z)) / (1 - 2 * epsilon)
    np.testing.assert_allclose(loss.robust(epsilon)(Z), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(loss.soft_label(1 - epsilon)(Z), loss.smoothed(epsilon)(Z), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_robust_undoes_the_noise_it_is_made_for(name: str) -> None:
    """The expected robust loss under flips of probability ε is the clean loss (Natarajan et al. 2013, lemma 1)."""
    loss = loss_of(name)
    robust = loss.robust(0.2)
    np.testing.assert_allclose(0.8 * robust(Z) + 0.2 * robust(-Z), loss(Z), rtol=1e-10, atol=1e-10)


def test_smoothed_dpo_is_the_catalogue_member() -> None:
    z = np.array([-1000.0, -3.0, 0.0, 5.0, 1000.0])
    for order in (0, 1, 2):
        np.testing.assert_allclose(
            gpo.get_loss("dpo").smoothed(0.1).derivative(z, order),
            gpo.get_loss("cdpo").derivative(z, order),
            rtol=1e-13,
        )
        np.testing.assert_allclose(
            gpo.get_loss("dpo").robust(0.1).derivative(z, order), gpo.get_loss("rdpo").derivative(z, order), rtol=1e-13
        )


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "lrml"])
def test_rescaled_has_slope_minus_one(name: str) -> None:
    loss = loss_of(name)
    rescaled = loss.rescaled()
    assert float(rescaled.derivative(0.0)) == pytest.approx(-1.0, abs=1e-14)
    ratio = rescaled(Z) / np.where(loss(Z) == 0, 1.0, loss(Z))
    assert np.ptp(ratio[loss(Z) != 0]) < 1e-10


def test_rescaling_needs_a_negative_slope() -> None:
    with pytest.raises(ValueError, match="f′\\(0\\) of lrml is"):
        gpo.get_loss("lrml").rescaled()
    with pytest.raises(ValueError, match="does not exist"):
        gpo.parse_loss("max(0,-z)").rescaled()
    with pytest.raises(ValueError, match="is 0"):
        gpo.parse_loss("z**2").rescaled()


@pytest.mark.parametrize("bad", [-0.1, 0.6, float("nan"), float("inf"), "0.1", None, True])
def test_bad_epsilon(bad: object) -> None:
    loss = gpo.get_loss("dpo")
    with pytest.raises(ValueError, match="epsilon must be a number in"):
        loss.smoothed(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epsilon must be a number in"):
        loss.robust(bad)  # type: ignore[arg-type]


def test_bad_probability_and_edges() -> None:
    loss = gpo.get_loss("dpo")
    with pytest.raises(ValueError, match="probability must be a number in"):
        loss.soft_label(1.2)
    with pytest.raises(ValueError, match=r"got 0\.5"):
        loss.robust(0.5)
    assert loss.smoothed(sympy.Rational(1, 3)).expression.has(sympy.Rational(1, 3))
    np.testing.assert_allclose(loss.soft_label(0.0)(Z), loss(-Z))
    np.testing.assert_allclose(loss.soft_label(1)(Z), loss(Z))
