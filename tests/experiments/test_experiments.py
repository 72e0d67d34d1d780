"""What the short experiments rest on, computed a second way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.beta_sweep import REFERENCE, REWARDS, outcome
from experiments.beta_sweep import _best_of as best_of
from experiments.framework.discovery import find_experiments
from experiments.ipo_toys import interval, objective_of, problem_of
from experiments.journals import bradley_terry_abilities

choix = pytest.importorskip("choix")


def test_claims_and_figures_are_read_as_they_are_loaded() -> None:
    for experiment in find_experiments():
        module = experiment.load()
        assert experiment.describe() == {"name": experiment.name, "claim": module.CLAIM, "figure": module.FIGURE}


def test_the_second_computation_of_abilities_is_that_of_choix() -> None:
    wins = np.random.default_rng(0).integers(1, 20, size=(5, 5)).astype(float)
    np.fill_diagonal(wins, 0.0)
    data = [(i, j) for i in range(5) for j in range(5) for _ in range(int(wins[i, j]))]
    expected = choix.opt_pairwise(5, data)
    found = bradley_terry_abilities(wins, 500)
    np.testing.assert_allclose(found - found.mean(), expected - np.mean(expected), atol=1e-6)


def test_best_of_n_is_what_sampling_gives() -> None:
    rng = np.random.default_rng(0)
    draws = rng.choice(len(REFERENCE), size=(200_000, 3), p=REFERENCE)
    kept = np.take_along_axis(draws, np.array(REWARDS)[draws].argmax(axis=1)[:, None], axis=1)[:, 0]
    share = np.bincount(kept, minlength=len(REFERENCE)) / len(kept)
    kl = float(share @ np.log(share / np.array(REFERENCE)))
    assert best_of(3)["kl"] == pytest.approx(kl, abs=0.01)
    assert best_of(3)["top"] == pytest.approx(share.max(), abs=0.005)


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        ([0.96, 0.02, 0.02], "collapsed"),
        ([0.94, 0.03, 0.03], "balanced"),
        ([1 / 3, 1 / 3, 1 / 3], "underfit"),
        ([0.02, 0.02, 0.96], "collapsed"),
        ([np.nan, np.nan, np.nan], "collapsed"),
    ],
)
def test_verdicts_on_policies(policy: list[float], verdict: str) -> None:
    preference = np.array([[0.5, 0.7, 0.9], [0.3, 0.5, 0.8], [0.1, 0.2, 0.5]])
    found = outcome(np.array(policy), np.full(3, 1 / 3), preference)
    assert found["verdict"] == verdict


def test_exact_ipo_policies_of_the_toy() -> None:
    """Least squares by hand: on D1 the margins are 2s/3, 2s/3 and 4s/3 with s = 1/(2τ), on D3 0 and s."""
    for tau in (0.1, 0.5, 1.0, 5.0):
        s = 1 / (2 * tau)
        loss, beta = objective_of("ipo", tau)
        rho = np.linspace(-3, 3, 7)
        np.testing.assert_allclose(loss(beta * rho), (rho - s) ** 2, rtol=1e-12)
        first = problem_of("D1").solve("ipo", beta)
        np.testing.assert_allclose(first.log_ratio - first.log_ratio[1], [2 * s / 3, 0, -2 * s / 3], atol=1e-9)
        third = problem_of("D3").solve("ipo", beta)
        assert third.policy[2] == pytest.approx(np.exp(-s) / (2 + np.exp(-s)), rel=1e-9)


def test_losing_action_is_the_interval_of_student() -> None:
    mean, half = interval(pd.Series([1.0, 2.0, 3.0]))
    assert mean == 2.0
    assert half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)  # t with 2 degrees of freedom, standard deviation 1
    assert np.isnan(interval(pd.Series([1.0]))[1])
