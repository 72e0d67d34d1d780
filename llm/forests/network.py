"""R Llamas over the same trees of responses: log π of every response, in a handful of matrix products.

The same function as `transformers`' Llama with the stacked parameters of `llm.training.stacked` under their names
there (a test compares the two), written out because a tree's rows serve all runs at once: attention has one mask a
prompt, not one a run and prompt. Everything is computed in the dtype of the parameters, with the reference by the same
path, so that log π/πref is exactly 0 before the first step.

Shapes: R runs, m prompts, t columns, d the width, v the vocabulary, e edges, n responses (`llm.forests.trees`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch.nn import functional

from llm.forests.trees import Forest

Parameters = Mapping[str, torch.Tensor]

_EPSILON, _THETA = 1e-6, 10_000.0  # transformers' LlamaConfig


def stack_parameters(models: Sequence[Any]) -> dict[str, torch.Tensor]:
    """Parameters of like models side by side, (R, …) each, by their names.

    Raises
    ------
    ValueError
        For a model that is no Llama of the kind computed here.
    """
    for model in models:
        config = model.config
        rope = getattr(config, "rope_parameters", None) or {}
        theta = rope.get("rope_theta", getattr(config, "rope_theta", _THETA))
        plain = rope.get("rope_type", "default") == "default" and theta == _THETA and config.hidden_act == "silu"
        heads = config.num_key_value_heads == config.num_attention_heads
        if config.model_type != "llama" or not plain or not heads or config.rms_norm_eps != _EPSILON:
            raise ValueError(
                f"a {config.model_type} of this configuration is not computed here; accepted is small_llama's"
            )
        if config.tie_word_embeddings or config.attention_bias or config.mlp_bias:
            raise ValueError("tied embeddings and biases are not computed here")
    named = [dict(model.named_parameters()) for model in models]
    return {name: torch.stack([one[name].detach() for one in named]) for name in named[0]}


def response_logprobs(parameters: Parameters, heads: int, forest: Forest) -> torch.Tensor:
    """log π(y|x) of every response, (R, m, n), in nats, with autograd; 0 for padding.

    Parameters
    ----------
    parameters : Parameters
        (R, …) each.
    heads : int
        Attention heads.
    forest : Forest
        On the parameters' device: the same trees for all runs, or trees of its own for each (`side_by_side`).
    """
    if forest.ids.ndim == 2:
        forest = Forest(*(getattr(forest, field.name)[None] for field in fields(forest)))
    hidden = _hidden(parameters, heads, forest)
    runs, _, _, width = hidden.shape
    index = forest.sources[..., None].expand(runs, -1, -1, width)
    logits = _linear(hidden.gather(2, index), parameters["lm_head.weight"])
    targets = forest.targets[..., None].expand(runs, -1, -1, -1)
    edges = logits.gather(3, targets)[..., 0] - logits.logsumexp(-1)
    return (forest.paths.to(edges) @ edges[..., None])[..., 0]


def _hidden(parameters: Parameters, heads: int, forest: Forest) -> torch.Tensor:
    """(R, m, t, d) states behind the last norm."""
    table = parameters["model.embed_tokens.weight"]
    runs, vocabulary, width = table.shape
    start = torch.arange(runs, device=table.device)[:, None, None] * vocabulary
    x = functional.embedding(forest.ids + start, table.reshape(-1, width))
    cosine, sine = _rotation(forest.positions, width // heads, x.dtype)
    bias = torch.zeros(forest.visible.shape, dtype=x.dtype, device=x.device)
    bias = bias.masked_fill_(~forest.visible, torch.finfo(x.dtype).min)[:, :, None]
    layers = 1 + max(int(name.split(".")[2]) for name in parameters if name.startswith("model.layers."))
    for layer in range(layers):
        own = {name.split(".", 3)[3]: p for name, p in parameters.items() if name.startswith(f"model.layers.{layer}.")}
        x = x + _attention(own, _norm(x, own["input_layernorm.weight"]), heads, cosine, sine, bias)
        y = _norm(x, own["post_attention_layernorm.weight"])
        gate = functional.silu(_linear(y, own["mlp.gate_proj.weight"])) * _linear(y, own["mlp.up_proj.weight"])
        x = x + _linear(gate, own["mlp.down_proj.weight"])
    return _norm(x, parameters["model.norm.weight"])


def _attention(
    own: Parameters, x: torch.Tensor, heads: int, cosine: torch.Tensor, sine: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    runs, rows, columns, width = x.shape
    size = width // heads

    def split(name: str) -> torch.Tensor:
        return _linear(x, own[f"self_attn.{name}_proj.weight"]).view(runs, rows, columns, heads, size).transpose(2, 3)

    query, key = (_rotate(split(name), cosine, sine) for name in "qk")
    scores = ((query * size**-0.5) @ key.transpose(-1, -2)).add_(bias)
    mixed = (scores.softmax(-1) @ split("v")).transpose(2, 3).reshape(runs, rows, columns, width)
    return _linear(mixed, own["self_attn.o_proj.weight"])


def _linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(R, m, t, i) times (R, o, i) → (R, m, t, o)."""
    return torch.bmm(x.flatten(1, 2), weight.transpose(1, 2)).view(*x.shape[:-1], -1)


def _norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(x, x.shape[-1:], eps=_EPSILON) * weight[:, None, None]


def _rotation(positions: torch.Tensor, size: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of rotary positions (Su et al. 2021, arXiv 2104.09864), (1 or R, m, 1, t, size)."""
    half = torch.arange(0, size, 2, device=positions.device, dtype=torch.float64)
    angle = positions[:, :, None, :, None] * _THETA ** (-half / size)
    angle = torch.cat([angle, angle], -1)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def _rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine
