"""Study B from end to end: πref and samples of each seed, policies in pieces, tables. Stopped, it goes on.

A folder is that of study A (`llm.optimum.study`), its files sealed alike: a piece that was not finished, or is not what
was written, is trained again. Seeds are outermost, then few before many prompts, and a piece holds all losses at some
strengths, so that a study that ended early has whole seeds and, at most, one in part.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Unpack

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_loss
from llm.budget import Stop
from llm.forests.pieces import Piece, RunOptions, read_piece, run_pieces, split_conditions
from llm.forests.problem import Problem
from llm.forests.store import Store
from llm.tuned.config import TunedConfig
from llm.tuned.tables import write_tables
from llm.tuned.training import TunedCell, TunedPolicies, train_tuned


def plan_pieces(config: TunedConfig, seeds: Sequence[int] | None = None) -> list[Piece]:
    """Pieces in the order of training.

    Examples
    --------
    >>> from llm.tuned.config import preset
    >>> [(piece.seed, len(piece.cells), piece.cells[0].trained) for piece in plan_pieces(preset("tiny"))]
    [(0, 6, 4), (0, 6, 8), (1, 6, 4), (1, 6, 8)]
    """
    pieces: list[Piece] = []
    for seed in config.seeds if seeds is None else seeds:
        found: list[list[Piece]] = []
        for trained in config.trained:
            cells = [
                TunedCell(loss, strength, get_loss(loss).beta_of(strength), seed, trained)
                for strength in config.strengths
                for loss in config.losses
            ]
            found.append(split_conditions(seed, len(config.losses), cells, config.stack, config.budget_seconds))
        # time that ends early leaves out strengths, and not the greatest number of prompts
        ordered = [*itertools.chain(*(zip(*found, strict=True) if config.budget_seconds is not None else found))]
        pieces += [dataclasses.replace(piece, number=number) for number, piece in enumerate(ordered)]
    return pieces


def run_study(
    config: TunedConfig, out: str | os.PathLike[str], *, tables: bool = True, **options: Unpack[RunOptions]
) -> bool:
    """Train what is missing, within the budget, and write the tables of what is there.

    Parameters
    ----------
    config : TunedConfig
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

    def work(problem: Problem, piece: Piece, stop: Stop | None) -> Mapping[str, FloatArray]:
        return vars(train_tuned(problem, piece.cells, config, progress=options.get("progress", False), stop=stop))

    def written(store: Store, found: list[Piece]) -> str:
        problems = {seed: store.problem(seed) for seed in dict.fromkeys(piece.seed for piece in found)}
        made = [(piece.cells, read_piece(store, piece)) for piece in found]
        return write_tables(
            store.folder, config, problems, [(cells, TunedPolicies(**one.arrays), one.seconds) for cells, one in made]
        )

    return run_pieces(
        config, out, "llm tuned", lambda some: plan_pieces(config, some), work, written if tables else None, **options
    )
