"""Ctrl-C while other processes are started: only the one that started them hears it, and stops them.

A terminal sends the signal to every process of a command. One that is still importing would print a traceback.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Hold Ctrl-C back while processes are started, where the system can: they inherit it and never hear the signal.

    The standard library's resource tracker starts with the first process and then unblocks Ctrl-C in the thread that
    asked for it, whatever was blocked before: it is started here, first.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
