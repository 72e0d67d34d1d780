"""Padded batches of prompts with responses, and what two models say along them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpo_analysis.integrations.sequences import compare_along

__all__ = ["along", "pad", "response_logps"]

Ids = Sequence[Sequence[int]]


def pad(prompts: Ids, responses: Ids, padding: int, device: Any = "cpu") -> tuple[torch.Tensor, ...]:
    """Ids, attention mask and mask of the response's tokens, each (b, t), padded on the right.

    Raises
    ------
    ValueError
        For a response without a token.

    Examples
    --------
    >>> ids, seen, mask = pad([[5, 6], [7]], [[1], [8, 1]], 0)
    >>> ids.tolist(), seen.tolist(), mask.tolist()
    ([[5, 6, 1], [7, 8, 1]], [[1, 1, 1], [1, 1, 1]], [[0, 0, 1], [0, 1, 1]])
    """
    empty = [i for i, row in enumerate(responses) if not len(row)]
    if empty:
        raise ValueError(f"response {empty[0]} has no token; accepted are responses that end with the end token")
    width = max(len(x) + len(y) for x, y in zip(prompts, responses, strict=True))
    ids, seen, mask = (np.zeros((len(prompts), width), dtype=np.int64) for _ in range(3))
    ids += padding
    for row, (x, y) in enumerate(zip(prompts, responses, strict=True)):
        end = len(x) + len(y)
        ids[row, :end] = [*x, *y]
        seen[row, :end] = 1
        mask[row, len(x) : end] = 1
    return tuple(torch.from_numpy(part).to(device) for part in (ids, seen, mask))


def _batches(prompts: Ids, responses: Ids, size: int) -> Iterator[NDArray[np.int64]]:
    """Indices in batches of like length."""
    lengths = [len(x) + len(y) for x, y in zip(prompts, responses, strict=True)]
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def along(
    policy: Any, reference: Any, prompts: Ids, responses: Ids, *, padding: int, batch_size: int = 128
) -> NDArray[np.float64]:
    """KL, log πθ(y|x) and log πref(y|x) of each response: (n, 3) nats (`compare_along`)."""
    found = np.empty((len(prompts), 3))
    for rows in _batches(prompts, responses, batch_size):
        part = pad([prompts[i] for i in rows], [responses[i] for i in rows], padding, policy.device)
        found[rows] = torch.stack(compare_along(policy, reference, *part), 1).double().cpu().numpy()
    return found


def response_logps(model: Any, prompts: Ids, responses: Ids, *, padding: int) -> torch.Tensor:
    """log π(y|x), (n,) sums over the response's tokens, in one batch, with autograd."""
    ids, seen, mask = pad(prompts, responses, padding, model.device)
    logits = model(input_ids=ids, attention_mask=seen, use_cache=False).logits[:, :-1]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    logps = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return (logps * mask[:, 1:]).sum(1)
