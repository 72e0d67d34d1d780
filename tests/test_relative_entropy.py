"""KL of policies that all but are their reference, against sums of 60 digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.relative_entropy import NEAR, kl_between, kl_from_log_ratio

MUCH = mpmath.MPContext()
MUCH.dps = 60


def exact_kl(u: np.ndarray, reference: np.ndarray) -> float:
    """KL(π‖πref) of π ∝ πref eᵘ."""
    q = [MUCH.mpf(float(x)) for x in reference]
    q = [x / sum(q) for x in q]
    mass = [x * MUCH.exp(MUCH.mpf(float(v))) for x, v in zip(q, u, strict=True)]
    total = sum(mass)
    return float(sum(m / total * MUCH.log(m / total / x) for m, x in zip(mass, q, strict=True)))


@pytest.mark.parametrize("size", [1e-12, 1e-9, 1e-6, 1e-3, 0.9 * NEAR, 1.1 * NEAR, 0.5, 5.0])
def test_kl_from_log_ratios(size: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        reference = rng.dirichlet(np.ones(5))
        u = size * rng.uniform(-0.5, 0.5, 5)
        h = u - np.log(np.sum(reference * np.exp(u)))
        exact = exact_kl(u, reference)
        found = float(kl_from_log_ratio(reference * np.exp(h), h, reference))
        assert found == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize("beta", [0.1, 1.0, 1e2, 1e4, 1e6, 1e8, 1e12])
@pytest.mark.parametrize("link", ["reverse_kl", "chi"])
def test_kl_of_optima_at_any_strength(beta: float, link: str) -> None:
    """The tilt of a Bradley–Terry problem; far out KL is Var(g)/(2β²), which a cancelling sum had below 0."""
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.5]), [0.6, 0.3, 0.1], [0.6, 0.3, 0.1])
    solution = problem.solve("dpo", beta, link=link)
    if link == "reverse_kl":
        g = problem.fit("dpo").reward
        exact = exact_kl(g / beta, np.array([0.6, 0.3, 0.1]))
        fit = problem.fit("dpo")
        assert solution.kl == pytest.approx(exact, rel=1e-11)
        assert fit.kl(beta) == pytest.approx(exact, rel=1e-11)
        assert gpo.solve_grid(problem, "dpo", beta).kl[0] == pytest.approx(exact, rel=1e-11)
    else:  # the policies themselves are rounded to 1e-16, of differences of 1/β
        exact = exact_kl(solution.log_ratio, np.array([0.6, 0.3, 0.1]))
        assert solution.kl == pytest.approx(exact, rel=1e-11 + 1e-15 * beta)
    assert solution.kl >= 0


def test_close_distributions_by_their_difference() -> None:
    rng = np.random.default_rng(1)
    for size in (1e-12, 1e-8, 1e-4, 0.04, 0.06, 0.5):
        q = rng.dirichlet(np.full(6, 5.0))
        p = q * (1 + size * rng.uniform(-1, 1, 6))
        p /= p.sum()
        first, second = ([MUCH.mpf(float(x)) for x in row] for row in (p, q))
        exact = float(sum(x * MUCH.log(x / y) - x + y for x, y in zip(first, second, strict=True)))
        assert float(kl_between(p, q)) == pytest.approx(exact, rel=1e-12)
        assert gpo.kl_divergence(p, q) >= 0


def test_losses_of_two_ratios_features_trees_and_training() -> None:
    """Everything that reports a KL does so without cancelling."""
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.5]), [0.5, 0.3, 0.2], [0.5, 0.3, 0.2])
    beta, reference = 1e7, np.array([0.5, 0.3, 0.2])
    for solution in (
        problem.solve(gpo.parse_loss("log(1+exp(b-a))"), beta),
        gpo.solve_features(problem, np.eye(3), "dpo", beta),
    ):
        assert solution.kl == pytest.approx(exact_kl(np.ravel(solution.log_ratio), reference), rel=1e-6)
    run = gpo.train(problem, "dpo", 1.0, steps=1, learning_rate=1e-7)
    frame = run.to_frame()
    # the first step goes along the gradient, β times that of f(0): θ = η Σ w (e_i − e_j)/2
    weight = problem.directed_pairs()
    theta = np.zeros(3)
    np.add.at(theta, weight.winner, 0.5 * weight.weight)
    np.add.at(theta, weight.loser, -0.5 * weight.weight)
    assert frame.kl.iloc[-1] == pytest.approx(exact_kl(1e-7 * theta, reference), rel=1e-6)


def test_weights_zeros_and_axes() -> None:
    policy, reference = np.array([[0.5, 0.5, 0.0]] * 2), np.array([[0.25, 0.25, 0.5]] * 2)
    with np.errstate(divide="ignore"):
        h = np.log(policy / reference)
    assert kl_from_log_ratio(policy, h, reference) == pytest.approx([np.log(2)] * 2)
    assert kl_from_log_ratio(policy.T, h.T, reference.T, axis=0) == pytest.approx([np.log(2)] * 2)
    assert np.isnan(kl_from_log_ratio(policy, h * np.nan, reference)).all()
    assert kl_from_log_ratio(0.25 * reference, np.zeros((2, 3)), 0.25 * reference).tolist() == [0.0, 0.0]
