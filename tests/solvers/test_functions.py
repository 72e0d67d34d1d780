"""The unit of a loss: where its slope and curvature change, and 1 where they never do."""

from __future__ import annotations

import pytest

import gpo_analysis as gpo
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.solvers.functions import unit_of


@pytest.mark.parametrize("text", ["1 - z", "z**2", "(z-1)**2", "3*z", "abs(z)"])
def test_a_loss_without_a_scale_has_the_unit_one(text: str) -> None:
    assert unit_of(gpo.parse_loss(text)) == 1.0


@pytest.mark.parametrize("power", [-5, -1, 0, 2, 6])
def test_units_follow_the_margin_s_scale(power: int) -> None:
    """f(z / 16^k) has 16^k times the unit of f."""
    size = 16.0**power
    assert unit_of(gpo.parse_loss(f"log(1+exp(-z/{size!r}))")) == size * unit_of(get_margin_loss("logistic"))
