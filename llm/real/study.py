"""The study of a real model from end to end: prompts, samples and pairs of each seed, runs, what was said of them.

A folder holds a seed's prompts and samples, a sealed file a piece with log π/πref of every sample at every recorded
step, of the model with adapters and of its two linearisations, and, when the command ends, ``steps.parquet`` and
``prompts.parquet`` (`llm.predicted.tables`), ``best.parquet`` (best-of-n of the same samples) and ``run.json``.
Stopped, it goes on. Seeds are outermost; the pieces of a seed share what is frozen.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import pandas as pd

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.files import write_whole
from llm.budget import Stop
from llm.evaluation.win_rate import best_of_n
from llm.forests.pieces import Piece, RunOptions, read_piece, run_pieces, split
from llm.forests.problem import Problem, problem_to_json
from llm.forests.stacks import rows_of
from llm.forests.store import Store
from llm.predicted.data import Pairs, draw_pairs
from llm.predicted.tables import Finished, write_tables
from llm.predicted.training import Course, train
from llm.real.config import AdapterCell, RealConfig
from llm.real.models import Linear, Network, signal_share, weight_slopes
from llm.real.network import Base, Cached, Tensors, fresh_adapters, lower_states
from llm.real.sources import Sources

#: The linear models beside a run: in the weights, and in the adapters' parameters, that is with A held.
LINEAR = {"tangent": False, "parameters": True}
BEST = (2, 4)


class PromptPairs(Pairs):
    """Pairs of which a step takes some prompts with all their pairs."""

    def batch(self, step: int, size: int) -> IntArray:
        """Pairs of a step, counted from 0: all prompts once a pass, in an order drawn from seed and pass."""
        count = int(self.prompt.max()) + 1
        chosen = rows_of(count, size * count // len(self), step, [self.seed, 3]).numpy()
        return np.flatnonzero(np.isin(self.prompt, chosen))


def pairs_of(problem: Problem, config: RealConfig) -> PromptPairs:
    """The pairs of a seed, with their labels."""
    return PromptPairs(**vars(draw_pairs(problem, config)))


def plan_pieces(config: RealConfig, seeds: Sequence[int] | None = None) -> list[Piece]:
    """Pieces in the order of training: seeds outermost.

    Examples
    --------
    >>> from llm.real.config import preset
    >>> [(piece.seed, len(piece.cells)) for piece in plan_pieces(preset("titles-tiny"), [0])]
    [(0, 2), (0, 3)]
    """
    return [
        piece
        for seed in (config.seeds if seeds is None else seeds)
        for piece in split(seed, config.cells(), config.stack)
    ]


def run_study(
    config: RealConfig,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    tables: bool = True,
    **options: Unpack[RunOptions],
) -> bool:
    """Train what is missing, within the budget, and write the tables of what is there.

    Parameters
    ----------
    config : RealConfig
        What to train.
    out : str or os.PathLike[str]
        The study's folder; a ValueError says so where it holds a study of another configuration, model or data.
    model, data : path, optional
        See `Sources`. Only the tiny presets go without.
    tables : bool
        Whether to write tables at the end.
    **options : RunOptions
        ``seeds``, ``budget_seconds``, ``commit``, ``progress``, ``say``, ``clock``: `llm.forests.pieces`.

    Returns
    -------
    bool
        Whether every piece of the seeds asked for is there.

    Raises
    ------
    ValueError
        For a preset that is not tiny without model or data.
    """
    if (model is None or data is None) and not config.name.endswith("-tiny"):
        raise ValueError(
            f"preset {config.name} needs --model and --data: a folder from `python -m llm fetch smollm2 --out DIR`, "
            "and a file of records; accepted without are the tiny presets"
        )
    sources = Sources(config, model, data)
    config = dataclasses.replace(config, sources=sources.digests())
    base = Base.of(sources.model, config.upper)
    ready: dict[int, _Ready] = {}

    def draw(store: Store, seed: int) -> Problem:
        file = f"seed-{seed}/samples"
        if not (store.folder / file).is_file():
            store.write(file, json.dumps(problem_to_json(sources.problem(config, seed))).encode())
        return store.problem(seed)

    def work(problem: Problem, piece: Piece, stop: Stop | None) -> Mapping[str, FloatArray]:
        if piece.seed not in ready:
            ready.clear()  # frees the other seed's slopes first
            ready[piece.seed] = _Ready.of(problem, base, config)
        return _trained(ready[piece.seed], piece, config, options.get("progress", False), stop)

    def written(store: Store, found: list[Piece]) -> str:
        problems = {seed: store.problem(seed) for seed in dict.fromkeys(piece.seed for piece in found)}
        _write_best(store.folder, problems, config)
        return write_tables(store.folder, config, problems, finished(store, found))

    return run_pieces(
        config, out, "llm real", lambda some: plan_pieces(config, some), work, written if tables else None, draw=draw,
        **options,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Ready:
    """A seed's problem, its pairs, and what is frozen: lower states, and slopes in the weights."""

    problem: Problem
    pairs: PromptPairs
    base: Base
    cached: list[Cached]
    slopes: list[Tensors]
    signal: float

    @classmethod
    def of(cls, problem: Problem, base: Base, config: RealConfig) -> _Ready:
        pairs = pairs_of(problem, config)
        cached = [lower_states(base, part.forest) for _, part in problem.parts()]
        slopes = [weight_slopes(base, one) for one in cached]
        size = config.prompts_a_step * config.pairs_per_prompt
        batches = [pairs.batch(step, size) for step in range(config.steps)]
        start = fresh_adapters(base, config.rank, 1, problem.seed)
        signal = signal_share(Linear(slopes, pairs, start, config.scaling, [True]), pairs, batches)
        return cls(problem, pairs, base, cached, slopes, signal)


