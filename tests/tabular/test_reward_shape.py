"""Rewards shaped by length at the ends: differences that are just out of reach, and one response with all mass."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.tabular.reward_shape import _Barrier, attainable, bounded_optimum, shaped_by_length


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_a_difference_of_the_whole_bound_is_reached_by_no_policy(beta: float) -> None:
    """α = −1: r = β (p − 1) lies in (−β, 0), so that a difference of β would take p = 0."""
    assert not attainable(np.array([0.0, beta]), np.ones(2), beta, -1.0)
    assert attainable(np.array([0.0, beta * (1 - 1e-9)]), np.ones(2), beta, -1.0)
    with pytest.raises(ValueError, match="bounds rewards"):
        shaped_by_length([0.0, beta], [1, 1], beta, -1.0)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1e-4])
def test_where_one_response_has_all_mass_the_others_are_still_told_apart(alpha: float) -> None:
    """(1 − π^(−α/T))/α differ by 800, 900: the best has log π = 0, so that log π = −T log(1 + α δ)/α of the others."""
    lengths, below = np.array([1.0, 3.0, 2.0]), np.array([800.0, 900.0, 0.0])
    found = shaped_by_length(-below, lengths, 1.0, alpha, log=True)
    each = below if alpha == 0 else np.log1p(alpha * below) / alpha
    np.testing.assert_allclose(found, -lengths * each, rtol=1e-12, atol=1e-15)


def test_of_points_with_one_gap_the_first_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, met = PreferenceProblem(gpo.bradley_terry([0.0, 3.0, 5.0])), []

    def level(self: _Barrier, x: FloatArray, weight: float) -> tuple[float, FloatArray]:
        met.append(x)
        return 0.5, x

    monkeypatch.setattr(_Barrier, "polished", level)
    pairs = problem.directed_pairs()
    found = bounded_optimum(pairs, pairs.diagonal_mass, get_margin_loss("dpo"), np.ones(3), 1.0, -1.0)
    assert len(met) > 1
    assert found.gap == 0.5
    np.testing.assert_allclose(np.exp(found.log_policy), met[0] / met[0].sum(), rtol=1e-12)
