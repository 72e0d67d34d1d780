"""Study B: labels, what unseen prompts are judged by, and a study that is killed and goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gpo_analysis as gpo
from gpo_analysis.losses import PAPER_LOSSES, get_loss
from llm.forests.pieces import read_piece
from llm.forests.problem import Problem, make_problem, make_references, records_of
from llm.forests.stacks import share_loss
from llm.forests.store import Store
from llm.rewards.world import WorldReward
from llm.tuned.config import TunedConfig, log_grid, preset
from llm.tuned.labels import draw_labels
from llm.tuned.study import plan_pieces, run_study
from llm.tuned.tables import against, prompt_rows, tilt_of
from llm.tuned.training import TunedCell, TunedPolicies, train_tuned
from tests.llm.killable import command, killed_after


@pytest.fixture(scope="module")
def tiny() -> tuple[TunedConfig, Problem]:
    config = preset("tiny")
    return config, make_problem(config, 0, make_references(config, [0])[0])


def test_every_pair_of_different_samples_has_one_label_and_first_prompts_the_same(
    tiny: tuple[TunedConfig, Problem],
) -> None:
    _config, problem = tiny
    many = draw_labels(problem.seen, 1.0, 0)
    few = draw_labels(problem.seen.part(0, 4), 1.0, 0)
    size = few.shape[1]
    assert torch.equal(few, many[:4, :size, :size])
    for row, texts in enumerate(problem.seen.samples):
        different = sum(tuple(a) != tuple(b) for i, a in enumerate(texts) for b in texts[:i])
        assert float(many[row].sum()) == pytest.approx(float(different > 0))
        labels = many[row] * different
        assert torch.allclose(labels, labels.round(), atol=1e-5)
        assert float(many[row].diagonal().sum()) == 0.0
    assert not torch.equal(many, draw_labels(problem.seen, 1.0, 1))


def test_labels_follow_the_reward(tiny: tuple[TunedConfig, Problem]) -> None:
    _, problem = tiny
    rewards = torch.from_numpy(problem.seen.rewards)
    gap = rewards[:, :, None] - rewards[:, None, :]
    sure = draw_labels(problem.seen, 1e6, 0)
    assert float((sure * (gap < 0)).sum()) == 0.0  # the better one wins always
    wins, expected, variance = 0.0, 0.0, 0.0
    for seed in range(60):
        drawn = draw_labels(problem.seen, 1.0, seed) > 0
        met = drawn | drawn.transpose(1, 2)
        chance = torch.sigmoid(gap)
        upper = met & (gap > 0)
        wins += float((drawn & upper).sum())
        expected += float(chance[upper].sum())
        variance += float((chance * (1 - chance))[upper].sum())
    # responses that were drawn twice meet twice, which adds a little variance
    assert abs(wins - expected) < 6 * np.sqrt(variance)
    assert wins > 300


@pytest.mark.parametrize("loss", PAPER_LOSSES)
def test_the_loss_is_that_of_the_labels_one_by_one(loss: str, tiny: tuple[TunedConfig, Problem]) -> None:
    _, problem = tiny
    share = draw_labels(problem.seen, 1.0, 0)
    h = torch.from_numpy(np.random.default_rng(0).normal(size=(1, *problem.seen.rewards.shape)))
    found = float(share_loss([loss], torch.tensor([0.7], dtype=torch.float64), h, share.double())[0])
    f = get_loss(loss)
    by_hand = [
        sum(
            float(share[row, i, j]) * float(f(np.array(0.7 * float(h[0, row, i] - h[0, row, j]))))
            for i in range(share.shape[1])
            for j in range(share.shape[1])
        )
        for row in range(len(share))
    ]
    assert found == pytest.approx(np.mean(by_hand), rel=1e-6)


def test_the_tilt_is_judged_exactly_and_own_samples_by_their_rewards(tiny: tuple[TunedConfig, Problem]) -> None:
    config, problem = tiny
    judged = problem.held.part(config.trained[-1], config.prompts)
    rng = np.random.default_rng(0)
    h = rng.normal(size=(1, *judged.rewards.shape))
    own = rng.integers(0, 5, size=(1, config.unseen, 2)).astype(float)
    policies = TunedPolicies(h, own, np.ones_like(own), np.ones((4, 1)), np.ones(1), np.zeros(1))
    rows = prompt_rows(judged, policies, 0)
    for row in range(config.unseen):
        kept = judged.forest.weight[row].numpy() > 0
        mu, r = judged.forest.weight[row].numpy()[kept], judged.rewards[row, kept]
        q = mu * np.exp(h[0, row, kept])
        q /= q.sum()
        wins = sum(q[i] * mu[j] for i in range(len(r)) for j in range(len(r)) if r[i] > r[j])
        assert rows["wins"][row] == pytest.approx(wins, abs=1e-12)
        assert rows["kl"][row] == pytest.approx(gpo.kl_divergence(q, mu), abs=1e-12)
        lost = np.mean([sum(mu[j] for j in range(len(r)) if x < r[j]) for x in own[0, row]])
        assert rows["own_defeats"][row] == pytest.approx(lost, abs=1e-12)
    still = tilt_of(judged, np.zeros_like(judged.rewards))
    wins, defeats = against(judged, still, judged.rewards)
    assert wins == pytest.approx(defeats, abs=1e-12)


def test_unseen_prompts_are_none_that_were_trained_on(tiny: tuple[TunedConfig, Problem]) -> None:
    config, problem = tiny
    cells = [TunedCell(loss, 0.1, get_loss(loss).beta_of(0.1), 0, 4) for loss in ("logistic", "squared")]
    kept = train_tuned(problem, cells, config)
    other = dataclasses.replace(problem, seen=problem.seen.part(0, 4))
    alone = train_tuned(other, cells[:1], config)
    np.testing.assert_allclose(alone.log_ratio[0], kept.log_ratio[0], atol=2e-3)
    assert np.abs(kept.log_ratio).max() > 0.05
    assert not np.allclose(kept.log_ratio[0], kept.log_ratio[1], atol=1e-3)
    records = records_of(config, 0)
    assert len({record.prompt for record in records}) == config.prompts
    judged = problem.held.part(config.trained[-1], config.prompts)
    gold = WorldReward(records[config.trained[-1] :])
    assert kept.reward.shape == (2, config.unseen, config.generated)
    assert kept.reward.max() <= 5.0
    assert len(judged.rewards) == config.unseen == len(gold._facts)
    with pytest.raises(ValueError, match="one condition"):
        train_tuned(problem, [cells[0], dataclasses.replace(cells[1], trained=8)], config)


def test_what_a_configuration_may_be() -> None:
    for change, said in (
        ({"batch_size": 3}, "divide"), ({"steps": 26}, "multiples"), ({"trained": (8, 4)}, "rising"),
        ({"samples": 1}, "2 or more"), ({"losses": ("nope",)}, "nope"), ({"strengths": (0.0,)}, "above 0"),
        ({"generated": 0}, "1 or more"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(preset("tiny"), **change)
    with pytest.raises(ValueError, match="accepted are"):
        preset("huge")
    grid = np.log(log_grid(0.003, 3.0, 8))
    assert np.diff(grid) == pytest.approx(np.log(1000) / 7, rel=1e-2)


def test_a_killed_study_goes_on_to_the_same_tables(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["tuned", "--preset", "tiny", "--traceback", "--out", str(killed)]
    killed_after(killed, "seed-0/piece-0.sealed", command, words)
    before = {path: path.stat().st_mtime_ns for path in killed.rglob("*.sealed")}
    assert 0 < len(before) < 4
    (left := killed / "seed-0" / ".tmp" / "left").mkdir(parents=True)
    config, said = preset("tiny"), []
    assert run_study(config, killed, say=said.append)
    assert not left.exists()
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())  # nothing was trained twice
    assert run_study(config, whole, say=said.append)
    for name in ("policies.parquet", "prompts.parquet"):
        one, other = (
            pd.read_parquet(folder / name).drop(columns="seconds", errors="ignore") for folder in (whole, killed)
        )
        pd.testing.assert_frame_equal(one, other)
    pieces = plan_pieces(config)
    store = Store(whole, str(_key(whole)), said.append)
    assert read_piece(store, pieces[0]).arrays["log_ratio"].shape[0] == len(pieces[0].cells)
    with pytest.raises(ValueError, match="another configuration"):
        run_study(dataclasses.replace(config, steps=24), whole)


def _key(folder: Path) -> str:
    from gpo_analysis.files import unseal_json

    file = folder / "study.json"
    return str(unseal_json(file.read_bytes(), file)["key"])
