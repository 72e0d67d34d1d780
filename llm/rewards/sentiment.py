"""Gold reward by sentiment: a linear classifier on hashed words or letters, trained on labelled comments.

The reward is the log-odds of "positive" against "negative". Two classifiers that look at different things (words and
word pairs; runs of letters), trained on different comments, serve as gold reward and judge.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from gpo_analysis.arrays import FloatArray
from llm.data.readers import Labelled
from llm.rewards.network import words_of
from llm.storage.checksums import checksum_texts
from llm.storage.folders import new_folder
from llm.storage.reports import finished_report, mark_done, stage_key

FEATURES = ("words", "letters")
WEIGHTS, SETTINGS = "weights.safetensors", "reward.json"


@dataclass(frozen=True)
class SentimentConfig:
    """How the classifier is trained.

    Parameters
    ----------
    name : str
        Its name in tables.
    features : str
        "words": words and pairs of neighbours; "letters": runs of three to five letters within words.
    buckets : int
        Number of hashed features.
    penalty : float
        Ridge penalty: ½ ``penalty`` ‖w‖² is added to the summed log-loss.
    positive, negative : str
        The two labels; comments with others are left out.
    """

    name: str = "sentiment"
    features: str = "words"
    buckets: int = 1 << 17
    penalty: float = 0.1
    positive: str = "positive"
    negative: str = "negative"

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise ValueError(f"features is {self.features!r}; accepted are {', '.join(FEATURES)}")
        if self.buckets < 2 or not self.penalty > 0.0:
            raise ValueError(f"buckets is {self.buckets}, penalty {self.penalty}; accepted are ≥ 2 and > 0")


def features(text: str, kind: str) -> list[str]:
    """Return the features of a text, each once.

    Examples
    --------
    >>> sorted(features("So good", "words"))
    ['good', 'so', 'so good']
    >>> features("wow", "letters")
    ['<wo', 'wow', 'ow>', '<wow', 'wow>', '<wow>']
    """
    words = words_of(text)
    if kind == "words":
        pairs = [f"{a} {b}" for a, b in itertools.pairwise(words)]
        return list(dict.fromkeys([*words, *pairs]))
    runs = (
        whole[start : start + size]
        for whole in (f"<{word}>" for word in words)
        for size in (3, 4, 5)
        for start in range(max(1, len(whole) - size + 1))
    )
    return list(dict.fromkeys(runs))


class SentimentReward:
    """Log-odds that prompt and response together are positive."""

    def __init__(self, weights: FloatArray, bias: float, config: SentimentConfig) -> None:
        self.name, self.weights, self.bias, self.config = config.name, weights, bias, config

    @property
    def fingerprint(self) -> str:
        """Checksum of the weights."""
        return hashlib.sha256(np.append(self.weights, self.bias).tobytes()).hexdigest()

    def score(self, texts: Sequence[str]) -> FloatArray:
        """Return (n,) log-odds of texts."""
        return np.asarray(_matrix(texts, self.config) @ self.weights + self.bias)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> FloatArray:
        """Return (n,) rewards."""
        return self.score([f"{x} {y}" for x, y in zip(prompts, responses, strict=True)])

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> FloatArray:
        """Return (n,) probabilities that the first is the better, σ of the difference."""
        return np.asarray(expit(self(prompts, first) - self(prompts, second)))


def train_sentiment(
    texts: Sequence[Labelled],
    held_out: Sequence[Labelled],
    config: SentimentConfig,
    *,
    folder: str | os.PathLike[str],
) -> tuple[SentimentReward, dict[str, Any]]:
    """Train the classifier and save it to ``folder/reward``; finished with the same texts, it is read.

    Returns
    -------
    reward, report
        The report has the held-out ``accuracy`` with its standard error, and ``majority``, the share of the commoner
        label: what a constant answer gets.
    """
    train, test = (
        [text for text in rows if text.label in (config.positive, config.negative)] for rows in (texts, held_out)
    )
    if len({text.label for text in train}) < 2 or not test:
        raise ValueError(f"training needs comments with each of the labels {config.positive!r}, {config.negative!r}")
    root = Path(folder) / "reward"
    key = stage_key(config, train=checksum_texts(train), held_out=checksum_texts(test))
    report = finished_report(root, key)
    if report is not None:
        return load_sentiment(root), report
    started = time.perf_counter()
    reward = _fitted(train, config)
    truth = np.array([text.label == config.positive for text in test])
    rate = float(np.mean((reward.score([text.text for text in test]) > 0.0) == truth))
    report = {
        "accuracy": rate,
        "accuracy_stderr": math.sqrt(rate * (1.0 - rate) / len(test)),
        "majority": float(max(truth.mean(), 1.0 - truth.mean())),
        "held_out": len(test),
        "comments": len(train),
        "seconds": time.perf_counter() - started,
    }
    _save(reward, root, key, report)
    return reward, report


def load_sentiment(folder: str | os.PathLike[str]) -> SentimentReward:
    """Load what `train_sentiment` saved."""
    from safetensors.numpy import load_file

    config = SentimentConfig(**json.loads((Path(folder) / SETTINGS).read_text(encoding="utf-8")))
    found = load_file(str(Path(folder) / WEIGHTS))
    return SentimentReward(found["weights"], float(found["bias"][0]), config)


def _matrix(texts: Sequence[str], config: SentimentConfig) -> Any:
    """Return (n, buckets): 1/√m for each of a text's m features, so that rows have length one."""
    from scipy.sparse import csr_matrix

    rows = [
        sorted({zlib.crc32(one.encode()) % config.buckets for one in features(text, config.features)}) for text in texts
    ]
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    values = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts)
    columns = np.array([column for row in rows for column in row], dtype=np.int64)
    return csr_matrix((values, columns, np.concatenate([[0], np.cumsum(counts)])), shape=(len(rows), config.buckets))


def _fitted(train: Sequence[Labelled], config: SentimentConfig) -> SentimentReward:
    from scipy.optimize import minimize

    matrix = _matrix([text.text for text in train], config)
    sign = np.array([1.0 if text.label == config.positive else -1.0 for text in train])

    def objective(parameters: FloatArray) -> tuple[float, FloatArray]:
        weights, bias = parameters[:-1], parameters[-1]
        margin = sign * (matrix @ weights + bias)
        slope = -sign * expit(-margin)
        value = float(np.logaddexp(0.0, -margin).sum() + 0.5 * config.penalty * weights @ weights)
        return value, np.append(matrix.T @ slope + config.penalty * weights, slope.sum())

    found = minimize(objective, np.zeros(config.buckets + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return SentimentReward(found.x[:-1].copy(), float(found.x[-1]), config)


def _save(reward: SentimentReward, folder: Path, key: str, report: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    with new_folder(folder) as fresh:
        save_file({"weights": reward.weights, "bias": np.array([reward.bias])}, str(fresh / WEIGHTS))
        (fresh / SETTINGS).write_text(json.dumps(asdict(reward.config)), encoding="utf-8")
    mark_done(folder, key, report, ["."])
