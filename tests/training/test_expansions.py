"""Expanded gradients: finite differences of the expanded loss, exact cases, and the rule's parts."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.training import (
    early_phase,
    expanded_gradients,
    expansion_table,
    margin_quantiles,
    predicted_margins,
    share_beyond,
)


def problem_of(seed: int, n: int = 4) -> gpo.PreferenceProblem:
    rng = np.random.default_rng(seed)
    return gpo.PreferenceProblem(gpo.bradley_terry(rng.normal(size=n)), rng.dirichlet(np.full(n, 3.0)))


@pytest.mark.parametrize("loss", ["logistic", "exponential", "savage", "hinge"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_gradient_of_the_expansion_is_that_of_the_expanded_loss(loss: str, order: int) -> None:
    problem, beta, h = problem_of(1), 0.8, np.array([0.5, -0.2, 0.1, 0.3])
    f = gpo.get_loss(loss)
    expression = 1 - f.symbol if loss == "hinge" else f.expression  # hinge near 0
    series = sympy.lambdify(f.symbol, sympy.series(expression, f.symbol, 0, order + 1).removeO(), "numpy")

    def value(x: np.ndarray) -> float:
        z = beta * (x[:, None] - x[None, :])
        weight = 2 * np.outer(problem.behavior, problem.behavior) * problem.preference
        return float(np.sum((weight * series(z))[~np.eye(4, dtype=bool)]))

    step = 1e-5
    expected = [(value(h + step * e) - value(h - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(expanded_gradients(problem, loss, beta, h, (order,))[1][0], expected, atol=1e-8)


def test_true_gradient_is_that_of_training() -> None:
    problem = problem_of(2)
    run = gpo.train(problem, "savage", 0.5, learning_rate=2.0, steps=20, keep=("logits", "gradients"))
    assert run.logits is not None
    assert run.gradients is not None
    true, _ = expanded_gradients(problem, "savage", 0.5, run.logits - np.log(problem.reference))
    np.testing.assert_allclose(true, run.gradients, atol=1e-14)


def test_exact_where_it_should_be_and_not_beyond() -> None:
    problem = problem_of(3)
    paths = np.outer([0.2, 0.9, 1.5], [0.5, -0.5, 0.0, 0.2])  # margins up to 0.2, 0.9 and 1.5
    for loss, order in (("hinge", 1), ("truncated_quadratic", 2)):
        error = expansion_table(problem, loss, 1.0, paths)[f"scaled_error_{order}"]
        assert error[0] < 1e-14
        assert error[1] < 1e-14
        assert error[2] > 1e-3
    assert expansion_table(problem, "squared", 1.0, 10 * paths)["scaled_error_2"].max() < 1e-13


def test_relative_error_grows_without_end_at_rest() -> None:
    problem = problem_of(4)
    best = problem.solve("logistic", 1.0).log_ratio
    near = np.array([(1 - gap) * best for gap in (0.5, 0.1, 0.001)])
    found = expansion_table(problem, "logistic", 1.0, near)
    assert found["beyond"].max() == 0.0
    assert np.all(np.diff(found["relative_error_2"]) > 0)
    assert found["relative_error_2"][-1] > 1.0
    assert np.isnan(expansion_table(problem, "logistic", 1.0, best[None])["cosine_2"][0])


def test_quantiles_repeat_margins_by_their_weight() -> None:
    rng = np.random.default_rng(5)
    margins, counts = rng.normal(size=(3, 7)), rng.integers(1, 6, 7)
    repeated = np.repeat(margins, counts, axis=1)
    found = margin_quantiles(margins, counts / counts.sum(), (0.1, 0.5, 0.9, 1.0))
    expected = np.quantile(repeated, (0.1, 0.5, 0.9, 1.0), axis=1, method="inverted_cdf")
    np.testing.assert_allclose(found, expected)
    with pytest.raises(ValueError, match="levels"):
        margin_quantiles(margins, counts, (1.5,))


def test_share_beyond_does_not_depend_on_beta_at_the_optimum() -> None:
    rng = np.random.default_rng(6)
    problem = gpo.PreferenceProblem(gpo.bradley_terry(3 * rng.normal(size=6)))
    shares = [float(share_beyond(problem, "logistic", b, problem.solve("logistic", b).log_ratio)) for b in (0.1, 2.0)]
    assert shares[0] == shares[1]
    assert 0 < shares[0] < 1
    eta = problem.preference[np.triu_indices(6, 1)]
    expected = np.mean(np.abs(np.log(eta / (1 - eta))) > np.pi)  # Bradley–Terry: margins are the logits of η
    assert shares[0] == pytest.approx(expected)


def test_predicted_margins() -> None:
    problem = problem_of(7)
    pairs = problem.directed_pairs()
    eta = problem.preference[pairs.winner, pairs.loser]
    np.testing.assert_allclose(predicted_margins(problem, "dpo", 0.3), np.abs(np.log(eta / (1 - eta))), rtol=1e-9)
    d = early_phase(problem, "dpo", 0.3).direction
    early = predicted_margins(problem, "dpo", 0.3, time=1e-3)
    np.testing.assert_allclose(early, 0.09 * 0.5e-3 * np.abs(d[pairs.winner] - d[pairs.loser]), rtol=1e-9)
    certain = gpo.PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    assert predicted_margins(certain, "dpo", 1.0).tolist() == [np.inf]
    with pytest.raises(ValueError, match="time"):
        predicted_margins(problem, "dpo", 1.0, time=-1.0)


def test_contexts_are_kept_apart() -> None:
    one, two = problem_of(8), problem_of(9)
    both = gpo.PreferenceProblem(
        np.stack([one.preference, two.preference]), np.stack([one.behavior, two.behavior]),
        np.stack([one.reference, two.reference]),
    )  # fmt: skip
    h = np.random.default_rng(10).normal(size=(2, 4))
    true, expanded = expanded_gradients(both, "exponential", 0.5, h)
    for k, part in enumerate((one, two)):
        alone, alone_expanded = expanded_gradients(part, "exponential", 0.5, h[k])
        np.testing.assert_allclose(true.reshape(2, 4)[k], alone / 2)
        np.testing.assert_allclose(expanded.reshape(3, 2, 4)[:, k], alone_expanded / 2)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="orders"):
        expanded_gradients(problem_of(11), "dpo", 1.0, np.zeros(4), (0,))
    with pytest.raises(ValueError, match="log_ratio"):
        expanded_gradients(problem_of(11), "dpo", 1.0, np.zeros(3))
    with pytest.raises(ValueError, match="beta"):
        expanded_gradients(problem_of(11), "dpo", -1.0, np.zeros(4))
