"""Sweeps: many (f, β, seed) cells trained in stacks, in processes side by side or ranks of a launcher, and exported.

Cells of one seed and arm share their batches of pairs, and all share one table of reference log-probabilities. A
sweep's folder has ``plan.json`` with the stack size and what was measured for it, and a folder a stack, named by the
key of all that its training depends on: checkpoints while it trains; then the policies of every evaluated step
(`llm.sweep.export`), the trace, and the report that says that it is finished. A sweep that was stopped goes on with the
same stacks, and a file that is not what was written is made again.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpo_analysis.arrays import FloatArray
from llm.budget import Stop
from llm.devices import on_first, own_share, spread, this_rank, wait_for_all
from llm.policy.batches import TokenizedPairs
from llm.storage.checkpoints import load_tensors, remove_checkpoints, save_tensors
from llm.storage.reports import finished_report, mark_done
from llm.sweep.export import PolicyFile, expected_policies, export_policy, is_whole, policy_file
from llm.sweep.inputs import SweepInputs
from llm.sweep.measure import planned_size
from llm.sweep.plan import plan_stacks
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from llm.training.trace import trace_table
from llm.training.trainer import OtherRunError, train_stack

if TYPE_CHECKING:
    import pandas as pd

OnCheckpoint = Callable[[SweepCell, int, Any], None]
TRACE_FILE = "trace.safetensors"


@dataclass(frozen=True, eq=False)
class StackReport:
    """A stack that is finished.

    Attributes
    ----------
    cells, statuses : tuples
        Its cells; "finished" or "nan at step k" for each.
    folder : Path
        Where it lies.
    key : str
        Of all that its training depended on.
    steps : tuple of int
        Steps whose policies were exported.
    """

    cells: tuple[SweepCell, ...]
    statuses: tuple[str, ...]
    folder: Path
    key: str
    steps: tuple[int, ...]

    def policies(self) -> list[PolicyFile]:
        """Return the exported policies, those of a cell one after another."""
        return list(expected_policies(self.folder, self.cells, self.statuses, self.steps, self.key))

    def trace(self) -> FloatArray:
        """Return the trace (steps, cells, len(TRACE)) of its training."""
        return np.asarray(load_tensors(self.folder / TRACE_FILE)[0]["trace"].numpy())


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep left in its folder.

    Attributes
    ----------
    cells : tuple of SweepCell
        In the order given.
    stacks : tuple of StackReport
        Every one of the cells is in one of them.
    stack_size : int
        Most cells trained together.
    trained : int
        Stacks that were not there yet, whole, when the sweep was run.
    """

    cells: tuple[SweepCell, ...]
    stacks: tuple[StackReport, ...]
    stack_size: int
    trained: int

    @property
    def statuses(self) -> tuple[str, ...]:
        """ "finished" or "nan at step k" of each cell, in the order of ``cells``."""
        by_key = {
            cell.key: status for stack in self.stacks for cell, status in zip(stack.cells, stack.statuses, strict=True)
        }
        return tuple(by_key[cell.key] for cell in self.cells)

    def policies(self) -> list[PolicyFile]:
        """Return every exported policy, in the order of ``cells`` and steps."""
        found: dict[str, list[PolicyFile]] = {}
        for file in (file for stack in self.stacks for file in stack.policies()):
            found.setdefault(file.cell.key, []).append(file)
        return [file for cell in self.cells for file in found.get(cell.key, [])]

    def joined(self, other: SweepResult) -> SweepResult:
        """Both sweeps of one folder as one; their cells differ."""
        return SweepResult(
            (*self.cells, *other.cells), (*self.stacks, *other.stacks), max(self.stack_size, other.stack_size),
            self.trained + other.trained,
        )  # fmt: skip

    def table(self) -> pd.DataFrame:
        """Return the trace of every cell, a row a step and cell."""
        import pandas as pd

        parts = [trace_table(stack.cells, stack.statuses, stack.trace()) for stack in self.stacks]
        return pd.concat(parts, ignore_index=True)


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
    arms: Mapping[str, int] | None = None,
    progress: bool = False,
    on_checkpoint: OnCheckpoint | None = None,
    stop: Stop | None = None,
) -> SweepResult:
    """Train and export every cell of a sweep, each stack from its last checkpoint in ``folder`` where there is one.

    Where a launcher started several processes (`llm.devices`), each trains its share of the stacks.

    Parameters
    ----------
    base_model, pairs, reference, config, progress : as of `llm.training.trainer.train_stack`
    cells : sequence of SweepCell
        Of any seeds and arms.
    folder : path
        Of the sweep; on a disk that all ranks see.
    device : {"cpu", "cuda"}, optional
        The base model's by default, one GPU a rank.
    stack_size : int, optional
        Most cells trained together; measured where None.
    processes : int
        Processes side by side on a CPU, which share its threads. They are spawned: the caller's module must be
        importable, its work behind ``if __name__ == "__main__":``, and ``on_checkpoint`` a function that pickles.
    arms : mapping of str to int, optional
        How many of the first pairs the cells of an arm see; all for an arm that is not named.
    on_checkpoint : callable, optional
        Called with the cell, the steps done and the cell's model, in the process that trains it, at evaluated steps.
    stop : callable, optional
        Asked before each step whether to stop there; one process on one machine.

    Returns
    -------
    SweepResult
        The same in every rank.

    Raises
    ------
    ValueError
        As `train_stack`; for several processes on a GPU, or with ``stop``.
    TimeIsUp
        Where ``stop`` said so; what is trained is kept.
    """
    where = this_rank(device if device is not None else next(base_model.parameters()).device)
    if processes < 1 or (processes > 1 and (where.device.type != "cpu" or where.world > 1)):
        raise ValueError(f"processes is {processes}; accepted is 1, or more on a CPU without a launcher")
    if stop is not None and max(processes, where.world) > 1:
        raise ValueError(f"stop is given with {max(processes, where.world)} processes; accepted is one")
    root = Path(folder)
    inputs = SweepInputs(base_model, pairs, np.asarray(reference), config, dict(arms or {}))
    size = on_first(
        where,
        lambda: planned_size(
            root, inputs, cells, device=where.device, stack_size=stack_size, workers=max(processes, where.world)
        ),
    )
    stacks = plan_stacks(cells, size)
    before = on_first(where, lambda: [read_stack(root, inputs, stack) is not None for stack in stacks])
    missing = [stack for stack, done in zip(stacks, before, strict=True) if not done]
    mine = own_share(missing, where)
    job = _Job(inputs, root, where.device, progress and (processes == 1 or len(mine) == 1), on_checkpoint, stop)
    spread(_train, mine, job, processes=processes, progress=progress, unit="stack")
    wait_for_all(where)
    reports = []
    for stack in stacks:
        report = read_stack(root, inputs, stack, verify=False)
        if report is None:
            raise OSError(f"the stack with {stack[0].key} in {root} was trained and cannot be read back")
        if where.rank == 0:
            remove_checkpoints(report.folder)  # of a run that was killed after its report
        reports.append(report)
    return SweepResult(tuple(cells), tuple(reports), size, len(missing))


