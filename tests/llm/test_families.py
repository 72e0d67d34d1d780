"""Log-probabilities of stacks against the models' own, family by family: equal, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)  # fmt: skip

from llm.policy.batches import TokenizedPairs
from llm.policy.logprobs import logprobs_of, pair_logprobs
from llm.policy.models import LoraSettings, add_lora
from llm.policy.packing import pack, unpacked
from llm.training.lora_stacks import make_stack

WINDOW = 12
SIZES: dict[str, Any] = {
    "vocab_size": 31, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
HEADS = {**SIZES, "head_dim": 8}
ALTERNATE = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
MADE: dict[str, Callable[[], Any]] = {
    "Llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "Qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "Qwen2 with windows": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, **ALTERNATE)),
    "Gemma": lambda: GemmaForCausalLM(GemmaConfig(**HEADS)),
    "Gemma 2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**HEADS, sliding_window=WINDOW, final_logit_softcapping=None, attn_logit_softcapping=None)
    ),
    "Gemma 2 as it is": lambda: Gemma2ForCausalLM(Gemma2Config(**HEADS, sliding_window=WINDOW)),
    "Gemma 3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**HEADS, sliding_window=WINDOW)),
    "Mistral": lambda: MistralForCausalLM(MistralConfig(**HEADS, sliding_window=WINDOW)),
    "GPT-2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=31, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=1)
    ),
    "OPT": lambda: OPTForCausalLM(
        OPTConfig(vocab_size=31, hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=2,
                  max_position_embeddings=64, word_embed_proj_dim=16, bos_token_id=0, eos_token_id=1, pad_token_id=0)
    ),
}  # fmt: skip
STACKED = ("Llama", "Qwen2", "Qwen2 with windows", "Gemma", "Gemma 2", "Gemma 3", "Mistral")
REFUSED = {
    "Gemma 2 as it is": "final_logit_softcapping",
    "GPT-2": "GPT2LMHeadModel: parameters .* belong to no layer that can be stacked",
    "OPT": "OPTForCausalLM cannot be stacked: OPTLearnedPositionalEmbedding does more",
}


def model_of(name: str) -> Any:
    torch.manual_seed(3)
    model = MADE[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # norms and biases too
    return model


def pairs_of(longest: int, count: int = 6) -> TokenizedPairs:
    """Random pairs; prompt and longer response of the first have just so many tokens."""
    rng = np.random.default_rng(0)

    def ids(n: int) -> list[int]:
        return [int(i) for i in rng.integers(2, 31, n)]

    sizes = [(longest - 6, 6, 3), *((int(rng.integers(1, 5)), 4, 6) for _ in range(count - 1))]
    rows = [(ids(x), [*ids(a - 1), 1], [*ids(b - 1), 1]) for x, a, b in sizes]
    return TokenizedPairs([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], np.ones(count))


def own_logprobs(model: Any, pairs: TokenizedPairs) -> np.ndarray:
    """By the model's own forward, a response at a time."""
    found = np.zeros((len(pairs), 2))
    for i, (x, *sides) in enumerate(zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True)):
        for j, y in enumerate(sides):
            with torch.no_grad():
                logps = model(input_ids=torch.tensor([x + y])).logits[0].double().log_softmax(-1)
            found[i, j] = sum(float(logps[len(x) + k - 1, token]) for k, token in enumerate(y))
    return found


@pytest.mark.parametrize("name", STACKED)
def test_a_stack_says_what_the_model_says(name: str) -> None:
    model, pairs = model_of(name), pairs_of(WINDOW)
    expected = own_logprobs(model, pairs)
    stack = make_stack(model, 2)
    for batch in (pack(pairs), unpacked(pairs)):
        for run in pair_logprobs(stack, batch).detach().numpy():
            np.testing.assert_allclose(run, expected, atol=1e-4)
    np.testing.assert_allclose(logprobs_of(model, pairs.prompt, pairs.chosen), expected[:, 0], atol=1e-4)
    assert np.ptp(expected) > 1


@pytest.mark.parametrize("name", STACKED)
def test_adapters_over_a_shared_base_too(name: str) -> None:
    adapted = add_lora(model_of(name), LoraSettings(rank=2))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(len(parameter)))
    pairs = pairs_of(WINDOW)
    found = pair_logprobs(make_stack(adapted, 2), pack(pairs)).detach().numpy()
    np.testing.assert_allclose(found[1], own_logprobs(adapted, pairs), atol=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_a_family_that_is_not_understood_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[name]):
        make_stack(model_of(name), 2)


@pytest.mark.parametrize("name", ["Qwen2 with windows", "Gemma 2", "Gemma 3", "Mistral"])
def test_rows_beyond_a_sliding_window_are_refused(name: str) -> None:
    model, pairs = model_of(name), pairs_of(WINDOW + 1)
    with pytest.raises(ValueError, match=f"attends to the last {WINDOW} tokens, and a row has {WINDOW + 1}"):
        pair_logprobs(make_stack(model, 1), pack(pairs))
    with pytest.raises(ValueError, match="attends to the last"):
        logprobs_of(model, pairs.prompt, pairs.chosen)


def test_a_stack_that_computes_something_else_is_refused() -> None:
    """A family that scales its hidden states where no layer shows it."""

    class Scaled(LlamaForCausalLM):
        def forward(self, *args: Any, **named: Any) -> Any:
            out = super().forward(*args, **named)
            out.logits = 2 * out.logits
            return out

    torch.manual_seed(0)
    model = Scaled(LlamaConfig(**SIZES, initializer_range=0.3)).eval()
    with pytest.raises(ValueError, match="Scaled cannot be stacked: log-probabilities of a stack are off by"):
        make_stack(model, 2)
