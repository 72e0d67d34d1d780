"""One policy trained from start to end: resumed where it was killed, measured, written."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from gpo_analysis.integrations.preference_sets import REFERENCE, some_rows
from gpo_analysis.integrations.trl import GPOTrainer
from gpo_analysis.integrations.trl_config import GPOConfig
from gpo_analysis.losses import RisingLossWarning
from llm.devices import Rank, on_first
from llm.own.checkpoints import SaveWhenStopped, SealCheckpoints, newest_checkpoint
from llm.own.config import TuningCell, TuningConfig
from llm.own.inputs import Inputs
from llm.own.measures import kl_measures, pair_measures
from llm.own.needed import trackers
from llm.policy.models import count_parameters, save_model
from llm.storage.checkpoints import CheckpointError, load_tensors, save_tensors

LOG, POLICY, CHECKPOINTS, EVENTS = "log.jsonl", "policy", "checkpoints", "tensorboard"


@dataclass(frozen=True, eq=False)
class Setting:
    """What the cells of a run share.

    Attributes
    ----------
    config, inputs : TuningConfig, Inputs
    source : str
        Where πref lies: the model given, or what fine-tuning made of it.
    reference : Path
        File of the pairs' reference log-probabilities.
    where : Rank
        Which process this is, and its device.
    progress : bool
    say : callable
        Called with a line for each stage that may take long.
    """

    config: TuningConfig
    inputs: Inputs
    source: str
    reference: Path
    where: Rank
    progress: bool = False
    say: Callable[[str], None] = print


def train_cell(setting: Setting, cell: TuningCell, folder: Path, key: str) -> dict[str, Any]:
    """Train a cell, from its last checkpoint where there is one; write its policy and log, return its measures.

    Parameters
    ----------
    setting : Setting
    cell : TuningCell
    folder : Path
        Of the cell.
    key : str
        Of all that its numbers depend on.
    """
    started = time.perf_counter()
    config = setting.config
    with _environment(folder / EVENTS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|torch|trl|peft")
        trainer = _trainer(setting, cell, folder)
        stopper = _StopAtNan()
        trainer.add_callback(stopper)
        trainer.add_callback(SealCheckpoints(key))
        interrupted = SaveWhenStopped()
        if setting.where.world == 1:
            trainer.add_callback(interrupted)
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        if setting.progress:
            trainer.add_callback(_Bar(cell.folder))
        found = on_first(setting.where, lambda: newest_checkpoint(folder / CHECKPOINTS, key))
        trainer.add_callback(_NoFurther())
        with contextlib.suppress(_AllTrained):
            trainer.train(resume_from_checkpoint=None if found is None else str(found))
        if interrupted.asked:
            raise KeyboardInterrupt
        steps = trainer.state.global_step
        here = stopper.step is None and all(bool(_own(p).isfinite().all()) for p in trainer.model.parameters())
        sound = all(gather_object([here]))
        result: dict[str, Any] = {
            "status": "finished" if sound else f"nan at step {stopper.step or steps}",
            "steps": steps,
            "parameters": count_parameters(trainer.model),
            "trained_parameters": count_parameters(trainer.model, trainable=True),
            "log": LOG,
            "policy": POLICY if sound else None,
        }
        if sound:
            trained = trainer.accelerator.unwrap_model(trainer.model)
            trained.config.use_cache = True
            weights = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
            tokenizer = setting.inputs.tokenizer
            on_first(setting.where, lambda: save_model(trained, tokenizer, folder / POLICY, weights=weights))
            radius_of = (cell.margin_loss, cell.beta, config.reduction)
            rows = {"train": some_rows(trainer.train_dataset, config.record_pairs)}
            if trainer.eval_dataset is not None:
                rows["held_out"] = list(trainer.eval_dataset)
            result["measures"] = {
                name: pair_measures(trainer.pair_logps(part), *radius_of) for name, part in rows.items()
            }
            if config.kl_prompts:
                asked = trainer.eval_dataset or trainer.train_dataset
                count, most = min(config.kl_prompts, len(asked)), config.kl_max_new_tokens
                setting.say(f"sampling responses of up to {most} tokens to {count} prompts, for the KL")
                result["measures"]["kl"] = kl_measures(trainer, asked, progress=setting.progress)
    if trainer.is_world_process_zero():
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    used = {
        "device": str(trainer.accelerator.device), "processes": setting.where.world,
        "sharded": any(hasattr(p, "to_local") for p in trainer.model.parameters()),
    }  # fmt: skip
    return {**result, "seconds": time.perf_counter() - started, **used}


def _own(parameter: torch.Tensor) -> torch.Tensor:
    """What this process holds of a parameter."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def _trainer(setting: Setting, cell: TuningCell, folder: Path) -> Any:
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoModelForCausalLM

    disable_progress_bars()
    config, inputs = setting.config, setting.inputs
    sets, known = _with_references(setting)
    train, held_out = (Dataset.from_list(rows) if rows else None for rows in sets)
    args = _arguments(setting, cell, folder, len(inputs.train))

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(setting.source, dtype=torch.float32, trust_remote_code=False)

    adapter = None
    if config.lora:
        from peft import LoraConfig

        alpha = config.lora_alpha or 2.0 * config.lora
        adapter = LoraConfig(
            r=config.lora, lora_alpha=alpha, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"
        )
    # without adapters πref is a second model, in memory only where the KL needs it
    reference = load() if config.kl_prompts and adapter is None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RisingLossWarning)  # said once, for all cells
        trainer = GPOTrainer(
            load(), reference, args, train_dataset=train, eval_dataset=held_out, processing_class=inputs.tokenizer,
            peft_config=adapter,
        )  # fmt: skip
    if not known and trainer.is_world_process_zero():
        made = [one for one in (trainer.train_dataset, trainer.eval_dataset) if one is not None]
        columns = {
            name: torch.tensor([v for one in made for v in one[name]], dtype=torch.float64) for name in REFERENCE
        }
        save_tensors(columns, setting.reference, {})
    return trainer


