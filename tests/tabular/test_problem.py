"""Problems: validation at construction, weights of pairs, the population loss, samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpo_analysis as gpo
from gpo_analysis.preferences import Comparisons
from gpo_analysis.tabular import PreferenceProblem

P = [[0.5, 0.8], [0.2, 0.5]]
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.5, 0.8], [0.3, 0.5]],), r"preference\[0, 1\] \+ preference\[1, 0\] must be 1.*got 0.8 \+ 0.3 = 1.1"),
        (([[0.5, 1.2], [-0.2, 0.5]],), r"preference\[0, 1\] is 1.2; accepted are probabilities in \[0, 1\]"),
        (([[0.5, NAN], [0.2, 0.5]],), r"preference\[0, 1\] is nan"),
        (([[0.6, 0.8], [0.2, 0.5]],), r"preference\[0, 0\] is 0.6; accepted is 0.5 on the diagonal"),
        (([0.5, 0.5],), r"preference must be square"),
        (([[0.5, 0.8, 0.1], [0.2, 0.5, 0.2]],), r"preference must be square"),
        ((np.full((1, 1, 1, 1), 0.5),), r"shape \(n, n\) or \(m, n, n\)"),
        ((np.zeros((0, 0)),), r"preference must be square"),
        (("words",), r"preference must be an array of real numbers"),
        ((None,), r"preference is missing"),
        ((P, [0.5, 0.6]), r"behavior must sum to 1.*got 1.1"),
        ((P, [1.5, -0.5]), r"behavior\[1\] is -0.5; accepted are numbers of at least 0"),
        ((P, [NAN, 1.0]), r"behavior\[0\] is nan"),
        ((P, [INF, 1.0]), r"behavior\[0\] is inf"),
        ((P, [0.2, 0.3, 0.5]), r"behavior must have shape \(2,\), got shape \(3,\)"),
        ((P, None, [1.0, 0.0]), r"reference\[1\] is 0.0; accepted are numbers above 0"),
        ((P, None, [0.5, 0.4]), r"reference must sum to 1.*got 0.9"),
        ((P, None, [-0.5, 1.5]), r"reference\[0\] is -0.5"),
        ((P, None, [[0.5, 0.5]]), r"reference must have shape \(2,\)"),
        ((P, None, None, [1.0]), r"context_weights need a preference of shape \(m, n, n\)"),
        (([P, P], None, None, [0.5, 0.2, 0.3]), r"context_weights must have shape \(2,\)"),
        (([P, P], None, None, [0.5, 0.6]), r"context_weights must sum to 1"),
        (([P, P], [0.5, 0.5]), r"behavior must have shape \(2, 2\)"),
        ((P, None, None, None, ["a"]), r"items must be 2 distinct names"),
        ((P, None, None, None, ["a", "a"]), r"items must be 2 distinct names"),
    ],
)
def test_bad_input_is_refused_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        PreferenceProblem(*arguments)


def test_comparisons_come_without_the_rest():
    games = Comparisons.from_pairs([("a", "b")])
    with pytest.raises(ValueError, match="bring their own pair weights"):
        PreferenceProblem(P, comparisons=games)
    with pytest.raises(ValueError, match=r"reference must have shape \(2,\)"):
        PreferenceProblem.from_comparisons(games, [1.0])


def test_weights_and_diagonal():
    problem = PreferenceProblem(P, [0.25, 0.75])
    pairs = problem.directed_pairs()
    np.testing.assert_allclose(pairs.weight, [2 * 0.25 * 0.75 * 0.8, 2 * 0.25 * 0.75 * 0.2])
    assert pairs.winner.tolist() == [0, 1]
    assert pairs.diagonal_mass == pytest.approx(0.25**2 + 0.75**2)
    assert problem.directed_pairs() is pairs
    assert not problem.behavior.flags.writeable
    assert problem.n == 2
    assert problem.contexts == 1
    assert not problem.is_batch
    assert not problem.is_sparse
    assert repr(problem) == "PreferenceProblem(2 responses)"


def test_contexts_weigh_their_pairs():
    problem = PreferenceProblem([P, P], context_weights=[0.75, 0.25])
    pairs = problem.directed_pairs()
    assert pairs.context.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(pairs.weight[:2], 3 * pairs.weight[2:])
    assert pairs.weight.sum() + pairs.diagonal_mass == pytest.approx(1)
    assert repr(problem) == "PreferenceProblem(2 responses, 2 contexts)"
    with pytest.raises(ValueError, match="without contexts"):
        problem.sample(3, seed=0)


def test_comparisons_as_a_problem():
    games = Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1), ("a", "c", 4)])
    problem = PreferenceProblem.from_comparisons(games, [0.5, 0.25, 0.25])
    assert problem.is_sparse
    assert problem.items == ("a", "b", "c")
    np.testing.assert_allclose(problem.behavior, [8 / 16, 4 / 16, 4 / 16])
    np.testing.assert_allclose(problem.pair_weights()[0], [[0, 3 / 8, 4 / 8], [1 / 8, 0, 0], [0, 0, 0]])
    assert problem.directed_pairs().diagonal_mass == 0
    assert repr(problem) == "PreferenceProblem(3 responses, 3 observed ordered pairs)"


@given(st.integers(0, 10**6))
def test_loss_is_f_at_zero_at_the_reference_and_ignores_constants(seed):
    rng = np.random.default_rng(seed)
    problem = PreferenceProblem(
        gpo.bradley_terry(rng.normal(size=4)), rng.dirichlet(np.ones(4)), rng.dirichlet(np.full(4, 5.0))
    )
    for name in ("logistic", "hinge", "squared"):
        at_zero = float(gpo.get_loss(name)(0.0))
        assert problem.population_loss(problem.reference, name, 0.7) == pytest.approx(at_zero, rel=1e-12)
        h = rng.normal(size=4)
        assert problem.loss_at(h + 3.0, name, 0.7) == pytest.approx(problem.loss_at(h, name, 0.7), rel=1e-12)


def test_population_loss_against_a_double_loop_and_along_a_trajectory():
    rng = np.random.default_rng(0)
    mu, ref = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3))
    matrix = gpo.bradley_terry(rng.normal(size=3))
    problem = PreferenceProblem(matrix, mu, ref)
    policies = rng.dirichlet(np.ones(3), size=5)
    expected = []
    for policy in policies:
        h = np.log(policy / ref)
        expected.append(
            sum(2 * mu[i] * mu[j] * matrix[i, j] * (0.3 * (h[i] - h[j]) - 1) ** 2 for i in range(3) for j in range(3))
        )
    np.testing.assert_allclose(problem.population_loss(policies, "squared", 0.3), expected, rtol=1e-12)
    assert isinstance(problem.population_loss(policies[0], "squared", 0.3), float)
    batch = PreferenceProblem([matrix, matrix], [mu, mu], [ref, ref])
    two = np.stack([policies[:2], policies[2:4]])
    found = batch.population_loss(two, "squared", 0.3)
    np.testing.assert_allclose(found, [np.mean(expected[:2]), np.mean(expected[2:4])], rtol=1e-12)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([1.0, 0.0], r"policy\[1\] is 0.0"),
        ([0.5, 0.6], "policy must sum to 1"),
        ([0.2, 0.3, 0.5], r"policy must have shape \(..., 2\)"),
    ],
)
def test_bad_policies_are_refused(policy, message):
    with pytest.raises(ValueError, match=message):
        PreferenceProblem(P).population_loss(policy, "squared", 1.0)


def test_bad_log_ratios_and_betas_are_refused():
    problem = PreferenceProblem(P)
    with pytest.raises(ValueError, match="log_ratio must be finite"):
        problem.loss_at([0.0, INF], "squared", 1.0)
    with pytest.raises(ValueError, match="log_ratio must be finite"):
        problem.loss_at([0.0, 1.0, 2.0], "squared", 1.0)
    for beta in (0.0, -1.0, NAN):
        with pytest.raises(ValueError, match="beta"):
            problem.loss_at([0.0, 1.0], "squared", beta)


def test_samples_are_reproducible_vary_and_follow_the_weights():
    problem = PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]), [0.2, 0.3, 0.5], items=["a", "b", "c"])
    one, same, other = (problem.sample(200_000, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.count, same.count)
    assert np.abs(one.count - other.count).max() > 0
    assert one.total == 200_000
    assert one.items == ("a", "b", "c")
    pairs = problem.directed_pairs()
    np.testing.assert_allclose(one.count / one.total, pairs.weight / pairs.weight.sum(), atol=5e-3)


@pytest.mark.parametrize("size", [0, -3, 1.5])
def test_bad_sample_sizes_are_refused(size):
    with pytest.raises(ValueError, match="size must be a whole number of at least 1"):
        PreferenceProblem(P).sample(size, seed=0)


def test_nothing_to_sample():
    with pytest.raises(ValueError, match="nothing to compare"):
        PreferenceProblem(P, [1.0, 0.0]).sample(3, seed=0)


@pytest.mark.parametrize("name", ["bco_pair", "dpo"])
def test_losses_of_a_stack_of_log_ratios_are_those_of_each(name):
    rng = np.random.default_rng(4)
    p = np.stack([gpo.bradley_terry(rng.normal(size=3)) for _ in range(2)])
    problem = PreferenceProblem(p, rng.dirichlet(np.ones(3), 2), rng.dirichlet(np.ones(3), 2))
    h = rng.normal(size=(4, 2, 3))
    found = problem.loss_at(h, name, 0.7)
    assert found == pytest.approx([problem.loss_at(one, name, 0.7) for one in h], rel=1e-13)
    assert np.ptp(found) > 0.01


def test_pictures_say_what_they_leave_out():
    p = gpo.bradley_terry([0.0, 1.0, 0.5])
    assert PreferenceProblem(p)._panel().note == ""
    assert PreferenceProblem(np.stack([p, p.T]))._panel().note == "the first of 2 contexts"
    many = PreferenceProblem(gpo.bradley_terry(np.arange(60.0)))._panel()
    assert many.note == f"the {len(many.cells.rows)} of 60 responses that μ draws most"
    assert len(many.cells.rows) < 60
    assert "first of" not in PreferenceProblem(p).fit("dpo")._panel().title
    assert PreferenceProblem(np.stack([p, p.T])).fit("dpo")._panel().title.endswith(", in the first of 2 contexts")
