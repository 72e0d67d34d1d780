"""Locks of folders: one run a folder, named; many writers and one cleaner of temporaries.

A lock goes with its process, however that ends, and is not passed on to forked children. Windows and some network
disks have no such locks; nothing is then held back. Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

RUN_LOCK = ".lock"


class FolderBusy(OSError):
    """Another process is at work in the folder; the message names it."""


@contextlib.contextmanager
def run_lock(folder: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Be the only run in ``folder``; the lock names this process and goes with it, however it ends.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    what : str
        Who holds it, in words: the command.

    Raises
    ------
    FolderBusy
        Where another process holds it; the message names that process.
    """
    path = Path(folder) / RUN_LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    while True:
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(path)
            _closed(descriptor)
            raise FolderBusy(errno.EBUSY, f"{holder} is at work in {folder}; wait for it or end it") from None
        except OSError:  # no locks on this disk
            break
        if _still_there(descriptor, path):
            break
        _closed(descriptor)  # the former holder has removed it in between
    note = {"pid": os.getpid(), "host": socket.gethostname(), "what": what}
    owner = os.getpid()
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(note, ensure_ascii=False).encode())
        yield
    finally:
        if os.getpid() == owner:  # and not in a child that was forked meanwhile
            path.unlink(missing_ok=True)
            _closed(descriptor)


def _holder(path: Path) -> str:
    """Return the process that holds a lock, in words."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return f"process {note['pid']} on {note['host']} ({note['what']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _still_there(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


@contextlib.contextmanager
def lock_of(folder: Path, *, exclusive: bool) -> Iterator[bool]:
    """Hold the file ``lock`` in ``folder``: shared (waits) for writers, exclusive (does not wait) for cleaning."""
    if sys.platform == "win32":
        yield True
        return
    descriptor = _opened(folder / "lock")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
            held = True
        except OSError:
            held = False  # somebody writes, or a file system without locks: then nothing is cleaned
        yield held
    finally:
        _closed(descriptor)


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[bool]:
    """Hold a file that is there, unless somebody else does; yield whether it is held (on Windows always)."""
    if sys.platform == "win32":
        yield True
        return
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:  # its writer is done
        yield False
        return
    _DESCRIPTORS.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except OSError:
            held = False
        yield held
    finally:
        _closed(descriptor)


_DESCRIPTORS: set[int] = set()


def _opened(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    _DESCRIPTORS.add(descriptor)
    return descriptor


def _closed(descriptor: int) -> None:
    if descriptor in _DESCRIPTORS:
        _DESCRIPTORS.discard(descriptor)
        os.close(descriptor)


def _closed_in_child() -> None:
    """A forked child would hold its parent's locks on beyond the parent's end."""
    for descriptor in list(_DESCRIPTORS):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _DESCRIPTORS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_closed_in_child)