def read_stack(
    root: Path, inputs: SweepInputs, stack: Sequence[SweepCell], *, verify: bool = True
) -> StackReport | None:
    """Return what a finished stack left; None where it is not finished, or a file is not what was written.

    Parameters
    ----------
    root : Path
        The sweep's folder.
    inputs : SweepInputs
        The sweep's.
    stack : sequence of SweepCell
        The cells.
    verify : bool
        Whether to read every exported policy.
    """
    key = inputs.key(stack)
    folder = _folder(root, key)
    report = finished_report(folder, key)
    if report is None or report["cells"] != [asdict(cell) for cell in stack]:
        return None
    if not set(inputs.config.evaluated_steps) <= set(report["steps"]):
        return None
    steps = inputs.config.evaluated_steps
    found = StackReport(tuple(stack), tuple(report["statuses"]), folder, key, tuple(steps))
    return found if not verify or all(map(is_whole, found.policies())) else None


@dataclass(frozen=True, eq=False)
class _Job:
    """What all stacks of a sweep share."""

    inputs: SweepInputs
    root: Path
    device: torch.device
    progress: bool
    on_checkpoint: OnCheckpoint | None
    stop: Stop | None


def _folder(root: Path, key: str) -> Path:
    return root / "stacks" / key[:16]


def _train(job: _Job, stack: Sequence[SweepCell]) -> None:
    """Train and export a stack, from its last checkpoint; from the start where what was exported is not whole."""
    key = job.inputs.key(stack)
    folder = _folder(job.root, key)
    try:
        whole = _train_once(job, stack, folder, key)
    except OtherRunError as error:
        print(f"{error}; trained again", file=sys.stderr)
        whole = False
    if not whole:
        shutil.rmtree(folder, ignore_errors=True)
        if not _train_once(job, stack, folder, key):
            raise OSError(f"policies written to {folder} cannot be read back")


def _train_once(job: _Job, stack: Sequence[SweepCell], folder: Path, key: str) -> bool:
    """Train a stack and mark it done; False where a policy exported before is not what was written."""
    inputs = job.inputs
    pairs, reference = inputs.of_arm(stack[0].arm)

    def export(index: int, step: int, model: Any) -> None:
        export_policy(policy_file(folder, stack[index], step, key), model)
        if job.on_checkpoint is not None:
            job.on_checkpoint(stack[index], step, model)

    result = train_stack(
        inputs.base_model, stack, pairs, reference, inputs.config, folder=folder, device=job.device,
        progress=job.progress, on_checkpoint=export, stop=job.stop,
    )  # fmt: skip
    steps = inputs.config.evaluated_steps
    if not all(map(is_whole, expected_policies(folder, stack, result.statuses, steps, key))):
        return False
    save_tensors({"trace": torch.from_numpy(result.trace)}, folder / TRACE_FILE, {"key": key})
    report = {"cells": [asdict(cell) for cell in stack], "statuses": result.statuses, "steps": steps}
    mark_done(folder, key, report, [TRACE_FILE])
    remove_checkpoints(folder)  # the policies are exported: nothing goes on from them
    return True
