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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpo_analysis.files import (
    DamagedFile,
    read_sealed,
    remove_stale,
    seal_json,
    unseal_json,
    write_sealed,
    write_whole,
)
from gpo_analysis.locks import run_lock
from gpo_analysis.losses import get_loss
from gpo_analysis.provenance import device, git_state, versions
from gpo_analysis.records import plain, record_key
from llm.forests.problem import Problem, Tensors, make_problem, make_references, problem_from, problem_to_json
from llm.optimum.config import OptimumConfig
from llm.optimum.tables import write_tables
from llm.optimum.training import PolicyCell, Trained, train_piece
from llm.storage.checkpoints import CheckpointError, load_tensors, save_tensors

Say = Callable[[str], None]


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
    store = _Store(folder, _claim(folder, config), say)
    for seed in () if budget_seconds == 0 else config.seeds if seeds is None else seeds:
        store.check(seed, plan_pieces(config, [seed]))
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
            problem = _problem(config, store, piece.seed, waiting, progress)
        ready = clock()
        trained = train_piece(problem, piece.cells, config, progress=progress)
        seconds = clock() - ready
        _keep(store, piece, trained, seconds, _provenance(config, commit))
        longest = max(longest, seconds)
        missing.pop(0)
        say(f"{piece.file}: {len(piece.cells)} policies in {seconds:.1f} s (problem {ready - begun:.1f} s)")
    found = [piece for piece in plan_pieces(config) if (folder / piece.file).is_file()]
    if found and tables:
        problems = {seed: store.problem(seed) for seed in dict.fromkeys(piece.seed for piece in found)}
        say(write_tables(folder, config, problems, [(piece.cells, *store.piece(piece)[:2]) for piece in found]))
    _write_run(store, config, found)
    return not missing


@dataclass(frozen=True)
class _Store:
    """What a study keeps, each file sealed under the study's key and its own place."""

    folder: Path
    key: str
    say: Say

    def write(self, file: str, data: bytes) -> None:
        write_sealed(self.folder / file, data, f"{self.key} {file}", self.folder)

    def read(self, file: str) -> bytes:
        return read_sealed(self.folder / file, f"{self.key} {file}")

    def piece(self, piece: Piece) -> tuple[Trained, float, dict[str, Any]]:
        """A finished piece, the seconds it took, and where and when."""
        with np.load(io.BytesIO(self.read(piece.file)), allow_pickle=False) as found:
            trained = Trained(*(found[name] for name in Trained.__dataclass_fields__))
            return trained, float(found["seconds"]), json.loads(str(found["described"]))["provenance"]

    def problem(self, seed: int, weights: Tensors | None = None) -> Problem:
        """A seed's problem; without πref's parameters, which no table needs, where none are given."""
        return problem_from(json.loads(self.read(f"seed-{seed}/samples")), {} if weights is None else weights)

    def check(self, seed: int, pieces: Sequence[Piece]) -> None:
        """Remove, with a word, what is not what was written: a piece, or all of a seed whose πref or samples are."""
        reference, samples = self.folder / f"seed-{seed}" / "reference.safetensors", f"seed-{seed}/samples"
        files = [piece.file for piece in pieces if (self.folder / piece.file).is_file()]
        try:
            if reference.is_file():
                load_tensors(reference)
            if (self.folder / samples).is_file():
                self.read(samples)
            elif files:
                raise DamagedFile(f"{self.folder / samples} is missing")
        except (CheckpointError, DamagedFile) as error:
            self.say(f"{error}: seed {seed} begins anew")
            for path in (reference, *(self.folder / file for file in (samples, *files))):
                path.unlink(missing_ok=True)
            return
        for file in files:
            try:
                self.read(file)
            except DamagedFile as error:
                self.say(f"{error}: it is trained again")
                (self.folder / file).unlink()


def _keep(store: _Store, piece: Piece, trained: Trained, seconds: float, provenance: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    described = json.dumps({"provenance": provenance, "cells": [asdict(cell) for cell in piece.cells]})
    np.savez_compressed(buffer, **vars(trained), seconds=np.array(seconds), described=np.array(described))
    store.write(piece.file, buffer.getvalue())


def _claim(folder: Path, config: OptimumConfig) -> str:
    """Say whose folder this is and return the study's key.

    The device is no part of what must agree, so that tables can be made elsewhere.
    """
    described = plain({**config.to_json(), "device": "any"})
    key, file = record_key(described), folder / "study.json"
    if file.is_file():
        if unseal_json(file.read_bytes(), file)["key"] != key:
            raise ValueError(f"{folder} holds a study of another configuration; give this one a folder of its own")
        return key
    write_whole(file, seal_json({"key": key, "config": described}), folder)
    return key


def _problem(config: OptimumConfig, store: _Store, seed: int, waiting: Sequence[int], progress: bool) -> Problem:
    """The seed's problem, read or made; on a GPU πref of all the seeds that wait is fine-tuned in one go."""
    folder = store.folder
    reference = folder / f"seed-{seed}" / "reference.safetensors"
    if not reference.is_file():
        together = [one for one in waiting if not (folder / f"seed-{one}" / "reference.safetensors").is_file()]
        together = together if config.device == "cuda" else [seed]
        for one, parameters in zip(together, make_references(config, together, progress=progress), strict=True):
            save_tensors(parameters, folder / f"seed-{one}" / "reference.safetensors", {})
    weights: Tensors = load_tensors(reference)[0]
    if not (folder / f"seed-{seed}" / "samples").is_file():
        made = make_problem(config, seed, weights)
        store.write(f"seed-{seed}/samples", json.dumps(problem_to_json(made)).encode())
    return store.problem(seed, weights)


def _provenance(config: OptimumConfig, commit: str | None) -> dict[str, Any]:
    on_gpu = config.device == "cuda" and torch.cuda.is_available()
    return {
        "git": git_state(Path(__file__).parent) if commit is None else {"commit": commit, "dirty": None},
        "versions": versions(),
        "device": {**device(), "torch": config.device, "accelerator": torch.cuda.get_device_name() if on_gpu else None},
        "threads": torch.get_num_threads(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write_run(store: _Store, config: OptimumConfig, found: Sequence[Piece]) -> None:
    """run.json: the configuration, and of every piece where and when it was trained."""
    pieces = []
    for piece in found:
        _, seconds, provenance = store.piece(piece)
        pieces.append({"piece": piece.file, "seconds": seconds, **provenance})
    document = {"config": plain(config.to_json()), "pieces": pieces, "planned": len(plan_pieces(config))}
    write_whole(store.folder / "run.json", (json.dumps(document, indent=1) + "\n").encode(), store.folder)
