"""Responses with lengths: the tree against the chain rule, optima against scipy's, brute force and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

import gpo_analysis as gpo
from gpo_analysis.tabular import PreferenceProblem, PrefixTree, descend_sequences, solve_sequences, tilted_by_length
from gpo_analysis.tabular import lengths as lengths_module
from gpo_analysis.tabular.lengths import orpo
from gpo_analysis.tabular.sequence_solution import REDUCTIONS

TREE = PrefixTree(letters=2, depth=3, stop=0.4, letter_weights=[0.3, 0.7])


def drawn(tree: PrefixTree, seed: int = 0) -> tuple[PreferenceProblem, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=tree.n)
    return tree.problem(gpo.bradley_terry(reward), rng.dirichlet(np.full(tree.n, 3.0))), reward


def score(tree: PrefixTree, log_policy: NDArray[np.float64], reduction: str) -> NDArray[np.float64]:
    if reduction.endswith("without_reference"):
        return log_policy / (tree.lengths if reduction.startswith("mean") else 1)
    h = log_policy - tree.log_reference
    return h if reduction == "sum" else h / tree.lengths


def test_the_reference_of_a_response_is_the_product_of_its_tokens() -> None:
    assert TREE.n == 2 + 4 + 8
    share = {"a": 0.3, "b": 0.7}
    for word, found in zip(TREE.responses, TREE.reference, strict=True):
        expected = share[word[0]]
        for letter in word[1:]:
            expected *= 0.4 if letter == "." else 0.6 * share[letter]
        assert found == pytest.approx(expected, rel=1e-13)
    assert TREE.reference.sum() == pytest.approx(1, abs=1e-14)
    assert {word for word, cut in zip(TREE.responses, TREE.cut, strict=True) if cut} == {
        "".join(word) for word in itertools.product("ab", repeat=3)
    }


def test_a_distribution_over_responses_is_a_policy_at_each_node_and_kl_adds_up() -> None:
    policy = np.random.default_rng(1).dirichlet(np.ones(TREE.n))
    tokens = TREE.token_policy(policy)
    np.testing.assert_allclose(np.bincount(TREE.node, np.exp(tokens)), 1, rtol=1e-13)
    np.testing.assert_allclose(TREE.log_policy(tokens + 3.0), np.log(policy), atol=1e-12)
    assert TREE.kl_at_nodes(policy).sum() == pytest.approx(TREE.kl(policy), rel=1e-12)
    assert (TREE.kl_at_nodes(policy) > 0).all()
    assert TREE.expected_length(policy) == pytest.approx(sum(p * len(w) for p, w in zip(policy, TREE.responses)))  # noqa: B905


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", ["dpo", "ipo", "-log(sigmoid(z - 0.5))"])
def test_the_closed_form_is_what_constrained_optimisation_finds(loss: str, reduction: str) -> None:
    tree, beta = PrefixTree(2, 2, 0.4), 0.7
    problem, _ = drawn(tree)
    f, pairs = gpo.get_loss(loss), problem.directed_pairs()

    def value(log_policy: NDArray[np.float64]) -> float:
        s = score(tree, log_policy, reduction)
        return float(pairs.weight @ f(beta * (s[pairs.winner] - s[pairs.loser])))

    total = {"type": "eq", "fun": lambda x: np.exp(x).sum() - 1, "jac": np.exp}
    options = {"ftol": 1e-15, "maxiter": 1000}
    theirs = minimize(value, tree.log_reference, method="SLSQP", constraints=[total], options=options)
    ours = solve_sequences(tree, problem, loss, beta, reduction=reduction)
    assert ours.converged
    assert value(np.log(ours.policy)) <= theirs.fun + 1e-13
    np.testing.assert_allclose(ours.policy, np.exp(theirs.x), atol=3e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_closed_form_is_what_descent_at_the_nodes_finds(reduction: str) -> None:
    problem, _ = drawn(TREE)
    for loss in ("logistic", "squared"):
        leaves = solve_sequences(TREE, problem, loss, 0.4, reduction=reduction)
        nodes = descend_sequences(TREE, problem, loss, 0.4, reduction=reduction)
        assert str(nodes.status) == "stationary point"
        np.testing.assert_allclose(nodes.policy, leaves.policy, atol=1e-9)
        assert nodes.population_loss == pytest.approx(leaves.population_loss, abs=1e-12)
        assert nodes.kl == pytest.approx(leaves.kl, abs=1e-9)
    assert leaves.kl_per_token == pytest.approx(leaves.kl / leaves.expected_length)


def test_sums_are_the_problem_s_own_optimum() -> None:
    problem, _ = drawn(TREE)
    ours = solve_sequences(TREE, problem, "squared", 0.3)
    np.testing.assert_allclose(ours.policy, problem.solve("squared", 0.3).policy, rtol=1e-12)


def ld_loss(
    tree: PrefixTree, problem: PreferenceProblem, tokens: NDArray[np.float64], beta: float, alpha: float
) -> float:
    """Word by word: sums over tokens of the nodes, those beyond the shorter word α times."""
    at: dict[tuple[str, str], float] = {}
    words = iter(tokens - tree.token_reference)
    for node in sorted({w[:t] for w in tree.responses for t in range(len(w))}, key=lambda w: (len(w), w)):
        for letter in [*"abc"[: tree.letters], *(["."] if node else [])]:
            at[node, letter] = float(next(words))
    total = float(np.sum(problem.behavior**2)) * np.log(2)
    pairs = problem.directed_pairs()
    for i, j, weight in zip(pairs.winner, pairs.loser, pairs.weight, strict=True):
        sides = []
        shorter = min(len(tree.responses[i]), len(tree.responses[j]))
        for word in (tree.responses[i], tree.responses[j]):
            sides.append(sum((1.0 if t < shorter else alpha) * at[word[:t], c] for t, c in enumerate(word)))
        total += weight * np.log1p(np.exp(-beta * (sides[0] - sides[1])))
    return total


def test_ld_dpo_against_word_by_word_brute_force() -> None:
    tree, alpha, beta = PrefixTree(2, 3, 0.4), 0.5, 0.8
    problem, _ = drawn(tree, 2)
    ours = descend_sequences(tree, problem, "logistic", beta, ld_alpha=alpha)
    assert ours.converged
    tokens = tree.token_policy(ours.policy)
    assert ours.population_loss == pytest.approx(ld_loss(tree, problem, tokens, beta, alpha), abs=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(30):  # no neighbour is better
        moved = tree.token_policy(np.exp(tree.log_policy(tokens + 0.02 * rng.normal(size=tree.tokens))))
        assert ld_loss(tree, problem, moved, beta, alpha) >= ours.population_loss - 1e-13
    whole = descend_sequences(tree, problem, "logistic", beta, ld_alpha=1.0)
    assert np.abs(whole.policy - ours.policy).max() > 1e-3


def test_orpo_against_scipy_over_leaves() -> None:
    tree, weight = PrefixTree(2, 2, 0.4), 0.7
    problem, _ = drawn(tree)
    pairs, own = problem.directed_pairs(), problem.diagonal_weights()[0]

    def value(logits: NDArray[np.float64]) -> float:
        a = log_softmax(logits) / tree.lengths
        odds = a - np.log1p(-np.exp(a))
        z = odds[pairs.winner] - odds[pairs.loser]
        return float(pairs.weight @ (-a[pairs.winner] + weight * np.logaddexp(0, -z)) + own @ (weight * np.log(2) - a))

    theirs = minimize(value, tree.log_reference, method="BFGS", options={"gtol": 1e-9})
    ours = descend_sequences(tree, problem, orpo(weight), 1.0, reduction="mean_without_reference")
    assert ours.converged
    assert ours.population_loss == pytest.approx(theirs.fun, abs=1e-10)
    np.testing.assert_allclose(ours.policy, np.exp(log_softmax(theirs.x)), atol=1e-5)


def test_the_likelihood_of_token_means_weighs_a_response_by_one_over_its_length() -> None:
    problem, _ = drawn(TREE)
    pairs, own = problem.directed_pairs(), problem.diagonal_weights()[0]
    won = np.bincount(pairs.winner, pairs.weight, TREE.n) + own
    found = descend_sequences(TREE, problem, orpo(0.0), 1.0, reduction="mean_without_reference")
    np.testing.assert_allclose(found.policy, won / TREE.lengths / np.sum(won / TREE.lengths), atol=1e-10)
    assert found.expected_length == pytest.approx(1 / np.sum(won / TREE.lengths), abs=1e-9)
    assert found.expected_length < won @ TREE.lengths


@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential"])
def test_reward_without_length_sums_keep_the_length_and_means_add_to_it(loss: str) -> None:
    tree = PrefixTree(3, 4, 0.35)
    reward = np.array([{"a": 0.0, "b": 0.4, "c": 1.5}[word[0]] for word in tree.responses])
    problem = tree.problem(gpo.bradley_terry(reward))
    before = tree.expected_length(tree.reference)
    for beta in (0.1, 1.0):
        sums = solve_sequences(tree, problem, loss, beta)
        assert sums.expected_length == pytest.approx(before, abs=1e-9)
        assert sums.cut_off == pytest.approx(tree.cut_off(tree.reference), abs=1e-9)
        assert solve_sequences(tree, problem, loss, beta, reduction="mean").expected_length > before + 1e-3
    g, beta = problem.fit(loss).reward, 50.0
    moments = [tree.reference @ tree.lengths**k for k in (1, 2, 3)]
    spread = tree.reference @ g**2 - (tree.reference @ g) ** 2
    second = 0.5 * spread / beta**2 * (moments[2] - moments[1] ** 2 / moments[0])
    found = solve_sequences(tree, problem, loss, beta, reduction="mean").expected_length - before
    assert found == pytest.approx(second, rel=0.1)


def test_without_preferences_simpo_is_the_policy_of_most_entropy_a_token() -> None:
    policy = tilted_by_length(np.zeros(TREE.n), TREE.lengths, 1.0)
    rate = -policy @ np.log(policy) / (policy @ TREE.lengths)

    def negative(logits: NDArray[np.float64]) -> float:
        p = np.exp(log_softmax(logits))
        return float(p @ np.log(p) / (p @ TREE.lengths))

    best = minimize(negative, np.zeros(TREE.n), method="BFGS", options={"gtol": 1e-9})
    assert rate == pytest.approx(-best.fun, abs=1e-10)
    np.testing.assert_allclose(policy, np.exp(log_softmax(best.x)), atol=1e-5)


def test_small_beta_and_long_responses_stay_finite() -> None:
    policy = tilted_by_length([0.0, 1.0, 1.0], [1, 5, 400], 1e-6, np.log([0.5, 0.3, 0.2]))
    assert policy.sum() == pytest.approx(1, abs=1e-12)
    assert policy[0] == 0
    np.testing.assert_allclose(tilted_by_length([1.0, 1.0], [2, 9], 0.1, np.log([0.4, 0.6])), [0.4, 0.6], atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PrefixTree(0, 2, 0.5), "letters must be"),
        (lambda: PrefixTree(2, 2.5, 0.5), "depth must be"),  # type: ignore[arg-type]
        (lambda: PrefixTree(2, 2, 1.0), "stop must be"),
        (lambda: PrefixTree(26, 6, 0.5), "more than 100000"),
        (lambda: PrefixTree(2, 2, 0.5, [1.0]), "letter_weights"),
        (lambda: tilted_by_length([0.0, 1.0], [1, 0], 1.0), "lengths must be above 0"),
        (lambda: tilted_by_length([0.0, np.inf], [1, 1], 1.0), "must be finite"),
        (lambda: tilted_by_length([0.0, 1.0], [1, 1, 1], 1.0), "one shape"),
        (lambda: tilted_by_length([0.0, 1e300], [1, 1], 1e-300), "no float"),
        (lambda: solve_sequences(TREE, drawn(TREE)[0], "dpo", 1.0, reduction="median"), "reduction must be one of"),
        (lambda: solve_sequences(TREE, PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]), "dpo", 1.0), "14 responses"),
        (lambda: solve_sequences(TREE, PreferenceProblem(np.full((14, 14), 0.5)), "dpo", 1.0), "tree.problem"),
        (lambda: solve_sequences(TREE, drawn(TREE)[0], "bco_pair", 1.0), "bco_pair"),
        (lambda: descend_sequences(TREE, drawn(TREE)[0], "dpo", 1.0, ld_alpha=2.0), r"\[0, 1\]"),
        (lambda: descend_sequences(TREE, drawn(TREE)[0], "dpo", 1.0, reduction="mean", ld_alpha=0.5), "weights sums"),
        (lambda: orpo(-1.0), "at least 0"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_preferences_without_a_finite_fit_are_said() -> None:
    tree = PrefixTree(2, 1, 0.5)
    found = solve_sequences(tree, tree.problem([[0.5, 1.0], [0.0, 0.5]]), "dpo", 1.0)
    assert not found.converged
    assert str(found.status) == "no finite optimum"
    assert np.isnan(found.policy).all()


@pytest.mark.parametrize("size", [1.0, 100.0, 1e3, 1e6])
def test_a_tilt_takes_few_steps_however_far_its_constant_is(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that sums to e^−size moves the constant there; from above Newton's steps are quadratic."""
    calls: list[int] = []

    def counted(terms: np.ndarray) -> float:
        calls.append(1)
        return float(logsumexp(terms))

    monkeypatch.setattr(lengths_module, "logsumexp", counted)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        base = np.log(rng.dirichlet(np.ones(6))) - size
        calls.clear()
        found = tilted_by_length(rng.normal(size=6), [1, 2, 3, 5, 9, 30], 0.5, base, log=True)
        assert logsumexp(found) == pytest.approx(0, abs=1e-12)
        assert len(calls) <= 40


def test_names_of_what_is_refused() -> None:
    tree = PrefixTree(letters=2, depth=2, stop=0.5)
    problem = tree.problem(gpo.bradley_terry(np.zeros(tree.n)))
    with pytest.raises(ValueError, match=r"^beta "):
        solve_sequences(tree, problem, "dpo", 0.0)
    assert orpo(0.5).name == "orpo"
