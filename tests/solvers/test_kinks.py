"""Convex losses with kinks and curvature, against cvxpy."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from scipy.special import expit

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons
from gpo_analysis.solvers import optimum
from gpo_analysis.tabular import PreferenceProblem

LOSSES = {
    "elastic hinge": ("max(0, 1 - z) + z**2/10", lambda d: cp.pos(1 - d) + cp.square(d) / 10),
    "two kinks": (
        "max(0, 1 - z) + abs(z) + (z - 1/2)**2/4",
        lambda d: cp.pos(1 - d) + cp.abs(d) + cp.square(d - 0.5) / 4,
    ),
    "exponential and kink": ("exp(-z) + max(0, z - 1/2)", lambda d: cp.exp(-d) + cp.pos(d - 0.5)),
    "flat, kink, curve": ("max(0, 1 - z)**2 + max(0, 1 - z)/2", lambda d: cp.square(cp.pos(1 - d)) + cp.pos(1 - d) / 2),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(6))
def test_minimum_agrees_with_cvxpy(name, seed):
    rng = np.random.default_rng(seed)
    n = 2 + seed
    upper = np.triu(expit(2 * rng.normal(size=(n, n))), 1)
    problem = PreferenceProblem(upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n), rng.dirichlet(np.ones(n)))
    text, atom = LOSSES[name]
    loss = gpo.parse_loss(text, name=name)
    found = problem.solve(loss, 1.0)
    pairs = problem.directed_pairs()
    h = cp.Variable(n)
    terms = [w * atom(h[i] - h[j]) for i, j, w in zip(pairs.winner, pairs.loser, pairs.weight, strict=True)]
    program = cp.Problem(cp.Minimize(cp.sum(terms)), [h[0] == 0])
    program.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    value = program.value + pairs.diagonal_mass * float(loss(0.0))
    assert found.population_loss == pytest.approx(value, rel=1e-8)
    assert found.status in ("optimum", "not unique")
    at = found.log_ratio if found.converged else found.representative
    assert problem.loss_at(at, loss, 1.0) == pytest.approx(found.population_loss, rel=1e-10)
    if found.converged and name != "flat, kink, curve":
        np.testing.assert_allclose(found.log_ratio - found.log_ratio[0], h.value, atol=1e-4)


def test_margins_stick_to_the_kink():
    loss = gpo.parse_loss("max(0, 1 - z) + z**2/100")
    for eta in (0.6, 0.7, 0.9):
        found = PreferenceProblem([[0.5, eta], [1 - eta, 0.5]]).solve(loss, 1.0)
        assert found.status == "optimum"
        assert found.margins.max() == pytest.approx(1.0, abs=1e-12)


def test_separable_and_split_problems_are_said():
    loss = gpo.parse_loss("max(0, 1 - z)**2 + max(0, 1 - z)/2")
    chain = PreferenceProblem.from_comparisons(Comparisons.from_pairs([("a", "b", 2), ("b", "a"), ("b", "c")]))
    found = chain.solve(loss, 1.0)
    assert found.status == "not unique"
    assert found.representative[1] - found.representative[2] == pytest.approx(1.0, abs=1e-9)
    two = PreferenceProblem.from_comparisons(Comparisons.from_pairs([("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]))
    found = two.solve(loss, 1.0)
    assert found.status == "not unique"
    assert found.reason.startswith("the comparison graph has 2 components")
    falling = gpo.parse_loss("exp(-z) + max(0, -z)")
    assert chain.solve(falling, 1.0).status == "no finite optimum"


def test_too_large_a_problem_is_said(monkeypatch):
    monkeypatch.setattr(optimum, "KINKED_AT_MOST", 1)
    found = PreferenceProblem(gpo.bradley_terry([0.0, 1.0])).solve(gpo.parse_loss("max(0, 1 - z) + z**2"), 1.0)
    assert found.status == "not converged"
    assert found.reason.startswith("losses with both kinks and curvature")
    assert not found.converged


@pytest.mark.parametrize("difference", [10.0, 20.0, 30.0, 36.0])
def test_a_kinked_loss_on_nearly_certain_preferences(difference):
    # the heavy pair's slope is 0 at its minimum and the other's below the rounding: "the slopes do not balance"
    problem = PreferenceProblem(gpo.bradley_terry([0.0, difference]))
    p, q = float(problem.preference[1, 0]), float(problem.preference[0, 1])
    found = problem.fit(gpo.parse_loss("softplus(-z)+abs(z)/10"))
    x = (0.1 * p + 1.1 * q) / (p + q)  # p (0.1 − x) = q (x − 1.1), x = σ(−z)
    assert found.status == "optimum", found.reason
    np.testing.assert_allclose(found.reward[1] - found.reward[0], np.log((1 - x) / x), rtol=1e-9)
