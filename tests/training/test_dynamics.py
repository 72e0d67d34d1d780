"""Training dynamics against torch's optimisers and autograd, closed forms, and exact optima."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gpo_analysis.losses import get_loss, parse_loss
from gpo_analysis.preferences import Comparisons
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.tabular.gradients import kl_gradient, mu_squared_loss_gradient
from gpo_analysis.training.dynamics import train
from tests.training.problems import assert_same, problem_of, torch_loss

SIX = ("logistic", "squared", "hinge", "exponential", "truncated_quadratic", "savage")


@pytest.mark.parametrize("contexts", [None, 3])
@pytest.mark.parametrize("loss", SIX)
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_follows_torch(optimizer: Any, loss: str, contexts: int | None) -> None:
    problem, beta, rate = problem_of(4, contexts=contexts), 0.7, 0.3
    run = train(problem, loss, beta, optimizer=optimizer, learning_rate=rate, steps=40, keep=("logits", "gradients"))
    theta = torch.tensor(np.log(problem.reference), requires_grad=True)
    reference_optimizer = {"gd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]([theta], lr=rate)
    for step in range(41):
        reference_optimizer.zero_grad()
        value = torch_loss(problem, get_loss(loss), beta, theta)
        value.backward()
        assert run.columns["loss"][step] == pytest.approx(value.item(), rel=1e-12)
        assert run.logits is not None
        assert run.gradients is not None
        # a hinge's margins rattle round the kink, where rounding decides the side
        atol = 1e-11 if loss != "hinge" else 1e-9
        np.testing.assert_allclose(run.logits[step], theta.detach(), atol=atol)
        np.testing.assert_allclose(run.gradients[step], theta.grad, atol=atol)
        assert run.columns["gradient_norm"][step] == pytest.approx(theta.grad.norm().item(), rel=1e-8, abs=1e-12)
        reference_optimizer.step()
    assert run.final_policy.sum() == pytest.approx(contexts or 1)


@pytest.mark.parametrize("contexts", [None, 2])
def test_records_are_what_they_say(contexts: int | None) -> None:
    problem = problem_of(4, seed=2, contexts=contexts)
    run = train(problem, "dpo", 2.0, learning_rate=0.5, steps=7, record_every=3, keep=("policies",))
    table = run.table
    assert table["step"].tolist() == [0, 3, 6, 7]
    np.testing.assert_allclose(table["time"], 0.5 * table["step"])
    assert run.policies is not None
    n, shares = problem.n, problem.shares()
    for row, policies in zip(table.to_dict("records"), run.policies, strict=True):
        expected = dict.fromkeys(("kl", "mu_squared_loss", "entropy", "chosen_logp", "rejected_logp", "off"), 0.0)
        largest = 0.0
        for m in range(problem.contexts):
            policy, reference, mu, p = (
                np.reshape(x, (problem.contexts, *tail))[m]
                for x, tail in (
                    (policies, (n,)), (problem.reference, (n,)), (problem.behavior, (n,)), (problem.preference, (n, n)),
                )
            )  # fmt: skip
            h = np.log(policy / reference)
            expected["kl"] += shares[m] * policy @ h
            expected["entropy"] -= shares[m] * policy @ np.log(policy)
            for i in range(n):
                for j in range(n):
                    weight = shares[m] * 2 * mu[i] * mu[j] * p[i, j]
                    expected["mu_squared_loss"] += shares[m] * 0.5 * mu[i] * mu[j] * (h[i] - h[j]) ** 2
                    if i != j:
                        expected["chosen_logp"] += weight * np.log(policy[i])
                        expected["rejected_logp"] += weight * np.log(policy[j])
                        expected["off"] += weight
                    largest = max(largest, 2.0 * abs(h[i] - h[j]))
        off = expected.pop("off")
        expected["chosen_logp"] /= off
        expected["rejected_logp"] /= off
        assert row["loss"] == pytest.approx(problem.population_loss(policies, "dpo", 2.0), rel=1e-12)
        assert row["max_margin"] == pytest.approx(largest, abs=1e-12)
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, abs=1e-12), name


def test_divergence_is_said_and_the_last_finite_policy_kept() -> None:
    problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    run = train(problem, "ipo", 1.0, learning_rate=10.0, steps=2000, record_every=50)
    assert run.status == "diverged"
    assert run.reason.startswith("step")
    assert not run.finished
    assert run.state.step < 2000
    assert len(run) == run.state.step // 50 + 1
    assert np.isfinite(run.final_logits).all()
    assert np.isfinite(run.final_policy).all()
    unbounded = train(problem, "exponential", 1.0, learning_rate=1e4, steps=50, initial=[-400.0, 400.0])
    assert unbounded.status == "diverged"
    assert unbounded.reason.startswith("step 1 is not finite; kept is the policy of step 0")


def test_a_loss_that_rises_is_said() -> None:
    problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    run = train(problem, "ipo", 1.0, learning_rate=1.2, steps=10)
    assert run.status == "rising"
    assert run.reason.startswith("after 10 steps of gd the loss is")
    assert not run.finished


def test_mini_batches_are_drawn_by_weight_and_by_seed() -> None:
    data = Comparisons([0, 1, 0], [1, 2, 2], [1.0, 2.0, 5.0])
    options: Any = {"learning_rate": 1e-6, "steps": 4000, "batch_size": 5, "record_every": 4000}
    first, second, again = (train(data, "ipo", 1.0, seed=s, **options) for s in (0, 1, 0))
    assert_same(first, again)
    assert not np.array_equal(first.final_logits, second.final_logits)
    # at a vanishing rate the mean step is the gradient at the start, by the shares 1/8, 2/8, 5/8 of the counts
    moved = (first.final_logits - np.log(1 / 3)) / (1e-6 * 4000)
    np.testing.assert_allclose(moved, 2 * np.array([6, 1, -7]) / 8, atol=0.05)


def test_mini_batches_of_a_population_leave_out_equal_draws() -> None:
    problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]], behavior=[0.9, 0.1])
    run = train(problem, "ipo", 1.0, learning_rate=1e-6, steps=4000, batch_size=5, record_every=4000)
    moved = (run.final_logits[0] - np.log(0.5)) / (1e-6 * 4000)
    assert moved == pytest.approx(2 * 2 * 0.9 * 0.1, rel=0.05)


def test_sample_of_a_problem_nears_the_population() -> None:
    problem = problem_of(4, seed=8)
    sample = PreferenceProblem.from_comparisons(problem.sample(200_000, seed=0), problem.reference)
    exact, sampled = (train(p, "dpo", 1.0, learning_rate=2.0, steps=2000, record_every=2000) for p in (problem, sample))
    np.testing.assert_allclose(sampled.final_policy, exact.final_policy, atol=0.01)


def test_unobserved_responses_stay_without_features_and_move_with_them() -> None:
    data = Comparisons([0], [1], items=("a", "b", "c"))
    free = train(data, "ipo", 1.0, learning_rate=0.1, steps=200, record_every=200)
    np.testing.assert_allclose(free.final_logits[2], np.log(1 / 3), rtol=1e-15)
    features = np.array([[1.0], [0.0], [2.0]])
    tied = train(data, "ipo", 1.0, learning_rate=0.1, steps=200, record_every=200, features=features)
    np.testing.assert_allclose(tied.final_logits - np.log(1 / 3), features[:, 0], atol=1e-12)  # w = 1: margin 1
    np.testing.assert_allclose(tied.state.parameters, [1.0], atol=1e-12)
    identity = train(data, "ipo", 1.0, learning_rate=0.1, steps=200, record_every=200, features=np.eye(3))
    np.testing.assert_allclose(identity.final_policy, free.final_policy, atol=1e-14)


def test_features_with_contexts_follow_autograd() -> None:
    problem = problem_of(3, contexts=2)
    features = np.random.default_rng(2).normal(size=(2, 3, 4))
    run = train(problem, "dpo", 1.0, learning_rate=0.5, steps=10, features=features)
    w = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    for _ in range(10):
        value = torch_loss(
            problem, get_loss("dpo"), 1.0, torch.tensor(features) @ w + torch.tensor(problem.reference).log()
        )
        (gradient,) = torch.autograd.grad(value, w)
        w = (w - 0.5 * gradient).detach().requires_grad_(True)
    np.testing.assert_allclose(run.state.parameters, w.detach(), atol=1e-13)


@pytest.mark.filterwarnings("ignore:.*does not push chosen above rejected")
def test_on_policy_gradient_of_the_square_is_twice_that_of_kl() -> None:
    """μ = πθ at every step, sampling not differentiated; the loss z²/2 makes E f(βρ) the square loss itself."""
    problem = problem_of(4, seed=4)
    start = np.log(problem.reference) + np.array([1.0, -0.5, 0.3, 0.0])
    square = parse_loss("z**2/2")
    run = train(
        problem, square, 1.0, learning_rate=0.2, steps=5, refresh_every=1, initial=start, keep=("logits", "gradients")
    )
    assert run.logits is not None
    assert run.gradients is not None
    for theta, gradient in zip(run.logits, run.gradients, strict=True):
        np.testing.assert_allclose(gradient, 2 * kl_gradient(theta, problem.reference), atol=1e-14)
    fixed = train(problem, square, 1.0, learning_rate=0.2, steps=1, initial=start, keep=("gradients",))
    assert fixed.gradients is not None
    np.testing.assert_allclose(
        fixed.gradients[0], mu_squared_loss_gradient(start, problem.reference, problem.behavior), atol=1e-14
    )


def test_refreshing_every_so_often_keeps_mu_in_between() -> None:
    problem = problem_of(4, seed=4)
    run = train(problem, "dpo", 1.0, learning_rate=0.5, steps=6, refresh_every=3, keep=("policies",))
    assert run.policies is not None
    for k, policy in enumerate(run.policies):
        mu = run.policies[3 * (k // 3)]
        there = PreferenceProblem(problem.preference, mu, problem.reference)
        assert run.columns["loss"][k] == pytest.approx(there.population_loss(policy, "dpo", 1.0), rel=1e-12)


def test_on_policy_needs_no_pair_of_mu() -> None:
    """Pairs that μ never draws are drawn once the policy is μ."""
    problem = PreferenceProblem(problem_of(3).preference, [1.0, 0.0, 0.0])
    run = train(problem, "dpo", 1.0, learning_rate=1.0, steps=50, refresh_every=1)
    assert run.columns["kl"][-1] > 0.01


def test_collapsed_on_policy_run_is_finite() -> None:
    problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    run = train(problem, "dpo", 1.0, learning_rate=1.0, steps=2, refresh_every=1, initial=[800.0, -800.0])
    assert run.columns["entropy"][-1] == 0
    assert np.isnan(run.columns["chosen_logp"]).all()  # no pair is ever drawn
    assert run.finished


def test_initial_logits_and_zero_steps() -> None:
    run = train(problem_of(3), "dpo", 1.0, learning_rate=0.1, steps=0, initial=[1.0, 2.0, 3.0])
    assert len(run) == 1
    np.testing.assert_allclose(run.final_policy, np.exp([1.0, 2, 3]) / np.exp([1.0, 2, 3]).sum())
    shifted = train(problem_of(3), "dpo", 1.0, learning_rate=0.1, steps=5, initial=[1e3 + 1, 1e3 + 2, 1e3 + 3])
    plain = train(problem_of(3), "dpo", 1.0, learning_rate=0.1, steps=5, initial=[1.0, 2.0, 3.0])
    np.testing.assert_allclose(shifted.final_policy, plain.final_policy, rtol=1e-11)


def test_extreme_logits_are_recorded() -> None:
    run = train(problem_of(3), "dpo", 1.0, learning_rate=0.1, steps=1, initial=[1e3, 0.0, -1e3])
    assert np.isfinite(run.table.to_numpy()).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer must be one of"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": np.nan}, "learning_rate"),
        ({"steps": -1}, "steps must be an integer"),
        ({"steps": 1.5}, "steps must be an integer"),
        ({"batch_size": 0}, "batch_size"),
        ({"record_every": 0}, "record_every"),
        ({"refresh_every": -1}, "refresh_every"),
        ({"refresh_every": 1, "batch_size": 2}, "whole batches"),
        ({"optimizer": "flow", "batch_size": 2}, "the flow follows the whole objective"),
        ({"optimizer": "flow", "refresh_every": 2}, "refresh_every 0 or 1"),
        ({"optimizer": "flow", "record_every": 2}, "multiple of record_every"),
        ({"optimizer": "flow", "refresh_every": 1, "loss": "slic"}, "refresh_every = 0"),
        ({"keep": ("policy",)}, "keep must be"),
        ({"keep": "policies"}, "keep must be"),
        ({"initial": [0.0, 1.0]}, "initial must be finite"),
        ({"initial": [0.0, 1.0, np.inf, 0.0, 0.0]}, "initial must be finite"),
        ({"features": np.eye(4)}, "features must have shape"),
        ({"features": np.full((5, 2), np.nan)}, "features must be finite"),
        ({"seed": -1}, "seed"),
        ({"beta": 0.0}, "beta"),
        ({"beta": np.nan}, "beta"),
        ({"loss": "dpoo"}, "dpo"),
        ({"problem": "dpo"}, "problem must be"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"problem": problem_of(), "loss": "dpo", "beta": 1.0, "learning_rate": 0.1, "steps": 5}
    settings |= change
    with pytest.raises(ValueError, match=message):
        train(settings.pop("problem"), settings.pop("loss"), settings.pop("beta"), **settings)
