"""Self-play against the equilibrium found by Newton's method, and its gradient against that of the IPO loss."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import log_softmax

import gpo_analysis as gpo
from gpo_analysis.preferences import cyclic
from gpo_analysis.tabular import nash_policy
from gpo_analysis.training import self_play

RNG = np.random.default_rng(8)
PREFERENCE = cyclic(gpo.bradley_terry(RNG.normal(size=5)), 0.6)
REFERENCE = RNG.dirichlet(np.full(5, 3.0))


def test_ipo_md_without_mixing_ends_at_the_equilibrium() -> None:
    run = self_play(PREFERENCE, REFERENCE, 0.3, method="ipo_md", rate=0.3, steps=3000)
    np.testing.assert_allclose(run.policies[-1], nash_policy(PREFERENCE, REFERENCE, 0.3).policy, atol=1e-8)
    assert run.residual < 1e-7


def test_nash_md_comes_nearer_as_the_rate_falls() -> None:
    target = nash_policy(PREFERENCE, REFERENCE, 0.3).policy
    away = [
        np.abs(self_play(PREFERENCE, REFERENCE, 0.3, rate=rate, steps=int(60 / rate)).policies[-1] - target).sum()
        for rate in (1.0, 0.1, 0.01)
    ]
    assert away[0] > 5 * away[1] > 25 * away[2] > 0
    assert away[2] < 2e-3


def test_mixing_moves_the_fixed_point() -> None:
    run = self_play(PREFERENCE, REFERENCE, 0.3, method="ipo_md", rate=0.3, steps=3000, mixing=0.5)
    assert run.residual < 1e-7
    assert np.abs(run.policies[-1] - nash_policy(PREFERENCE, REFERENCE, 0.3).policy).sum() > 1e-3


def test_a_step_of_ipo_md_is_a_gradient_step_on_the_ipo_loss() -> None:
    def loss(theta: np.ndarray) -> float:
        """E over pairs from πref, labelled by P, of (ρ − 1/(2τ))²."""
        h = log_softmax(theta) - np.log(REFERENCE)
        rho = h[:, None] - h[None, :]
        weight = 2 * REFERENCE[:, None] * REFERENCE[None, :] * PREFERENCE
        return float((weight * (rho - 1 / (2 * 0.3)) ** 2).sum())

    start = np.log(REFERENCE)
    expected = log_softmax(start - 1e-3 * approx_fprime(start, loss, 1e-7))
    run = self_play(PREFERENCE, REFERENCE, 0.3, method="ipo_md", rate=1e-3, steps=1)
    np.testing.assert_allclose(np.log(run.policies[-1]), expected, atol=1e-7)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="nash_md or ipo_md"):
        self_play(PREFERENCE, REFERENCE, 0.3, method="dpo", rate=0.1, steps=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at most 1/tau"):
        self_play(PREFERENCE, REFERENCE, 0.3, rate=9.0, steps=1)
