"""The KL divergence KL(πθ‖πref) of a policy in training, measured on responses that it samples itself."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object, is_peft_model  # type: ignore[import-untyped]
from trl.models.utils import unwrap_model_for_generation

from gpo_analysis.integrations.preference_sets import some_rows
from gpo_analysis.integrations.sampling import (
    accepts_positions,
    cache_name,
    end_tokens,
    position_limit,
    sample_responses,
)
from gpo_analysis.integrations.sequences import sequence_kl
from gpo_analysis.progress import Progress, followed


class KlEstimate(NamedTuple):
    """A mean over prompts.

    Attributes
    ----------
    kl, stderr : float
        Nats, and its standard error; inf for one prompt.
    finished : float
        Share of the sampled responses that ended by themselves.
    """

    kl: float
    stderr: float
    finished: float


class OnPolicyKl:
    """Measures a `GPOTrainer`'s policy, shared among its processes.

    Parameters
    ----------
    trainer : GPOTrainer
        Of which ``kl_prompts`` and ``kl_max_new_tokens`` say how much is sampled.
    tokenizer : tokenizer
        Whose pad and end tokens are used.
    progress : bool or function
        A bar where standard error is a terminal, or a function of the share done and what is next.
    """

    def __init__(self, trainer: Any, tokenizer: Any, progress: bool | Progress = False) -> None:
        self.progress = progress if trainer.accelerator.process_index == 0 else False
        self.trainer, self.accelerator = trainer, trainer.accelerator
        self.inner = self.accelerator.unwrap_model(trainer.model)
        self.ends = end_tokens(self.inner, tokenizer)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self.most = int(trainer.kl_max_new_tokens)
        # of a sharded model every process must compute equally often
        self.sharded = self.accelerator.num_processes > 1 and (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
        # virtual tokens are prepended at every call: with a cache they would come again for each token
        prompted = is_peft_model(self.inner) and self.inner.active_peft_config.is_prompt_learning
        self.options = {"positions": accepts_positions(self.inner) and not prompted}
        self.cached_as = None if prompted else cache_name(self.inner)

    def __call__(self, dataset: Any) -> KlEstimate:
        """Measure on prompts of a prepared set; a ValueError says so where none can be used."""
        prompts = self._usable([list(row["prompt_ids"]) for row in some_rows(_whole(dataset), self.trainer.kl_prompts)])
        if not prompts:
            raise ValueError("the data set has no prompts that can be used; KL is measured on at least one")
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = list(range(rank, len(prompts), world))
        try:
            found, wrong = self._on(prompts, mine), []
        except Exception as error:  # the other processes would wait for this one's numbers
            if world == 1:
                raise
            found, wrong = [], [f"{type(error).__name__} in process {rank}: {error}"]
        if world > 1:
            found, wrong = gather_object(found), gather_object(wrong)
        if wrong:
            raise RuntimeError("; ".join(wrong))
        values = np.array([measured for _, measured in sorted(found)], dtype=np.float64)
        count = len(values)
        if np.isnan(values).any():
            raise ValueError(f"{np.isnan(values[:, 0]).sum()} of {count} responses have logits that are no numbers")
        stderr = float(values[:, 0].std(ddof=1) / math.sqrt(count)) if count > 1 else math.inf
        return KlEstimate(float(values[:, 0].mean()), stderr, float(values[:, 1].mean()))

    def _usable(self, prompts: list[list[int]]) -> list[tuple[list[int], int]]:
        """Prompts with the number of tokens that there is room for."""
        limit = position_limit(self.inner)
        virtual = 0 if self.cached_as else int(self.inner.active_peft_config.num_virtual_tokens or 0)
        kept = []
        empty = full = 0
        for prompt in prompts:
            room = self.most if limit is None else min(self.most, limit - virtual - len(prompt))
            if not prompt:
                empty += 1
            elif room < 1:
                full += 1
            else:
                kept.append((prompt, room))
        for count, why in ((empty, "without a token"), (full, f"that fill the model's {limit} positions")):
            if count:
                warnings.warn(f"{count} of {len(prompts)} prompts {why} are left out of the KL", stacklevel=4)
        return kept

    def _on(self, prompts: Sequence[tuple[list[int], int]], mine: list[int]) -> list[tuple[int, tuple[float, bool]]]:
        """KL and whether it ended of one response each to some prompts, beside the prompt's number."""
        size, world = self.trainer.args.per_device_eval_batch_size, self.accelerator.num_processes
        most = math.ceil(len(prompts) / world) if self.sharded else len(mine)
        rounds = math.ceil(most / size)
        found: list[tuple[int, tuple[float, bool]]] = []
        with self._evaluating() as policy:
            for number in followed(range(rounds), self.progress, "KL by own samples", named=False):
                part = mine[number * size : (number + 1) * size]
                rows = part or [0]  # a process that has no more goes along
                measured = self._batch(policy, [prompts[i] for i in rows], self._numbers(rows))
                found += zip(part, measured[: len(part)], strict=True)
        return found

    def _numbers(self, rows: Sequence[int]) -> torch.Tensor:
        """(b, most) numbers that responses are drawn by: a prompt's own, and none of the training's."""
        seed, step = self.trainer.args.seed, self.trainer.state.global_step
        drawn = [np.random.default_rng([seed, step, row]).random(self.most) for row in rows]
        return torch.from_numpy(np.stack(drawn)).to(self.accelerator.device)

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[Any]:
        """The policy without dropout and ready to be called."""
        trainer = self.trainer
        was_training = trainer.model.training
        trainer.model.eval()
        try:
            if trainer.is_fsdp_enabled:
                yield trainer.model_wrapped
            else:
                with unwrap_model_for_generation(trainer.model_wrapped, self.accelerator) as policy:
                    yield policy
        finally:
            trainer.model.train(was_training)

    def _batch(
        self, policy: Any, rows: Sequence[tuple[list[int], int]], numbers: torch.Tensor
    ) -> list[tuple[float, bool]]:
        with torch.no_grad(), self.accelerator.autocast():
            drawn = sample_responses(
                policy, [prompt for prompt, _ in rows], ends=self.ends, most=[room for _, room in rows], pad=self.pad,
                device=self.accelerator.device, numbers=numbers, cached_as=self.cached_as,
                alive_anywhere=self._any if self.sharded else bool, **self.options,
            )  # fmt: skip
            kl = sequence_kl(
                policy, self.trainer.reference_call(policy), drawn.input_ids, drawn.attention_mask, drawn.mask,
                **self.options,
            )  # fmt: skip
        return [(float(k), bool(f)) for k, f in zip(kl, drawn.finished, strict=True)]

    def _any(self, alive: bool) -> bool:
        flag = torch.tensor([float(alive)], device=self.accelerator.device)
        return bool(self.accelerator.gather(flag).sum() > 0)


def output_size(model: Any) -> int | None:
    """How many tokens a model gives probabilities to."""
    head = None if model is None else model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return None if weight is None else int(getattr(head, "out_features", weight.shape[0]))


def _whole(dataset: Any) -> Any:
    """The set that a data loader deals out to processes."""
    while not hasattr(dataset, "column_names") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    return dataset
