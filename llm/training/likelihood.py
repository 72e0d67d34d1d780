"""The negative log-likelihood that supervised fine-tuning minimises, on rows of prompt and response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llm.data.types import Example
from llm.policy.tokenizers import encode_prompts, encode_responses

if TYPE_CHECKING:
    import torch


def token_rows(tokenizer: Any, examples: Sequence[Example], longest: int) -> list[tuple[list[int], list[int]]]:
    prompts = encode_prompts(tokenizer, [example.prompt for example in examples])
    responses = encode_responses(tokenizer, [example.target for example in examples])
    return [(x, y) for x, y in zip(prompts, responses, strict=True) if len(x) + len(y) <= longest]


def negative_log_likelihood(
    model: Any, pad: int, rows: Sequence[tuple[list[int], list[int]]], prompt_weight: float
) -> tuple[torch.Tensor, float]:
    """Return the weighted sum of token losses and the sum of the weights; padding stands on the left."""
    import torch

    longest = max(len(x) + len(y) for x, y in rows)
    kept = longest - 1 if prompt_weight else max(len(y) for _, y in rows)
    ids = torch.full((len(rows), longest), pad)
    weights = torch.zeros((len(rows), longest))
    mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    for at, (x, y) in enumerate(rows):
        size = len(x) + len(y)
        ids[at, -size:] = torch.tensor(x + y)
        mask[at, -size:] = 1
        weights[at, longest - size + 1 :] = prompt_weight
        weights[at, -len(y) :] = 1.0
    ids, weights, mask = (value.to(model.device) for value in (ids, weights, mask))
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=kept + 1)
    losses = torch.nn.functional.cross_entropy(
        out.logits[:, :-1].float().transpose(1, 2), ids[:, -kept:], reduction="none"
    )
    weights = weights[:, -kept:]
    # a padded position may hold any number, so it is replaced and not multiplied by zero
    return torch.where(weights > 0, losses * weights, 0.0).sum(), float(weights.sum())
