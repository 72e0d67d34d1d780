"""A seed's problem: πref, prompts, samples of πref with their exact rewards; and its population optimum.

The optimum is solved on levels of reward: under Bradley–Terry labels responses of equal reward are compared alike with
all others, so that by convexity and symmetry a minimiser gives them equal log π/πref (for Savage, not convex, the
minimiser of each pair's risk, logit η = scale · (r_i − r_j), is reached by all pairs at once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray
from llm.budget import Stop, TimeIsUp
from llm.data.types import Example
from llm.data.world import demonstrations, generate, vocabulary
from llm.forests.config import ReferenceConfig, SampledConfig
from llm.forests.network import response_logprobs, stack_parameters
from llm.forests.trees import Forest, plant, side_by_side
from llm.policy.models import small_llama
from llm.policy.sampling import sample
from llm.policy.tokenizers import encode_prompts, encode_responses, train_tokenizer
from llm.rewards.world import WorldReward
from llm.training.optimizers import AdamW, clip_gradients, gradient_norms

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Sampled:
    """Samples of πref for m prompts.

    Attributes
    ----------
    prompts, samples : list of lists of int, list of lists of lists of int
        As ids.
    forest : Forest
        Their trees.
    rewards : array, shape (m, n)
        Of the distinct samples, in the order of the trees; 0 for padding.
    """

    prompts: list[list[int]]
    samples: list[list[list[int]]]
    forest: Forest
    rewards: FloatArray

    @property
    def distinct_rewards(self) -> list[list[float]]:
        """The rewards without padding."""
        counts = (self.forest.weight > 0).sum(1).tolist()
        return [row[:count] for row, count in zip(self.rewards.tolist(), counts, strict=True)]

    def part(self, start: int, stop: int) -> Sampled:
        """Those of the prompts from ``start`` to before ``stop``, in trees no wider than they need."""
        rows = slice(start, stop)
        return _grown(self.prompts[rows], self.samples[rows], self.distinct_rewards[rows])


@dataclass(frozen=True, eq=False)
class Problem:
    """What the policies of a seed are trained on.

    Attributes
    ----------
    reference : Tensors
        πref's parameters, (1, …) each, by name.
    seen, held : Sampled
        Samples that are trained on, and further ones of the same prompts that are not.
    """

    seed: int
    reference: Tensors
    seen: Sampled
    held: Sampled

    def parts(self) -> tuple[tuple[str, Sampled], tuple[str, Sampled]]:
        """Both kinds of samples by name."""
        return ("seen", self.seen), ("held", self.held)


def make_references(
    config: SampledConfig, seeds: Sequence[int], *, progress: bool = False, stop: Stop | None = None
) -> list[Tensors]:
    """Fine-tune πref for each seed, all side by side: initial weights, records, demonstrations and order are its own.

    Returns
    -------
    list of dict
        Parameters by name, (1, …) each, on the processor.

    Raises
    ------
    FloatingPointError
        Where a loss is not finite.
    TimeIsUp
        Where ``stop``, asked before each step, says so.
    """
    plan, tokenizer = config.reference, train_tokenizer(vocabulary())
    forests = [_demonstrated(config, seed, tokenizer) for seed in seeds]
    pool = side_by_side(forests)
    start = stack_parameters([small_llama(config.size, tokenizer, seed=seed) for seed in seeds])
    parameters = {name: value.to(config.device).requires_grad_() for name, value in start.items()}
    optimizer, alive = AdamW(parameters, betas=(0.9, 0.95), epsilon=1e-8), _alive(len(seeds), config.device)
    runs = torch.arange(len(seeds))[:, None]
    with tqdm(total=plan.steps, desc="fine-tuning πref", disable=not progress) as bar:
        for step in range(plan.steps):
            if stop is not None and stop():
                raise TimeIsUp(f"fine-tuning πref stopped after step {step} of {plan.steps}")
            rows = torch.from_numpy(np.stack([_rows(plan, seed, step) for seed in seeds]))
            batch = Forest(*(getattr(pool, name)[runs, rows] for name in Forest.__dataclass_fields__)).to(config.device)
            logprobs = response_logprobs(parameters, config.size.heads, batch)
            weight = batch.weight.to(logprobs)
            loss = -(logprobs * weight).sum((1, 2)) / (batch.tokens * weight).sum((1, 2))
            if not bool(torch.isfinite(loss).all()):
                raise FloatingPointError(f"the loss of fine-tuning is {loss.tolist()} at step {step}")
            torch.autograd.backward(loss.sum())
            gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
            clip_gradients(gradients, gradient_norms(gradients), 1.0)
            optimizer.step(gradients, torch.full((len(seeds),), plan.rate(step), dtype=torch.float64), alive)
            for parameter in parameters.values():
                parameter.grad = None
            bar.set_postfix_str(f"loss {float(loss.detach().mean()):.3f}", refresh=False)
            bar.update()
    return [{name: p.detach()[i : i + 1].cpu() for name, p in parameters.items()} for i in range(len(seeds))]


def records_of(config: SampledConfig, seed: int) -> list[Example]:
    """The records that a seed's prompts are made of, in their order."""
    return generate(config.prompts, seed=_stream(seed, "prompts"), config=config.world)


