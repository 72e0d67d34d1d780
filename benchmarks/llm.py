"""Sweeps of language models beside TRL, a run after the other.

A sweep trains so many policies from one base, of the same loss at different β, on the same batch of pairs at each step:
ours as one stack, TRL's DPOTrainer one of them (its time is multiplied by their number). Timed are the steps, from the
base model on: not the reading of texts, nor the reference's log-probabilities. The error is that of the first policy's
mean loss over the steps, from a plain loop in float64 of the same batches, updates included: a wrong gradient shows in
the losses of the steps after it. ``python benchmarks/llm_sweep.py`` has larger models, GPUs, and where a step's time
goes.
"""

from __future__ import annotations

import tempfile
from typing import Any

from benchmarks.framework import Benchmark, Side, Size, Task, Work, sizes

STEPS = 20


def ours(size: Size) -> Work:
    """One stack."""
    from benchmarks import llm_sweep
    from llm.policy.logprobs import reference_logprobs
    from llm.training.trainer import train_stack

    model, pairs = llm_sweep.make_model(llm_sweep.SIZES["tiny"], "cpu"), llm_sweep.make_pairs(llm_sweep.SIZES["tiny"])
    reference, config = reference_logprobs(model, pairs), llm_sweep.config_of(llm_sweep.SIZES["tiny"], STEPS)

    def do() -> float:
        with tempfile.TemporaryDirectory() as folder:
            cells = llm_sweep.cells_of(size.numbers[0])
            return float(train_stack(model, cells, pairs, reference, config, folder=folder).trace[:, 0, 0].mean())

    return Work(do, _judge)


def by_trl(size: Size) -> Work:
    """One policy of the sweep."""
    import torch
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

    from benchmarks import llm_sweep

    torch.set_num_threads(1)
    folder = tempfile.TemporaryDirectory()
    trainer, losses = llm_sweep.make_trainer(DPOTrainer, DPOConfig, llm_sweep.SIZES["tiny"], STEPS, "cpu", folder.name)
    base = {name: value.clone() for name, value in trainer.model.state_dict().items()}

    def do() -> float:
        trainer.model.load_state_dict(base)
        trainer.optimizer = trainer.lr_scheduler = None
        with llm_sweep.quiet():
            trainer.train()
        return losses[-1]

    def judge(loss: float) -> dict[str, float]:
        folder.cleanup()
        return _judge(loss)

    return Work(do, judge, 1 / size.numbers[0])


def _judge(loss: float) -> dict[str, float]:
    return {"error": abs(loss - exact_loss()), "loss": loss}


def exact_loss() -> float:
    """Mean loss of the first policy over the steps, by a loop in float64."""
    import torch

    from benchmarks import llm_sweep

    size = llm_sweep.SIZES["tiny"]
    model, pairs = llm_sweep.make_model(size, "cpu").double(), llm_sweep.make_pairs(size)

    def log_probability(prompt: list[int], response: list[int]) -> Any:
        ids = torch.tensor([[*prompt, *response]])
        log_p = torch.log_softmax(model(ids).logits[0, len(prompt) - 1 : -1], -1)
        return log_p.gather(1, ids[0, len(prompt) :, None]).sum()

    def margins() -> Any:
        texts = zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True)
        return torch.stack([log_probability(x, a) - log_probability(x, b) for x, a, b in texts])

    with torch.no_grad():
        reference = margins()
    optimizer = torch.optim.AdamW(model.parameters(), llm_sweep.RATE, eps=llm_sweep.EPSILON, weight_decay=0.0)
    found = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = -torch.nn.functional.logsigmoid(llm_sweep.BETA * (margins() - reference)).mean()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return sum(found) / STEPS


LLM = Benchmark(
    "llm",
    "sweeps of language models on one processor",
    (
        Task(
            "sweep",
            f"{STEPS} steps of so many policies of 0.1 M parameters, 32 pairs a step",
            sizes("1", "6", "24"),
            (Side("ours", ours, "torch"), Side("TRL's DPOTrainer, a policy at a time", by_trl, "trl")),
            "as before or better",
            "error",
            1e-4,
        ),
    ),
    ("policies",),
    Size((1,)),
)
