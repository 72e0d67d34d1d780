"""What a finished stage leaves behind: a report with the key of the configuration and inputs it was made from.

The report is written last, so that its presence says that the rest of the folder is whole; it holds the checksums of
the files it speaks of. A stage that finds its own key, and these files as they were, does nothing; another key means
another configuration or other inputs, and the stage runs anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpo_analysis.files import DamagedFile, file_digest, seal_json, unseal_json, write_whole
from gpo_analysis.records import plain, record_key

FILE = "stage.json"


def stage_key(config: Any, **inputs: Any) -> str:
    """Return the key of a configuration (a dataclass or plain values) and of checksums of what goes in.

    Examples
    --------
    >>> stage_key({"steps": 10}, data="ab") == stage_key({"steps": 11}, data="ab")
    False
    """
    return record_key({"config": plain(config), "inputs": plain(inputs)})


def finished_report(folder: str | os.PathLike[str], key: str) -> dict[str, Any] | None:
    """Return the report a stage left in the folder.

    Parameters
    ----------
    folder : path
        The stage's.
    key : str
        Of `stage_key`.

    Returns
    -------
    dict or None
        None where there is no report of this key, or where it or one of its files is not what was written.
    """
    found = read_document(Path(folder) / FILE)
    if found is None or found.get("key") != key:
        return None
    return dict(found["report"]) if _as_written(Path(folder), found["files"]) else None


def mark_done(folder: str | os.PathLike[str], key: str, report: dict[str, Any], files: Iterable[str] = ()) -> None:
    """Write the report; from now on the stage is finished.

    Parameters
    ----------
    folder : path
        The stage's.
    key : str
        Of `stage_key`.
    report : dict
        Plain values.
    files : iterable of str
        Files and folders, relative to ``folder``, that the stage made and that are read again.

    Raises
    ------
    FileNotFoundError
        Where one of the files is missing.
    """
    root = Path(folder)
    sums = {}
    for name in files:
        paths = sorted((root / name).rglob("*")) if (root / name).is_dir() else [root / name]
        for path in paths:
            if not path.is_dir() and path != root / FILE:
                sums[path.relative_to(root).as_posix()] = file_digest(path)
    write_document(root / FILE, {"key": key, "report": report, "files": sums})


def _as_written(root: Path, files: dict[str, str]) -> bool:
    try:
        return all(file_digest(root / name) == digest for name, digest in files.items())
    except OSError:
        return False


def write_document(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write plain values as sealed JSON, under the file's name, whole or not at all."""
    write_whole(path, seal_json({"name": Path(path).name, **plain(content)}), Path(path).parent)


def read_document(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what `write_document` wrote; None where there is nothing, or what is there is not what was written."""
    try:
        found = unseal_json(Path(path).read_bytes(), path)
    except (OSError, DamagedFile):
        return None
    return found if found.pop("name", None) == Path(path).name else None
