"""Faults for a piece of work: it dies at one of its file operations, or the disk is full from one of them on.

The work runs in a forked child, so that a trial costs no start of Python. Which operations there are in a folder,
Python's audit events say; which of them a trial fails at is the caller's to draw.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir", "shutil.rmtree")
WRITING = ("open", "os.mkdir", "os.rename")

Work = Callable[[], object]


class Operations:
    """Counts the file operations in a folder, and does something at the one numbered ``at`` and every later one."""

    def __init__(self, folder: Path, at: float, then: Callable[[str, tuple[Any, ...]], None]) -> None:
        self.folder, self.at, self.then, self.count = os.fsencode(folder), at, then, 0

    @property
    def begun(self) -> bool:
        """Whether the operation has come."""
        return self.count >= self.at

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an audit event."""
        if event not in EVENTS or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        path = os.fsencode(arguments[0])
        if not path.startswith(b"/"):
            path = os.fsencode(Path.cwd() / os.fsdecode(path))
        if path == self.folder or path.startswith(self.folder + b"/"):
            self.count += 1
            if self.begun:
                self.then(event, arguments)


def events_of(work: Work, folder: Path) -> int:
    """Return how many file operations in ``folder`` a whole run of ``work`` has."""
    reading, writing = os.pipe()
    operations = Operations(folder, math.inf, lambda event, arguments: None)

    def body() -> None:
        sys.addaudithook(operations.hook)
        work()
        os.write(writing, str(operations.count).encode())

    _forked(body)
    os.close(writing)
    with os.fdopen(reading) as stream:
        return int(stream.read() or 0)


def killed_at(work: Work, folder: Path, last: int) -> str:
    """Run ``work`` in a child that is killed (SIGKILL) at its operation number ``last`` in ``folder``."""
    operations = Operations(folder, last, lambda event, arguments: os.kill(os.getpid(), signal.SIGKILL))

    def body() -> None:
        sys.addaudithook(operations.hook)
        work()

    return _forked(body)


def without_space(work: Work, folder: Path, first: int, error: int = errno.ENOSPC) -> str:
    """Run ``work`` in a child for which the disk of ``folder`` is full from its operation number ``first`` on.

    Opening for writing, new folders, renames and flushing to disk then fail with ENOSPC; what was opened before is
    written, and fails when it is flushed. Another ``error`` in its place is EACCES: permission is lost.
    """

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        reads = event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if event in WRITING and not reads:
            raise OSError(error, os.strerror(error), os.fsdecode(arguments[0]))

    operations = Operations(folder, first, refuse)

    def flush(descriptor: int) -> None:
        if operations.begun:
            raise OSError(error, os.strerror(error))

    def body() -> None:
        sys.addaudithook(operations.hook)
        os.fsync = flush
        work()

    return _forked(body)


def on_full_disk(work: Work, disk: Path, left: int) -> str:
    """Run ``work`` in a child while a file fills ``disk``, a small file system, but for ``left`` bytes."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as stream:
            while (free := shutil.disk_usage(disk).free) > left:
                stream.write(bytes(max(min(free - left, 1 << 16), 1)))
        return _forked(work)
    finally:
        filler.unlink()


def _forked(body: Work) -> str:
    """Run ``body`` in a child; return ``done``, ``killed``, ``refused`` (an OSError) or ``traceback`` (another)."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            body()
        except OSError:
            code = 1
        except BaseException:
            traceback.print_exc()
            code = 2
        os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return "killed"
    return {0: "done", 1: "refused"}.get(os.WEXITSTATUS(status), "traceback")
