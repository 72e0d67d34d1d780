"""One LoRA adapter a run over a shared base: what is stacked is small, the base is in memory once.

Low-rank adapters (Hu et al., arXiv 2106.09685) as `peft` makes them: y = W x + (α/r) B A x with W frozen.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from llm.training.agreement import check_agreement
from llm.training.stacked import Stack, replace_modules, share_frozen, stack_model, trained_value


class StackedLora(nn.Module):
    """A frozen layer with R adapters: ``down`` (R, r, in), ``up`` (R, out, r); (R·m, …, in) → (R·m, …, out)."""

    def __init__(self, base: nn.Module, down: nn.Parameter, up: nn.Parameter, scaling: float) -> None:
        super().__init__()
        self.base, self.down, self.up, self.scaling = base, down, up, scaling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the shared layer's output and each run's own update."""
        rows = x.reshape(len(self.down), -1, x.shape[-1])
        update = torch.bmm(torch.bmm(rows, self.down.transpose(1, 2)), self.up.transpose(1, 2))
        out: torch.Tensor = self.base(x)
        return out + (self.scaling * update).view(*x.shape[:-1], -1).to(out.dtype)


def stack_adapters(model: Any, runs: int) -> Stack:
    """Stack R copies of a `peft` model's LoRA adapters over its one base.

    Parameters
    ----------
    model : model
        A `peft` model with one active LoRA adapter on linear layers (`llm.policy.models.add_lora`).
    runs : int
        R.

    Raises
    ------
    ValueError
        For fewer runs than one, an adapter with dropout (its masks would differ between a stack and a run alone) or
        in DoRA's form, or parameters that train outside of the adapters.
    """
    from peft.tuners.lora import Linear

    if runs < 1:
        raise ValueError(f"runs is {runs}; accepted is 1 or more")
    adapter = model.active_adapter
    network = copy.deepcopy(model, share_frozen(model))
    names = {id(parameter): name for name, parameter in network.named_parameters() if parameter.requires_grad}
    stacked: dict[str, nn.Parameter] = {}

    def make(parameter: Any) -> nn.Parameter:
        value = trained_value(parameter)
        fresh = nn.Parameter(value.expand(runs, *value.shape).contiguous())
        stacked[names[id(parameter)]] = fresh
        return fresh

    def replaced(module: nn.Module) -> nn.Module | None:
        if not isinstance(module, Linear):
            return None
        if getattr(module.lora_dropout[adapter], "p", 0.0) or module.use_dora.get(adapter, False):
            raise ValueError("adapters with dropout or DoRA cannot be stacked; accepted is LoRA with dropout 0")
        down, up = module.lora_A[adapter].weight, module.lora_B[adapter].weight
        return StackedLora(module.base_layer, make(down), make(up), float(module.scaling[adapter]))

    replace_modules(network, replaced)
    left = set(names.values()) - set(stacked)
    if left or not stacked:
        raise ValueError(f"no LoRA layer holds what trains: {', '.join(sorted(left)) or 'nothing trains'}")
    network.eval()
    stack = Stack(model, network, runs, stacked)
    check_agreement(stack, model)
    return stack


def make_stack(model: Any, runs: int) -> Stack:
    """Stack a model's adapters where it is a `peft` model, all its parameters otherwise."""
    return stack_adapters(model, runs) if hasattr(model, "peft_config") else stack_model(model, runs)
