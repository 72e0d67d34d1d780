"""Population optima against scipy.optimize, cvxpy and closed forms: nothing here calls the solvers' own code twice."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons
from gpo_analysis.tabular import PreferenceProblem

SMOOTH = ("logistic", "squared", "exponential", "truncated_quadratic", "cell", "smoothed_logistic")
CONVEX = (*SMOOTH, "hinge")

# Written out here again, so that a wrong catalogue entry shows.
FORMULAS = {
    "logistic": lambda z: np.logaddexp(0, -z),
    "hinge": lambda z: np.maximum(0, 1 - z),
    "squared": lambda z: (z - 1) ** 2,
    "exponential": lambda z: np.exp(-z),
    "truncated_quadratic": lambda z: np.maximum(0, 1 - z) ** 2,
    "savage": lambda z: expit(-z) ** 2,
    "cell": lambda z: (np.logaddexp(0, -z) + np.exp(-z)) / 2,
    "smoothed_logistic": lambda z: 0.9 * np.logaddexp(0, -z) + 0.1 * np.logaddexp(0, z),
}
ATOMS = {
    "logistic": lambda d: cp.logistic(-d),
    "hinge": lambda d: cp.pos(1 - d),
    "squared": lambda d: cp.square(d - 1),
    "exponential": lambda d: cp.exp(-d),
    "truncated_quadratic": lambda d: cp.square(cp.pos(1 - d)),
    "cell": lambda d: (cp.logistic(-d) + cp.exp(-d)) / 2,
    "smoothed_logistic": lambda d: 0.9 * cp.logistic(-d) + 0.1 * cp.logistic(d),
}


def random_problem(n: int, seed: int, sharpness: float = 1.0) -> PreferenceProblem:
    rng = np.random.default_rng(seed)
    upper = np.triu(expit(sharpness * rng.normal(size=(n, n))), 1)
    preference = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)
    return PreferenceProblem(preference, rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n)))


def expected_loss(problem: PreferenceProblem, name: str, h: np.ndarray, beta: float) -> float:
    """E f(βρ) by two loops, from the definition."""
    total = 0.0
    for i in range(problem.n):
        for j in range(problem.n):
            weight = 2 * problem.behavior[i] * problem.behavior[j] * problem.preference[i, j]
            total += weight * float(FORMULAS[name](beta * (h[i] - h[j])))
    return total


@pytest.mark.parametrize("name", CONVEX)
@pytest.mark.parametrize(("n", "seed", "sharpness"), [(2, 0, 1.0), (3, 1, 3.0), (6, 2, 1.0), (9, 3, 2.0)])
def test_optimum_agrees_with_cvxpy(name, n, seed, sharpness):
    problem, beta = random_problem(n, seed, sharpness), 0.7
    found = problem.solve(name, beta)
    h = cp.Variable(n)
    total = 0
    for i in range(n):
        for j in range(n):
            if i != j:
                weight = 2 * problem.behavior[i] * problem.behavior[j] * problem.preference[i, j]
                total += weight * ATOMS[name](beta * (h[i] - h[j]))
    at_zero = float(FORMULAS[name](0.0)) * float(np.sum(problem.behavior**2))
    program = cp.Problem(cp.Minimize(total), [h[0] == 0])
    program.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    # The interior-point value is an upper bound of the minimum up to its own tolerance; ours may not be above it.
    assert found.population_loss == pytest.approx(program.value + at_zero, rel=1e-8)
    if name != "hinge":
        assert found.status == "optimum"
    if found.converged:
        assert found.population_loss == pytest.approx(expected_loss(problem, name, found.log_ratio, beta), rel=1e-12)
        assert found.policy.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_optimum_agrees_with_scipy(name):
    problem, beta = random_problem(5, 11, 1.5), 1.3

    def objective(free):
        return expected_loss(problem, name, np.concatenate([[0.0], free]), beta)

    start = minimize(
        objective, np.zeros(4), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-15, "maxiter": 9000}
    )
    other = minimize(objective, start.x, method="BFGS", options={"gtol": 1e-9})
    found = problem.solve(name, beta)
    assert found.population_loss <= min(start.fun, other.fun) * (1 + 1e-12)
    assert found.population_loss == pytest.approx(min(start.fun, other.fun), rel=1e-8)
    h = np.concatenate([[0.0], other.x])
    np.testing.assert_allclose(found.log_ratio - found.log_ratio[0], h, atol=1e-4)


@pytest.mark.parametrize("name", ["logistic", "squared", "exponential", "truncated_quadratic", "savage", "hinge"])
def test_two_responses_have_the_closed_form(name):
    eta, beta = 0.85, 0.4
    margin = {
        "logistic": logit(eta),
        "savage": logit(eta),
        "exponential": logit(eta) / 2,
        "squared": 2 * eta - 1,
        "truncated_quadratic": 2 * eta - 1,
        "hinge": 1.0,
    }[name]
    problem = PreferenceProblem([[0.5, eta], [1 - eta, 0.5]], [0.3, 0.7], [0.9, 0.1])
    found = problem.solve(name, beta)
    assert found.converged
    np.testing.assert_allclose(found.log_ratio[0] - found.log_ratio[1], margin / beta, rtol=1e-10)
    odds = 9 * np.exp(margin / beta)
    np.testing.assert_allclose(found.policy, [odds / (1 + odds), 1 / (1 + odds)], rtol=1e-9)
    assert found.mu_squared_loss == pytest.approx(0.21 * (margin / beta) ** 2, rel=1e-10)
    assert found.max_margin == pytest.approx(margin, rel=1e-10)


def test_published_two_action_case():
    # Azar et al. 2023: two actions, p = 1, uniform πref and μ: π*(y1) = σ(0.5/τ), and β = 2τ in this package.
    for tau in (0.1, 0.5, 1.0):
        found = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]]).solve("ipo", 2 * tau)
        assert found.policy[0] == pytest.approx(expit(0.5 / tau), rel=1e-12)


@pytest.mark.parametrize("scale", [0.3, 3.0, 15.0])
def test_bradley_terry_is_recovered(scale):
    rewards = scale * np.random.default_rng(5).normal(size=7)
    problem = PreferenceProblem(gpo.bradley_terry(rewards))
    for name, factor in (("logistic", 1.0), ("exponential", 0.5), ("savage", 1.0)):
        found = problem.solve(name, 1.0)
        assert found.converged
        np.testing.assert_allclose(found.scores, factor * (rewards - rewards.mean()), atol=1e-7 * scale)


@pytest.mark.parametrize("name", [*CONVEX, "savage"])
def test_centred_log_ratio_is_proportional_to_one_over_beta(name):
    problem = PreferenceProblem(gpo.bradley_terry([0.3, -0.2, 1.1, 0.0]), [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
    one = problem.solve(name, 1.0)
    assert one.converged
    for beta in (1e-3, 0.1, 7.0, 1e6):
        other = problem.solve(name, beta)
        centred = other.log_ratio - other.log_ratio.mean()
        np.testing.assert_allclose(centred * beta, one.log_ratio - one.log_ratio.mean(), rtol=1e-9, atol=1e-9)
        assert other.population_loss == one.population_loss
        assert other.mu_squared_loss * beta**2 == pytest.approx(one.mu_squared_loss, rel=1e-9)


def test_other_links_are_not_proportional_but_have_the_same_margins():
    problem = PreferenceProblem(gpo.bradley_terry([0.3, -0.2, 1.1]), [0.2, 0.3, 0.5], [0.6, 0.3, 0.1])
    plain = problem.solve("logistic", 1.0)
    for name in ("forward_kl", "jensen_shannon", "alpha", "chi_po"):
        link = gpo.get_link(name)
        scaled = []
        for beta in (0.5, 2.0):
            found = problem.solve("logistic", beta, link=name)
            assert found.policy.sum() == pytest.approx(1, abs=1e-12)
            u = beta * link(found.policy / problem.reference)
            np.testing.assert_allclose(u - u.mean(), plain.scores, atol=1e-9)
            scaled.append(beta * (found.log_ratio - found.log_ratio.mean()))
        assert np.abs(scaled[0] - scaled[1]).max() > 1e-2


def test_squared_loss_fits_the_gradient_part_of_the_flow():
    problem = random_problem(6, 4, 2.0)
    split = gpo.diagnostics(problem.preference, problem.behavior).hodge
    assert 0.01 < split.cyclic_share < 0.99
    np.testing.assert_allclose(problem.solve("squared", 1.0).scores, split.scores - split.scores.mean(), atol=1e-12)


@given(st.integers(0, 10**6), st.sampled_from(SMOOTH), st.integers(2, 6), st.floats(0.01, 50))
def test_gradient_vanishes_at_the_optimum(seed, name, n, beta):
    problem = random_problem(n, seed)
    found = problem.solve(name, beta)
    assert found.converged
    step = 1e-4 / beta
    for k in range(n):
        shift = step * np.eye(n)[k]
        up = expected_loss(problem, name, found.log_ratio + shift, beta)
        down = expected_loss(problem, name, found.log_ratio - shift, beta)
        assert abs(up - down) / (2e-4) < 1e-7
        assert min(up, down) >= found.population_loss - 1e-13


@given(st.integers(0, 10**6), st.sampled_from([*SMOOTH, "savage"]), st.permutations(range(5)))
def test_renaming_the_responses_renames_the_policy(seed, name, order):
    problem, order = random_problem(5, seed), list(order)
    turned = PreferenceProblem(
        problem.preference[np.ix_(order, order)], problem.behavior[order], problem.reference[order]
    )
    a, b = problem.solve(name, 0.5), turned.solve(name, 0.5)
    assert b.population_loss == pytest.approx(a.population_loss, rel=1e-9)
    if name != "savage":
        np.testing.assert_allclose(b.policy, a.policy[order], atol=1e-9)
        assert b.kl == pytest.approx(a.kl, rel=1e-7, abs=1e-12)


@given(st.integers(0, 10**6), st.sampled_from(CONVEX), st.sampled_from([0.01, 3.0, 250.0]))
def test_scaling_the_loss_changes_nothing_but_its_value(seed, name, factor):
    problem = random_problem(4, seed)
    loss = gpo.get_loss(name)
    scaled = gpo.parse_loss(f"{factor!r}*({loss.expression})", name="scaled")
    a, b = problem.solve(loss, 1.0), problem.solve(scaled, 1.0)
    assert b.population_loss == pytest.approx(factor * a.population_loss, rel=1e-9)
    assert b.converged == a.converged
    if a.converged:
        np.testing.assert_allclose(b.log_ratio, a.log_ratio, atol=1e-7)


@pytest.mark.parametrize("noise", [1e-3, 1e-8, 1e-12, 1e-30, 1e-300])
@pytest.mark.parametrize("name", ["logistic", "exponential"])
def test_nearly_separable_preferences_reach_their_huge_margins(name, noise):
    # A chain of two pairs only, so that each margin has a closed form, far beyond what one Newton step covers.
    games = Comparisons.from_pairs([("a", "b", 1.0), ("b", "a", noise), ("b", "c", 1.0), ("c", "b", noise)])
    found = PreferenceProblem.from_comparisons(games).solve(name, 1.0)
    margin = -np.log(noise) * (1.0 if name == "logistic" else 0.5)
    assert found.converged
    np.testing.assert_allclose(np.diff(found.log_ratio), [-margin, -margin], rtol=1e-9)


def test_an_answer_beyond_floating_point_is_not_given():
    # Truncated quadratic wants margins within 1e-30 of 1, which float64 cannot hold: F is right, π is withheld.
    games = gpo.label_noise(gpo.deterministic([0.0, 1.0, 2.0, 3.0]), 1e-30)
    found = PreferenceProblem(games).solve("truncated_quadratic", 1.0)
    assert found.converged or np.isnan(found.policy).all()
    assert found.population_loss == pytest.approx(0.25, rel=1e-12)


def test_a_beta_whose_log_ratios_no_float_holds_is_refused():
    problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    fit = problem.fit("logistic")
    for verb in (lambda: problem.solve("logistic", 1e-320), lambda: fit.kl([1.0, 1e-320]), lambda: fit.policy(1e-320)):
        with pytest.raises(ValueError, match=r"beta is .*e-32\d; log-ratios g/β need one above 7\.71e-309"):
            verb()
    far = problem.solve("logistic", 1e-300)
    assert far.policy == pytest.approx([1.0, 0.0])
    assert far.mu_squared_loss == np.inf


def test_sizes_one_and_two_hundred():
    alone = PreferenceProblem([[0.5]]).solve("logistic", 1.0)
    assert alone.converged
    assert alone.policy == pytest.approx(1.0)
    assert alone.population_loss == pytest.approx(np.log(2))
    rewards = np.random.default_rng(0).normal(size=200)
    many = PreferenceProblem(gpo.bradley_terry(rewards)).solve("logistic", 1.0)
    np.testing.assert_allclose(many.scores, rewards - rewards.mean(), atol=1e-9)


def test_contexts_are_solved_each_for_itself_and_averaged_by_weight():
    rng = np.random.default_rng(3)
    rewards, weights = rng.normal(size=(3, 4)), np.array([0.5, 0.3, 0.2])
    behavior, reference = rng.dirichlet(np.ones(4), size=3), rng.dirichlet(np.ones(4), size=3)
    preference = gpo.bradley_terry(rewards)
    batch = PreferenceProblem(preference, behavior, reference, weights).solve("squared", 0.5)
    single = [PreferenceProblem(preference[c], behavior[c], reference[c]).solve("squared", 0.5) for c in range(3)]
    np.testing.assert_allclose(batch.policy, [s.policy for s in single], atol=1e-12)
    assert np.abs(np.diff(batch.policy, axis=0)).max() > 0.01
    for name in ("kl", "mu_squared_loss", "population_loss"):
        each = np.array([getattr(s, name) for s in single])
        assert getattr(batch, name) == pytest.approx(weights @ each, rel=1e-12)
    np.testing.assert_allclose(batch.kl_per_context, [s.kl for s in single], rtol=1e-12)
    np.testing.assert_allclose(batch.mu_squared_loss_per_context, [s.mu_squared_loss for s in single], rtol=1e-12)


def test_one_context_without_optimum_is_said_and_the_others_kept():
    preference = np.stack([gpo.bradley_terry([0.0, 1.0]), gpo.deterministic([0.0, 1.0])])
    found = PreferenceProblem(preference).solve("logistic", 1.0)
    assert not found.converged
    assert found.status == "no finite optimum"
    assert found.reason.startswith("context 1")
    assert found.status_per_context[0] == "optimum"
    assert np.isfinite(found.policy[0]).all()
    assert np.isnan(found.policy[1]).all()
    assert np.isnan(found.kl)
    never = PreferenceProblem(preference, context_weights=[1.0, 0.0]).solve("logistic", 1.0)
    assert np.isfinite(never.kl), "a context that never occurs takes no part in the averages"


@pytest.mark.parametrize("beta", [0, -1, float("nan"), float("inf"), "a", True])
def test_bad_beta_is_refused(beta):
    with pytest.raises(ValueError, match="beta must be a finite number above 0"):
        PreferenceProblem(gpo.bradley_terry([0.0, 1.0])).solve("logistic", beta)


def test_unknown_loss_and_link_are_refused():
    problem = PreferenceProblem(gpo.bradley_terry([0.0, 1.0]))
    with pytest.raises(ValueError, match="logistic"):
        problem.solve("logistik", 1.0)
    with pytest.raises(ValueError, match="unknown link 'tv'"):
        problem.solve("logistic", 1.0, link="tv")
