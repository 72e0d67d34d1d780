"""From the end of a solver to the answer: what was not found stays so, and floats are enough where their digits are."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.solvers import optimum
from gpo_analysis.solvers.minimum import Minimum, Status
from gpo_analysis.solvers.optimum import _Case, _under
from gpo_analysis.solvers.pairs import WeightedPairs


def two(first: float, second: float) -> WeightedPairs:
    keep = [k for k, weight in enumerate((first, second)) if weight]
    winner, loser, weight = np.array([0, 1])[keep], np.array([1, 0])[keep], np.array([first, second])[keep]
    return WeightedPairs(2, winner, loser, weight, 0.0, ("a", "b"), None)


@pytest.mark.parametrize("good", [True, False])
def test_without_a_finite_optimum_a_search_that_did_not_end_says_so_where_pairs_part(
    good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of separable pairs has a minimum, to be found; balanced slopes have none, so that none is missed."""
    monkeypatch.setattr(optimum, "minimise_by_cuts", lambda pairs, loss, start: end)
    monkeypatch.setattr(_Case, "_in_many_digits", lambda self, found: found)
    end = Minimum(np.zeros(2), 0.5, Status.OPTIMUM if good else Status.NOT_CONVERGED, "" if good else "ended early")
    parted = _Case(two(1.0, 0.0), _under(get_margin_loss("logistic")))
    assert parted.verdict.status is Status.NO_FINITE_OPTIMUM
    assert parted.verdict.separated is not None
    found = parted.concluded(end)
    assert found.status is (Status.NO_FINITE_OPTIMUM if good else Status.NOT_CONVERGED)
    assert (found.reason == "ended early") == (not good)
    level = _Case(two(5.0, 1.0), _under(gpo.parse_loss("log(1+exp(-z)) - z/4")))
    assert level.verdict.status is Status.NO_FINITE_OPTIMUM
    assert level.verdict.separated is None
    found = level.concluded(end)
    assert found.status is Status.NO_FINITE_OPTIMUM
    assert "balanced exactly" in found.reason


@pytest.mark.parametrize("least", [1.0, 1e-3, 1e-14])
def test_of_many_responses_straight_pieces_need_digits_only_where_weights_are_tiny(least: float) -> None:
    """Round a ring of 40, each pair 3 : 1; a squared hinge is flat beyond 1, where a tiny weight could decide."""
    n = 40
    around = np.arange(n)
    weight = np.concatenate([np.full(n, 3.0), np.full(n, 1.0)])
    weight[n] = least
    winner, loser = np.concatenate([around, (around + 1) % n]), np.concatenate([(around + 1) % n, around])
    pairs = WeightedPairs(n, winner, loser, weight, 0.0, tuple(map(str, around)), None)
    (found,) = optimum.optimise([pairs], gpo.parse_loss("max(0, 1-z)**2"))
    if least >= 1e-3:
        assert found.status is Status.OPTIMUM
        assert found.reason == ""
        assert found.error < 1e-9
    else:
        assert found.status is Status.NOT_CONVERGED
        assert "down to 3e-15 of the largest: too little for floats" in found.reason
