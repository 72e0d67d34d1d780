"""Optimisers for stacked parameters: every statistic, clipping included, belongs to one run.

Parameters and gradients are (R, …), R runs. What torch and transformers compute over a parameter or over all of them
(norms, factored moments, root mean squares) is computed here along all axes but the first, so that a run in a stack
takes the step it takes alone.

Gradients of f(βρ) scale with β, and Adam takes the scale out only while its ε is far below the gradient: ε is 1e-12 by
default, not 1e-8. A gradient that is zero but for rounding then still makes a step of full size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch

Tensors = dict[str, torch.Tensor]


def gradient_norms(gradients: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(R,) Euclidean norm of each run's whole gradient.

    Examples
    --------
    >>> gradient_norms({"a": torch.tensor([[3.0], [0.0]]), "b": torch.tensor([[4.0], [1.0]])}).tolist()
    [5.0, 1.0]
    """
    norms = [torch.linalg.vector_norm(value.flatten(1), dim=1, dtype=torch.float64) for value in gradients.values()]
    whole: torch.Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return whole


def clip_gradients(gradients: Mapping[str, torch.Tensor], norms: torch.Tensor, max_norm: float) -> None:
    """Scale, in place, each run's gradient to the norm ``max_norm`` where it is above.

    Parameters
    ----------
    gradients : mapping
        (R, …) each.
    norms : tensor
        (R,), from `gradient_norms`.
    max_norm : float
        Above 0.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm is {max_norm}; accepted is a number above 0")
    scale = (max_norm / norms).clamp(max=1.0)  # a norm of 0 gives inf, clamped
    if bool((scale < 1).any()):
        for value in gradients.values():
            value.mul_(_like(scale, value))


class StackedOptimizer(ABC):
    """Updates stacked parameters in place.

    Parameters
    ----------
    parameters : mapping
        (R, …) each, by name.
    weight_decay : float
        Decoupled: parameters shrink by learning rate times this, each step.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], *, weight_decay: float = 0.0) -> None:
        if not 0 <= weight_decay < math.inf:
            raise ValueError(f"weight_decay is {weight_decay}; accepted is a finite number, 0 or more")
        self.parameters = dict(parameters)
        self.weight_decay = weight_decay
        self.steps = 0
        self.moments: dict[str, Tensors] = {name: self._fresh(p) for name, p in self.parameters.items()}

    @torch.no_grad()
    def step(self, gradients: Mapping[str, torch.Tensor], rates: torch.Tensor, alive: torch.Tensor) -> None:
        """Take a step.

        Parameters
        ----------
        gradients : mapping
            (R, …) each, by name.
        rates : tensor, shape (R,)
            Learning rates.
        alive : tensor, shape (R,)
            The others keep parameters and statistics as they are, whatever their gradient.
        """
        self.steps += 1
        rows = None if bool(alive.all()) else alive.nonzero()[:, 0]
        if rows is not None and not len(rows):
            return
        for name, parameter in self.parameters.items():
            moments, gradient = self.moments[name], gradients[name]
            if rows is None:
                self._update(parameter, gradient, moments, rates)
                continue
            value, kept = parameter[rows], {key: moment[rows] for key, moment in moments.items()}
            self._update(value, gradient[rows], kept, rates[rows])
            parameter[rows] = value
            for key, moment in kept.items():
                moments[key][rows] = moment

    def state(self) -> Tensors:
        """Return the statistics as tensors by name, for a checkpoint."""
        return {f"{name}/{key}": moment for name, part in self.moments.items() for key, moment in part.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        """Set the statistics and the number of steps taken."""
        self.steps = steps
        for key, value in self.state().items():
            value.copy_(state[key])

    def _decay(self, parameter: torch.Tensor, rates: torch.Tensor) -> None:
        if self.weight_decay:
            parameter.mul_(1 - _like(rates, parameter) * self.weight_decay)

    @abstractmethod
    def _fresh(self, parameter: torch.Tensor) -> Tensors:
        """Statistics before the first step."""

    @abstractmethod
    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, moments: Tensors, rates: torch.Tensor) -> None:
        """Step number ``self.steps``, in place."""


