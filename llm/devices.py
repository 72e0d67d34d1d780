"""Work spread over processes: those that ``accelerate launch`` or ``torchrun`` started, a device each, or our own.

    accelerate launch --multi_gpu --num_processes 2 my_sweep.py   (with device="cpu" it runs on processors as well)
    torchrun --nproc_per_node 2 my_sweep.py

On processors each takes the threads that OMP_NUM_THREADS says; torchrun sets it to 1 where it is not set. Each process
trains its share of the stacks; no gradient is exchanged, since each cell is whole on one device. A model
that does not fit one device is trained by ``python -m llm train`` or GPOTrainer under FSDP instead (``accelerate launch
--use_fsdp``, GPUs only: accelerate does not shard on processors).

Processes of our own (`spread`) work side by side on a CPU; they and launched ones end with the one that started them,
however it ends. On Linux they are forked from a server that has imported torch, models and the module of the work once,
some four seconds of processor time; elsewhere each imports them itself.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any, TypeVar

import torch

from gpo_analysis.signals import sigint_blocked

Item = TypeVar("Item")


@dataclass(frozen=True)
class Rank:
    """A process among those that were launched.

    Attributes
    ----------
    rank, world : int
        Number of this process, from 0, and how many there are.
    device : torch.device
        Its device.
    """

    rank: int
    world: int
    device: torch.device


def this_rank(device: str | torch.device | None = None) -> Rank:
    """Return which of the launched processes this is; joins their group the first time.

    Parameters
    ----------
    device : {"cpu", "cuda"}, optional
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
        return Rank(0, 1, kind)
    state = _state(kind.type == "cpu")
    if kind.type == "cpu":
        return Rank(state.process_index, state.num_processes, kind)
    return Rank(state.process_index, state.num_processes, torch.device("cuda", state.local_process_index))


def own_share(items: Sequence[Item], where: Rank) -> list[Item]:
    """Return every ``world``-th item from the ``rank``-th on: shares differ by one item at most.

    Examples
    --------
    >>> own_share("abcde", Rank(1, 2, torch.device("cpu")))
    ['b', 'd']
    """
    return list(items[where.rank :: where.world])


def wait_for_all(where: Rank) -> None:
    """Wait until every process is here."""
    if where.world > 1:
        _state(where.device.type == "cpu").wait_for_everyone()


def on_first(where: Rank, act: Callable[[], Any]) -> Any:
    """Let the first process act and give its result to all; an exception there is raised in all."""
    if where.world == 1:
        return act()
    _state(where.device.type == "cpu")
    outcome: list[Any] = [None, None]
    if where.rank == 0:
        try:
            outcome = [act(), None]
        except Exception as error:
            outcome = [None, f"{type(error).__name__}: {error}"]
    torch.distributed.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise RuntimeError(f"the first process failed: {outcome[1]}")
    return outcome[0]


def spread(
    work: Callable[[Any, Any], Any],
    jobs: Sequence[Any],
    shared: Any,
    *,
    processes: int = 1,
    progress: bool = False,
    unit: str = "job",
) -> list[Any]:
    """Return ``[work(shared, job) for job in jobs]``, computed by processes side by side where more than one is asked.

    Parameters
    ----------
    work : callable
        A function of a module, so that it pickles.
    jobs : sequence
        Done in this order, as processes get free.
    shared : object
        What every job needs; each process gets a copy once.
    processes : int
        How many; they share this process's threads. They import the caller's module: its work stands behind
        ``if __name__ == "__main__":``. They end when this process does, even by SIGKILL.
    progress : bool
        Whether to show a bar.
    unit : str
        What a job is, on the bar.
    """
    from tqdm import tqdm

    processes = min(processes, len(jobs))
    if processes <= 1:
        return [work(shared, job) for job in jobs]
    threads = max(1, torch.get_num_threads() // processes)
    others = set(active_children())
    with ProcessPoolExecutor(
        processes,
        mp_context=_context(work.__module__),
        initializer=_start_worker,
        initargs=(work, shared, threads, dict(os.environ)),
    ) as pool:
        with sigint_blocked():
            running = [pool.submit(_work_here, job) for job in jobs]
        try:
            for done in tqdm(as_completed(running), total=len(running), disable=not progress, unit=unit):
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(active_children()) - others:  # at work, and deaf to Ctrl-C
                process.terminate()
            raise
        return [done.result() for done in running]


_here: list[Any] = []
_watching: list[bool] = []


def _context(module: str) -> Any:
    """How processes are started: forked from a server with the imports done, where that is safe.

    The server starts with the first process and stays as long as this one; what it has not imported, workers import.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["transformers.models.llama.modeling_llama", module])
    return context


def _start_worker(work: Callable[[Any, Any], Any], shared: Any, threads: int, environment: dict[str, str]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()  # the server's is that of its start
    os.environ.update(environment)
    torch.set_num_threads(threads)
    _here[:] = [work, shared]


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, and end at once: nobody would take the work."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _work_here(job: Any) -> Any:
    work, shared = _here
    return work(shared, job)


def _state(cpu: bool) -> Any:
    from accelerate import PartialState  # type: ignore[import-untyped]

    if not _watching:
        _watching.append(True)
        threading.Thread(target=_end_with_launcher, args=(os.getppid(),), daemon=True).start()
    # the first process may be at work for hours while the others wait; one that fails ends all by the launcher
    return PartialState(cpu=cpu, timeout=timedelta(days=7))


def _end_with_launcher(launcher: int) -> None:
    """Wait for the launcher's end and end at once: it ends its processes itself, unless it is killed."""
    while os.getppid() == launcher:
        time.sleep(1.0)
    os._exit(1)
