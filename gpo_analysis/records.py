"""Records: a result on disk, written whole or not at all.

A record is one table with the configuration that made it and what is known of the run. It lies in

    <out>/<name>/<key>/table.parquet
    <out>/<name>/<key>/record.json

where ``key`` is a hash of the configuration and of the code that ran. Both files are written and flushed to disk in
``<out>/.tmp/`` and the folder is renamed into place at the end, so that a process killed at any moment leaves the
whole record or none. ``record.json`` carries a digest of its own text, which holds name, key and the table's digest:
reading a record checks every byte of it, and that it lies in the folder of its name and key.

Everything in the configuration and in ``meta`` is plain JSON: ``None``, booleans, integers, finite floats, strings,
lists and dictionaries with string keys (tuples, numpy scalars and dataclasses are turned into these).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.platform != "win32":
    import fcntl

from gpo_analysis.files import (
    DamagedFile,
    not_written,
    seal_json,
    sync_folder,
    temporary_folder,
    unseal_json,
    write_through,
)
from gpo_analysis.showing import Shown

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
UNSEALED = 1
"""Format of records without a digest over ``record.json``, which are read but said to be unchecked."""
TABLE_FILE = "table.parquet"
META_FILE = "record.json"
AGAIN = "run the experiment again, which replaces it"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class RecordError(ValueError):
    """A record that cannot be read as one; the message is a single line that says which and why."""


class NoRecord(RecordError):
    """There is nothing where a record was looked for."""


def plain(value: Any, where: str = "value") -> Any:
    """Turn ``value`` into plain JSON values, or say which part of it cannot be.

    Parameters
    ----------
    value : object
        Anything made of ``None``, booleans, numbers, strings, lists, tuples, dataclasses, mappings with string keys
        and numpy scalars or arrays.
    where : str
        How the value is called in an error message.

    Raises
    ------
    ValueError
        For a NaN or infinite float, a key that is not a string, or a type JSON does not have.

    Examples
    --------
    >>> plain({"betas": (0.1, 1), "name": "dpo"})
    {'betas': [0.1, 1], 'name': 'dpo'}
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}; JSON holds finite numbers only")
        return float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; keys are strings")
        return {key: plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist(), where)
    raise ValueError(
        f"{where} is a {type(value).__name__}; accepted are None, booleans, finite numbers, strings, lists, "
        "tuples, dataclasses and dictionaries with string keys"
    )


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: keys sorted, no spaces, finite numbers only.

    Examples
    --------
    >>> canonical_json({"b": 1, "a": (0.5, None)})
    '{"a":[0.5,null],"b":1}'
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def record_key(config: Any, code_hash: str = "") -> str:
    """Return the 16 hexadecimal digits that stand for a configuration and the code it ran.

    Examples
    --------
    >>> [record_key({"beta": 0.1}, "abc") == record_key({"beta": beta}, "abc") for beta in (0.1, 0.2)]
    [True, False]
    """
    return hashlib.sha256(canonical_json([config, code_hash]).encode()).hexdigest()[:16]


