"""Optima of linear-feature policies against scipy, cvxpy and the tabular solver; what has no optimum is said."""

from __future__ import annotations

import tracemalloc
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from gpo_analysis.losses import get_loss, parse_loss
from gpo_analysis.preferences import Comparisons
from gpo_analysis.solvers.recession import can_move, least_norm_within, moved_to_infinity, steepest_recession
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.tabular.features import _Coordinates, solve_features

CONVEX = ("logistic", "squared", "hinge", "exponential", "truncated_quadratic")


def problem_of(n: int = 6, seed: int = 0, contexts: int | None = None) -> PreferenceProblem:
    rng = np.random.default_rng(seed)
    shape = (n,) if contexts is None else (contexts, n)
    upper = np.triu(rng.uniform(0.05, 0.95, (*shape, n)), 1)
    preference = upper + np.tril(1 - np.swapaxes(upper, -1, -2), -1)
    preference[..., np.arange(n), np.arange(n)] = 0.5
    return PreferenceProblem(
        preference, rng.dirichlet(np.full(n, 3.0), size=contexts), rng.dirichlet(np.full(n, 3.0), size=contexts)
    )


def by_cvxpy(problem: PreferenceProblem, features: np.ndarray, loss: str, beta: float) -> tuple[float, np.ndarray]:
    pairs = problem.directed_pairs()
    table = features.reshape(problem.contexts, problem.n, -1)
    w = cp.Variable(table.shape[-1])
    z = beta * (table[pairs.context, pairs.winner] - table[pairs.context, pairs.loser]) @ w
    values = {
        "logistic": lambda: cp.logistic(-z),
        "squared": lambda: cp.square(z - 1),
        "hinge": lambda: cp.pos(1 - z),
        "exponential": lambda: cp.exp(-z),
        "truncated_quadratic": lambda: cp.square(cp.pos(1 - z)),
    }[loss]()
    task = cp.Problem(cp.Minimize(pairs.weight @ values))
    task.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return float(task.value) + pairs.diagonal_mass * float(get_loss(loss)(0.0)), w.value


@pytest.mark.parametrize("contexts", [None, 2])
@pytest.mark.parametrize("beta", [0.05, 3.0])
@pytest.mark.parametrize("loss", CONVEX)
def test_against_cvxpy(loss: str, beta: float, contexts: int | None) -> None:
    problem = problem_of(seed=3, contexts=contexts)
    features = np.random.default_rng(1).normal(size=(*problem.shape, 3))
    value, weights = by_cvxpy(problem, features, loss, beta)
    found = solve_features(problem, features, loss, beta)
    assert found.converged, found.status
    assert found.status == "optimum"
    assert found.population_loss == pytest.approx(value, rel=1e-8)
    assert found.population_loss == pytest.approx(problem.population_loss(found.policy, loss, beta), rel=1e-12)
    np.testing.assert_allclose(found.weights, weights, atol=1e-4 / beta)
    np.testing.assert_allclose(found.policy.sum(-1), 1.0)
    tilt = features @ found.weights
    h = found.log_ratio
    np.testing.assert_allclose(h - h[..., :1], tilt - tilt[..., :1], atol=1e-12 * (1 + np.abs(tilt).max()))


@pytest.mark.parametrize("loss", [*CONVEX[:2], "exponential", "truncated_quadratic"])
def test_every_feature_of_its_own_is_the_tabular_optimum(loss: str) -> None:
    problem = problem_of(seed=4)
    tabular = problem.solve(loss, 0.7)
    found = solve_features(problem, np.eye(6), loss, 0.7)
    assert tabular.converged
    np.testing.assert_allclose(found.policy, tabular.policy, atol=1e-9)
    assert found.kl == pytest.approx(tabular.kl, abs=1e-10)
    assert found.mu_squared_loss == pytest.approx(tabular.mu_squared_loss, abs=1e-10)
    assert abs(found.weights.sum()) < 1e-10  # of least norm among those with this policy


@given(st.sampled_from(["logistic", "squared", "exponential", "truncated_quadratic"]), st.integers(0, 10**6))
def test_gradient_is_zero_at_the_optimum(loss: str, seed: int) -> None:
    problem = problem_of(5, seed)
    features = np.random.default_rng(seed + 1).normal(size=(5, 2))
    found = solve_features(problem, features, loss, 1.0)
    assert found.converged
    for direction in np.vstack([np.eye(2), -np.eye(2)]):
        shifted = found.log_ratio + 1e-4 * features @ direction
        assert problem.loss_at(shifted, loss, 1.0) >= found.population_loss - 1e-15


