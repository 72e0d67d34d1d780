"""A study in pieces: policies of one seed trained side by side, kept sealed, made again where missing or damaged."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.files import file_digest, remove_stale, seal_json, write_whole
from gpo_analysis.locks import run_lock
from gpo_analysis.records import plain
from llm.budget import Budget, Clock, Stop, TimeIsUp, coarse_to_fine
from llm.forests.problem import Problem
from llm.forests.store import Say, Store, claim, provenance, seed_problem


class PieceConfig(Protocol):
    """A configuration of a study in pieces: its seeds, where it computes, the time of a run (or None), and its JSON.

    Its problems are drawn as a `SampledConfig` says unless the study has a way of its own (`run_pieces`).
    """

    @property
    def seeds(self) -> tuple[int, ...]: ...
    @property
    def device(self) -> str: ...
    @property
    def budget_seconds(self) -> float | None: ...
    def to_json(self) -> dict[str, Any]: ...


Work = Callable[["Problem", "Piece", Stop | None], Mapping[str, FloatArray]]
Draw = Callable[[Store, int], Problem]


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


def split(seed: int, cells: Sequence[Any], stack: int) -> list[Piece]:
    """Pieces of about equal size, at most ``stack`` policies each.

    Examples
    --------
    >>> [(piece.number, piece.cells) for piece in split(0, "abcde", 3)]
    [(0, ('a', 'b')), (1, ('c', 'd', 'e'))]
    """
    count = -(-len(cells) // stack)
    edges = [len(cells) * k // count for k in range(count + 1)]
    return [Piece(seed, k, tuple(cells[edges[k] : edges[k + 1]])) for k in range(count)]


def split_conditions(seed: int, losses: int, cells: Sequence[Any], stack: int, budget: float | None) -> list[Piece]:
    """`split` of a seed's cells, all losses of a strength after another.

    Of a study with a budget of its own a piece holds whole strengths, in an order whose every beginning spans them all:
    what time leaves out is then in between.

    Parameters
    ----------
    seed, losses : int
    cells : sequence
        ``losses`` of each strength.
    stack : int
        Most policies of a piece.
    budget : float or None
        The study's own.

    Examples
    --------
    >>> [piece.cells for piece in split_conditions(0, 2, "aAbBcC", 4, 60.0)]
    [('a', 'A', 'c', 'C'), ('b', 'B')]
    """
    if budget is None:
        return split(seed, cells, stack)
    groups = coarse_to_fine([cells[at : at + losses] for at in range(0, len(cells), losses)])
    size = max(1, stack // losses)
    blocks = [groups[at : at + size] for at in range(0, len(groups), size)]
    return [Piece(seed, k, tuple(c for one in block for c in one)) for k, block in enumerate(blocks)]


class RunOptions(TypedDict, total=False):
    """How a study in pieces is run; what each of them leaves to `run_pieces`.

    Attributes
    ----------
    seeds : sequence of int, optional
        Only these of the configuration's.
    budget_seconds : float, optional
        Wall time of this run, in place of the configuration's own. No piece is begun that, by the longest so far, would
        end later, and one that does not come to its end is begun anew by the next run; 0 makes nothing and writes the
        tables of what is there. A study with a budget of its own shares it equally among its seeds.
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
    clock: Clock


