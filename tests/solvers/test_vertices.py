"""Kinks and cusps of losses that are not convex, on data that no policy fits; levels at infinity; descents left."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import differential_evolution

import gpo_analysis as gpo
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.vertices import _trees, minimise_at_vertices

CYCLE = [[0.5, 0.7, 0.2], [0.3, 0.5, 0.9], [0.8, 0.1, 0.5]]


def random_problem(seed: int, n: int) -> gpo.PreferenceProblem:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.uniform(0.02, 0.98, (n, n)), 1)
    return gpo.PreferenceProblem(upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n), rng.dirichlet(np.full(n, 3.0)))


def brute(problem: gpo.PreferenceProblem, loss: gpo.MarginLoss) -> float:
    """The least E f on a fine lattice that holds the kinks at ±1, and what evolution finds between."""
    steps = np.arange(-3.0, 3.01, 0.25)
    lattice = min(problem.loss_at(np.append(x, 0.0), loss, 1.0) for x in itertools.product(steps, repeat=problem.n - 1))
    found = differential_evolution(
        lambda x: problem.loss_at(np.append(x, 0.0), loss, 1.0), [(-3, 3)] * (problem.n - 1), seed=1, maxiter=60
    )
    return min(lattice, found.fun)


@pytest.mark.parametrize("text", ["sqrt(abs(z-1))", "abs(z-1)**0.3", "abs(z-1)**0.3+sqrt(abs(z+1/2))"])
@pytest.mark.parametrize("seed", [None, 3])
def test_cusps_on_inconsistent_data(text: str, seed: int | None) -> None:
    problem = gpo.PreferenceProblem(CYCLE) if seed is None else random_problem(seed, 3)
    loss = gpo.parse_loss(text, name=text)
    assert shape_of(loss).concave_between_kinks
    found = problem.fit(loss)
    assert found.status == "stationary point"
    assert found.reason.startswith("the global minimum: f is concave between its kinks")
    assert problem.loss_at(found.reward, loss, 1.0) == pytest.approx(found.value, abs=1e-7)  # √ of rounding at a cusp
    assert found.value <= brute(problem, loss) + 1e-7


def test_a_cusp_by_hand() -> None:
    """Two responses, √|z − 1| with p = 0.8: 0.8 √|z − 1| + 0.2 √|z + 1| is least at z = 1, where it is 0.2 √2."""
    problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]], [0.5, 0.5])
    loss = gpo.parse_loss("sqrt(abs(z-1))")
    found = problem.fit(loss)
    assert found.reward == pytest.approx([0.5, -0.5], abs=1e-15)
    assert found.value == pytest.approx(0.5 * 0.2 * np.sqrt(2) + 0.5 * 1.0, rel=1e-14)


def test_straight_pieces_that_many_policies_share() -> None:
    loss = gpo.parse_loss("min(1,max(0,1-z))")
    for seed in range(3):
        problem = random_problem(seed, 4)
        found = problem.fit(loss)
        assert found.status == "not unique"
        orders = [
            problem.loss_at(30.0 * np.array(order, dtype=float), loss, 1.0)
            for order in itertools.permutations(range(4))
        ]
        assert found.value <= min(orders) + 1e-12
        assert found.value == pytest.approx(min(orders), abs=1e-12)


@pytest.mark.parametrize("text", ["abs(z-1)-exp(-z**2)/2", "sqrt(abs(z-1))+z**2/50", "abs(z-1)+1/(1+exp(2*z))**2"])
def test_kinks_beside_curvature(text: str) -> None:
    loss = gpo.parse_loss(text, name=text)
    for seed in (0, 1):
        problem = random_problem(seed, 3)
        found = problem.fit(loss)
        assert found.status == "stationary point", found.reason
        assert found.value <= brute(problem, loss) + 1e-7
        around = np.random.default_rng(0).normal(size=(200, 3)) * 1e-3
        assert min(problem.loss_at(found.reward + x, loss, 1.0) for x in around) >= found.value - 1e-9


def test_more_than_two_levels_at_infinity() -> None:
    """A steep sigmoid counts who is above whom: the best ranking of all is lower than any two levels."""
    loss = gpo.parse_loss("atan(-20*(z-2))/10")
    problem = gpo.PreferenceProblem(
        [[0.5, 0.0681027341132, 0.9999999997562], [0.9318972658868, 0.5, 0.6660578508657],
         [2.438e-10, 0.3339421491343, 0.5]], [0.3567650848390239, 0.20758772433380748, 0.4356471908271686],
    )  # fmt: skip
    found = problem.fit(loss)
    ends = [problem.loss_at(1e7 * np.array(order), loss, 1.0) for order in itertools.permutations((0.0, 1.0, 2.0))]
    assert found.status == "no finite optimum"
    assert found.value == pytest.approx(min(ends), abs=1e-8)


def test_a_descent_that_was_left_is_undecided_and_not_without_optimum() -> None:
    """(1 − z)³ for z < 0 beside −z: with weights of 1e-12 the minimum lies beyond margins of 1e5, but there is one."""
    problem = gpo.PreferenceProblem([[0.5, 1 - 2.7e-12], [2.7e-12, 0.5]])
    found = problem.fit(gpo.parse_loss("max(1-z,(1-z)**3)"))
    assert found.status in ("undecided", "stationary point", "optimum")
    if found.status == "undecided":
        assert "bound from above" in found.reason
    both = problem.fit(gpo.parse_loss("-z**2/5-logcosh(0.3-z)/5"))
    assert (both.status, both.value) == ("unbounded below", -np.inf)


def test_all_trees() -> None:
    for n, count in ((2, 1), (3, 3), (4, 16), (5, 125)):  # Cayley: n^(n−2)
        trees = {frozenset(frozenset(edge) for edge in tree.tolist()) for tree in _trees(n)}
        assert len(trees) == count
        assert all(len(tree) == n - 1 and len(frozenset().union(*tree)) == n for tree in trees)


@pytest.mark.parametrize("wins", [0.6, 0.8])
def test_straight_pieces_with_one_minimum_are_no_flat_ones(wins: float) -> None:
    """p |z − 1| + (1 − p) |z + 1| between z = ±1, capped far out: least at z = 1 alone, where it is 2 (1 − p)."""
    loss = gpo.parse_loss("min(abs(z-1), 3)")
    shape = shape_of(loss)
    assert shape.straight
    pairs = WeightedPairs(2, np.array([0, 1]), np.array([1, 0]), np.array([wins, 1 - wins]), 0.0, ("a", "b"), None)
    found = minimise_at_vertices(pairs, loss, shape)
    assert found is not None
    assert found.status == "stationary point"
    np.testing.assert_allclose(found.reward, [0.5, -0.5], atol=1e-15)
    assert found.value == pytest.approx(2 * (1 - wins), rel=1e-14)
    level = WeightedPairs(2, np.array([0, 1]), np.array([1, 0]), np.array([0.5, 0.5]), 0.0, ("a", "b"), None)
    every = minimise_at_vertices(level, loss, shape)  # |z| ≤ 1 all cost the same
    assert every is not None
    assert every.status == "not unique"
    assert every.value == pytest.approx(1.0)
