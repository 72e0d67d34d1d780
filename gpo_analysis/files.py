"""Files that are written whole or not at all, and checked when they are read back.

What is kept between runs goes through here: records, cells, notes on runs, figures' sidecars, models and tables of the
language-model study. Three habits hold for all of it.

- **Whole or not at all.** A file is written and flushed to disk in ``<out>/.tmp/`` and renamed into place
  (`write_whole`); what a killed writer left there is removed by the next one. A lone file for the user is written
  beside its place (`write_beside`).
- **Sealed.** What is read back carries a SHA-256 digest over its content *and its name* (`write_sealed`, `seal_json`,
  `seal_folder`), so that neither a flipped bit nor another's file is taken for it. `DamagedFile` names what is wrong;
  whoever reads computes it again.

One run a folder is held by :func:`gpo_analysis.locks.run_lock`. Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpo_analysis.locks import lock_of, locked_file

TEMPORARY = ".tmp"
FOLDER_SEAL = "seal.json"
STALE_SECONDS = 24 * 3600.0
_PART = ".part"
_MAGIC = b"gpo-sealed 1\n"
_StrPath = str | os.PathLike[str]


class DamagedFile(ValueError):
    """A file that is not what was written under its name; the message is one line that says which and how."""


# -- whole or not at all ---------------------------------------------------------------------------------------------


def write_whole(path: _StrPath, data: bytes, out: _StrPath | None = None) -> None:
    """Write ``data`` to the file ``path``, whole or not at all.

    Parameters
    ----------
    path : path
        Where; missing folders are made.
    data : bytes
    out : path, optional
        A folder above it, on the same disk, in whose ``.tmp`` the file is written first; by default its own.

    Raises
    ------
    OSError
        Where the disk is full or the folder cannot be written; an existing file is then left as it was.
    """
    target = Path(path)
    try:
        with temporary_folder(Path(out) if out is not None else target.parent) as temporary:
            part = temporary / target.name
            write_through(part, data)
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
            sync_folder(target.parent)
    except OSError as error:
        raise not_written(error, f"{target.name} was not written", target) from error


def write_beside(path: _StrPath, data: bytes) -> None:
    """Write a file in a folder of the user's, whole or not at all; nothing else is left there.

    It is written beside its place and renamed. What a killed writer left beside it, the next writer of the same file
    removes; a writer at work holds a lock on its part.

    Parameters
    ----------
    path : path
        In a folder that is there.
    data : bytes

    Raises
    ------
    OSError
        Where it cannot be written; an existing file is then left as it was.
    """
    target = Path(path)
    try:
        for stale in _parts(target):
            with locked_file(stale) as held:
                if held:
                    stale.unlink(missing_ok=True)
        while not _written_beside(target, data):
            pass
        sync_folder(target.parent)
    except OSError as error:
        raise not_written(error, f"{target.name} was not written", target) from error


def _written_beside(target: Path, data: bytes) -> bool:
    """Write a part and rename it; False where another writer took it for a dead one's before it was locked."""
    part = target.with_name(f".{target.name[:80]}.{secrets.token_hex(4)}{_PART}")
    try:
        with part.open("xb") as stream, locked_file(part) as held:
            if not held or not part.exists():
                return False
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            part.replace(target)
            return True
    finally:
        part.unlink(missing_ok=True)


def _parts(target: Path) -> list[Path]:
    """What writers of a file have beside it."""
    begin = f".{target.name[:80]}."
    return [path for path in _listed(target.parent) if path.name.startswith(begin) and path.suffix == _PART]


def remove_stale(out: _StrPath) -> int:
    """Remove the temporaries that killed writers left under ``out``; return how many.

    Writers hold a shared lock while they write, and a killed process loses its locks: temporaries are removed only
    when nobody writes at this moment. Where the system has no such locks, those older than a day are.
    """
    folder = Path(out) / TEMPORARY
    if not any(path.is_dir() for path in _listed(folder)):
        return 0
    with lock_of(folder, exclusive=True) as held:
        if not held:
            return 0
        oldest = time.time() - STALE_SECONDS if sys.platform == "win32" else math.inf
        stale = [path for path in _listed(folder) if path.is_dir() and path.stat().st_mtime < oldest]
        for path in stale:
            shutil.rmtree(path, ignore_errors=True)
        return len(stale)


@contextlib.contextmanager
def temporary_folder(out: Path) -> Iterator[Path]:
    """Yield a fresh folder on the disk of ``out``, removed at the end whatever happens."""
    remove_stale(out)
    (out / TEMPORARY).mkdir(parents=True, exist_ok=True)
    with lock_of(out / TEMPORARY, exclusive=False):
        folder = Path(tempfile.mkdtemp(dir=out / TEMPORARY))
        folder.chmod(0o755)  # mkdtemp's 0o700 would stay with what is moved out of it
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def write_through(path: Path, data: bytes) -> None:
    """Write and flush to disk, so that a later rename never shows an empty file after a power cut."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # pragma: no cover - Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def not_written(error: OSError, what: str, target: Path) -> OSError:
    """Return ``error`` again, of the same kind, saying what was not written."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return type(error)(error.errno or errno.EIO, f"{what}: {reason}; nothing half-written was left", str(target))


# -- sealed ----------------------------------------------------------------------------------------------------------


