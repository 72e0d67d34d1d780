"""Folders that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gpo_analysis.files import sync_folder, temporary_folder


@contextmanager
def new_folder(folder: str | os.PathLike[str], *, replaces: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``folder`` when the block ends without an exception.

    Parameters
    ----------
    folder : path
        The place. What stands there is replaced.
    replaces : sequence of str
        Where given, names that what stands there may hold; anything else in it is an error, so that a mistyped path
        never removes a stranger's files.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    strange = {path.name for path in target.iterdir()} - set(replaces) if replaces and target.is_dir() else set()
    if strange:
        raise ValueError(f"{target} holds {', '.join(sorted(strange))}; it is not replaced")
    with temporary_folder(target.parent) as temporary:  # removed whatever happens, by the next writer after a kill
        fresh = temporary / target.name
        fresh.mkdir()
        yield fresh
        if target.exists():
            target.rename(temporary / "replaced")
        fresh.rename(target)
        sync_folder(target.parent)
