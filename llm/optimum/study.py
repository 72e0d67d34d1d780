"""Study A from end to end: πref and samples of each seed, policies in pieces, tables. Stopped, it goes on.

A folder holds ``seed-N/reference.safetensors`` and ``seed-N/samples`` (prompts and samples as ids, with rewards), a
file a piece, and when the command ends ``policies.parquet``, ``prompts.parquet`` and ``run.json``. Every file is
written whole or not at all, and what a study goes on from is sealed: a piece that was not finished, or is not what was
written, is trained again; a seed whose πref or samples are damaged begins anew. One run a seed: several may share a
folder. Seeds are outermost, and a piece holds all losses at some strengths, so that a study that ended early has whole
seeds and, at most, one in part.
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

from gpo_analysis.files import remove_stale, write_whole
from gpo_analysis.locks import run_lock
from gpo_analysis.losses import get_loss
from gpo_analysis.records import plain
from llm.forests.store import Say, Store, claim, provenance, seed_problem
from llm.optimum.config import OptimumConfig
from llm.optimum.tables import write_tables
from llm.optimum.training import PolicyCell, Trained, train_piece


@dataclass(frozen=True)
class Piece:
    """Policies of one seed that are trained side by side."""

    seed: int
    number: int
    cells: tuple[PolicyCell, ...]

    @property
    def file(self) -> str:
        """Where in the study's folder its result is kept."""
        return f"seed-{self.seed}/piece-{self.number}.sealed"


def plan_pieces(config: OptimumConfig, seeds: Sequence[int] | None = None) -> list[Piece]:
    """Pieces in the order of training: seeds outermost, then strengths, all losses of a strength together.

    Examples
    --------
    >>> from llm.optimum.config import preset
    >>> [(piece.seed, len(piece.cells)) for piece in plan_pieces(preset("tiny"))]
    [(0, 3), (0, 3), (1, 3), (1, 3)]
    """
    pieces = []
    for seed in config.seeds if seeds is None else seeds:
        cells = [
            PolicyCell(loss, strength, get_loss(loss).beta_of(strength), seed)
            for strength in config.strengths
            for loss in config.losses
        ]
        count = -(-len(cells) // config.stack)
        edges = [len(cells) * k // count for k in range(count + 1)]
        pieces += [Piece(seed, k, tuple(cells[edges[k] : edges[k + 1]])) for k in range(count)]
    return pieces


def run_study(
    config: OptimumConfig,
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
    config : OptimumConfig
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
        Whether to write tables at the end; without, no optimum is solved.
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
            held.enter_context(run_lock(Path(out, f"seed-{seed}"), "llm optimum"))
        return _run(config, Path(out), seeds, budget_seconds, commit, tables, progress, say, clock)


def _run(
    config: OptimumConfig,
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
    longest, problem = 0.0, None
    while missing:
        spent = clock() - start
        if budget_seconds is not None and (budget_seconds <= 0 or spent + 1.05 * longest > budget_seconds):
            say(f"stopped within the budget after {spent:.0f} s, {len(missing)} pieces before the end")
            break
        begun, piece = clock(), missing[0]
        if problem is None or problem.seed != piece.seed:
            waiting = list(dict.fromkeys(one.seed for one in missing))
            problem = seed_problem(config, store, piece.seed, waiting, progress=progress)
        ready = clock()
        trained = train_piece(problem, piece.cells, config, progress=progress)
        seconds = clock() - ready
        _keep(store, piece, trained, seconds, provenance(config.device, commit))
        longest = max(longest, seconds)
        missing.pop(0)
        say(f"{piece.file}: {len(piece.cells)} policies in {seconds:.1f} s (problem {ready - begun:.1f} s)")
    found = [piece for piece in plan_pieces(config) if (folder / piece.file).is_file()]
    if found and tables:
        problems = {seed: store.problem(seed) for seed in dict.fromkeys(piece.seed for piece in found)}
        say(write_tables(folder, config, problems, [(piece.cells, *_piece(store, piece)[:2]) for piece in found]))
    _write_run(store, config, found)
    return not missing


def _piece(store: Store, piece: Piece) -> tuple[Trained, float, dict[str, Any]]:
    """A finished piece, the seconds it took, and where and when."""
    with np.load(io.BytesIO(store.read(piece.file)), allow_pickle=False) as found:
        trained = Trained(*(found[name] for name in Trained.__dataclass_fields__))
        return trained, float(found["seconds"]), json.loads(str(found["described"]))["provenance"]


def _keep(store: Store, piece: Piece, trained: Trained, seconds: float, made: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    described = json.dumps({"provenance": made, "cells": [asdict(cell) for cell in piece.cells]})
    np.savez_compressed(buffer, **vars(trained), seconds=np.array(seconds), described=np.array(described))
    store.write(piece.file, buffer.getvalue())


def _write_run(store: Store, config: OptimumConfig, found: Sequence[Piece]) -> None:
    """run.json: the configuration, and of every piece where and when it was trained."""
    pieces = []
    for piece in found:
        _, seconds, made = _piece(store, piece)
        pieces.append({"piece": piece.file, "seconds": seconds, **made})
    document = {"config": plain(config.to_json()), "pieces": pieces, "planned": len(plan_pieces(config))}
    write_whole(store.folder / "run.json", (json.dumps(document, indent=1) + "\n").encode(), store.folder)
