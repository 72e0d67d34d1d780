"""Study C from end to end: πref, samples and pairs of each seed, runs and their tangents in pieces, tables.

A folder holds a seed's problem (`llm.forests.store`), a sealed file a piece with log π/πref of every sample at every
recorded step, real and tangent, and, when the command ends, ``steps.parquet`` (a row a run, step and split),
``prompts.parquet`` (the same for each prompt) and ``run.json``. Stopped, it goes on. Seeds are outermost, so that a
study that ended early has whole seeds and, at most, one in part.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

import torch

from gpo_analysis.arrays import FloatArray
from llm.budget import Stop
from llm.forests.pieces import Piece, RunOptions, read_piece, run_pieces
from llm.forests.problem import Problem
from llm.forests.store import Store
from llm.predicted.config import Cell, PredictedConfig
from llm.predicted.data import Pairs, draw_pairs
from llm.predicted.models import Network, Tangent, gradient_moments, jacobian
from llm.predicted.tables import Finished, write_tables
from llm.predicted.training import Course, train


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
    config: PredictedConfig, out: str | os.PathLike[str], *, tables: bool = True, **options: Unpack[RunOptions]
) -> bool:
    """Train what is missing, within the budget, and write the tables of what is there.

    Parameters
    ----------
    config : PredictedConfig
        What to train.
    out : str or os.PathLike[str]
        The study's folder; a ValueError says so where it holds a study of another configuration.
    tables : bool
        Whether to write tables at the end.
    **options : RunOptions
        ``seeds``, ``budget_seconds``, ``commit``, ``progress``, ``say``, ``clock``: `llm.forests.pieces`.

    Returns
    -------
    bool
        Whether every piece of the seeds asked for is there.
    """
    if config.device == "cuda":
        torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    ready: dict[int, _Ready] = {}

    def work(problem: Problem, piece: Piece, stop: Stop | None) -> Mapping[str, FloatArray]:
        if piece.seed not in ready:
            ready.clear()  # frees the other seed's gradients first
            ready[piece.seed] = _Ready.of(problem, config)
        return _trained(ready[piece.seed], piece, config, options.get("progress", False), stop)

    def written(store: Store, found: list[Piece]) -> str:
        problems = {seed: store.problem(seed) for seed in dict.fromkeys(piece.seed for piece in found)}
        return write_tables(store.folder, config, problems, [finished(store, piece) for piece in found])

    return run_pieces(
        config,
        out,
        "llm predicted",
        lambda some: plan_pieces(config, some),
        work,
        written if tables else None,
        **options,
    )  # fmt: skip


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


def _trained(
    ready: _Ready, piece: Piece, config: PredictedConfig, progress: bool, stop: Stop | None
) -> dict[str, FloatArray]:
    """The networks, and then their tangents."""
    runs, title = len(piece.cells), f"seed {piece.seed}, {len(piece.cells)} "
    network = Network(ready.problem, ready.pairs, config.size.heads, runs, config.device)
    real = train(network, piece.cells, ready.pairs, config, title=title + "networks", progress=progress, stop=stop)
    del network
    tangent = Tangent(ready.jacobians, ready.pairs, runs)
    linear = train(tangent, piece.cells, ready.pairs, config, title=title + "tangents", progress=progress, stop=stop)
    arrays = {
        f"{kind}_{name}": value
        for kind, one in (("real", real), ("tangent", linear))
        for name, value in vars(one).items()
    }
    return {**arrays, "moments": ready.moments}


def finished(store: Store, piece: Piece) -> Finished:
    """A finished piece as tables take it."""
    arrays = read_piece(store, piece).arrays
    real, tangent = (
        Course(*(arrays[f"{kind}_{name}"] for name in Course.__dataclass_fields__)) for kind in ("real", "tangent")
    )
    return Finished(piece.seed, piece.cells, real, tangent, arrays["moments"])
