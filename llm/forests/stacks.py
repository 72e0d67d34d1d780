"""R policies in training side by side on labelled pairs of samples: f(βρ), Adam, a rate that falls to 0.

Shapes: R policies, m prompts, n distinct samples of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_loss
from llm.forests.network import response_logprobs
from llm.forests.trees import Forest
from llm.training.optimizers import AdamW, gradient_norms


class Policy(Protocol):
    """What is said of a policy to be trained: its loss by name, and its β."""

    @property
    def loss(self) -> str: ...
    @property
    def beta(self) -> float: ...


def share_loss(losses: Sequence[str], beta: torch.Tensor, log_ratio: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Σ_ij share_ij f(β (h_i − h_j)) of R policies, the mean over m prompts, shape (R,), with autograd.

    Parameters
    ----------
    losses : R names
    beta : tensor, shape (R,)
    log_ratio : tensor, shape (R, m, n)
        h = log π/πref.
    share : tensor, shape (m, n, n)
        Of the prompt's pairs that are won by sample i against sample j.

    Examples
    --------
    >>> h, share = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 0.75], [0.25, 0.0]]])
    >>> share_loss(["squared"], torch.tensor([1.0]), h, share).tolist()  # 3/4 of (1 − 1)² and 1/4 of (−1 − 1)²
    [1.0]
    """
    fitted = beta[:, None, None] * log_ratio
    # padding stands at h = 0, as far from the others as may be: where f is inf there, 0 · inf would be NaN
    margin = torch.where(share > 0, fitted[..., :, None] - fitted[..., None, :], 0.0)
    total = margin.new_zeros(len(losses))
    for name in dict.fromkeys(losses):
        runs = [run for run, other in enumerate(losses) if other == name]
        total[runs] = (share * get_loss(name)(margin[runs])).sum((2, 3)).mean(1)
    return total


def rows_of(prompts: int, batch_size: int, step: int, key: Sequence[int]) -> torch.Tensor:
    """Prompts of a step, counted from 0: all of them once a pass, in an order drawn from ``key`` and the pass."""
    passes, at = divmod(step, prompts // batch_size)
    order = np.random.default_rng([*key, passes]).permutation(prompts)
    return torch.from_numpy(order[at * batch_size : (at + 1) * batch_size])


class PolicyStack:
    """R policies in training from one πref, each as it would be trained alone.

    Parameters
    ----------
    reference : mapping of str to tensor, (1, …) each
        πref's parameters.
    heads : int
        Attention heads.
    cells : R policies
    rates : R floats
        Height of each one's learning rate.
    forest : Forest
        The samples of the m prompts.
    share : tensor, shape (m, n, n)
        As in `share_loss`.
    batch_size : int
        Prompts of a step; it divides m.
    device : str
    """

    def __init__(
        self,
        reference: Mapping[str, torch.Tensor],
        heads: int,
        cells: Sequence[Policy],
        rates: Sequence[float],
        forest: Forest,
        share: torch.Tensor,
        batch_size: int,
        device: str,
    ) -> None:
        self.heads, self.batch_size, self.device = heads, batch_size, torch.device(device)
        self.losses = [cell.loss for cell in cells]
        self.beta = torch.tensor([cell.beta for cell in cells], dtype=torch.float32, device=self.device)
        self.rates = torch.tensor(rates, dtype=torch.float64, device=self.device)
        expanded = {k: v.to(self.device).expand(len(cells), *v.shape[1:]) for k, v in reference.items()}
        self.parameters = {
            name: value.clone(memory_format=torch.contiguous_format).requires_grad_()
            for name, value in expanded.items()
        }
        self.optimizer = AdamW(self.parameters)
        self.forest, self.share = forest.to(self.device), share.to(self.device)
        self.alive = torch.ones(len(cells), dtype=torch.bool, device=self.device)
        self.stopped = np.zeros(len(cells), dtype=np.int64)
        self.reference = self.logprobs(forest)

    def step(self, step: int, rows: torch.Tensor, warmup: int, steps: int) -> None:
        """One step of Adam, the rate rising over ``warmup`` steps and falling to 0 along a cosine.

        A policy whose loss or gradient is not finite is stopped before it.
        """
        loss = self._backward(rows)
        gradients = self._gradients()
        sound = torch.isfinite(loss) & torch.isfinite(gradient_norms(gradients))
        self.stopped[(self.alive & ~sound).cpu().numpy()] = step + 1
        self.alive &= sound
        warm = min(1.0, (step + 1) / warmup) if warmup else 1.0
        factor = warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        self.optimizer.step(gradients, self.rates * factor, self.alive)
        self._clear()

    def gradient_norms(self) -> FloatArray:
        """Norm of each policy's gradient of the mean loss over all prompts, (R,)."""
        batches = torch.split(torch.arange(len(self.forest)), self.batch_size)
        for rows in batches:
            self._backward(rows, 1 / len(batches))
        norms = gradient_norms(self._gradients())
        self._clear()
        return norms.cpu().numpy()

    @torch.no_grad()
    def logprobs(self, forest: Forest) -> torch.Tensor:
        """log π of samples, (R, m, n)."""
        parts = []
        for rows in torch.split(torch.arange(len(forest)), self.batch_size):
            parts.append(response_logprobs(self.parameters, self.heads, forest.take(rows).to(self.device)))
        return torch.cat(parts, 1)

    def log_ratio(self, forest: Forest, reference: torch.Tensor) -> torch.Tensor:
        """h of samples whose log πref is ``reference``, (R, m, n); 0 for padding."""
        present = (forest.weight > 0).to(self.device)
        return torch.where(present, self.logprobs(forest) - reference, 0.0)

    @torch.no_grad()
    def mean_loss(self, prompts: int) -> torch.Tensor:
        """Mean loss over the first prompts, (R,)."""
        part = self.forest.take(torch.arange(prompts, device=self.device))
        h = self.log_ratio(part, self.reference[:, :prompts])
        return share_loss(self.losses, self.beta, h, self.share[:prompts])

    def _backward(self, rows: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        rows = rows.to(self.device)
        part = self.forest.take(rows)
        logprobs = response_logprobs(self.parameters, self.heads, part)
        h = torch.where(part.weight > 0, logprobs - self.reference[:, rows], 0.0)
        loss = share_loss(self.losses, self.beta, h, self.share[rows])
        torch.autograd.backward(factor * loss[self.alive].sum())
        return loss.detach()

    def _gradients(self) -> dict[str, torch.Tensor]:
        return {name: p.grad for name, p in self.parameters.items() if p.grad is not None}

    def _clear(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None
