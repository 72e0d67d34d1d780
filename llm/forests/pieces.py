"""A study in pieces: policies of one seed trained side by side, kept sealed, made again where missing or damaged."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.files import file_digest, remove_stale, seal_json, write_whole
from gpo_analysis.locks import run_lock
from gpo_analysis.records import plain
from llm.forests.config import SampledConfig
from llm.forests.problem import Problem
from llm.forests.store import Say, Store, claim, provenance, seed_problem


class PieceConfig(SampledConfig, Protocol):
    """A configuration of a study in pieces: its seeds, and itself as JSON values."""

    @property
    def seeds(self) -> tuple[int, ...]: ...
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Piece:
    """Policies of one seed that are trained side by side; each is a dataclass of plain values."""

    seed: int
    number: int
    cells: tuple[Any, ...]

    @property
    def file(self) -> str:
        """Where in the study's folder its result is kept."""
        return f"seed-{self.seed}/piece-{self.number}.sealed"


@dataclass(frozen=True, eq=False)
class Made:
    """What is kept of a piece: its arrays, the seconds it took, and where, when and from what it was made."""

    arrays: Mapping[str, FloatArray]
    seconds: float
    provenance: Mapping[str, Any]


def split(seed: int, cells: Sequence[Any], stack: int, first: int = 0) -> list[Piece]:
    """Pieces of about equal size, at most ``stack`` policies each, numbered from ``first``.

    Examples
    --------
    >>> [(piece.number, piece.cells) for piece in split(0, "abcde", 3)]
    [(0, ('a', 'b')), (1, ('c', 'd', 'e'))]
    """
    count = -(-len(cells) // stack)
    edges = [len(cells) * k // count for k in range(count + 1)]
    return [Piece(seed, first + k, tuple(cells[edges[k] : edges[k + 1]])) for k in range(count)]


class RunOptions(TypedDict, total=False):
    """How a study in pieces is run; what each of them leaves to `run_pieces`.

    Attributes
    ----------
    seeds : sequence of int, optional
        Only these of the configuration's.
    budget_seconds : float, optional
        Wall time after which no piece is begun that, by the longest so far, would end later; 0 makes nothing and
        writes the tables of what is there. None: no limit.
    commit : str, optional
        The commit that runs, where the code does not lie in a checkout that knows it.
    progress : bool
        Whether to show bars.
    say : Say
        Is told what is done, a line at a time.
    clock : callable
        Seconds, for the budget.
    """

    seeds: Sequence[int] | None
    budget_seconds: float | None
    commit: str | None
    progress: bool
    say: Say
    clock: Callable[[], float]


def run_pieces(
    config: PieceConfig,
    out: str | os.PathLike[str],
    command: str,
    plan: Callable[[Sequence[int] | None], list[Piece]],
    work: Callable[[Problem, Piece], Mapping[str, FloatArray]],
    tables: Callable[[Store, list[Piece]], str] | None,
    *,
    seeds: Sequence[int] | None = None,
    budget_seconds: float | None = None,
    commit: str | None = None,
    progress: bool = False,
    say: Say = print,
    clock: Callable[[], float] = time.perf_counter,
) -> bool:
    """Make what is missing, within the budget, and write the tables of what is there, and run.json.

    Parameters
    ----------
    config : PieceConfig
        What to make.
    out : str or os.PathLike[str]
        The study's folder; a ValueError says so where it holds a study of another configuration.
    command : str
        Named where another process is at work on a seed.
    plan : callable
        From seeds, or None for all, to the pieces in their order.
    work : callable
        From a seed's problem and a piece to the arrays that are kept.
    tables : callable, optional
        Writes tables of the pieces that are there and says what is in them.
    seeds, budget_seconds, commit, progress, say, clock : optional
        See `RunOptions`.

    Returns
    -------
    bool
        Whether every piece of the seeds asked for is there.

    Raises
    ------
    ValueError
        For a seed that is none of the configuration's, and for a folder that holds another study.
    """
    unknown = [seed for seed in seeds or () if seed not in config.seeds]
    if unknown:
        raise ValueError(f"seed {unknown[0]} is none of the study's, {config.seeds}")
    folder, asked = Path(out), () if budget_seconds == 0 else config.seeds if seeds is None else seeds
    with contextlib.ExitStack() as held:
        for seed in asked:
            held.enter_context(run_lock(folder / f"seed-{seed}", command))
        remove_stale(folder)
        store = Store(folder, claim(folder, config.to_json(), say), say)
        for seed in asked:
            store.check(seed, [piece.file for piece in plan([seed])])
        missing = [piece for piece in plan(seeds) if not (folder / piece.file).is_file()]
        whole = _make(config, store, missing, work, budget_seconds, commit, progress, clock)
        found = [piece for piece in plan(None) if (folder / piece.file).is_file()]
        made = {}
        if found and tables is not None:
            say(tables(store, found))
            made = {path.name: file_digest(path) for path in sorted(folder.glob("*.parquet"))}
        _write_run(store, config, found, len(plan(None)), made)
    return whole


def _make(
    config: PieceConfig,
    store: Store,
    missing: Sequence[Piece],
    work: Callable[[Problem, Piece], Mapping[str, FloatArray]],
    budget_seconds: float | None,
    commit: str | None,
    progress: bool,
    clock: Callable[[], float],
) -> bool:
    """Whether all was made; no piece is begun that, by the longest so far, would end beyond the budget."""
    start, longest, problem = clock(), 0.0, None
    for at, piece in enumerate(missing):
        spent = clock() - start
        if budget_seconds is not None and (budget_seconds <= 0 or spent + 1.05 * longest > budget_seconds):
            store.say(f"stopped within the budget after {spent:.0f} s, {len(missing) - at} pieces before the end")
            return False
        begun = clock()
        if problem is None or problem.seed != piece.seed:
            waiting = list(dict.fromkeys(one.seed for one in missing[at:]))
            problem = seed_problem(config, store, piece.seed, waiting, progress=progress)
        ready = clock()
        arrays = work(problem, piece)
        seconds = clock() - ready
        _keep(store, piece, Made(arrays, seconds, provenance(config.device, commit)))
        longest = max(longest, seconds)
        store.say(f"{piece.file}: {len(piece.cells)} policies in {seconds:.1f} s (problem {ready - begun:.1f} s)")
    return True


def read_piece(store: Store, piece: Piece) -> Made:
    """A finished piece."""
    with np.load(io.BytesIO(store.read(piece.file)), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files if name not in ("seconds", "described")}
        return Made(arrays, float(found["seconds"]), json.loads(str(found["described"]))["provenance"])


def _keep(store: Store, piece: Piece, made: Made) -> None:
    buffer = io.BytesIO()
    described = json.dumps({"provenance": made.provenance, "cells": [asdict(cell) for cell in piece.cells]})
    np.savez_compressed(buffer, **made.arrays, seconds=np.array(made.seconds), described=np.array(described))
    store.write(piece.file, buffer.getvalue())


def _write_run(
    store: Store, config: PieceConfig, found: Sequence[Piece], planned: int, tables: Mapping[str, str]
) -> None:
    """run.json, sealed: the configuration, of every piece where and when it was trained, and the tables' digests."""
    pieces = []
    for piece in found:
        made = read_piece(store, piece)
        pieces.append({"piece": piece.file, "seconds": made.seconds, **made.provenance})
    document = {"config": plain(config.to_json()), "pieces": pieces, "planned": planned}
    sealed = seal_json({**plain(document), "tables": dict(tables)})
    write_whole(store.folder / "run.json", sealed, store.folder)
