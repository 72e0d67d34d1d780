"""Where a real study's model, prompts and pairs come from; without any, a tiny random Llama and a generated world.

Titles: abstracts are prompts, several samples of πref each are responses, and the reward is the share of words that
they have in common with the paper's own title (`title_overlap`). HH: people's pairs, one a prompt, the chosen response
of reward 1 and the rejected one of 0; further samples of πref, without a label, tell the KL divergence.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpo_analysis.files import file_digest
from gpo_analysis.integrations.sampling import end_tokens
from llm.data.preferences import PreferencePair, read_preferences
from llm.data.readers import read_summaries
from llm.data.types import Example
from llm.data.world import demonstration, generate
from llm.forests.problem import Problem, problem_from
from llm.own.tokens import PairTokenizer
from llm.policy.models import load_model
from llm.policy.sampling import sample
from llm.policy.tokenizers import encode_prompts, train_tokenizer
from llm.real.config import RealConfig
from llm.storage.checksums import checksum_model

ASK = "Write a title for the paper with this abstract. Answer with the title only.\n\n"
SPLITS = {"titles": "validation", "hh": "train"}
_WORLD = 200  # records of the generated world
_SPARE = 4  # prompts more than are needed: those whose samples are all alike are passed over


def title_overlap(text: str, title: str) -> float:
    """F1 of the words that a text shares with a title, letters and digits alone, whatever their case.

    Examples
    --------
    >>> title_overlap("Title: The Red Boat", "a red boat"), title_overlap("", "a red boat")
    (0.5714285714285715, 0.0)
    """
    one, other = (Counter(re.findall(r"[a-z0-9]+", words.lower())) for words in (text, title))
    both = (one & other).total()
    return 2 * both / (one.total() + other.total()) if both else 0.0


class Sources:
    """A model with its tokenizer, and records.

    Parameters
    ----------
    config : RealConfig
        Its domain says what records are read.
    model, data : path, optional
        Folder of a Llama; and a file of records, or a folder with validation.jsonl[.gz] (titles) or train.jsonl[.gz]
        (hh). Without a model a tiny random Llama is made, without data the generated world is taken.
    """

    def __init__(
        self, config: RealConfig, model: str | os.PathLike[str] | None, data: str | os.PathLike[str] | None
    ) -> None:
        self.domain, self.file = config.domain, None if data is None else _file(Path(data), config.domain)
        self.records: list[Any] = _records(self.domain, self.file)
        if model is None:
            self.model, self.tokenizer = tiny_llama([*map(str, _texts(self.records))])
        else:
            self.model, self.tokenizer = load_model(model)

    def digests(self) -> tuple[tuple[str, str], ...]:
        """Of the model and of the data."""
        data = "the generated world" if self.file is None else file_digest(self.file)
        return ("model", checksum_model(self.model)), ("data", data)

    def problem(self, config: RealConfig, seed: int) -> Problem:
        """Draw a seed's prompts and samples.

        Raises
        ------
        ValueError
            Where too few records are short enough.
        """
        tokens = PairTokenizer(self.tokenizer, end_tokens(self.model, self.tokenizer))
        order = np.random.default_rng([seed, 6]).permutation(len(self.records))
        found: list[tuple[list[int], list[list[int]], Any]] = []
        for at in order:
            one = self._row(tokens, self.records[at], config)
            if one is not None:
                found.append(one)
            if len(found) == config.prompts + _SPARE:
                break
        if len(found) < config.prompts:
            raise ValueError(
                f"{self.file}: {len(found)} records are short enough (prompts of {config.max_prompt} tokens, responses "
                f"of {config.max_new_tokens}); {config.prompts} are needed"
            )
        count = config.held_samples + (config.samples if self.domain == "titles" else 0)
        drawn = sample(
            self.model, self.tokenizer, [row[0] for row in found], seed=1_000 * (seed + 1), samples=count,
            max_new_tokens=config.max_new_tokens, batch_size=96,
        )  # fmt: skip
        kept: dict[str, Any] = {"seed": seed, "prompts": []}
        parts: dict[str, dict[str, list[Any]]] = {name: {"samples": [], "rewards": []} for name in ("seen", "held")}
        for at, (prompt, pair, title) in enumerate(found):
            own = drawn.tokens[at * count : (at + 1) * count]
            seen, held = (pair, own) if pair else (own[: config.samples], own[config.samples :])
            if len(kept["prompts"]) == config.prompts or min(len(set(map(tuple, part))) for part in (seen, held)) < 2:
                continue
            kept["prompts"].append(prompt)
            for name, part in (("seen", seen), ("held", held)):
                distinct = list(dict.fromkeys(map(tuple, part)))
                parts[name]["samples"].append(part)
                parts[name]["rewards"].append(self._rewards(distinct, pair, title))
        if len(kept["prompts"]) < config.prompts:
            raise ValueError(f"seed {seed}: samples of too many prompts are all alike; a pair needs two")
        return problem_from({**kept, **parts}, {})

    def _row(
        self, tokens: PairTokenizer, record: Any, config: RealConfig
    ) -> tuple[list[int], list[list[int]], str | None] | None:
        """Prompt, people's two responses and title of a record that is short enough."""
        if isinstance(record, Example):
            text = record.prompt if self.file is None else ASK + record.prompt
            prompt = self._prompt(text)
            return (prompt, [], record.target) if len(prompt) <= config.max_prompt else None
        tokens.layout = "chat" if getattr(self.tokenizer, "chat_template", None) else "text"
        (row,) = tokens.rows([record], str(self.file))
        sides = [row["chosen_ids"], row["rejected_ids"]]
        fits = len(row["prompt_ids"]) <= config.max_prompt and max(map(len, sides)) <= config.max_new_tokens
        return (row["prompt_ids"], sides, None) if fits and sides[0] != sides[1] else None

    def _prompt(self, text: str) -> list[int]:
        if not getattr(self.tokenizer, "chat_template", None):
            return encode_prompts(self.tokenizer, [text])[0]
        messages = [{"role": "user", "content": text}]
        return list(
            self.tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=True)[
                "input_ids"
            ]
        )

    def _rewards(self, distinct: Sequence[tuple[int, ...]], pair: list[list[int]], title: str | None) -> list[float]:
        if title is None:
            return [float(list(one) == pair[0]) for one in distinct]
        texts = self.tokenizer.batch_decode([*map(list, distinct)], skip_special_tokens=True)
        return [title_overlap(text, title) for text in texts]


def tiny_llama(texts: Sequence[str]) -> tuple[Any, Any]:
    """A random Llama of two thousand parameters a layer, built as SmolLM2 is, and a tokenizer of the texts' words."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = train_tokenizer(texts)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0}, initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).float().eval(), tokenizer


def _file(data: Path, domain: str) -> Path:
    if data.is_file():
        return data
    names = [f"{SPLITS[domain]}.jsonl{end}" for end in ("", ".gz")]
    found = next((data / name for name in names if (data / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{data} is no file, and no folder with {' or '.join(names)}")
    return found


def _records(domain: str, file: Path | None) -> list[Any]:
    """Examples, or pairs."""
    if file is not None:
        return list(read_summaries(file, template="{source}")[0] if domain == "titles" else read_preferences(file)[0])
    examples = generate(_WORLD, seed=12)
    if domain == "titles":
        return list(examples)
    pairs = [(one, demonstration(one, seed=12)) for one in examples]
    return [
        PreferencePair(line, one.prompt, " " + one.target, " " + other)
        for line, (one, other) in enumerate(pairs)
        if other != one.target
    ]


def _texts(records: Sequence[Any]) -> list[str]:
    found: list[str] = []
    for one in records:
        found += [one.prompt, one.target] if isinstance(one, Example) else [one.prompt, one.chosen, one.rejected]
    return found
