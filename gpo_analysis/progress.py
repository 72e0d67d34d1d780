"""Bars of progress: one on standard error where that is a terminal, nothing elsewhere; or whatever the caller calls.

Functions that may take seconds have ``progress``: False for nothing, True for a bar, or a function of the share done
and the name of what is next.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Progress = Callable[[float, str], None]
T = TypeVar("T")
_PARTS, _NAME = 1000, 20  # of a whole; characters of a name


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Progress | None]:
    """A bar on standard error, where that is a terminal; None elsewhere.

    Parameters
    ----------
    what : str
        What is counted.
    """
    stream = sys.stderr
    if stream is None or not stream.isatty():
        yield None
        return

    import click

    with click.progressbar(length=_PARTS, label=what, file=stream, item_show_func=_shortened) as bar:
        yield lambda done, name: bar.update(round(_PARTS * done) - bar.pos, name)


def _shortened(name: str | None) -> str:
    return (name or "")[:_NAME]


@contextlib.contextmanager
def reporting(progress: bool | Progress | None, what: str) -> Iterator[Progress | None]:
    """The function that is told how far it is: the caller's, a bar's, or None.

    Parameters
    ----------
    progress : bool, function or None
    what : str
        What is counted.
    """
    if callable(progress):
        yield progress
    elif progress:
        with progress_bar(what) as show:
            yield show
    else:
        yield None


def followed(items: Iterable[T], progress: bool | Progress | None, what: str, *, named: bool = True) -> Iterator[T]:
    """The items one by one, telling `progress` before each which it is.

    Parameters
    ----------
    items : iterable
    progress : bool, function or None
    what : str
        What is counted.
    named : bool
        Whether the items' names are shown; else their numbers.

    Examples
    --------
    >>> told = []
    >>> list(followed("ab", lambda done, name: told.append((done, name)), "letters")), told
    (['a', 'b'], [(0.0, 'a'), (0.5, 'b'), (1.0, 'done')])
    """
    every = list(items)
    with reporting(progress, what) as show:
        for k, item in enumerate(every):
            if show is not None:
                show(k / len(every), _name(item) if named else f"{k + 1} of {len(every)}")
            yield item
        if show is not None and every:
            show(1.0, "done")


def _name(item: Any) -> str:
    first = item[0] if isinstance(item, tuple) and item else item
    return str(getattr(first, "name", first))
