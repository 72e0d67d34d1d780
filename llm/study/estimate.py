"""What a study will take, before it is run: ``python -m llm plan``.

Two miniatures of the study are run on this device in a temporary folder, the second four times the first; what a
stage's time grows by between them is carried to the study's own counts, what it does not grow by is added once. So
nothing is assumed of the device but that a stage's time is linear in its counts; processes side by side are assumed not
to hinder each other, and what starting them takes is measured. The stages that they share run in the threads that one
of them has, the others in all. Fine-tuning has two counts, steps and the examples that its quality is measured on: a
third miniature differs from the first in its steps alone.

A miniature is hardly fine-tuned, and its policies seldom end a response: pairs are counted with responses as long as
the targets that the study is fine-tuned on, and a step's or an evaluation's time as in proportion to its tokens. What
a policy's evaluation takes however many its prompts (loading it, for one) is counted for each policy.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from llm.devices import spread
from llm.policy.models import add_lora, count_parameters
from llm.study.config import StudyConfig
from llm.study.names import STAGES
from llm.study.pipeline import SHARED, Study, run_study
from llm.sweep.plan import grid_cells, plan_stacks
from llm.training.config import TrainConfig

_STATES = {"adamw": 2, "adafactor": 1, "sgd": 0}  # tensors of the parameters' size; adafactor's are smaller
_SMALL, _LARGE = 1, 4


@dataclass(frozen=True)
class Plan:
    """What a study takes.

    Attributes
    ----------
    name, device : str
    parameters, trained : int
        Of a policy, and those of them that train.
    cells, stacks, stack : int
        Policies, groups trained together, and the most in one.
    cell_bytes : int
        Memory of a cell in training without activations: parameters, gradient and the optimiser's averages; of LoRA
        those of the adapters, the base coming once.
    base_bytes : int
        Memory that all cells of a process share: πref, and the frozen base under adapters.
    tokens : dict of str to float
        Tokens that each of fine-tuning, sampling of pairs and the sweep compute, prompts included.
    flop : dict of str to float
        6 a parameter and token trained, 2 a parameter and token sampled.
    minutes : dict of str to float
        By stage, on this device.
    disk_bytes : int
        Exported policies, models and checkpoints.
    """

    name: str
    device: str
    parameters: int
    trained: int
    cells: int
    stacks: int
    stack: int
    cell_bytes: int
    base_bytes: int
    tokens: dict[str, float]
    flop: dict[str, float]
    minutes: dict[str, float]
    disk_bytes: int

    def __str__(self) -> str:
        total = sum(self.minutes.values())
        part = f", {self.trained:,} train" if self.trained < self.parameters else ""
        lines = [
            f"{self.name} on {self.device}",
            f"parameters        {self.parameters:,}{part}",
            f"cells             {self.cells} in {self.stacks} stacks of at most {self.stack}",
            f"memory a cell     {_bytes(self.cell_bytes)} and activations; {_bytes(self.base_bytes)} shared",
            f"disk              {_bytes(self.disk_bytes)}",
        ]
        lines += [f"{name:<18}{self.tokens[name]:.3g} tokens, {self.flop[name]:.3g} FLOP" for name in self.tokens]
        lines += [f"minutes, {stage:<9}{value:.2f}" for stage, value in self.minutes.items()]
        return "\n".join([*lines, f"minutes, in all  {total:.1f}"])


def plan_study(config: StudyConfig, *, data: Path | None = None, say: Callable[[str], None] = lambda _: None) -> Plan:
    """Run two miniatures of a study and say what the study will take.

    Parameters
    ----------
    config : StudyConfig
    data : Path, optional
        Its folder of records.
    say : callable
        Called with a line of what is done.
    """
    runs: list[tuple[int, Study, dict[str, float]]] = []
    side_by_side = config.workers if config.device == "cpu" else 1
    with tempfile.TemporaryDirectory() as folder:
        for size in (_SMALL, _SMALL, _LARGE):  # the first warms up what is loaded once a process
            say(f"a miniature of size {size}")
            runs.append((size, *_timed(miniature(config, size), Path(folder, f"{len(runs)}"), data, side_by_side)))
        say("a miniature of more fine-tuning")
        longer = miniature(config, _SMALL)
        longer = replace(longer, sft=replace(longer.sft, steps=min(config.sft.steps, 10 * longer.sft.steps)))
        run_study(longer, Path(folder, "longer"), until="sft", data=data, say=lambda _: None)
        fine_tuning = (longer.sft.steps, _seconds(Path(folder, "longer"))["sft"])
    starting = 0.0
    if side_by_side > 1:
        say(f"{side_by_side} processes started")
        before = time.perf_counter()
        spread(_nothing, range(side_by_side), None, processes=side_by_side)
        starting = time.perf_counter() - before
    return _plan(config, runs[1:], fine_tuning, starting)


def _nothing(shared: object, job: object) -> None:
    """What a process does whose start is timed."""


def _timed(config: StudyConfig, out: Path, data: Path | None, side_by_side: int) -> tuple[Study, dict[str, float]]:
    """A study and the seconds of its stages: those that processes share with the threads of one of them."""
    threads = torch.get_num_threads()
    last_alone = STAGES[STAGES.index(SHARED[0]) - 1]

    def after(line: str) -> None:
        if line.startswith(f"{last_alone}:"):
            torch.set_num_threads(max(1, threads // side_by_side))

    try:
        study = run_study(config, out, data=data, say=after)
    finally:
        torch.set_num_threads(threads)
    return study, _seconds(out)


def _seconds(out: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((out / "seconds.json").read_text(encoding="utf-8"))
    return found


def miniature(config: StudyConfig, size: int) -> StudyConfig:
    """The study with few records, steps and one stack, all of them in proportion to ``size``."""
    counts = config.counts
    few = replace(
        counts, fine_tuning=min(counts.fine_tuning, 64 * size), pairs=min(counts.pairs, 64 * size),
        held_out=min(counts.held_out, 32 * size), evaluation=min(counts.evaluation, 32 * size),
        reward=min(counts.reward, 128 * size),
    )  # fmt: skip
    steps = _sweep_steps(config, size)
    training: TrainConfig = replace(config.training, steps=steps, evaluate_at=(steps,), warmup=0, checkpoint_every=0)
    grid = replace(
        config.grid, losses=config.grid.losses[:1], strengths=config.grid.strengths[: config.stack or 4],
        seeds=config.grid.seeds[:1], reused_losses=(),
    )  # fmt: skip
    measured = config.evaluation
    evaluation = replace(
        measured, second_samples=max(1, measured.second_samples * few.evaluation // counts.evaluation),
        gradient_pairs=max(1, measured.gradient_pairs * few.held_out // counts.held_out),
    )  # fmt: skip
    return replace(
        config, counts=few, training=training, grid=grid, evaluation=evaluation, workers=1, budget_seconds=None,
        stack=len(grid.strengths), sft=replace(config.sft, steps=min(config.sft.steps, 6 * size), warmup=0),
        pairs=replace(config.pairs, keep_unfinished=True),  # what is hardly fine-tuned seldom ends by itself
    )  # fmt: skip


def _sweep_steps(config: StudyConfig, size: int) -> int:
    return min(config.training.steps, 3 * size)


def _units(config: StudyConfig, stacks: float) -> dict[str, float]:
    """What each stage's time is proportional to."""
    counts = config.counts
    records = sum(vars(counts).values())
    policies = len(grid_cells(config.grid)) * len(config.training.evaluated_steps)
    return {
        "data": records, "base": counts.fine_tuning, "sft": config.sft.steps, "reward": counts.reward,
        "pairs": counts.pairs * config.pairs.pairs_per_prompt + counts.held_out, "baseline": counts.evaluation,
        "sweep": config.training.steps * stacks, "evaluate": policies * counts.evaluation, "tables": 0,
    }  # fmt: skip


