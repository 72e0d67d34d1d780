"""Work in a process of its own, that is killed: forked from a server with the imports done."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PRELOADED = ["transformers.models.llama.modeling_llama", "pandas", "llm.study.pipeline"]


def command(words: list[str]) -> None:
    """``python -m llm`` and these words."""
    from llm.__main__ import main

    sys.exit(main(words))


def killed_after(folder: Path, pattern: str, work: Callable[..., object], *arguments: Any) -> None:
    """Run ``work(*arguments)``, a function of a module; SIGKILL comes at its first file operation once a file is there.

    The work sends it to itself: it cannot have ended before, however busy the machine is.

    Parameters
    ----------
    folder : path
    pattern : str
        Of the file, in ``folder``.
    work : callable
    *arguments : object
    """
    context: Any = get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_dying, args=(folder, pattern, work, arguments))
    process.start()
    process.join()
    assert process.exitcode == -9, f"it ended by itself ({process.exitcode}) and was to be killed"


def _dying(folder: Path, pattern: str, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    def hook(event: str, _: tuple[Any, ...]) -> None:
        if event in ("open", "os.mkdir", "os.rename") and any(folder.glob(pattern)):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    work(*arguments)
