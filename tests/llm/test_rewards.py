"""Trained rewards: they learn what can be learned, on held-out prompts; positions do not matter; saved is loaded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llm.data.types import Example, Pair, Preference, Reward
from llm.data.world import generate
from llm.rewards.comparisons import Comparison, from_pairs, halves, title_comparisons
from llm.rewards.gold import GoldConfig, learn_preferences, learn_titles, learn_world
from llm.rewards.network import Encoder, NetworkSize
from llm.rewards.trained import (
    PairJudge,
    RewardConfig,
    RewardModel,
    accuracy,
    agreement,
    load_reward,
    train_reward,
)

SMALL = NetworkSize(width=16, buckets=2048)
CONFIG = RewardConfig(size=SMALL, epochs=3, batch_size=16, learning_rate=1e-2)


def papers(n: int, seed: int) -> list[Example]:
    """Abstracts of made-up words, titles of words they have; two categories with words of their own."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        category = "ab"[rng.integers(2)]
        words = [f"{category}{rng.integers(400)}" for _ in range(12)]
        found.append(Example(" ".join(words), " ".join(rng.choice(words, 3)), {"category": category}))
    return found


TRAIN, TEST = papers(400, 0), papers(100, 1)


@pytest.mark.parametrize("two_responses", [False, True])
def test_true_titles_are_told_from_others_of_the_category(tmp_path: Path, two_responses: bool) -> None:
    config = dataclasses.replace(CONFIG, two_responses=two_responses)
    train, test = title_comparisons(TRAIN), title_comparisons(TEST, seed=1)
    made, report = train_reward(train, test, config, folder=tmp_path)
    assert report["accuracy"] > 0.85
    assert report["accuracy_stderr"] == pytest.approx(np.sqrt(report["accuracy"] * (1 - report["accuracy"]) / 100))
    assert (report["held_out"], report["held_out_prompts_seen"]) == (100, 0)
    assert report["by_kind"] == {"other": report["accuracy"]}
    untrained = accuracy(type(made)(type(made.network)(SMALL, two_responses), "new"), test)
    assert report["log_loss"] < 0.5 < untrained["log_loss"]
    again, told = train_reward(train, test, config, folder=tmp_path)  # read, not trained
    assert told == report
    columns = [[getattr(one, name) for one in test] for name in ("prompt", "better", "worse")]
    np.testing.assert_array_equal(again.prefer(*columns), made.prefer(*columns))
    assert isinstance(load_reward(tmp_path / "reward"), PairJudge if two_responses else RewardModel)


def test_training_is_reproducible_and_leaves_the_callers_stream(tmp_path: Path) -> None:
    train, test = title_comparisons(TRAIN[:60]), title_comparisons(TEST[:20])
    state = torch.random.get_rng_state()
    one, first = train_reward(train, test, CONFIG, folder=tmp_path / "one")
    assert torch.equal(torch.random.get_rng_state(), state)
    two, second = train_reward(train, test, CONFIG, folder=tmp_path / "two")
    texts = [e.prompt for e in TEST], [e.target for e in TEST]
    np.testing.assert_array_equal(one(*texts), two(*texts))
    other, _ = train_reward(train, test, dataclasses.replace(CONFIG, seed=1), folder=tmp_path / "three")
    assert np.abs(other(*texts) - one(*texts)).max() > 1e-3
    assert first["log_loss"] == second["log_loss"]


@pytest.fixture(scope="module")
def judges() -> tuple[RewardModel, PairJudge]:
    from llm.rewards.trained import _Network

    torch.manual_seed(0)
    return RewardModel(_Network(SMALL, False), "r"), PairJudge(_Network(SMALL, True), "j")


