"""A log of pairs in training: log-probabilities under policy and reference, a row a pair and recorded step.

``gpo diagnose`` and :func:`gpo_analysis.estimation.read_training_log` read it; with the loss of each pair beside them,
by the objective that is trained, ``gpo audit-log`` does too.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from transformers import TrainerCallback

from gpo_analysis.files import write_whole
from gpo_analysis.integrations.objective import PairSums, pair_losses
from gpo_analysis.integrations.preference_sets import IDS, LABEL, REFERENCE
from gpo_analysis.losses import BatchLoss

COLUMNS = (
    "step", "policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected", "chosen_length",
    "rejected_length",
)  # fmt: skip
LOSS, SOFT = "loss", "soft_label"
"""Keys that a row may have beside `COLUMNS`: the pair's loss, where that is its own; its label, where that is soft."""


class PairLog(TrainerCallback):
    """Records some pairs at the start, every few steps, and at the end of training.

    The same pairs are recorded each time, in the same order. A training that goes on from a checkpoint keeps the rows
    up to its step and records the later ones again.

    Parameters
    ----------
    trainer : GPOTrainer
        Whose policy is recorded.
    path : path
        JSON lines, with the keys `COLUMNS`: sums of token log-probabilities in nats, lengths in tokens; `LOSS`, and
        `SOFT` for a soft label.
    rows : sequence of dict
        Prepared rows (`gpo_analysis.integrations.preference_sets`).
    every : int
        Steps between two records; 0 for start and end alone.
    """

    def __init__(self, trainer: Any, path: str | os.PathLike[str], rows: Sequence[dict[str, Any]], every: int) -> None:
        self.trainer, self.path, self.rows, self.every = trainer, Path(path), list(rows), every
        self.steps: set[int] = set()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep what was recorded up to this step, and record the first."""
        kept: list[dict[str, Any]] = []
        if state.is_world_process_zero:
            counts = Counter(row["step"] for row in read_rows(self.path))
            whole = {step for step, count in counts.items() if count == len(self.rows) and step <= state.global_step}
            kept = [row for row in read_rows(self.path) if row["step"] in whole]
            write_rows(kept, self.path)
        self.steps = set(self.trainer.from_first(sorted({row["step"] for row in kept})))
        if not state.global_step:
            self.record(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Record where it is due."""
        if self.every and state.global_step % self.every == 0:
            self.record(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Record the last step."""
        self.record(state.global_step)

    def record(self, step: int) -> None:
        """Append a row a pair, unless the step has been recorded."""
        if step in self.steps or not self.rows:
            return
        self.steps.add(step)
        columns = self.trainer.pair_logps(self.rows)
        if not self.trainer.is_world_process_zero():
            return
        made: list[dict[str, Any]] = [dict(zip(COLUMNS, (step, *values), strict=True)) for values in columns]
        sound = [row for row in made if all(math.isfinite(value) for value in row.values())]
        if len(sound) < len(made):
            warnings.warn(
                f"step {step}: {len(made) - len(sound)} of {len(made)} pairs have log-probabilities that are not "
                "finite; they are not logged",
                stacklevel=2,
            )
        labels = [float(row.get(LABEL, 1.0)) for row in self.rows]
        losses = losses_of(self.trainer, columns, labels)
        for row, loss, p in zip(made, losses, labels, strict=True):  # an infinite loss is no number of JSON
            row |= {LOSS: loss} if math.isfinite(loss) else {}
            row |= {SOFT: p} if p != 1 else {}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in sound)


@torch.no_grad()
def logps_of(trainer: Any, rows: Sequence[dict[str, Any]]) -> list[tuple[float, ...]]:
    """log πθ of chosen and rejected, log πref, and lengths of some pairs; as of `GPOTrainer.pair_logps`."""
    kept = (*IDS, *REFERENCE)
    plain = [{name: row[name] for name in kept if name in row} for row in rows]
    was_training = trainer.model.training
    trainer.model.eval()
    found: list[tuple[int, tuple[float, ...]]] = []
    try:
        for part in _own_batches(trainer.accelerator, len(plain), trainer.args.per_device_eval_batch_size):
            inputs = trainer.with_references(trainer._prepare_inputs(trainer.data_collator([plain[i] for i in part])))
            model_inputs = {k: v for k, v in inputs.items() if k not in ("completion_mask", *REFERENCE)}
            labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
            with trainer.compute_loss_context_manager():
                tokens = trainer.model_wrapped(**model_inputs, labels=labels, fused_lm_head=True, use_cache=False)
            columns = torch.cat([part.double() for part in trainer.pair_sums(tokens.log_probs, inputs)], 1)
            found += [(i, tuple(values)) for i, values in zip(part, columns.tolist(), strict=True)]
    finally:
        trainer.model.train(was_training)
    by_row = dict(gather_object(found))
    return [(*by_row[i][:4], *map(int, by_row[i][4:])) for i in range(len(plain))]


@torch.no_grad()
def losses_of(trainer: Any, columns: Sequence[tuple[float, ...]], labels: Sequence[float]) -> list[float]:
    """The loss of each pair by the objective that is trained; NaN where it is none of a pair's log-probabilities alone.

    That is so of losses of a batch (AOT), and of weights that are of tokens (LD-DPO, WPO).

    Parameters
    ----------
    trainer : GPOTrainer
        Of which objective, β, reduction and link are used.
    columns : sequence of k tuples of 6 numbers
        As `logps_of` returns them.
    labels : sequence of k floats
        p of each pair.
    """
    if isinstance(trainer.objective, BatchLoss) or trainer.ld_alpha is not None or trainer.use_weighting:
        return [math.nan] * len(columns)
    policy, reference, lengths = torch.tensor(columns, dtype=torch.float64).reshape(-1, 3, 2).unbind(1)
    each = pair_losses(
        trainer.objective, trainer.beta, PairSums(policy, reference, lengths), reduction=trainer.reduction,
        link=trainer.link, p=torch.tensor(labels, dtype=torch.float64),
    )  # fmt: skip
    return [float(value) for value in each]


@torch.no_grad()
def with_reference_columns(trainer: Any, dataset: Any, size: int) -> Any:
    """A set with its reference log-probabilities, each process computing its share of them.

    Parameters
    ----------
    trainer : GPOTrainer
        Whose reference model is used, or the policy before it is trained.
    dataset : Dataset
        Prepared, the same in every process.
    size : int
        Rows a batch.
    """
    model = trainer.model if trainer.ref_model is None else trainer.ref_model
    found: list[tuple[int, tuple[float, float]]] = []
    for part in _own_batches(trainer.accelerator, len(dataset), size):
        inputs = trainer._prepare_inputs(trainer.data_collator([dataset[i] for i in part]))
        sides = [side.tolist() for side in trainer.compute_ref_log_probs(model, inputs)]
        found += zip(part, zip(*sides, strict=True), strict=True)
    by_row = dict(gather_object(found))
    for side, name in enumerate(REFERENCE):
        dataset = dataset.add_column(name, np.array([by_row[i][side] for i in range(len(dataset))], dtype=np.float32))
    return dataset


def _own_batches(accelerator: Any, count: int, size: int) -> Iterator[list[int]]:
    """This process's share of so many rows in batches: equally many in each, as a sharded model must be called."""
    world, me = accelerator.num_processes, accelerator.process_index
    mine = [i % max(1, count) for i in range(me, me + world * -(-count // world), world)]
    for start in range(0, len(mine), size):
        yield mine[start : start + size]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a log: a line that a killed process left half-written, or that is damaged, is none."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and set(row) - {LOSS, SOFT} == set(COLUMNS):
            found.append(row)
    return found


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write a log whole."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows).encode(), path.parent)
