"""What a run trains, and what is said of it before: the model with adapters, and its linearisation in the weights.

Both are a `llm.predicted.models.Model`, so that one loop trains either with the same optimiser, batches and labels.

An adapter's weights enter as ΔW = (α/r) B A. To first order in ΔW

    log π(y)/πref(y) ≈ ⟨J_y, ΔW⟩,    J_y = ∇_W log π(y) at πref,

which is linear in ΔW and bilinear in (A, B). At the start B = 0: the tangent in the *parameters*, which the theory of
kernels speaks of, knows J_y Aᵀ only and holds A fixed (`Linear` with ``fixed`` everywhere). It is right while A stays
where it was drawn. Under Adam A moves by the rate a step whatever its gradient, all along one direction, while what A
was drawn as lies across it: where the gradient is of rank one, G = u vᵀ, after t steps of sign descent

    m(t)/m_B(t) = 1 + lr·t·√(3) d,                                                                        (1)

d the layer's width: A's share of the margin equals B's when lr·t = 1/(√3 d), that is 0.001 for d = 576. So an adapter
under Adam leaves the tangent in its parameters within a few steps, and the linearisation in W need not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gpo_analysis.arrays import FloatArray, IntArray
from llm.forests.problem import Problem
from llm.predicted.data import Pairs
from llm.real.network import Base, Cached, Tensors, adapted, plain, upper_logprobs


class Network:
    """R runs of a model with adapters.

    Parameters
    ----------
    base, cached : Base, sequence of Cached
        The frozen model, and its states for the samples of each part of the problem.
    problem, pairs : Problem, Pairs
    parameters : Tensors
        Adapters of the R runs (`fresh_adapters`); they are updated in place.
    scaling : float
        α/r.
    fixed : sequence of bool
        Of each run whether A stays as it was drawn.
    """

    def __init__(
        self,
        base: Base,
        cached: Sequence[Cached],
        problem: Problem,
        pairs: Pairs,
        parameters: Tensors,
        scaling: float,
        fixed: Sequence[bool],
    ) -> None:
        self.base, self.cached, self.problem, self.pairs = base, cached, problem, pairs
        self.parameters, self.scaling, self.fixed = parameters, scaling, torch.tensor(fixed)
        for value in parameters.values():
            value.requires_grad_()
        self.references = [self._logprobs(one) for one in cached]
        self._rho: torch.Tensor | None = None

    def margins(self, rows: IntArray) -> torch.Tensor:
        """As of `Model`; only trees of the pairs' prompts are computed."""
        prompts, place = np.unique(self.pairs.prompt[rows], return_inverse=True)
        linear = adapted(self.base, self.parameters, self.scaling)
        h = upper_logprobs(self.base, self.cached[0].take(prompts), linear) - self.references[0][:, prompts]
        self._rho = h[:, place, self.pairs.first[rows]] - h[:, place, self.pairs.second[rows]]
        return self._rho.detach()

    def gradient(self, weights: torch.Tensor) -> Tensors:
        """As of `Model`."""
        assert self._rho is not None
        values = torch.autograd.grad((weights * self._rho).sum(), list(self.parameters.values()))
        self._rho = None
        return _held(dict(zip(self.parameters, values, strict=True)), self.fixed)

    def log_ratios(self) -> list[torch.Tensor]:
        """As of `Model`."""
        found = []
        for one, reference in zip(self.cached, self.references, strict=True):
            found.append(torch.where(one.forest.weight > 0, self._logprobs(one) - reference, 0.0))
        return found

    @torch.no_grad()
    def _logprobs(self, cached: Cached) -> torch.Tensor:
        linear = adapted(self.base, self.parameters, self.scaling)
        return torch.cat(
            [upper_logprobs(self.base, cached.take([row]), linear) for row in range(len(cached.states))], 1
        )