def test_positions_do_not_matter(judges: tuple[RewardModel, PairJudge]) -> None:
    prompts, first, second = ([e.prompt for e in TEST], [e.target for e in TEST], [e.target for e in TEST[::-1]])
    for judge in judges:
        assert isinstance(judge, Preference)
        np.testing.assert_allclose(
            judge.prefer(prompts, first, second) + judge.prefer(prompts, second, first), 1.0, atol=1e-12
        )
        np.testing.assert_allclose(judge.prefer(prompts, first, first), 0.5, atol=1e-7)
    reward, judge = judges
    assert isinstance(reward, Reward)
    assert not isinstance(judge, Reward)
    # what is taken away is there: an untrained network does prefer a position
    assert abs(judge.position_bias(prompts, first, second)) > 1e-3
    odds = reward.prefer(prompts, first, second)
    np.testing.assert_allclose(np.log(odds / (1 - odds)), reward(prompts, first) - reward(prompts, second), atol=1e-9)


def test_scores_do_not_depend_on_what_stands_beside(judges: tuple[RewardModel, PairJudge]) -> None:
    reward = judges[0]
    prompts = [e.prompt for e in TEST] + ["short", TEST[0].prompt]
    responses = [e.target for e in TEST] + ["a much longer response than any of the others " * 4, ""]
    whole = reward(prompts, responses)
    alone = [float(reward([x], [y])[0]) for x, y in zip(prompts, responses, strict=True)]
    np.testing.assert_allclose(whole, alone, atol=1e-5)
    assert np.isfinite(whole).all()
    assert len(np.unique(whole.round(6))) > 90
    assert reward([], []).shape == (0,)
    with pytest.raises(ValueError, match="1 prompts and 2 responses"):
        reward(["a"], ["b", "c"])


