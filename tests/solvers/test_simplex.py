"""Optima of losses of two log-ratios on the simplex: scipy's constrained solver, closed forms, and the certificate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import gpo_analysis as gpo
from gpo_analysis.losses import get_two_ratio_loss
from gpo_analysis.solvers.minimum import Status
from tests.losses.pair_formulas import SLOPES, SMOOTH_CONVEX


def random_problem(seed: int, n: int) -> gpo.PreferenceProblem:
    rng = np.random.default_rng(seed)
    ref, mu = rng.dirichlet(np.full(n, 2.0), 2)
    return gpo.PreferenceProblem(gpo.bradley_terry(rng.normal(0, 1.2, n)), mu, ref)


def by_scipy(problem: gpo.PreferenceProblem, name: str, beta: float) -> tuple[np.ndarray, float]:
    """SLSQP in h with Σ πref e^h = 1; slopes from formulas of their own, the population from its definition."""
    ref, mu, p = problem.reference, problem.behavior, problem.preference
    weight = 2 * np.outer(mu, mu) * p
    weight[np.diag_indices(len(mu))] = mu**2
    loss = gpo.get_loss(name)

    def both(h: np.ndarray) -> tuple[float, np.ndarray]:
        u = beta * h
        a, b = u[:, None] + 0 * u, u[None, :] + 0 * u[:, None]
        up, down = (np.broadcast_to(s, a.shape) for s in SLOPES[name](a, b))
        return float(np.sum(weight * loss(a, b))), beta * ((weight * up).sum(1) + (weight * down).sum(0))

    constraint: Any = {"type": "eq", "fun": lambda h: ref @ np.exp(h) - 1, "jac": lambda h: ref * np.exp(h)}
    h = np.zeros_like(ref)
    for _ in range(6):
        done = minimize(
            both, h, jac=True, method="SLSQP", constraints=[constraint], options={"ftol": 1e-18, "maxiter": 800}
        )
        h = done.x - np.log(ref @ np.exp(done.x))
    return ref * np.exp(h), both(h)[0]


@pytest.mark.parametrize("name", SMOOTH_CONVEX)
@pytest.mark.parametrize(("seed", "n", "beta"), [(0, 2, 0.3), (1, 4, 1.0), (2, 7, 0.6)])
def test_against_scipy(name: str, seed: int, n: int, beta: float) -> None:
    if name == "cal_dpo":
        beta *= 3  # its targets are ±5
    problem = random_problem(seed, n)
    found = problem.solve(name, beta)
    policy, value = by_scipy(problem, name, beta)
    assert found.status is Status.OPTIMUM
    assert found.policy.sum() == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_allclose(found.policy, policy, atol=1e-8)
    assert found.population_loss <= value + 1e-12
    assert 0 <= found.gap < 1e-9
    assert problem.population_loss(found.policy, name, beta) == pytest.approx(found.population_loss, abs=1e-13)


def test_likelihood_is_the_share_of_the_wins() -> None:
    problem = random_problem(3, 5)
    mu, p = problem.behavior, problem.preference
    wins = 2 * mu * ((p - np.diag(np.diag(p))) @ mu) + mu**2
    for beta in (0.1, 2.0):
        np.testing.assert_allclose(problem.solve("sft", beta).policy, wins / wins.sum(), atol=1e-12)


def test_where_the_sum_does_not_bind_the_log_ratios_are_their_own_optimum() -> None:
    """A response that is never compared takes what mass is left; SPPO's u is then ½ (wins − losses)/(wins + losses)."""
    mu = np.array([0.5, 0.3, 0.2, 0.0])
    p = gpo.bradley_terry([0.0, 0.4, 0.8, 0.0])
    problem = gpo.PreferenceProblem(p, mu, np.full(4, 0.25))
    found = problem.solve("sppo_hard", 0.9)
    wins = 2 * mu * ((p * (1 - np.eye(4))) @ mu) + mu**2
    losses = 2 * mu * ((p.T * (1 - np.eye(4))) @ mu) + mu**2
    share = ((wins - losses)[:3] / (wins + losses)[:3]) / 2
    np.testing.assert_allclose(0.9 * found.log_ratio[:3], share, atol=1e-9)
    assert abs(found.pull) < 1e-9
    assert found.gap < 1e-9


