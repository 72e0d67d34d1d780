"""The grid of a study: its cells, trained in stacks by several processes, each evaluated at its checkpoints."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.losses import get_loss
from gpo_analysis.records import plain, record_key, write_whole
from llm.data.types import Pair
from llm.devices import on_first, place, wait_for_all
from llm.policy.models import add_lora
from llm.policy.tokenizers import encode_prompts, encode_responses
from llm.study.config import StudyConfig, beta_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm.policy.batches import TokenizedPairs
    from llm.study.stages import Study
    from llm.training.trainer import StackResult, SweepCell, TrainConfig

__all__ = [
    "GridCell",
    "evaluation_file",
    "grid_cells",
    "planned_stacks",
    "read_evaluations",
    "run_grid",
    "run_part",
    "stacks_of",
    "trace_file",
]

TEXTS = 64  # responses of a policy that are kept


@dataclass(frozen=True)
class GridCell:
    """One policy of the grid.

    Parameters
    ----------
    loss
        Name of f.
    beta, strength
        β, and βκ (β itself where κ is 0).
    seed
        Of the order of the pairs.
    arm
        "fresh" or "reused".
    """

    loss: str
    beta: float
    strength: float
    seed: int
    arm: str

    @property
    def name(self) -> str:
        """A name for files and messages.

        Examples
        --------
        >>> GridCell("squared", 0.1, 0.1, 0, "fresh").name
        'squared-0.1-s0-fresh'
        """
        return f"{self.loss}-{self.strength:g}-s{self.seed}-{self.arm}"


def grid_cells(config: StudyConfig) -> list[GridCell]:
    """Every cell of the grid.

    Examples
    --------
    >>> from llm.study.config import preset
    >>> [cell.name for cell in grid_cells(preset("tiny"))][:3]
    ['logistic-0.1-s0-fresh', 'logistic-1-s0-fresh', 'hinge-0.1-s0-fresh']
    """
    grid = config.grid
    made = []
    for arm, losses, seeds in (
        ("fresh", grid.losses, grid.seeds),
        ("reused", grid.reused_losses, grid.seeds[:1]),
    ):
        made += [
            GridCell(name, beta_of(get_loss(name), strength), strength, seed, arm)
            for seed in seeds
            for name in losses
            for strength in grid.strengths
        ]
    return made


def stacks_of(cells: Sequence[GridCell], size: int) -> list[list[GridCell]]:
    """Stacks of at most ``size`` cells that see the same pairs in the same order (one arm, one seed).

    Examples
    --------
    >>> from llm.study.config import preset
    >>> [len(stack) for stack in stacks_of(grid_cells(preset("tiny")), 4)]
    [4, 2]
    """
    groups: dict[tuple[str, int], list[GridCell]] = {}
    for cell in cells:
        groups.setdefault((cell.arm, cell.seed), []).append(cell)
    return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]


def planned_stacks(study: Study) -> list[list[GridCell]]:
    """The stacks of a study's grid, of the size that is configured or was measured when the sweep began.

    Raises
    ------
    FileNotFoundError
        Where the size is to be measured and the sweep has not begun.
    """
    size = study.config.training.stack
    if size is None:
        size = int(json.loads(_measured_file(study).read_text(encoding="utf-8"))["size"])
    return stacks_of(grid_cells(study.config), size)


def evaluation_file(study: Study, cell: GridCell, step: int) -> Path:
    """Where the evaluation of a cell after a step lies; its name changes with all it depends on."""
    training = {**plain(study.config.training), "workers": None}  # how many work side by side decides no number
    key = record_key({"cell": plain(cell), "training": training, "study": study.key, "step": step})
    return study.folder / "evaluations" / f"{cell.name}-{step:06d}-{key}.json"


def read_evaluations(study: Study) -> list[dict[str, Any]]:
    """Every evaluation of the grid that is there, in the order of cells and steps."""
    found = []
    for cell in grid_cells(study.config):
        for step in study.config.training.evaluated_steps:
            file = evaluation_file(study, cell, step)
            if file.is_file():
                found.append(json.loads(file.read_text(encoding="utf-8")))
    return found


def arm_pairs(study: Study, arm: str) -> list[Pair]:
    """The pairs an arm is trained on: as many as the steps take, or one part in ``reused_epochs`` of them."""
    training = study.config.training
    needed = min(training.steps * training.batch_size, len(study.pairs))
    return study.pairs[: needed if arm == "fresh" else max(1, needed // study.config.grid.reused_epochs)]


def run_grid(study: Study) -> str:
    """Train and evaluate what is missing; say how much there was to do."""
    cells = grid_cells(study.config)
    where = place(study.config.device)
    on_first(where, lambda: _measure_stack(study))
    stacks = planned_stacks(study)
    missing = [stack for stack in stacks if not _done(study, stack)]
    workers = min(study.config.training.workers, len(missing))
    if where.world > 1:
        config = dataclasses.replace(study.config, device=str(where.device))
        run_part(config, study.folder, study.data, where.rank, where.world, study.progress)
        wait_for_all(where)
    elif workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = [
                pool.submit(run_part, study.config, study.folder, study.data, k, workers, study.progress)
                for k in range(workers)
            ]
            for part in parts:
                part.result()
    elif missing:
        for stack in missing:
            _run_stack(study, stack)
    failed = [row["cell"]["loss"] for row in read_evaluations(study) if row["status"].startswith("nan")]
    told = f"; stopped by NaN: {', '.join(failed)}" if failed else ""
    return f"{len(cells)} cells in {len(stacks)} stacks, {len(missing)} stacks were missing{told}"


def run_part(config: StudyConfig, folder: Path, data: Path | None, rank: int, size: int, progress: bool) -> None:
    """Train and evaluate every ``size``-th missing stack from the ``rank``-th on: the work of one process."""
    import torch

    from llm.study.stages import Study

    if size > 1 and config.device == "cpu":
        torch.set_num_threads(1)
    study = Study(config, folder, data, progress)
    for stack in planned_stacks(study)[rank::size]:
        if not _done(study, stack):
            _run_stack(study, stack)


def _done(study: Study, stack: Sequence[GridCell]) -> bool:
    steps = study.config.training.evaluated_steps
    evaluated = all(evaluation_file(study, cell, step).is_file() for cell in stack for step in steps)
    return evaluated and trace_file(study, stack).is_file()


def _run_stack(study: Study, stack: list[GridCell]) -> None:
    """Train a stack; evaluate its cells at the steps asked for, as they come by."""
    steps = study.config.training.evaluated_steps

    def on_checkpoint(index: int, step: int, model: Any) -> None:
        cell = stack[index]
        if not evaluation_file(study, cell, step).is_file():
            _evaluate(study, cell, step, model.eval(), time.perf_counter())

    result = _train(study, stack, on_checkpoint)
    _write_trace(study, stack, result)
    for cell, status in zip(stack, result.statuses, strict=True):
        for step in steps:
            if not evaluation_file(study, cell, step).is_file():
                print(f"{cell.name}: {status}; no evaluation after step {step}", file=sys.stderr)
                _write(study, cell, step, {"status": status, "row": {}, "rewards": [], "texts": [], "seconds": 0.0})


def _stack_key(study: Study, stack: Sequence[GridCell]) -> str:
    training = {**plain(study.config.training), "workers": None}
    return record_key({"cells": [plain(cell) for cell in stack], "training": training, "study": study.key})


def _measured_file(study: Study) -> Path:
    key = record_key({"training": plain(study.config.training), "study": study.key})
    return study.folder / f"stack-size-{key}.json"


def _measure_stack(study: Study) -> None:
    """Measure how many cells to train together, once a study, where its configuration leaves that open."""
    from llm.sweep.run import measure_stack_size

    if study.config.training.stack is not None or _measured_file(study).is_file():
        return
    cells = [cell for cell in grid_cells(study.config) if cell.arm == "fresh"]
    model, rows, reference, config = _inputs(study, "fresh")
    timings = measure_stack_size(
        model, _sweep_cells(study, cells), rows, reference, config, device=study.config.device
    )  # fmt: skip
    found = {
        "size": min(timings, key=lambda timing: timing.seconds).size,
        "timings": [dataclasses.asdict(timing) for timing in timings],
    }
    write_whole(_measured_file(study), json.dumps(found, indent=1).encode(), study.folder)


def _train(study: Study, stack: list[GridCell], on_checkpoint: Callable[[int, int, Any], None]) -> StackResult:
    from llm.training.trainer import train_stack

    model, rows, reference, config = _inputs(study, stack[0].arm)
    return train_stack(
        model, _sweep_cells(study, stack), rows, reference, config,
        folder=study.folder / "stacks" / _stack_key(study, stack), device=study.config.device,
        progress=study.progress, on_checkpoint=on_checkpoint,
    )  # fmt: skip


def _sweep_cells(study: Study, cells: Sequence[GridCell]) -> list[SweepCell]:
    from llm.training.trainer import SweepCell

    return [SweepCell(cell.loss, cell.beta, cell.seed, study.config.training.learning_rate) for cell in cells]


def _inputs(study: Study, arm: str) -> tuple[Any, TokenizedPairs, NDArray[np.floating[Any]], TrainConfig]:
    """What the stacks of an arm share: the model they start from, pairs, reference log-probabilities, settings."""
    from llm.policy.batches import TokenizedPairs
    from llm.policy.logprobs import reference_logprobs
    from llm.training.trainer import TrainConfig

    training, pairs = study.config.training, arm_pairs(study, arm)
    tokenizer = study.tokenizer
    rows = TokenizedPairs(
        encode_prompts(tokenizer, [pair.prompt for pair in pairs]),
        encode_responses(tokenizer, [pair.chosen for pair in pairs]),
        encode_responses(tokenizer, [pair.rejected for pair in pairs]),
        np.array([pair.p for pair in pairs]),
    )
    steps = training.evaluated_steps
    config = TrainConfig(
        steps=training.steps, batch_size=training.batch_size, accumulation=training.accumulation,
        optimizer=training.optimizer, warmup=training.warmup, max_grad_norm=training.max_grad_norm,
        checkpoint_every=math.gcd(*steps), evaluate_at=steps, dtype=training.dtype,
    )  # fmt: skip
    model = study.reference
    if study.config.policy.lora is not None:
        model = add_lora(copy.deepcopy(model), study.config.policy.lora, seed=study.config.seed)
    return model, rows, reference_logprobs(study.reference, rows, cache=study.folder / "reference"), config


def trace_file(study: Study, stack: Sequence[GridCell]) -> Path:
    """Where the losses and margins of a stack's steps lie."""
    return study.folder / "traces" / f"{_stack_key(study, stack)}.parquet"


