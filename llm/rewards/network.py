"""A small network that reads a prompt and a response: word matches, local order, attention from response to prompt.

It has a reading of words of its own (hashed, lower case), so that it does not share the policy's tokenizer, and costs
a few milliseconds a response on one core. It knows of a response: which of its words, and which beginnings of words,
the prompt has, which words it repeats, what stands around each word on both sides, where it begins and ends, how long
it is.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

_WORD = re.compile(r"[^\W_]+|[^\w\s]")
_BEGIN, _END = 1, 2  # 0 is padding
_FIRST = 3
_PREFIX = 5


@dataclass(frozen=True)
class NetworkSize:
    """Size of the network.

    Parameters
    ----------
    width : int
        Width of the embeddings and layers.
    buckets : int
        Number of hashed words, special ones included.
    window : int
        Words a convolution sees, odd.
    max_words : int
        Words of a text that are read; the rest is cut off.
    """

    width: int = 64
    buckets: int = 1 << 15
    window: int = 5
    max_words: int = 256

    def __post_init__(self) -> None:
        if self.width < 1 or self.buckets <= _FIRST or self.max_words < 1:
            raise ValueError(f"width {self.width}, buckets {self.buckets}, max_words {self.max_words}: too small")
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"window is {self.window}; accepted is an odd number from 1 up")


def words_of(text: str) -> list[str]:
    """Return the words and signs of a text in lower case.

    Examples
    --------
    >>> words_of("On Banach-spaces, I")
    ['on', 'banach', '-', 'spaces', ',', 'i']
    """
    return _WORD.findall(text.lower())


@functools.lru_cache(maxsize=1 << 18)
def _hashes(word: str, buckets: int) -> tuple[int, int]:
    """Bucket of the word, and of its beginning."""
    whole, start = (zlib.crc32(part.encode()) % (buckets - _FIRST) + _FIRST for part in (word, "^" + word[:_PREFIX]))
    return whole, start


class Encoder(nn.Module):
    """Turns prompts and responses into vectors of ``size.width`` numbers, one a response."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        width = size.width
        self.size = size
        self.embedding = nn.Embedding(size.buckets, width, padding_idx=0)
        self.around_prompt = nn.Conv1d(width, width, size.window, padding=size.window // 2)
        self.around_response = nn.Conv1d(width, width, size.window, padding=size.window // 2)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.token = nn.Linear(3 * width + 4, 2 * width)
        self.whole = nn.Linear(4 * width + 2, width)
        nn.init.normal_(self.embedding.weight[1:], std=width**-0.5)

    def read(self, texts: Sequence[str], *, ends: bool) -> torch.Tensor:
        """Return (n, longest, 2) hashed words and beginnings, 0 where a text is over; ``ends`` marks both ends."""
        rows = []
        for text in texts:
            row = [_hashes(word, self.size.buckets) for word in words_of(text)[: self.size.max_words]]
            rows.append([(_BEGIN, _BEGIN), *row, (_END, _END)] if ends else row or [(_BEGIN, _BEGIN)])
        found = np.zeros((len(rows), max(map(len, rows)), 2), dtype=np.int64)
        for index, row in enumerate(rows):
            found[index, : len(row)] = row
        return torch.from_numpy(found).to(self.embedding.weight.device)

    def forward(self, prompts: Sequence[str], owner: Sequence[int], responses: Sequence[str]) -> Any:
        """Return (n, width) vectors of responses; ``owner`` says which prompt each belongs to."""
        x, y = self.read(prompts, ends=False), self.read(responses, ends=True)
        owners = torch.as_tensor(np.asarray(owner), device=x.device)
        hx = self._around(x, self.around_prompt)[owners]
        x = x[owners]
        hy = self._around(y, self.around_response)
        seen, there = (x[..., 0] > 0)[:, None, :], y[..., 0] > 0
        scores = (self.query(hy) @ self.key(hx).transpose(1, 2)) * self.size.width**-0.5
        context = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ hx
        tokens = torch.cat([hy, context, hy * context, self._matches(x, y)], -1)
        tokens, there = nn.functional.gelu(self.token(tokens)), there[..., None]
        count = there.sum(1)
        mean, most = (tokens * there).sum(1) / count, tokens.masked_fill(~there, -torch.inf).amax(1)
        pooled = [mean, most, torch.log(count), count / 10.0]
        return nn.functional.gelu(self.whole(torch.cat(pooled, -1)))

    def _around(self, ids: torch.Tensor, layer: nn.Conv1d) -> torch.Tensor:
        embedded = self.embedding(ids[..., 0]) + self.embedding(ids[..., 1])
        there = (ids[..., :1] > 0).to(embedded.dtype)
        return embedded + nn.functional.gelu(layer((embedded * there).transpose(1, 2)).transpose(1, 2)) * there

    @staticmethod
    def _matches(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return (n, response, 4): the word is in the prompt, its beginning is, it came before, it begins or ends."""
        real = y[..., 0] >= _FIRST
        found = [(y[:, :, None, side] == x[:, None, :, side]).any(-1) & real for side in (0, 1)]
        same = y[:, :, None, 0] == y[:, None, :, 0]
        before = torch.tril(same, diagonal=-1).any(-1) & real
        return torch.stack([*found, before, ~real], -1).to(torch.float32)
