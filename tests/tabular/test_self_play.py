"""Self-play against the solver's equilibrium, closed forms and the offline optimum."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.tabular.self_play import self_play

REFERENCE = np.array([0.4, 0.3, 0.2, 0.1])


def game(seed: int) -> np.ndarray:
    upper = np.triu(np.random.default_rng(seed).uniform(size=(4, 4)), 1)
    return upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(4)


@pytest.mark.parametrize("seed", range(5))
def test_online_ipo_rests_at_the_regularized_nash_policy(seed: int) -> None:
    path = self_play(game(seed), REFERENCE, 0.25, step=0.1, steps=600)
    np.testing.assert_allclose(path[-1], gpo.nash_policy(game(seed), REFERENCE, 0.25).policy, atol=1e-9)
    np.testing.assert_allclose(path.sum(axis=1), 1.0, atol=1e-12)


def test_a_full_step_is_the_offline_optimum_of_squared() -> None:
    path = self_play(game(1), REFERENCE, 0.3, step=1.0, steps=1)
    offline = PreferenceProblem(game(1), REFERENCE, REFERENCE).solve("squared", 0.6).policy
    np.testing.assert_allclose(path[1], offline, atol=1e-10)


def test_nash_md_is_off_in_proportion_to_its_step() -> None:
    nash = gpo.nash_policy(game(2), REFERENCE, 0.3).policy
    off = [
        np.abs(self_play(game(2), REFERENCE, 0.3, step=s, steps=int(60 / s), opponent="mixture")[-1] - nash).sum()
        for s in (0.02, 0.01)
    ]
    assert off[0] / off[1] == pytest.approx(2.0, rel=0.03)
    assert off[1] > 1e-5


def test_two_responses_have_a_closed_form() -> None:
    path = self_play([[0.5, 1.0], [0.0, 0.5]], [0.5, 0.5], 0.5, step=0.5, steps=100)
    assert path[-1, 0] == pytest.approx(1 / (1 + np.exp(-1.0)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau": 0.0}, "tau must be"),
        ({"step": 0.0}, r"step must lie in \(0, 1\]"),
        ({"step": 1.5}, "got 1.5"),
        ({"steps": 0}, "steps must be"),
        ({"opponent": "self"}, "accepted are 'policy' and 'mixture'"),
        ({"reference": [0.5, 0.5]}, "preference must have shape"),
        ({"preference": np.full((4, 4), 0.4)}, "must satisfy"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    given = {"preference": game(0), "reference": REFERENCE, "tau": 0.2, "step": 0.1, "steps": 5, **change}
    with pytest.raises(ValueError, match=message):
        self_play(given.pop("preference"), given.pop("reference"), given.pop("tau"), **given)
