"""Work in a process of its own, to be killed: forked from a server with the imports done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

PRELOADED = ["transformers.models.llama.modeling_llama", "pandas", "llm.study.pipeline"]


def started(work: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Start ``work(*arguments)``, a function of a module."""
    context: Any = get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(PRELOADED)
    process: BaseProcess = context.Process(target=work, args=arguments)
    process.start()
    return process


def command(words: list[str]) -> None:
    """``python -m llm`` and these words."""
    from llm.__main__ import main

    sys.exit(main(words))


def kill_when(process: BaseProcess, reached: Callable[[], object], wait: float = 0.02) -> None:
    """Send SIGKILL once that is so, however long this machine takes; a process that ended by itself fails the test."""
    while process.is_alive() and not reached():
        time.sleep(wait)
    process.kill()
    process.join()
    assert process.exitcode == -9, f"it ended by itself ({process.exitcode}) before it was killed"
