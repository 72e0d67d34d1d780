"""Train a stack of cells on preference pairs; stop at any moment and go on to the same end.

One batch of pairs and one table of reference log-probabilities serve all the cells of a stack. Everything that a step
depends on is a function of the configuration, the step's number and the saved state, so a run that was killed and
started again gives the same losses, to the bit on CPU with the same number of threads.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpo_analysis.arrays import IntArray
from llm.budget import Stop, TimeIsUp
from llm.policy.batches import TokenizedPairs, batch_rows
from llm.policy.logprobs import pair_logprobs, precision
from llm.policy.packing import pack, unpacked, width_of
from llm.storage.checkpoints import CheckpointError, latest_checkpoint, load_checkpoint, save_checkpoint, save_tensors
from llm.storage.checksums import checksum_model
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from llm.training.lora_stacks import make_stack
from llm.training.objective import StackedObjective
from llm.training.optimizers import SGD, Adafactor, AdamW, StackedOptimizer, clip_gradients, gradient_norms
from llm.training.stacked import Stack
from llm.training.trace import NAN, TRACE, StackResult

OnCheckpoint = Callable[[int, int, Any], None]
_NEAR_OVERFLOW = 1e15  # far from 3e38, so that no step from below it ends in infinity


class OtherRunError(ValueError):
    """A folder whose checkpoint is of another run."""


def train_stack(
    base_model: Any,
    cells: Sequence[SweepCell],
    pairs: TokenizedPairs,
    reference: NDArray[np.floating[Any]],
    config: TrainConfig,
    *,
    folder: str | os.PathLike[str],
    device: str | torch.device | None = None,
    progress: bool = False,
    on_checkpoint: OnCheckpoint | None = None,
    stop: Stop | None = None,
) -> StackResult:
    """Train cells together, from the last checkpoint in ``folder`` where there is one.

    Parameters
    ----------
    base_model : model
        Where every cell starts: a causal language model, or one with LoRA adapters, which alone are then trained. It
        is not changed.
    cells : sequence of SweepCell
        Of one seed, which sets the order of the pairs.
    pairs : TokenizedPairs
        n pairs.
    reference : array, shape (n, 2)
        log πref of the pairs' responses (`llm.policy.logprobs.reference_logprobs`).
    config : TrainConfig
        How.
    folder : path
        Of this stack's checkpoints. A stack that is finished there is not trained again; a checkpoint that is not what
        was written is removed, and the one before it taken.
    device : str or torch.device, optional
        Where to compute; the base model's device by default.
    progress : bool
        Whether to show a bar.
    on_checkpoint : callable, optional
        Called with a cell's index, the number of steps done and the cell's model, for cells that still train. It is
        called before the checkpoint of that step is written, so a run killed in between calls it again.
    stop : callable, optional
        Asked before each step whether to stop there.

    Raises
    ------
    ValueError
        For cells of several seeds, references that do not fit the pairs.
    OtherRunError
        For a folder that holds another run.
    TimeIsUp
        Where ``stop`` said so, once a checkpoint is written.
    OSError
        Where a checkpoint cannot be written; the one before is then intact.
    """
    run = _Run(base_model, tuple(cells), pairs, np.asarray(reference), config, Path(folder), device)
    run.resume()
    run.train(progress, on_checkpoint, stop)
    return StackResult(run.cells, tuple(run.statuses), run.trace.numpy(), run.stack)


def time_steps(
    base_model: Any,
    cells: Sequence[SweepCell],
    pairs: TokenizedPairs,
    reference: NDArray[np.floating[Any]],
    config: TrainConfig,
    *,
    folder: str | os.PathLike[str],
    device: str | torch.device | None = None,
    steps: int = 3,
) -> tuple[list[float], int]:
    """Seconds of each of some steps of a stack, after one that is not counted, and the peak memory on a GPU in bytes.

    Parameters
    ----------
    base_model, cells, pairs, reference, config, device : as of `train_stack`
    folder : path
        For what a cell that is stopped leaves; checkpoints are neither read nor written.
    steps : int
        Steps timed.
    """
    run = _Run(base_model, tuple(cells), pairs, np.asarray(reference), config, Path(folder), device)
    run.trace = torch.full((steps + 1, *run.trace.shape[1:]), math.nan, dtype=torch.float64)
    on_gpu = run.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(run.device)
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        run.take_step()
        if on_gpu:
            torch.cuda.synchronize(run.device)
        times.append(time.perf_counter() - start)
    return times[1:], torch.cuda.max_memory_allocated(run.device) if on_gpu else 0


class _Run:
    """The state of a stack in training."""

    def __init__(
        self,
        base_model: Any,
        cells: tuple[SweepCell, ...],
        pairs: TokenizedPairs,
        reference: NDArray[Any],
        config: TrainConfig,
        folder: Path,
        device: str | torch.device | None,
    ) -> None:
        _check(base_model, cells, pairs, reference, config)
        self.cells, self.pairs, self.config, self.folder = cells, pairs, config, folder
        self.key = run_key(base_model, cells, pairs, reference, config)
        self.device = torch.device(device) if device is not None else next(base_model.parameters()).device
        self.stack = make_stack(base_model, len(cells))
        self.stack.network.to(self.device)
        self.objective = StackedObjective(cells)
        self.optimizer = make_optimizer(self.stack, config)
        wide = reference.astype(np.float64 if reference.dtype == np.float64 else np.float32)
        self.reference = torch.from_numpy(wide).to(self.device)
        self.lengths = torch.from_numpy(pairs.lengths).to(self.device)
        self.widths = width_of(pairs, config.packed)
        self.p = torch.from_numpy(pairs.p).to(self.device)
        self.rates = torch.tensor([cell.learning_rate for cell in cells], dtype=torch.float64, device=self.device)
        self.alive = torch.ones(len(cells), dtype=torch.bool, device=self.device)
        self.statuses = ["running"] * len(cells)
        self.trace = torch.full((config.steps, len(cells), len(TRACE)), math.nan, dtype=torch.float64)
        self.largest = self._sizes()  # after the last step
        self.step = 0

    def resume(self) -> None:
        """Go on from the newest checkpoint."""
        found = latest_checkpoint(self.folder)
        if found is None:
            return
        try:
            tensors, step, meta = load_checkpoint(found)
        except CheckpointError as error:
            print(f"{error}; the steps since the checkpoint before it are taken again", file=sys.stderr)
            shutil.rmtree(found)
            self.resume()
            return
        if meta["key"] != self.key:
            raise OtherRunError(
                f"{self.folder} holds a run with other cells, pairs, references, model or configuration; "
                "give a folder of its own"
            )
        self.step = step
        self.stack.load({name: tensors[f"parameter/{name}"] for name in self.stack.parameters})
        self.optimizer.load({k.removeprefix("moment/"): v for k, v in tensors.items()}, self.step)
        self.trace[: self.step] = tensors["trace"]
        self.largest = self._sizes()
        self.statuses = list(meta["statuses"])
        self.alive = torch.tensor([not status.startswith("nan") for status in self.statuses], device=self.device)

    def train(self, progress: bool, on_checkpoint: OnCheckpoint | None, stop: Stop | None) -> None:
        """Take the steps that are left."""
        from tqdm import tqdm

        config = self.config
        bar = tqdm(total=config.steps, initial=self.step, disable=not progress, unit="step", desc=self._title())
        with bar:
            while self.step < config.steps and bool(self.alive.any()):
                if stop is not None and stop():
                    self.save()
                    raise TimeIsUp(f"stopped after step {self.step} of {config.steps}: {self._title()}")
                self.take_step()
                bar.update()
                if not bool(self.alive.all()):
                    bar.set_postfix_str(f"{int((~self.alive).sum())} stopped")
                last = not bool(self.alive.any())
                if self.step == config.steps:
                    self.statuses = ["finished" if status == "running" else status for status in self.statuses]
                if on_checkpoint is not None and config.evaluates(self.step):
                    for index in self.alive.nonzero()[:, 0].tolist():
                        on_checkpoint(index, self.step, self.stack.cell(index))
                if config.saves(self.step) or last:
                    self.save()

    def take_step(self) -> None:
        """One step of the optimiser; cells whose loss, gradient or update is not finite are stopped before it."""
        config = self.config
        rows = batch_rows(len(self.pairs), config.batch_size, self.step, self.cells[0].seed)
        sums = torch.zeros(len(self.cells), len(TRACE) - 1, dtype=torch.float64, device=self.device)
        for part in self._parts(rows):
            sums += self._accumulate(part)
        gradients = {name: p.grad for name, p in self.stack.parameters.items() if p.grad is not None}
        norms = gradient_norms(gradients)
        means = sums / config.batch_size
        sound = torch.isfinite(means[:, 0]) & torch.isfinite(norms)
        seen = torch.cat([means, norms[:, None]], 1)
        self.trace[self.step, self.alive.cpu()] = seen[self.alive].cpu()
        self._stop(self.alive & ~sound, rows)
        if config.max_grad_norm is not None:
            clip_gradients(gradients, norms, config.max_grad_norm)
        rates = self.rates * config.rate(self.step)
        kept = self._at_risk(rates * norms)
        self.optimizer.step(gradients, rates, self.alive)
        self._stop(self.alive & ~self._restored(kept), rows)
        for parameter in self.stack.parameters.values():
            parameter.grad = None
        self.step += 1

    def _parts(self, rows: IntArray) -> list[IntArray]:
        """The parts that a batch is computed in: by width, and of a number for the memory's sake."""
        found = [rows]
        if self.config.bucket:
            bucket = -(-self.widths[rows] // self.config.bucket)
            found = [rows[bucket == width] for width in np.unique(bucket)]
        return [part for group in found for part in np.array_split(group, self.config.accumulation) if len(part)]

    def _accumulate(self, rows: IntArray) -> torch.Tensor:
        """Add the gradient of part of a batch; (R, …) sums of what is traced."""
        pairs = self.pairs.take(rows)
        layout = pack if self.config.packed else unpacked
        batch = layout(pairs, multiple=max(1, self.config.bucket)).to(self.device)
        index = torch.from_numpy(rows).to(self.device)
        with precision(self.device, self.config.dtype):
            logprobs = pair_logprobs(self.stack, batch, chunk_elements=self.config.chunk_elements)
        reference = self.reference[index]
        loss, rho, margin = self.objective(logprobs, reference, self.lengths[index], self.p[index])
        # a cell that was stopped keeps finite parameters; its loss is left out of the sum
        total = loss[self.alive].sum() / self.config.batch_size
        total.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            ratios = logprobs - reference
            parts = (loss, rho, 0.5 * rho**2, (margin.abs() > 1).to(rho), ratios[..., 0], ratios[..., 1])
            return torch.stack([part.double().sum(1) for part in parts], 1)

    @torch.no_grad()
    def _at_risk(self, moves: torch.Tensor) -> dict[str, torch.Tensor]:
        """Copies of the parameters, where a step might take some beyond what a float holds; else nothing."""
        near = (self.largest > _NEAR_OVERFLOW) | (moves > _NEAR_OVERFLOW)
        if not bool((near & self.alive).any()):
            return {}
        return {name: value.clone() for name, value in self.stack.parameters.items()}

    @torch.no_grad()
    def _restored(self, kept: dict[str, torch.Tensor]) -> torch.Tensor:
        """(R,) whether each cell's parameters are finite; those that are not are put back to what they were."""
        self.largest = self._sizes()
        sound = torch.isfinite(self.largest)
        for index in (~sound).nonzero()[:, 0].tolist():
            start = dict(self.stack.template.named_parameters())  # where no copy was made: no step leaps that far
            for name, value in self.stack.parameters.items():
                value[index] = kept[name][index] if kept else start[name]
            self.largest[index] = 0.0
        return sound

    @torch.no_grad()
    def _sizes(self) -> torch.Tensor:
        """(R,) the largest parameter of each cell, in absolute value."""
        sizes = [value.abs().flatten(1).amax(1).float() for value in self.stack.parameters.values()]
        return torch.stack(sizes).amax(0)

    def _stop(self, which: torch.Tensor, rows: IntArray) -> None:
        """Stop the cells of (R,) booleans, keep their parameters and say what they met."""
        step = self.step + 1
        for index in which.nonzero()[:, 0].tolist():
            self.statuses[index] = f"{NAN}{step}"
            met = dict(zip(TRACE, self.trace[self.step, index].tolist(), strict=True))
            save_tensors(
                {name: value[index] for name, value in self.stack.parameters.items()},
                self.folder / f"stopped-{self.cells[index].key}.safetensors",
                {
                    "step": str(step),
                    "met": json.dumps({k: str(v) for k, v in met.items()}),
                    "rows": json.dumps(rows.tolist()),
                },
            )
        self.alive &= ~which

    def save(self) -> None:
        """Write a checkpoint."""
        tensors: dict[str, torch.Tensor] = {f"parameter/{name}": value for name, value in self.stack.parameters.items()}
        tensors |= {f"moment/{name}": value for name, value in self.optimizer.state().items()}
        tensors["trace"] = self.trace[: self.step]
        meta = {"key": self.key, "statuses": self.statuses, "cells": [asdict(cell) for cell in self.cells]}
        save_checkpoint(tensors, self.folder, self.step, meta)

    def _title(self) -> str:
        first = self.cells[0].key
        return first if len(self.cells) == 1 else f"{len(self.cells)} cells, seed {self.cells[0].seed}"


def make_optimizer(stack: Stack, config: TrainConfig) -> StackedOptimizer:
    """Return the optimiser that the configuration names, for a stack's parameters."""
    parameters, decay = stack.parameters, config.weight_decay
    if config.optimizer == "adamw":
        return AdamW(parameters, betas=config.adam_betas, epsilon=config.adam_epsilon, weight_decay=decay)
    if config.optimizer == "adafactor":
        return Adafactor(parameters, scale_by_parameter=config.scale_by_parameter, weight_decay=decay)
    return SGD(parameters, weight_decay=decay)


def _check(
    model: Any, cells: Sequence[SweepCell], pairs: TokenizedPairs, reference: NDArray[Any], config: TrainConfig
) -> None:
    if not cells:
        raise ValueError("no cells; accepted is one or more")
    if len({cell.key for cell in cells}) < len(cells):
        raise ValueError("a cell stands twice in the stack")
    seeds = sorted({cell.seed for cell in cells})
    if len(seeds) > 1:
        raise ValueError(f"cells of the seeds {seeds}; a stack shares its batches, so accepted is one seed")
    if reference.shape != (len(pairs), 2) or not np.isfinite(reference).all():
        raise ValueError(f"reference of shape {reference.shape}; accepted is ({len(pairs)}, 2), finite")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    largest = max(token for rows in (pairs.prompt, pairs.chosen, pairs.rejected) for row in rows for token in row)
    if largest >= vocabulary:
        raise ValueError(f"pairs have token {largest}, the model embeds {vocabulary}: not its tokenizer")
    dtypes = {p.dtype for p in model.parameters() if not p.requires_grad} - {torch.float32, torch.float64}
    if dtypes and config.dtype == "float32":
        raise ValueError(f"the frozen base has {dtypes.pop()}; accepted with it is dtype 'bfloat16'")


def run_key(
    model: Any, cells: Sequence[SweepCell], pairs: TokenizedPairs, reference: NDArray[Any], config: TrainConfig
) -> str:
    """What a checkpoint must agree with, in hexadecimal digits; how often one is written does not matter."""
    described = json.dumps([config.decisive(), [asdict(cell) for cell in cells]], sort_keys=True)
    total = hashlib.sha256(described.encode())
    for part in (checksum_model(model), pairs.checksum()):
        total.update(part.encode())
    total.update(pairs.p.tobytes() + np.ascontiguousarray(reference).tobytes())
    return total.hexdigest()
