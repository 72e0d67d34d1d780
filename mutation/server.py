"""Work in a forked process that has the third-party modules already, within limits of processor time and memory.

A child that runs past its processor time is ended by the kernel (SIGXCPU); one that waits for 45 seconds without
using any, or that takes more memory than it may, is ended by its parent together with its own children.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: pytest says of some that they came too early to have their assertions rewritten; the project makes warnings errors.
QUIET = ("-p", "no:cacheprovider", "-W", "ignore:Module already imported")
STALLED = 45.0
MEMORY = 3 * 2**30


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Parameters
    ----------
    how : {"exit", "signal", "processor time", "stalled", "memory"}
    code : int
        Exit status or signal.
    seconds : float
        Processor time.
    """

    how: str
    code: int
    seconds: float


def preload() -> None:
    """Import what every test needs, once."""
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", MPLBACKEND="Agg")
    import mutation.preloaded  # noqa: F401

    gc.collect()
    gc.freeze()  # collections in the children pass over all of this
    ours = [name for name in sys.modules if name.partition(".")[0] in ("gpo_analysis", "llm")]
    if ours:
        raise RuntimeError(f"{ours[0]} was imported before the fork; a fault in it would not be seen")


def import_path(*first: Path) -> str:
    """What PYTHONPATH is for subprocesses: some folders, then those of now, without the tree that this is run from."""
    own = str(Path(__file__).parents[1])
    kept = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one and os.path.realpath(one) != own]
    return os.pathsep.join([*map(str, first), *kept])


def forked(
    work: Callable[[], int], log: Path, processor: float, stalled: float = STALLED, memory: int = MEMORY
) -> Ended:
    """Run `work` in a child with its output in a file; its return value is the exit status."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _inside(work, log, processor)
    start, moved, before = time.monotonic(), time.monotonic(), 0.0
    how = ""
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.02 if time.monotonic() - start < 5 else 0.2)
        used, taken = _family(child)
        if used > before + 0.05:
            moved, before = time.monotonic(), used
        if taken > memory:
            how = "memory"
        elif used > 2 * processor + 10:  # subprocesses have limits of their own
            how = "processor time"
        elif time.monotonic() - moved > stalled:
            how = "stalled"
        if how:
            _end(child)
    _end(child)  # what it left behind
    code = os.waitstatus_to_exitcode(status)
    if not how:
        how = "exit" if code >= 0 else "processor time" if -code in (signal.SIGXCPU, signal.SIGKILL) else "signal"
    return Ended(how, abs(code), usage.ru_utime + usage.ru_stime)


def _inside(work: Callable[[], int], log: Path, processor: float) -> None:
    code = 70
    try:
        os.setsid()
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(target, 1)
        os.dup2(target, 2)
        limit = int(processor + time.process_time()) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _session(leader: int) -> list[int]:
    """The processes of a child's session, itself included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader:
                found.append(int(entry.name))
    return found


def _family(leader: int) -> tuple[float, int]:
    """Processor time and memory of a child's session."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    used, memory = 0.0, 0
    for process in _session(leader):
        try:
            fields = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
            private = Path("/proc", str(process), "statm").read_text().split()
        except OSError:
            continue
        used += (int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) / ticks
        memory += (int(private[1]) - int(private[2])) * page
    return used, memory


def _end(leader: int) -> None:
    for process in _session(leader):
        try:
            os.kill(process, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
