"""How good a fine-tuned model is: the likelihood of targets, and the reward of what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm.data.types import Example, Reward
from llm.policy.lengths import fitting
from llm.policy.sampling import sample
from llm.policy.tokenizers import encode_prompts
from llm.training.likelihood import negative_log_likelihood, token_rows


def measure_quality(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    reward: Reward,
    *,
    seed: int = 0,
    max_new_tokens: int = 32,
) -> dict[str, float]:
    """Return how good a model's responses are, sampled at temperature 1 and greedy.

    Returns
    -------
    dict
        For "sampled" and "greedy": ``…_reward`` and its standard deviation ``…_reward_sd``, ``…_finished`` (share with
        an end token), ``…_tokens`` (mean length) and, for rewards that know it, ``…_exact``; and ``target_reward``.
        Prompts that leave the model no room for a response are left out.
    """
    examples, too_long = fitting(examples, model, tokenizer, max_new_tokens)
    if not examples:
        raise ValueError(f"no example of {too_long} leaves the model room for {max_new_tokens} new tokens")
    prompts = [example.prompt for example in examples]
    ids = encode_prompts(tokenizer, prompts)
    found = {"target_reward": float(np.mean(reward(prompts, [example.target for example in examples])))}
    for name, temperature in (("sampled", 1.0), ("greedy", 0.0)):
        drawn = sample(model, tokenizer, ids, seed=seed, max_new_tokens=max_new_tokens, temperature=temperature)
        texts = drawn.texts(tokenizer)
        rewards = reward(prompts, texts)
        found |= {
            f"{name}_reward": float(rewards.mean()),
            f"{name}_reward_sd": float(rewards.std(ddof=1)) if len(rewards) > 1 else 0.0,
            f"{name}_finished": float(drawn.finished.mean()),
            f"{name}_tokens": float(drawn.lengths.mean()),
        }
        if hasattr(reward, "exact"):
            found[f"{name}_exact"] = float(np.mean(reward.exact(prompts, texts)))
    return found


def held_out_loss(
    model: Any, tokenizer: Any, examples: Sequence[Example], *, batch_size: int = 64, max_length: int = 256
) -> dict[str, float]:
    """Return the negative log-likelihood of the targets, in nats, a token (``nats_per_token``) and a response."""
    import torch

    rows = token_rows(tokenizer, examples, max_length)
    if not rows:
        raise ValueError(f"no held-out example has at most {max_length} tokens")
    total, count = 0.0, 0
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            total += float(negative_log_likelihood(model, tokenizer.pad_token_id, part, 0.0)[0])
            count += sum(len(response) for _, response in part)
    model.train(was_training)
    return {"nats_per_token": total / count, "nats_per_response": total / len(rows)}
