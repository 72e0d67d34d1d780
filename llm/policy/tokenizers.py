"""Tokenizers: trained on the data or loaded, checked against the model, and how texts become ids.

A prompt and its response are tokenised apart, so that the prompt's ids never depend on the response, and the
response's ids end with the end token.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
FINGERPRINT = "gpo_tokenizer_sha256"  # key in the configuration of models made here


@dataclass(frozen=True)
class TokenizerConfig:
    """How a tokenizer is trained.

    Parameters
    ----------
    kind : str
        "word": every word (run of non-space characters) is a token; "bpe": byte-level byte-pair encoding, which can
        write any text.
    vocab_size : int
        Most tokens, special ones included.
    min_frequency : int
        How often a word or a merge must occur.
    """

    kind: str = "word"
    vocab_size: int = 8192
    min_frequency: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("word", "bpe"):
            raise ValueError(f"kind is {self.kind!r}; accepted are 'word' and 'bpe'")
        if self.kind == "bpe" and self.vocab_size < 256 + 3:
            raise ValueError(f"vocab_size is {self.vocab_size}; byte-level BPE needs 259 or more")
        if self.vocab_size < 4 or self.min_frequency < 1:
            raise ValueError(f"vocab_size {self.vocab_size} and min_frequency {self.min_frequency}: too small")


def train_tokenizer(texts: Iterable[str], config: TokenizerConfig | None = None) -> Any:
    """Train a tokenizer and return it as a `transformers` fast tokenizer with pad, end and unknown tokens.

    Parameters
    ----------
    texts : iterable of str
        Prompts and responses.
    config : TokenizerConfig, optional
        See `TokenizerConfig`.

    Raises
    ------
    ValueError
        Where there is no text.

    Examples
    --------
    >>> tokenizer = train_tokenizer(["a red boat .", "a green boat ."])
    >>> tokenizer.decode(tokenizer.encode("a green boat ."))
    'a green boat .'
    >>> tokenizer.pad_token, tokenizer.eos_token
    ('<pad>', '<eos>')
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    config = config or TokenizerConfig()
    kept = [text for text in texts if text.strip()]
    if not kept:
        raise ValueError("no texts to train a tokenizer on")
    special = [PAD, EOS, UNKNOWN]
    common = {"vocab_size": config.vocab_size, "min_frequency": config.min_frequency, "show_progress": False}
    trainer: Any
    if config.kind == "word":
        inner = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordLevelTrainer(special_tokens=special, **common)
    else:
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        inner.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet, **common)
    inner.train_from_iterator(kept, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def load_tokenizer(source: str | os.PathLike[str], *, pad_token: str | None = None) -> Any:
    """Load a tokenizer from a folder or, by name, from the hub, and check it (`check_tokenizer`).

    Parameters
    ----------
    source : path
        Folder or name.
    pad_token : str, optional
        Token to pad with, where the tokenizer names none.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(os.fspath(source), trust_remote_code=False)
    return check_tokenizer(tokenizer, pad_token=pad_token)


def check_tokenizer(tokenizer: Any, model: Any = None, *, pad_token: str | None = None) -> Any:
    """Return the tokenizer, fit for use with the model, or say what does not fit.

    Parameters
    ----------
    tokenizer : tokenizer
        A `transformers` tokenizer.
    model : model
        The model it is for; without one the tokenizer alone is checked.
    pad_token : str, optional
        Token of the vocabulary to pad with, where the tokenizer names none. The end token will do: padding is masked
        by lengths everywhere here, never by comparing ids.

    Raises
    ------
    ValueError
        For a tokenizer without pad or end token, one with more tokens than the model has embeddings, one whose end
        token is not the model's, or one that is not that which the model was trained with here.
    """
    name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
    if tokenizer.eos_token_id is None:
        raise ValueError(f"tokenizer {name} has no end token, so no response could end")
    if pad_token is not None and tokenizer.pad_token_id is None:
        if tokenizer.convert_tokens_to_ids(pad_token) in (None, getattr(tokenizer, "unk_token_id", None)):
            raise ValueError(f"pad_token is {pad_token!r}, which tokenizer {name} does not know")
        tokenizer.pad_token = pad_token
    if tokenizer.pad_token_id is None:
        raise ValueError(
            f"tokenizer {name} has no pad token; name one of its tokens by pad_token "
            f"(its end token {tokenizer.eos_token!r} will do, padding is masked)"
        )
    if model is not None:
        _check_against(tokenizer, model, name)
    return tokenizer


def _check_against(tokenizer: Any, model: Any, name: str) -> None:
    config = model.config
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"tokenizer {name} has {len(tokenizer)} tokens, the model embeds {config.vocab_size}: not its tokenizer"
        )
    ends = config.eos_token_id if isinstance(config.eos_token_id, (list, tuple)) else [config.eos_token_id]
    if config.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        raise ValueError(
            f"the end token of tokenizer {name} is {tokenizer.eos_token_id}, the model's is {config.eos_token_id}: "
            "not its tokenizer"
        )
    trained = getattr(config, FINGERPRINT, None)
    if trained is not None and trained != fingerprint(tokenizer):
        raise ValueError(f"tokenizer {name} is not the one the model was trained with (its vocabulary differs)")


def fingerprint(tokenizer: Any) -> str:
    """Return a SHA-256 over the vocabulary, tokens and ids, in hexadecimal digits."""
    rows = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return hashlib.sha256("\n".join(f"{index}\t{token!r}" for token, index in rows).encode()).hexdigest()


def encode_prompts(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """Return the ids of prompts; a beginning-of-text token stands first where the tokenizer has one.

    Raises
    ------
    ValueError
        For a prompt that has no token.
    """
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    found = [begin + row for row in _ids(tokenizer, list(prompts))]
    for index, row in enumerate(found):
        if len(row) == len(begin):
            raise ValueError(f"prompt {index} has no token: {prompts[index]!r}")
    return found


def encode_responses(tokenizer: Any, responses: Sequence[str], *, end: bool = True) -> list[list[int]]:
    """Return the ids of responses, tokenised as they stand after a space, with the end token unless asked otherwise.

    Raises
    ------
    ValueError
        For a response that has no token but the end token.

    Examples
    --------
    >>> tokenizer = train_tokenizer(["a red boat ."])
    >>> encode_responses(tokenizer, ["a boat"])[0][-1] == tokenizer.eos_token_id
    True
    """
    found = _ids(tokenizer, [" " + response.strip() for response in responses])
    for index, row in enumerate(found):
        if not row:
            raise ValueError(f"response {index} has no token: {responses[index]!r}")
    return [[*row, tokenizer.eos_token_id] for row in found] if end else found


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    encoded: list[list[int]] = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return encoded
