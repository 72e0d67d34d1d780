"""Pairs as rows of a batch: the prompt computed once for both responses, or the plain way with two rows a pair.

A *packed* row is prompt, chosen, rejected. The rejected response's positions start again where the prompt ends and it
does not see the chosen one, so that each token has the same past as in a row of its own; a causal model gives it the
same hidden state. Where a prompt of length x is followed by responses of length a and b, x + a + b tokens are computed
in place of 2x + a + b.

Logits are needed only where a response's token is predicted: `Batch.sources` names these positions, the packed
prompt's last one serving both responses.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from llm.policy.batches import TokenizedPairs

__all__ = ["Batch", "pack", "plain"]


@dataclass(frozen=True, eq=False)
class Batch:
    """A padded batch of m rows and t columns holding b pairs, with n response tokens in all.

    Parameters
    ----------
    input_ids, positions
        (m, t) token ids and positions. Padding stands on the right; its id is 0 and never enters a result.
    visible
        (m, 1, t, t) booleans: whether the token of the row sees that of the column.
    sources
        (n,) indices into the m·t positions: where the token is predicted from.
    targets
        (n,) the token's id.
    segments
        (n,) which response the token belongs to: 2i for the chosen, 2i + 1 for the rejected one of pair i.
    pairs
        b.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    visible: torch.Tensor
    sources: torch.Tensor
    targets: torch.Tensor
    segments: torch.Tensor
    pairs: int

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "pairs"}
        return Batch(**moved, pairs=self.pairs)


def pack(pairs: TokenizedPairs) -> Batch:
    """One row a pair: prompt, chosen, rejected.

    Examples
    --------
    >>> batch = pack(TokenizedPairs([[3, 4]], [[5, 1]], [[6, 7, 1]], np.ones(1)))
    >>> batch.input_ids.tolist(), batch.positions.tolist()
    ([[3, 4, 5, 1, 6, 7, 1]], [[0, 1, 2, 3, 2, 3, 4]])
    >>> batch.sources.tolist(), batch.targets.tolist()
    ([1, 2, 1, 4, 5], [5, 1, 6, 7, 1])
    >>> batch.visible[0, 0, 4].int().tolist()  # the first rejected token: prompt and itself, none of the chosen
    [1, 1, 0, 0, 1, 0, 0]
    """
    rows = []
    for i, (x, a, b) in enumerate(zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True)):
        rows.append((x, [(2 * i, a), (2 * i + 1, b)]))
    return _batch(rows, len(pairs))


def plain(pairs: TokenizedPairs) -> Batch:
    """Two rows a pair, prompt and chosen, prompt and rejected: what `pack` is to agree with."""
    rows = []
    for i, (x, a, b) in enumerate(zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True)):
        rows += [(x, [(2 * i, a)]), (x, [(2 * i + 1, b)])]
    return _batch(rows, len(pairs))


def _batch(rows: list[tuple[list[int], list[tuple[int, list[int]]]]], pairs: int) -> Batch:
    """Rows of a prompt and its numbered responses, padded to the longest."""
    width = max(len(x) + sum(len(y) for _, y in answers) for x, answers in rows)
    ids, positions, owner = (np.zeros((len(rows), width), dtype=np.int64) for _ in range(3))
    owner[:] = -2  # padding; −1 is the prompt, else the response's number
    sources, targets, segments = [], [], []
    for row, (x, answers) in enumerate(rows):
        start = len(x)
        ids[row, :start], positions[row, :start], owner[row, :start] = x, np.arange(start), -1
        for number, y in answers:
            stop = start + len(y)
            ids[row, start:stop], owner[row, start:stop] = y, number
            positions[row, start:stop] = len(x) + np.arange(len(y))
            sources.append(row * width + np.array([len(x) - 1, *range(start, stop - 1)]))
            targets.append(np.array(y))
            segments.append(np.full(len(y), number))
            start = stop
    # padding sees what stands before it, so that its softmax is defined; nothing sees padding, which is last
    same = (owner[:, None, :] == owner[:, :, None]) | (owner[:, None, :] == -1) | (owner[:, :, None] == -2)
    visible = same & np.tril(np.ones((width, width), dtype=bool))
    joined = (torch.from_numpy(np.concatenate(part).astype(np.int64)) for part in (sources, targets, segments))
    source, target, segment = joined
    whole = (torch.from_numpy(part) for part in (ids, positions, visible[:, None]))
    tokens, places, seen = whole
    return Batch(tokens, places, seen, source, target, segment, pairs)
