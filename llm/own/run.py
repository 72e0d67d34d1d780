"""A run or a sweep of people's own pairs: `tune`, what ``python -m llm train`` calls.

What it leaves in its folder, or in a folder a cell of a sweep: ``policy/`` (Hugging Face format, or the adapter),
``log.jsonl`` (for ``gpo diagnose``), ``result.json``, ``tensorboard/``. ``run.json`` says what the run is; the same
command goes on where it was stopped, another one is refused there.

Under a launcher (``accelerate launch``, ``torchrun``) every step's batch is divided among the processes, and the first
one alone writes; the numbers are those of one process, to rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpo_analysis.files import file_digest, remove_stale, write_whole
from gpo_analysis.locks import run_lock
from gpo_analysis.provenance import device, git_state, versions
from llm.devices import on_first, this_rank
from llm.own.cell import LOG, POLICY, Setting, planned_steps, train_cell
from llm.own.config import TuningCell, TuningConfig, described
from llm.own.inputs import Inputs, read_inputs
from llm.own.needed import refuse_missing
from llm.own.table import as_csv, as_text, if_still, rising
from llm.storage.checksums import checksum_texts
from llm.storage.reports import finished_report, mark_done, read_document, stage_key, write_document

RESULT, RUN = "result.json", "run.json"


def tune(config: TuningConfig, *, progress: bool = False, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Train the cells of a configuration and return their results, one after another.

    Parameters
    ----------
    config : TuningConfig
    progress : bool
        Whether bars are shown.
    say : callable
        Called with lines for the screen.

    Raises
    ------
    ValueError, FileNotFoundError
        For bad input, before a model is loaded; for a folder that holds another run, naming what differs.
    gpo_analysis.locks.FolderBusy
        Where another process is at work in the folder.
    """
    refuse_missing(config)
    inputs = read_inputs(config)
    out = Path(config.out)
    where = this_rank(config.device or None)
    if where.rank:  # of launched processes one holds the folder, writes and speaks for all
        progress, say = False, _nothing
    with contextlib.ExitStack() as stack:
        on_first(where, lambda: stack.enter_context(run_lock(out, "llm train")))
        say(str(inputs.report))
        for line in rising(config.loss):
            say(line)
        steps = planned_steps(config, len(inputs.train))
        held = f", {len(inputs.held_out)} held out" if inputs.held_out else ""
        say(
            f"{len(inputs.train)} pairs to train on{held}; {steps} steps of {config.batch}; {len(config.cells)} cell(s)"
        )
        model = _checksum(inputs)
        source = inputs.source
        if config.sft_steps:
            source = on_first(where, lambda: _fine_tuned(config, inputs, out, progress, say))
        data = stage_key(
            {"dtype": config.dtype, "sft": [config.sft_steps, config.sft_lr]}, model=model, data=inputs.checksum
        )
        setting = Setting(config, inputs, source, out / f"reference-{data[:16]}.safetensors", where, progress, say)
        results = []
        for cell in config.cells:
            folder = out if len(config.cells) == 1 else out / cell.folder
            results.append(_cell(setting, cell, folder, {"model": model, "data": inputs.checksum}))
            say(as_text(results[-1:]) if len(config.cells) > 1 else as_text(results))
            if still := if_still(results[-1], config.rate):
                say(still)
        if len(results) > 1 and not where.rank:
            write_document(out / RESULT, {"cells": results, "config": asdict(config)})
            write_whole(out / "table.csv", as_csv(results).encode(), out)
            say("\n" + as_text(results))
    say(_next_words(results, out))
    return results


