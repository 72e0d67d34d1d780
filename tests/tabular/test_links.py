"""Links other than the logarithm: gradients by finite differences, the end of the flow, mass off the support."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import log_softmax

import gpo_analysis as gpo
from gpo_analysis.divergences import LINKS, get_link
from gpo_analysis.tabular import PreferenceProblem, link_flow, link_gradient, off_support_mass

RNG = np.random.default_rng(2)
REFERENCE = RNG.dirichlet(np.full(5, 3.0))
REWARDS = RNG.normal(size=5)
SEEN = np.array([0.3, 0.3, 0.4, 0.0, 0.0])


@pytest.mark.parametrize("link", LINKS)
def test_gradient_by_finite_differences(link: str) -> None:
    problem = PreferenceProblem(gpo.bradley_terry(REWARDS), None, REFERENCE)
    loss, theta = gpo.get_loss("savage"), RNG.normal(size=5)

    def value(logits: np.ndarray) -> float:
        g = get_link(link)(np.exp(log_softmax(logits)) / REFERENCE)
        z = 0.7 * (g[:, None] - g[None, :])
        mu = problem.behavior
        weight = 2 * mu[:, None] * mu[None, :] * problem.preference
        return float((weight * loss(z)).sum() - (np.diag(weight) * loss(np.zeros(5))).sum())

    expected = approx_fprime(theta, value, 1e-7)
    found = link_gradient(theta, problem, loss, 0.7, link)
    scale = float(expected @ found / (found @ found))  # whether equal draws carry weight is the problem's convention
    np.testing.assert_allclose(scale * found, expected, atol=2e-6)
    assert scale > 0.5
    assert found.sum() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("link", LINKS)
def test_flow_ends_at_the_solution(link: str) -> None:
    problem = PreferenceProblem(gpo.bradley_terry(REWARDS), None, REFERENCE)
    run = link_flow(problem, "logistic", 2.0, link, duration=500.0)
    np.testing.assert_allclose(run.policies[-1], problem.solve("logistic", 2.0, link=link).policy, atol=1e-5)


def test_mass_off_the_support() -> None:
    """Known exactly for the logarithm; χPO (e = t + 1) drives the logits there down, forward KL (e = 1/t) up."""
    problem = PreferenceProblem(gpo.bradley_terry(REWARDS), SEEN, REFERENCE)
    masses = {
        link: link_flow(problem, "logistic", 1.0, link, duration=2000.0).policies[-1][3:].sum()
        for link in ("reverse_kl", "chi_po", "forward_kl")
    }
    u = np.where(SEEN > 0, REWARDS, np.nan)
    assert masses["reverse_kl"] == pytest.approx(off_support_mass(u, REFERENCE, 1.0), abs=1e-6)
    logits = {
        link: link_flow(problem, "logistic", 1.0, link, duration=2000.0).logits[-1][3:] - np.log(REFERENCE[3:])
        for link in ("reverse_kl", "chi_po", "forward_kl")
    }
    np.testing.assert_allclose(logits["reverse_kl"], 0.0, atol=1e-9)
    assert np.all(logits["chi_po"] < -1e-4)
    assert np.all(logits["forward_kl"] > 1e-4)


def test_bad_input_is_named() -> None:
    problem = PreferenceProblem(gpo.bradley_terry(REWARDS), None, REFERENCE)
    with pytest.raises(ValueError, match="unknown link"):
        link_gradient(np.zeros(5), problem, "dpo", 1.0, "nothing")
    with pytest.raises(ValueError, match="beta"):
        link_flow(problem, "dpo", -1.0, duration=1.0)
    with pytest.raises(ValueError, match="hinge has kinks"):
        link_flow(problem, "hinge", 1.0, duration=1.0)
