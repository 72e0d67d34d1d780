"""Losses smoothed by hand with any ε on separable data: a minimum exists, however far below a float's digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy

import gpo_analysis as gpo
from gpo_analysis.losses.shape import shape_of, tails

CERTAIN = gpo.PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
RANKED = gpo.PreferenceProblem([[0.5, 1, 1], [0, 0.5, 1], [0, 0, 0.5]])
EPSILON = ["1e-10", "1e-15", "1e-18", "1e-40", "1e-60"]


def smoothed(name: str, epsilon: str) -> gpo.MarginLoss:
    ahead, mirror = {
        "savage": ("1/(1+exp(z))**2", "1/(1+exp(-z))**2"),
        "truncated quadratic": ("max(0,1-z)**2", "max(0,1+z)**2"),
        "logistic": ("softplus(-z)", "softplus(z)"),
    }[name]
    return gpo.parse_loss(f"(1-{epsilon})*{ahead}+{epsilon}*{mirror}")


@pytest.mark.parametrize("epsilon", EPSILON)
@pytest.mark.parametrize(("name", "margin"), [("savage", None), ("logistic", None), ("truncated quadratic", 1.0)])
def test_two_responses_by_closed_form(name: str, margin: float | None, epsilon: str) -> None:
    """(1 − ε) f(z) + ε f(−z) is the risk at η = 1 − ε: z* is logit η, for the truncated quadratic 2η − 1."""
    e = float(epsilon)
    right = math.log1p(-e) - math.log(e) if margin is None else 1 - 2 * e
    found = CERTAIN.fit(smoothed(name, epsilon))
    assert found.status in ("optimum", "stationary point"), found.reason
    assert found.reward == pytest.approx([right / 2, -right / 2], rel=1e-9)


@pytest.mark.parametrize("epsilon", EPSILON)
@pytest.mark.parametrize("name", ["savage", "truncated quadratic", "logistic"])
def test_three_responses_are_never_without_optimum(name: str, epsilon: str) -> None:
    found = RANKED.fit(smoothed(name, epsilon))
    assert found.status in ("optimum", "stationary point", "undecided")
    if found.status == "undecided":
        assert name == "savage"
        assert "lower values lie before it" in found.reason
    elif name != "savage":  # by symmetry, the middle one in the middle
        assert found.reward[1] == pytest.approx(0, abs=1e-12)
        assert found.reward[0] == pytest.approx(-found.reward[2], rel=1e-12)


@pytest.mark.parametrize("epsilon", EPSILON)
def test_tails_with_tiny_coefficients(epsilon: str) -> None:
    e = sympy.Rational(epsilon)
    right = tails(smoothed("truncated quadratic", epsilon)).right
    assert (right.limit, right.slope) == (sympy.oo, sympy.oo)
    logistic = tails(smoothed("logistic", epsilon)).right
    assert logistic.limit == sympy.oo
    assert float(logistic.slope) == pytest.approx(float(e), rel=1e-12)
    savage = tails(smoothed("savage", epsilon)).right
    assert savage.attained  # it rises to ε, from ε(1 − ε)
    assert shape_of(smoothed("savage", epsilon)).reached[1]


def test_savage_itself_is_without_optimum() -> None:
    for problem in (CERTAIN, RANKED):
        assert problem.fit("savage").status == "no finite optimum"


def test_the_representative_is_at_the_minimum_to_the_last_digits() -> None:
    """A hinge on pairs of few responses: the multiplier method alone ended up to 3e-13 above."""
    loss, seen = gpo.parse_loss("max(0,1-z)**2"), 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(3, 6))
        upper = np.triu(np.where(rng.random((n, n)) < 0.5, 1.0, rng.uniform(0.02, 0.98, (n, n))), 1)
        problem = gpo.PreferenceProblem(upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n), rng.dirichlet(np.ones(n)))
        found = problem.fit(loss)
        if found.status == "not unique":
            seen += 1
            assert abs(problem.loss_at(found.minimiser, loss, 1.0) - found.value) <= 2e-15
    assert seen >= 3
