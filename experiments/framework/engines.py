"""Where cells are computed: in this process, in several on this machine, or on a Dask cluster.

On a cluster results travel through the scheduler and are written here, so that workers need no common disk. joblib's
Dask back end is not used for it: it says nothing of a task whose workers died too often, and the run would wait for
ever; `distributed` does. To it every task that sat on a lost worker is suspect, its innocent neighbours too: a suspect
therefore runs once more, alone on the cluster, and fails only if its workers are lost then too. The others go on.
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from experiments.framework.cells import Cell, Failure, compute, compute_elsewhere, keep, one_line
from gpo_analysis.signals import sigint_blocked

LOCAL = "local"
PASSED_ON = ("GPO_DATA", "GPO_LLM")
"""Variables of the environment that experiments read, and workers therefore get."""

ADDRESS = re.compile(r"(?:(?:tcp|tls|ws|wss)://)?[^/\s]+:\d+")

LOST_WORKERS = 2
"""How many workers may be lost on one cell before it counts as suspect, or, alone on the cluster, as failed."""

NO_WORKER = "300s"
"""How long a cluster of this run's own may be without any worker; Dask gives up starting one where that fails."""


class SchedulerError(OSError):
    """The Dask scheduler cannot be used; the message says why, in one line."""


def computed(
    cells: Sequence[Cell], given_up: Callable[[int], bool], jobs: int = 1, scheduler: str | None = None
) -> Iterator[tuple[int, Failure | None]]:
    """Yield index and failure of every cell as it is done.

    Parameters
    ----------
    cells : list of Cell
        What to compute; each result is kept in the cell's file.
    given_up : Callable[[int], bool]
        Whether the cell with this index need not be computed any more; it is then yielded without a failure.
    jobs : int
        Processes on this machine.
    scheduler : str or None
        Address of a Dask scheduler such as ``tcp://host:8786``, or ``local`` for a cluster of `jobs` workers that lives
        as long as the run; None for no Dask.

    Raises
    ------
    SchedulerError
        Where the cluster cannot be reached or has no worker.
    """
    if scheduler is not None:
        yield from _on_cluster(cells, given_up, jobs, scheduler)
    elif jobs == 1:
        for index, cell in enumerate(cells):
            yield index, (None if given_up(index) else compute(cell))
    else:
        yield from _in_processes(cells, given_up, jobs)


def _in_processes(
    cells: Sequence[Cell], given_up: Callable[[int], bool], jobs: int
) -> Iterator[tuple[int, Failure | None]]:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.backend.resource_tracker import ensure_running

    def tasks() -> Iterator[Any]:
        for index, cell in enumerate(cells):
            if given_up(index):
                skipped.append(index)
            else:
                yield delayed(_numbered)(index, cell, os.getpid())

    skipped: list[int] = []
    try:
        with parallel_config(backend="loky", inner_max_num_threads=1):
            ensure_running()  # joblib's own tracker unblocks Ctrl-C when it starts, as the library's does (before 1.6)
            with sigint_blocked():  # workers inherit it: Ctrl-C in a terminal reaches them too, and is for us alone
                results = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(tasks())
            yield from results
    except BaseException:
        get_reusable_executor().shutdown(wait=False, kill_workers=True)
        raise
    yield from ((index, None) for index in skipped)


def _numbered(index: int, cell: Cell, parent: int) -> tuple[int, Failure | None]:
    return index, compute(cell, parent)


class _WorkersLost(Exception):
    """The workers of a cell were lost as often as Dask allows."""


def _on_cluster(
    cells: Sequence[Cell], given_up: Callable[[int], bool], jobs: int, scheduler: str
) -> Iterator[tuple[int, Failure | None]]:
    with connected(scheduler, jobs) as client:
        suspects = []
        for index, failure in _submitted(client, cells, range(len(cells)), given_up):
            if isinstance(failure, _WorkersLost):
                suspects.append(index)
            else:
                yield index, failure
        for index in suspects:
            if given_up(index):
                yield index, None
                continue
            for _, failure in _submitted(client, cells, [index], given_up):
                if isinstance(failure, _WorkersLost):
                    reason = f"{LOST_WORKERS + 1} workers were lost on it while it ran alone"
                    failure = Failure(reason, f"{reason}\n{failure}")
                yield index, failure


def _submitted(
    client: Any, cells: Sequence[Cell], indices: Iterable[int], given_up: Callable[[int], bool]
) -> Iterator[tuple[int, Failure | _WorkersLost | None]]:
    """Compute some of the cells at once; results are kept here."""
    from distributed import as_completed

    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    futures = {client.submit(compute_elsewhere, cells[k], environment, pure=False): k for k in indices}
    for future in as_completed(futures, loop=client.loop):
        index = futures.pop(future)
        failure = None if future.cancelled() else _kept(cells[index], future)
        future.release()  # kept here: were its worker lost later, Dask would compute it again
        yield index, failure
        waiting = [other for other, k in futures.items() if not other.done() and given_up(k)]
        if waiting:
            client.cancel(waiting)


def _kept(cell: Cell, future: Any) -> Failure | _WorkersLost | None:
    """Write what came back; or say why nothing did."""
    from distributed.scheduler import KilledWorker

    try:
        result = future.result()
        if isinstance(result, Failure):
            return result
        keep(cell, result)
    except KilledWorker as error:
        return _WorkersLost(str(error))
    except Exception as error:  # the disk is full, or the cluster cannot be reached any more
        return Failure(one_line(error), traceback.format_exc())
    return None


@contextmanager
def connected(scheduler: str, jobs: int = 1) -> Iterator[Any]:
    """A client of the Dask scheduler at this address, with at least one worker.

    Raises
    ------
    SchedulerError
        Where Dask is not installed, nobody answers within five seconds, or no worker comes within thirty.
    """
    try:
        import dask
        from distributed import LocalCluster
    except ImportError as error:
        raise SchedulerError(f"--scheduler needs Dask ({error}): pip install 'gpo-analysis[dask]'") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of a lost worker its cell says
    settings = {
        "distributed.scheduler.allowed-failures": LOST_WORKERS,
        "distributed.scheduler.no-workers-timeout": NO_WORKER,
    }
    with dask.config.set(settings), ExitStack() as stack:
        target: Any = scheduler
        if scheduler == LOCAL:
            with sigint_blocked():
                target = LocalCluster(
                    n_workers=jobs,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",  # any free port: two runs side by side are none of each other's
                    scheduler_kwargs={"dashboard": False},
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                )
            stack.enter_context(target)
        client = stack.enter_context(_client(target, scheduler))
        try:
            client.wait_for_workers(1, timeout=30)
        except TimeoutError:
            raise SchedulerError(
                f"the scheduler {scheduler} has no worker; start some: dask worker {scheduler}"
            ) from None
        yield client


def _client(target: Any, scheduler: str) -> Any:
    from distributed import Client

    try:
        if isinstance(target, str) and not ADDRESS.fullmatch(target):
            raise ValueError("not an address")
        return Client(target, timeout=5, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SchedulerError(
            f"no Dask scheduler answers at {scheduler!r} ({one_line(error)}); accepted are 'local' and addresses such "
            "as tcp://127.0.0.1:8786"
        ) from None
