"""What is said of the lowest of several descents on a loss that is not convex."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.solvers.faces import Intervals
from gpo_analysis.solvers.minimum import Minimum, Status
from gpo_analysis.solvers.nonconvex import _described
from gpo_analysis.solvers.pairs import WeightedPairs


def end(value: float, iterations: int, intervals: Intervals | None = None) -> Minimum:
    return Minimum(np.array([0.5, -0.5]), value, Status.OPTIMUM, "", 0.0, iterations, intervals)


@pytest.mark.parametrize("count", [1, 3])
def test_a_minimum_at_kinks_is_called_local(count: int) -> None:
    pairs = WeightedPairs(2, np.array([0, 1]), np.array([1, 0]), np.array([0.7, 0.3]), 0.0, ("a", "b"), None)
    at = Intervals(np.array([0]), np.array([1]), np.ones(1), np.ones(1))
    found = [end(1.0, 4, at), end(2.0, 9, at), end(3.0, 2, at)][:count]
    loss = gpo.parse_loss("min(2, abs(z-1))")
    told = _described(pairs, loss, shape_of(loss), found, 0, 0.5)
    assert told.status is Status.STATIONARY_POINT
    assert told.value == 1.0
    assert told.iterations == (4 if count == 1 else 9)
    start = "the one" if count == 1 else "the lowest of several"
    assert told.reason == (
        f"a local minimum, at kinks of f, {start} that descents came to; f is not convex, so it need not be the "
        "global minimum"
    )
