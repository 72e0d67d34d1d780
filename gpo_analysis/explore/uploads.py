"""A file of comparisons that a page sends."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gpo_analysis.preferences import Comparisons

_LARGEST_FILE = 10_000_000


def read_bytes(data: bytes, name: str) -> Comparisons:
    """Comparisons of a file that a page sends.

    Raises
    ------
    ValueError
        As :func:`gpo_analysis.preferences.read_comparisons` does, or where it is too large.

    Examples
    --------
    >>> read_bytes(b"winner,loser\\na,b\\n", "games.csv")
    Comparisons(2 items, 1 compared pair, total count 1)
    """
    if len(data) > _LARGEST_FILE:
        raise ValueError(
            f"{name} has {len(data):,} bytes; accepted are up to {_LARGEST_FILE:,}: start gpo explore with it"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            return Comparisons.read(path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), name)) from None
