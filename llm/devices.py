"""Cells of a sweep spread over the processes that ``accelerate launch`` or ``torchrun`` started, a device each.

    accelerate launch --multi_gpu --num_processes 2 my_sweep.py   (with device="cpu" it runs on processors as well)
    torchrun --nproc_per_node 2 my_sweep.py

On processors each takes the threads that OMP_NUM_THREADS says; torchrun sets it to 1 where it is not set. Each process
trains its share of the stacks; no gradient is exchanged, since each cell is whole on one device. A model
that does not fit one device is trained by `gpo_analysis.integrations.trl.GPOTrainer` with FSDP instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

__all__ = ["Place", "on_first", "own_share", "place", "wait_for_all"]

Item = TypeVar("Item")


@dataclass(frozen=True)
class Place:
    """A process among those that were launched.

    Attributes
    ----------
    rank, world
        Number of this process, from 0, and how many there are.
    device
        Its device.
    """

    rank: int
    world: int
    device: torch.device


def place(device: str | torch.device | None = None) -> Place:
    """Return this process's place; joins the group of launched processes the first time.

    Parameters
    ----------
    device
        "cpu", "cuda" or None for a GPU where there is one. With several processes and "cuda" each gets its own.

    Raises
    ------
    ValueError
        For "cuda" where there is none.
    """
    kind = torch.device(device if device is not None else ("cuda" if torch.cuda.is_available() else "cpu"))
    if kind.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {str(kind)!r}, but torch sees no GPU here; accepted is 'cpu'")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Place(0, 1, kind)
    state = _state(kind.type == "cpu")
    if kind.type == "cpu":
        return Place(state.process_index, state.num_processes, kind)
    return Place(state.process_index, state.num_processes, torch.device("cuda", state.local_process_index))


def own_share(items: Sequence[Item], where: Place) -> list[Item]:
    """Return every ``world``-th item from the ``rank``-th on: shares differ by one item at most.

    Examples
    --------
    >>> own_share("abcde", Place(1, 2, torch.device("cpu")))
    ['b', 'd']
    """
    return list(items[where.rank :: where.world])


def wait_for_all(where: Place) -> None:
    """Wait until every process is here."""
    if where.world > 1:
        _state(where.device.type == "cpu").wait_for_everyone()


def on_first(where: Place, act: Callable[[], Any]) -> Any:
    """Let the first process act and give its result to all; an exception there is raised in all."""
    if where.world == 1:
        return act()
    _state(where.device.type == "cpu")
    told: list[Any] = [None, None]
    if where.rank == 0:
        try:
            told = [act(), None]
        except Exception as error:
            told = [None, f"{type(error).__name__}: {error}"]
    torch.distributed.broadcast_object_list(told, src=0)
    if told[1] is not None:
        raise RuntimeError(f"the first process failed: {told[1]}")
    return told[0]


def _state(cpu: bool) -> Any:
    from accelerate import PartialState  # type: ignore[import-untyped]

    return PartialState(cpu=cpu)
