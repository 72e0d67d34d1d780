"""Losses that are not convex: stationary points said to be that, and lower values at infinity."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons
from gpo_analysis.solvers import nonconvex
from gpo_analysis.tabular import PreferenceProblem


def random_preference(n, seed, sharpness=2.0):
    upper = np.triu(expit(sharpness * np.random.default_rng(seed).normal(size=(n, n))), 1)
    return upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)


def test_savage_on_bradley_terry_is_certified():
    found = PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 3.0])).solve("savage", 1.0)
    assert found.converged
    assert found.status == "stationary point"
    assert found.reason.startswith("a local minimum")
    assert "every pair is at its own minimum" in found.reason


@pytest.mark.parametrize("name", ["savage", "lrml"])
@pytest.mark.parametrize("seed", range(3))
def test_no_start_of_scipy_finds_less(name, seed):
    problem = PreferenceProblem(random_preference(4, seed))
    found = problem.solve(name, 1.0)
    rng = np.random.default_rng(seed)

    def objective(free):
        return problem.loss_at(np.concatenate([[0.0], free]), name, 1.0)

    ends = [
        minimize(objective, 2 * rng.normal(size=3), method="Nelder-Mead", options={"fatol": 1e-13, "xatol": 1e-9})
        for _ in range(8)
    ]
    assert found.population_loss <= min(end.fun for end in ends) + 1e-9
    if found.converged:
        assert found.status == "stationary point"
        assert found.reason.startswith("a local minimum")
        for k in range(4):
            for step in (-1e-3, 1e-3):
                assert problem.loss_at(found.log_ratio + step * np.eye(4)[k], name, 1.0) > found.population_loss


def test_lrml_pushes_the_right_way_although_its_slope_at_zero_is_wrong():
    found = PreferenceProblem([[0.5, 0.9], [0.1, 0.5]]).solve("lrml", 1.0)
    assert found.converged
    assert found.policy[0] > 0.5


def test_a_descent_from_a_symmetric_maximum_leaves_it():
    # −exp(−z²): π = πref is a maximum of E f + const for any even preferences turned round; here a minimum of −(...)
    loss = gpo.parse_loss("exp(-z**2) + z**2/8")
    found = PreferenceProblem([[0.5, 0.5], [0.5, 0.5]]).solve(loss, 1.0)
    assert found.status == "not unique", "z and −z are as good"
    z = found.representative[0] - found.representative[1]
    assert z**2 == pytest.approx(np.log(8.0), rel=1e-8), "e^(−z²) = 1/8 where the derivative vanishes"


@pytest.mark.parametrize(
    ("text", "preference"),
    [("(z^2-1)^2", [[0.5, 0.7], [0.3, 0.5]]), ("(z^2-1)^2-z", gpo.cyclic(3, 0.8)), ("(z^2-1)^2", gpo.cyclic(3, 0.2))],
)
@pytest.mark.filterwarnings("ignore::gpo_analysis.losses.RisingLossWarning")
def test_two_points_as_low_are_not_one_policy(text: str, preference: Any):
    """Of three margins round a circle Σz⁴ = ½ (Σz²)²: what is lowest for one angle is so for every angle."""
    problem = PreferenceProblem(preference)
    loss = gpo.parse_loss(text)
    found = problem.solve(loss, 1.0)
    assert (found.status, found.converged) == ("not unique", False)
    assert np.isnan(found.policy).all()
    directed, h = problem.directed_pairs(), found.representative
    lowest = directed.weight @ loss(directed.margins(h[None]))
    assert lowest + problem.diagonal_weights().sum() * float(loss(0.0)) == pytest.approx(found.population_loss)
    # a turn of the circle, or the other well, is as low
    if len(h) == 2:
        other = -h
    else:
        z = np.array([h[0] - h[1], h[1] - h[2], h[2] - h[0]])
        radius, angle = np.sqrt(2 / 3 * z @ z), np.arctan2((z[2] - z[1]) / np.sqrt(3), z[0])
        turned = radius * np.cos(angle + 0.7 + 2 * np.pi / 3 * np.arange(3))
        other = np.array([0.0, -turned[0], turned[2]])
    assert directed.weight @ loss(directed.margins(other[None])) == pytest.approx(lowest, abs=1e-9)


def test_one_point_that_is_lowest_stays_an_answer():
    """A little push to one side of the two wells: their heights differ by 0.2 · 0.4 = 0.08 and only one is lowest."""
    found = PreferenceProblem([[0.5, 0.7], [0.3, 0.5]]).solve(gpo.parse_loss("(z^2-1)^2-z/10"), 1.0)
    assert (found.status, found.converged) == ("stationary point", True)
    assert found.margins[0] > 0


def test_many_responses_use_fewer_splits_and_starts():
    rewards = np.random.default_rng(0).normal(size=14)
    preference = 0.8 * gpo.bradley_terry(3 * rewards) + 0.2 * gpo.bradley_terry(rewards[::-1])
    found = PreferenceProblem(preference).solve("savage", 1.0)
    assert found.status in ("stationary point", "no finite optimum")
    cycle = Comparisons(np.arange(14), (np.arange(14) + 1) % 14)
    found = PreferenceProblem.from_comparisons(cycle).solve("savage", 1.0)
    assert found.status == "no finite optimum"
    assert found.population_loss == pytest.approx(1 / 14, abs=1e-9)


def test_a_mirrored_savage_is_the_mirror_image():
    cycle = Comparisons(np.arange(5), (np.arange(5) + 1) % 5)
    found = PreferenceProblem.from_comparisons(cycle).solve(gpo.parse_loss("1/(1+exp(-z))**2"), 1.0)
    assert found.status == "no finite optimum"
    assert found.population_loss == pytest.approx(1 / 5, abs=1e-6)


def test_lsif_falls_for_ever_on_long_cycles_only():
    for n, kind in ((3, "stationary point"), (5, "unbounded below")):
        cycle = PreferenceProblem.from_comparisons(Comparisons(np.arange(n), (np.arange(n) + 1) % n))
        assert cycle.solve("lsif", 1.0).status == kind


def test_ramp_loss_is_flat_far_out_so_that_its_minima_are_not_unique():
    ramp = gpo.parse_loss("min(1, max(0, 1 - z))")
    sure = PreferenceProblem(gpo.deterministic([0.0, 1.0])).solve(ramp, 1.0)
    assert sure.status == "not unique"
    assert sure.reason.startswith("the preferences are separable")
    assert sure.population_loss == pytest.approx(0.5), "two equal draws, f(0) = 1; the rest costs nothing"
    noisy = PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0])).solve(ramp, 1.0)
    assert noisy.status == "not unique"
    assert np.isnan(noisy.policy).all()
    cycle = PreferenceProblem(gpo.cyclic(5, 0.8)).solve(ramp, 1.0)
    assert cycle.status == "not unique"


def test_descents_that_kinks_stop_are_not_believed():
    loss = gpo.parse_loss("min(1, max(0, 1 - z)) + z**2/50")
    found = PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0])).solve(loss, 1.0)
    assert found.status == "not converged"
    assert found.reason.startswith("the lowest descent did not come to rest, as happens at kinks")
    assert np.isnan(found.policy).all()


def test_large_sparse_problem_makes_one_descent(monkeypatch):
    rng = np.random.default_rng(0)
    n, k = 400, 12000
    rewards = rng.normal(size=n)
    i = rng.integers(n, size=k)
    j = (i + rng.integers(1, n, size=k)) % n
    first = rng.random(k) < expit(rewards[i] - rewards[j])
    games = Comparisons(np.where(first, i, j), np.where(first, j, i))
    monkeypatch.setattr(nonconvex, "SEVERAL_AT_MOST", 100)
    problem = PreferenceProblem.from_comparisons(games)
    found = problem.solve("savage", 1.0)
    assert found.converged
    assert "were not looked at" in found.reason
    rng = np.random.default_rng(1)
    for _ in range(3):
        assert problem.loss_at(found.log_ratio + 1e-2 * rng.normal(size=n), "savage", 1.0) > found.population_loss
    two = Comparisons(np.concatenate([games.winner, games.winner + n]), np.concatenate([games.loser, games.loser + n]))
    parts = PreferenceProblem.from_comparisons(two).solve("savage", 1.0)
    assert parts.status == "not unique"
    assert parts.reason.startswith("the comparison graph has 2 components")
    assert parts.representative.shape == (2 * n,)
    cycle = PreferenceProblem.from_comparisons(Comparisons(np.arange(400), (np.arange(400) + 1) % 400))
    assert cycle.solve("lsif", 1.0).status in ("not converged", "stationary point")


def test_every_level_that_parts_is_named():
    """The value said is that of all that part: the sigmoid's is the least sum of limits over all orders of four."""
    problem = PreferenceProblem(random_preference(4, 0))
    found = problem.solve(gpo.parse_loss("1/(1+exp(z))"), 1.0)
    assert found.status == "no finite optimum"
    pairs = problem.directed_pairs()
    orders = [np.argsort(order) for order in permutations(range(4))]  # the place of each response, the last on top
    totals = [float(pairs.weight[rank[pairs.winner] < rank[pairs.loser]].sum()) for rank in orders]
    at_half = 0.5 * problem.diagonal_weights().sum()
    assert found.population_loss == pytest.approx(min(totals) + at_half, abs=1e-9)
    best = sorted(range(4), key=lambda i: -orders[int(np.argmin(totals))][i])
    said = ", then ".join(f"'{i}'" for i in best[:-1])
    assert f"as the log-ratios of {said} grow apart from the others" in found.reason


@pytest.mark.parametrize(
    ("text", "preference", "behavior", "margin"),
    [
        ("log(1+(1-z)**4)", [[0.5, 1.0], [0.0, 0.5]], [0.5, 0.5], 1.0),
        ("log(1+(1-z)**2)", [[0.5, 0.5], [0.5, 0.5]], [0.961, 0.039], 0.0),
    ],
)
def test_no_curvature_at_one_point_is_no_straight_piece(text, preference, behavior, margin):
    """f″, or that of the pair's two terms together, is 0 at the minimum alone, and the minimum is the only one."""
    loss = gpo.parse_loss(text)
    found = PreferenceProblem(preference, behavior).solve(loss, 1.0)
    assert (found.status, found.converged) == ("stationary point", True)
    assert found.margins[0] == pytest.approx(margin, abs=1e-3)
    assert "straight" not in found.reason