def test_matches_by_hand() -> None:
    encoder = Encoder(SMALL)
    x = encoder.read(["alpha beta betamax"], ends=False)
    y = encoder.read(["Beta gamma betam beta"], ends=True)
    found = encoder._matches(x, y)[0]
    # begin, beta, gamma, betam, beta, end; columns: in the prompt, beginning in it, came before, an end
    # "betam" begins as "betamax" does (five letters)
    expected = [[0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]
    assert found.tolist() == expected


def test_title_comparisons_stay_within_the_category() -> None:
    found = title_comparisons(TRAIN, samples=["a sample"] * len(TRAIN), seed=3)
    by_prompt = {e.prompt: e for e in TRAIN}
    titles = {c: {e.target for e in TRAIN if e.meta["category"] == c} for c in "ab"}
    for one in found:
        example = by_prompt[one.prompt]
        assert one.better == example.target != one.worse
        assert one.worse == "a sample" if one.kind == "sample" else one.worse in titles[example.meta["category"]]
    kinds = [one.kind for one in found]
    assert (kinds.count("other"), kinds.count("sample")) == (400, 400)
    assert len({one.worse for one in found}) > 200
    with pytest.raises(ValueError, match="3 samples for 400 examples"):
        title_comparisons(TRAIN, samples=["a"] * 3)
    with pytest.raises(ValueError, match="1 examples"):
        title_comparisons(TRAIN[:1])


def test_pairs_become_comparisons() -> None:
    pairs = [Pair("p", "a", "b"), Pair("p", "a", "b", p=0.2), Pair("p", "a", "b", p=0.5)]
    assert from_pairs(pairs) == [Comparison("p", "a", "b"), Comparison("p", "b", "a")]


def test_halves_share_no_prompt() -> None:
    rows = [Example(f"p{i % 31}", f"t{i}") for i in range(100)]
    first, second = halves(rows)
    assert not {e.prompt for e in first} & {e.prompt for e in second}
    assert len(first) + len(second) == 100
    assert {len({e.prompt for e in part}) for part in (first, second)} == {15, 16}
    assert halves(rows) == (first, second) != halves(rows, seed=1)


def test_agreement_by_hand() -> None:
    class Length:
        name = "length"

        def __call__(self, prompts: Any, responses: Any) -> Any:
            return np.array([float(len(text)) for text in responses])

    class Backwards(Length):
        def prefer(self, prompts: Any, first: Any, second: Any) -> Any:
            return np.where([len(a) > 2 for a in first], 1.0, 0.25)

    found = agreement(Length(), Backwards(), ["p"] * 4, ["aaa", "a", "aaaa", "bb"], ["a", "bbb", "aaaaa", "cc"])
    assert found == {"agreement": pytest.approx(2 / 3), "stderr": pytest.approx(np.sqrt(2 / 27)), "pairs": 3.0}
    with pytest.raises(ValueError, match="agreement is not defined"):
        agreement(Length(), Backwards(), ["p"], ["a"], ["b"])


GOLD = GoldConfig(
    gold=dataclasses.replace(CONFIG, name="gold"),
    judge=dataclasses.replace(CONFIG, name="judge", seed=1),
    pair_judge=dataclasses.replace(CONFIG, name="pair_judge", seed=2, two_responses=True),
    max_new_tokens=5,
)


def test_titles_with_samples_of_a_model(tmp_path: Path) -> None:
    from llm.policy.models import LlamaSize, small_llama
    from llm.policy.tokenizers import train_tokenizer

    tokenizer = train_tokenizer([e.prompt for e in TRAIN + TEST])
    model = small_llama(LlamaSize(hidden=8, layers=1, heads=2), tokenizer, seed=0)
    learned = learn_titles(TRAIN, TEST, GOLD, folder=tmp_path, model=model, tokenizer=tokenizer)
    report = learned.report
    assert set(report["gold"]["by_kind"]) == {"other", "sample"}
    assert report["gold"]["accuracy"] > 0.8
    assert report["judge"]["held_out_prompts_seen"] == report["gold"]["held_out_prompts_seen"] == 0
    assert report["agreement_on_held_out"]["judge"]["agreement"] > 0.8
    assert 90 <= report["agreement_on_samples"]["pair_judge"]["pairs"] <= 100
    assert (learned.gold.name, learned.judge.name, learned.pair_judge.name) == ("gold", "judge", "pair_judge")
    again = learn_titles(TRAIN, TEST, GOLD, folder=tmp_path, model=model, tokenizer=tokenizer)
    assert again.report == report


def test_peoples_pairs(tmp_path: Path) -> None:
    def pairs(rows: list[Example]) -> list[Pair]:
        return [Pair(one.prompt, one.better, one.worse) for one in title_comparisons(rows)]

    learned = learn_preferences(pairs(TRAIN), pairs(TEST), GOLD, folder=tmp_path)
    assert learned.report["gold"]["comparisons"] == learned.report["judge"]["comparisons"] == 200
    assert learned.report["gold"]["accuracy"] > 0.7


def test_judges_of_the_world_are_trained_on_other_records(tmp_path: Path) -> None:
    records, held_out = generate(500, seed=0), generate(100, seed=1)
    learned = learn_world(records, held_out, GOLD, folder=tmp_path)
    assert learned.report["judge"]["accuracy"] > 0.6
    assert learned.report["judge"]["held_out_prompts_seen"] == 0
    assert learned.gold([held_out[0].prompt], [held_out[0].target]).tolist() == [5.0]
    scores = learned.judge([e.prompt for e in held_out] * 2, [e.target for e in held_out] + ["someone ."] * 100)
    assert scores[:100].mean() > scores[100:].mean()


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [
        (NetworkSize, {"window": 4}, "window is 4"),
        (NetworkSize, {"width": 0}, "width 0"),
        (RewardConfig, {"epochs": 0}, "epochs 0"),
        (GoldConfig, {"judge": RewardConfig(two_responses=True)}, "score one response"),
    ],
)
def test_bad_settings(kind: Any, bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**bad)


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 comparisons to train on and 1 held out"):
        train_reward([], [Comparison("p", "a", "b")], CONFIG, folder=tmp_path)
