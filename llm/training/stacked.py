"""Several runs of one model trained together: parameters stacked along a leading run axis.

The R runs lie along the batch axis, run by run: hidden states are (R·m, t, d) for m rows a run. Attention, rotary
embeddings and activations treat rows alike and stay as `transformers` has them; layers with parameters are replaced by
ones whose parameters are (R, …) and which give row r·m + i to run r. Gradients of a sum over runs are then the
gradients of each run, so nothing couples the runs but the optimiser, which is per run too (`llm.training.optimizers`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from llm.training.agreement import check_agreement


class StackedLinear(nn.Module):
    """R linear layers: weight (R, out, in), bias (R, out) or None; (R·m, …, in) → (R·m, …, out)."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return each run's rows times its own weight."""
        rows = x.reshape(len(self.weight), -1, x.shape[-1])
        out = torch.bmm(rows, self.weight.transpose(1, 2))
        if self.bias is not None:
            out = out + self.bias[:, None]
        return out.view(*x.shape[:-1], -1)


class StackedEmbedding(nn.Module):
    """R embeddings: weight (R, v, d), which some families scale; (R·m, t) ids → (R·m, t, d).

    A padding index has no row of its own here: padding is never seen, so its gradient is zero anyway.
    """

    def __init__(self, weight: nn.Parameter, scale: float = 1.0) -> None:
        super().__init__()
        self.weight, self.scale = weight, scale

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return each run's rows from its own table."""
        runs, vocabulary, width = self.weight.shape
        start = torch.arange(runs, device=ids.device).repeat_interleave(len(ids) // runs) * vocabulary
        rows = nn.functional.embedding(ids + start.view(-1, *[1] * (ids.ndim - 1)), self.weight.view(-1, width))
        return rows if self.scale == 1.0 else rows * self.scale


class StackedNorm(nn.Module):
    """R norms with a weight (R, d) each, by the model's own formula, which multiplies by the weight elementwise."""

    def __init__(self, weight: nn.Parameter, formula: nn.Module) -> None:
        super().__init__()
        self.weight = weight
        self.formula = [formula]  # in a list: its own weight is none of ours

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise each run's rows with its own weight."""
        runs = len(self.weight)
        weight = self.weight.view(runs, *[1] * (x.ndim - 1), -1)
        out: torch.Tensor = functional_call(self.formula[0], {"weight": weight}, (x.view(runs, -1, *x.shape[1:]),))
        return out.view(x.shape)


class StackedLayerNorm(nn.Module):
    """R layer norms: weight and bias (R, d)."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None, epsilon: float) -> None:
        super().__init__()
        self.weight, self.bias, self.epsilon = weight, bias, epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise each run's rows with its own weight and bias."""
        runs = len(self.weight)
        out = nn.functional.layer_norm(x, x.shape[-1:], eps=self.epsilon).view(runs, -1, x.shape[-1])
        out = out * self.weight[:, None]
        return (out if self.bias is None else out + self.bias[:, None]).view(x.shape)


class Stack:
    """R runs of a model.

    Parameters
    ----------
    template : model
        The model the runs start from; it is not changed.
    network : model
        A copy of it whose trained layers are stacked.
    runs : int
        R.
    parameters : dict
        The stacked parameters, (R, …) each, by the names they have in the template.
    """

    def __init__(self, template: Any, network: Any, runs: int, parameters: dict[str, nn.Parameter]) -> None:
        self.template, self.network, self.runs, self.parameters = template, network, runs, parameters

    @torch.no_grad()
    def cell(self, run: int) -> Any:
        """Return run ``run`` as a model of its own, in evaluation mode; what was frozen is shared."""
        if not 0 <= run < self.runs:
            raise ValueError(f"run {run}; accepted are 0 to {self.runs - 1}")
        model = copy.deepcopy(self.template, share_frozen(self.template))
        own = dict(model.named_parameters())
        for name, value in self.parameters.items():
            own[name].copy_(value[run])
        return model.eval()

    @torch.no_grad()
    def load(self, values: dict[str, torch.Tensor]) -> None:
        """Set the stacked parameters, by name."""
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])


