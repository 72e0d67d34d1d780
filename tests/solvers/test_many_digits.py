"""Problems whose weights differ by more than floats hold, under a loss that is straight where the strong ones end."""

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.precise import minimise_precisely


@pytest.mark.parametrize("difference", [20.0, 36.0, 37.0, 38.0, 40.0, 50.0, 100.0, 700.0])
def test_two_responses_that_are_certain_to_rounding(difference):
    """p (1 − d)² + (1 − p)(1 + d)² is least at d = 2p − 1, which is tanh(difference/2)."""
    fit = gpo.PreferenceProblem(gpo.bradley_terry([0.0, difference])).fit("truncated_quadratic")
    assert fit.status == Status.OPTIMUM
    assert fit.reward[1] - fit.reward[0] == pytest.approx(np.tanh(difference / 2), rel=1e-14)


@pytest.mark.parametrize(
    ("rewards", "margins"),
    [
        # from one response to the next above it: 1 where p rounds to 1, for all weak pairs pull together; 2p − 1 where
        # the two are alone with each other
        ([0.0, 40.0, 80.0], {(1, 0): 1.0, (2, 1): 1.0}),
        ([-37.0, -39.0, 3.0, 40.0, -100.0], {(0, 1): np.tanh(1.0), (2, 0): 1.0, (3, 2): 1.0, (1, 4): 1.0}),
        ([-100.0, 0.0, 2.0, 300.0], {(1, 0): 1.0, (2, 1): np.tanh(1.0), (3, 2): 1.0}),
    ],
)
def test_weak_pairs_decide_on_the_flat_piece(rewards, margins):
    """Certain pairs are content with any margin from 1 on: which, is up to pairs of weight e⁻⁴⁰ and less."""
    fit = gpo.PreferenceProblem(gpo.bradley_terry(rewards)).fit("truncated_quadratic")
    assert fit.status == Status.OPTIMUM
    for (i, j), margin in margins.items():
        assert fit.reward[i] - fit.reward[j] == pytest.approx(margin, abs=1e-13)


def test_too_many_responses_for_many_digits_are_not_called_an_optimum():
    rewards = 20.0 * np.arange(32)
    fit = gpo.PreferenceProblem(gpo.bradley_terry(rewards)).fit("truncated_quadratic")
    assert fit.status == Status.NOT_CONVERGED
    assert "straight pieces" in fit.reason or "Newton" in fit.reason


def test_groups_that_are_not_compared():
    """Each is solved by itself: (a − b)/(a + b) of its wins and losses, which rounds to 1 for two of them."""
    winner, loser = np.array([0, 1, 2, 3, 4, 5]), np.array([1, 0, 3, 2, 5, 4])
    weight = np.array([1.0, 1e-17, 1.0, 1e-22, 3.0, 1.0])
    pairs = WeightedPairs(6, winner, loser, weight, 0.0, tuple("abcdef"), None)
    found = minimise_precisely(pairs, gpo.get_loss("truncated_quadratic"), np.zeros(6))
    assert found is not None
    assert found.status == Status.OPTIMUM
    np.testing.assert_allclose(found.reward[0::2] - found.reward[1::2], [1.0, 1.0, 0.5], rtol=1e-13)
    np.testing.assert_allclose(found.reward[0::2] + found.reward[1::2], 0.0, atol=1e-13)
