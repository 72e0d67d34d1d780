"""Tokenised preference pairs, and the order in which training visits them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from llm.data.types import Pair
from llm.policy.tokenizers import encode_prompts, encode_responses

Ids = list[list[int]]


@dataclass(frozen=True, eq=False)
class TokenizedPairs:
    """n preference pairs as token ids.

    Parameters
    ----------
    prompt : sequences of lists of ids
        n lists of ids, each of one token or more: the first token of a response needs something to follow.
    chosen, rejected : sequences of lists of ids
        n lists of ids each, the end token included.
    p : array, shape (n,)
        Soft labels in [0, 1]; 1 says that ``chosen`` won.

    Raises
    ------
    ValueError
        For an empty prompt, a token below 0, a completion of zero tokens (its log-probability would be 0 whatever the
        policy, or NaN
        as a mean), a p outside [0, 1], lengths that differ, no pairs at all.

    Examples
    --------
    >>> pairs = TokenizedPairs([[3, 4]], [[5, 1]], [[6, 7, 1]], np.ones(1))
    >>> len(pairs), pairs.lengths.tolist()
    (1, [[2, 3]])
    """

    prompt: Ids
    chosen: Ids
    rejected: Ids
    p: FloatArray

    def __post_init__(self) -> None:
        count = len(self.prompt)
        object.__setattr__(self, "p", np.asarray(self.p, dtype=np.float64))
        if not count:
            raise ValueError("no pairs; accepted is one or more")
        if len(self.chosen) != count or len(self.rejected) != count or self.p.shape != (count,):
            raise ValueError(
                f"{count} prompts, {len(self.chosen)} chosen, {len(self.rejected)} rejected, p of shape "
                f"{self.p.shape}; accepted is one of each for every pair"
            )
        for name, what in (("prompt", "prompt"), ("chosen", "completion"), ("rejected", "completion")):
            for index, row in enumerate(getattr(self, name)):
                if not len(row):
                    raise ValueError(f"{name} of pair {index} has no token; a {what} needs one or more")
            negative = [index for index, row in enumerate(getattr(self, name)) if len(row) and min(row) < 0]
            if negative:
                index = negative[0]
                raise ValueError(f"{name} of pair {index} has the token {min(getattr(self, name)[index])}; ids are ≥ 0")
        outside = np.flatnonzero(~((self.p >= 0) & (self.p <= 1)))
        if outside.size:
            raise ValueError(f"p of pair {outside[0]} is {self.p[outside[0]]}; accepted is a probability from 0 to 1")

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def lengths(self) -> IntArray:
        """(n, 2) tokens of the chosen and of the rejected response."""
        return np.array([[len(c), len(r)] for c, r in zip(self.chosen, self.rejected, strict=True)], dtype=np.int64)

    def take(self, rows: Sequence[int] | IntArray) -> TokenizedPairs:
        """Return the pairs of these rows, in this order."""
        index = [int(i) for i in rows]
        prompt, chosen, rejected = ([part[i] for i in index] for part in (self.prompt, self.chosen, self.rejected))
        return TokenizedPairs(prompt, chosen, rejected, self.p[index])

    def checksum(self) -> str:
        """Return a SHA-256 over the token ids, in hexadecimal digits; labels do not enter."""
        total = hashlib.sha256()
        for rows in (self.prompt, self.chosen, self.rejected):
            total.update(np.array([len(row) for row in rows], dtype="<i8").tobytes())
            total.update(np.array([token for row in rows for token in row], dtype="<i8").tobytes())
        return total.hexdigest()

    @staticmethod
    def from_pairs(pairs: Sequence[Pair], tokenizer: Any, *, max_length: int | None = None) -> TokenizedPairs:
        """Tokenise labelled pairs; prompt and responses apart, responses with the end token.

        Raises
        ------
        ValueError
            For a pair whose prompt and longer response have more than ``max_length`` tokens, naming it: to cut them
            here would train on other texts than those that were labelled.
        """
        made = TokenizedPairs(
            encode_prompts(tokenizer, [pair.prompt for pair in pairs]),
            encode_responses(tokenizer, [pair.chosen for pair in pairs]),
            encode_responses(tokenizer, [pair.rejected for pair in pairs]),
            np.array([pair.p for pair in pairs], dtype=np.float64),
        )
        whole = np.array([len(row) for row in made.prompt]) + made.lengths.max(1)
        if max_length is not None and whole.max() > max_length:
            worst = int(np.argmax(whole > max_length))
            raise ValueError(f"pair {worst} has {whole[worst]} tokens; accepted are {max_length}: filter pairs before")
        return made


def batch_rows(count: int, batch_size: int, step: int, seed: int) -> IntArray:
    """Rows of the pairs that optimiser step ``step`` (from 0) sees: a function of its arguments alone.

    Every pair is seen once in each pass over the data, whose order is drawn from (seed, pass); a batch may lie across
    two passes. Nothing is to be saved for an exact resume.

    Examples
    --------
    >>> seen = np.concatenate([batch_rows(6, 4, step, seed=0) for step in range(3)])
    >>> sorted(seen[:6].tolist()), sorted(seen[6:].tolist())
    ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5])
    """
    if count < 1 or batch_size < 1 or step < 0 or seed < 0:
        raise ValueError(f"count {count}, batch_size {batch_size}, step {step}, seed {seed}: accepted are ≥ 1, 1, 0, 0")
    first, last = step * batch_size, (step + 1) * batch_size
    passes = range(first // count, (last - 1) // count + 1)
    order = np.concatenate([np.random.default_rng([seed, number]).permutation(count) for number in passes])
    start = first - passes[0] * count
    return order[start : start + batch_size]
