"""Symbolic work with a bound on its time.

Computer algebra on an expression that somebody typed may take for ever. :func:`bounded` runs one call and gives up
after so many seconds of computing; what asks for it must have something to fall back on.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


_PATIENCE = 30.0
"""How much longer than its processor time a call may take by the clock, on a machine with other work."""


class _Expired(BaseException):
    """Raised inside the worker when its time is over. A BaseException, so that ``except Exception`` lets it through."""


def bounded(function: Callable[[], Value], seconds: float, default: Value) -> Value:
    """``function()``, or ``default`` where that computes for longer than ``seconds`` or fails.

    Counted is the processor time of the call, where the system tells it, so that a busy machine gives the same answer
    as an idle one. The call runs in a thread of its own, which is interrupted between two Python instructions when the
    time is over: this works in any thread of the caller and on every platform, which an alarm signal does not.

    Parameters
    ----------
    function : callable
        Takes no argument. Must be pure Python in the main (computer algebra is), or the interruption comes late.
    seconds : float
        Processor time after which the call is given up; or thirty times as long by the clock on the wall.
    default : any
        What is returned then, and when ``function`` raises an Exception.

    Examples
    --------
    >>> bounded(lambda: 1 + 1, seconds=1.0, default=0)
    2
    >>> bounded(lambda: 1 // 0, seconds=1.0, default=0)
    0
    """
    result: list[Value] = []
    clock: list[int] = []

    def work() -> None:
        try:
            if hasattr(time, "pthread_getcpuclockid"):
                clock.append(time.pthread_getcpuclockid(threading.get_ident()))
            result.append(function())
        except (Exception, _Expired):
            return

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        _wait(worker, clock, seconds)
    finally:
        _stop(worker)
    return result[0] if result else default


def _wait(worker: threading.Thread, clock: list[int], seconds: float) -> None:
    """Wait until the thread has ended or has used up its processor time."""
    last = time.monotonic() + _PATIENCE * seconds
    left = seconds
    while left > 0 and time.monotonic() < last:
        worker.join(max(left, 1e-3))
        if not worker.is_alive():
            return
        left = seconds - _used(clock, seconds)


def _used(clock: list[int], otherwise: float) -> float:
    """Processor time of a thread, in seconds; ``otherwise`` where the system does not tell."""
    if sys.platform == "win32" or not clock:
        return otherwise
    try:
        return time.clock_gettime(clock[0])
    except OSError:  # the thread has just ended
        return otherwise


def _stop(worker: threading.Thread) -> None:
    """Interrupt a thread until it ends, for five seconds at most (one long step inside C cannot be interrupted)."""
    last = time.monotonic() + 5.0
    enabled = gc.isenabled()
    while worker.is_alive() and time.monotonic() < last:
        # inside a callback of the garbage collector the exception would be swallowed and reported as a warning
        gc.disable()
        frame = sys._current_frames().get(worker.ident or 0)
        if frame is None or all(frame.f_code is not getattr(call, "__code__", None) for call in gc.callbacks):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident or 0), ctypes.py_object(_Expired))
        worker.join(0.05)
        if enabled:
            gc.enable()
