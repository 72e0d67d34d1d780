"""What items may be called; the one check of names that are given in Python (readers check what they read)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gpo_analysis.reading.values import HALF


def checked_items(items: Sequence[str] | None, n: int) -> tuple[str, ...]:
    """The names of n items: those given, or their numbers.

    Parameters
    ----------
    items : sequence of str, optional
    n : int

    Raises
    ------
    ValueError
        If there are not n of them, one is no text, empty or half a character, or two are one; the message has it.

    Examples
    --------
    >>> checked_items(None, 2), checked_items(["tea", "mate"], 2)
    (('0', '1'), ('tea', 'mate'))
    >>> checked_items(["tea", "tea"], 2)
    Traceback (most recent call last):
    ValueError: items must be 2 distinct names, 'tea' occurs more than once
    """
    if items is None:
        return tuple(map(str, range(n)))
    if isinstance(items, str):
        raise ValueError(f"items must be {n} distinct names, got the text {items!r:.60}")
    names = tuple(items)
    if len(names) != n:
        raise ValueError(f"items must be {n} distinct names, got {len(names)}: {names!r:.200}")
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"items[{i}] is {name!r:.60}; accepted are non-empty names")
    if HALF.search("".join(names)):
        i, name = next((i, name) for i, name in enumerate(names) if HALF.search(name))
        raise ValueError(f"items[{i}] is {name!r:.60}, which holds half a character (a lone surrogate)")
    if len(set(names)) < n:
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise ValueError(f"items must be {n} distinct names, {twice!r:.60} occurs more than once")
    return names
