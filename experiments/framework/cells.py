"""One cell: computed in a process of its own, kept on disk as soon as it is done.

A finished cell is one file, ``<out>/.cells/<experiment>/<code>-<key>.cell``, a parquet table with the seconds it took
in its metadata, sealed with its name (`gpo_analysis.files`): a damaged one, or one that lies in another's place, is
not used but named and computed again. The key is that of a record: configuration, the cell's axes, and code. What was
computed directly and what a killed run left behind therefore go the same way, through the file, into the record's
table. Cells of other code than today's can never be used and are swept away.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import platform
import signal
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gpo_analysis.files import DamagedFile, read_sealed, write_sealed
from gpo_analysis.provenance import code_hash
from gpo_analysis.records import record_key

CELLS = ".cells"
SECONDS = b"seconds"
WATCH_SECONDS = 0.5
"""How often a worker looks whether its parent is still there."""


@dataclass(frozen=True)
class Cell:
    """A part of an experiment: what to run and where its result is kept."""

    module_name: str
    config: Any  # the experiment's dataclass
    axes: dict[str, Any]  # what tells this part from the others, as plain JSON
    out: Path
    file: Path
    code: str  # hash of the code that is to run


@dataclass(frozen=True)
class Failure:
    """What went wrong in a cell: one line, and the whole traceback."""

    reason: str
    traceback: str


def cell_file(out: Path, experiment: str, config: Any, axes: dict[str, Any], code_hash: str) -> Path:
    """Return the file that keeps a cell's result."""
    return out / CELLS / experiment / f"{code_hash}-{record_key([config, axes], code_hash)}.cell"


def compute(cell: Cell, parent: int | None = None) -> Failure | None:
    """Run a cell and keep its table; return what went wrong, if anything did.

    ``parent`` is the process that asked: workers end with it, however it ends, and leave Ctrl-C to it.
    """
    if parent is not None:
        end_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        keep(cell, result_of(cell))
    except Exception as error:  # the parent hears of it, and goes on with the others
        return Failure(one_line(error), traceback.format_exc())
    return None


def end_with(parent: int) -> None:
    """End this process as soon as its parent is another than ``parent``: the one that asked was killed."""
    if os.getppid() != parent:
        os._exit(1)
    if parent not in _WATCHED:
        _WATCHED.add(parent)
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


_WATCHED: set[int] = set()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def compute_elsewhere(cell: Cell, environment: dict[str, str]) -> bytes | Failure:
    """Run a cell on a machine that may not share our disk: the result comes back as the bytes to keep."""
    try:
        os.environ.update(environment)
        if code_hash(cell.module_name) != cell.code:
            raise RuntimeError(
                f"the worker on {platform.node()} has other code of {cell.module_name}; start it from the same checkout"
            )
        return result_of(cell)
    except Exception as error:
        return Failure(one_line(error), traceback.format_exc())


def result_of(cell: Cell) -> bytes:
    """Run a cell and return its table, with the seconds it took, as the bytes of its file."""
    module = importlib.import_module(cell.module_name)
    start = time.perf_counter()
    table = module.run(cell.config, **cell.axes)
    seconds = time.perf_counter() - start
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"run returned a {type(table).__name__}; accepted is a pandas DataFrame")
    return _to_bytes(table, seconds)


def keep(cell: Cell, result: bytes) -> None:
    """Write a cell's file, sealed, whole or not at all."""
    write_sealed(cell.file, result, _name(cell.file), cell.out)


def read_cell(file: Path) -> tuple[pa.Table, float] | None:
    """Return a kept cell's table and the seconds it took, or None where there is none.

    Raises
    ------
    DamagedFile
        Where it is not what was kept.
    """
    try:
        data = read_sealed(file, _name(file))
    except FileNotFoundError:
        return None
    try:
        table = pq.read_table(io.BytesIO(data))
        seconds = float(table.schema.metadata[SECONDS])
    except Exception as error:  # pyarrow raises its own kinds for unreadable content
        raise DamagedFile(f"{file} is damaged (it holds no cell's table)") from error
    return table.replace_schema_metadata(None), seconds


def _name(file: Path) -> str:
    return f"cell {file.parent.name}/{file.stem}"


def join(tables: list[pa.Table]) -> pd.DataFrame:
    """Put the cells' rows under each other, in the order of the cells."""
    table: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    return table


def forget(files: list[Path]) -> None:
    """Remove kept cells that are part of a whole record by now, or can be part of none."""
    for file in files:
        with contextlib.suppress(OSError):
            file.unlink()
    for folder in {file.parent for file in files}:
        with contextlib.suppress(OSError):  # not empty: other presets' cells
            folder.rmdir()
    for folder in {file.parent.parent for file in files}:
        with contextlib.suppress(OSError):  # not empty: other experiments' cells
            folder.rmdir()


def outdated(out: Path, codes: dict[str, str]) -> list[Path]:
    """Return the kept cells that no run can use: of experiments that are no more, or of other code than today's.

    Parameters
    ----------
    out : path
        Folder of the records.
    codes : dict
        Every experiment there is -> hash of its code, or "" where that is not known.
    """
    kept = sorted((out / CELLS).glob("*/*.cell"))
    return [file for file in kept if not file.name.startswith(codes.get(file.parent.name, "no more"))]


def one_line(error: Exception) -> str:
    """Return an error's kind and message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _to_bytes(table: pd.DataFrame, seconds: float) -> bytes:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(arrow.replace_schema_metadata({SECONDS: repr(seconds).encode()}), buffer)
    return buffer.getvalue()
