"""How a command of this package ends: 0, or one line that says why not."""

from __future__ import annotations

import sys
from collections.abc import Callable

EXTRA = "gpo-analysis[llm]"


def ended(work: Callable[[], object], traceback: bool) -> int:
    """Do the work and return the command's exit status; an error is one line on standard error.

    Parameters
    ----------
    work : callable
        Takes no argument.
    traceback : bool
        Whether errors are raised instead, to show where they came from.

    Returns
    -------
    int
        0, 1 after an error, 130 where it was stopped from the keyboard.

    Examples
    --------
    >>> ended(lambda: 12, traceback=False)
    0
    """
    try:
        work()
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except Exception as error:
        if traceback:
            raise
        print(missing(error) if isinstance(error, ModuleNotFoundError) else in_a_line(error), file=sys.stderr)
        return 1
    return 0


def missing(error: ModuleNotFoundError) -> str:
    """The line for what an extra brings."""
    return f"error: {error.name} is not installed; it comes with an extra: pip install '{EXTRA}'"


def in_a_line(error: Exception) -> str:
    """The line for any other error."""
    return f"error: {type(error).__name__}: {' '.join(str(error).split())}"
