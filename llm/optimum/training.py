"""Policies trained on all the pairs of a batch of prompts, until they rest.

The loss of a prompt with distinct responses y_i of shares w_i among its samples is that of two independent draws,

    E f(βρ) = 2 Σ_ij w_i w_j p_ij f(β (h_i − h_j)),   h = log π/πref,   p_ij = σ(scale · (r_i − r_j)),

its diagonal being f(0) (Tang et al. 2024, arXiv 2402.05749, with soft labels). A step takes some prompts with all
their pairs: what is random in it is which prompts alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_loss
from llm.forests.measures import kl_of_tilt
from llm.forests.network import response_logprobs
from llm.forests.problem import Problem, Sampled
from llm.optimum.config import OptimumConfig
from llm.training.optimizers import AdamW, gradient_norms


@dataclass(frozen=True)
class PolicyCell:
    """One policy: a loss at a β, and its seed. ``strength`` is βκ, or β where κ is 0."""

    loss: str
    strength: float
    beta: float
    seed: int


@dataclass(frozen=True, eq=False)
class Trained:
    """R trained policies.

    Attributes
    ----------
    log_ratio, held_log_ratio : array, shape (R, m, n) and (R, m, n′)
        h = log π/πref of the samples, of those that were trained on and of the others, in nats; 0 for padding.
    reference, held_reference : array, shape (m, n) and (m, n′)
        log πref of the same samples.
    steps : array, shape (k,)
        When KL and loss were measured: after every tenth of the steps.
    kl, loss : array, shape (k, R)
        Mean over the prompts of the KL on the support (`kl_of_tilt`) and of E f(βρ).
    gradient : array, shape (2, R)
        Norm of the gradient of the mean loss over all prompts, at πref and at the end.
    stopped : array, shape (R,)
        The step before which a policy was stopped, its loss or gradient not being finite; 0 for the others.
    """

    log_ratio: FloatArray
    held_log_ratio: FloatArray
    reference: FloatArray
    held_reference: FloatArray
    steps: FloatArray
    kl: FloatArray
    loss: FloatArray
    gradient: FloatArray
    stopped: FloatArray


def pair_loss(
    losses: Sequence[str], beta: torch.Tensor, log_ratio: torch.Tensor, weight: torch.Tensor, p: torch.Tensor
) -> torch.Tensor:
    """E f(βρ) of R policies, the mean over m prompts, shape (R,), with autograd.

    Parameters
    ----------
    losses : R names
    beta : tensor, shape (R,)
    log_ratio : tensor, shape (R, m, n)
    weight : tensor, shape (m, n)
    p : tensor, shape (m, n, n)
        ``p[·, i, j] = p(i ≻ j)``.
    """
    fitted = beta[:, None, None] * log_ratio
    share = 2 * weight[:, :, None] * weight[:, None, :] * p
    # padding stands at h = 0, as far from the others as may be: where f is inf there, 0 · inf would be NaN
    margin = torch.where(share > 0, fitted[..., :, None] - fitted[..., None, :], 0.0)
    total = margin.new_zeros(len(losses))
    for name in dict.fromkeys(losses):
        runs = [run for run, other in enumerate(losses) if other == name]
        total[runs] = (share * get_loss(name)(margin[runs])).sum((2, 3)).mean(1)
    return total


def train_piece(
    problem: Problem, cells: Sequence[PolicyCell], config: OptimumConfig, *, progress: bool = False
) -> Trained:
    """Train policies of one seed side by side, each as it would be trained alone."""
    run = _Piece(problem, list(cells), config)
    first = run.gradient_norms()
    tenth = config.steps // 10
    trace = []
    title = f"seed {problem.seed}, {len(cells)} policies"
    with tqdm(total=config.steps, desc=title, disable=not progress) as bar:
        for step in range(config.steps):
            run.take_step(step)
            bar.update()
            if (step + 1) % tenth == 0:
                trace.append(run.measure())
    kls, losses = zip(*trace, strict=True)
    return Trained(
        run.log_ratios(problem.seen, run.reference_seen).cpu().numpy(),
        run.log_ratios(problem.held, run.reference_held).cpu().numpy(),
        run.reference_seen[0].cpu().numpy(),
        run.reference_held[0].cpu().numpy(),
        np.arange(1.0, 11.0, dtype=np.float64) * tenth,
        np.stack(kls),
        np.stack(losses),
        np.stack([first, run.gradient_norms()]),
        run.stopped.astype(np.float64),
    )


class _Piece:
    """R policies in training."""

    def __init__(self, problem: Problem, cells: list[PolicyCell], config: OptimumConfig) -> None:
        self.problem, self.config, self.heads = problem, config, config.size.heads
        self.losses = [cell.loss for cell in cells]
        self.device = torch.device(config.device)
        self.beta = torch.tensor([cell.beta for cell in cells], dtype=torch.float32, device=self.device)
        heights = [config.rate_at(cell.strength) for cell in cells]
        self.rates = torch.tensor(heights, dtype=torch.float64, device=self.device)
        expanded = {k: v.to(self.device).expand(len(cells), *v.shape[1:]) for k, v in problem.reference.items()}
        self.parameters = {name: value.contiguous().requires_grad_() for name, value in expanded.items()}
        self.optimizer = AdamW(self.parameters)
        self.forest = problem.seen.forest.to(self.device)
        self.weight = self.forest.weight.float()
        rewards = torch.from_numpy(problem.seen.rewards).to(self.device)
        self.p = torch.sigmoid(config.scale * (rewards[:, :, None] - rewards[:, None, :])).float()
        self.alive = torch.ones(len(cells), dtype=torch.bool, device=self.device)
        self.stopped = np.zeros(len(cells), dtype=np.int64)
        # of each policy and not of one: a product's rounding may depend on how many stand in it
        self.reference_seen, self.reference_held = self._logprobs(problem.seen), self._logprobs(problem.held)

    def take_step(self, step: int) -> None:
        """One step of Adam; a policy whose loss or gradient is not finite is stopped before it."""
        config = self.config
        loss = self._backward(self._rows(step))
        gradients = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        sound = torch.isfinite(loss) & torch.isfinite(gradient_norms(gradients))
        broken = (self.alive & ~sound).cpu().numpy()
        self.stopped[broken] = step + 1
        self.alive &= sound
        warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
        factor = warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        self.optimizer.step(gradients, self.rates * factor, self.alive)
        self._clear()

    def measure(self) -> tuple[FloatArray, FloatArray]:
        """Mean KL on the support and E f(βρ) over all prompts, (R,) each."""
        h = self.log_ratios(self.problem.seen, self.reference_seen)
        with torch.no_grad():
            loss = pair_loss(self.losses, self.beta.double(), h.double(), self.forest.weight, self.p.double())
        return kl_of_tilt(h, self.forest.weight).mean(1).cpu().numpy(), loss.cpu().numpy()

    def log_ratios(self, sampled: Sampled, reference: torch.Tensor) -> torch.Tensor:
        """h of samples, (R, m, n); 0 for padding."""
        present = (sampled.forest.weight > 0).to(self.device)
        return torch.where(present, self._logprobs(sampled) - reference, 0.0)

    def gradient_norms(self) -> FloatArray:
        """Norm of each policy's gradient of the mean loss over all prompts, (R,)."""
        batches = torch.split(torch.arange(self.config.prompts), self.config.batch_size)
        for rows in batches:
            self._backward(rows, 1 / len(batches))
        norms = gradient_norms({name: p.grad for name, p in self.parameters.items() if p.grad is not None})
        self._clear()
        return norms.cpu().numpy()

    def _backward(self, rows: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        rows = rows.to(self.device)
        logprobs = response_logprobs(self.parameters, self.heads, self.forest.take(rows))
        h = torch.where(self.weight[rows] > 0, logprobs - self.reference_seen[:, rows], 0.0)
        loss = pair_loss(self.losses, self.beta, h, self.weight[rows], self.p[rows])
        torch.autograd.backward(factor * loss[self.alive].sum())
        return loss.detach()

    def _clear(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None

    def _rows(self, step: int) -> torch.Tensor:
        """Prompts of a step: all of them once a pass, in an order drawn from seed and pass."""
        passes, at = divmod(step, self.config.prompts // self.config.batch_size)
        order = np.random.default_rng([self.problem.seed, 2, passes]).permutation(self.config.prompts)
        return torch.from_numpy(order[at * self.config.batch_size : (at + 1) * self.config.batch_size])

    @torch.no_grad()
    def _logprobs(self, sampled: Sampled) -> torch.Tensor:
        """log π of samples, (R, m, n)."""
        parts = []
        for rows in torch.split(torch.arange(self.config.prompts), self.config.batch_size):
            part = sampled.forest.take(rows).to(self.device)
            parts.append(response_logprobs(self.parameters, self.heads, part))
        return torch.cat(parts, 1)