def test_beta_scales_the_weights() -> None:
    problem = problem_of()
    features = np.random.default_rng(1).normal(size=(6, 2))
    for loss in CONVEX:
        one, small, large = (solve_features(problem, features, loss, beta).weights for beta in (1.0, 1e-6, 1e6))
        np.testing.assert_allclose(small * 1e-6, one, rtol=1e-9)
        np.testing.assert_allclose(large * 1e6, one, rtol=1e-9)


def test_unobserved_response_moves() -> None:
    data = PreferenceProblem.from_comparisons(Comparisons([0, 1], [1, 0], [3.0, 1.0], items=("a", "b", "c")))
    found = solve_features(data, [[1.0], [0.0], [2.0]], "logistic", 0.5)
    np.testing.assert_allclose(found.weights, [np.log(3) / 0.5])
    np.testing.assert_allclose(found.policy, np.array([9, 1, 81]) / 91, rtol=1e-9)


def test_separable_features_have_no_finite_optimum() -> None:
    problem = PreferenceProblem([[0.5, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.5]])
    for loss in ("logistic", "exponential"):
        found = solve_features(problem, [[2.0], [1.0], [0.0]], loss, 1.0)
        assert not found.converged
        assert found.status == "no finite optimum"
        assert found.reason.startswith("the features separate 3 of 3")
        assert found.population_loss == pytest.approx(float(get_loss(loss)(0.0)) / 3)  # the diagonal stays
        assert np.isnan(found.policy).all()
        assert np.isnan(found.weights).all()
    against = solve_features(problem, [[2.0], [3.0], [0.0]], "logistic", 1.0)  # the features cannot tell it right
    assert against.converged


def test_separable_in_part() -> None:
    """a beats b for ever; b and c are compared both ways: the infimum is the rest's minimum."""
    data = Comparisons([0, 1, 2], [1, 2, 1], [2.0, 3.0, 1.0])
    problem = PreferenceProblem.from_comparisons(data)
    found = solve_features(problem, np.eye(3), "logistic", 1.0)
    assert found.status == "no finite optimum"
    assert found.reason.startswith("the features separate 1 of 3")
    rest = -(3 * np.log(0.75) + 1 * np.log(0.25)) / 6
    assert found.population_loss == pytest.approx(rest, rel=1e-10)


def test_separable_in_turns() -> None:
    """Tiny weights count as much as large ones when it comes to separation."""
    data = Comparisons([0, 1], [1, 2], [1.0, 1e-13])
    problem = PreferenceProblem.from_comparisons(data)
    assert solve_features(problem, np.eye(3), "logistic", 1.0).population_loss == 0.0
    both = PreferenceProblem.from_comparisons(Comparisons([0, 1], [1, 0], [1.0, 1e-12]))
    found = solve_features(both, np.eye(2), "logistic", 1.0)
    assert found.converged
    assert found.log_ratio[0] - found.log_ratio[1] == pytest.approx(np.log(1e12), rel=1e-6)


def test_flat_losses_have_many_optima_on_separable_data() -> None:
    problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    for loss in ("hinge", "truncated_quadratic"):
        found = solve_features(problem, [[1.0], [0.0]], loss, 0.5)
        assert not found.converged
        assert found.status == "not unique"
        assert found.reason.startswith("the loss is flat around its minimum")
        assert found.population_loss == pytest.approx(0.5)  # of the equal draws
        assert found.representative == pytest.approx([2.0])  # margin 1, the nearest to the reference
        assert np.isnan(found.kl)


def test_representative_of_hinge_has_least_norm() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(5, 4))
    direction = features @ np.array([1.0, -1.0, 0.5, 2.0])
    order = np.argsort(-direction)
    problem = PreferenceProblem.from_comparisons(Comparisons(order[:-1], order[1:]))
    for loss in ("hinge", "truncated_quadratic"):
        found = solve_features(problem, features, loss, 1.0)
        assert found.status == "not unique"
        assert found.population_loss == pytest.approx(0.0, abs=1e-12)
        w = cp.Variable(4)
        cp.Problem(cp.Minimize(cp.sum_squares(w)), [(features[order[:-1]] - features[order[1:]]) @ w >= 1]).solve()
        np.testing.assert_allclose(found.representative, w.value, atol=1e-5)


def test_hinge_optimum_is_a_vertex_or_a_face() -> None:
    problem = problem_of(5, seed=2)
    features = np.random.default_rng(0).normal(size=(5, 2))
    assert solve_features(problem, features, "hinge", 1.0).converged
    indifferent = PreferenceProblem(np.full((2, 2), 0.5))  # η = ½: every margin in [−1, 1] is optimal
    found = solve_features(indifferent, [[1.0], [0.0]], "hinge", 1.0)
    assert found.status == "not unique"
    np.testing.assert_allclose(found.representative, [0.0], atol=1e-12)


