"""A tiny Llama, pairs, cells and their training, on which the tests of stacks, sweeps and stops are run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llm.devices import on_first, this_rank
from llm.policy.batches import TokenizedPairs
from llm.policy.logprobs import reference_logprobs
from llm.sweep.export import load_cell
from llm.sweep.run import train_sweep
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from llm.training.trace import StackResult
from llm.training.trainer import train_stack

ROOT = Path(__file__).parents[2]
LOSSES = (("logistic", 0.3), ("squared", 0.2), ("hinge", 0.5), ("exponential", 0.1), ("savage", 1.0))


def llama(seed: int = 0, **changes: object) -> LlamaForCausalLM:
    sizes: dict[str, object] = {
        "vocab_size": 31, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3,
    }  # fmt: skip
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **changes})).eval()


def random_pairs(n: int = 24, seed: int = 0) -> TokenizedPairs:
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> list[int]:
        return [int(i) for i in rng.integers(2, 31, rng.integers(low, high))]

    rows = [(ids(1, 9), [*ids(0, 6), 1], [*ids(0, 6), 1]) for _ in range(n)]
    return TokenizedPairs([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], np.ones(n))


MODEL, PAIRS = llama(), random_pairs()
REFERENCE = reference_logprobs(MODEL, PAIRS)


def cells_at(rate: float, losses: Sequence[tuple[str, float]] = LOSSES, seed: int = 0) -> list[SweepCell]:
    return [SweepCell(loss, beta, seed, rate) for loss, beta in losses]


def train(cells: Sequence[SweepCell], config: TrainConfig, folder: Path, **options: Any) -> StackResult:
    return train_stack(MODEL, cells, PAIRS, REFERENCE, config, folder=folder, **options)


def apart(a: torch.nn.Module, b: torch.nn.Module) -> float:
    return max(float((x - y).detach().abs().max()) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def spread_over_ranks(folder: Path) -> None:
    """What each of some launched processes does: train its share of a sweep, and write down which cells it had."""
    where = this_rank("cpu")
    assert on_first(where, lambda: where.rank) == 0
    here: list[int] = []
    found = train_sweep(
        MODEL, cells_at(0.05), PAIRS, REFERENCE, TrainConfig(3, batch_size=6, optimizer="sgd"), folder=folder,
        device="cpu", stack_size=2, on_checkpoint=lambda cell, s, m: here.append(cells_at(0.05).index(cell)),
    )  # fmt: skip
    (folder / f"rank-{where.rank}-of-{where.world}").write_text(f"{sorted(here)} {found.statuses}")


def assert_spread(folder: Path, alone: Path) -> None:
    """Two processes trained stacks [0, 1], [2, 3], [4] by turns, and what one trains in a stack of five."""
    told = {path.name: path.read_text() for path in folder.glob("rank-*")}
    assert set(told) == {"rank-0-of-2", "rank-1-of-2"}
    assert told["rank-0-of-2"].startswith("[0, 1, 4]")
    assert told["rank-1-of-2"].startswith("[2, 3]")
    assert all(text.count("finished") == len(LOSSES) for text in told.values())
    config = TrainConfig(3, batch_size=6, optimizer="sgd")
    whole = train_sweep(MODEL, cells_at(0.05), PAIRS, REFERENCE, config, folder=alone, stack_size=5)
    assert whole.stack_size == 5
    for cell in cells_at(0.05):
        assert apart(load_cell(MODEL, folder, cell), load_cell(MODEL, alone, cell)) < 2e-6
