"""What became of each experiment of a folder of records: its latest record, or why there is none.

Whoever runs experiments notes this in ``<out>/.status/``; whoever draws or reports reads it there, and so needs to
know nothing of the code that ran.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gpo_analysis.records import Record, RecordError, find_records, read_record, write_whole

STATUS = ".status"
CATALOGUE = "experiments.json"
STATES = ("complete", "failed", "not run", "interrupted")


@dataclass(frozen=True)
class RunStatus:
    """The last attempt at an experiment.

    Parameters
    ----------
    name
        Name of the experiment.
    preset
        Which of its configurations.
    status
        ``complete``, ``failed``, ``not run`` (it cannot run here) or ``interrupted``.
    why
        One line for everything but ``complete``.
    traceback
        For ``failed``.
    key
        Key of the record that this attempt wrote or found, or None.

    Examples
    --------
    >>> RunStatus("arguments", "quick", "not run", "no data given").why
    'no data given'
    """

    name: str
    preset: str
    status: str
    why: str = ""
    traceback: str = ""
    key: str | None = None

    def __post_init__(self) -> None:
        """Check the state's name."""
        if self.status not in STATES:
            raise ValueError(f"status {self.status!r}; accepted are {', '.join(STATES)}")


def write_status(status: RunStatus, out: str | os.PathLike[str]) -> None:
    """Note what became of an experiment.

    Raises
    ------
    OSError
        Where the folder cannot be written.
    """
    _write_json(Path(out) / STATUS / f"{status.name}.json", asdict(status), out)


def read_status(out: str | os.PathLike[str], name: str) -> RunStatus | None:
    """Return what became of the experiment ``name``, or None where nobody noted it."""
    try:
        return RunStatus(**json.loads((Path(out) / STATUS / f"{name}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_catalogue(experiments: Sequence[dict[str, str]], out: str | os.PathLike[str]) -> None:
    """Note which experiments there are, each with name, claim and figure.

    Raises
    ------
    OSError
        Where the folder cannot be written.
    """
    _write_json(Path(out) / STATUS / CATALOGUE, list(experiments), out)


def read_catalogue(out: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Return the experiments there are; those with records, where nobody noted them."""
    try:
        listed = json.loads((Path(out) / STATUS / CATALOGUE).read_text(encoding="utf-8"))
        return [{part: str(item[part]) for part in ("name", "claim", "figure")} for item in listed]
    except (OSError, ValueError, TypeError, KeyError):
        pass
    found = []
    for name in sorted({folder.parent.name for folder in find_records(out)}):
        try:
            meta = latest_record(out, name).meta
        except RecordError:  # whoever reads the record itself is told
            meta = {}
        found.append({"name": name, "claim": str(meta.get("claim", "")), "figure": str(meta.get("figure", ""))})
    return found


def latest_record(out: str | os.PathLike[str], name: str) -> Record:
    """Return the record of the last complete run of ``name``; the newest one where nobody noted a run.

    Raises
    ------
    RecordError
        Where there is none, saying how to make it, or it is damaged.
    """
    status = read_status(out, name)
    if status is not None and status.key is not None:
        return read_record(Path(out) / name / status.key)
    folders = find_records(out, name)
    if not folders:
        why = f" ({status.status}: {status.why})" if status is not None else ""
        make = f"python -m experiments run {name} --out {out}"
        raise RecordError(f"no record of experiment {name!r} in {out}{why}; make it with: {make}")
    return read_record(folders[-1])


def _write_json(path: Path, value: object, out: str | os.PathLike[str]) -> None:
    write_whole(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(), out)