class Linear:
    """R runs of the linearisation in the adapted weights.

    Parameters
    ----------
    slopes : sequence of Tensors
        Of each part of the problem J, by weight, (m, n, o · i) each, from `weight_slopes`.
    pairs : Pairs
    parameters : Tensors
        As of `Network`.
    scaling : float
        α/r.
    fixed : sequence of bool
        As of `Network`; where all are, it is the tangent in the adapters' parameters.
    """

    def __init__(
        self,
        slopes: Sequence[Tensors],
        pairs: Pairs,
        parameters: Tensors,
        scaling: float,
        fixed: Sequence[bool],
    ) -> None:
        self.slopes, self.pairs = slopes, pairs
        self.parameters, self.scaling, self.fixed = parameters, scaling, torch.tensor(fixed)
        self._rows: IntArray | None = None

    def margins(self, rows: IntArray) -> torch.Tensor:
        """As of `Model`."""
        self._rows = rows
        prompts, place = np.unique(self.pairs.prompt[rows], return_inverse=True)
        h = self._ratio(0, prompts)
        return h[:, place, self.pairs.first[rows]] - h[:, place, self.pairs.second[rows]]

    def gradient(self, weights: torch.Tensor) -> Tensors:
        """As of `Model`."""
        assert self._rows is not None
        prompts, place = np.unique(self.pairs.prompt[self._rows], return_inverse=True)
        count = next(iter(self.slopes[0].values())).shape[1]
        share = weights.new_zeros(len(weights), len(prompts) * count)
        for side, sign in ((self.pairs.first, 1.0), (self.pairs.second, -1.0)):
            share.index_add_(1, torch.from_numpy(place * count + side[self._rows]), sign * weights)
        found = {}
        for name, slope in self.slopes[0].items():
            a, b = self.parameters[f"{name}.a"], self.parameters[f"{name}.b"]
            whole = sum(share[:, at * count : (at + 1) * count] @ slope[row] for at, row in enumerate(prompts))
            g = self.scaling * whole.view(len(a), b.shape[1], a.shape[2])
            found |= {f"{name}.a": b.transpose(1, 2) @ g, f"{name}.b": g @ a.transpose(1, 2)}
        return _held({name: found[name] for name in self.parameters}, self.fixed)

    def log_ratios(self) -> list[torch.Tensor]:
        """As of `Model`."""
        return [self._ratio(part, range(len(next(iter(one.values()))))) for part, one in enumerate(self.slopes)]

    def _ratio(self, part: int, prompts: Sequence[int] | IntArray) -> torch.Tensor:
        """h of these prompts' responses, (R, m, n)."""
        total: torch.Tensor | float = 0.0
        for name, slope in self.slopes[part].items():
            moved = self.scaling * (self.parameters[f"{name}.b"] @ self.parameters[f"{name}.a"]).flatten(1)
            total = total + torch.stack([moved @ slope[row].T for row in prompts], 1)
        assert isinstance(total, torch.Tensor)
        return total


def _held(gradients: Tensors, fixed: torch.Tensor) -> Tensors:
    """Gradients with that of A set to 0 in the runs that keep it."""
    keeps = fixed[:, None, None]
    return {name: torch.where(keeps, 0.0, g) if name.endswith(".a") else g for name, g in gradients.items()}


def weight_slopes(base: Base, cached: Cached) -> Tensors:
    """J = ∇_W log π(y) at πref of every response, by weight, (m, n, o · i) each; 0 for padding."""
    weights = {name: value.clone().requires_grad_() for name, value in base.weights.items()}
    m, n = cached.forest.weight.shape
    found = {name: value.new_zeros(m, n, value.numel(), requires_grad=False) for name, value in weights.items()}
    for row in range(m):
        logprobs = upper_logprobs(base, cached.take([row]), plain(weights))[0, 0]
        for place in range(int((cached.forest.weight[row] > 0).sum())):
            values = torch.autograd.grad(logprobs[place], list(weights.values()), retain_graph=True)
            for name, value in zip(weights, values, strict=True):
                found[name][row, place] = value.flatten()
    return {name: value.detach() for name, value in found.items()}


def signal_share(linear: Linear, pairs: Pairs, batches: Sequence[IntArray]) -> float:
    """Share of Adam's mean square gradient at πref that is not noise, for `gpo_analysis.training.predicted_course`.

    Over the coordinates of B, E[g]²/E[g²], g a batch's gradient of the mean margin; each coordinate counts as it moves
    the mean margin.

    Parameters
    ----------
    linear : Linear
        At its start, of one run.
    pairs : Pairs
    batches : sequence of array
        The pairs of each batch.
    """
    whole = []
    for rows in batches:
        linear.margins(rows)
        weights = torch.from_numpy(pairs.label[rows] / len(rows))[None]
        g = linear.gradient(weights.to(next(iter(linear.parameters.values()))))
        whole.append(torch.cat([value.flatten() for name, value in g.items() if name.endswith(".b")]).double())
    table = torch.stack(whole)
    first, square = table.mean(0) ** 2, (table**2).mean(0)
    kept = square > 0
    first, square = first[kept], square[kept]
    moved: FloatArray = (first / square.sqrt()).numpy()
    return float((moved * (first / square).numpy()).sum() / moved.sum())
