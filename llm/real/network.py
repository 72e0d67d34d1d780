"""A model of which the upper layers carry adapters: what is frozen is computed once, R runs share it.

The layers below the adapters are the same for every run and every step, so that their states of each (prompt, response)
are computed once and kept (`lower_states`); what trains begins there. The head is frozen, too: log Σ exp of its logits
needs, for its gradient, the mean embedding under the softmax alone, which the forward pass has at hand, so that no
logits are kept or computed again (`log_normalizer`).

Adapters are those of Hu et al. (arXiv 2106.09685) as `peft` makes them: y = W x + (α/r) B A x, A drawn, B = 0.

Shapes: R runs, m prompts, t columns, d the width, v the vocabulary, e edges, n responses (`llm.forests.trees`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional

from llm.forests.network import FEED_FORWARD, Shape, attention_bias, block, norm, rotation
from llm.forests.trees import Forest

Tensors = dict[str, torch.Tensor]
TARGETS = ("q", "k", "v", "o", "gate", "up", "down")
_ROWS = 128  # positions whose logits are in memory at once


@dataclass(frozen=True, eq=False)
class Base:
    """What is frozen: layers, norms and embeddings of a Llama.

    Attributes
    ----------
    shape : Shape
    layers : list of dict
        Of each layer the weights of its maps, (o, i), by their short names, and of its norms, "before" and "after".
    norm, table, head : tensor, shape (d,), (v, d) and (v, d)
        The last norm, and the embeddings of what goes in and what comes out.
    upper : int
        How many layers, from the last one down, carry adapters.
    """

    shape: Shape
    layers: list[Tensors]
    norm: torch.Tensor
    table: torch.Tensor
    head: torch.Tensor
    upper: int

    @classmethod
    def of(cls, model: Any, upper: int) -> Base:
        """Of a Llama of `transformers`; its tensors are shared.

        Raises
        ------
        ValueError
            For another kind of model, or more layers than it has.
        """
        shape, named = Shape.of(model.config), {k: p.detach() for k, p in model.named_parameters()}
        count = model.config.num_hidden_layers
        if not 1 <= upper <= count:
            raise ValueError(f"{upper} upper layers of a model with {count}; accepted are 1 to {count}")
        layers = []
        for layer in range(count):
            start = f"model.layers.{layer}."
            own = {name: named[f"{start}{_room(name)}.{name}_proj.weight"] for name in TARGETS}
            own |= {"before": named[f"{start}input_layernorm.weight"]}
            layers.append(own | {"after": named[f"{start}post_attention_layernorm.weight"]})
        table = named["model.embed_tokens.weight"]
        return cls(shape, layers, named["model.norm.weight"], table, named.get("lm_head.weight", table), upper)

    @property
    def first(self) -> int:
        """The lowest layer that carries adapters."""
        return len(self.layers) - self.upper

    @property
    def weights(self) -> Tensors:
        """The weights that have adapters, by "layer.map"."""
        return {f"{at}.{name}": self.layers[at][name] for at in range(self.first, len(self.layers)) for name in TARGETS}

    def without_lower(self) -> Base:
        """The same without what `lower_states` needs, so that its memory can be freed."""
        layers: list[Tensors] = [{}] * self.first + self.layers[self.first :]
        return replace(self, layers=layers, table=self.head)


def _room(name: str) -> str:
    return "mlp" if name in FEED_FORWARD else "self_attn"


@dataclass(frozen=True, eq=False)
class Cached:
    """Trees, and the states of their columns where the adapters begin.

    Attributes
    ----------
    forest : Forest
    states : tensor, shape (m, t, d)
    """

    forest: Forest
    states: torch.Tensor

    def take(self, rows: Sequence[int] | torch.Tensor) -> Cached:
        """Those of these prompts, without the columns and edges that are padding for all of them."""
        forest = self.forest.take(torch.as_tensor(rows))
        columns = int(forest.sources.max()) + 1
        edges = int((forest.paths.sum(1) > 0).sum(1).max())
        cut = Forest(
            forest.ids[:, :columns], forest.positions[:, :columns], forest.visible[:, :columns, :columns],
            forest.sources[:, :edges], forest.targets[:, :edges], forest.paths[:, :, :edges], forest.weight,
        )  # fmt: skip
        return Cached(cut, self.states[torch.as_tensor(rows)][:, :columns])


@torch.no_grad()
def lower_states(base: Base, forest: Forest) -> Cached:
    """Run the layers below the adapters once over every tree."""
    found = []
    for row in range(len(forest)):
        tree = forest.take(torch.tensor([row]))
        x = functional.embedding(tree.ids, base.table)[None]
        angles, bias = _attended(base, tree, x.dtype)
        for own in base.layers[: base.first]:
            x = block(
                x, lambda name, y, own=own: functional.linear(y, own[name]), _norms(own), base.shape, angles, bias
            )
        found.append(x[0])
    return Cached(forest, torch.cat(found))


def _attended(base: Base, forest: Forest, dtype: torch.dtype) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    size = base.table.shape[1] // base.shape.heads
    angles = rotation(forest.positions[None], size, dtype, base.shape.theta)
    return angles, attention_bias(forest.visible[None], dtype)


def _norms(own: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    return own["before"], own["after"]


#: A layer's maps: from the layer's number, the map's name and states to states.
Map = Callable[[int, str, torch.Tensor], torch.Tensor]


def upper_logprobs(base: Base, cached: Cached, linear: Map) -> torch.Tensor:
    """log π(y|x) of every response, (R, m, n), in nats, with autograd; 0 for padding.

    Parameters
    ----------
    base : Base
    cached : Cached
    linear : callable
        `adapted` or `plain`.
    """
    forest = cached.forest
    x = cached.states[None]
    angles, bias = _attended(base, forest, x.dtype)
    start = int(forest.sources[:, 0].min())  # the last token of the shortest prompt: what is before predicts nothing
    for at in range(base.first, len(base.layers)):
        last = at == len(base.layers) - 1

        def of_layer(name: str, y: torch.Tensor, at: int = at) -> torch.Tensor:
            return linear(at, name, y)

        x = block(x, of_layer, _norms(base.layers[at]), base.shape, angles, bias, start if last else 0)
    x = norm(x, base.norm, base.shape.epsilon)
    rows, edges = (forest.paths.sum(1) > 0).nonzero(as_tuple=True)
    place = rows * x.shape[2] + forest.sources[rows, edges] - start
    distinct, which = place.unique(return_inverse=True)  # prefixes that branch are one position
    hidden = x.flatten(1, 2)[:, distinct]
    picked = (hidden[:, which] * base.head[forest.targets[rows, edges]]).sum(-1)
    found = picked - log_normalizer(hidden, base.head)[:, which]
    flat = found.new_zeros(len(found), forest.targets.numel())
    table = flat.index_copy(1, rows * forest.targets.shape[1] + edges, found).view(len(found), *forest.targets.shape)
    return (forest.paths.to(found) @ table[..., None])[..., 0]


def adapted(base: Base, parameters: Mapping[str, torch.Tensor], scaling: float) -> Map:
    """The frozen maps with each run's own adapters, parameters (R, r, i) "….a" and (R, o, r) "….b"."""

    def linear(at: int, name: str, x: torch.Tensor) -> torch.Tensor:
        a, b = parameters[f"{at}.{name}.a"], parameters[f"{at}.{name}.b"]
        rows = x.flatten(1, 2).expand(len(a), -1, -1)
        update = torch.bmm(torch.bmm(rows, a.transpose(1, 2)), scaling * b.transpose(1, 2))
        return functional.linear(x, base.layers[at][name]) + update.view(len(a), *x.shape[1:-1], -1)

    return linear


