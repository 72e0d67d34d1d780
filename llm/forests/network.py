"""R Llamas over the same trees of responses: log π of every response, in a handful of matrix products.

The same function as `transformers`' Llama with the stacked parameters of `llm.training.stacked` under their names
there (a test compares the two), written out because a tree's rows serve all runs at once: attention has one mask a
prompt, not one a run and prompt. Everything is computed in the dtype of the parameters, with the reference by the same
path, so that log π/πref is exactly 0 before the first step. One block is a function of its own (`block`), for models of
which only the upper ones are trained (`llm.real`).

Shapes: R runs, m prompts, t columns, d the width, v the vocabulary, e edges, n responses (`llm.forests.trees`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch.nn import functional

from llm.forests.trees import Forest

Parameters = Mapping[str, torch.Tensor]

#: A layer's linear map by its short name ("q", …, "gate", …): (…, m, t, i) → (R, m, t, o).
Linear = Callable[[str, torch.Tensor], torch.Tensor]

_EPSILON, _THETA = 1e-6, 10_000.0  # transformers' LlamaConfig


@dataclass(frozen=True)
class Shape:
    """What of a Llama is not in its parameters.

    Parameters
    ----------
    heads, groups : int
        Attention heads, and heads of keys and values, each of which serves heads/groups of them.
    epsilon, theta : float
        Of the norms, and of the rotary positions.
    """

    heads: int
    groups: int
    epsilon: float = _EPSILON
    theta: float = _THETA

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Of a model's configuration; a ValueError says what is not computed here."""
        rope = getattr(config, "rope_parameters", None) or {}
        theta = rope.get("rope_theta", getattr(config, "rope_theta", _THETA))
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        plain = rope.get("rope_type", "default") == "default" and config.hidden_act == "silu"
        plain &= size * config.num_attention_heads == config.hidden_size
        if config.model_type != "llama" or not plain or config.attention_bias or config.mlp_bias:
            raise ValueError(
                f"a {config.model_type} of this configuration is not computed here; accepted is a Llama with plain "
                "rotary positions, SiLU and no biases"
            )
        return cls(config.num_attention_heads, config.num_key_value_heads, config.rms_norm_eps, theta)


def stack_parameters(models: Sequence[Any]) -> dict[str, torch.Tensor]:
    """Parameters of like models side by side, (R, …) each, by their names.

    Raises
    ------
    ValueError
        For a model that is no Llama of the kind computed here.
    """
    for model in models:
        config = model.config
        shape = Shape.of(config)
        if shape != Shape(shape.heads, shape.heads) or config.tie_word_embeddings:
            raise ValueError(
                "shared keys, tied embeddings and constants of one's own are not computed in stacks of whole models; "
                "accepted is small_llama's configuration"
            )
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
    shape = Shape(heads, heads)
    angles, bias = rotation(forest.positions, width // heads, x.dtype), attention_bias(forest.visible, x.dtype)
    layers = 1 + max(int(name.split(".")[2]) for name in parameters if name.startswith("model.layers."))
    for layer in range(layers):
        own = {name.split(".", 3)[3]: p for name, p in parameters.items() if name.startswith(f"model.layers.{layer}.")}

        def linear(name: str, x: torch.Tensor, own: Parameters = own) -> torch.Tensor:
            return _linear(x, own[f"{'mlp' if name in FEED_FORWARD else 'self_attn'}.{name}_proj.weight"])

        norms = own["input_layernorm.weight"][:, None, None], own["post_attention_layernorm.weight"][:, None, None]
        x = block(x, linear, norms, shape, angles, bias)
    return norm(x, parameters["model.norm.weight"][:, None, None], _EPSILON)


FEED_FORWARD = ("gate", "up", "down")


def block(
    x: torch.Tensor,
    linear: Linear,
    norms: tuple[torch.Tensor, torch.Tensor],
    shape: Shape,
    angles: tuple[torch.Tensor, torch.Tensor],
    bias: torch.Tensor,
    first: int = 0,
) -> torch.Tensor:
    """One layer.

    Parameters
    ----------
    x : tensor, shape (R or 1, m, t, d)
        States before it.
    linear : Linear
        Its seven maps, "q", "k", "v", "o", "gate", "up" and "down".
    norms : two tensors
        Weights of its norms, that of the attention first; they broadcast with x.
    shape : Shape
    angles, bias : tensors
        From `rotation` and `attention_bias`.
    first : int
        Columns before this one are only looked at: what follows from them is left out.

    Returns
    -------
    Tensor
        (R, m, t − first, d).
    """
    y = norm(x, norms[0], shape.epsilon)
    x = x[:, :, first:] + _attention(y, linear, shape, angles, bias, first)
    y = norm(x, norms[1], shape.epsilon)
    return x + linear("down", functional.silu(linear("gate", y)) * linear("up", y))


def _attention(
    y: torch.Tensor,
    linear: Linear,
    shape: Shape,
    angles: tuple[torch.Tensor, torch.Tensor],
    bias: torch.Tensor,
    first: int,
) -> torch.Tensor:
    def split(name: str, y: torch.Tensor, heads: int) -> torch.Tensor:
        z = linear(name, y)
        return z.view(*z.shape[:-1], heads, -1).transpose(2, 3)

    query = _rotate(split("q", y[:, :, first:], shape.heads), *(angle[..., first:, :] for angle in angles))
    key, value = _rotate(split("k", y, shape.groups), *angles), split("v", y, shape.groups)
    if shape.groups != shape.heads:
        key, value = (z.repeat_interleave(shape.heads // shape.groups, 2) for z in (key, value))
    scores = ((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)).add_(bias[..., first:, :])
    mixed = (scores.softmax(-1) @ value).transpose(2, 3)
    return linear("o", mixed.reshape(*mixed.shape[:3], -1))


def norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Root-mean-square norm, times a weight that broadcasts."""
    return functional.rms_norm(x, x.shape[-1:], eps=epsilon) * weight


def attention_bias(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the scores: 0 where a token is seen, as good as −∞ elsewhere; (…, m, 1, t, t)."""
    bias = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return bias.masked_fill_(~visible, torch.finfo(dtype).min).unsqueeze(-3)


def rotation(
    positions: torch.Tensor, size: int, dtype: torch.dtype, theta: float = _THETA
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of rotary positions (Su et al. 2021, arXiv 2104.09864), (1 or R, m, 1, t, size)."""
    half = torch.arange(0, size, 2, device=positions.device, dtype=torch.float64)
    angle = positions[:, :, None, :, None] * theta ** (-half / size)
    angle = torch.cat([angle, angle], -1)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def _linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(R, m, t, i) times (R, o, i) → (R, m, t, o)."""
    return torch.bmm(x.flatten(1, 2), weight.transpose(1, 2)).view(*x.shape[:-1], -1)


def _rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine
