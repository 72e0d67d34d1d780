"""Policies trained on all the pairs of a batch of prompts, until they rest.

The loss of a prompt with distinct responses y_i of shares w_i among its samples is that of two independent draws,

    E f(βρ) = 2 Σ_ij w_i w_j p_ij f(β (h_i − h_j)),   h = log π/πref,   p_ij = σ(scale · (r_i − r_j)),

its diagonal being f(0) (Tang et al. 2024, arXiv 2402.05749, with soft labels). A step takes some prompts with all
their pairs: what is random in it is which prompts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from gpo_analysis.arrays import FloatArray
from llm.budget import Stop, TimeIsUp
from llm.forests.measures import kl_of_tilt
from llm.forests.problem import Problem, Sampled
from llm.forests.stacks import PolicyStack, rows_of, share_loss
from llm.optimum.config import OptimumConfig


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
    return share_loss(losses, beta, log_ratio, 2 * weight[:, :, None] * weight[:, None, :] * p)


def train_piece(
    problem: Problem,
    cells: Sequence[PolicyCell],
    config: OptimumConfig,
    *,
    progress: bool = False,
    stop: Stop | None = None,
) -> Trained:
    """Train policies of one seed side by side, each as it would be trained alone; a TimeIsUp where ``stop`` says so."""
    run = _Piece(problem, list(cells), config)
    first = run.gradient_norms()
    tenth = config.steps // 10
    trace = []
    title = f"seed {problem.seed}, {len(cells)} policies"
    with tqdm(total=config.steps, desc=title, disable=not progress) as bar:
        for step in range(config.steps):
            if stop is not None and stop():
                raise TimeIsUp(f"stopped after step {step} of {config.steps}")
            run.take_step(step)
            bar.update()
            if (step + 1) % tenth == 0:
                trace.append(run.measure())
    kls, losses = zip(*trace, strict=True)
    return Trained(
        run.log_ratios(problem.seen, run.reference).cpu().numpy(),
        run.log_ratios(problem.held, run.reference_held).cpu().numpy(),
        run.reference[0].cpu().numpy(),
        run.reference_held[0].cpu().numpy(),
        np.arange(1.0, 11.0, dtype=np.float64) * tenth,
        np.stack(kls),
        np.stack(losses),
        np.stack([first, run.gradient_norms()]),
        run.stopped.astype(np.float64),
    )


class _Piece(PolicyStack):
    """R policies in training on all pairs, each in the share that two draws have them."""

    def __init__(self, problem: Problem, cells: list[PolicyCell], config: OptimumConfig) -> None:
        weight = problem.seen.forest.weight.float()
        rewards = torch.from_numpy(problem.seen.rewards)
        self.p = torch.sigmoid(config.scale * (rewards[:, :, None] - rewards[:, None, :])).float().to(config.device)
        super().__init__(
            problem.reference, config.size.heads, cells, [config.rate_at(cell.strength) for cell in cells],
            problem.seen.forest, 2 * weight[:, :, None] * weight[:, None, :] * self.p.cpu(), config.batch_size,
            config.device,
        )  # fmt: skip
        self.problem, self.config = problem, config
        # of each policy and not of one: a product's rounding may depend on how many stand in it
        self.reference_held = self.logprobs(problem.held.forest)

    def take_step(self, step: int) -> None:
        """One step of Adam; a policy whose loss or gradient is not finite is stopped before it."""
        config = self.config
        order = [self.problem.seed, 2]
        self.step(step, rows_of(config.prompts, config.batch_size, step, order), config.warmup, config.steps)

    def measure(self) -> tuple[FloatArray, FloatArray]:
        """Mean KL on the support and E f(βρ) over all prompts, (R,) each."""
        h = self.log_ratios(self.problem.seen, self.reference)
        with torch.no_grad():
            loss = pair_loss(self.losses, self.beta.double(), h.double(), self.forest.weight, self.p.double())
        return kl_of_tilt(h, self.forest.weight).mean(1).cpu().numpy(), loss.cpu().numpy()

    def log_ratios(self, sampled: Sampled, reference: torch.Tensor) -> torch.Tensor:
        """h of samples, (R, m, n); 0 for padding."""
        return self.log_ratio(sampled.forest, reference)
