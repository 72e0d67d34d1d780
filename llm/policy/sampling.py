"""Samples from a causal language model, with common random numbers.

A response is drawn by the Gumbel-max rule: token = argmax over the vocabulary of log π(token)/temperature + G, where
the noise G of a prompt's sample at a step is a fixed function of (seed, prompt, sample, step, token). Two models are
thus compared on the same noise, and equal models give equal samples, whatever the batch size, the order of the
prompts or the device (as far as rounding in the logits does not turn a near tie). Nothing is truncated: no top-k,
no top-p, no token is forbidden, so that at temperature 1 samples come from the policy the KL divergence speaks of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import torch

_MASK = (1 << 64) - 1
_STEP, _TOKEN = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03  # odd constants, far from each other's small multiples
_MIX = (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31)  # the finaliser of splitmix64 (Steele et al. 2014)


class HasSpecialIds(Protocol):
    """A tokenizer, or anything else that knows its padding and end tokens."""

    pad_token_id: Any
    eos_token_id: Any


@dataclass(frozen=True)
class SpecialIds:
    """The two token ids sampling needs, where no tokenizer is at hand."""

    pad_token_id: int
    eos_token_id: int


@dataclass(frozen=True, eq=False)
class Samples:
    """Sampled responses, those of a prompt side by side: row ``i * samples + s`` is sample s of prompt i.

    Parameters
    ----------
    tokens : list of list of int
        n lists of token ids, the end token included where it came.
    finished : boolean array, shape (n,)
        Whether the end token came within ``max_new_tokens``.
    prompt_index, sample_index : array, shape (n,)
        Which prompt (its place in the list given) and which of its samples a row is.
    logprobs : array, shape (n,), optional
        Float64, log π of the response's tokens summed, in nats, at temperature 1; None unless asked for.
    token_logprobs : list of list of float, optional
        n lists of the same, token by token; None unless asked for.
    """

    tokens: list[list[int]]
    finished: BoolArray
    prompt_index: IntArray
    sample_index: IntArray
    logprobs: FloatArray | None = None
    token_logprobs: list[list[float]] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> IntArray:
        """(n,) numbers of tokens, the end token included."""
        return np.array([len(row) for row in self.tokens], dtype=np.int64)

    def texts(self, tokenizer: Any) -> list[str]:
        """Return the n responses as texts, special tokens and outer white space left out."""
        return [text.strip() for text in tokenizer.batch_decode(self.tokens, skip_special_tokens=True)]


def stream_keys(seed: int, prompts: Sequence[int], samples: Sequence[int]) -> IntArray:
    """Return (n,) 64-bit keys, one a (seed, prompt, sample), by a hash.

    Examples
    --------
    >>> keys = stream_keys(0, [0, 0, 1], [0, 1, 0])
    >>> len(set(keys.tolist())), keys[2] == stream_keys(0, [1], [0])[0]
    (3, np.True_)
    """
    digests = (
        hashlib.blake2b(f"{int(seed)}/{int(p)}/{int(s)}".encode(), digest_size=8).digest()
        for p, s in zip(prompts, samples, strict=True)
    )
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)


def gumbel_noise(keys: torch.Tensor, step: int, size: int) -> torch.Tensor:
    """Return (n, size) standard Gumbel noise, float64, a function of key, step and column alone.

    The counter key + step·a + column·b is hashed by the finaliser of splitmix64, whose top 53 bits are the uniform
    number. Integer arithmetic wraps alike on every device.

    Parameters
    ----------
    keys : tensor, shape (n,)
        Int64 tensor of `stream_keys`.
    step : int
        How many tokens of the response came before.
    size : int
        Number of columns: the vocabulary.

    Examples
    --------
    >>> import torch
    >>> noise = gumbel_noise(torch.tensor([3, 4]), step=0, size=5)
    >>> noise.shape, bool((noise[1:] == gumbel_noise(torch.tensor([4]), 0, 5)).all())
    (torch.Size([2, 5]), True)
    """
    import torch

    columns = torch.arange(size, device=keys.device, dtype=torch.int64)
    state = keys[:, None] + _signed(step * _STEP) + columns * _signed(_TOKEN)
    first, one, second, two, third = _MIX
    state = (state ^ _shifted(state, first)) * _signed(one)
    state = (state ^ _shifted(state, second)) * _signed(two)
    state = state ^ _shifted(state, third)
    uniform = (_shifted(state, 11).to(torch.float64) + 0.5) * 2.0**-53
    return -torch.log((-torch.log(uniform)).clamp(min=2.0**-54))  # the largest numbers round to 1


def _signed(value: int) -> int:
    """Return the 64-bit pattern of ``value`` as a signed integer."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _shifted(state: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift right, zeros coming in from the left."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def sample(
    model: Any,
    tokenizer_or_ids: HasSpecialIds,
    prompt_ids: Sequence[Sequence[int]],
    *,
    seed: int,
    max_new_tokens: int,
    samples: int = 1,
    temperature: float = 1.0,
    keep_logprobs: bool = False,
    batch_size: int = 256,
    indices: Sequence[int] | None = None,
) -> Samples:
    """Draw responses to prompts.

    Parameters
    ----------
    model : model
        A causal language model of `transformers`.
    tokenizer_or_ids : tokenizer or SpecialIds
        The tokenizer, or `SpecialIds`.
    prompt_ids : sequence of sequence of int
        m prompts as token ids.
    seed : int
        Seed of the noise. The same seed gives every model the same noise.
    max_new_tokens : int
        Most tokens of a response, the end token included.
    samples : int
        Number of responses a prompt.
    temperature : float
        Divides the logits; 0 takes the most probable token.
    keep_logprobs : bool
        Whether to keep log π of the responses, at temperature 1.
    batch_size : int
        Most responses drawn side by side.
    indices : sequence of int, optional
        m integers that stand for the prompts in the key of the noise, 0 … m − 1 unless given: with them a list drawn
        in parts gives what it gives in one go.

    Returns
    -------
    Samples
        ``m * samples`` responses.

    Raises
    ------
    ValueError
        For an empty prompt, counts below 1, a negative temperature, a missing pad or end token, a token outside the
        model's vocabulary, or more positions than the model has.
    """
    import torch

    prompts = [list(map(int, row)) for row in prompt_ids]
    keys = list(range(len(prompts))) if indices is None else [int(index) for index in indices]
    _check(model, tokenizer_or_ids, prompts, keys, max_new_tokens, samples, temperature, batch_size)
    total = len(prompts) * samples
    tokens: list[list[int]] = [[] for _ in range(total)]
    logprobs: list[list[float]] = [[] for _ in range(total)]
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for rows in _batches(prompts, max(1, batch_size // samples)):
                drawn = _Drawing(model, tokenizer_or_ids, prompts, rows, keys, samples, seed)
                drawn.run(max_new_tokens, temperature, keep_logprobs, tokens, logprobs)
    finally:
        model.train(was_training)
    return Samples(
        tokens,
        np.array([row[-1] == tokenizer_or_ids.eos_token_id for row in tokens], dtype=np.bool_),
        np.repeat(np.arange(len(prompts), dtype=np.int64), samples),
        np.tile(np.arange(samples, dtype=np.int64), len(prompts)),
        np.array([float(np.sum(row)) for row in logprobs]) if keep_logprobs else None,
        logprobs if keep_logprobs else None,
    )


def _check(
    model: Any,
    ids: HasSpecialIds,
    prompts: list[list[int]],
    keys: list[int],
    max_new_tokens: int,
    samples: int,
    temperature: float,
    batch_size: int,
) -> None:
    for name, value in (("max_new_tokens", max_new_tokens), ("samples", samples), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} is {value}; accepted is 1 or more")
    if not temperature >= 0.0 or temperature == float("inf"):
        raise ValueError(f"temperature is {temperature}; accepted is a finite number from 0 (greedy) up")
    for name in ("pad_token_id", "eos_token_id"):
        if getattr(ids, name, None) is None:
            raise ValueError(f"{name} is None; sampling needs a padding and an end token")
    if len(keys) != len(prompts):
        raise ValueError(f"{len(keys)} indices for {len(prompts)} prompts; accepted is one a prompt")
    vocabulary = model.config.vocab_size
    positions = getattr(model.config, "max_position_embeddings", None)
    for index, row in enumerate(prompts):
        if not row:
            raise ValueError(f"prompt {index} is empty; accepted is at least one token")
        if not 0 <= min(row) <= max(row) < vocabulary:
            raise ValueError(f"prompt {index} has token {max(row)}; the model knows 0 to {vocabulary - 1}")
        if positions is not None and len(row) + max_new_tokens > positions:
            raise ValueError(
                f"prompt {index} has {len(row)} tokens; with {max_new_tokens} new ones it is beyond the model's "
                f"{positions} positions"
            )


def _batches(prompts: list[list[int]], size: int) -> Iterator[list[int]]:
    """Yield batches of indices of prompts, prompts of like length together."""
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _ahead(model: Any, cache: Any = None, **inputs: Any) -> tuple[torch.Tensor, Any]:
    """Logits of the next token, (n, v), and the keys and values, those of earlier tokens given."""
    import torch

    from gpo_analysis.integrations.sampling import cache_name
    from llm.policy.logprobs import next_logits

    name = cache_name(model)
    if cache is not None:
        inputs[name] = cache
    if torch.is_autocast_enabled(model.device.type):
        return next_logits(model, **inputs)
    out = model(**inputs, use_cache=True, logits_to_keep=1)
    return out.logits[:, -1], getattr(out, name)


class _Drawing:
    """One batch: the prompts read once, their cache repeated for each sample, rows that ended taken out."""

    def __init__(
        self,
        model: Any,
        ids: HasSpecialIds,
        prompts: list[list[int]],
        rows: list[int],
        keys: list[int],
        samples: int,
        seed: int,
    ) -> None:
        import torch

        self.model, self.eos = model, ids.eos_token_id
        device = model.device
        longest = max(len(prompts[row]) for row in rows)
        padded = [[ids.pad_token_id] * (longest - len(prompts[row])) + prompts[row] for row in rows]
        seen = [[0] * (longest - len(prompts[row])) + [1] * len(prompts[row]) for row in rows]
        self.mask = torch.tensor(seen, device=device)
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        logits, self.cache = _ahead(
            model, input_ids=torch.tensor(padded, device=device), attention_mask=self.mask, position_ids=positions
        )
        self.logits = logits.repeat_interleave(samples, 0)
        self.mask = self.mask.repeat_interleave(samples, 0)
        self.position = (positions[:, -1] + 1).repeat_interleave(samples, 0)
        if samples > 1:
            self.cache.batch_repeat_interleave(samples)
        self.targets = [row * samples + s for row in rows for s in range(samples)]
        names = stream_keys(seed, [keys[row] for row in rows for _ in range(samples)], list(range(samples)) * len(rows))
        self.keys = torch.tensor(names, device=device)
        self.alive = torch.ones(len(self.targets), dtype=torch.bool, device=device)

    def run(
        self,
        max_new_tokens: int,
        temperature: float,
        keep_logprobs: bool,
        tokens: list[list[int]],
        logprobs: list[list[float]],
    ) -> None:
        """Draw until every response ended or is full, adding to ``tokens`` and ``logprobs`` in place."""
        import torch

        for step in range(max_new_tokens):
            logits = self.logits.double()
            if temperature == 0.0:
                drawn = logits.argmax(1)
            else:
                drawn = (logits / temperature + gumbel_noise(self.keys, step, logits.shape[1])).argmax(1)
            values = torch.log_softmax(logits, 1).gather(1, drawn[:, None])[:, 0].tolist() if keep_logprobs else None
            for row, (target, token, lives) in enumerate(
                zip(self.targets, drawn.tolist(), self.alive.tolist(), strict=True)
            ):
                if lives:
                    tokens[target].append(token)
                    if values is not None:
                        logprobs[target].append(values[row])
            self.alive &= drawn != self.eos
            if step + 1 == max_new_tokens or not bool(self.alive.any()):
                return
            self._advance(drawn)

    def _advance(self, drawn: torch.Tensor) -> None:
        """Read the drawn tokens; once half of the rows have ended, go on with the others alone."""
        import torch

        if int(self.alive.sum()) * 2 <= len(self.targets):
            kept = self.alive.nonzero()[:, 0]
            self.cache.batch_select_indices(kept)
            self.mask, self.position, self.keys = self.mask[kept], self.position[kept], self.keys[kept]
            self.targets = [self.targets[row] for row in kept.tolist()]
            drawn, self.alive = drawn[kept], self.alive[kept]
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], 1)
        self.logits, self.cache = _ahead(
            self.model, self.cache, input_ids=drawn[:, None], attention_mask=self.mask,
            position_ids=self.position[:, None],
        )  # fmt: skip
        self.position = self.position + 1