def _plan(
    config: StudyConfig,
    runs: list[tuple[int, Study, dict[str, float]]],
    fine_tuning: tuple[int, float],
    starting: float,
) -> Plan:
    study = runs[-1][1]
    assert study.reference is not None
    assert study.pairs is not None
    model = study.reference.model
    parameters = count_parameters(model)
    trained = parameters
    if config.policy.lora is not None:
        import copy

        trained = count_parameters(add_lora(copy.deepcopy(model), config.policy.lora), trainable=True)
    cells = grid_cells(config.grid)
    size = config.stack or max(1, math.ceil(len(cells) / config.workers))
    stacks = plan_stacks(cells, size)
    largest = max(map(len, stacks))
    here = _units(config, len(stacks) / config.workers)
    here["evaluate"] /= config.workers
    small = [_units(miniature(config, run[0]), 1.0) for run in runs]
    for (scale, _, _), units in zip(runs, small, strict=True):
        units["evaluate"] = len(grid_cells(miniature(config, scale).grid)) * miniature(config, scale).counts.evaluation
    length, drawn = _tokens_of(study, config.pairs.max_new_tokens)
    here["sweep"] *= length["pair"] / drawn["pair"]
    each = len(grid_cells(miniature(config, _SMALL).grid))  # policies of a miniature
    policies = here["evaluate"] / config.counts.evaluation
    here["evaluate"] *= length["response"] / drawn["response"]
    minutes = {}
    for stage in STAGES:
        first, last = (run[2].get(stage, 0.0) for run in runs)
        before, after = (units[stage] for units in small)
        slope = max(0.0, (last - first) / (after - before)) if after > before else last / max(after, 1)
        once = max(0.0, first - slope * before) * (policies / each if stage == "evaluate" else 1.0)
        minutes[stage] = ((starting if stage in SHARED else 0.0) + once + slope * here[stage]) / 60
    minutes["sft"] = _fine_tuning(config, runs, fine_tuning) / 60
    passes = {
        "fine-tuning": config.sft.steps * config.sft.batch_size * length["target"],
        "pairs": 2.0 * here["pairs"] * length["response"],
        "sweep": len(cells) * config.training.steps * config.training.batch_size * length["pair"],
    }
    factor = {"fine-tuning": 6, "pairs": 2, "sweep": 6}
    wide = 4 if config.training.dtype == "float32" or config.policy.lora is None else 2
    models = 4 * parameters * (1 if config.policy.source else 2)  # base and πref
    return Plan(
        config.name, config.device, parameters, trained, len(cells), len(stacks), largest,
        4 * trained * (2 + _STATES[config.training.optimizer]), wide * parameters, passes,
        {name: float(factor[name] * parameters * count) for name, count in passes.items()}, minutes,
        models + 4 * trained * len(cells) * len(config.training.evaluated_steps),
    )  # fmt: skip


