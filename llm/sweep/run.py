"""Sweeps: many (f, β, seed) cells, in stacks whose size is measured, in processes side by side or ranks of a launcher.

Cells of one seed share their batches of pairs, and all share one table of reference log-probabilities. A sweep's
folder has a folder a stack, and ``plan.json`` with the stack size and what was measured for it, so that a sweep that
was stopped goes on with the same stacks.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import math
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpo_analysis.records import write_whole
from llm.devices import on_first, own_share, place, wait_for_all
from llm.policy.batches import TokenizedPairs
from llm.storage.checkpoints import CheckpointError, latest_checkpoint, load_checkpoint
from llm.training.lora_stacks import make_stack
from llm.training.objective import SweepCell
from llm.training.stacked import Stack
from llm.training.trainer import OnCheckpoint, TrainConfig, time_steps, trace_table, train_stack

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["StackTiming", "SweepCell", "SweepResult", "load_cell", "measure_stack_size", "plan_stacks", "train_sweep"]

PLAN = "plan.json"


@dataclass(frozen=True)
class StackTiming:
    """What a stack of ``size`` cells takes.

    Attributes
    ----------
    size
        Cells.
    seconds
        Median time of a step, for each cell of the stack.
    peak_bytes
        Largest memory on a GPU; 0 on a CPU, where it is not known of a part of a process.
    """

    size: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep left in its folder.

    Attributes
    ----------
    cells, statuses
        Cells in the order given; "finished" or "nan at step k" for each.
    folders
        The folder of each cell's stack.
    stack_size
        Most cells trained together.
    """

    cells: tuple[SweepCell, ...]
    statuses: tuple[str, ...]
    folders: tuple[Path, ...]
    stack_size: int

    def table(self) -> pd.DataFrame:
        """Return the trace of every cell, a row a step and cell."""
        import pandas as pd

        parts = []
        for folder in dict.fromkeys(self.folders):
            tensors, _, meta = _read(folder)
            cells = tuple(SweepCell(**cell) for cell in meta["cells"])
            parts.append(trace_table(cells, meta["statuses"], tensors["trace"].numpy()))
        return pd.concat(parts, ignore_index=True)