def plain(weights: Mapping[str, torch.Tensor]) -> Map:
    """Maps by weights of their own, (o, i) by "layer.map", as `Base.weights` has them."""
    return lambda at, name, x: functional.linear(x, weights[f"{at}.{name}"])


def fresh_adapters(base: Base, rank: int, runs: int, seed: int) -> Tensors:
    """Adapters that change nothing: A from U(−1/√i, 1/√i), as `peft` draws it, the same for all runs; B = 0."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, weight in base.weights.items():
        out, width = weight.shape
        draw = torch.rand(rank, width, generator=generator, dtype=torch.float64)
        a = ((2 * draw - 1) / width**0.5).to(weight)
        found[f"{name}.a"] = a.expand(runs, -1, -1).clone(memory_format=torch.contiguous_format)
        found[f"{name}.b"] = weight.new_zeros(runs, out, rank)
    return found


def log_normalizer(hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """Log Σ exp(hidden · headᵀ) under a frozen head, with autograd.

    Parameters
    ----------
    hidden : tensor, shape (R, k, d)
    head : tensor, shape (v, d)

    Returns
    -------
    Tensor
        (R, k).

    Examples
    --------
    >>> log_normalizer(torch.zeros(1, 1, 3), torch.ones(4, 3)).exp().tolist()
    [[4.0]]
    """
    found: torch.Tensor = _Normalizer.apply(hidden, head)  # type: ignore[no-untyped-call]
    return found


class _Normalizer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        flat = hidden.flatten(0, 1)
        values, means = [], []
        for rows in torch.split(flat, _ROWS):
            logits = rows @ head.T
            top = logits.amax(1, keepdim=True)
            weights = logits.sub_(top).exp_()
            total = weights.sum(1, keepdim=True)
            values.append((top + total.log())[:, 0])
            if ctx.needs_input_grad[0]:
                means.append((weights @ head).div_(total))
        if means:
            ctx.save_for_backward(torch.cat(means).view_as(hidden))
        return torch.cat(values).view(hidden.shape[:2])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (means,) = ctx.saved_tensors
        return grad[..., None] * means, None
