"""What a run needs, checked before a model is loaded: the pairs as token ids, the tokenizer, the model's limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpo_analysis.integrations.sampling import end_tokens, position_limit
from gpo_analysis.reading import LeftOut, ReadReport
from llm.data.preferences import PreferencePair, read_preferences, split_by_prompt
from llm.own.config import TuningConfig
from llm.own.needed import source_of
from llm.own.tokens import PairTokenizer, TokenRow, within
from llm.storage.checksums import checksum_texts


@dataclass(frozen=True, eq=False)
class Inputs:
    """Tokenised pairs and where the model comes from.

    Attributes
    ----------
    source : str
        Folder (absolute) or hub name of πref.
    tokenizer : tokenizer
    train, held_out : list of dict
        Prepared rows.
    report : ReadReport
        How the pairs were read, and which were left out.
    """

    source: str
    tokenizer: Any
    train: list[TokenRow]
    held_out: list[TokenRow]
    report: ReadReport

    @property
    def checksum(self) -> str:
        """Of the rows."""
        return checksum_texts([*self.train, "held out", *self.held_out])


class _Ends:
    """A model's configurations, without its weights."""

    def __init__(self, config: Any, generation: Any) -> None:
        self.config, self.generation_config = config, generation


def read_inputs(config: TuningConfig) -> Inputs:
    """Read the pairs, then the tokenizer, and tokenise.

    Raises
    ------
    ValueError, FileNotFoundError
        For whatever is wrong with them, naming file and line, and for a folder that holds no model.
    """
    pairs, report = read_preferences(config.pairs)
    source = source_of(config.model)
    tokenizer, ends = _tokenizer_of(source)
    made = PairTokenizer(tokenizer, end_tokens(ends, tokenizer), config.format)
    rows = made.rows(pairs, config.pairs)
    limit = min(config.max_length, position_limit(ends) or config.max_length)
    kept, long = within(rows, limit)
    if not kept:
        raise ValueError(f"{config.pairs}: every pair has more than {limit} tokens; accepted are shorter ones")
    if long:
        lines = tuple(pairs[i].line for i in long)
        used = report.used - len(set(lines) - {pairs[i].line for i in kept})
        left = (*report.left_out, LeftOut(lines, f"prompt and longer response have more than {limit} tokens"))
        report = dataclasses.replace(report, left_out=left, used=used)
    if made.cut_prompts:
        note = f"the chat template writes the end of {made.cut_prompts} prompts otherwise once an answer follows"
        report = dataclasses.replace(report, notes=(*report.notes, f"{note}; the responses start where it differs"))
    numbers = {id(pairs[i]): i for i in kept}
    sets: list[Sequence[PreferencePair]] = list(
        split_by_prompt([pairs[i] for i in kept], config.held_out, config.seed[0])
    )
    train, held_out = ([rows[numbers[id(pair)]] for pair in part] for part in sets)
    return Inputs(source, tokenizer, train, held_out, report)


def _tokenizer_of(source: str) -> tuple[Any, _Ends]:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except OSError as error:
        if Path(source).is_dir():
            raise
        raise FileNotFoundError(
            f"no model {source!r}: there is no such folder here, and the hub gave none of that name "
            f"({str(error).splitlines()[0][:200]}); without a hub: python -m llm fetch smollm2 --out DIR"
        ) from None
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked by lengths, never by comparing ids
    try:
        generation = GenerationConfig.from_pretrained(source)
    except OSError:
        generation = None
    vocabulary = config.get_text_config().vocab_size
    if len(tokenizer) > vocabulary:
        raise ValueError(f"{source}: the tokenizer has {len(tokenizer)} tokens, the model embeds {vocabulary}")
    return tokenizer, _Ends(config, generation)
