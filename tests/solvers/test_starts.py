"""The start of Newton's method: what lone pairs would like best, and its projection."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

import gpo_analysis as gpo
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.solvers.newton import minimise_stack
from gpo_analysis.solvers.starts import PairStart


@pytest.mark.parametrize("name", ["logistic", "exponential", "softplus(1-z)**1.5", "sqrt(1+(1-z)**2) - 1"])
def test_the_table_holds_the_minima_of_lone_pairs(name: str) -> None:
    loss = get_margin_loss(name)
    table = PairStart.of(loss)
    assert table is not None
    for odds in (0.0, 0.25, 1.0, 2.5):
        share = 1 / (1 + np.exp(-odds))
        slope = lambda m, p=share: float(p * loss.derivative(m) - (1 - p) * loss.derivative(-m))  # noqa: E731
        margin = table.margin[round(16 * odds)]
        assert margin == pytest.approx(
            brentq(slope, -1.0, 40.0, xtol=1e-14), abs=3e-3
        )  # the table is linear between its places
        curved = share * loss.derivative(margin, 2) + (1 - share) * loss.derivative(-margin, 2)
        assert table.curvature[round(16 * odds)] == pytest.approx(float(curved), rel=1e-12)


@pytest.mark.parametrize("name", ["logistic", "exponential"])
def test_preferences_that_agree_are_solved_by_the_start(name: str) -> None:
    rng = np.random.default_rng(0)
    problems = [gpo.PreferenceProblem(gpo.bradley_terry(3 * r)) for r in rng.normal(size=(6, 7))]
    assert {fit.iterations for fit in gpo.fit(problems, name)} == {1}


@pytest.mark.parametrize("name", ["squared", "z**4/10 - z", "(z-1)**2 + 3"])
def test_no_table_where_it_would_gain_nothing_or_f_is_not_such(name: str) -> None:
    assert name != "squared" or PairStart.of(get_margin_loss("squared")) is None
    problem = gpo.PreferenceProblem([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]])
    fit = problem.fit(name)
    assert fit.converged
    f = get_margin_loss(name)
    for step in np.random.default_rng(1).normal(size=(20, 3)) * 1e-3:
        z = fit.reward + step
        at = lambda g: float((problem.pair_weights()[0] * f(g[:, None] - g)).sum())  # noqa: E731
        assert at(z) >= at(fit.reward) - 1e-15


@pytest.mark.parametrize("seed", range(4))
def test_the_start_does_not_move_the_optimum(seed: int) -> None:
    """Cycles, pairs that are never won, weights down to 1e-12, two responses: as from zeros."""
    rng = np.random.default_rng(seed)
    loss = get_margin_loss("logistic")
    table = PairStart.of(loss)
    n = (2, 3, 6, 9)[seed]
    weights = rng.random((5, n, n)) * 10.0 ** -rng.integers(0, 13, (5, 1, n))
    weights[0, 0, 1:] = 0.0
    weights[1] = rng.random((n, n))
    weights[1, 1, 0] = 0.0
    around = np.arange(n)
    weights[:, around, (around + 1) % n] += 0.1  # a ring: whatever is never won, an optimum exists
    weights[:, around, around] = 0.0
    blocks = np.zeros((5, n), dtype=np.int64)
    for one, other in zip(
        minimise_stack(weights, loss, blocks), minimise_stack(weights, loss, blocks, table), strict=True
    ):
        assert one.converged == other.converged
        assert np.abs(one.reward - other.reward).max() <= one.error + other.error + 1e-14 * np.abs(one.reward).max()


@pytest.mark.parametrize("name", ["softplus(1-z)**1.5", "sqrt(1+z**2) - z", "softplus(1-z)**3"])
def test_between_the_places_of_the_table_margins_are_right_to_three_digits(name: str) -> None:
    """Far margins too: nowhere is the grid so coarse that a straight line between two places is off."""
    loss = get_margin_loss(name)
    table = PairStart.of(loss)
    assert table is not None
    assert table.margin[-1] > 6
    for k in range(1, min(len(table.margin), 250), 3):
        share = 1 / (1 + np.exp(-k / 16))
        slope = lambda m, p=share: float(p * loss.derivative(m) - (1 - p) * loss.derivative(-m))  # noqa: E731
        assert table.margin[k] == pytest.approx(brentq(slope, -1.0, 140.0, xtol=1e-13), rel=1e-4, abs=1e-4)