def _write_trace(study: Study, stack: list[GridCell], result: StackResult) -> None:
    import pandas as pd

    from llm.training.trainer import TRACE

    names = ["loss_value" if name == "loss" else name for name in TRACE]
    parts = [
        pd.DataFrame(result.trace[:, index], columns=names).assign(
            name=cell.name, loss=cell.loss, strength=cell.strength, beta=cell.beta, seed=cell.seed, arm=cell.arm,
            step=np.arange(1, len(result.trace) + 1),
        )
        for index, cell in enumerate(stack)
    ]  # fmt: skip
    buffer = io.BytesIO()
    pd.concat(parts, ignore_index=True).to_parquet(buffer, engine="pyarrow", index=False)
    write_whole(trace_file(study, stack), buffer.getvalue(), study.folder)


def _evaluate(study: Study, cell: GridCell, step: int, model: Any, start: float) -> None:
    from llm.evaluation.evaluate import evaluate

    findings = evaluate(model, study.evaluation_set, get_loss(cell.loss), cell.beta)
    last = step == study.config.training.evaluated_steps[-1]
    _write(
        study, cell, step,
        {
            "status": "ok", "row": {name: _number(value) for name, value in findings.row.items()},
            "rewards": np.round(findings.rewards, 6).tolist() if last else [],
            "texts": findings.texts[:TEXTS] if last else [], "seconds": time.perf_counter() - start,
        },
    )  # fmt: skip


def _write(study: Study, cell: GridCell, step: int, content: dict[str, Any]) -> None:
    document = {"cell": plain(cell), "name": cell.name, "step": step, **content}
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    write_whole(evaluation_file(study, cell, step), text.encode(), study.folder)


def _number(value: Any) -> Any:
    """JSON has no NaN: such a number is left out as None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
