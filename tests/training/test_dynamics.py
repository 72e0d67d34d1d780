"""Training dynamics against torch's optimisers and autograd, closed forms, scipy, and exact optima."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from gpo_analysis.losses import get_loss, parse_loss
from gpo_analysis.preferences import Comparisons
from gpo_analysis.tabular import PreferenceProblem
from gpo_analysis.tabular.gradients import kl_gradient, mu_squared_loss_gradient
from gpo_analysis.training.dynamics import train, train_many

SIX = ("logistic", "squared", "hinge", "exponential", "truncated_quadratic", "savage")


def problem_of(n: int = 5, seed: int = 0, contexts: int | None = None) -> PreferenceProblem:
    rng = np.random.default_rng(seed)
    shape = (n,) if contexts is None else (contexts, n)
    upper = np.triu(rng.uniform(0.05, 0.95, (*shape, n)), 1)
    preference = upper + np.tril(1 - np.swapaxes(upper, -1, -2), -1)
    preference[..., np.arange(n), np.arange(n)] = 0.5
    weights = None if contexts is None else rng.dirichlet(np.full(contexts, 3.0))
    return PreferenceProblem(
        preference,
        rng.dirichlet(np.full(n, 3.0), size=contexts),
        rng.dirichlet(np.full(n, 3.0), size=contexts),
        weights,
    )


def torch_loss(problem: PreferenceProblem, loss: Any, beta: float, theta: torch.Tensor) -> torch.Tensor:
    """The population loss from its definition, by a sum over all ordered pairs."""
    mu, reference = torch.tensor(problem.behavior), torch.tensor(problem.reference)
    preference = torch.tensor(problem.preference)
    h = torch.log_softmax(theta, -1) - reference.log()
    z = beta * (h[..., :, None] - h[..., None, :])
    value = 2 * (mu[..., :, None] * mu[..., None, :] * preference * loss(z)).sum((-1, -2))
    return (torch.tensor(problem.shares()) * value).sum()


def assert_same(one: Any, other: Any) -> None:
    """The same bits in everything a trajectory holds."""
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, other.columns[name], err_msg=name)
    for name in ("policies", "logits", "gradients", "final_logits"):
        left, right = getattr(one, name), getattr(other, name)
        assert (left is None) == (right is None)
        if left is not None:
            np.testing.assert_array_equal(left, right, err_msg=name)
    np.testing.assert_array_equal(one.state.parameters, other.state.parameters)
    np.testing.assert_array_equal(one.state.moments, other.state.moments)
    assert one.state.step == other.state.step
    assert one.status == other.status


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


def test_flow_refuses_other_jumps() -> None:
    with pytest.raises(ValueError, match="jumps in its slope"):
        train(problem_of(), parse_loss("Max(z**2/2 - z, 0)"), 1.0, optimizer="flow", learning_rate=0.1, steps=1)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
@pytest.mark.parametrize("kind", ["free", "features", "on policy"])
def test_stacked_runs_equal_lone_runs(loss: str, kind: str) -> None:
    problems = [problem_of(seed=s) for s in (0, 1, 0)]
    losses, betas, seeds = [loss, "exponential", loss], [0.1, 1.0, 0.5], [0, 1, 2]
    options: dict[str, Any] = {"learning_rate": 0.05, "steps": 60, "record_every": 7, "keep": ("policies", "gradients")}
    if kind == "features":
        options["features"] = np.random.default_rng(5).normal(size=(5, 3))
    if kind == "on policy":
        options["refresh_every"] = 1
    for optimizer, batch in (("gd", None), ("adam", None), ("adam", 4)):
        if kind == "on policy" and batch:
            continue
        settings = {**options, "optimizer": optimizer, "batch_size": batch}
        together = train_many(problems, losses, betas, seeds, **settings)
        alone = [
            train(problem, f, beta, seed=seed, **settings)
            for problem, f, beta, seed in zip(problems, losses, betas, seeds, strict=True)
        ]
        for one, other in zip(together, alone, strict=True):
            assert_same(one, other)


def test_stacked_runs_over_samples_of_different_length() -> None:
    short = Comparisons([0, 1], [1, 2], items=("a", "b", "c"))
    long = Comparisons([0, 1, 0, 2], [1, 2, 2, 0], [1.0, 2.0, 3.0, 1.0], items=("a", "b", "c"))
    for batch in (None, 3):
        options: Any = {"optimizer": "adam", "learning_rate": 0.1, "steps": 30, "batch_size": batch}
        together = train_many([short, long], "ipo", 1.0, [0, 1], **options)
        assert_same(together[0], train(short, "ipo", 1.0, seed=0, **options))
        assert_same(together[1], train(long, "ipo", 1.0, seed=1, **options))


RESUMED = {
    "gd": {"optimizer": "gd"},
    "adam": {"optimizer": "adam"},
    "mini-batches": {"optimizer": "adam", "batch_size": 3, "seed": 4},
    "features": {"optimizer": "adam", "features": np.random.default_rng(5).normal(size=(5, 2))},
    "on policy": {"optimizer": "adam", "refresh_every": 4},
    "kept": {"optimizer": "gd", "keep": ("policies", "logits", "gradients")},
}


@pytest.mark.parametrize("stop", [0, 1, 13, 20, 49])
@pytest.mark.parametrize("name", RESUMED)
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(name: str, stop: int) -> None:
    options: Any = {"learning_rate": 0.05, "record_every": 5, **RESUMED[name]}
    whole = train(problem_of(), "dpo", 0.5, steps=49, **options)
    part = train(problem_of(), "dpo", 0.5, steps=stop, **options)
    kept = pickle.loads(pickle.dumps(part))  # as after a stop of the program
    assert_same(train(problem_of(), "dpo", 0.5, steps=49, resume=kept, **options), whole)


def test_resumed_flow() -> None:
    for loss in ("dpo", "slic"):
        options: Any = {"optimizer": "flow", "learning_rate": 0.5, "record_every": 2}
        whole = train(problem_of(), loss, 0.5, steps=12, **options)
        part = train(problem_of(), loss, 0.5, steps=6, **options)
        assert_same(train(problem_of(), loss, 0.5, steps=12, resume=part, **options), whole)


def test_resume_where_one_of_several_runs_diverged() -> None:
    problem, options = problem_of(), {"learning_rate": 30.0, "record_every": 10}
    whole = train_many(problem, "ipo", [0.01, 10.0], steps=400, **options)
    assert whole[1].status == "diverged"
    assert whole[0].finished
    part = train_many(problem, "ipo", [0.01, 10.0], steps=205, **options)
    assert part[1].status == "diverged"
    for one, other in zip(
        train_many(problem, "ipo", [0.01, 10.0], steps=400, resume=part, **options), whole, strict=True
    ):
        assert_same(one, other)


def test_resume_of_something_else_is_refused() -> None:
    options: Any = {"learning_rate": 0.1, "steps": 5}
    run = train(problem_of(), "dpo", 1.0, **options)
    for change in ({"learning_rate": 0.2}, {"record_every": 2}, {"seed": 3}, {"features": np.eye(5)}):
        with pytest.raises(ValueError, match=f"another {next(iter(change))}"):
            train(problem_of(), "dpo", 1.0, **{**options, **change}, resume=run)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another loss"):
        train(problem_of(), "ipo", 1.0, **options, resume=run)
    with pytest.raises(ValueError, match="another beta"):
        train(problem_of(), "dpo", 1.5, **options, resume=run)
    with pytest.raises(ValueError, match="another problem"):
        train(problem_of(seed=9), "dpo", 1.0, **options, resume=run)
    with pytest.raises(ValueError, match="beyond the 3 steps"):
        train(problem_of(), "dpo", 1.0, learning_rate=0.1, steps=3, resume=run)
    with pytest.raises(ValueError, match="a trajectory for each of the 2 runs"):
        train_many(problem_of(), "dpo", [1.0, 1.0], **options, resume=[run])
    ahead = train(problem_of(), "dpo", 1.0, learning_rate=0.1, steps=4)
    with pytest.raises(ValueError, match="stand at one step"):
        train_many(problem_of(), "dpo", [1.0, 1.0], **options, resume=[run, ahead])


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


def test_flow_to_infinity_in_finite_time_is_said() -> None:
    problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    run = train(problem, parse_loss("-exp(z)"), 1.0, optimizer="flow", learning_rate=1.0, steps=10)
    assert run.status == "failed"
    assert run.reason.startswith("after time")
    assert len(run) < 11
    again = train(problem, parse_loss("-exp(z)"), 1.0, optimizer="flow", learning_rate=1.0, steps=10, resume=run)
    assert_same(again, run)


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


def test_a_start_for_each_run() -> None:
    problem = problem_of(3)
    starts = np.random.default_rng(0).normal(size=(4, 3))
    runs = train_many(problem, "dpo", [1.0] * 4, learning_rate=0.1, steps=3, initial=starts)
    for start, run in zip(starts, runs, strict=True):
        assert_same(run, train(problem, "dpo", 1.0, learning_rate=0.1, steps=3, initial=start))
    with pytest.raises(ValueError, match="initial must be finite, of shape"):
        train_many(problem, "dpo", [1.0] * 5, learning_rate=0.1, steps=3, initial=starts)


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


def test_bad_stacks() -> None:
    with pytest.raises(ValueError, match="betas must be one or as many as there are runs, 3"):
        train_many(problem_of(), "dpo", [1.0, 2.0], [0, 1, 2], learning_rate=0.1, steps=1)
    with pytest.raises(ValueError, match="same contexts and responses"):
        train_many([problem_of(3), problem_of(4)], "dpo", 1.0, learning_rate=0.1, steps=1)
    with pytest.raises(ValueError, match="betas"):
        train_many(problem_of(), "dpo", [], learning_rate=0.1, steps=1)
    with pytest.raises(ValueError, match="needs a preference matrix"):
        train(Comparisons([0], [1]), "dpo", 1.0, learning_rate=0.1, steps=1, refresh_every=1)
    with pytest.raises(ValueError, match="nothing to learn from"):
        train(PreferenceProblem(np.full((2, 2), 0.5), [1.0, 0.0]), "dpo", 1.0, learning_rate=0.1, steps=1)