def test_features_that_no_pair_tells_apart() -> None:
    problem = PreferenceProblem.from_comparisons(Comparisons([0, 1], [1, 0], [3.0, 1.0], items=("a", "b", "c")))
    found = solve_features(problem, np.eye(3), "logistic", 1.0)  # c is never compared
    assert found.status == "not unique"
    assert "leave the policy open" in found.reason
    np.testing.assert_allclose(found.representative, [np.log(3) / 2, -np.log(3) / 2, 0.0], atol=1e-12)
    constant = solve_features(problem, [[1.0, 7.0], [0.0, 7.0], [2.0, 7.0]], "logistic", 1.0)
    assert constant.converged  # a constant feature changes no policy
    np.testing.assert_allclose(constant.weights, [np.log(3), 0.0], atol=1e-12)
    alike = solve_features(problem, [[1.0], [1.0], [1.0]], "logistic", 1.0)
    assert alike.converged
    np.testing.assert_allclose(alike.policy, 1 / 3)
    open_ended = solve_features(problem, [[1.0], [1.0], [0.0]], "logistic", 1.0)
    assert open_ended.status == "not unique"
    assert open_ended.reason.startswith("no pair tells the features apart")


def test_no_pairs_at_all() -> None:
    problem = PreferenceProblem(np.full((2, 2), 0.5), behavior=[1.0, 0.0])
    found = solve_features(problem, [[1.0], [0.0]], "logistic", 1.0)
    assert found.status == "not unique"
    assert found.population_loss == pytest.approx(np.log(2))


def test_unbounded_below() -> None:
    data = PreferenceProblem.from_comparisons(Comparisons([0], [1]))
    robust = get_loss("logistic").robust(0.1)
    found = solve_features(data, np.eye(2), robust, 1.0)
    assert found.status == "unbounded below"
    assert found.population_loss == -np.inf
    balanced = PreferenceProblem.from_comparisons(Comparisons([0, 1], [1, 0], [0.7, 0.3]))
    assert solve_features(balanced, np.eye(2), robust, 1.0).converged


def test_nonconvex_loss_says_stationary_point() -> None:
    problem = problem_of(5, seed=2)
    features = np.random.default_rng(0).normal(size=(5, 2))
    found = solve_features(problem, features, "savage", 1.0)
    assert found.status == "stationary point"
    assert found.reason.startswith("f is not convex")
    assert found.converged
    pairs = problem.directed_pairs()
    rows = features[pairs.winner] - features[pairs.loser]
    slope = rows.T @ (pairs.weight * get_loss("savage").derivative(rows @ found.weights))
    np.testing.assert_allclose(slope, 0.0, atol=1e-12)
    separable = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    found = solve_features(separable, np.eye(2), "savage", 1.0)
    assert found.status == "no finite optimum"
    assert found.reason.startswith("descent")


def test_nonconvex_and_unbounded() -> None:
    two_sided = PreferenceProblem.from_comparisons(Comparisons([0, 1], [1, 0], [3.0, 1.0]))
    assert solve_features(two_sided, np.eye(2), get_loss("lsif"), 1.0).status == "stationary point"
    one_sided = PreferenceProblem.from_comparisons(Comparisons([0], [1]))
    found = solve_features(one_sided, np.eye(2), get_loss("lsif"), 1.0)
    assert found.status == "unbounded below"
    assert found.reason.startswith("descent")
    assert found.population_loss == -np.inf


def test_a_straight_line_has_no_optimum_or_every_one() -> None:
    line = parse_loss("1 - z")
    tied = PreferenceProblem.from_comparisons(Comparisons([0, 1], [1, 0]))
    found = solve_features(tied, np.eye(2), line, 1.0)
    assert found.status == "not unique"
    assert found.population_loss == pytest.approx(1.0)
    np.testing.assert_array_equal(found.representative, 0.0)
    tilted = PreferenceProblem.from_comparisons(Comparisons([0, 1], [1, 0], [2.0, 1.0]))
    assert solve_features(tilted, np.eye(2), line, 1.0).status == "unbounded below"


def test_pairs_of_equal_features_stay_where_they_are() -> None:
    data = PreferenceProblem.from_comparisons(Comparisons([0, 1], [1, 2]))
    found = solve_features(data, [[1.0], [0.0], [0.0]], "logistic", 1.0)  # b and c look alike, a wins for ever
    assert found.status == "no finite optimum"
    assert found.reason.startswith("the features separate 1 of 2")
    assert found.population_loss == pytest.approx(np.log(2) / 2)


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_features_of_any_size(size: float) -> None:
    problem = problem_of(5, seed=2)
    features = np.random.default_rng(0).normal(size=(5, 2))
    for loss in (*CONVEX, "savage"):
        plain, scaled = (solve_features(problem, s * features, loss, 1.0) for s in (1.0, size))
        assert plain.converged
        assert scaled.converged
        np.testing.assert_allclose(scaled.policy, plain.policy, rtol=1e-7)


