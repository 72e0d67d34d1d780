"""Policies of one seed and condition trained side by side, and what they make of prompts that they never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from gpo_analysis.arrays import FloatArray
from llm.budget import Stop, TimeIsUp
from llm.data.world import vocabulary
from llm.forests.measures import kl_of_tilt
from llm.forests.problem import Problem, records_of
from llm.forests.stacks import PolicyStack, rows_of
from llm.policy.models import small_llama
from llm.policy.sampling import sample
from llm.policy.tokenizers import train_tokenizer
from llm.rewards.world import WorldReward
from llm.tuned.config import TunedConfig
from llm.tuned.labels import draw_labels

#: How many of the trained prompts are watched along training.
WATCHED = 64


@dataclass(frozen=True)
class TunedCell:
    """One policy: a loss at a β, trained on this many prompts. ``strength`` is βκ, or β where κ is 0."""

    loss: str
    strength: float
    beta: float
    seed: int
    trained: int


@dataclass(frozen=True, eq=False)
class TunedPolicies:
    """R trained policies.

    Attributes
    ----------
    log_ratio : array, shape (R, u, n)
        h = log π/πref of πref's samples for the unseen prompts, in nats; 0 for padding.
    reward, ended : array, shape (R, u, k)
        Of the policy's own samples for the unseen prompts: the reward, and 1 where the sample came to its end.
    kl : array, shape (4, R)
        After each quarter of training, mean over the first trained prompts of the KL of the tilt there.
    loss : array, shape (R,)
        E f(βρ) over those prompts after training.
    stopped : array, shape (R,)
        The step before which a policy was stopped, its loss or gradient not being finite; 0 for the others.
    """

    log_ratio: FloatArray
    reward: FloatArray
    ended: FloatArray
    kl: FloatArray
    loss: FloatArray
    stopped: FloatArray


def train_tuned(
    problem: Problem,
    cells: Sequence[TunedCell],
    config: TunedConfig,
    *,
    progress: bool = False,
    stop: Stop | None = None,
) -> TunedPolicies:
    """Train policies of one seed and condition side by side, each as it would be trained alone.

    Raises
    ------
    ValueError
        For cells of more than one condition.
    TimeIsUp
        Where ``stop``, asked before each step, says so.
    """
    sizes = {cell.trained for cell in cells}
    if len(sizes) != 1:
        raise ValueError(f"cells are of {sorted(sizes)} trained prompts; accepted is one condition")
    trained = sizes.pop()
    seen = problem.seen.part(0, trained)
    judged = problem.held.part(config.trained[-1], config.prompts)
    stack = PolicyStack(
        problem.reference, config.size.heads, cells, [config.rate_at(cell.strength) for cell in cells], seen.forest,
        draw_labels(seen, config.scale, problem.seed), config.batch_size, config.device,
    )  # fmt: skip
    before = stack.logprobs(judged.forest)
    watched = seen.part(0, min(trained, WATCHED))
    start = stack.logprobs(watched.forest)
    trace, title = [], f"seed {problem.seed}, {trained} prompts, {len(cells)} policies"
    with tqdm(total=config.steps, desc=title, disable=not progress) as bar:
        for step in range(config.steps):
            if stop is not None and stop():
                raise TimeIsUp(f"stopped after step {step} of {config.steps}")
            rows = rows_of(trained, config.batch_size, step, [problem.seed, 2])
            stack.step(step, rows, config.warmup, config.steps)
            bar.update()
            if (step + 1) % (config.steps // 4) == 0:
                h = stack.log_ratio(watched.forest, start)
                trace.append(kl_of_tilt(h, watched.forest.weight.to(h.device)).mean(1).cpu().numpy())
    reward, ended = _own_samples(problem, stack, config, stop)
    return TunedPolicies(
        stack.log_ratio(judged.forest, before).cpu().numpy(),
        reward,
        ended,
        np.stack(trace),
        stack.mean_loss(len(watched.forest)).cpu().numpy(),
        stack.stopped.astype(np.float64),
    )


def _own_samples(
    problem: Problem, stack: PolicyStack, config: TunedConfig, stop: Stop | None
) -> tuple[FloatArray, FloatArray]:
    """Rewards of each policy's own samples for the unseen prompts, and which came to their end; (R, u, k) each.

    All policies of a seed are given the same noise.
    """
    tokenizer = train_tokenizer(vocabulary())
    model: Any = small_llama(config.size, tokenizer, seed=0).to(config.device)
    asked = problem.held.prompts[config.trained[-1] :]
    records = records_of(config, problem.seed)[config.trained[-1] :]
    gold = WorldReward(records)
    prompts = [record.prompt for record in records for _ in range(config.generated)]
    rewards, ended = [], []
    for run, alive in enumerate(stack.alive.tolist()):
        if stop is not None and stop():
            raise TimeIsUp(f"stopped before the samples of policy {run}")
        if not alive:
            rewards.append(np.full(len(prompts), np.nan))
            ended.append(np.zeros(len(prompts)))
            continue
        model.load_state_dict({name: value[run].detach() for name, value in stack.parameters.items()})
        drawn = sample(
            model, tokenizer, asked, seed=problem.seed, samples=config.generated, max_new_tokens=config.max_new_tokens,
            batch_size=8192,
        )  # fmt: skip
        texts = [text.strip() for text in tokenizer.batch_decode(drawn.tokens, skip_special_tokens=True)]
        rewards.append(gold(prompts, texts))
        ended.append(drawn.finished.astype(np.float64))
    shape = (len(rewards), len(asked), config.generated)
    return np.stack(rewards).reshape(shape), np.stack(ended).reshape(shape)