def plan_stacks(cells: Sequence[SweepCell], size: int) -> list[list[SweepCell]]:
    """Group cells into stacks of one seed and of at most ``size``, as equal as can be.

    Examples
    --------
    >>> cells = [SweepCell("squared", beta, seed, 1e-3) for seed in (0, 1) for beta in (0.1, 0.3, 1.0)]
    >>> [[(cell.seed, cell.beta) for cell in stack] for stack in plan_stacks(cells, 2)]
    [[(0, 0.1), (0, 0.3)], [(0, 1.0)], [(1, 0.1), (1, 0.3)], [(1, 1.0)]]
    """
    if size < 1:
        raise ValueError(f"size is {size}; accepted is 1 or more")
    if len({cell.key for cell in cells}) < len(cells):
        raise ValueError("a cell stands twice in the sweep")
    groups: dict[int, list[SweepCell]] = {}
    for cell in cells:
        groups.setdefault(cell.seed, []).append(cell)
    stacks = []
    for group in groups.values():
        count = -(-len(group) // size)
        edges = [-(-len(group) * k // count) for k in range(count + 1)]
        stacks += [group[start:stop] for start, stop in itertools.pairwise(edges)]
    return stacks


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
    base_model, cells, pairs, reference, config, device
        As for `train_sweep`. Nothing of the measurement is kept in them.
    sizes
        Sizes to try; those above the cells of one seed are left out, their number taken in.
    steps
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


def train_sweep(
    base_model: Any,
    cells: Sequence[SweepCell],
    pairs: TokenizedPairs,
    reference: NDArray[np.floating[Any]],
    config: TrainConfig,
    *,
    folder: str | os.PathLike[str],
    device: str | torch.device | None = None,
    stack_size: int | None = None,
    processes: int = 1,
    progress: bool = False,
    on_checkpoint: OnCheckpoint | None = None,
) -> SweepResult:
    """Train every cell of a sweep, each from the last checkpoint in ``folder`` where there is one.

    Where a launcher started several processes (`llm.devices`), each trains its share of the stacks.

    Parameters
    ----------
    base_model, pairs, reference, config, progress
        As for `llm.training.trainer.train_stack`.
    cells
        Of any seeds.
    folder
        Of the sweep; on a disk that all ranks see.
    device
        "cpu" or "cuda"; the base model's by default, one GPU a rank.
    stack_size
        Most cells trained together; measured where None.
    processes
        Processes side by side on a CPU, which share its threads. They are spawned: the caller's module must be
        importable, its work behind ``if __name__ == "__main__":``, and ``on_checkpoint`` a function that pickles.
    on_checkpoint
        Called with the cell's index in ``cells``, the steps done and the cell's model, in the process that trains it.

    Raises
    ------
    ValueError
        As `train_stack`; for several processes on a GPU.
    """
    where = place(device if device is not None else next(base_model.parameters()).device)
    if processes < 1 or (processes > 1 and (where.device.type != "cpu" or where.world > 1)):
        raise ValueError(f"processes is {processes}; accepted is 1, or more on a CPU without a launcher")
    root = Path(folder)
    workers = max(processes, where.world)
    size = on_first(
        where, lambda: _plan(root, base_model, cells, pairs, reference, config, where.device, stack_size, workers)
    )
    stacks = plan_stacks(cells, size)
    index = {cell.key: number for number, cell in enumerate(cells)}
    shared = _Shared(base_model, pairs, reference, config, root, where.device, progress, on_checkpoint, index)
    mine = own_share(stacks, where)
    if processes == 1 or len(mine) == 1:
        for stack in mine:
            _train(shared, stack)
    else:
        _side_by_side(shared, mine, min(processes, len(mine)))
    wait_for_all(where)
    told = {}
    for stack in stacks:
        place_of = _stack_folder(root, stack)
        for cell, status in zip(stack, _read(place_of)[2]["statuses"], strict=True):
            told[cell.key] = (status, place_of)
    statuses, folders = zip(*(told[cell.key] for cell in cells), strict=True)
    return SweepResult(tuple(cells), statuses, folders, size)


def load_cell(base_model: Any, folder: str | os.PathLike[str], cell: SweepCell) -> Any:
    """Return the model of a cell from the last checkpoint of its stack.

    Parameters
    ----------
    base_model
        Where the sweep started.
    folder
        The sweep's.
    cell
        One of its cells.

    Raises
    ------
    ValueError
        Where no stack of the folder has the cell.
    """
    for path in sorted(Path(folder).glob("stack-*")):
        newest = latest_checkpoint(path)
        if newest is None:
            continue
        tensors, _, meta = load_checkpoint(newest)
        if asdict(cell) in meta["cells"]:
            run = meta["cells"].index(asdict(cell))
            stack: Stack = make_stack(base_model, 1)
            stack.load({name: tensors[f"parameter/{name}"][run : run + 1] for name in stack.parameters})
            return stack.cell(0)
    raise ValueError(f"{folder} has no stack with the cell {cell.key}")


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all stacks of a sweep share."""

    base_model: Any
    pairs: TokenizedPairs
    reference: NDArray[Any]
    config: TrainConfig
    folder: Path
    device: torch.device
    progress: bool
    on_checkpoint: OnCheckpoint | None
    index: dict[str, int]


def _stack_folder(root: Path, stack: Sequence[SweepCell]) -> Path:
    named = hashlib.sha256(" ".join(cell.key for cell in stack).encode()).hexdigest()[:16]
    return root / f"stack-{named}"


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], int, dict[str, Any]]:
    newest = latest_checkpoint(folder)
    if newest is None:
        raise CheckpointError(f"{folder} has no checkpoint")
    return load_checkpoint(newest)


def _plan(
    root: Path,
    base_model: Any,
    cells: Sequence[SweepCell],
    pairs: TokenizedPairs,
    reference: NDArray[Any],
    config: TrainConfig,
    device: torch.device,
    stack_size: int | None,
    workers: int,
) -> int:
    """The stack size: the one given, the one planned before, or one that is measured now."""
    file = root / PLAN
    described = hashlib.sha256(" ".join(cell.key for cell in cells).encode()).hexdigest()
    if file.is_file():
        plan = json.loads(file.read_text(encoding="utf-8"))
        if plan["cells"] == described and stack_size in (None, plan["stack_size"]):
            return int(plan["stack_size"])
    timings: list[StackTiming] = []
    if stack_size is None:
        threads = torch.get_num_threads()
        if workers > 1 and device.type == "cpu":  # each of them has its share of the processors
            torch.set_num_threads(max(1, threads // workers))
        timings = measure_stack_size(base_model, cells, pairs, reference, config, device=device)
        torch.set_num_threads(threads)
        best = min(timings, key=lambda timing: timing.seconds).size
        stack_size = min(best, math.ceil(len(cells) / workers))  # a stack for every worker
    plan_stacks(cells, stack_size)
    plan = {"cells": described, "stack_size": stack_size, "timings": [asdict(timing) for timing in timings]}
    root.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(plan, indent=1).encode(), root)
    return stack_size


def _train(shared: _Shared, stack: Sequence[SweepCell]) -> None:
    call = shared.on_checkpoint

    def numbered(run: int, step: int, model: Any) -> None:
        assert call is not None
        call(shared.index[stack[run].key], step, model)

    train_stack(
        shared.base_model, stack, shared.pairs, shared.reference, shared.config,
        folder=_stack_folder(shared.folder, stack), device=shared.device, progress=shared.progress,
        on_checkpoint=None if call is None else numbered,
    )  # fmt: skip


_in_worker: list[_Shared] = []


def _start_worker(shared: _Shared, threads: int) -> None:
    torch.set_num_threads(threads)
    _in_worker[:] = [shared]


def _train_in_worker(stack: Sequence[SweepCell]) -> None:
    _train(_in_worker[0], stack)


def _side_by_side(shared: _Shared, stacks: Sequence[Sequence[SweepCell]], processes: int) -> None:
    from tqdm import tqdm

    quiet = _Shared(**{**vars(shared), "progress": False})  # bars of several processes would overwrite each other
    context, threads = get_context("spawn"), max(1, torch.get_num_threads() // processes)
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_start_worker, initargs=(quiet, threads)
    ) as pool:
        jobs = [pool.submit(_train_in_worker, stack) for stack in stacks]
        try:
            for job in tqdm(as_completed(jobs), total=len(jobs), disable=not shared.progress, unit="stack"):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
