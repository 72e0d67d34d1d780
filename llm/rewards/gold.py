"""Gold reward and judges of a domain in one call, from data of their own, with what is known of their accuracy.

The gold reward labels the pairs and is what policies are trained for. Two judges check it against reward hacking, by
data it never saw: one that scores each response, and one that looks at two, in both orders.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from llm.data.readers import Labelled
from llm.data.types import Example, Pair, Preference, Reward, read_examples, write_examples
from llm.data.world import WorldConfig, demonstration
from llm.policy.lengths import fitting
from llm.policy.sampling import sample
from llm.policy.tokenizers import encode_prompts, fingerprint
from llm.rewards.comparisons import Comparison, from_pairs, halves, title_comparisons
from llm.rewards.sentiment import SentimentConfig, train_sentiment
from llm.rewards.trained import RewardConfig, agreement, train_reward
from llm.rewards.world import WorldReward
from llm.storage.checksums import checksum_model, checksum_texts
from llm.storage.reports import finished_report, mark_done, stage_key


@dataclass(frozen=True)
class GoldConfig:
    """How gold reward and judges are trained.

    Parameters
    ----------
    gold, judge, pair_judge : RewardConfig
        The three networks; for sentiment the two classifiers below stand for the first two.
    sentiment, sentiment_judge : SentimentConfig
        The two classifiers, on words and on letters.
    max_new_tokens : int
        Longest sample of the model that titles are compared with, in tokens.
    batch_size : int
        Samples drawn side by side.
    seed : int
        Seed of the halves, of other papers' titles and of samples.
    """

    gold: RewardConfig = field(default_factory=lambda: RewardConfig("gold"))
    judge: RewardConfig = field(default_factory=lambda: RewardConfig("judge", seed=1))
    pair_judge: RewardConfig = field(default_factory=lambda: RewardConfig("pair_judge", two_responses=True, seed=2))
    sentiment: SentimentConfig = field(default_factory=lambda: SentimentConfig("gold"))
    sentiment_judge: SentimentConfig = field(default_factory=lambda: SentimentConfig("judge", features="letters"))
    max_new_tokens: int = 32
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.gold.two_responses or self.judge.two_responses or not self.pair_judge.two_responses:
            raise ValueError("gold and judge score one response (two_responses=False), pair_judge compares two")


@dataclass(frozen=True, eq=False)
class Learned:
    """A gold reward, its judges and the report: held-out accuracy of each, agreement of the judges with the gold.

    ``pair_judge`` is None for sentiment.
    """

    gold: Reward
    judge: Reward
    pair_judge: Preference | None
    report: dict[str, Any]


def learn_titles(
    examples: Sequence[Example],
    held_out: Sequence[Example],
    config: GoldConfig,
    *,
    folder: str | os.PathLike[str],
    model: Any = None,
    tokenizer: Any = None,
    device: str = "cpu",
    progress: bool = False,
) -> Learned:
    """Train on true titles against other papers' titles and, where a model is given, against its samples.

    Parameters
    ----------
    examples, held_out : sequence of Example
        Abstracts with their titles and ``meta["category"]``. One half of ``examples`` trains the gold reward, the other
        the judges.
    config : GoldConfig
        See `GoldConfig`.
    folder : path
        Where samples and rewards go; what is finished is read.
    model, tokenizer : model, tokenizer
        The model sampled from, usually πref.

    Returns
    -------
    Learned
        The report has, for each of the three, accuracy by kind ("other" papers' titles, "sample"s of the model), and
        ``agreement`` of each judge with the gold reward on pairs of a sample and a sample of another seed (with a
        model) or on the held-out comparisons.
    """
    root, left_out = Path(folder), {}
    if model is not None:
        examples, left_out["train"] = fitting(examples, model, tokenizer, config.max_new_tokens)
        held_out, left_out["held_out"] = fitting(held_out, model, tokenizer, config.max_new_tokens)
    mine, theirs = halves(examples, seed=config.seed)

    def compared(name: str, rows: Sequence[Example], number: int) -> list[Comparison]:
        drawn = None if model is None else _samples(model, tokenizer, rows, config, root / name, number)
        return title_comparisons(rows, samples=drawn, seed=config.seed + number)

    test = compared("samples_held_out", held_out, 2)
    learned = _three(
        compared("samples_gold", mine, 0), compared("samples_judge", theirs, 1), test, config, root, device, progress
    )
    if model is None:
        return learned
    learned = replace(learned, report=learned.report | {"too_long_for_the_model": left_out})
    first, second = (
        _samples(model, tokenizer, held_out, config, root / f"samples_{name}", number)
        for name, number in (("held_out", 2), ("second", 3))
    )
    return _with_agreement(learned, [example.prompt for example in held_out], first, second)


def learn_preferences(
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    config: GoldConfig,
    *,
    folder: str | os.PathLike[str],
    device: str = "cpu",
    progress: bool = False,
) -> Learned:
    """Train on labelled pairs, such as people's: half of the prompts for the gold reward, half for the judges."""
    shown = {pair.prompt for pair in pairs}
    mine, _ = halves([Example(prompt, "-") for prompt in sorted(shown)], seed=config.seed)
    first = {example.prompt for example in mine}
    train = from_pairs([pair for pair in pairs if pair.prompt in first])
    other = from_pairs([pair for pair in pairs if pair.prompt not in first])
    return _three(train, other, from_pairs(held_out), config, Path(folder), device, progress)


def learn_sentiment(
    texts: Sequence[Labelled],
    held_out: Sequence[Labelled],
    config: GoldConfig,
    *,
    folder: str | os.PathLike[str],
) -> Learned:
    """Train two classifiers on two halves of the comments; the report has their accuracies and their agreement."""
    root = Path(folder)
    order = np.random.default_rng([config.seed, 4]).permutation(len(texts))
    mine, theirs = ([texts[at] for at in part] for part in np.array_split(order, 2))
    gold, first = train_sentiment(mine, held_out, config.sentiment, folder=root / "gold")
    judge, second = train_sentiment(theirs, held_out, config.sentiment_judge, folder=root / "judge")
    labels = (config.sentiment.positive, config.sentiment.negative)
    some = [text.text for text in held_out if text.label in labels]
    same = float(np.mean((gold.score(some) > 0.0) == (judge.score(some) > 0.0)))
    return Learned(gold, judge, None, {"gold": first, "judge": second, "same_sign_on_held_out": same})


def learn_world(
    examples: Sequence[Example],
    held_out: Sequence[Example],
    config: GoldConfig,
    *,
    folder: str | os.PathLike[str],
    world: WorldConfig | None = None,
    copies: int = 2,
    device: str = "cpu",
    progress: bool = False,
) -> Learned:
    """Train judges of the generated world on careless summaries of records of their own; the gold reward is exact.

    The judges see prompts and summaries and which of two summaries the program prefers, not the facts.

    Parameters
    ----------
    examples, held_out : sequence of Example
        Records that no policy is trained or evaluated on.
    copies : int
        Comparisons of each record.
    """
    world = world or WorldConfig()
    gold = WorldReward([*examples, *held_out])
    train = _careless(examples, gold, world, copies, config.seed)
    test = _careless(held_out, gold, world, 1, config.seed + 1)
    report: dict[str, Any] = {"gold": {"kind": "program", "accuracy": 1.0}}
    judge, report["judge"] = train_reward(
        train, test, config.judge, folder=Path(folder) / "judge", device=device, progress=progress
    )
    pair_judge, report["pair_judge"] = train_reward(
        train, test, config.pair_judge, folder=Path(folder) / "pair_judge", device=device, progress=progress
    )
    return Learned(gold, _scoring(judge), pair_judge, report)


def _careless(
    examples: Sequence[Example], gold: WorldReward, world: WorldConfig, copies: int, seed: int
) -> list[Comparison]:
    prompts = [example.prompt for example in examples for _ in range(copies)]
    number = 2 * copies * seed

    def lines(offset: int) -> list[str]:
        return [
            demonstration(example, seed=number + 2 * copy + offset, config=world)
            for example in examples
            for copy in range(copies)
        ]

    first, second = lines(0), lines(1)
    gaps = gold(prompts, first) - gold(prompts, second)
    return [
        Comparison(prompt, *((a, b) if gap > 0.0 else (b, a)), "careless")
        for prompt, a, b, gap in zip(prompts, first, second, gaps.tolist(), strict=True)
        if gap != 0.0
    ]


def _three(
    train: Sequence[Comparison],
    other: Sequence[Comparison],
    test: Sequence[Comparison],
    config: GoldConfig,
    root: Path,
    device: str,
    progress: bool,
) -> Learned:
    report: dict[str, Any] = {}
    made = {}
    for name, rows in (("gold", train), ("judge", other), ("pair_judge", other)):
        settings: RewardConfig = getattr(config, name)
        made[name], report[name] = train_reward(
            rows, test, settings, folder=root / name, device=device, progress=progress
        )
    learned = Learned(_scoring(made["gold"]), _scoring(made["judge"]), made["pair_judge"], report)
    prompts, better, worse = ([getattr(one, name) for one in test] for name in ("prompt", "better", "worse"))
    return _with_agreement(learned, prompts, better, worse, "agreement_on_held_out")


def _with_agreement(
    learned: Learned, prompts: list[str], first: list[str], second: list[str], name: str = "agreement_on_samples"
) -> Learned:
    """Add how often the judges prefer what the gold reward does; responses of equal reward are left out."""
    judges: dict[str, Any] = {"judge": learned.judge, "pair_judge": learned.pair_judge}
    agreements = {key: agreement(learned.gold, judge, prompts, first, second) for key, judge in judges.items()}
    return replace(learned, report=learned.report | {name: agreements})


def _scoring(made: Any) -> Reward:
    if not isinstance(made, Reward):
        raise ValueError(f"{made.name} looks at two responses; accepted is a reward that scores one")
    return made


def _samples(
    model: Any, tokenizer: Any, examples: Sequence[Example], config: GoldConfig, root: Path, number: int
) -> list[str]:
    """One sample to each example, kept on disk."""
    key = stage_key(
        {"seed": config.seed, "number": number, "max_new_tokens": config.max_new_tokens},
        model=checksum_model(model),
        tokenizer=fingerprint(tokenizer),
        data=checksum_texts(example.prompt for example in examples),
    )
    if finished_report(root, key) is None:
        drawn = sample(
            model,
            tokenizer,
            encode_prompts(tokenizer, [example.prompt for example in examples]),
            seed=10 * config.seed + number,
            max_new_tokens=config.max_new_tokens,
            batch_size=config.batch_size,
        )
        texts = drawn.texts(tokenizer)
        rows = [Example(example.prompt, text or _NOTHING) for example, text in zip(examples, texts, strict=True)]
        write_examples(rows, root / "samples.jsonl")
        mark_done(root, key, {"samples": len(rows), "empty": sum(not text for text in texts)}, ["samples.jsonl"])
    return ["" if row.target == _NOTHING else row.target for row in read_examples(root / "samples.jsonl")]


_NOTHING = "\x00"
"""Stands for an empty sample on disk, where an example's target may not be empty."""
