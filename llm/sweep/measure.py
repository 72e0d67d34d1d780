"""How many cells to train together: measured on the machine at hand, once for a sweep."""

from __future__ import annotations

import gc
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm.policy.batches import TokenizedPairs
from llm.storage.reports import read_document, stage_key, write_document
from llm.sweep.inputs import SweepInputs
from llm.sweep.plan import plan_stacks
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from llm.training.trainer import time_steps

PLAN = "plan.json"


@dataclass(frozen=True)
class StackTiming:
    """What a stack of ``size`` cells takes.

    Attributes
    ----------
    size : int
        Cells.
    seconds : float
        Median time of a step, for each cell of the stack.
    peak_bytes : int
        Largest memory on a GPU; 0 on a CPU, where it is not known of a part of a process.
    """

    size: int
    seconds: float
    peak_bytes: int


def measure_stack_size(
    base_model: Any,
    cells: Sequence[SweepCell],
    pairs: TokenizedPairs,
    reference: NDArray[np.floating[Any]],
    config: TrainConfig,
    *,
    device: str | torch.device | None = None,
    sizes: Sequence[int] = (1, 2, 3, 5, 8, 12, 18, 27, 40),
    steps: int = 3,
) -> list[StackTiming]:
    """Time some steps of stacks of rising size, until the memory is full or a step a cell is 20 % above the best.

    Parameters
    ----------
    base_model, cells, pairs, reference, config, device : as of `train_sweep`
        Nothing of the measurement is kept in them.
    sizes : sequence of int
        Sizes to try; those above the cells of one seed and arm are left out, their number taken in.
    steps : int
        Steps timed at each size, after one that is not.

    Returns
    -------
    list of StackTiming
        ``min(found, key=lambda t: t.seconds).size`` is the size to take.
    """
    group = max(plan_stacks(cells, len(cells)), key=len)
    tried = sorted({size for size in sizes if size < len(group)} | {len(group)})
    found: list[StackTiming] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in tried:
            try:
                times, peak = time_steps(
                    base_model, group[:size], pairs, reference, config, folder=folder, device=device, steps=steps
                )
            except torch.OutOfMemoryError:
                if not found:
                    raise
                break
            finally:
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            found.append(StackTiming(size, float(np.median(times)) / size, peak))
            if found[-1].seconds > 1.2 * min(timing.seconds for timing in found):
                break
    return found


def planned_size(
    root: Path,
    inputs: SweepInputs,
    cells: Sequence[SweepCell],
    *,
    device: torch.device,
    stack_size: int | None,
    workers: int,
) -> int:
    """Return the stack size: the one given, the one that was planned in the folder before, or one measured now.

    Parameters
    ----------
    root : Path
        The sweep's folder; the plan is kept there with what was measured for it.
    inputs, cells : SweepInputs, sequence of SweepCell
        The sweep's.
    device : torch.device
        Where it is trained.
    stack_size : int, optional
        Most cells trained together; None measures.
    workers : int
        Processes that share the stacks.
    """
    key = stage_key({"cells": [cell.key for cell in cells]}, first=inputs.key(cells[:1]))
    plan = read_document(root / PLAN)
    if plan is not None and plan["key"] == key and stack_size in (None, plan["stack_size"]):
        return int(plan["stack_size"])
    timings: list[StackTiming] = []
    if stack_size is None:
        threads = torch.get_num_threads()
        if workers > 1 and device.type == "cpu":  # each of them has its share of the processors
            torch.set_num_threads(max(1, threads // workers))
        timings = measure_stack_size(
            inputs.base_model, cells, inputs.pairs, inputs.reference, inputs.config, device=device
        )
        torch.set_num_threads(threads)
        best = min(timings, key=lambda timing: timing.seconds).size
        stack_size = min(best, math.ceil(len(cells) / workers))  # a stack for every worker
    plan_stacks(cells, stack_size)
    root.mkdir(parents=True, exist_ok=True)
    write_document(
        root / PLAN, {"key": key, "stack_size": stack_size, "timings": [asdict(timing) for timing in timings]}
    )
    return stack_size
