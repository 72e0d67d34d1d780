"""Small problems by hand at the edges: scales, thresholds, counts of steps, and what is said where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import logsumexp

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import TwoRatioLoss, get_margin_loss
from gpo_analysis.tabular import PreferenceProblem, PrefixTree, descend_sequences, nash, tilted_by_length
from gpo_analysis.tabular.kto import _nearest_to_zero, crossings
from gpo_analysis.tabular.nash import SMALLEST_TAU, nash_policy
from gpo_analysis.tabular.restricted import _Class, restricted_optimum
from gpo_analysis.tabular.reward_shape import _Barrier, _shaped, attainable, bounded_optimum, shaped_by_length
from gpo_analysis.tabular.setting import pair_weights, weighted_pairs


@pytest.mark.parametrize("shift", [0.0, 3.0, -40.0])
@pytest.mark.parametrize("beta", [0.02, 1.0, 50.0])
def test_tilts_by_length_are_normalised_and_know_no_constant(shift: float, beta: float) -> None:
    rng = np.random.default_rng(0)
    g, lengths, base = rng.normal(size=6), np.array([1, 2, 3, 5, 9, 30]), np.log(rng.dirichlet(np.ones(6)))
    found = tilted_by_length(g + shift, lengths, beta, base, log=True)
    assert logsumexp(found) == pytest.approx(0, abs=1e-13)
    t = (found - base) / lengths - g / beta
    np.testing.assert_allclose(t, t[0], atol=1e-12 * (1 + np.abs(g).max() / beta))
    np.testing.assert_allclose(np.exp(found), tilted_by_length(g, lengths, beta, base), rtol=1e-9)
    root = brentq(lambda x: float(logsumexp(base + lengths * (g / beta + x))), -200, 200, xtol=1e-13)
    np.testing.assert_allclose(found, base + lengths * (g / beta + root), atol=1e-9)


@pytest.mark.parametrize("alpha", [-0.5, -1e-9, 0.0, 1e-9, 0.7, 3.0])
@pytest.mark.parametrize("spread", [0.01, 0.3, 1.2])
def test_shaped_rewards_differ_as_asked_and_the_mass_is_one(alpha: float, spread: float) -> None:
    g, lengths = spread * np.array([0.0, 0.6, 1.0]), np.array([1.0, 2.0, 4.0])
    if not attainable(g, lengths, 1.0, alpha):
        with pytest.raises(
            ValueError, match=rf"= {-1 / abs(alpha):.6g}: no policy has rewards that differ by {spread:.6g}"
        ):
            shaped_by_length(g, lengths, 1.0, alpha)
        assert alpha == -0.5
        return
    found = shaped_by_length(g, lengths, 1.0, alpha, log=True)
    assert logsumexp(found) == pytest.approx(0, abs=1e-14)
    token = found / lengths
    reward = token if alpha == 0 else -np.expm1(-alpha * token) / alpha
    np.testing.assert_allclose(reward - reward[0], g, atol=1e-12)
    np.testing.assert_allclose(shaped_by_length(2 * g, lengths, 2.0, alpha), np.exp(found), rtol=1e-12)


def test_where_rewards_are_bounded() -> None:
    """α = −1: r = β(p − 1), so that two responses of a token have differences up to β, and none beyond."""
    for share in (1e-9, 0.2, 0.5, 1 - 1e-9):
        policy = shaped_by_length([0.0, share], [1, 1], 1.0, -1.0)
        np.testing.assert_allclose(policy, [(1 - share) / 2, (1 + share) / 2], rtol=1e-6)
    with pytest.raises(ValueError, match=r"-beta/\|alpha\| = -2: no policy has rewards that differ by 5"):
        shaped_by_length([0.0, 5.0], [1, 1], 4.0, -2.0)
    with pytest.raises(ValueError, match="bounds rewards"):
        shaped_by_length([0.0, 1.0 + 1e-6], [1, 1], 1.0, -1.0)
    with pytest.raises(ValueError, match="bounds rewards"):
        shaped_by_length([0.0, 1.5], [1, 1], 1.0, -1.0)
    assert _shaped(np.zeros(1), np.ones(1), 0.5) == np.zeros(1)
    np.testing.assert_allclose(np.exp(np.asarray(_shaped(np.zeros(4), np.ones(4), -2.0))), 0.25)


def bounded(scale: float = 1.0) -> tuple[PreferenceProblem, FloatArray]:
    rng = np.random.default_rng(3)
    return PreferenceProblem(gpo.bradley_terry(scale * rng.normal(size=4))), np.array([1.0, 2.0, 1.0, 3.0])


def test_the_barrier_s_derivatives_are_differences() -> None:
    problem, lengths = bounded()
    pairs = problem.directed_pairs()
    barrier = _Barrier(pairs, get_margin_loss("dpo"), lengths / 0.8, 1.5 / 0.8)
    x, step = np.array([0.2, 0.4, 0.3, 0.5]), 1e-6
    value, gradient, hessian = barrier.loss_at(x)
    z = barrier.scale * (x[pairs.winner] - x[pairs.loser])
    assert value == pytest.approx(float(pairs.weight @ np.logaddexp(0, -z)), rel=1e-14)
    for k, unit in enumerate(np.eye(4)):
        up, down = barrier.loss_at(x + step * unit), barrier.loss_at(x - step * unit)
        assert gradient[k] == pytest.approx((up[0] - down[0]) / (2 * step), abs=1e-8)
        np.testing.assert_allclose(hessian[k], (up[1] - down[1]) / (2 * step), atol=1e-8)
    inside = 1 - float(np.sum(x ** (lengths / 0.8)))
    assert barrier.value(x, 0.3) == pytest.approx(value - 0.3 * float(np.log(inside) + np.log(x).sum()), rel=1e-13)
    assert barrier.value(np.full(4, 2.0), 0.3) == np.inf
    assert barrier.value(np.array([0.1, 0.0, 0.1, 0.1]), 0.3) == np.inf
    centre = barrier.centred(x, 0.3)
    for unit in np.eye(4):
        for side in (-1e-4, 1e-4):
            assert barrier.value(centre + side * unit, 0.3) > barrier.value(centre, 0.3)


@pytest.mark.parametrize("alpha", [-0.3, -1.0])
def test_the_bounded_optimum_is_no_worse_than_any_policy(alpha: float) -> None:
    problem, lengths = bounded(4.0)
    pairs, f = problem.directed_pairs(), get_margin_loss("dpo")
    found = bounded_optimum(pairs, pairs.diagonal_mass, f, lengths, 1.0, alpha)
    assert 0 <= found.gap < 1e-10
    assert logsumexp(found.log_policy) == pytest.approx(0, abs=1e-12)
    assert (found.log_policy == -np.inf).any()

    def value(log_policy: FloatArray) -> float:
        reward = -np.expm1(-alpha * log_policy / lengths) / alpha
        own = pairs.diagonal_mass * np.log(2)
        return float(pairs.weight @ np.logaddexp(0, reward[pairs.loser] - reward[pairs.winner]) + own)

    assert value(found.log_policy) == pytest.approx(found.value, abs=1e-12)
    rng = np.random.default_rng(0)
    for policy in rng.dirichlet(np.full(4, 0.3), 300):
        assert value(np.log(np.maximum(policy, 1e-300))) >= found.value - 1e-10
    near = np.exp(found.log_policy) + 1e-3 * rng.random((100, 4))
    assert min(value(np.log(one / one.sum())) for one in near) >= found.value - 1e-12


def test_the_smallest_strength_is_taken_and_anything_below_it_is_not() -> None:
    cycle = [[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]]
    assert nash_policy(cycle, [1 / 3] * 3, SMALLEST_TAU).policy == pytest.approx([1 / 3] * 3)
    with pytest.raises(ValueError, match="at least 1e-12"):
        nash_policy(cycle, [1 / 3] * 3, np.nextafter(SMALLEST_TAU, 0))


def test_a_lottery_is_polished_to_the_last_digits() -> None:
    payoff = np.array([[0.0, 0.3, -0.1], [-0.3, 0.0, 0.7], [0.1, -0.7, 0.0]])
    exact = np.array([0.7, 0.1, 0.3]) / 1.1  # the kernel of an antisymmetric matrix of three
    rough = exact + np.array([1e-7, -2e-7, 1e-7])
    np.testing.assert_allclose(nash._polish(payoff, 3 * rough), exact, rtol=1e-14)
    assert np.abs(payoff @ nash._polish(payoff, rough)).max() < 1e-16
    small = np.array([1.0, 5e-9, 0.0])  # below 1e-8 it is no part of the support
    winner = np.array([[0.0, 0.2, 0.2], [-0.2, 0.0, 0.3], [-0.2, -0.3, 0.0]])
    np.testing.assert_array_equal(nash._polish(winner, small), [1.0, 0.0, 0.0])
    assert nash._is_unique(payoff, exact)
    assert not nash._is_unique(np.zeros((2, 2)), np.array([0.5, 0.5]))
    found = nash_policy(payoff / 2 + 0.5, [1 / 3] * 3, 0)
    np.testing.assert_allclose(found.policy, exact, rtol=1e-13)
    assert found.reason.startswith("the only maximal lottery, duality gap ")
    assert np.isnan(found.distance_bound)


def test_newton_on_the_game_takes_few_steps_and_says_how_it_ended() -> None:
    rng = np.random.default_rng(1)
    upper = np.triu(rng.random((6, 6)), 1)
    preference, reference = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(6), rng.dirichlet(np.ones(6))
    for tau, most in ((5.0, 6), (0.5, 12), (0.01, 40), (1e-4, 80)):
        found = nash_policy(preference, reference, tau)
        assert found.converged
        assert 0 < found.iterations <= most
        assert found.reason == (
            f"duality gap {found.gap:.3g} against a tolerance of 1e-12 after {found.iterations} Newton steps, "
            f"policy within {found.distance_bound:.3g} of it in total"
        )
        assert found.distance_bound == pytest.approx(np.sqrt(found.gap / tau))
    short = nash_policy(preference, reference, 0.01, max_iterations=2)
    assert short.iterations == 2
    assert "; steps ran out at tau = " in short.reason
    assert short.distance_bound <= 2
    none = nash_policy(preference, reference, 5.0, max_iterations=0)
    np.testing.assert_allclose(none.policy, reference)
    assert none.reason.endswith("; no further progress, rounding or the step limit")


def test_slopes_of_the_game_s_equation() -> None:
    rng = np.random.default_rng(2)
    upper = np.triu(rng.random((4, 4)), 1)
    payoff, log_ref, logits = upper - upper.T, np.log(rng.dirichlet(np.ones(4))), rng.normal(size=4)
    policy = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(nash._softmax(logits + 900), policy, rtol=1e-12)
    numeric = [
        (nash._residual(payoff, log_ref, 0.3, logits + e) - nash._residual(payoff, log_ref, 0.3, logits - e)) / 2e-6
        for e in 1e-6 * np.eye(4)
    ]
    np.testing.assert_allclose(nash._jacobian(payoff, policy, 0.3), np.array(numeric).T, atol=1e-8)
    response = log_ref + payoff @ policy / 0.3
    response -= logsumexp(response)
    expected = 2 * 0.3 * float(policy @ (np.log(policy) - response))
    assert nash._gap(payoff, log_ref, 0.3, logits) == pytest.approx(expected, rel=1e-12)
    rest = log_ref + np.array([1e-7, 0, 0, -1e-7])  # small: 2τ Var/2, beyond what differences of logarithms hold
    ref = np.exp(log_ref)
    delta = np.array([1e-7, 0, 0, -1e-7])
    variance = float(ref @ delta**2 - (ref @ delta) ** 2)
    assert nash._gap(0 * payoff, log_ref, 0.3, rest) == pytest.approx(0.3 * variance, rel=1e-5)


def test_dips_are_followed_from_both_sides_and_not_beyond_twenty_steps() -> None:
    """Two roots within one cell show where the middle of three is the nearest."""
    for centre in (0.19, 0.31, 0.44, 0.56, 0.69, 0.81):
        for sign in (1.0, -1.0):
            calls: list[float] = []

            def excess(r: float, centre: float = centre, sign: float = sign, calls: list[float] = calls) -> float:
                calls.append(r)
                return sign * ((r - centre) ** 2 - 1e-4)

            roots, jumps = crossings(excess, 1.0)
            assert roots == pytest.approx([centre - 0.01, centre + 0.01], abs=1e-9)
            assert jumps == []
            assert len(calls) < 80
    touched, _ = crossings(lambda r: (r - 0.5) ** 2, 1.0)
    assert touched == [0.5]
    calls = []

    def never(r: float) -> float:
        calls.append(r)
        return 1.0 + (r - 0.3) ** 2

    assert crossings(never, 1.0) == ([], [])
    assert len(calls) <= 9 + 2 * 21
    assert len(crossings(lambda r: np.cos(7 * np.pi * r + 0.1), 1.0)[0]) == 7
    met = _nearest_to_zero(lambda r: 1 + (r - 0.4) ** 2, 0.0, 1.0, 1.0, 1.0)
    assert min(met, key=lambda r: met[r]) == pytest.approx(0.4, abs=1e-5)
    met = _nearest_to_zero(lambda r: (r - 0.4) ** 2 - 0.01, 0.0, 1.0, 1.0, 1.0)
    assert sum(value <= 0 for value in met.values()) == 1  # ends at the first


def test_the_class_s_derivatives_are_differences_and_its_climb_is_short() -> None:
    rng = np.random.default_rng(0)
    r, ref, phi = rng.normal(size=5), rng.dirichlet(np.ones(5)), rng.normal(size=(5, 2))
    at = _Class(r, np.log(ref), phi, 0.4)
    w, step = np.array([0.3, -0.5]), 1e-6
    gradient, hessian = at.derivatives(w)
    for k, e in enumerate(step * np.eye(2)):
        assert gradient[k] == pytest.approx((at.objective(w + e) - at.objective(w - e)) / (2 * step), abs=1e-9)
        slopes = (at.derivatives(w + e)[0] - at.derivatives(w - e)[0]) / (2 * step)
        np.testing.assert_allclose(hessian[k], slopes, atol=1e-8)
    starts = at.starts()
    assert len(starts) == 12
    np.testing.assert_array_equal(starts[0], 0)
    root = np.sqrt(ref)[:, None]
    fit = np.linalg.lstsq(root * (phi - ref @ phi), root[:, 0] * (r - ref @ r), rcond=None)[0] / 0.4
    np.testing.assert_allclose(starts[1], fit)
    np.testing.assert_allclose(starts[2], -fit)
    for start in starts:
        end = at.climbed(start)
        assert at.objective(end) >= at.objective(start)
        assert np.abs(at.derivatives(end)[0]).max() < 1e-9
    flat = restricted_optimum([1.0, 1.0], [0.5, 0.5], [[1.0], [1.0]], 1.0)  # nothing that moves
    assert str(flat.status) == "optimum"
    np.testing.assert_array_equal(flat.policy, [0.5, 0.5])


def test_contexts_that_never_occur_and_reasons_of_several() -> None:
    half = np.array([[0.5, 0.5], [0.5, 0.5]])
    problem = PreferenceProblem(np.stack([half, half]), context_weights=[1.0, 0.0])
    found = problem.solve("sft", 1.0)
    np.testing.assert_allclose(found.policy[0], 0.5)
    assert found.population_loss == pytest.approx(float(found.loss_per_context[0]), abs=1e-12)
    assert np.isfinite(found.loss_per_context[1])
    sided = np.array([[0.5, 1.0], [0.0, 0.5]])
    several = PreferenceProblem(np.stack([half, sided, sided]))
    by_share = several.solve(TwoRatioLoss("wins", -gpo.losses.CHOSEN), 1.0)
    assert str(by_share.status) == "optimum"
    assert by_share.reason == ""
    games = PreferenceProblem(np.stack([half, half]), behavior=np.array([[0.5, 0.5], [1.0, 0.0]]))
    lost = games.solve("sft", 1.0)
    assert str(lost.status) == "no finite optimum"
    assert lost.reason == f"context 1: {lost.reason_per_context[1]}"
    both = PreferenceProblem(np.stack([half] * 3), behavior=np.array([[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]]))
    assert both.solve("sft", 1.0).reason.startswith("context 1 (and 1 more contexts): the infimum leaves no mass to")


def test_weights_of_complete_pairs_share_their_order() -> None:
    rng = np.random.default_rng(0)
    upper = np.triu(rng.uniform(0.1, 0.9, (4, 4)), 1)
    whole = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(4)
    holes = whole.copy()
    holes[0, 1], holes[1, 0] = 1.0, 0.0
    problems = [PreferenceProblem(p, behavior=rng.dirichlet(np.ones(4))) for p in (whole, holes, whole.T)]
    for problem, (pairs,) in zip(problems, weighted_pairs(problems), strict=True):
        assert problem.preference is not None
        expected = 2 * np.outer(problem.behavior, problem.behavior) * problem.preference * (1 - np.eye(4))
        assert pairs.matrix is not None
        np.testing.assert_allclose(pairs.matrix, expected, rtol=1e-15)
        np.testing.assert_array_equal(pairs.weight, pairs.matrix[pairs.winner, pairs.loser])
        assert len(pairs.weight) == np.count_nonzero(expected)
        assert pairs.diagonal_mass == pytest.approx(float(np.sum(problem.behavior**2)), rel=1e-15)
        assert pairs.weight.sum() + pairs.diagonal_mass == pytest.approx(1.0)
        np.testing.assert_array_equal(pair_weights(problem.preference[None], problem.behavior[None])[0], pairs.matrix)


def test_a_tree_s_problem_takes_its_reference_for_both() -> None:
    tree = PrefixTree(2, 2, 0.4)
    preference = gpo.bradley_terry(np.arange(float(tree.n)))
    plain = tree.problem(preference)
    np.testing.assert_array_equal(plain.behavior, tree.reference)
    np.testing.assert_array_equal(plain.reference, tree.reference)
    mu = np.full(tree.n, 1 / tree.n)
    given = tree.problem(preference, mu)
    np.testing.assert_allclose(given.behavior, mu, rtol=1e-15)
    np.testing.assert_array_equal(given.reference, tree.reference)


def test_tied_policies_say_how_many_starts_agree_and_plain_ones_where_they_began() -> None:
    tree = PrefixTree(2, 2, 0.4)
    problem = tree.problem(gpo.bradley_terry([float(word[0] == "a") for word in tree.responses]))
    plain = descend_sequences(tree, problem, "dpo", 0.5)
    assert plain.reason == "by descent from πref"
    assert plain.weights is None
    tied = descend_sequences(tree, problem, "dpo", 0.5, features=tree.token_features("token"))
    assert tied.reason.startswith("the best of 12 starts, which ")
    assert tied.reason.endswith(" of them reach")
    assert 1 <= int(tied.reason.split()[6]) <= 12
    big = descend_sequences(tree, problem, "dpo", 0.5, features=1e6 * tree.token_features("token"))
    np.testing.assert_allclose(big.policy, tied.policy, atol=1e-9)
    assert big.weights is not None
    assert tied.weights is not None
    assert tied.gradient <= 1e-9
    node = tree.token_features("token")
    logits = node @ tied.weights - node @ (1e6 * big.weights)
    means = np.bincount(tree.node, logits) / np.bincount(tree.node)
    np.testing.assert_allclose(logits, means[tree.node], atol=1e-6)
