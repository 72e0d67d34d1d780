"""Responses as rows of a batch: a pair's prompt computed once for both, or a row for each response.

A *packed* row is prompt, chosen, rejected. The rejected response's positions start again where the prompt ends and it
does not see the chosen one, so that each token has the same past as in a row of its own; a causal model gives it the
same hidden state. Where a prompt of length x is followed by responses of length a and b, x + a + b tokens are computed
in place of 2x + a + b.

Logits are needed only where a response's token is predicted: `Batch.sources` names these positions, the packed
prompt's last one serving both responses.

Rows of one response each need no mask: padding stands on the right, where nothing of the row looks, so that plain
causal attention serves (`Batch.visible` is None) and t² booleans a row are neither made nor moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from gpo_analysis.arrays import IntArray
from llm.policy.batches import TokenizedPairs

Ids = Sequence[Sequence[int]]
_Row = tuple[list[int], list[tuple[int, list[int]]]]


@dataclass(frozen=True, eq=False)
class Batch:
    """A padded batch of m rows and t columns holding k responses, with n response tokens in all.

    Parameters
    ----------
    input_ids, positions : tensor, shape (m, t)
        Token ids and positions. Padding stands on the right; its id is 0 and never enters a result.
    visible : boolean tensor, shape (m, 1, t, t), or None
        Whether the token of the row sees that of the column; None where each sees what stands before it.
    sources : tensor, shape (n,)
        Indices into the m·t positions: where the token is predicted from.
    targets : tensor, shape (n,)
        The token's id.
    segments : tensor, shape (n,)
        Which response the token belongs to; of pairs, 2i for the chosen and 2i + 1 for the rejected one of pair i.
    responses : int
        k.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    visible: torch.Tensor | None
    sources: torch.Tensor
    targets: torch.Tensor
    segments: torch.Tensor
    responses: int

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in values.items()})

    def mask(self) -> torch.Tensor:
        """``visible``, made where it is None."""
        if self.visible is not None:
            return self.visible
        rows, width = self.input_ids.shape
        causal = torch.ones(width, width, dtype=torch.bool, device=self.input_ids.device).tril()
        return causal.expand(rows, 1, -1, -1)


def pack(pairs: TokenizedPairs, *, multiple: int = 1) -> Batch:
    """One row a pair: prompt, chosen, rejected; t is a multiple of ``multiple``.

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
    return _batch(rows, 2 * len(pairs), multiple)


def unpacked(pairs: TokenizedPairs, *, multiple: int = 1) -> Batch:
    """Two rows a pair, prompt and chosen, prompt and rejected: what `pack` is to agree with, without a mask."""
    rows: list[_Row] = []
    for i, (x, a, b) in enumerate(zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True)):
        rows += [(x, [(2 * i, a)]), (x, [(2 * i + 1, b)])]
    return _batch(rows, 2 * len(pairs), multiple)


def width_of(pairs: TokenizedPairs, packed: bool) -> IntArray:
    """(n,) tokens of the longest row of each pair in either layout.

    Examples
    --------
    >>> pairs = TokenizedPairs([[3, 4]], [[5, 1]], [[6, 7, 1]], np.ones(1))
    >>> width_of(pairs, packed=True).tolist(), width_of(pairs, packed=False).tolist()
    ([7], [5])
    """
    prompt = np.array([len(row) for row in pairs.prompt], dtype=np.int64)
    return np.asarray(prompt + (pairs.lengths.sum(1) if packed else pairs.lengths.max(1)))


def response_rows(prompts: Ids, responses: Ids) -> Batch:
    """One row a response.

    Parameters
    ----------
    prompts, responses : sequences of k lists of ids
        Each of one token or more; responses end with the end token.

    Raises
    ------
    ValueError
        For a prompt or a response without a token, naming it.

    Examples
    --------
    >>> batch = response_rows([[5, 6], [7]], [[1], [8, 1]])
    >>> batch.input_ids.tolist(), batch.targets.tolist(), batch.segments.tolist()
    ([[5, 6, 1], [7, 8, 1]], [1, 8, 1], [0, 1, 1])
    """
    for name, rows in (("prompt", prompts), ("response", responses)):
        empty = [index for index, row in enumerate(rows) if not len(row)]
        if empty:
            raise ValueError(f"{name} {empty[0]} has no token; accepted are ones with at least one")
    made: list[_Row] = [(list(x), [(i, list(y))]) for i, (x, y) in enumerate(zip(prompts, responses, strict=True))]
    return _batch(made, len(made))


def _batch(rows: list[_Row], responses: int, multiple: int = 1) -> Batch:
    """Rows of a prompt and its numbered responses, padded to the longest, and that to a multiple."""
    width = max(len(x) + sum(len(y) for _, y in answers) for x, answers in rows)
    width = -(-width // multiple) * multiple
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
    visible = None
    if all(len(answers) == 1 for _, answers in rows):
        # counted on through the padding: a position that starts again would say that another text begins there
        positions[:] = np.arange(width)
    else:
        # padding sees what stands before it, so that its softmax is defined; nothing sees padding, which is last
        same = (owner[:, None, :] == owner[:, :, None]) | (owner[:, None, :] == -1) | (owner[:, :, None] == -2)
        visible = torch.from_numpy((same & np.tril(np.ones((width, width), dtype=bool)))[:, None])
    joined = (torch.from_numpy(np.concatenate(part).astype(np.int64)) for part in (sources, targets, segments))
    source, target, segment = joined
    return Batch(torch.from_numpy(ids), torch.from_numpy(positions), visible, source, target, segment, responses)
