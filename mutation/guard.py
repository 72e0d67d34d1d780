"""What a program with a fault in it may not do: end other processes, write or remove outside its own folder.

An audit hook, in the forked process and (by a ``sitecustomize`` on its path) in the Python processes that it starts. It
is a net under honest code with one small fault in it, no prison.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Of these events the arguments named are paths that are changed.
CHANGED = {
    "os.remove": 1, "os.rename": 2, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "shutil.rmtree": 1,
    "os.chmod": 1, "os.chown": 1, "os.link": 2, "os.symlink": 2, "shutil.move": 2, "os.utime": 1,
}  # fmt: skip


def guarded(folder: Path) -> None:
    """Refuse from now on, in this process."""
    inside = (os.path.realpath(folder) + os.sep, "/dev/", "/proc/self/")

    def outside(path: Any) -> bool:
        if isinstance(path, int) or path is None:
            return False
        return not (os.path.realpath(os.fsdecode(path)) + os.sep).startswith(inside)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING and outside(path):
                raise PermissionError(f"a program with a fault in it wants to write {path}")
        elif event in CHANGED:
            for path in arguments[: CHANGED[event]]:
                if not isinstance(path, str | bytes | os.PathLike | int):
                    continue
                if isinstance(arguments[-1], int) and arguments[-1] >= 0 and event in ("os.remove", "os.rmdir"):
                    continue  # relative to a descriptor: shutil.rmtree, which was asked before
                if outside(path):
                    raise PermissionError(f"a program with a fault in it wants to change {path}")
        elif event in ("os.kill", "os.killpg") and arguments[1] != 0:
            try:
                same = os.getsid(arguments[0]) == os.getsid(0) if arguments[0] > 1 else False
            except OSError:
                same = False
            if not same:
                raise PermissionError(f"a program with a fault in it wants to end process {arguments[0]}")

    sys.addaudithook(hook)


def write_startup(folder: Path) -> None:
    """Make a folder which, on the path of an interpreter, puts the guard into it."""
    folder.mkdir()
    source = Path(__file__).read_text(encoding="utf-8")
    (folder / "_mutation_guard.py").write_text(source, encoding="utf-8")
    (folder / "sitecustomize.py").write_text(
        "import os, pathlib\nif 'MUTATION_FOLDER' in os.environ:\n"
        "    from _mutation_guard import guarded\n    guarded(pathlib.Path(os.environ['MUTATION_FOLDER']))\n",
        encoding="utf-8",
    )