def make_problem(config: SampledConfig, seed: int, reference: Tensors) -> Problem:
    """Draw a seed's prompts and πref's samples for them."""
    tokenizer = train_tokenizer(vocabulary())
    model = small_llama(config.size, tokenizer, seed=seed)
    model.load_state_dict({name: value[0] for name, value in reference.items()})
    examples = records_of(config, seed)
    prompts = encode_prompts(tokenizer, [example.prompt for example in examples])
    count = config.samples + config.held_samples
    drawn = sample(
        model.to(config.device), tokenizer, prompts, seed=_stream(seed, "samples"), samples=count,
        max_new_tokens=config.max_new_tokens, batch_size=8192,
    )  # fmt: skip
    rows = [drawn.tokens[at : at + count] for at in range(0, len(drawn), count)]
    reward = WorldReward(examples)
    seen = _sampled(tokenizer, examples, reward, prompts, [row[: config.samples] for row in rows])
    held = _sampled(tokenizer, examples, reward, prompts, [row[config.samples :] for row in rows])
    return Problem(seed, reference, seen, held)


def problem_to_json(problem: Problem) -> dict[str, Any]:
    """Prompts, samples and rewards as plain JSON values; πref's parameters are left out."""
    parts = {name: {"samples": one.samples, "rewards": one.distinct_rewards} for name, one in problem.parts()}
    return {"seed": problem.seed, "prompts": problem.seen.prompts, **parts}


def problem_from(values: dict[str, Any], reference: Tensors) -> Problem:
    """Read what `problem_to_json` wrote."""
    parts = [_grown(values["prompts"], values[name]["samples"], values[name]["rewards"]) for name in ("seen", "held")]
    return Problem(values["seed"], reference, *parts)


@dataclass(frozen=True, eq=False)
class Optimum:
    """The population optimum of one loss on a seed's problem, as g = βh, whatever β.

    Attributes
    ----------
    seen : array, shape (m, n)
        g of the samples trained on, of the problem that they make (μ their shares): what training minimises.
    held : array, shape (m, n′)
        g of the others, of the problem that both make together.
    unique : bool
        Whether g is unique on every prompt; else it is the minimiser of least norm.
    """

    seen: FloatArray
    held: FloatArray
    unique: bool


def population_optimum(problem: Problem, loss: str, scale: float) -> Optimum:
    """Solve every prompt's problem.

    Raises
    ------
    ArithmeticError
        Where a prompt has no minimiser.
    """
    seen, held = np.zeros(problem.seen.rewards.shape), np.zeros(problem.held.rewards.shape)
    unique = True
    for row in range(len(seen)):
        own, mass = _present(problem.seen, row)
        other, more = _present(problem.held, row)
        values, one = reward_of_levels(scale * problem.seen.rewards[row, own], mass, loss)
        seen[row, own] = values
        everyone = np.concatenate([problem.seen.rewards[row, own], problem.held.rewards[row, other]])
        values, two = reward_of_levels(scale * everyone, np.concatenate([mass, more]) / 2, loss)
        held[row, other] = values[own.sum() :]
        unique &= one and two
    return Optimum(seen, held, unique)