def _fine_tuning(
    config: StudyConfig, runs: list[tuple[int, Study, dict[str, float]]], longer: tuple[int, float]
) -> float:
    """Seconds of fine-tuning: the first miniature's, and what more steps and more examples of its quality take."""
    small, large = (miniature(config, size) for size, *_ in runs)
    first, last = (seconds["sft"] for *_, seconds in runs)
    more = longer[0] - small.sft.steps
    step = max(0.0, (longer[1] - first) / more) if more else 0.0
    measured = [min(256, one.counts.evaluation) + min(256, one.counts.held_out) for one in (small, large, config)]
    rest = max(0.0, last - first - step * (large.sft.steps - small.sft.steps))
    example = rest / (measured[1] - measured[0]) if measured[1] > measured[0] else 0.0
    return first + step * (config.sft.steps - small.sft.steps) + example * (measured[2] - measured[0])


def _tokens_of(study: Study, most: int) -> tuple[dict[str, float], dict[str, float]]:
    """Mean tokens of a fine-tuned example, of a response with its prompt, of a pair; and of those drawn here."""
    assert study.reference is not None
    assert study.pairs is not None
    assert study.records is not None
    tokenizer = study.reference.tokenizer

    def mean(texts: list[str]) -> float:
        return sum(len(ids) for ids in tokenizer(texts)["input_ids"]) / len(texts) + 1

    pairs = study.pairs.train
    prompt = mean([pair.prompt for pair in pairs])
    sides = mean([pair.chosen for pair in pairs]) + mean([pair.rejected for pair in pairs])
    examples = study.records.fine_tuning
    target = mean([e.target for e in examples])
    response = min(target, float(most))
    whole = {"target": mean([e.prompt for e in examples]) + target, "response": prompt + response}
    return {**whole, "pair": prompt + 2 * response}, {"response": prompt + sides / 2, "pair": prompt + sides}


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values."""
    return dict(vars(plan))
