"""Losses of two log-ratios without a lowest value, and with more than one policy that has it."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo

REFERENCE, MU = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
UPPER = np.triu(np.random.default_rng(1).uniform(0.05, 0.95, (4, 4)), 1)
PREFERENCE = UPPER + np.triu(1 - UPPER, 1).T + 0.5 * np.eye(4)
PROBLEM = gpo.PreferenceProblem(PREFERENCE, MU, REFERENCE)


def value(loss: gpo.TwoRatioLoss, beta: float, h: np.ndarray) -> float:
    """Of log-ratios h: chosen i, rejected j."""
    a, b = np.meshgrid(beta * h, beta * h, indexing="ij")
    return float(np.sum(2 * MU[:, None] * MU * PREFERENCE * np.asarray(loss(a, b))))


@pytest.mark.parametrize("text", ["log(1+exp(b-a))-a^2", "-log(1+a^2)", "log(1+exp(b-a))-sqrt(1+a^2)"])
@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_what_falls_for_ever_is_unbounded(text: str, beta: float) -> None:
    loss = gpo.parse_loss(text)
    found = PROBLEM.solve(loss, beta)
    assert (str(found.status), found.population_loss) == ("unbounded below", -np.inf)
    assert not found.converged
    # one response is taken away further and further: πθ stays a policy, and the loss falls on
    met = []
    for far in (1e2, 1e4, 1e6, 1e8):
        h = np.array([0.0, 0.0, 0.0, -far])
        h[:3] -= np.log(REFERENCE[:3].sum())
        met.append(value(loss, beta, h))
    assert np.all(np.diff(met) < -0.5)


@pytest.mark.parametrize("name", ["apo_zero", "kto"])
def test_what_only_tends_to_its_infimum_has_one(name: str) -> None:
    found = PROBLEM.solve(name, 0.3)
    assert str(found.status) == "no finite optimum"
    assert np.isfinite(found.population_loss)


def test_a_product_of_log_ratios_is_least_on_a_surface() -> None:
    """E ab = β² (E_μ h)², up to the symmetry of P: any policy with E_μ h = 0 has the value 0."""
    half = gpo.PreferenceProblem(np.full((3, 3), 0.5), MU[:3] / MU[:3].sum(), REFERENCE[:3] / REFERENCE[:3].sum())
    found = half.solve(gpo.parse_loss("a*b"), 1.0)
    assert str(found.status) == "not unique"
    assert found.population_loss == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(found.policy).all()


def test_one_policy_stays_one() -> None:
    found = PROBLEM.solve(gpo.parse_loss("(a-1)^2*(b+1)^2"), 0.3)
    assert str(found.status) == "stationary point"
    assert found.converged


@pytest.mark.parametrize("beta", [0.3, 1.0, 5.0])
def test_a_linear_loss_has_no_curvature_and_no_minimum(beta: float) -> None:
    """E (b − a) is linear in h: the loser's mass goes, for ever."""
    problem = gpo.PreferenceProblem([[0.5, 0.7], [0.3, 0.5]], [0.29, 0.71], [0.7, 0.3])
    found = problem.solve(gpo.parse_loss("b-a"), beta)
    assert (str(found.status), found.population_loss) == ("unbounded below", -np.inf)


def test_a_level_stretch_between_kinks_is_not_one_policy() -> None:
    """At P = ½ both max(0, 1 − a) and max(0, 1 + b) are straight about h = 0: their slopes cancel, the value is 2."""
    problem = gpo.PreferenceProblem([[0.5, 0.5], [0.5, 0.5]], [0.49, 0.51], [0.64, 0.36])
    found = problem.solve(gpo.parse_loss("max(0,1-a)+max(0,1+b)"), 3.0)
    assert str(found.status) == "not unique"
    assert found.population_loss == pytest.approx(2.0, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["(a-1)^4+(b+1)^4", "max(0,1-a)+max(0,1+b)", "abs(a-1)+abs(b+1)", "log(1+exp(b-a))+b^4"]
)
def test_flat_bottoms_and_kinks_that_have_one_lowest_point_keep_it(text: str) -> None:
    assert str(PROBLEM.solve(gpo.parse_loss(text), 2.0).status) == "optimum"