def is_record_name(name: object) -> bool:
    """Whether a record, and so its folder, can be called that: letters, digits, ``-``, ``_`` and ``.``."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


@dataclass(frozen=True, eq=False)
class Record(Shown):
    """A table with the configuration that made it.

    Parameters
    ----------
    name : str
        Name of the experiment; also the folder, so letters, digits, ``-``, ``_`` and ``.`` only.
    config : mapping or dataclass
        The whole configuration, as plain JSON.
    table : DataFrame
        With unique string column names and the default index 0, 1, 2, …
    meta : mapping
        What else is known: seed, versions, git commit, device, wall time, checks. ``meta["code_hash"]``, where given,
        is part of `key`.
    seal : str, optional
        Digest of the document it was read from; None for one that was not read, or is of a format without.

    Raises
    ------
    ValueError
        For a name that is no folder name, a configuration that is not JSON, or a table with doubtful columns.

    Examples
    --------
    >>> import pandas as pd
    >>> record = Record("demo", {"beta": 0.1}, pd.DataFrame({"kl": [0.0, 0.3]}), {"seed": 0})
    >>> record.config, len(record.key)
    ({'beta': 0.1}, 16)
    """

    name: str
    config: Mapping[str, Any]
    table: pd.DataFrame = field(repr=False)
    meta: Mapping[str, Any] = field(default_factory=dict)
    seal: str | None = field(default=None, repr=False)
    _no_plot = "its figure draws it: python -m figures draw"

    def __post_init__(self) -> None:
        """Check every part, so that what is constructed can be written."""
        import pandas as pd

        if not is_record_name(self.name):
            raise ValueError(f"record name {self.name!r}; accepted are letters, digits, '-', '_' and '.'")
        config, meta = plain(self.config, "config"), plain(self.meta, "meta")
        for label, value in (("config", config), ("meta", meta)):
            if not isinstance(value, dict):
                raise ValueError(f"{label} is a {type(value).__name__}; accepted is a dictionary or a dataclass")
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "meta", meta)
        table: object = self.table
        if not isinstance(table, pd.DataFrame):
            raise ValueError(f"table is a {type(table).__name__}; accepted is a pandas DataFrame")
        columns = list(self.table.columns)
        if not all(isinstance(column, str) for column in columns) or len(set(columns)) != len(columns):
            raise ValueError(f"table has the columns {columns}; accepted are distinct strings")
        if not self.table.index.equals(pd.RangeIndex(len(self.table))):
            raise ValueError("table has an index of its own; make it a column with reset_index()")

    @property
    def key(self) -> str:
        """Hash of the configuration and of ``meta["code_hash"]``."""
        return record_key(self.config, str(self.meta.get("code_hash", "")))

    def to_frame(self) -> pd.DataFrame:
        """The table itself."""
        return self.table


def write_record(record: Record, out: str | os.PathLike[str]) -> Path:
    """Write ``record`` to ``<out>/<name>/<key>/``, whole or not at all.

    A whole record with the same key is kept (same configuration, same code); a damaged one is replaced. Several
    processes may write at once: the first to finish wins.

    Parameters
    ----------
    record : Record
    out : path

    Returns
    -------
    Path
        The record's folder.

    Raises
    ------
    OSError
        Where the disk is full or the folder cannot be written; nothing half-written stays.

    Examples
    --------
    >>> import tempfile, pandas as pd
    >>> with tempfile.TemporaryDirectory() as out:
    ...     folder = write_record(Record("demo", {"beta": 0.1}, pd.DataFrame({"kl": [0.3]})), out)
    ...     sorted(path.name for path in folder.iterdir()), read_record(folder).table.kl.tolist()
    (['record.json', 'table.parquet'], [0.3])
    """
    target = Path(out) / record.name / record.key
    table = _table_bytes(record.table)
    document = {
        "format": FORMAT,
        "name": record.name,
        "key": record.key,
        "config": record.config,
        "meta": record.meta,
        "table": {"file": TABLE_FILE, "sha256": hashlib.sha256(table).hexdigest(), "rows": len(record.table)},
    }
    try:
        with temporary_folder(Path(out)) as temporary:
            folder = temporary / record.key
            folder.mkdir()
            write_through(folder / META_FILE, seal_json(document))
            write_through(folder / TABLE_FILE, table)
            sync_folder(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _turn(temporary.parent):
                _move_into_place(folder, target, temporary / "replaced")
            sync_folder(target.parent)
    except OSError as error:
        raise not_written(error, f"record {record.name}/{record.key} was not written", target) from error
    return target


def read_record(path: str | os.PathLike[str]) -> Record:
    """Read the record in the folder ``path``, checking that it is whole and lies where it belongs.

    Parameters
    ----------
    path : path
        ``<out>/<name>/<key>``.

    Raises
    ------
    RecordError
        Where there is no record, a file is damaged, the parts do not belong together, or it is the record of another
        folder; in one line.
    """
    folder = Path(path).absolute()
    try:
        text = (folder / META_FILE).read_bytes()
        table_bytes = (folder / TABLE_FILE).read_bytes()
    except OSError as error:
        which = Path(error.filename).name if error.filename else "while reading"
        kind = RecordError if folder.exists() else NoRecord
        raise kind(f"no record in {folder}: {error.strerror or error} ({which})") from error
    document, seal = _document(text, folder / META_FILE)
    name, key = document["name"], document["key"]
    if (name, key) != (folder.parent.name, folder.name):
        raise RecordError(f"{folder} holds the record {name}/{key}, a copy; {AGAIN}")
    if hashlib.sha256(table_bytes).hexdigest() != document["table"]["sha256"]:
        raise RecordError(f"{folder / TABLE_FILE} is damaged (its sha256 is not the recorded one); {AGAIN}")
    try:
        record = Record(name, document["config"], _table_from_bytes(table_bytes), document["meta"], seal)
    except Exception as error:  # pyarrow raises its own kinds for unreadable content
        raise RecordError(f"{folder} does not hold a record: {_one_line(error)}; {AGAIN}") from error
    if record.key != key:
        raise RecordError(f"{folder / META_FILE} was changed: key {key}, but its content gives {record.key}; {AGAIN}")
    return record


def _document(text: bytes, where: Path) -> tuple[dict[str, Any], str | None]:
    """Return the content of a ``record.json`` and its digest; None for one of the format that has none."""
    try:
        document = json.loads(text)
        found = document["format"]
        if found == FORMAT:
            seal = document["sha256"]
            return unseal_json(text, where), str(seal)
        if found == UNSEALED:
            parts = {part: document[part] for part in ("name", "key", "config", "meta", "table")}
            parts["table"]["sha256"]  # KeyError or TypeError where it is no record's
            return parts, None
    except DamagedFile as error:
        raise RecordError(f"{error}; {AGAIN}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"{where} is damaged ({type(error).__name__}: {_one_line(error)}); {AGAIN}") from error
    raise RecordError(f"{where} has format {found!r}; this version reads the formats {UNSEALED} and {FORMAT}")


def find_records(out: str | os.PathLike[str], name: str | None = None) -> tuple[Path, ...]:
    """Return the folders of the records under ``out``, oldest first.

    Parameters
    ----------
    out : path
        Folder of records.
    name : str, optional
        Only this experiment's; all of them by default.

    Notes
    -----
    Folders are listed, not read: a damaged one is found here and refused by `read_record`.
    """
    root = Path(out)
    names = [root / name] if name is not None else [path for path in _listed(root) if not path.name.startswith(".")]
    folders = [folder for parent in names for folder in _listed(parent) if (folder / META_FILE).is_file()]
    return tuple(sorted(folders, key=lambda folder: ((folder / META_FILE).stat().st_mtime_ns, str(folder))))


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Let one writer at a time move its record, waiting for the others (where the system has locks)."""
    if sys.platform == "win32":  # no locks: whoever finds its place taken tries again
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _move_into_place(folder: Path, target: Path, aside: Path) -> None:
    """Rename ``folder`` to ``target``; a whole record there stays."""
    for attempt in range(100):
        try:
            folder.rename(target)
            return
        except OSError as error:
            # a folder with content is there, or was: without locks another writer may since have moved it aside
            taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST)
            if not taken and not (error.errno in (errno.ENOTDIR, errno.EACCES) and target.exists()):
                raise
        if _is_whole(target):
            return
        with contextlib.suppress(FileNotFoundError):  # another writer may have moved it already
            target.rename(aside.with_name(f"{aside.name}-{attempt}"))
    raise OSError(errno.EEXIST, "other processes keep replacing it", str(target))


def _is_whole(folder: Path) -> bool:
    try:
        read_record(folder)
    except RecordError:
        return False
    return True


def _table_bytes(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def _table_from_bytes(data: bytes) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(io.BytesIO(data), engine="pyarrow")


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