def _trained(
    ready: _Ready, piece: Piece, config: RealConfig, progress: bool, stop: Stop | None
) -> dict[str, FloatArray]:
    """The runs, and what was said of them."""
    cells: Sequence[AdapterCell] = piece.cells
    fixed, runs, title = [cell.fixed_a for cell in cells], len(cells), f"seed {piece.seed}, {len(cells)} "
    courses = {}
    for name, holds in LINEAR.items():
        start = fresh_adapters(ready.base, config.rank, runs, piece.seed)
        model = Linear(ready.slopes, ready.pairs, start, config.scaling, [holds or one for one in fixed])
        courses[name] = train(model, cells, ready.pairs, config, title=title + "linear", progress=progress, stop=stop)
    start = fresh_adapters(ready.base, config.rank, runs, piece.seed)
    network = Network(ready.base, ready.cached, ready.problem, ready.pairs, start, config.scaling, fixed)
    courses["real"] = train(network, cells, ready.pairs, config, title=title + "models", progress=progress, stop=stop)
    arrays = {f"{kind}_{name}": value for kind, one in courses.items() for name, value in vars(one).items()}
    return {**arrays, "signal": np.array(ready.signal)}


def finished(store: Store, pieces: Sequence[Piece]) -> list[Finished]:
    """Finished runs as tables take them: those of a seed together with their own limit, A trained or fixed."""
    found = []
    for seed in dict.fromkeys(piece.seed for piece in pieces):
        own = [piece for piece in pieces if piece.seed == seed]
        made = [read_piece(store, piece).arrays for piece in own]
        cells: list[AdapterCell] = [cell for piece in own for cell in piece.cells]
        for fixed in (False, True):
            rows = [row for row, cell in enumerate(cells) if cell.fixed_a == fixed]
            if not any(cells[row].strength == 0 for row in rows):
                continue  # their limit is not there yet
            courses = {}
            for kind in ("real", *LINEAR):
                seen, held = (
                    np.concatenate([arrays[f"{kind}_{part}"] for arrays in made], 1)[:, rows]
                    for part in ("seen", "held")
                )
                courses[kind] = Course(seen, held, np.concatenate([one[f"{kind}_stopped"] for one in made])[rows])
            moments = np.array([[cells[0].batch, np.nan, np.nan, float(made[0]["signal"])]])
            tangent, *others = LINEAR
            found.append(
                Finished(
                    seed,
                    tuple(cells[row] for row in rows),
                    courses["real"],
                    courses[tangent],
                    moments,
                    {name: courses[name] for name in others},
                )
            )
    return found


def _write_best(folder: Path, problems: Mapping[int, Problem], config: RealConfig) -> None:
    """Best-of-n of πref's samples by their reward, a row a seed, prompt and n."""
    rows = []
    for seed, problem in problems.items():
        for prompt in range(config.prompts if config.domain == "titles" else 0):
            rewards = [
                np.repeat(part.rewards[prompt], np.rint(part.forest.weight[prompt].numpy() * size).astype(int))
                for part, size in ((problem.seen, config.samples), (problem.held, config.held_samples))
            ]
            for n in BEST:
                if n <= len(rewards[0]):
                    best = best_of_n(rewards[0][None], rewards[1][None], n)
                    values = {"kl": best.kl, "win_rate": best.result.win_rate, "reward": best.mean_reward}
                    rows.append({"seed": seed, "prompt": prompt, "n": n, **values})
    buffer = io.BytesIO()
    pd.DataFrame(rows, columns=["seed", "prompt", "n", "kl", "win_rate", "reward"]).to_parquet(buffer, index=False)
    write_whole(folder / "best.parquet", buffer.getvalue(), folder)
