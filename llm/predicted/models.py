"""Two things that a run trains: the network, and its tangent at πref.

Both give ρ of a batch of pairs and the gradient of a weighted sum of it, so that one loop trains either with the same
optimiser, batches and labels (`llm.predicted.training`). The tangent is linear in its parameters δ,

    log π(y)/πref(y) ≈ J_y · δ,   J_y = ∇_θ log π_θ(y) at πref,

hence ρ = (J_y − J_y′)·δ: no forward pass is left, and nothing is fitted (Jacot et al. 2018, arXiv 1806.07572; Malladi
et al. 2023, arXiv 2210.05643). J is computed in the dtype of the parameters by one backward pass a prompt: as many
copies of πref as the prompt has responses stand side by side, and the r-th gives the r-th response's gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from gpo_analysis.arrays import FloatArray, IntArray
from llm.forests.network import response_logprobs
from llm.forests.problem import Problem, Sampled, Tensors
from llm.predicted.data import Pairs


class Model(Protocol):
    """R runs side by side.

    Attributes
    ----------
    parameters : dict
        (R, …) each, updated in place by the optimiser.
    """

    parameters: Tensors

    def margins(self, rows: IntArray) -> torch.Tensor:
        """ρ = h(first) − h(second) of these pairs, (R, B), h = log π/πref."""

    def gradient(self, weights: torch.Tensor) -> Tensors:
        """Gradient of Σ weights · ρ over the pairs of the last `margins`; weights (R, B)."""

    def log_ratios(self) -> list[torch.Tensor]:
        """h of all samples, (R, m, n) of each part of the problem; 0 for padding."""


class Network:
    """R networks, started from πref."""

    def __init__(self, problem: Problem, pairs: Pairs, heads: int, runs: int, device: str = "cpu") -> None:
        self.problem, self.pairs, self.heads, self.device = problem, pairs, heads, torch.device(device)
        start = {k: v.to(self.device).expand(runs, *v.shape[1:]) for k, v in problem.reference.items()}
        self.parameters = {
            name: value.clone(memory_format=torch.contiguous_format).requires_grad_() for name, value in start.items()
        }
        self.forest = problem.seen.forest.to(self.device)
        # of each run and not of one: a product's rounding may depend on how many stand in it
        self.references = [self._logprobs(part) for _, part in problem.parts()]
        self._rho: torch.Tensor | None = None

    def margins(self, rows: IntArray) -> torch.Tensor:
        """As of `Model`; only trees of the pairs' prompts are computed."""
        prompts, place = np.unique(self.pairs.prompt[rows], return_inverse=True)
        where = torch.from_numpy(prompts).to(self.device)
        h = response_logprobs(self.parameters, self.heads, self.forest.take(where)) - self.references[0][:, where]
        first, second = (torch.from_numpy(c[rows]).to(self.device) for c in (self.pairs.first, self.pairs.second))
        at = torch.from_numpy(place).to(self.device)
        self._rho = h[:, at, first] - h[:, at, second]
        return self._rho.detach()

    def gradient(self, weights: torch.Tensor) -> Tensors:
        """As of `Model`."""
        assert self._rho is not None
        values = torch.autograd.grad((weights * self._rho).sum(), list(self.parameters.values()))
        self._rho = None
        return dict(zip(self.parameters, values, strict=True))

    def log_ratios(self) -> list[torch.Tensor]:
        """As of `Model`."""
        found = []
        for (_, part), reference in zip(self.problem.parts(), self.references, strict=True):
            present = (part.forest.weight > 0).to(self.device)
            found.append(torch.where(present, self._logprobs(part) - reference, 0.0))
        return found

    @torch.no_grad()
    def _logprobs(self, sampled: Sampled) -> torch.Tensor:
        parts = []
        for rows in torch.split(torch.arange(len(sampled.forest)), 8):
            parts.append(response_logprobs(self.parameters, self.heads, sampled.forest.take(rows).to(self.device)))
        return torch.cat(parts, 1)


