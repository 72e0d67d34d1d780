"""Piecewise linear losses: linear programs, against cvxpy, and on weights of very different size."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from scipy.special import expit

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons
from gpo_analysis.solvers.program import linear_program
from gpo_analysis.tabular import PreferenceProblem

SHAPES = {
    "hinge": ("max(0, 1 - z)", lambda d: cp.pos(1 - d)),
    "absolute": ("abs(z - 1)", lambda d: cp.abs(d - 1)),
    "perceptron": ("max(0, -z)", lambda d: cp.pos(-d)),
    "three kinks": (
        "max(0, 1 - z) + max(0, -z)/2 + max(0, z - 3)/4",
        lambda d: cp.pos(1 - d) + cp.pos(-d) / 2 + cp.pos(d - 3) / 4,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_minimum_agrees_with_cvxpy(name, seed):
    rng = np.random.default_rng(seed)
    n = 5
    upper = np.triu(expit(2 * rng.normal(size=(n, n))), 1)
    problem = PreferenceProblem(upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n), rng.dirichlet(np.ones(n)))
    text, atom = SHAPES[name]
    loss = gpo.parse_loss(text, name=name)
    found = problem.solve(loss, 1.0)
    pairs = problem.directed_pairs()
    h = cp.Variable(n)
    terms = [w * atom(h[i] - h[j]) for i, j, w in zip(pairs.winner, pairs.loser, pairs.weight, strict=True)]
    program = cp.Problem(cp.Minimize(cp.sum(terms)))
    program.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    value = program.value + pairs.diagonal_mass * float(loss(0.0))
    assert found.population_loss == pytest.approx(value, rel=1e-8)
    at = found.log_ratio if found.converged else found.representative
    assert problem.loss_at(at, loss, 1.0) == pytest.approx(found.population_loss, rel=1e-12)


def test_hinge_margins_are_whole_numbers():
    rng = np.random.default_rng(1)
    wins = rng.integers(1, 50, size=(8, 8))
    found = PreferenceProblem.from_comparisons(Comparisons.from_counts(wins)).solve("hinge", 1.0)
    assert found.converged
    np.testing.assert_allclose(found.margins, np.round(found.margins), atol=1e-12)
    assert np.abs(found.margins).max() >= 1


@pytest.mark.parametrize("rare", [1e-3, 1e-9, 1e-13, 1e-20, 1e-40])
def test_rare_wins_are_not_rounded_away(rare):
    # One win in a trillion the other way is enough to hold the margin at 1: the optimum is unique.
    games = Comparisons.from_pairs([("a", "b", 1.0), ("b", "a", rare), ("b", "c", 1.0), ("c", "b", rare)])
    found = PreferenceProblem.from_comparisons(games).solve("hinge", 1.0)
    assert found.status == "optimum"
    np.testing.assert_allclose(found.scores, [1, 0, -1], atol=1e-12)
    assert found.population_loss == pytest.approx(2 * rare / (1 + rare), rel=1e-8)


def test_rare_wins_decide_between_groups():
    # Within each pair all is even; between the pairs only rare wins tell, two against one.
    rare = 1e-10
    games = [("a", "b", 2), ("b", "a", 1), ("c", "d", 2), ("d", "c", 1), ("b", "c", 2 * rare), ("c", "b", rare)]
    found = PreferenceProblem.from_comparisons(Comparisons.from_pairs(games)).solve("hinge", 1.0)
    assert found.status == "optimum"
    np.testing.assert_allclose(-np.diff(found.scores), [1, 1, 1], atol=1e-12)


def test_an_infeasible_program_is_not_passed_over():
    with pytest.raises(RuntimeError, match="not solved"):
        linear_program(np.ones(1), np.ones((1, 1)), np.array([2.0]), np.zeros(1), np.ones(1))
