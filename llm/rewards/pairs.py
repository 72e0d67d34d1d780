"""Pairs: two responses to each prompt sampled from the behaviour policy μ, labelled by the gold reward.

Sampling goes on in chunks of prompts that lie on disk, so that a killed run draws again only the chunk it was in.
Labels are drawn for all pairs at once, from the seed alone.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpo_analysis.files import DamagedFile, read_sealed, write_sealed
from llm.data.types import Example, Pair, Reward, read_pairs, write_pairs
from llm.policy.lengths import fitting
from llm.policy.sampling import sample
from llm.policy.tokenizers import encode_prompts, encode_responses, fingerprint
from llm.rewards.labels import LabelConfig, label
from llm.storage.checksums import checksum_model, checksum_texts
from llm.storage.reports import finished_report, mark_done, stage_key

FILE = "pairs.jsonl"


@dataclass(frozen=True)
class PairsConfig:
    """How responses are drawn and labelled.

    Parameters
    ----------
    pairs_per_prompt : int
        Pairs of each prompt; each pair has two responses of its own.
    max_new_tokens : int
        Longest response in tokens, the end token included.
    temperature : float
        Temperature of μ, the model that is sampled; 1 is the model itself.
    keep_unfinished : bool
        Whether responses without an end token may be in pairs. They are then stored, and trained on, as if it had
        come.
    labels : LabelConfig
        See `LabelConfig`.
    chunk, batch_size : int
        Prompts between two writes to disk; responses drawn side by side.
    seed : int
        Seed of samples and labels.
    """

    pairs_per_prompt: int = 1
    max_new_tokens: int = 32
    temperature: float = 1.0
    keep_unfinished: bool = False
    labels: LabelConfig = field(default_factory=LabelConfig)
    chunk: int = 1024
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("pairs_per_prompt", "max_new_tokens", "chunk", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature is {self.temperature}; two greedy responses would be the same")


def make_pairs(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    reward: Reward,
    config: PairsConfig,
    *,
    folder: str | os.PathLike[str],
    inputs: Mapping[str, str] | None = None,
    progress: bool = False,
) -> tuple[list[Pair], dict[str, Any]]:
    """Sample, score and label pairs; write them to ``folder/pairs.jsonl``.

    Parameters
    ----------
    model, tokenizer : model, tokenizer
        The behaviour policy μ.
    examples : sequence of Example
        Their prompts are answered.
    reward : Reward
        Gold reward. Its name and, where it has one, its ``fingerprint`` are part of what the folder's content is
        recognised by; give ``inputs`` a checksum for rewards that share a name and have none.
    config : PairsConfig
        See `PairsConfig`.
    folder : path
        Where pairs and report go. Finished with the same configuration and inputs, it is read; unfinished, the chunks
        of samples that are there are kept.
    inputs : mapping, optional
        What else the pairs depend on, as checksums.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    pairs, report
        The report counts what was left out (prompts too long for the model's positions; pairs that are identical,
        empty, unfinished, tied) and flipped, and says how often the label agrees with the rewards, how large the gap
        is, and how many responses have, tokenised again, the tokens they were sampled with.
    """
    root = Path(folder)
    key = stage_key(
        config,
        model=checksum_model(model),
        tokenizer=fingerprint(tokenizer),
        data=checksum_texts(example.prompt for example in examples),
        reward=[reward.name, getattr(reward, "fingerprint", None)],
        **(inputs or {}),
    )
    report = finished_report(root, key)
    if report is not None:
        shutil.rmtree(root / "parts", ignore_errors=True)  # of a run that was killed after its report
        return read_pairs(root / FILE), report
    started = time.perf_counter()
    examples, too_long = fitting(examples, model, tokenizer, config.max_new_tokens)
    rows = _sampled(model, tokenizer, examples, config, root, key, progress)
    sampled = time.perf_counter() - started
    pairs, report = _labelled(rows, reward, config)
    report["too_long"] = too_long
    report["seconds_sampling"], report["seconds"] = sampled, time.perf_counter() - started
    if not pairs:
        raise ValueError(f"no pair is left of {len(rows)}: {report}")
    write_pairs(pairs, root / FILE)
    mark_done(root, key, report, [FILE])
    shutil.rmtree(root / "parts", ignore_errors=True)
    return pairs, report


@dataclass(frozen=True)
class _Drawn:
    """Two responses as they were sampled."""

    prompt: str
    responses: list[str]
    finished: list[bool]
    same_tokens: list[bool]


def _sampled(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    config: PairsConfig,
    root: Path,
    key: str,
    progress: bool,
) -> list[_Drawn]:
    from tqdm import tqdm

    found: list[_Drawn] = []
    # another key's parts are of another configuration
    parts = root / "parts" / key
    for start in tqdm(range(0, len(examples), config.chunk), desc="sampling pairs", disable=not progress):
        part = parts / f"{start:08d}.sealed"
        rows = _read_part(part, f"samples {key} from {start}")
        if rows is None:
            rows = _draw(model, tokenizer, examples, range(start, min(start + config.chunk, len(examples))), config)
            data = json.dumps([asdict(row) for row in rows], ensure_ascii=False).encode()
            write_sealed(part, data, f"samples {key} from {start}")
        found += rows
    return found


def _read_part(path: Path, name: str) -> list[_Drawn] | None:
    """Samples that were written under this name; None where there are none, or not what was written."""
    try:
        return [_Drawn(**row) for row in json.loads(read_sealed(path, name))]
    except (OSError, DamagedFile):
        return None


def _draw(model: Any, tokenizer: Any, examples: Sequence[Example], indices: range, config: PairsConfig) -> list[_Drawn]:
    prompts = [examples[index].prompt for index in indices]
    drawn = sample(
        model,
        tokenizer,
        encode_prompts(tokenizer, prompts),
        seed=config.seed,
        max_new_tokens=config.max_new_tokens,
        samples=2 * config.pairs_per_prompt,
        temperature=config.temperature,
        batch_size=config.batch_size,
        indices=indices,
    )
    texts = drawn.texts(tokenizer)
    again = iter(encode_responses(tokenizer, [text for text in texts if text]))
    same = [bool(text) and next(again) == tokens for text, tokens in zip(texts, drawn.tokens, strict=True)]
    return [
        _Drawn(
            prompts[drawn.prompt_index[row]],
            texts[row : row + 2],
            drawn.finished[row : row + 2].tolist(),
            same[row : row + 2],
        )
        for row in range(0, len(texts), 2)
    ]


def _labelled(rows: list[_Drawn], reward: Reward, config: PairsConfig) -> tuple[list[Pair], dict[str, Any]]:
    counts = {"sampled": len(rows), "empty": 0, "identical": 0, "unfinished": 0}
    kept = []
    for row in rows:
        if not all(row.responses):
            counts["empty"] += 1
        elif row.responses[0] == row.responses[1]:
            counts["identical"] += 1
        elif not all(row.finished) and not config.keep_unfinished:
            counts["unfinished"] += 1
        else:
            kept.append(row)
    prompts = [row.prompt for row in kept]
    first, second = (reward(prompts, [row.responses[side] for row in kept]) for side in (0, 1))
    labels = label(first, second, config.labels, seed=config.seed)
    pairs = []
    for row, a, b, wins, p, tied in zip(
        kept, first.tolist(), second.tolist(), labels.first_chosen, labels.p.tolist(), labels.tied, strict=True
    ):
        if not tied:
            one, other = (row.responses[0], a), (row.responses[1], b)
            (chosen, high), (rejected, low) = (one, other) if wins else (other, one)
            pairs.append(Pair(row.prompt, chosen, rejected, high, low, p))
    gaps = np.array([(pair.reward_chosen or 0.0) - (pair.reward_rejected or 0.0) for pair in pairs])
    decided = gaps[gaps != 0.0]
    same = [one for row in rows for one in row.same_tokens]
    report = counts | {
        "tied": int(labels.tied.sum()),
        "flipped": int(labels.flipped.sum()),
        "pairs": len(pairs),
        "mean_reward": float(np.mean(np.concatenate([first, second]))) if kept else 0.0,
        "reward_sd": float(np.std(np.concatenate([first, second]))) if kept else 0.0,
        "mean_absolute_gap": float(np.abs(gaps).mean()) if len(gaps) else 0.0,
        "equal_rewards": int((gaps == 0.0).sum()),
        "label_agrees_with_reward": float((decided > 0.0).mean()) if len(decided) else 0.0,
        "mean_p": float(np.mean([pair.p for pair in pairs])) if pairs else 0.0,
        "same_tokens_when_encoded_again": float(np.mean(same)) if same else 0.0,
    }
    return pairs, report
