"""Directions along which a loss never rises, against what graphs, mirror images and scipy's other solvers say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components

from gpo_analysis.solvers.recession import can_move, least_norm_within, moved_to_infinity, steepest_recession


def _pairs(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 7))
    ends = [(i, j) for i in range(n) for j in range(n) if i != j and rng.random() < 1.4 / n] or [(0, 1)]
    rows = np.zeros((len(ends), n))
    for k, (i, j) in enumerate(ends):
        rows[k, i], rows[k, j] = 1.0, -1.0
    return rows


def _in_no_cycle(rows: np.ndarray) -> np.ndarray:
    """Pairs whose winner is reached from the loser by no chain of wins: the ends lie in two strong components."""
    n = rows.shape[1]
    first, second = rows.argmax(axis=1), rows.argmin(axis=1)
    graph = np.zeros((n, n))
    graph[first, second] = 1.0
    _, label = connected_components(graph, directed=True, connection="strong")
    return np.asarray(label[first] != label[second])


@pytest.mark.parametrize("seed", range(12))
def test_margins_that_run_off_are_those_of_pairs_in_no_cycle(seed: int) -> None:
    rows = _pairs(seed)
    weight = np.random.default_rng(seed).uniform(0.2, 3.0, len(rows))
    expected = _in_no_cycle(rows)
    for right in (0.0, -0.0):  # f that falls to a limit on the right: logistic
        assert moved_to_infinity(rows, weight, -1.0, right).tolist() == expected.tolist()
    assert moved_to_infinity(rows, weight, -np.inf, 0.0).tolist() == expected.tolist()  # exponential
    # mirror images, f(−z) on the pairs turned round
    assert moved_to_infinity(-rows, weight, 0.0, 1.0).tolist() == expected.tolist()
    assert moved_to_infinity(-rows, weight, 0.0, np.inf).tolist() == expected.tolist()
    assert not moved_to_infinity(rows, weight, -1.0, 1.0).any()  # a loss that rises on both sides lets none go


def test_the_random_graphs_have_cycles_and_none() -> None:
    shares = [_in_no_cycle(_pairs(seed)).mean() for seed in range(12)]
    assert min(shares) < 0.6 < max(shares)


@pytest.mark.parametrize("seed", range(6))
def test_a_falling_tail_is_the_steepest_of_many_directions(seed: int) -> None:
    """Robust logistic: slopes −1.125 and −0.125, so that R(d) < 0 where one side wins often enough."""
    rows = _pairs(seed)
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.2, 3.0, len(rows))
    left, right = -1.125, -0.125

    def rate(d: np.ndarray) -> np.ndarray:
        m = d @ rows.T
        return np.asarray((right * np.maximum(m, 0) - left * np.maximum(-m, 0)) @ weight)

    # R is linear between the planes d_i = d_j, so that on pairs its least value over the cube stands in a corner
    corners = 2.0 * ((np.arange(2 ** rows.shape[1])[:, None] >> np.arange(rows.shape[1])) & 1) - 1.0
    found = steepest_recession(rows, weight, left, right)
    assert found == pytest.approx(min(rate(corners).min(), 0.0), abs=1e-9)
    assert found <= min(rate(rng.uniform(-1, 1, (4000, rows.shape[1]))).min(), 0.0) + 1e-9


def test_slopes_of_both_signs_have_no_falling_direction() -> None:
    rows, weight = _pairs(1), np.ones(len(_pairs(1)))
    for slopes in ((-1.0, 1.0), (-1.0, 0.0), (0.0, 2.0), (-np.inf, np.inf)):
        assert steepest_recession(rows, weight, *slopes) == 0.0


@pytest.mark.parametrize("seed", range(8))
def test_the_least_norm_between_bounds_is_that_of_a_quadratic_program(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, inside = rng.normal(size=(5, 3)), rng.normal(size=3) * 2
    lower, upper = rows @ inside - rng.uniform(0, 1, 5), rows @ inside + rng.uniform(0, 1, 5)
    lower[0], upper[1] = -np.inf, np.inf
    found = least_norm_within(rows, lower, upper, inside)
    bounds = [
        {"type": "ineq", "fun": lambda v, k=k, s=s, b=b: s * (rows[k] @ v - b)}
        for s, ends in ((1, lower), (-1, upper)) for k, b in enumerate(ends) if np.isfinite(b)
    ]  # fmt: skip
    theirs = minimize(lambda v: v @ v, inside, jac=lambda v: 2 * v, constraints=bounds, method="SLSQP",
                      options={"ftol": 1e-14, "maxiter": 200})  # fmt: skip
    assert found == pytest.approx(theirs.x, abs=1e-6)
    assert (rows @ found >= lower - 1e-7).all()
    assert (rows @ found <= upper + 1e-7).all()


def test_no_bounds_give_zero_and_contradictory_ones_the_start() -> None:
    start = np.array([1.0, -2.0])
    nothing = np.full(2, np.inf)
    assert least_norm_within(np.eye(2), -nothing, nothing, start).tolist() == [0.0, 0.0]
    rows = np.array([[1.0, 0.0], [1.0, 0.0]])
    given = least_norm_within(rows, np.array([1.0, -np.inf]), np.array([np.inf, 0.5]), start)
    assert given is start


@pytest.mark.parametrize("seed", range(5))
def test_bounds_that_contradict_each_other_a_little_give_the_start_or_what_they_nearly_allow(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(2, 2)), 2, axis=0)
    start = rng.normal(size=2)
    for gap in 10.0 ** -np.arange(1.0, 14.0, 0.5):
        middle = rng.normal(size=2)
        lower = np.array([middle[0] + gap, -np.inf, middle[1], -np.inf])
        upper = np.array([np.inf, middle[0] - gap, np.inf, middle[1] + 1.0])
        found = least_norm_within(rows, lower, upper, start)
        short = max(np.max(lower - rows @ found), np.max(rows @ found - upper))
        assert found is start or short <= 1e-6, gap


def test_only_one_point_or_more() -> None:
    rows = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [1.0, 1.0, 1.0]])
    v = np.array([0.5, 0.0, -0.5])
    margins = rows @ v
    assert not can_move(rows, margins, margins, margins)  # all held on both sides
    assert can_move(rows[:2], margins[:2], margins[:2], margins[:2])  # a common shift
    assert can_move(rows, margins, margins, margins + 1.0)  # every margin may grow
    # held from below by three rows, from above by the sum of two of them: those are fixed, the third is not
    more = np.vstack([rows, rows[0] + rows[1]])
    lower = np.append(margins, -np.inf)
    upper = np.append(np.full(3, np.inf), margins[0] + margins[1])
    assert can_move(more, more @ v, lower, upper)
    upper[2] = margins[2]
    assert not can_move(more, more @ v, lower, upper)
