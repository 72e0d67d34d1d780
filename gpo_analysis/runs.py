"""What became of each experiment of a folder of records: its latest record, or why there is none.

Whoever runs experiments notes this in ``<out>/.status/``; whoever draws or reports reads it there, and so needs to
know nothing of the code that ran.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gpo_analysis.files import DamagedFile, seal_json, temporary_folder, unseal_json, write_whole
from gpo_analysis.records import Record, RecordError, find_records, is_record_name, read_record, write_record

STATUS = ".status"
CATALOGUE = ".experiments.json"  # no experiment can be called that
STATES = ("complete", "failed", "not run", "interrupted", "unknown")


@dataclass(frozen=True)
class RunStatus:
    """The last attempt at an experiment.

    Parameters
    ----------
    name : str
        Name of the experiment.
    preset : str
        Which of its configurations.
    status : str
        ``complete``, ``failed``, ``not run`` (it cannot run here), ``interrupted``, or ``unknown`` where the note of
        the attempt is damaged.
    why : str
        One line for everything but ``complete``.
    traceback : str
        For ``failed``.
    key : str, optional
        Key of the record that this attempt wrote or found.

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
    write_whole(_note(out, status.name), seal_json(asdict(status)), out)


def read_status(out: str | os.PathLike[str], name: str) -> RunStatus | None:
    """Return what became of the experiment ``name``, or None where nobody noted it.

    A damaged note, or one of another experiment, is an attempt of which nothing is known.
    """
    if not is_record_name(name):
        return None
    path = _note(out, name)
    try:
        status = RunStatus(**unseal_json(path.read_bytes(), path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return RunStatus(name, "", "unknown", f"the note of the last run, {path}, is damaged; run it again")
    if status.name != name:
        return RunStatus(name, "", "unknown", f"{path} is the note of {status.name!r}; run it again")
    return status


def write_catalogue(experiments: Sequence[dict[str, str]], out: str | os.PathLike[str]) -> None:
    """Note which experiments there are, each with name, claim and figure.

    Raises
    ------
    OSError
        Where the folder cannot be written.
    """
    write_whole(Path(out) / STATUS / CATALOGUE, seal_json({"experiments": list(experiments)}), out)


def read_catalogue(out: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Return the experiments there are; those with records, where nobody noted them or the note is damaged."""
    with suppress(OSError, DamagedFile):
        return _noted(out)
    found = []
    for name in sorted({folder.parent.name for folder in find_records(out)}):
        try:
            meta = latest_record(out, name).meta
        except RecordError:  # whoever reads the record itself learns of it
            meta = {}
        found.append({"name": name, "claim": str(meta.get("claim", "")), "figure": str(meta.get("figure", ""))})
    return found


def damage_of_catalogue(out: str | os.PathLike[str]) -> str:
    """Return what is wrong with the note that `read_catalogue` reads, as one line; nothing where nothing is."""
    try:
        _noted(out)
    except DamagedFile as error:
        return f"{error}; run an experiment again, which writes it anew"
    except OSError:
        pass
    return ""


def _noted(out: str | os.PathLike[str]) -> list[dict[str, str]]:
    path = Path(out) / STATUS / CATALOGUE
    try:
        listed = unseal_json(path.read_bytes(), path)["experiments"]
        return [{part: str(item[part]) for part in ("name", "claim", "figure")} for item in listed]
    except (KeyError, TypeError) as error:
        raise DamagedFile(f"{path} is no list of experiments") from error


def latest_record(out: str | os.PathLike[str], name: str) -> Record:
    """Return the record of the last complete run of ``name``; the newest one where nobody noted a run.

    Raises
    ------
    RecordError
        Where there is none, saying how to make it, or it is damaged.
    """
    if not is_record_name(name):
        raise RecordError(f"no experiment can be called {name!r}")
    status = read_status(out, name)
    if status is not None and status.key is not None:
        return read_record(Path(out) / name / status.key)
    folders = find_records(out, name)
    if not folders:
        why = f" ({status.status}: {status.why})" if status is not None else ""
        make = f"python -m experiments run {name} --out {out}"
        raise RecordError(f"no record of experiment {name!r} in {out}{why}; make it with: {make}")
    return read_record(folders[-1])


def replace_record(record: Record, out: str | os.PathLike[str]) -> Path:
    """Write a record in the place of all that a folder has of its name, one of the same key too.

    Parameters
    ----------
    record : Record
    out : path
        Folder of records.

    Returns
    -------
    Path
        Its folder.

    Raises
    ------
    OSError
        Where the disk is full or the folder cannot be written; what was there then stays.

    Examples
    --------
    >>> import tempfile, pandas as pd
    >>> with tempfile.TemporaryDirectory() as out:
    ...     for seed in (0, 1):
    ...         folder = replace_record(Record("demo", {"seed": seed}, pd.DataFrame({"kl": [0.3]})), out)
    ...     [read_record(path).config for path in find_records(out, "demo")]
    [{'seed': 1}]
    """
    older = find_records(out, record.name)
    with temporary_folder(Path(out)) as fresh:
        made = write_record(record, fresh)
        target = Path(out) / made.relative_to(fresh)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(fresh / "replaced")
        made.rename(target)
    for one in older:
        if one != target:
            shutil.rmtree(one)
    return target


def _note(out: str | os.PathLike[str], name: str) -> Path:
    return Path(out) / STATUS / f"{name}.json"
