"""Open a file as text: plain or gzip-compressed, UTF-8 or whatever its byte-order mark says."""

from __future__ import annotations

import codecs
import gzip
import sys
import zlib
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_KINDS = (
    (b"PK\x03\x04", "a zip archive (.zip, .xlsx, .npz)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"%PDF", "a PDF"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls)"),
    (b"SQLite format 3", "an SQLite database"),
)
ACCEPTED = "CSV or JSON lines as UTF-8 (or UTF-16 with its mark), plain or gzip-compressed"


def text_of(path: str | Path) -> str:
    """The text of a file, without its byte-order mark and with its line ends as they are.

    Parameters
    ----------
    path : str or Path
        ``-`` is standard input. Gzip is told by the ending .gz or by the first bytes.

    Raises
    ------
    ValueError
        Naming the file, the line and what is accepted, where it is no such text, or a gzip file that is not whole.
    OSError
        Where the file cannot be opened.
    """
    return decoded(str(path), bytes_of(path))


def bytes_of(path: str | Path) -> bytes:
    """What a file holds, unpacked where it is gzip-compressed; ``-`` is standard input.

    Raises
    ------
    ValueError
        For a gzip file that is not whole.
    OSError
        Where the file cannot be opened.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    except OSError as error:  # reading, unlike opening, leaves out which file it was
        error.filename = error.filename or str(path)
        raise
    if str(path).lower().endswith(".gz") or data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:  # BadGzipFile is an OSError
            raise ValueError(f"{path} is not a whole gzip file: {error}") from None
    return data


def decoded(path: str, data: bytes) -> str:
    """The text that bytes are, without their byte-order mark.

    Raises
    ------
    ValueError
        Naming the file, the line and what is accepted, where they are none.
    """
    for start, kind in ((b"\x1f\x8b", "a gzip file within a gzip file"), *_KINDS):
        if data.startswith(start):
            raise ValueError(f"{path} is {kind}; accepted are {ACCEPTED}")
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].decode(encoding, "replace").count("\n") + 1
        bad = error.object[error.start : error.start + 4].hex(" ")
        raise ValueError(
            f"{path}, line {line}: is not {encoding.upper()} text (bytes {bad}: {error.reason}); accepted are "
            f"{ACCEPTED}"
        ) from None
    zero = text.find("\0")
    if zero >= 0:
        why = "as UTF-16 without its mark does" if zero < 4 and text.count("\0") * 3 > len(text) else "damage, perhaps"
        line = text.count("\n", 0, zero) + 1
        raise ValueError(f"{path}, line {line}: holds zero bytes, {why}; accepted are {ACCEPTED}")
    return text