def write_sealed(path: _StrPath, data: bytes, name: str, out: _StrPath | None = None) -> None:
    """Write ``data`` whole, in an envelope that holds its name and a digest over both.

    Parameters
    ----------
    path, data, out : as of `write_whole`
    name : str
        What the data is, such as ``"cell losses/0123456789abcdef"``; `read_sealed` is to ask for the same.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_sealed(f"{folder}/a", b"12", "the number")
    ...     read_sealed(f"{folder}/a", "the number")
    b'12'
    """
    write_whole(path, _header(data, name) + data, out)


def read_sealed(path: _StrPath, name: str) -> bytes:
    """Return what `write_sealed` wrote under this name.

    Raises
    ------
    DamagedFile
        Where the file is not byte for byte what was written, or was written under another name.
    OSError
        Where it cannot be read.
    """
    whole = Path(path).read_bytes()
    if not whole.startswith(_MAGIC):
        raise DamagedFile(f"{path} is damaged (no sealed file)")
    head, separator, data = whole[len(_MAGIC) :].partition(b"\n")
    if whole[: len(whole) - len(data)] == _header(data, name):
        return data
    other = _name_in(head) if separator else None
    if other is not None and other != name and whole[: len(whole) - len(data)] == _header(data, other):
        raise DamagedFile(f"{path} holds {other}, not {name}")
    raise DamagedFile(f"{path} is damaged (its digest is not that of its content)")


def _header(data: bytes, name: str) -> bytes:
    digest = hashlib.sha256(name.encode() + b"\0" + data).hexdigest()
    return _MAGIC + json.dumps({"name": name, "sha256": digest}, ensure_ascii=False).encode() + b"\n"


def _name_in(head: bytes) -> str | None:
    try:
        return str(json.loads(head)["name"])
    except (ValueError, KeyError, TypeError):
        return None


def seal_json(document: Mapping[str, Any]) -> bytes:
    """Return a JSON document as text with a digest of the rest under ``"sha256"``; keys are sorted.

    Examples
    --------
    >>> unseal_json(seal_json({"name": "a", "x": 0.1}), "a.json")
    {'name': 'a', 'x': 0.1}
    """
    if "sha256" in document:
        raise ValueError("the document has a key 'sha256', which the seal needs for itself")
    return _json_bytes({**document, "sha256": hashlib.sha256(_json_bytes(document)).hexdigest()})


def unseal_json(data: bytes, where: _StrPath, holds: Sequence[str] = ()) -> dict[str, Any]:
    """Return the document that `seal_json` made ``data`` of, without its digest.

    Parameters
    ----------
    data : bytes
        The text; line ends of Windows are accepted.
    where : path
        How it is called in an error message.
    holds : sequence of str
        Keys of the document that it is to be: a whole one of another kind may have been put in its place.

    Raises
    ------
    DamagedFile
        Where any byte is another one, or a key is missing.
    """
    try:
        document = json.loads(data)
        digest = document.pop("sha256")
        sound = seal_json(document) == data.replace(b"\r\n", b"\n") and digest
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFile(f"{where} is damaged ({type(error).__name__}: {' '.join(str(error).split())})") from error
    if not sound:
        raise DamagedFile(f"{where} is damaged (its digest is not that of its content)")
    for key in holds:
        if key not in document:
            raise DamagedFile(f"{where} is another document (it has no {key!r})")
    return dict(document)


def _json_bytes(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def seal_folder(folder: _StrPath, name: str, more: Mapping[str, Any] | None = None) -> None:
    """Write ``seal.json`` with a digest of every file in ``folder``; to be called when all of them are written.

    Parameters
    ----------
    folder : path
    name : str
        What the folder holds; `check_folder` is to ask for the same.
    more : mapping, optional
        Plain JSON to be kept with it.
    """
    files = {path.relative_to(folder).as_posix(): file_digest(path) for path in _files(Path(folder))}
    document = {"name": name, "files": files, "more": dict(more or {})}
    write_whole(Path(folder) / FOLDER_SEAL, seal_json(document), folder)


def check_folder(folder: _StrPath, name: str) -> dict[str, Any]:
    """Check a folder against its seal; return what was kept with it.

    Raises
    ------
    DamagedFile
        Where there is no seal, the folder is another's, or a file is missing, changed or new.
    """
    seal = Path(folder) / FOLDER_SEAL
    try:
        document = unseal_json(seal.read_bytes(), seal, ("name", "files", "more"))
    except OSError as error:
        raise DamagedFile(f"{folder} has no seal ({error.strerror})") from error
    if document["name"] != name:
        raise DamagedFile(f"{folder} holds {document['name']}, not {name}")
    there = {path.relative_to(folder).as_posix(): path for path in _files(Path(folder))}
    for file in sorted(set(document["files"]) ^ set(there)):
        raise DamagedFile(f"{Path(folder) / file} is {'missing' if file not in there else 'not of this folder'}")
    for file, path in there.items():
        if file_digest(path) != document["files"][file]:
            raise DamagedFile(f"{path} is damaged (its digest is not the one in {FOLDER_SEAL})")
    return dict(document["more"])


def file_digest(path: Path) -> str:
    """Return the SHA-256 digest of a file, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    """Return every file of a folder but its seal and what begins with a dot."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / FOLDER_SEAL)
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
