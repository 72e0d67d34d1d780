"""Polygonal losses by OR-tools' flows of least cost: against HiGHS, networkx and pairs whose answer is known."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy.special import expit

import gpo_analysis as gpo
from gpo_analysis.solvers import linear
from gpo_analysis.solvers.network import multiples

pytest.importorskip("ortools")

LOSSES = {
    "hinge": "max(0, 1 - z)",
    "absolute": "abs(z - 1)",
    "perceptron": "max(0, -z)",
    "three kinks": "max(0, 1 - z) + max(0, -z)/2 + max(0, z - 3)/4",
    "kinks without a common unit": "max(0, 1 - z) + max(0, sqrt(2) - z)",
    "slopes without a common unit": "max(0, 1 - z) + pi*max(0, z - 4)",
}


def random_problem(n: int, k: int, *, fractions: bool, seed: int = 0) -> gpo.PreferenceProblem:
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=n)
    i = rng.integers(n, size=k)
    j = (i + rng.integers(1, n, size=k)) % n
    first = rng.random(k) < expit(rewards[i] - rewards[j])
    count = rng.random(k) + 0.5 if fractions else None
    return gpo.PreferenceProblem.from_comparisons(gpo.Comparisons(np.where(first, i, j), np.where(first, j, i), count))


def solved(problem: gpo.PreferenceProblem, loss: object, monkeypatch: pytest.MonkeyPatch, many: float) -> object:
    monkeypatch.setattr(linear, "MANY", many)
    return problem.fit(loss)  # type: ignore[arg-type]


@pytest.mark.parametrize("fractions", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_the_network_and_the_linear_program_agree(name, fractions, monkeypatch):
    problem, loss = random_problem(40, 2000, fractions=fractions), gpo.parse_loss(LOSSES[name], name=name)
    network, program = (solved(problem, loss, monkeypatch, many) for many in (0, np.inf))
    assert network.minima[0].gap <= 1e-11
    assert np.isnan(program.minima[0].gap)
    assert network.status == program.status
    assert network.value == pytest.approx(program.value, rel=1e-11)
    np.testing.assert_allclose(network.minimiser, program.minimiser, atol=1e-8)


def test_the_value_is_that_of_networkx(monkeypatch):
    problem = random_problem(12, 300, fractions=False)
    found = solved(problem, "hinge", monkeypatch, 0)
    games = problem.comparisons
    graph = nx.MultiDiGraph()
    for i, j, count in zip(games.winner.tolist(), games.loser.tolist(), games.count.tolist(), strict=True):
        graph.add_edge(i, j, capacity=int(count), weight=-1)
    cost, _ = nx.network_simplex(graph)
    assert found.value == pytest.approx(-cost / games.total, rel=1e-13)


def test_many_optima_are_described_as_by_the_linear_program(monkeypatch):
    # Two groups that beat each other equally often: between them the hinge leaves room from −1 to 1.
    within = [
        (f"{group}{i}", f"{group}{j}", 5 if i < j else 2)
        for group in "xy"
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    across = [("x0", "y0", 3), ("y0", "x0", 3)]
    problem = gpo.PreferenceProblem.from_comparisons(gpo.Comparisons.from_pairs(within + across))
    network, program = (solved(problem, "hinge", monkeypatch, many) for many in (0, np.inf))
    assert network.status == program.status == "not unique"
    np.testing.assert_allclose(network.minimiser, program.minimiser, atol=1e-12)
    at = problem.loss_at(network.minimiser, "hinge", 1.0)
    assert at == pytest.approx(network.value, rel=1e-12)


@pytest.mark.parametrize("rare", [1, 3])
def test_counts_of_very_different_size_stay_exact(rare, monkeypatch):
    # beyond the tolerances of a linear program, and yet whole numbers
    games = [("a", "b", 10**9), ("b", "a", rare), ("b", "c", 10**9), ("c", "b", rare)]
    problem = gpo.PreferenceProblem.from_comparisons(gpo.Comparisons.from_pairs(games))
    found = solved(problem, "hinge", monkeypatch, 0)
    np.testing.assert_allclose(found.reward, [1, 0, -1], atol=1e-12)
    assert found.minima[0].gap >= 0


def test_without_the_solver_the_linear_program_answers(monkeypatch):
    problem = random_problem(20, 400, fractions=False)
    wanted = solved(problem, "hinge", monkeypatch, 0)
    monkeypatch.setattr(linear, "is_available", lambda: False)
    found = problem.fit("hinge")
    assert np.isnan(found.minima[0].gap)
    assert found.value == pytest.approx(wanted.value, rel=1e-11)


def test_a_hundred_thousand_comparisons_and_a_long_chain():
    found = random_problem(2000, 100_000, fractions=False).fit("hinge")
    assert found.minima[0].gap <= 1e-11
    margins = found.minimiser[:, None] - found.minimiser[None]
    assert found.value < 1
    assert np.isfinite(margins).all()
    # potentials have to travel along all of it
    i = np.arange(2999)
    chain = gpo.Comparisons(np.r_[i, i + 1], np.r_[i + 1, i], np.r_[np.full(2999, 3.0), np.ones(2999)])
    at = gpo.PreferenceProblem.from_comparisons(chain).fit("hinge")
    assert at.minima[0].gap <= 1e-11
    np.testing.assert_allclose(-np.diff(at.reward), 1.0, atol=1e-12)


def test_multiples_of_one_number_and_others():
    numbers, unit, exact = multiples(np.array([0.3, 0.1, 0.25]), 2.0**-30)
    assert exact
    np.testing.assert_allclose(numbers * unit, [0.3, 0.1, 0.25], rtol=1e-12)
    numbers, unit, exact = multiples(np.array([1.0, np.sqrt(2)]), 2.0**-30)
    assert not exact
    np.testing.assert_allclose(numbers * unit, [1.0, np.sqrt(2)], rtol=2.0**-29)
