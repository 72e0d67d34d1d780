"""Where a lone pair's loss turns from falling to rising, and where it never does."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.solvers.pair_minima import _turning


@pytest.mark.parametrize(
    ("text", "turn"),
    [
        ("(z-1)**2", 1.0), ("exp(-z) + z/2", np.log(2)), ("sqrt(1+(z+3)**2)", -3.0),
        ("log(1+exp(-z))", np.nan), ("1 - z", np.nan), ("exp(z)", np.nan), ("min(1, (z-1)**2)", np.nan),
    ],
)  # fmt: skip
def test_the_last_turn_of_a_loss_that_is_not_flat_far_out(text: str, turn: float) -> None:
    loss = gpo.parse_loss(text)
    shape = shape_of(loss)
    assert (shape.flat_from is not None) == text.startswith("min")
    assert _turning(loss, shape) == pytest.approx(turn, abs=1e-12, nan_ok=True)
