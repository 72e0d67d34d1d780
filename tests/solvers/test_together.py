"""Problems that are solved together: the answers that each has alone, and what f alone says of complete pairs."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.solvers import optimum
from gpo_analysis.solvers.existence import has_minimum_of_complete_pairs
from gpo_analysis.tabular import PreferenceProblem

LOSSES = ("logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage", "log(1+exp(-z/500))")


def cyclic(rng: np.random.Generator, n: int, size: float = 1.0) -> FloatArray:
    odds = size * rng.normal(size=(n, n))
    return np.asarray(1 / (1 + np.exp(odds.T - odds)))


def mixed() -> list[PreferenceProblem]:
    """Of one size: complete ones, pairs never won or never drawn, contexts, one hard for floats; and other sizes."""
    rng = np.random.default_rng(5)
    sure = cyclic(rng, 4)
    sure[0, 1], sure[1, 0] = 1.0, 0.0
    never = [0.4, 0.6, 0.0, 0.0]
    rarely = [0.5, 0.5 - 1e-170, 1e-170, 0.0]
    return [
        PreferenceProblem(cyclic(rng, 4)),
        PreferenceProblem(sure),
        PreferenceProblem(cyclic(rng, 4), rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4))),
        PreferenceProblem(cyclic(rng, 4), never),
        PreferenceProblem(cyclic(rng, 4), rarely),
        PreferenceProblem(np.stack([cyclic(rng, 4), cyclic(rng, 4)]), context_weights=[0.3, 0.7]),
        PreferenceProblem(cyclic(rng, 4, size=12.0)),
        PreferenceProblem(cyclic(rng, 7)),
        PreferenceProblem(cyclic(rng, 1)),
        PreferenceProblem.from_comparisons(gpo.Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1), ("b", "c", 2)])),
    ]


@pytest.mark.parametrize("name", LOSSES)
def test_each_has_the_answer_that_it_has_alone(name: str) -> None:
    problems, betas = mixed(), [0.1, 3.0]
    table = gpo.solve_grid(problems, name, betas).to_frame()
    for k, problem in enumerate(problems):
        for beta, (_, row) in zip(betas, table[table["problem"] == k].iterrows(), strict=True):
            one = problem.solve(name, beta)
            assert (row["status"], row["reason"], row["converged"]) == (one.status, one.reason, one.converged)
            for column in ("population_loss", "kl", "mu_squared_loss", "max_margin"):
                assert row[column] == pytest.approx(getattr(one, column), rel=1e-9, abs=1e-13, nan_ok=True), column


@pytest.mark.parametrize("name", ["logistic", "squared"])
def test_the_largest_margin_is_that_of_pairs_with_weight(name: str) -> None:
    """By the pairs of the problem; a response that is all but never drawn makes none."""
    problems = mixed()
    table = gpo.solve_grid(problems, name, 1.0)
    for problem, fit, said in zip(problems, gpo.fit(problems, name), table["max_margin"], strict=True):
        at = np.atleast_2d(fit.reward)
        context, winner, loser = np.nonzero(problem.pair_weights() * problem.shares()[:, None, None])
        margins = np.abs(at[context, winner] - at[context, loser])
        np.testing.assert_array_equal(said, margins.max(initial=0.0))


def test_one_that_a_solver_cannot_do_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    problems, whole = mixed()[:3], optimum.ends_of_stack
    alone = [problem.fit("logistic").reward for problem in problems]
    hard = problems[2].pair_weights()[0]

    def failing(weights: FloatArray, *rest: object) -> optimum.Ends:
        if any(np.array_equal(one, hard) for one in weights):
            raise np.linalg.LinAlgError("too hard")
        return whole(weights, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(optimum, "ends_of_stack", failing)
    found = gpo.fit(problems, "logistic")
    assert (found[2].status, found[2].reason) == ("not converged", "LinAlgError: too hard")
    for fit, reward in zip(found[:2], alone[:2], strict=True):
        np.testing.assert_allclose(fit.reward, reward, rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", [*gpo.list_losses(), "z**2", "exp(z)", "-z", "log(1+exp(z))", "abs(z) - z", "0*z"])
def test_what_f_says_of_complete_pairs_is_what_its_tails_do(name: str) -> None:
    """Far out along any direction that moves a pair F grows, where it is said that a minimum exists."""
    f = get_margin_loss(name)
    rng = np.random.default_rng(2)
    weights = rng.uniform(0.1, 1.0, size=(4, 4)) * (1 - np.eye(4))
    grows = []
    for v in [*np.eye(4), *-np.eye(4), *rng.normal(size=(60, 4))]:
        far, farther = (
            float((weights * f(t * (v[:, None] - v) / np.ptp(v))).sum(where=weights > 0)) for t in (300.0, 330.0)
        )
        grows.append(farther > far)
    if has_minimum_of_complete_pairs(shape_of(f)):
        assert all(grows)
    elif shape_of(f).convex and np.isfinite([shape_of(f).left_slope, shape_of(f).right_slope]).all():
        assert not all(grows) or min(-shape_of(f).left_slope, shape_of(f).right_slope) < 0