def reward_of_levels(rewards: FloatArray, mass: FloatArray, loss: str) -> tuple[FloatArray, bool]:
    """Fitted g = βh of one prompt's responses, centred under μ, and whether it is unique.

    Parameters
    ----------
    rewards, mass : array, shape (n,)
        Rewards in units of the labels' temperature, and μ.
    loss : str

    Examples
    --------
    >>> g, unique = reward_of_levels(np.array([0.0, 1.0, 1.0]), np.array([0.5, 0.25, 0.25]), "logistic")
    >>> g.round(6).tolist(), unique  # the reward itself, as for every loss whose link is the logit
    ([-0.5, 0.5, 0.5], True)
    """
    levels, index = np.unique(np.round(rewards, 9), return_inverse=True)
    shares = np.bincount(index, weights=mass) / mass.sum()
    if len(levels) == 1:
        return np.zeros(len(rewards)), True
    fit = gpo.PreferenceProblem(gpo.bradley_terry(levels), shares, shares).fit(loss)
    if fit.minimiser is None:
        raise ArithmeticError(f"{loss} on rewards {levels.tolist()}: {fit.status}, {fit.reason}")
    g = fit.minimiser - shares @ fit.minimiser
    return g[index], fit.converged


def _present(sampled: Sampled, row: int) -> tuple[Any, FloatArray]:
    weight = sampled.forest.weight[row].numpy()
    return weight > 0, weight[weight > 0]


def _demonstrated(config: SampledConfig, seed: int, tokenizer: Any) -> Forest:
    plan = config.reference
    examples = generate(plan.pool, seed=_stream(seed, "fine-tuning"), config=config.world)
    shown = demonstrations(examples, seed=seed, config=config.world, copies=plan.demonstrations)
    responses = encode_responses(tokenizer, [one.target for one in shown])
    grouped = [responses[at : at + plan.demonstrations] for at in range(0, len(responses), plan.demonstrations)]
    return plant(encode_prompts(tokenizer, [example.prompt for example in examples]), grouped)[0]


def _rows(plan: ReferenceConfig, seed: int, step: int) -> Any:
    per_pass = plan.pool // plan.batch_size
    order = np.random.default_rng([seed, 1, step // per_pass]).permutation(plan.pool)
    at = step % per_pass * plan.batch_size
    return order[at : at + plan.batch_size]


def _sampled(
    tokenizer: Any, examples: Sequence[Example], reward: WorldReward, prompts: list[list[int]], rows: list[Any]
) -> Sampled:
    _, distinct = plant(prompts, rows)
    rewards = []
    for example, responses in zip(examples, distinct, strict=True):
        texts = [text.strip() for text in tokenizer.batch_decode([*map(list, responses)], skip_special_tokens=True)]
        rewards.append(reward([example.prompt] * len(texts), texts).tolist())
    return _grown(prompts, rows, rewards)


def _grown(prompts: list[list[int]], samples: list[list[list[int]]], rewards: list[list[float]]) -> Sampled:
    forest, _ = plant(prompts, samples)
    table = np.zeros(tuple(forest.weight.shape))
    for row, values in enumerate(rewards):
        table[row, : len(values)] = values
    return Sampled(prompts, samples, forest, table)


def _stream(seed: int, name: str) -> int:
    """A seed of its own for each kind of draw."""
    return 1_000 * (seed + 1) + ("prompts", "samples", "fine-tuning").index(name)


def _alive(runs: int, device: str) -> torch.Tensor:
    return torch.ones(runs, dtype=torch.bool, device=device)