def test_the_gap_bounds_what_is_lost() -> None:
    """The certificate at a policy that is not optimal: at least what it loses, for either sign of the pull."""
    from dataclasses import replace

    from gpo_analysis.solvers.ratio_bound import pull_gap, separate_gap
    from gpo_analysis.solvers.ratio_objective import RatioObjective

    rng = np.random.default_rng(5)
    signs = set()
    for seed, name in enumerate(["bco_pair", "nca_pair", "sppo_hard", "cal_dpo", "bco_pair", "nca_pair"]):
        problem = random_problem(seed, 4)
        best = problem.solve(name, 0.8)
        pairs, own = problem.directed_pairs(), problem.diagonal_weights()[0]
        every = np.arange(4)
        objective = RatioObjective(
            gpo.get_loss(name), 0.8, np.log(problem.reference), np.concatenate([pairs.winner, every]),
            np.concatenate([pairs.loser, every]), np.concatenate([pairs.weight, own]), np.zeros(4, dtype=bool),
            np.full(4, -700.0),
        )  # fmt: skip
        u = objective.ratios(np.log(best.policy) + rng.normal(0, 0.05, 4))
        lost = objective.value(u) - best.population_loss
        assert lost > 1e-6
        signs.add(bool(best.pull > 0))
        bounds = [pull_gap(objective, u), separate_gap(objective, u)]
        assert all(bound >= lost - 1e-12 for bound in bounds)
        assert min(bounds) < np.inf
        assert pull_gap(replace(objective, weight=2 * objective.weight), u) == pytest.approx(2 * bounds[0])
    assert signs == {True, False}


def test_one_sided_pairs_have_no_optimum_but_an_infimum() -> None:
    games = gpo.Comparisons.from_pairs([("a", "b", 3), ("b", "c", 2), ("a", "c", 1)])
    problem = gpo.PreferenceProblem.from_comparisons(games)
    for name in ("bco_pair", "nca_pair", "rpo", "sft"):
        found = problem.solve(name, 0.7)
        assert found.status is Status.NO_FINITE_OPTIMUM
        assert "no mass to c" in found.reason
        assert np.isnan(found.policy).all()
        assert found.limit.sum() == pytest.approx(1.0)
        near = np.maximum(found.limit, 1e-12)
        assert problem.population_loss(near / near.sum(), name, 0.7) >= found.population_loss - 1e-12
        assert found.gap < 1e-9
    assert problem.solve("sppo_hard", 0.7).status is Status.OPTIMUM


@pytest.mark.parametrize("losers", [5, 6])
def test_at_most_five_that_lose_their_mass_are_named(losers: int) -> None:
    names = [f"l{k}" for k in range(losers)]
    games = gpo.Comparisons.from_pairs([("best", name, 1) for name in names])
    found = gpo.PreferenceProblem.from_comparisons(games).solve("bco_pair", 0.7)
    assert found.status is Status.NO_FINITE_OPTIMUM
    assert found.limit == pytest.approx([1.0] + [0.0] * losers, abs=1e-12)
    assert f"no mass to {', '.join(names[:5])}{', …' * (losers > 5)}" in found.reason
    assert ("…" in found.reason) == (losers > 5)


def test_unseen_responses() -> None:
    p, mu = gpo.bradley_terry([0.0, 1.0, 2.5, 0.0, 0.0]), [0.5, 0.3, 0.2, 0.0, 0.0]
    problem = gpo.PreferenceProblem(p, mu, [0.3, 0.3, 0.1, 0.2, 0.1])
    up = problem.solve("bco_pair", 0.7)  # pushed up: they lose all mass
    assert up.status is Status.NO_FINITE_OPTIMUM
    np.testing.assert_array_equal(up.limit[3:], 0.0)
    down = problem.solve("nca_pair", 0.7)  # pushed down: they take what is left
    assert down.status is Status.NOT_UNIQUE
    assert "2 responses that are never compared share" in down.reason
    assert down.limit[3:].sum() > 0.2
    assert down.representative is not None


def test_dpop_stays_at_the_reference_where_every_response_is_chosen_sometimes() -> None:
    """λ above what any win is worth: the kink at a = 0 holds every response where it is."""
    problem = random_problem(4, 4)
    found = problem.solve("dpop", 0.5)
    np.testing.assert_allclose(found.policy, problem.reference, atol=1e-9)
    assert found.gap < 1e-7
    weak = get_two_ratio_loss("dpop", penalty=0.2)
    moved = problem.solve(weak, 0.5)
    assert np.abs(moved.policy - problem.reference).max() > 0.02
    assert moved.gap < 1e-7
    for seed in range(20):  # no policy nearby is better
        other = moved.policy * np.exp(np.random.default_rng(seed).normal(0, 0.01, 4))
        assert problem.population_loss(other / other.sum(), weak, 0.5) > moved.population_loss - 1e-9


