"""Gradient flow against scipy's integrators, closed forms, small steps and exact optima."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from gpo_analysis.losses import get_loss, parse_loss
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.tabular.gradients import kl_gradient
from gpo_analysis.training.dynamics import train
from tests.training.problems import assert_same, problem_of, torch_loss


@pytest.mark.parametrize("stiff", [0.0, np.inf])
@pytest.mark.parametrize("loss", ["logistic", "squared", "exponential", "truncated_quadratic", "savage"])
def test_flow_against_an_explicit_integrator(loss: str, stiff: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpo_analysis.training.flow.STIFF", stiff)
    problem, beta = problem_of(4, seed=1), 1.5
    run = train(problem, loss, beta, optimizer="flow", learning_rate=0.5, steps=12, record_every=4, keep=("logits",))

    def velocity(_: float, theta: np.ndarray) -> np.ndarray:
        point = torch.tensor(theta, requires_grad=True)
        torch_loss(problem, get_loss(loss), beta, point).backward()
        return -point.grad.numpy()

    found = solve_ivp(
        velocity, (0, 6), np.log(problem.reference), method="LSODA", t_eval=[0, 2, 4, 6], rtol=1e-11, atol=1e-12
    )
    assert run.logits is not None
    np.testing.assert_allclose(run.columns["time"], found.t)
    np.testing.assert_allclose(run.logits, found.y.T, atol=1e-7)


def test_flow_in_closed_form() -> None:
    """Two responses under the squared loss: the margin relaxes as 1 − exp(−t·rate), from dρ/dt = 2·2·w·β²·(…)."""
    problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    beta = 0.3
    run = train(problem, "ipo", beta, optimizer="flow", learning_rate=1.0, steps=20)
    # L = ½(βρ − 1)² + ½ (weights ½ each for the pair and the diagonal), θ₁ − θ₂ = ρ: dρ/dt = −2β(βρ − 1)
    expected = 1 - np.exp(-2 * beta**2 * np.arange(21))
    np.testing.assert_allclose(run.columns["max_margin"], expected, atol=1e-9)


def test_flow_is_the_limit_of_small_steps() -> None:
    problem = problem_of(4, seed=3)
    flow = train(problem, "dpo", 1.0, optimizer="flow", learning_rate=2.0, steps=4)
    coarse, fine = (
        train(problem, "dpo", 1.0, learning_rate=2.0 / parts, steps=4 * parts, record_every=parts)
        for parts in (50, 100)
    )
    errors = [np.abs(run.columns["kl"] - flow.columns["kl"]).max() for run in (coarse, fine)]
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.05)  # of first order in the step


def test_flow_of_hinge_is_the_limit_of_small_steps_and_ends_at_the_optimum() -> None:
    problem = problem_of(4, seed=5)
    flow = train(problem, "slic", 1.0, optimizer="flow", learning_rate=1.0, steps=30)
    descent = train(problem, "slic", 1.0, learning_rate=2e-3, steps=15_000, record_every=500)
    np.testing.assert_allclose(flow.columns["kl"], descent.columns["kl"], atol=4e-3)
    assert (np.diff(flow.columns["loss"]) <= 1e-15).all()
    assert flow.finished

    # the optimum, by linear programming in scipy's other clothes
    pairs = problem.directed_pairs()

    def value(h: np.ndarray) -> float:
        margins = pairs.margins(h[None])
        return float(pairs.weight @ np.maximum(0, 1 - margins) + pairs.diagonal_mass)

    best = min(
        minimize(value, np.random.default_rng(s).normal(size=4), method="Nelder-Mead", tol=1e-12).fun for s in range(3)
    )
    longer = train(problem, "slic", 1.0, optimizer="flow", learning_rate=100.0, steps=10)
    assert longer.columns["loss"][-1] == pytest.approx(best, abs=1e-6)
    assert longer.columns["loss"][-1] <= best + 1e-12


def test_flow_of_hinge_with_features_slides() -> None:
    problem = problem_of(4, seed=6)
    features = np.random.default_rng(0).normal(size=(4, 2))
    flow = train(problem, "slic", 1.0, optimizer="flow", learning_rate=1.0, steps=20, features=features)
    descent = train(problem, "slic", 1.0, learning_rate=2e-3, steps=10_000, record_every=500, features=features)
    np.testing.assert_allclose(flow.columns["loss"], descent.columns["loss"], atol=4e-3)


@pytest.mark.filterwarnings("ignore:.*does not push chosen above rejected")
def test_flow_refuses_other_jumps() -> None:
    with pytest.raises(ValueError, match="jumps in its slope"):
        train(problem_of(), parse_loss("Max(z**2/2 - z, 0)"), 1.0, optimizer="flow", learning_rate=0.1, steps=1)


def test_resumed_flow() -> None:
    for loss in ("dpo", "slic"):
        options: Any = {"optimizer": "flow", "learning_rate": 0.5, "record_every": 2}
        whole = train(problem_of(), loss, 0.5, steps=12, **options)
        part = train(problem_of(), loss, 0.5, steps=6, **options)
        assert_same(train(problem_of(), loss, 0.5, steps=12, resume=part, **options), whole)


def test_flow_to_infinity_in_finite_time_is_said() -> None:
    problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    run = train(problem, parse_loss("-exp(z)"), 1.0, optimizer="flow", learning_rate=1.0, steps=10)
    assert run.status == "failed"
    assert run.reason.startswith("after time")
    assert len(run) < 11
    again = train(problem, parse_loss("-exp(z)"), 1.0, optimizer="flow", learning_rate=1.0, steps=10, resume=run)
    assert_same(again, run)


@pytest.mark.filterwarnings("ignore:.*does not push chosen above rejected")
def test_on_policy_flow_lowers_kl_at_twice_its_gradient() -> None:
    problem = problem_of(3, seed=4)
    start = np.log(problem.reference) + np.array([1.0, -0.5, 0.3])
    run = train(
        problem, parse_loss("z**2/2"), 1.0, optimizer="flow", learning_rate=0.5, steps=6, refresh_every=1,
        initial=start, keep=("logits",),
    )  # fmt: skip
    found = solve_ivp(
        lambda _, theta: -2 * kl_gradient(theta, problem.reference), (0, 3), start, t_eval=run.columns["time"],
        rtol=1e-11, atol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(run.logits, found.y.T, atol=1e-7)