def _cell(setting: Setting, cell: TuningCell, folder: Path, inputs: dict[str, str]) -> dict[str, Any]:
    """A cell's result, computed unless it is there."""
    config = setting.config
    described_ = {**described(cell, config), **inputs}
    key = stage_key(described_)

    def begun() -> dict[str, Any] | None:
        _refuse_another(folder, described_)
        remove_stale(folder)
        found = read_document(folder / RESULT)
        if found is not None and found.get("key") == key and _as_it_was(folder, key):
            return found
        write_document(folder / RUN, {"run": described_})
        return None

    done: dict[str, Any] | None = on_first(setting.where, begun)
    if done is not None:
        return done
    result = {
        "key": key, "loss": cell.loss, "beta": cell.beta, "strength": cell.strength, "seed": cell.seed,
        **train_cell(setting, cell, folder, key),
        "folder": folder.name if folder != Path(config.out) else ".", "config": asdict(config),
        "pairs": setting.inputs.report.to_dict(), "model": inputs["model"], "versions": versions(),
        "git": git_state(Path(__file__).parent), "machine": device(),
    }  # fmt: skip

    def ended() -> dict[str, Any]:
        files = [name for name in (POLICY, LOG) if (folder / name).exists()]
        mark_done(folder, key, {"status": result["status"]}, files)
        write_document(folder / RESULT, result)
        return read_document(folder / RESULT) or result

    written: dict[str, Any] = on_first(setting.where, ended)
    return written


def _nothing(line: str) -> None:
    """What a process says that is not the first."""


def _as_it_was(folder: Path, key: str) -> bool:
    return finished_report(folder, key) is not None


def _refuse_another(folder: Path, run: dict[str, Any]) -> None:
    """A folder is one run's: another one would take its log and checkpoints for its own."""
    found = read_document(folder / RUN)
    if found is None:
        strange = [name for name in (POLICY, LOG) if (folder / name).exists()] if not (folder / RUN).exists() else []
        if strange:
            raise ValueError(f"{folder} holds {' and '.join(strange)} that no run here wrote; give a folder of its own")
        return
    there = found["run"]
    differing = [name for name in sorted({*there, *run}) if there.get(name) != run.get(name)]
    if differing:
        shown = [
            name if name in ("model", "data") else f"{name} ({there.get(name)!r} there, {run.get(name)!r} here)"
            for name in differing[:5]
        ]
        raise ValueError(f"{folder} holds another run, which differs in {', '.join(shown)}; give a folder of its own")


def _checksum(inputs: Inputs) -> str:
    """What says whether the model is the same: its files, or the commit that a hub name stands for."""
    folder = Path(inputs.source)
    if folder.is_dir():
        files = [p for p in sorted(folder.iterdir()) if p.suffix in (".safetensors", ".bin") or p.name == "config.json"]
        return checksum_texts([[p.name, file_digest(p)] for p in files])
    from transformers import AutoConfig

    return checksum_texts([inputs.source, str(getattr(AutoConfig.from_pretrained(inputs.source), "_commit_hash", ""))])


def _fine_tuned(config: TuningConfig, inputs: Inputs, out: Path, progress: bool, say: Callable[[str], None]) -> str:
    """Fine-tune on the better responses and return where the model lies."""
    from llm.policy.models import load_model
    from llm.training.sft import SftConfig, fine_tune_rows

    rows = [(row["prompt_ids"], row["chosen_ids" if row["p"] >= 0.5 else "rejected_ids"]) for row in inputs.train]
    rows = list({(tuple(x), tuple(y)): (x, y) for x, y in rows}.values())
    settings = SftConfig(
        config.sft_steps, batch_size=config.batch, learning_rate=config.sft_lr, warmup=config.sft_steps // 20,
        max_length=config.max_length, checkpoint_every=max(10, config.sft_steps // 10), dtype=config.dtype,
        seed=config.seed[0],
    )  # fmt: skip
    model, _ = load_model(inputs.source, pad_token=inputs.tokenizer.pad_token)
    result = fine_tune_rows(
        model, inputs.tokenizer, rows, settings, folder=out / "sft", device=config.device or "cpu", progress=progress
    )
    losses = result.report["losses"]
    course = f"{losses[0]:.3f} → {losses[-1]:.3f} nats a token"
    say(f"fine-tuning on {len(rows)} responses: {course}; πref is {result.folder}")
    return str(result.folder.resolve())


def _next_words(results: list[dict[str, Any]], out: Path) -> str:
    first = results[0]
    folder = out / first["folder"]
    return (
        f"\nwritten to {out}; what another f or β would make of it:\n"
        f"  gpo diagnose {folder / LOG} --loss '{first['loss']}' --beta {first['beta']:g}"
        f"{' --reduction mean' if first['config']['reduction'] == 'mean' else ''}"
    )