class Tangent:
    """R linear models of a problem, started from δ = 0.

    Parameters
    ----------
    jacobians : sequence of tensor, (m, n, P) each
        Of the parts of the problem, from `jacobian`.
    pairs : Pairs
    runs : int
    """

    def __init__(self, jacobians: Sequence[torch.Tensor], pairs: Pairs, runs: int) -> None:
        self.jacobians, self.pairs = list(jacobians), pairs
        self.parameters = {"delta": jacobians[0].new_zeros(runs, jacobians[0].shape[-1])}
        self._features: torch.Tensor | None = None

    def margins(self, rows: IntArray) -> torch.Tensor:
        """As of `Model`."""
        self._features = features(self.jacobians[0], self.pairs, rows)
        return self.parameters["delta"] @ self._features.T

    def gradient(self, weights: torch.Tensor) -> Tensors:
        """As of `Model`."""
        assert self._features is not None
        return {"delta": weights @ self._features}

    def log_ratios(self) -> list[torch.Tensor]:
        """As of `Model`."""
        delta = self.parameters["delta"]
        return [(delta @ one.flatten(0, 1).T).view(len(delta), *one.shape[:2]) for one in self.jacobians]


def features(jacobian_seen: torch.Tensor, pairs: Pairs, rows: IntArray) -> torch.Tensor:
    """∇ρ of pairs at πref, (B, P)."""
    prompt, first, second = (torch.from_numpy(c[rows]) for c in (pairs.prompt, pairs.first, pairs.second))
    device = jacobian_seen.device
    prompt, first, second = prompt.to(device), first.to(device), second.to(device)
    return jacobian_seen[prompt, first] - jacobian_seen[prompt, second]


def jacobian(problem: Problem, sampled: Sampled, heads: int, device: str = "cpu", chunk: int = 16) -> torch.Tensor:
    """∇ log π of every response at πref, (m, n, P), the parameters in the order of their names in πref; 0 for padding.

    Parameters
    ----------
    problem, sampled : Problem, Sampled
        πref, and the responses.
    heads : int
        Attention heads.
    device : str
    chunk : int
        Responses of one backward pass.
    """
    counts = (sampled.forest.weight > 0).sum(1).tolist()
    size = sum(value[0].numel() for value in problem.reference.values())
    dtype = next(iter(problem.reference.values())).dtype
    found = torch.zeros(len(counts), sampled.forest.weight.shape[1], size, dtype=dtype, device=device)
    for row, count in enumerate(counts):
        tree = sampled.forest.take(torch.tensor([row])).to(device)
        for start in range(0, count, chunk):
            width = min(chunk, count - start)
            copies = {
                name: value.to(device).expand(width, *value.shape[1:]).clone(memory_format=torch.contiguous_format)
                for name, value in problem.reference.items()
            }
            for value in copies.values():
                value.requires_grad_()
            logprobs = response_logprobs(copies, heads, tree)[:, 0, start : start + width]
            gradients = torch.autograd.grad(logprobs.diagonal().sum(), list(copies.values()))
            found[row, start : start + width] = torch.cat([g.flatten(1) for g in gradients], 1)
    return found


def gradient_moments(jacobian_seen: torch.Tensor, pairs: Pairs, batches: Sequence[int]) -> FloatArray:
    """What the laws of `gpo_analysis.training` need of the pairs' gradients φ at πref, over coordinates k.

    Returns
    -------
    array, shape (len(batches), 4)
        For each batch B: B; Σ_k √E[φ_k²]; Σ_k E[φ_k²]; and the share of Adam's mean square gradient,
        E[φ_k]² + Var(φ_k)/B, that is the first term, each coordinate counted as it moves the mean margin.
    """
    first = jacobian_seen.new_zeros(jacobian_seen.shape[-1], dtype=torch.float64)
    second = torch.zeros_like(first)
    for rows in np.array_split(np.arange(len(pairs)), -(-len(pairs) // 64)):
        phi = features(jacobian_seen, pairs, rows) * torch.from_numpy(pairs.label[rows]).to(jacobian_seen)[:, None]
        first += phi.sum(0)
        second += (phi * phi).sum(0)
    first, second = first / len(pairs), second / len(pairs)
    found = []
    for size in batches:
        square = first**2 + (second - first**2).clamp(min=0.0) / size
        moved = torch.where(square > 0, first**2 / square.sqrt().clamp(min=1e-300), 0.0)
        share = torch.where(square > 0, first**2 / square.clamp(min=1e-300), 0.0)
        signal = float((moved * share).sum() / moved.sum())
        found.append([float(size), float(second.sqrt().sum()), float(second.sum()), signal])
    return np.array(found)
