"""Study A from end to end: πref and samples of each seed, policies in pieces, tables. Stopped, it goes on.

A folder holds ``seed-N/reference.safetensors`` and ``seed-N/samples`` (prompts and samples as ids, with rewards), a
file a piece, and when the command ends ``policies.parquet``, ``prompts.parquet`` and ``run.json``. Every file is
written whole or not at all, and what a study goes on from is sealed: a piece that was not finished, or is not what was
written, is trained again; a seed whose πref or samples are damaged begins anew. One run a seed: several may share a
folder. Seeds are outermost, and a piece holds all losses at some strengths, so that a study that ended early has whole
seeds and, at most, one in part.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Unpack

import torch

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_loss
from llm.budget import Stop
from llm.forests.pieces import Piece, RunOptions, read_piece, run_pieces, split_conditions
from llm.forests.problem import Problem
from llm.forests.store import Store
from llm.optimum.config import OptimumConfig
from llm.optimum.tables import write_tables
from llm.optimum.training import PolicyCell, Trained, train_piece


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
        pieces += split_conditions(seed, len(config.losses), cells, config.stack, config.budget_seconds)
    return pieces


def run_study(
    config: OptimumConfig, out: str | os.PathLike[str], *, tables: bool = True, **options: Unpack[RunOptions]
) -> bool:
    """Train what is missing, within the budget, and write the tables of what is there.

    Parameters
    ----------
    config : OptimumConfig
        What to train.
    out : str or os.PathLike[str]
        The study's folder; a ValueError says so where it holds a study of another configuration.
    tables : bool
        Whether to write tables at the end; without, no optimum is solved.
    **options : RunOptions
        ``seeds``, ``budget_seconds``, ``commit``, ``progress``, ``say``, ``clock``: `llm.forests.pieces`.

    Returns
    -------
    bool
        Whether every piece of the seeds asked for is there.
    """
    if config.device == "cuda":
        torch.set_float32_matmul_precision("high" if config.tf32 else "highest")

    def work(problem: Problem, piece: Piece, stop: Stop | None) -> Mapping[str, FloatArray]:
        return vars(train_piece(problem, piece.cells, config, progress=options.get("progress", False), stop=stop))

    def written(store: Store, found: list[Piece]) -> str:
        problems = {seed: store.problem(seed) for seed in dict.fromkeys(piece.seed for piece in found)}
        made = [(piece.cells, read_piece(store, piece)) for piece in found]
        return write_tables(
            store.folder, config, problems, [(cells, Trained(**one.arrays), one.seconds) for cells, one in made]
        )

    return run_pieces(
        config, out, "llm optimum", lambda some: plan_pieces(config, some), work, written if tables else None, **options
    )