def run_pieces(
    config: PieceConfig,
    out: str | os.PathLike[str],
    command: str,
    plan: Callable[[Sequence[int] | None], list[Piece]],
    work: Work,
    tables: Callable[[Store, list[Piece]], str] | None,
    *,
    draw: Draw | None = None,
    seeds: Sequence[int] | None = None,
    budget_seconds: float | None = None,
    commit: str | None = None,
    progress: bool = False,
    say: Say = print,
    clock: Clock = time.perf_counter,
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
        From a seed's problem, a piece and what says when to stop (or None) to the arrays that are kept.
    tables : callable, optional
        Writes tables of the pieces that are there and says what is in them.
    draw : callable, optional
        Makes a seed's problem and keeps it in the store as ``seed-N/samples``, or reads it there; by default
        `llm.forests.store.seed_problem`, for a `SampledConfig`.
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
    limit = config.budget_seconds if budget_seconds is None else budget_seconds
    budget = None if limit == 0 else Budget(limit, clock)
    with contextlib.ExitStack() as held:
        for seed in asked:
            held.enter_context(run_lock(folder / f"seed-{seed}", command))
        for place in (folder, *(folder / f"seed-{seed}" for seed in asked)):
            remove_stale(place)
        store = Store(folder, claim(folder, config.to_json(), say), say)
        for seed in asked:
            store.check(seed, [piece.file for piece in plan([seed])])
        missing = [piece for piece in plan(seeds) if not (folder / piece.file).is_file()]
        maker = _Maker(config, store, work, draw, budget, commit, progress)
        whole = maker.make(missing)
        found = [piece for piece in plan(None) if (folder / piece.file).is_file()]
        made = {}
        if found and tables is not None:
            say(tables(store, found))
            made = {path.name: file_digest(path) for path in sorted(folder.glob("*.parquet"))}
        _write_run(store, config, found, plan(None), made)
    return whole


@dataclass(frozen=True, eq=False)
class _Maker:
    """Makes pieces while the budget lasts; None where there is no time at all."""

    config: PieceConfig
    store: Store
    work: Work
    draw: Draw | None
    budget: Budget | None
    commit: str | None
    progress: bool

    def make(self, missing: Sequence[Piece]) -> bool:
        """Whether all was made."""
        waiting, made = list(missing), 0
        seeds = list(dict.fromkeys(piece.seed for piece in missing))
        try:
            if self.budget is None:
                raise TimeIsUp("a budget of 0 s")
            for piece in self._in_time(waiting, seeds):
                waiting.remove(piece)
                made += 1
        except TimeIsUp:
            pass
        if waiting and self.budget is not None and self.config.budget_seconds is not None:
            names = ", ".join(piece.file for piece in waiting)
            self.store.say(f"dropped for time after {self.budget.spent:.0f} s: {names}")
        elif waiting:
            spent = 0.0 if self.budget is None else self.budget.spent
            self.store.say(f"stopped within the budget after {spent:.0f} s, {len(waiting)} pieces before the end")
        return not waiting

    def _in_time(self, missing: Sequence[Piece], seeds: Sequence[int]) -> Iterator[Piece]:
        """Make a piece after another; a study with a budget of its own shares it among the seeds.

        There all seeds' problems are made first; what is left is shared equally among the seeds that are left, and none
        gets further than the first one came, so that conditions are dropped and no seed is.
        """
        assert self.budget is not None
        budget, shared = self.budget, self.config.budget_seconds is not None and self.budget.seconds is not None
        longest, furthest = 0.0, math.inf
        problems = {seed: self._problem(seed, seeds) for seed in seeds} if shared else {}
        for place, seed in enumerate(seeds):
            share = budget.spent + budget.left / (len(seeds) - place)
            mine = [piece for piece in missing if piece.seed == seed]
            problem = problems.pop(seed, None)
            for at, piece in enumerate(mine):
                if piece.number > furthest or (shared and at and budget.spent + 1.05 * longest > share):
                    furthest = min(furthest, mine[at - 1].number if at else furthest)
                    break
                if longest and not budget.allows(longest):
                    raise TimeIsUp("the longest piece so far would not end in time")
                problem = self._problem(seed, seeds[place:]) if problem is None else problem
                longest = max(longest, self._piece(problem, piece))
                yield piece

    def _problem(self, seed: int, waiting: Sequence[int]) -> Problem:
        assert self.budget is not None
        self.budget.check()
        if self.draw is not None:
            return self.draw(self.store, seed)
        return seed_problem(self.config, self.store, seed, waiting, progress=self.progress, stop=self._stop)

    def _piece(self, problem: Problem, piece: Piece) -> float:
        """Seconds of the piece, made and kept."""
        assert self.budget is not None
        start = self.budget.spent
        arrays = self.work(problem, piece, self._stop)
        seconds = self.budget.spent - start
        _keep(self.store, piece, Made(arrays, seconds, provenance(self.config.device, self.commit)))
        self.store.say(f"{piece.file}: {len(piece.cells)} policies in {seconds:.1f} s")
        return seconds

    @property
    def _stop(self) -> Stop | None:
        return None if self.budget is None or self.budget.seconds is None else self.budget.is_up


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
    store: Store, config: PieceConfig, found: Sequence[Piece], planned: Sequence[Piece], tables: Mapping[str, str]
) -> None:
    """run.json, sealed: the configuration, of every piece where and when it was trained, and the tables' digests.

    Under ``missing`` the cells of the pieces that are not there.
    """
    pieces = []
    for piece in found:
        made = read_piece(store, piece)
        pieces.append({"piece": piece.file, "seconds": made.seconds, **made.provenance})
    there = {piece.file for piece in found}
    missing = {piece.file: [asdict(cell) for cell in piece.cells] for piece in planned if piece.file not in there}
    document = {"config": plain(config.to_json()), "pieces": pieces, "planned": len(planned), "missing": missing}
    sealed = seal_json({**plain(document), "tables": dict(tables)})
    write_whole(store.folder / "run.json", sealed, store.folder)
