"""Training by losses of two log-ratios: gradients against differences, the flow against the solved optimum."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.losses import two_ratio_losses
from gpo_analysis.training.two_ratio import TwoRatioObjective

RNG = np.random.default_rng(0)
TWO = gpo.PreferenceProblem(
    np.stack([gpo.bradley_terry([0.0, 1.0, 2.5]), gpo.bradley_terry([0.5, 0.0, -1.0])]),
    [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]],
    [[0.6, 0.3, 0.1], [0.3, 0.3, 0.4]],
    context_weights=[0.3, 0.7],
)
ONE = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.5]), [0.5, 0.3, 0.2], [0.6, 0.3, 0.1])


def population(logits: np.ndarray, loss: object) -> float:
    table = logits.reshape(TWO.shape)
    policy = np.exp(table - np.logaddexp.reduce(table, axis=1, keepdims=True))
    return float(TWO.population_loss(policy, loss, 0.7))


@pytest.mark.parametrize("name", two_ratio_losses())
def test_gradient_and_hessian(name: str) -> None:
    loss = gpo.get_loss(name)
    objective = TwoRatioObjective.stack([TWO], [loss], [0.7])
    theta, step = RNG.normal(size=(1, 6)), 1e-5
    ends = [(theta + step * e, theta - step * e) for e in np.eye(6)]
    slope = [(population(up, loss) - population(down, loss)) / (2 * step) for up, down in ends]
    np.testing.assert_allclose(objective.gradient(theta)[0], slope, atol=2e-9)
    curved = [(objective.gradient(up)[0] - objective.gradient(down)[0]) / (2 * step) for up, down in ends]
    np.testing.assert_allclose(objective.hessian(theta), curved, atol=2e-8)
    assert objective.metrics(theta)["loss"][0] == pytest.approx(population(theta, loss), abs=1e-13)


@pytest.mark.parametrize("name", ["bco_pair", "nca_pair", "sppo_hard", "sft", "rpo"])
def test_the_flow_ends_at_the_optimum(name: str) -> None:
    found = ONE.solve(name, 0.7)
    run = gpo.train(ONE, name, 0.7, optimizer="flow", learning_rate=400.0, steps=4, record_every=4)
    np.testing.assert_allclose(run.final_policy, found.policy, atol=1e-8)
    assert run.columns["loss"][0] == pytest.approx(float(gpo.get_loss(name)(0.0, 0.0)))


def test_runs_of_both_kinds_side_by_side_have_their_own_bits() -> None:
    more = {"optimizer": "adam", "learning_rate": 0.1, "steps": 30}
    together = gpo.train_many(ONE, ["bco_pair", "dpo", "nca_pair"], [0.5, 0.5, 0.9], **more)  # type: ignore[arg-type]
    for run, (name, beta) in zip(together, [("bco_pair", 0.5), ("dpo", 0.5), ("nca_pair", 0.9)], strict=True):
        alone = gpo.train(ONE, name, beta, **more)  # type: ignore[arg-type]
        np.testing.assert_array_equal(run.final_logits, alone.final_logits)
    part = gpo.train(ONE, "bco_pair", 0.5, **{**more, "steps": 11})  # type: ignore[arg-type]
    rest = gpo.train(ONE, "bco_pair", 0.5, **more, resume=part)  # type: ignore[arg-type]
    np.testing.assert_array_equal(rest.final_logits, together[0].final_logits)


def test_mini_batches_draw_equal_responses_too() -> None:
    objective = TwoRatioObjective.stack([ONE], [gpo.get_loss("bco_pair")], [0.5])
    same = objective.winner[0] == objective.loser[0]
    np.testing.assert_allclose(objective.weight[0][same], ONE.behavior**2)
    assert objective.weight.sum() == pytest.approx(1.0)
    drawn = RNG.choice(len(same), size=200_000, p=objective.weight[0])
    theta = RNG.normal(size=(1, 3))
    mean = objective.batch_gradient(theta, objective.winner[:, drawn], objective.loser[:, drawn])
    np.testing.assert_allclose(mean, objective.gradient(theta), atol=3e-3)
    run = gpo.train(ONE, "bco_pair", 0.5, learning_rate=0.2, steps=400, batch_size=64)
    assert np.abs(run.final_policy - ONE.solve("bco_pair", 0.5).policy).max() < 0.1


def test_on_policy_pairs_are_the_policy_s() -> None:
    theta = RNG.normal(size=(1, 3))
    objective = TwoRatioObjective.stack([ONE], [gpo.get_loss("sppo_hard")], [0.5], renewable=True).renewed(theta)
    policy = np.exp(theta[0]) / np.exp(theta[0]).sum()
    there = gpo.PreferenceProblem(ONE.preference, policy, ONE.reference)
    direct = TwoRatioObjective.stack([there], [gpo.get_loss("sppo_hard")], [0.5])
    np.testing.assert_allclose(objective.gradient(theta), direct.gradient(theta), atol=1e-14)
    assert gpo.train(ONE, "sppo_hard", 0.5, learning_rate=0.1, steps=5, refresh_every=1).finished


def test_comparisons_features_and_kinks() -> None:
    games = gpo.Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1), ("b", "c", 2), ("c", "b", 1)])
    run = gpo.train(games, "nca_pair", 0.5, optimizer="flow", learning_rate=400.0, steps=4, record_every=4)
    target = gpo.PreferenceProblem.from_comparisons(games).solve("nca_pair", 0.5).policy
    np.testing.assert_allclose(run.final_policy, target, atol=1e-8)
    phi = np.eye(3)[:, :2]
    tied = gpo.train(ONE, "bco_pair", 0.7, optimizer="flow", learning_rate=400.0, steps=4, record_every=4, features=phi)
    np.testing.assert_allclose(tied.final_policy, ONE.solve("bco_pair", 0.7).policy, atol=1e-7)
    with pytest.raises(ValueError, match="kink"):
        gpo.train(ONE, "dpop", 0.7, optimizer="flow", learning_rate=1.0, steps=2)
    assert gpo.train(ONE, "dpop", 0.7, learning_rate=0.01, steps=20).columns["loss"][-1] < np.log(2) + 0.1
