"""Pairs: labels follow their models, the counts add up, and a killed run goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

import llm.rewards.pairs
from llm.data.types import Example, read_pairs
from llm.rewards.labels import LabelConfig, label
from llm.rewards.pairs import PairsConfig, make_pairs
from llm.rewards.world import WorldReward

N = 20000


def rewards(gap: float, n: int = N) -> tuple[Any, Any]:
    return np.full(n, 3.0 + gap), np.full(n, 3.0)


def near(found: float, expected: float, n: int = N) -> bool:
    return abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / n) + 1e-12


@pytest.mark.parametrize(("gap", "temperature"), [(1.0, 1.0), (-0.5, 0.25), (0.0, 1.0), (3.0, 10.0), (800.0, 1.0)])
def test_bradley_terry(gap: float, temperature: float) -> None:
    labels = label(*rewards(gap), LabelConfig("bt", temperature), seed=0)
    assert near(labels.first_chosen.mean(), expit(gap / temperature))
    assert not labels.tied.any()
    assert (labels.p == 1.0).all()
    soft = label(*rewards(gap, 50), LabelConfig("bt", temperature, soft=True), seed=0)
    np.testing.assert_allclose(np.where(soft.first_chosen, soft.p, 1 - soft.p), expit(gap / temperature))
    assert (soft.p >= 0.5).all()


def test_argmax_and_its_ties() -> None:
    first, second = np.array([1.0, 0.0, 2.0, 5.0]), np.array([0.0, 1.0, 2.0, 5.0])
    labels = label(first, second, LabelConfig("argmax"), seed=0)
    assert labels.first_chosen[:2].tolist() == [True, False]
    assert labels.tied.tolist() == [False, False, True, True]


@pytest.mark.parametrize("flip", [0.0, 0.1, 0.25, 1.0])
def test_the_share_flipped_is_exact(flip: float) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 1000))
    second[:200] = first[:200]  # ties are not flipped
    labels = label(first, second, LabelConfig("argmax", flip=flip), seed=5)
    told = ~labels.tied
    assert labels.flipped.sum() == round(flip * 800) == ((labels.first_chosen != (first > second)) & told).sum()
    assert not (labels.flipped & labels.tied).any()


@pytest.mark.parametrize(("gap", "tie_weight"), [(0.7, 0.5), (-2.0, 1.0), (0.0, 2.0), (1.0, 0.0)])
def test_votes_follow_davidson(gap: float, tie_weight: float) -> None:
    one = LabelConfig("votes", voters=1, tie_weight=tie_weight)
    win, lose = expit(gap), expit(-gap)
    tie = tie_weight * np.sqrt(win * lose)
    total = win + lose + tie
    labels = label(*rewards(gap), one, seed=0)
    assert near(labels.tied.mean(), tie / total)
    assert near(labels.first_chosen[~labels.tied].mean(), win / (win + lose), int((~labels.tied).sum()))
    # soft labels: their mean is the expected share of votes, for any number of voters
    soft = label(*rewards(gap), dataclasses.replace(one, soft=True, voters=5), seed=1)
    share = np.where(soft.first_chosen, soft.p, 1 - soft.p)
    assert share.mean() == pytest.approx((win + tie / 2) / total, abs=4 * 0.5 / np.sqrt(5 * N))
    assert set(np.round(share * 10).astype(int)) <= set(range(11))
    assert not soft.tied.any()


def test_more_voters_agree_more_with_the_reward() -> None:
    right = [
        label(*rewards(0.5), LabelConfig("votes", voters=voters, tie_weight=0.0), seed=0).first_chosen.mean()
        for voters in (1, 9)
    ]
    expected = [expit(0.5), stats.binom.sf(4, 9, expit(0.5))]
    assert all(near(found, value) for found, value in zip(right, expected, strict=True))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"mode": "best"}, "mode is 'best'"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"flip": 1.5}, "flip is 1.5"),
        ({"voters": 0}, "voters is 0"),
        ({"mode": "argmax", "soft": True}, "soft is True"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelConfig(**bad)
    with pytest.raises(ValueError, match="pair 1 has the rewards nan"):
        label(np.array([0.0, np.nan]), np.zeros(2), LabelConfig(), seed=0)
    with pytest.raises(ValueError, match="temperature is 0"):
        PairsConfig(temperature=0.0)


CONFIG = PairsConfig(max_new_tokens=6, chunk=8, labels=LabelConfig("argmax"), keep_unfinished=True, seed=2)


def test_pairs_are_samples_with_their_rewards(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, records: list[Example]
) -> None:
    gold = WorldReward(records)
    pairs, report = make_pairs(tiny_model, word_tokenizer, records, gold, CONFIG, folder=tmp_path)
    assert read_pairs(tmp_path / "pairs.jsonl") == pairs
    assert not (tmp_path / "parts").exists()
    assert (
        report["sampled"]
        == 40
        == len(pairs) + sum(report[name] for name in ("empty", "identical", "unfinished", "tied"))
    )
    for pair in pairs:
        assert gold([pair.prompt] * 2, [pair.chosen, pair.rejected]).tolist() == [
            pair.reward_chosen,
            pair.reward_rejected,
        ]
        assert pair.reward_chosen > pair.reward_rejected
    assert report["label_agrees_with_reward"] == 1.0
    flipped = dataclasses.replace(CONFIG, labels=LabelConfig("argmax", flip=0.5))
    turned, told = make_pairs(tiny_model, word_tokenizer, records, gold, flipped, folder=tmp_path / "flipped")
    wrong = sum(pair.reward_chosen < pair.reward_rejected for pair in turned)
    assert wrong == told["flipped"] == round(0.5 * len(turned))
    assert told["label_agrees_with_reward"] == pytest.approx(1 - wrong / len(turned))
    assert {frozenset((p.chosen, p.rejected)) for p in pairs} == {frozenset((p.chosen, p.rejected)) for p in turned}


def test_what_did_not_end_is_left_out(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, records: list[Example]
) -> None:
    strict = dataclasses.replace(CONFIG, keep_unfinished=False, max_new_tokens=120, chunk=20, pairs_per_prompt=8)
    model_records = [Example("record :", "x", {"facts": r.meta["facts"]}) for r in records[:20]]
    gold = WorldReward(model_records)
    pairs, report = make_pairs(tiny_model, word_tokenizer, model_records, gold, strict, folder=tmp_path)
    assert report["sampled"] == 160
    assert report["unfinished"] > 20
    assert 0 < len(pairs) < 160
    assert all(len(text.split()) < 120 for pair in pairs for text in (pair.chosen, pair.rejected))


class Killed(Exception):
    """Stands for a process that is killed."""


def test_a_killed_run_draws_only_what_is_missing(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, records: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    gold = WorldReward(records)
    whole, report = make_pairs(tiny_model, word_tokenizer, records, gold, CONFIG, folder=tmp_path / "whole")
    draw, places = llm.rewards.pairs._draw, []

    def killed(model: Any, tokenizer: Any, examples: Any, part: range, config: Any) -> Any:
        if part.start == 24 and 24 not in places:
            places.append(24)
            raise Killed
        places.append(part.start)
        return draw(model, tokenizer, examples, part, config)

    monkeypatch.setattr(llm.rewards.pairs, "_draw", killed)
    with pytest.raises(Killed):
        make_pairs(tiny_model, word_tokenizer, records, gold, CONFIG, folder=tmp_path / "parts")
    resumed, again = make_pairs(tiny_model, word_tokenizer, records, gold, CONFIG, folder=tmp_path / "parts")
    assert places == [0, 8, 16, 24, 24, 32]
    assert resumed == whole
    assert {k: v for k, v in again.items() if "seconds" not in k} == {
        k: v for k, v in report.items() if "seconds" not in k
    }
    read, _ = make_pairs(tiny_model, word_tokenizer, records, gold, CONFIG, folder=tmp_path / "parts")
    assert read == whole
    assert len(places) == 6  # finished: nothing was drawn
    dearer = WorldReward(records, invention=2.0)  # another reward of the same name is not taken for it
    costly, _ = make_pairs(tiny_model, word_tokenizer, records, dearer, CONFIG, folder=tmp_path / "parts")
    assert min(pair.reward_rejected for pair in costly) < min(pair.reward_rejected for pair in whole)
    other = dataclasses.replace(CONFIG, seed=3)
    assert make_pairs(tiny_model, word_tokenizer, records, gold, other, folder=tmp_path / "parts")[0] != whole


def test_prompts_beyond_the_models_positions_are_counted(
    tmp_path: Path, tiny_model: Any, word_tokenizer: Any, records: list[Example]
) -> None:
    long = Example(" ".join([records[0].prompt] * 4), "x", records[0].meta)
    pairs, report = make_pairs(
        tiny_model, word_tokenizer, [*records, long], WorldReward([*records, long]), CONFIG, folder=tmp_path
    )
    assert (report["too_long"], report["sampled"]) == (1, 40)
    assert long.prompt not in {pair.prompt for pair in pairs}


def test_nothing_left_is_said(tmp_path: Path, tiny_model: Any, word_tokenizer: Any, records: list[Example]) -> None:
    class Flat:
        name = "flat"

        def __call__(self, prompts: Any, responses: Any) -> Any:
            return np.zeros(len(prompts))

    with pytest.raises(ValueError, match="no pair is left of 40"):
        make_pairs(tiny_model, word_tokenizer, records, Flat(), CONFIG, folder=tmp_path)
