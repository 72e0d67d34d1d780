"""Trained policies on disk: what a cell's training changed, over the model that the sweep started from.

A file holds the trained parameters of one cell after one step, and says whose they are. All that reads policies reads
these files: evaluation, and whoever wants a policy of a finished sweep.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from llm.storage.checkpoints import CheckpointError, load_tensors, save_tensors
from llm.storage.reports import FILE, read_document
from llm.training.cells import SweepCell
from llm.training.lora_stacks import make_stack
from llm.training.trace import stopped_before


@dataclass(frozen=True)
class PolicyFile:
    """A policy that was exported.

    Attributes
    ----------
    cell : SweepCell
        Which one.
    step : int
        Steps done.
    key : str
        Of all that its training depended on.
    path : Path
        The file.
    """

    cell: SweepCell
    step: int
    key: str
    path: Path

    @property
    def meta(self) -> dict[str, str]:
        """What the file says of itself."""
        return {"cell": json.dumps(asdict(self.cell), sort_keys=True), "step": str(self.step), "key": self.key}


def policy_file(folder: Path, cell: SweepCell, step: int, key: str) -> PolicyFile:
    """Return the file of a cell's policy after a step, in its stack's folder, whether it is there or not."""
    return PolicyFile(cell, step, key, folder / f"policy-{cell.key}-{step:08d}.safetensors")


def expected_policies(
    folder: Path, stack: Sequence[SweepCell], statuses: Sequence[str], steps: Sequence[int], key: str
) -> Iterator[PolicyFile]:
    """Yield the file of every cell and evaluated step that the cell was not stopped before."""
    for cell, status in zip(stack, statuses, strict=True):
        for step in steps:
            if not stopped_before(status, step):
                yield policy_file(folder, cell, step, key)


def export_policy(file: PolicyFile, model: Any) -> None:
    """Write the parameters of a model that train, the whole file or nothing."""
    whole = not hasattr(model, "peft_config")  # of a model with adapters these alone train
    trained = {name: value.detach() for name, value in model.named_parameters() if whole or value.requires_grad}
    save_tensors(trained, file.path, file.meta)


def load_policy(base_model: Any, file: PolicyFile) -> Any:
    """Return a policy as a model of its own, in evaluation mode.

    Parameters
    ----------
    base_model : model
        Where the sweep started; what was frozen in it is shared.
    file : PolicyFile
        The policy.

    Raises
    ------
    CheckpointError
        For a file that is missing, not what was written, or of another policy.
    """
    tensors, meta = load_tensors(file.path)
    if meta != file.meta:
        raise CheckpointError(f"{file.path} holds another policy than {file.cell.key} after step {file.step}")
    stack = make_stack(base_model, 1)
    missing = sorted(set(stack.parameters) ^ set(tensors))
    if missing:
        raise CheckpointError(f"{file.path} does not fit the base model: {missing[0]} is in one of them alone")
    stack.load({name: tensors[name][None] for name in stack.parameters})
    return stack.cell(0)


def is_whole(file: PolicyFile) -> bool:
    """Whether the file is there, as it was written, and holds this policy."""
    try:
        return load_tensors(file.path)[1] == file.meta
    except CheckpointError:
        return False


def load_cell(
    base_model: Any, folder: str | os.PathLike[str], cell: SweepCell, *, step: int | None = None
) -> torch.nn.Module:
    """Return the model of a cell of a finished sweep.

    Parameters
    ----------
    base_model : model
        Where the sweep started.
    folder : path
        The sweep's.
    cell : SweepCell
        One of its cells.
    step : int, optional
        One of the evaluated steps; the last that was exported unless given.

    Raises
    ------
    ValueError
        Where no stack of the folder has the cell, or several trained in different ways have it.
    """
    found = []
    for path in sorted(Path(folder).glob("stacks/*")):
        document = read_document(path / FILE)
        if document is not None and asdict(cell) in document["report"]["cells"]:
            status = document["report"]["statuses"][document["report"]["cells"].index(asdict(cell))]
            steps = document["report"]["steps"] if step is None else [step]
            found.append(list(expected_policies(path, [cell], [status], steps, document["key"])))
    if len(found) != 1 or not found[0]:
        where = "no stack" if not found else f"{len(found)} stacks" if len(found) > 1 else "no export"
        raise ValueError(f"{folder} has {where} with the cell {cell.key}" + (f" after step {step}" if step else ""))
    model: torch.nn.Module = load_policy(base_model, found[0][-1])
    return model
