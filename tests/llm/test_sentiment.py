"""The sentiment classifier is at the minimum of its objective, and right on comments it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from llm.data.readers import Labelled, continuations
from llm.data.types import Reward
from llm.rewards.gold import GoldConfig, learn_sentiment
from llm.rewards.sentiment import SentimentConfig, _matrix, features, train_sentiment

GOOD, BAD, IDLE = (
    ("lovely", "great", "thanks", "happy", "fun"),
    ("awful", "sad", "hate", "worst", "ugly"),
    ("the", "day", "was", "it", "you", "car", "really", "so"),
)


def comments(n: int, seed: int) -> list[Labelled]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        label = ("positive", "negative", "neutral")[rng.integers(3)]
        told = {"positive": GOOD, "negative": BAD, "neutral": IDLE}[label]
        words = [*rng.choice(IDLE, 6), rng.choice(told)]
        found.append(Labelled(" ".join(rng.permutation(words)), label))
    return found


@pytest.mark.parametrize("kind", ["words", "letters"])
def test_at_the_minimum_and_right_on_others(tmp_path: Path, kind: str) -> None:
    config = SentimentConfig(features=kind, buckets=4096)
    train, test = comments(600, 0), comments(200, 1)
    reward, report = train_sentiment(train, test, config, folder=tmp_path)
    assert isinstance(reward, Reward)
    assert report["accuracy"] > 0.97 > report["majority"] + 0.2
    told = [text for text in train if text.label != "neutral"]
    assert report["comments"] == len(told) < 600
    # the gradient of the objective, written out, is zero at the weights found
    matrix = _matrix([text.text for text in told], config).toarray()
    truth = np.array([text.label == "positive" for text in told], dtype=float)
    slope = expit(matrix @ reward.weights + reward.bias) - truth
    assert np.abs(matrix.T @ slope + config.penalty * reward.weights).max() < 0.02
    assert abs(slope.sum()) < 0.05
    again, _ = train_sentiment(train, test, config, folder=tmp_path)
    np.testing.assert_array_equal(again(["so"], ["great"]), reward(["so"], ["great"]))
    assert reward(["it was"], ["lovely"])[0] > reward(["it was"], ["a car"])[0] > reward(["it was"], ["ugly"])[0]
    odds = reward.prefer(["so"], ["great"], ["sad"])
    assert odds[0] == pytest.approx(expit(reward(["so"], ["great"])[0] - reward(["so"], ["sad"])[0]))


def test_rows_have_length_one() -> None:
    found = _matrix(["one two", "", "three"], SentimentConfig(buckets=64)).toarray()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1.0, 0.0, 1.0])


def test_features_are_words_and_neighbours_or_letters() -> None:
    assert features("Not not so GOOD", "words") == ["not", "so", "good", "not not", "not so", "so good"]
    assert set(features("ab", "letters")) == {"<ab", "ab>", "<ab>"}
    assert features("", "words") == features("", "letters") == []


def test_two_halves_two_views(tmp_path: Path) -> None:
    learned = learn_sentiment(comments(900, 0), comments(200, 1), GoldConfig(), folder=tmp_path)
    assert learned.report["gold"]["comments"] + learned.report["judge"]["comments"] == sum(
        text.label != "neutral" for text in comments(900, 0)
    )
    assert min(learned.report[name]["accuracy"] for name in ("gold", "judge")) > 0.95
    assert learned.report["same_sign_on_held_out"] > 0.95
    assert (learned.gold.name, learned.judge.name) == ("gold", "judge")


def test_continuations_split_comments() -> None:
    texts = [Labelled("a b c d e", "positive"), Labelled("a b", "negative")]
    examples = continuations(texts, words=2)
    assert [(e.prompt, e.target, e.meta) for e in examples] == [("a b", "c d e", {"label": "positive"})]
    with pytest.raises(ValueError, match="words is 0"):
        continuations(texts, words=0)


@pytest.mark.parametrize("bad", [{"features": "pixels"}, {"penalty": 0.0}, {"buckets": 1}])
def test_bad_settings(tmp_path: Path, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"features is|buckets is"):
        SentimentConfig(**bad)
    with pytest.raises(ValueError, match="comments with each of the labels 'positive', 'negative'"):
        train_sentiment([Labelled("a", "positive")], comments(9, 0), SentimentConfig(), folder=tmp_path)
