"""Which examples are short enough for a model, in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm.data.types import Example
from llm.policy.tokenizers import encode_prompts, encode_responses


def within_tokens(
    examples: Sequence[Example], tokenizer: Any, *, max_prompt: int | None = None, max_response: int | None = None
) -> tuple[list[Example], int]:
    """Return the examples short enough in tokens, and how many are not.

    Parameters
    ----------
    max_prompt, max_response : int, optional
        Most tokens of the prompt, and of the target with its end token; None for any number.
    """
    kept = list(examples)
    if max_prompt is not None:
        ids = encode_prompts(tokenizer, [example.prompt for example in kept])
        kept = [example for example, row in zip(kept, ids, strict=True) if len(row) <= max_prompt]
    if max_response is not None:
        ids = encode_responses(tokenizer, [example.target for example in kept])
        kept = [example for example, row in zip(kept, ids, strict=True) if len(row) <= max_response]
    return kept, len(examples) - len(kept)


def fitting(examples: Sequence[Example], model: Any, tokenizer: Any, max_new_tokens: int) -> tuple[list[Example], int]:
    """Return the examples whose prompt leaves the model positions for a response, and how many do not."""
    positions = getattr(model.config, "max_position_embeddings", None)
    return within_tokens(examples, tokenizer, max_prompt=None if positions is None else positions - max_new_tokens)