def _with_references(setting: Setting) -> tuple[list[list[dict[str, Any]]], bool]:
    """The rows of both sets with reference log-probabilities, where an earlier cell has left them."""
    inputs = setting.inputs

    def read() -> dict[str, list[float]] | None:
        try:
            tensors, _ = load_tensors(setting.reference)
        except CheckpointError:
            return None
        return {name: tensors[name].tolist() for name in REFERENCE}

    columns = on_first(setting.where, read)
    if columns is None:
        return [inputs.train, inputs.held_out], False
    both = [*inputs.train, *inputs.held_out]
    rows = [{**row, **{name: columns[name][i] for name in REFERENCE}} for i, row in enumerate(both)]
    return [rows[: len(inputs.train)], rows[len(inputs.train) :]], True


def _arguments(setting: Setting, cell: TuningCell, folder: Path, count: int) -> GPOConfig:
    config = setting.config
    world = setting.where.world
    if config.batch % (config.accumulation * world):
        raise ValueError(f"batch is {config.batch}; {world} processes and {config.accumulation} parts must divide it")
    each = config.batch // (config.accumulation * world)
    total = planned_steps(config, count)
    return GPOConfig(
        output_dir=str(folder / CHECKPOINTS), per_device_train_batch_size=each, per_device_eval_batch_size=max(each, 8),
        gradient_accumulation_steps=config.accumulation, learning_rate=config.rate, lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup, max_steps=config.steps or -1, num_train_epochs=config.epochs or 1.0,
        weight_decay=config.weight_decay, max_grad_norm=config.max_grad_norm, adam_epsilon=1e-12, seed=cell.seed,
        bf16=config.dtype == "bfloat16", use_cpu=setting.where.device.type == "cpu", beta=cell.beta, loss=cell.loss,
        reduction=config.reduction, link=config.link, max_length=None, precompute_ref_log_probs=True,
        kl_prompts=config.kl_prompts, kl_max_new_tokens=config.kl_max_new_tokens, pair_log=str(folder / LOG),
        pair_log_steps=config.record_steps or max(1, total // 4), pair_log_pairs=config.record_pairs,
        gradient_checkpointing=config.gradient_checkpointing, disable_tqdm=True, logging_steps=max(1, total // 100),
        logging_nan_inf_filter=False, save_strategy="steps", save_steps=config.save_steps or max(10, total // 10),
        save_total_limit=2, eval_strategy="no",
        dataloader_pin_memory=setting.where.device.type == "cuda",
        report_to=trackers(config),
    )  # fmt: skip


def planned_steps(config: TuningConfig, count: int) -> int:
    """Steps of the optimiser for so many pairs."""
    per_epoch = -(-count // config.batch)
    return config.steps or max(1, round((config.epochs or 1.0) * per_epoch))


@contextlib.contextmanager
def _environment(events: Path) -> Iterator[None]:
    """Where TensorBoard's events go, and no bar but our own."""
    ours = {"TENSORBOARD_LOGGING_DIR": str(events), "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _AllTrained(Exception):
    """The checkpoint that was gone on from is that of the last step: nothing went wrong."""


class _NoFurther(TrainerCallback):
    """Ends what was killed after its last step: the trainer takes one more before it looks whether there is one."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the loop where no step is left; the model and the random numbers are the checkpoint's by then."""
        if state.global_step >= state.max_steps:
            raise _AllTrained


class _StopAtNan(TrainerCallback):
    """Ends a run whose loss or gradient is no longer finite."""

    step: int | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Look at the loss of the last steps."""
        seen = [float(logs[name]) for name in ("loss", "grad_norm") if name in (logs or {})]
        if not all(math.isfinite(value) for value in seen):
            self.step = self.step or state.global_step
            control.should_training_stop = True


class _Bar(TrainerCallback):
    """A progress bar with the loss and ρ."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open it."""
        from tqdm import tqdm

        if state.is_world_process_zero:
            self.bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc=self.title, unit="step", disable=False
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step on."""
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show loss and mean ρ."""
        shown = {name: f"{logs[name]:.4g}" for name in ("loss", "mean_rho") if name in (logs or {})}
        if self.bar is not None and shown:
            self.bar.set_postfix(shown)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close it."""
        if self.bar is not None:
            self.bar.close()
