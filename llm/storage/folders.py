"""Folders: written whole or not at all, and used by one run at a time."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

LOCK = "run.lock"


@contextmanager
def new_folder(folder: str | os.PathLike[str], *, replaces: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``folder`` when the block ends without an exception.

    Parameters
    ----------
    folder
        The place. What stands there is replaced.
    replaces
        Where given, names that what stands there may hold; anything else in it is an error, so that a mistyped path
        never removes a stranger's files.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    strange = {path.name for path in target.iterdir()} - set(replaces) if replaces and target.is_dir() else set()
    if strange:
        raise ValueError(f"{target} holds {', '.join(sorted(strange))}; it is not replaced")
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    fresh.chmod(0o755)
    try:
        yield fresh
        aside = fresh.with_name(fresh.name + ".old")
        if target.exists():
            target.rename(aside)
        fresh.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def one_run(folder: str | os.PathLike[str], *, held: bool = True) -> Iterator[None]:
    """Hold a folder for this process until the block ends; the lock ends with the process, however it ends.

    Parameters
    ----------
    folder : path
        It exists.
    held : bool
        False holds nothing: of launched processes one holds the folder for all.

    Raises
    ------
    ValueError
        Where another process holds the folder, naming it.
    """
    path = Path(folder) / LOCK
    if not held or sys.platform == "win32":
        yield
        return
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise ValueError(f"{folder} is being run by {_holder(stream.read())}; wait for its end") from None
        stream.seek(0)
        stream.truncate()
        stream.write(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        stream.flush()
        yield  # the file stays: removing it would let two processes hold two files of one name


def _holder(text: str) -> str:
    try:
        found = json.loads(text)
        return f"process {found['process']} on {found['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
