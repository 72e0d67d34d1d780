"""Study C from end to end: πref, samples and pairs of each seed, runs and their tangents in pieces, tables.

A folder holds a seed's problem (`llm.forests.store`), a sealed file a piece with log π/πref of every sample at every
recorded step, real and tangent, and, when the command ends, ``steps.parquet`` (a row a run, step and split),
``prompts.parquet`` (the same for each prompt) and ``run.json``. Stopped, it goes on. Seeds are outermost, so that a
study that ended early has whole seeds and, at most, one in part.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpo_analysis.arrays import FloatArray
from gpo_analysis.files import remove_stale, write_whole
from gpo_analysis.locks import run_lock
from gpo_analysis.records import plain
from llm.forests.problem import Problem
from llm.forests.store import Say, Store, claim, provenance, seed_problem
from llm.predicted.config import Cell, PredictedConfig
from llm.predicted.data import Pairs, draw_pairs
from llm.predicted.models import Network, Tangent, gradient_moments, jacobian
from llm.predicted.tables import Finished, write_tables
from llm.predicted.training import Course, train


@dataclass(frozen=True)
class Piece:
    """Runs of one seed that share optimiser and batches, side by side."""

    seed: int
    number: int
    cells: tuple[Cell, ...]

    @property
    def file(self) -> str:
        """Where in the study's folder its result is kept."""
        return f"seed-{self.seed}/piece-{self.number}.sealed"


def plan_pieces(config: PredictedConfig, seeds: Sequence[int] | None = None) -> list[Piece]:
    """Pieces in the order of training: seeds outermost, then optimiser and batch.

    Examples
    --------
    >>> from llm.predicted.config import preset
    >>> [(piece.seed, piece.cells[0].optimizer, piece.cells[0].batch, len(piece.cells))
    ...  for piece in plan_pieces(preset("tiny"), [0])]
    [(0, 'adamw', 4, 11), (0, 'sgd', 4, 4), (0, 'adamw', 8, 3)]
    """
    groups: dict[tuple[str, int], list[Cell]] = {}
    for cell in config.cells():
        groups.setdefault((cell.optimizer, cell.batch), []).append(cell)
    chosen = config.seeds if seeds is None else seeds
    return [Piece(seed, number, tuple(cells)) for seed in chosen for number, cells in enumerate(groups.values())]


def run_study(
    config: PredictedConfig,
    out: str | os.PathLike[str],
    *,
    seeds: Sequence[int] | None = None,
    budget_seconds: float | None = None,
    commit: str | None = None,
    tables: bool = True,
    progress: bool = False,
    say: Say = print,
    clock: Callable[[], float] = time.perf_counter,
) -> bool:
    """Train what is missing, within the budget, and write the tables of what is there.

    Parameters
    ----------
    config : PredictedConfig
        What to train.
    out : str or os.PathLike[str]
        The study's folder; a ValueError says so where it holds a study of another configuration.
    seeds : sequence of int, optional
        Only these of the configuration's.
    budget_seconds : float, optional
        Wall time after which no piece is begun that, by the longest so far, would end later; 0 trains nothing and
        writes the tables of what is there. None: no limit.
    commit : str, optional
        The commit that runs, where the code does not lie in a checkout that knows it.
    tables : bool
        Whether to write tables at the end.
    progress : bool
        Whether to show bars.
    say : Say
        Is told what is done, a line at a time.
    clock : callable
        Seconds, for the budget.

    Returns
    -------
    bool
        Whether every piece of the seeds asked for is there.
    """
    unknown = [seed for seed in seeds or () if seed not in config.seeds]
    if unknown:
        raise ValueError(f"seed {unknown[0]} is none of the study's, {config.seeds}")
    with contextlib.ExitStack() as held:
        for seed in () if budget_seconds == 0 else config.seeds if seeds is None else seeds:
            held.enter_context(run_lock(Path(out, f"seed-{seed}"), "llm predicted"))
        return _run(config, Path(out), seeds, budget_seconds, commit, tables, progress, say, clock)