def test_weights_of_very_different_size() -> None:
    counts = Comparisons([0, 1, 1, 2], [1, 0, 2, 1], [1.0, 1e-8, 1e-12, 3e-12])
    problem = PreferenceProblem.from_comparisons(counts)
    found = solve_features(problem, np.eye(3), "logistic", 1.0)
    assert found.converged
    h = found.log_ratio
    assert h[0] - h[1] == pytest.approx(np.log(1e8), rel=1e-6)
    assert h[1] - h[2] == pytest.approx(-np.log(3), rel=1e-3)


def test_kinked_and_curved_is_refused() -> None:
    with pytest.raises(ValueError, match="jumps in its slope"):
        solve_features(problem_of(), np.eye(6), parse_loss("Max(z**2/2 - z, 0)"), 1.0)


def test_absolute_value() -> None:
    problem = problem_of(5, seed=2)
    features = np.random.default_rng(0).normal(size=(5, 2))
    loss = parse_loss("Abs(1 - z)")
    found = solve_features(problem, features, loss, 1.0)
    pairs = problem.directed_pairs()
    rows = features[pairs.winner] - features[pairs.loser]
    w = cp.Variable(2)
    task = cp.Problem(cp.Minimize(pairs.weight @ cp.abs(1 - rows @ w)))
    task.solve(solver=cp.CLARABEL)
    assert found.population_loss == pytest.approx(task.value + pairs.diagonal_mass, rel=1e-7)


@pytest.mark.parametrize(
    ("features", "message"),
    [(np.eye(5), "features must have shape"), (np.full((6, 2), np.inf), "finite"), (np.ones((6, 0)), "shape")],
)
def test_bad_features(features: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve_features(problem_of(), features, "logistic", 1.0)


@pytest.mark.parametrize("beta", [0.0, -1.0, np.nan, np.inf])
def test_bad_beta(beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        solve_features(problem_of(), np.eye(6), "logistic", beta)


def test_recession_by_hand() -> None:
    rows = np.array([[1.0], [-1.0]])
    assert steepest_recession(rows, np.array([0.7, 0.3]), -1.0, 0.0) == 0.0
    # slope +∞: −⅛ (falling), −∞: −9/8; along d = 1 the rate is −0.7/8 + 0.3·9/8 > 0, one-sided −1/8 < 0
    assert steepest_recession(rows, np.array([0.7, 0.3]), -9 / 8, -1 / 8) == 0.0
    assert steepest_recession(rows[:1], np.array([1.0]), -9 / 8, -1 / 8) == pytest.approx(-1 / 8)
    assert steepest_recession(rows, np.array([0.95, 0.05]), -9 / 8, -1 / 8) < 0
    # exactly balanced: the loss tends to a limit along d = 1, and both margins run off
    assert moved_to_infinity(rows, np.array([0.9, 0.1]), -9 / 8, -1 / 8).all()
    assert not moved_to_infinity(rows, np.array([0.5, 0.5]), -1.0, 0.0).any()
    assert moved_to_infinity(rows[:1], np.array([1.0]), -np.inf, 0.0).all()
    assert not moved_to_infinity(rows[:1], np.array([1.0]), -np.inf, np.inf).any()


def test_least_norm_against_scipy() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, 3))
    inside = rng.normal(size=3) * 3
    lower, upper = rows @ inside - rng.random(6), rows @ inside + rng.random(6)
    lower[0], upper[1] = -np.inf, np.inf
    found = least_norm_within(rows, lower, upper, inside)
    constraints = {"type": "ineq", "fun": lambda v: np.concatenate([rows @ v - lower, upper - rows @ v])[
        np.isfinite(np.concatenate([lower, upper]))]}  # fmt: skip
    expected = minimize(lambda v: v @ v, inside, constraints=constraints, tol=1e-14)
    np.testing.assert_allclose(found, expected.x, atol=1e-6)
    assert can_move(rows, rows @ inside, lower, upper)
    assert not can_move(rows, rows @ inside, rows @ inside, rows @ inside)
    free = np.full(6, np.inf)
    np.testing.assert_array_equal(least_norm_within(rows, -free, free, inside), 0.0)


def test_axes_of_many_pairs_take_no_square_of_memory() -> None:
    problem, phi = problem_of(120), np.random.default_rng(0).normal(size=(120, 3))
    phi[:, 2] = phi[:, 0] - phi[:, 1]  # of rank 2
    tracemalloc.start()
    at = _Coordinates.of(problem, phi)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(at.rows) == 120 * 119
    assert at.seen.shape == (3, 2)
    assert not at.hidden
    assert peak < 50e6  # a square of the pairs would be 1.6 GB