class SGD(StackedOptimizer):
    """Plain gradient descent."""

    def _fresh(self, parameter: torch.Tensor) -> Tensors:
        return {}

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, moments: Tensors, rates: torch.Tensor) -> None:
        self._decay(parameter, rates)
        parameter.sub_(gradient * _like(rates, gradient))


class AdamW(StackedOptimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101)."""

    def __init__(
        self,
        parameters: Mapping[str, torch.Tensor],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-12,
        weight_decay: float = 0.0,
    ) -> None:
        if not (0 <= betas[0] < 1 and 0 <= betas[1] < 1 and epsilon > 0):
            raise ValueError(f"betas {betas}, epsilon {epsilon}; accepted are two numbers in [0, 1) and one above 0")
        self.betas, self.epsilon = betas, epsilon
        super().__init__(parameters, weight_decay=weight_decay)

    def _fresh(self, parameter: torch.Tensor) -> Tensors:
        return {"first": torch.zeros_like(parameter), "second": torch.zeros_like(parameter)}

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, moments: Tensors, rates: torch.Tensor) -> None:
        self._decay(parameter, rates)
        first, second = moments["first"], moments["second"]
        first.lerp_(gradient, 1 - self.betas[0])
        second.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1 - self.betas[1])
        denominator = second.sqrt().div_(math.sqrt(1 - self.betas[1] ** self.steps)).add_(self.epsilon)
        sizes = _like(-rates / (1 - self.betas[0] ** self.steps), parameter)
        parameter.addcmul_(first / denominator, sizes.expand_as(parameter))


class Adafactor(StackedOptimizer):
    """Adafactor (Shazeer & Stern, arXiv 1804.04235), second moments of matrices factored, updates clipped to RMS 1.

    Parameters
    ----------
    scale_by_parameter : bool
        Multiply a parameter's learning rate by its root mean square (at least 1e-3), as the article does. Which of
        the two the paper on preference optimisation used with its 1e-5 is not known to us; ours is the plain rate.
    decay : float
        Statistics at step t keep a share 1 − t^decay.
    """

    def __init__(
        self,
        parameters: Mapping[str, torch.Tensor],
        *,
        scale_by_parameter: bool = False,
        decay: float = -0.8,
        clip: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        if not (decay < 0 and clip > 0):
            raise ValueError(f"decay {decay}, clip {clip}; accepted are a number below 0 and one above 0")
        self.scale_by_parameter, self.decay, self.clip = scale_by_parameter, decay, clip
        super().__init__(parameters, weight_decay=weight_decay)

    def _fresh(self, parameter: torch.Tensor) -> Tensors:
        if parameter.ndim < 3:  # a vector a run
            return {"second": torch.zeros_like(parameter)}
        return {"row": torch.zeros_like(parameter[..., 0]), "column": torch.zeros_like(parameter[..., 0, :])}

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, moments: Tensors, rates: torch.Tensor) -> None:
        if self.scale_by_parameter:
            rates = rates * _rms(parameter).clamp(min=1e-3)
        keep = 1.0 - self.steps**self.decay
        squared = gradient**2 + 1e-30
        if "row" in moments:
            row = moments["row"].mul_(keep).add_(squared.mean(-1), alpha=1 - keep)
            column = moments["column"].mul_(keep).add_(squared.mean(-2), alpha=1 - keep)
            update = (row / row.mean(-1, keepdim=True)).rsqrt()[..., None] * column.rsqrt()[..., None, :] * gradient
        else:
            second = moments["second"].mul_(keep).add_(squared, alpha=1 - keep)
            update = second.rsqrt() * gradient
        update = update / _like((_rms(update) / self.clip).clamp(min=1.0), update)
        self._decay(parameter, rates)
        parameter.sub_(update * _like(rates, update))


def _rms(value: torch.Tensor) -> torch.Tensor:
    """(R,) root mean square of each run's part."""
    flat = value.flatten(1)
    norms: torch.Tensor = torch.linalg.vector_norm(flat, dim=1)
    return norms / math.sqrt(flat.shape[1])


def _like(per_run: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(R,) → (R, 1, …) to multiply ``value`` (R, …) with."""
    return per_run.to(value).view(-1, *[1] * (value.ndim - 1))


OPTIMIZERS: dict[str, type[StackedOptimizer]] = {"adamw": AdamW, "adafactor": Adafactor, "sgd": SGD}