def _run(
    config: PredictedConfig,
    folder: Path,
    seeds: Sequence[int] | None,
    budget_seconds: float | None,
    commit: str | None,
    tables: bool,
    progress: bool,
    say: Say,
    clock: Callable[[], float],
) -> bool:
    start = clock()
    if config.device == "cuda":
        torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    remove_stale(folder)
    store = Store(folder, claim(folder, config.to_json()), say)
    for seed in () if budget_seconds == 0 else config.seeds if seeds is None else seeds:
        store.check(seed, [piece.file for piece in plan_pieces(config, [seed])])
    missing = [piece for piece in plan_pieces(config, seeds) if not (folder / piece.file).is_file()]
    longest, ready = 0.0, None
    while missing:
        spent = clock() - start
        if budget_seconds is not None and (budget_seconds <= 0 or spent + 1.05 * longest > budget_seconds):
            say(f"stopped within the budget after {spent:.0f} s, {len(missing)} pieces before the end")
            break
        begun, piece = clock(), missing[0]
        if ready is None or ready.problem.seed != piece.seed:
            ready = None  # frees the other seed's gradients first
            waiting = list(dict.fromkeys(one.seed for one in missing))
            ready = _Ready.of(seed_problem(config, store, piece.seed, waiting, progress=progress), config)
        prepared = clock()
        _keep(store, piece, ready, _train(ready, piece, config, progress), clock() - prepared, config, commit)
        longest = max(longest, clock() - prepared)
        missing.pop(0)
        say(f"{piece.file}: {len(piece.cells)} runs in {clock() - prepared:.1f} s (problem {prepared - begun:.1f} s)")
    found = [piece for piece in plan_pieces(config) if (folder / piece.file).is_file()]
    if found and tables:
        problems = {seed: store.problem(seed) for seed in dict.fromkeys(piece.seed for piece in found)}
        say(write_tables(folder, config, problems, [read_piece(store, piece)[0] for piece in found]))
    _write_run(store, config, found)
    return not missing


@dataclass(frozen=True, eq=False)
class _Ready:
    """A seed's problem, its pairs, and the gradients of all responses at πref."""

    problem: Problem
    pairs: Pairs
    jacobians: list[torch.Tensor]
    moments: FloatArray

    @classmethod
    def of(cls, problem: Problem, config: PredictedConfig) -> _Ready:
        pairs = draw_pairs(problem, config)
        found = [jacobian(problem, part, config.size.heads, config.device) for _, part in problem.parts()]
        batches = sorted({cell.batch for cell in config.cells()})
        return cls(problem, pairs, found, gradient_moments(found[0], pairs, batches))


def _train(ready: _Ready, piece: Piece, config: PredictedConfig, progress: bool) -> tuple[Course, Course]:
    runs, title = len(piece.cells), f"seed {piece.seed}, {len(piece.cells)} "
    network = Network(ready.problem, ready.pairs, config.size.heads, runs, config.device)
    real = train(network, piece.cells, ready.pairs, config, title=title + "networks", progress=progress)
    del network
    tangent = Tangent(ready.jacobians, ready.pairs, runs)
    return real, train(tangent, piece.cells, ready.pairs, config, title=title + "tangents", progress=progress)


def _keep(
    store: Store,
    piece: Piece,
    ready: _Ready,
    courses: tuple[Course, Course],
    seconds: float,
    config: PredictedConfig,
    commit: str | None,
) -> None:
    buffer = io.BytesIO()
    described = {"provenance": provenance(config.device, commit), "cells": [asdict(cell) for cell in piece.cells]}
    arrays = {
        f"{kind}_{name}": value
        for kind, course in zip(("real", "tangent"), courses, strict=True)
        for name, value in vars(course).items()
    }
    np.savez_compressed(
        buffer, **arrays, moments=ready.moments, seconds=np.array(seconds), described=np.array(json.dumps(described))
    )
    store.write(piece.file, buffer.getvalue())


def read_piece(store: Store, piece: Piece) -> tuple[Finished, float, dict[str, Any]]:
    """A finished piece, the seconds it took, and where and when."""
    with np.load(io.BytesIO(store.read(piece.file)), allow_pickle=False) as found:
        real, tangent = (
            Course(*(found[f"{kind}_{name}"] for name in Course.__dataclass_fields__)) for kind in ("real", "tangent")
        )
        made = json.loads(str(found["described"]))["provenance"]
        return Finished(piece.seed, piece.cells, real, tangent, found["moments"]), float(found["seconds"]), made


def _write_run(store: Store, config: PredictedConfig, found: Sequence[Piece]) -> None:
    """run.json: the configuration, and of every piece where and when it was trained."""
    pieces = []
    for piece in found:
        _, seconds, made = read_piece(store, piece)
        pieces.append({"piece": piece.file, "seconds": seconds, **made})
    document = {"config": plain(config.to_json()), "pieces": pieces, "planned": len(plan_pieces(config))}
    write_whole(store.folder / "run.json", (json.dumps(document, indent=1) + "\n").encode(), store.folder)
