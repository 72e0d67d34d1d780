"""A drawn figure on disk: the picture in its formats, and a sidecar that says what it shows.

``<name>.png``, ``<name>.pdf`` and ``<name>.txt`` (the caption) are written first and ``<name>.json`` last, sealed, with
the digest of each of them and the digests of the records they were drawn from. A picture passes for a record only
where all of these agree: one that a full disk or a killed process left from another record does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpo_analysis.files import DamagedFile, remove_stale, seal_json, unseal_json, write_whole
from gpo_analysis.records import Record, is_record_name


class NotShown(ValueError):
    """There is no picture of the record; the message says in a few words why."""


@dataclass(frozen=True)
class Drawn:
    """A figure on disk, checked.

    Parameters
    ----------
    name : str
        Name of the figure.
    caption : str
        What stands under it, and is its alternative text.
    sources : dict
        Experiment -> key of the record it shows.
    committed : bool
        Whether these are committed results rather than fresh records.
    png : bytes
        The picture.
    """

    name: str
    caption: str
    sources: dict[str, str]
    committed: bool = False
    png: bytes = field(default=b"", repr=False)


def write_picture(
    name: str, images: Mapping[str, bytes], caption: str, records: Mapping[str, Record], out: Path, *, committed: bool
) -> dict[str, Path]:
    """Write a figure's files, the sidecar last; return where each lies.

    Parameters
    ----------
    name : str
        Name of the figure.
    images : mapping
        Ending of the file -> content.
    caption : str
        One line.
    records : mapping
        Experiment -> the record drawn.
    out : path
    committed : bool
        Whether the records are committed results.

    Raises
    ------
    OSError
        Where the files cannot be written; each is written whole or not at all.
    """
    remove_stale(out)
    files = {"txt": (caption + "\n").encode(), **images}
    sidecar = {
        "figure": name,
        "caption": caption,
        "sources": {source: record.key for source, record in records.items()},
        "records": {source: record.seal for source, record in records.items()},
        "committed": committed,
        "files": {ending: hashlib.sha256(data).hexdigest() for ending, data in files.items()},
    }
    paths = {ending: out / f"{name}.{ending}" for ending in (*files, "json")}
    for ending, data in {**files, "json": seal_json(sidecar)}.items():
        write_whole(paths[ending], data, out)
    return paths


def read_picture(name: str, records: Mapping[str, Record], out: Path, *, committed: bool = False) -> Drawn:
    """Return the picture of these very records.

    Parameters
    ----------
    name : str
        Name of the figure.
    records : mapping
        Experiment -> record that it is to show; experiments that it shows beside these are not looked at.
    out : path
    committed : bool
        Whether it is to be one of committed results.

    Raises
    ------
    NotShown
        Where it was not drawn, is damaged, or shows something else.
    """
    if not is_record_name(name):
        raise NotShown("is not drawn")
    sidecar = out / f"{name}.json"
    try:
        note = unseal_json(sidecar.read_bytes(), sidecar)
        png = (out / f"{name}.png").read_bytes()
        digest = note["files"]["png"]
        drawn = Drawn(note["figure"], note["caption"], dict(note["sources"]), bool(note["committed"]), png)
        seals = dict(note["records"])
    except FileNotFoundError as error:
        raise NotShown("is not drawn") from error
    except (OSError, DamagedFile, KeyError, TypeError, ValueError) as error:
        raise NotShown("cannot be read back") from error
    if hashlib.sha256(png).hexdigest() != digest:
        raise NotShown("is not the picture that was drawn last")
    if drawn.name != name or drawn.committed is not committed:
        raise NotShown("is another figure")
    if any(drawn.sources.get(source) != record.key for source, record in records.items()):
        raise NotShown("shows another record than the table below")
    if any(seals.get(source) != record.seal for source, record in records.items()):
        raise NotShown("shows an earlier state of the record below")
    return drawn