@pytest.mark.parametrize("name", ["apo_zero", "kto"])
def test_what_is_not_convex_is_called_local(name: str) -> None:
    problem = random_problem(6, 3)
    found = problem.solve(name, 0.7)
    assert "local" in found.reason
    assert np.isnan(found.gap)
    best = min(
        problem.population_loss(policy, name, 0.7) for policy in np.random.default_rng(0).dirichlet(np.ones(3), 4000)
    )
    assert found.population_loss <= best + 1e-9


def test_contexts_links_and_scales() -> None:
    rng = np.random.default_rng(8)
    p = np.stack([gpo.bradley_terry(rng.normal(size=3)) for _ in range(2)])
    problem = gpo.PreferenceProblem(p, rng.dirichlet(np.ones(3), 2), rng.dirichlet(np.full(3, 3.0), 2), [0.25, 0.75])
    whole = problem.solve("bco_pair", 0.6)
    for c in range(2):
        alone = gpo.PreferenceProblem(p[c], problem.behavior[c], problem.reference[c]).solve("bco_pair", 0.6)
        np.testing.assert_allclose(whole.policy[c], alone.policy, atol=1e-12)
        assert whole.loss_per_context[c] == pytest.approx(alone.population_loss)
    with pytest.raises(ValueError, match=r"β log Z"):
        problem.solve("bco_pair", 0.6, link="forward_kl")
    margin = gpo.parse_loss("log(1 + exp(b - a))")
    np.testing.assert_allclose(problem.solve(margin, 0.6).policy, problem.solve("dpo", 0.6).policy, atol=1e-12)
    for beta in (1e-3, 50.0):
        assert problem.solve("sppo_hard", beta).status is Status.OPTIMUM


def test_grid() -> None:
    problem = random_problem(9, 3)
    table = gpo.solve_grid({"p": problem}, ["dpo", "bco_pair", gpo.parse_loss("log(1+exp(b-a))", name="two")], [0.5, 1])
    assert list(table["loss"]) == ["logistic"] * 2 + ["bco_pair"] * 2 + ["two"] * 2
    np.testing.assert_allclose(table["kl"][:2], table["kl"][4:], rtol=1e-9)
    for row, beta in ((2, 0.5), (3, 1.0)):
        assert table["kl"][row] == pytest.approx(problem.solve("bco_pair", beta).kl)
    assert set(table["status"]) == {"optimum"}


def test_an_optimum_is_certified_or_called_local() -> None:
    """Steep preferences, weights near 0: every search ends, and what is called an optimum no sampled policy beats."""
    told = set()
    for seed in range(24):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 5))
        problem = gpo.PreferenceProblem(
            gpo.bradley_terry(rng.normal(0, 3, n)), rng.dirichlet(np.full(n, 0.5)), rng.dirichlet(np.full(n, 0.7))
        )
        sampled = np.maximum(rng.dirichlet(np.full(n, 0.6), 3000), 1e-290)
        sampled /= sampled.sum(1, keepdims=True)
        for name in ("bco_pair", "nca_pair", "sppo_hard", "rpo", "sft"):
            found = problem.solve(name, float(np.exp(rng.uniform(-3, 2))))
            told.add(str(found.status))
            size = 1e-8 * (1 + abs(found.population_loss))
            if found.status is Status.OPTIMUM:
                assert found.gap <= size
            else:
                assert found.status is Status.STATIONARY_POINT
                assert "Σπ = 1 is met from above" in found.reason
                assert found.pull < 0
            best = float(np.min(problem.population_loss(sampled, name, found.beta)))
            assert best >= found.population_loss - (size if found.status is Status.OPTIMUM else found.gap + 1e-9)
    assert told == {"optimum", "stationary point"}


def test_what_runs_off_far_below_rounding_is_followed_to_its_end() -> None:
    # sppo_hard wants more of the seen than there is: mass that nobody compared goes to 0, one nat a step
    rng = np.random.default_rng(7)
    behavior = np.concatenate([rng.dirichlet(np.full(6, 2.0)), np.zeros(2)])
    problem = gpo.PreferenceProblem(gpo.bradley_terry(rng.normal(size=8)), behavior, rng.dirichlet(np.full(8, 2.0)))
    found = problem.solve("sppo_hard", 0.15)
    assert found.status is Status.NOT_UNIQUE or found.status is Status.NO_FINITE_OPTIMUM
    assert found.limit is not None
    np.testing.assert_allclose(found.limit[6:], 0.0, atol=1e-12)
    assert found.gap <= 1e-8
