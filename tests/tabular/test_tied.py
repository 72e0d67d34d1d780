"""Policies tied across the nodes of a prefix tree: against the tabular optimum and torch with scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

import gpo_analysis as gpo
from gpo_analysis.tabular import PrefixTree, descend_sequences

TREE = PrefixTree(letters=2, depth=4, stop=0.35)


def first_letter(tree: PrefixTree) -> gpo.PreferenceProblem:
    return tree.problem(gpo.bradley_terry([float(word[0] == "a") for word in tree.responses]))


def drawn(tree: PrefixTree, seed: int) -> gpo.PreferenceProblem:
    rng = np.random.default_rng(seed)
    return tree.problem(gpo.bradley_terry(rng.normal(size=tree.n)), rng.dirichlet(np.full(tree.n, 3.0)))


@pytest.mark.parametrize(("loss", "reduction"), [("dpo", "sum"), ("ipo", "mean"), ("nca_pair", "sum")])
def test_nothing_shared_is_the_tabular_optimum(loss: str, reduction: str) -> None:
    tree = PrefixTree(2, 3, 0.4)
    problem = drawn(tree, 3)
    alone = descend_sequences(tree, problem, loss, 0.5, reduction=reduction)
    for features in (tree.token_features("node"), np.eye(tree.tokens), tree.token_features("last", "node")):
        tied = descend_sequences(tree, problem, loss, 0.5, reduction=reduction, features=features)
        assert tied.converged
        np.testing.assert_allclose(tied.policy, alone.policy, atol=1e-9)
        assert tied.population_loss == pytest.approx(alone.population_loss, abs=1e-13)


@pytest.mark.parametrize("kinds", [("token",), ("last",), ("position",), ("last", "position")])
@pytest.mark.parametrize(("loss", "reduction"), [("dpo", "sum"), ("dpo", "mean"), ("nca_pair", "sum")])
def test_tied_optima_are_what_torch_and_scipy_find(kinds: tuple[str, ...], loss: str, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    tree, beta = PrefixTree(2, 3, 0.4), 0.6
    problem, phi = drawn(tree, 5), tree.token_features(*kinds)
    ours = descend_sequences(tree, problem, loss, beta, reduction=reduction, features=phi)
    assert ours.converged
    tokens = {word: np.flatnonzero(tree.incidence[[i]].toarray()[0]) for i, word in enumerate(tree.responses)}
    pairs, own = problem.directed_pairs(), problem.diagonal_weights()[0]
    first, second = np.append(pairs.winner, np.arange(tree.n)), np.append(pairs.loser, np.arange(tree.n))
    weight = torch.tensor(np.append(pairs.weight, own))

    def value(theta: object) -> object:
        """Softmax by softmax and word by word."""
        logits = torch.tensor(tree.token_reference) + torch.tensor(phi) @ theta
        log = torch.cat([torch.log_softmax(logits[tree.node == k], 0) for k in range(tree.node.max() + 1)])
        ratio = log - torch.tensor(tree.token_reference)
        h = torch.stack([ratio[at].mean() if reduction == "mean" else ratio[at].sum() for at in tokens.values()])
        a, b = beta * h[first], beta * h[second]
        plus = torch.nn.functional.softplus
        losses = plus(b - a) if loss == "dpo" else plus(-a) + 0.5 * plus(a) + 0.5 * plus(b)
        return (weight * losses).sum()

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.tensor(x, requires_grad=True)
        found = value(theta)
        found.backward()  # type: ignore[attr-defined]
        return found.item(), theta.grad.numpy()  # type: ignore[attr-defined]

    assert ours.weights is not None
    assert both(ours.weights)[0] == pytest.approx(ours.population_loss, abs=1e-13)
    assert np.abs(both(ours.weights)[1]).max() < 1e-9
    theirs = minimize(both, np.zeros(phi.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000})
    assert ours.population_loss <= theirs.fun + 1e-12
    assert ours.population_loss == pytest.approx(theirs.fun, abs=1e-9)


def test_tying_moves_the_length_where_a_policy_a_node_keeps_it() -> None:
    problem, before = first_letter(TREE), TREE.expected_length(TREE.reference)
    cut = TREE.cut_off(TREE.reference)
    free = descend_sequences(TREE, problem, "dpo", 0.5)
    assert free.expected_length == pytest.approx(before, abs=1e-9)
    # "a" is wanted first alone: a policy that says "a" everywhere says it in place of the end token too
    tied = descend_sequences(TREE, problem, "dpo", 0.5, features=TREE.token_features("token"))
    assert tied.expected_length > before + 0.05
    assert tied.cut_off > cut + 0.03
    assert tied.population_loss > free.population_loss + 1e-3
    # where the first node has logits of its own nothing has to be shared
    for kinds in (("last",), ("position",)):
        found = descend_sequences(TREE, problem, "dpo", 0.5, features=TREE.token_features(*kinds))
        np.testing.assert_allclose(found.policy, free.policy, atol=1e-8)
    # means lengthen at every β and f without ties (docs/predictions/lengths.md); tied by position they shorten here
    means = [
        descend_sequences(TREE, problem, "dpo", 0.5, reduction="mean", features=features).expected_length
        for features in (None, TREE.token_features("position"))
    ]
    assert means[0] > before + 0.1
    assert means[1] < before - 0.1


def test_features_count_within_a_node_alone() -> None:
    tree = PrefixTree(2, 3, 0.4)
    problem, phi = drawn(tree, 7), tree.token_features("last")
    shift = np.random.default_rng(0).normal(size=tree.node.max() + 1)[tree.node]
    one = descend_sequences(tree, problem, "dpo", 0.5, features=phi)
    other = descend_sequences(tree, problem, "dpo", 0.5, features=np.column_stack([phi, shift]) * 1e150)
    np.testing.assert_allclose(other.policy, one.policy, atol=1e-8)
    constant = descend_sequences(tree, problem, "dpo", 0.5, features=shift[:, None])
    np.testing.assert_allclose(constant.policy, tree.reference, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TREE.token_features(), "kinds must be some of token, last, position, node, got none"),
        (lambda: TREE.token_features("suffix"), "got 'suffix'"),
        (lambda: descend_sequences(TREE, first_letter(TREE), "dpo", 1.0, features=np.eye(3)), r"shape \(44, d\)"),
        (lambda: descend_sequences(TREE, first_letter(TREE), "dpo", 1.0, features=np.full((44, 1), np.nan)), "finite"),
    ],
)
def test_bad_input_is_refused_by_name(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