def share_frozen(model: nn.Module) -> dict[int, Any]:
    """Memory for `copy.deepcopy` with which a model's frozen parameters are shared, not copied."""
    return {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}


def trained_value(parameter: nn.Parameter) -> torch.Tensor:
    """Return a parameter's value in float32 or wider: half precision would lose small steps."""
    value = parameter.detach()
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def stack_model(model: Any, runs: int) -> Stack:
    """Stack R copies of a model, all of whose parameters train.

    Parameters
    ----------
    model : model
        A causal language model of `transformers` made of `Linear`, `Embedding`, `LayerNorm` and RMS norms, such as
        Llama, Qwen or Gemma. Tied embeddings stay tied, run by run.
    runs : int
        R.

    Raises
    ------
    ValueError
        For fewer runs than one, a layer with parameters of another kind, or a family whose stack computes something
        else than the model (`llm.training.agreement`).
    """
    if runs < 1:
        raise ValueError(f"runs is {runs}; accepted is 1 or more")
    network = copy.deepcopy(model)
    stacked: dict[int, nn.Parameter] = {}

    def make(parameter: nn.Parameter) -> nn.Parameter:
        if id(parameter) not in stacked:  # tied parameters are one
            value = trained_value(parameter)
            stacked[id(parameter)] = nn.Parameter(value.expand(runs, *value.shape).contiguous())
        return stacked[id(parameter)]

    names = {id(parameter): name for name, parameter in network.named_parameters()}
    try:
        replace_modules(network, lambda module: _stacked(module, make))
    except _OtherLayer as error:
        raise ValueError(f"{type(model).__name__} cannot be stacked: {error}") from None
    left = [name for key, name in names.items() if key not in stacked]
    if left:
        shown = ", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
        raise ValueError(f"{type(model).__name__}: parameters {shown} belong to no layer that can be stacked")
    network.eval()  # no dropout: a stack and a run alone compute the same
    stack = Stack(model, network, runs, {names[key]: parameter for key, parameter in stacked.items()})
    check_agreement(stack, model)
    return stack


def replace_modules(root: nn.Module, make: Callable[[nn.Module], nn.Module | None]) -> None:
    """Replace, in place, every module for which ``make`` returns another; those inside a replaced one are left."""
    for name, module in list(root.named_children()):
        fresh = make(module)
        if fresh is None:
            replace_modules(module, make)
        else:
            setattr(root, name, fresh)


def _stacked(module: nn.Module, make: Callable[[Any], nn.Parameter]) -> nn.Module | None:
    def optional(parameter: Any) -> nn.Parameter | None:
        return None if parameter is None else make(parameter)

    for kind in (nn.Linear, nn.LayerNorm):
        if isinstance(module, kind) and type(module).forward is not kind.forward:
            raise _OtherLayer(f"{type(module).__name__} is a {kind.__name__} with a forward of its own")
    if isinstance(module, nn.Linear):
        return StackedLinear(make(module.weight), optional(module.bias))
    if isinstance(module, nn.Embedding):
        return StackedEmbedding(make(module.weight), _scale_of(module))
    if isinstance(module, nn.LayerNorm):
        if not module.elementwise_affine:
            return None
        return StackedLayerNorm(make(module.weight), optional(module.bias), module.eps)
    if type(module).__name__.endswith("RMSNorm") and list(dict(module.named_parameters())) == ["weight"]:
        return StackedNorm(make(module.weight), module)
    return None


class _OtherLayer(ValueError):
    """A layer whose forward is not what its kind's is."""


@torch.no_grad()
def _scale_of(module: nn.Embedding) -> float:
    """What an embedding's rows are multiplied by; a ValueError for one that does something else with them."""
    if type(module).forward is nn.Embedding.forward:
        return 1.0
    scale = float(getattr(module, "embed_scale", 1.0))
    ids = torch.arange(min(8, module.num_embeddings), device=module.weight.device)[None]
    try:
        same = torch.allclose(module(ids), module.weight[ids] * torch.tensor(scale).to(module.weight), rtol=1e-6)
    except (TypeError, RuntimeError, IndexError, AttributeError):
        same = False
    if not same:
        raise _OtherLayer(f"{type(module).__name__} does more than look up and scale its rows")
    return scale
