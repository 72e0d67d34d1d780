"""Results of long runs that are committed: one small record an experiment, apart from what a run makes afresh.

``python -m experiments keep NAME`` copies the latest record of an experiment from the folder of fresh records to
``results/``, in place of the one kept before. Figures and report say of everything drawn from there that it is a
committed result, with commit, device and versions.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gpo_analysis.records import Record, find_records, write_record
from gpo_analysis.runs import latest_record

RESULTS = Path("results")
MOST_BYTES = 1_000_000
"""Size of the largest record that may be committed."""
MOST_BYTES_IN_ALL = 20_000_000
"""Size that all of them together may have."""


class TooLarge(ValueError):
    """A record is not fit to be committed; the message says by how much."""


class NotClean(ValueError):
    """A record was made from files that no commit holds."""


def keep_result(name: str, records: Path, results: Path = RESULTS) -> tuple[Record, Path]:
    """Copy the latest record of an experiment to the committed results; return it and its folder.

    Parameters
    ----------
    name : str
        Name of the experiment.
    records : path
        Folder of fresh records.
    results : path
        Folder of committed ones.

    Raises
    ------
    RecordError
        Where there is no record, or it is damaged.
    TooLarge
        Where it, or all committed records with it, would be too large; what was committed before then stays.
    NotClean
        Where the record was made from uncommitted changes: nobody could make it again from the commit it names.
    """
    record = latest_record(records, name)
    git = record.meta.get("git")
    if isinstance(git, dict) and git.get("dirty"):
        raise NotClean(
            f"the record of {name} was made with uncommitted changes over {str(git.get('commit'))[:10]}; commit them "
            "and run it again"
        )
    older = find_records(results, name)
    size = _size(records / name / record.key)
    if size > MOST_BYTES:
        raise TooLarge(f"the record of {name} has {size:,} bytes; at most {MOST_BYTES:,} are committed")
    others = sum(_size(folder) for folder in find_records(results) if folder not in older)
    if others + size > MOST_BYTES_IN_ALL:
        raise TooLarge(f"with {name} {results} would hold {others + size:,} bytes; at most {MOST_BYTES_IN_ALL:,}")
    folder = write_record(record, results)
    for previous in older:
        if previous.name != record.key:
            shutil.rmtree(previous)
    return record, folder


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
