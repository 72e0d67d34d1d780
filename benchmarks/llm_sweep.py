"""Time and memory of a cell and a step against TRL's DPOTrainer, in one run on one machine.

    python benchmarks/llm_sweep.py                  about two minutes on two cores
    python benchmarks/llm_sweep.py --device cuda --size medium --size large --cells 1 8 32

Ours are stacks of cells (what ``python -m llm run`` trains by) and GPOTrainer (what ``python -m llm train`` does). All
train the same Llama on the same batch of pairs with the logistic loss at β = 0.1 and AdamW, in float32, reference
log-probabilities computed before, no gradient checkpointing, no clipping. The trainers train one cell at a time. The
mean loss over the steps is printed for each: it agrees where all computed the same thing.

A measurement runs in a process of its own, after a tiny training that loads what is loaded late. Time is the median of
whole steps, data included; on processors it is processor time, which does not count who else is at work. The kinds take
turns, --rounds times; a ratio is the median of those of the rounds. Memory is the growth of the process's resident peak
over what it had before the model was made (on a GPU, the peak that torch allocated). The last table says where a
stack's time goes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from gpo_analysis.cli.arguments import Parser
from llm.policy.batches import TokenizedPairs
from llm.policy.logprobs import pair_logprobs, reference_logprobs
from llm.policy.packing import pack
from llm.training.cells import SweepCell
from llm.training.config import TrainConfig
from llm.training.lora_stacks import make_stack
from llm.training.objective import StackedObjective
from llm.training.optimizers import gradient_norms
from llm.training.trainer import make_optimizer, time_steps, train_stack

BETA, RATE, EPSILON = 0.1, 1e-4, 1e-8


@dataclass(frozen=True)
class Size:
    """A model and a batch: width, layers, heads, vocabulary; pairs, tokens of a prompt and of a response (at most)."""

    hidden: int
    layers: int
    heads: int
    vocabulary: int
    pairs: int
    prompt: int
    response: int


SIZES = {
    "tiny": Size(64, 2, 4, 150, 32, 40, 12),
    "small": Size(128, 4, 4, 1000, 16, 60, 20),
    "medium": Size(384, 6, 6, 8000, 16, 160, 32),
    "large": Size(768, 12, 12, 16000, 16, 256, 48),
}
WARM = Size(8, 1, 1, 20, 2, 4, 3)


def make_model(size: Size, device: str) -> Any:
    """An untrained Llama, the same each time."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size.vocabulary, hidden_size=size.hidden, intermediate_size=size.hidden * 8 // 3 // 8 * 8 or 8,
        num_hidden_layers=size.layers, num_attention_heads=size.heads, num_key_value_heads=size.heads,
        max_position_embeddings=1024, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(device)


def make_pairs(size: Size) -> TokenizedPairs:
    """One batch of random pairs, lengths between half and the whole of the largest."""
    rng = np.random.default_rng(0)

    def ids(longest: int) -> list[int]:
        return [int(i) for i in rng.integers(2, size.vocabulary, rng.integers(longest // 2, longest + 1))]

    prompts = [ids(size.prompt) for _ in range(size.pairs)]
    chosen, rejected = ([[*ids(size.response - 1), 1] for _ in range(size.pairs)] for _ in range(2))
    return TokenizedPairs(prompts, chosen, rejected, np.ones(size.pairs))


def config_of(size: Size, steps: int) -> TrainConfig:
    """What both trainers do."""
    return TrainConfig(steps, batch_size=size.pairs, max_grad_norm=None, adam_epsilon=EPSILON)


def cells_of(count: int) -> list[SweepCell]:
    """The cell that TRL trains, and others beside it: all losses of the same cost."""
    return [SweepCell("logistic", BETA * 1.1**i, 0, RATE) for i in range(count)]


def run_stack(size: Size, cells: int, steps: int, device: str) -> dict[str, Any]:
    """Train a stack; seconds a step and the first cell's mean loss."""
    model, pairs = make_model(size, device), make_pairs(size)
    reference = reference_logprobs(model, pairs)
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(size, steps)
        seconds, _ = time_steps(model, cells_of(cells), pairs, reference, config, folder=folder, steps=steps - 1)
        found = {"seconds": float(np.median(seconds)), "peak": peak_memory(device)}
        losses = train_stack(model, cells_of(1), pairs, reference, config, folder=folder).trace[:, 0, 0]
    return {**found, "mean_loss": float(losses.mean())}


def run_trl(size: Size, cells: int, steps: int, device: str) -> dict[str, Any]:
    """Train one cell with TRL; seconds a step and the mean loss."""
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

    return run_trainer(DPOTrainer, DPOConfig, size, steps, device)


def run_gpo(size: Size, cells: int, steps: int, device: str) -> dict[str, Any]:
    """Train one cell with GPOTrainer, as ``python -m llm train`` does; seconds a step and the mean loss."""
    from gpo_analysis.integrations.trl import GPOTrainer
    from gpo_analysis.integrations.trl_config import GPOConfig

    return run_trainer(GPOTrainer, GPOConfig, size, steps, device)


def run_trainer(kind: Any, config: Any, size: Size, steps: int, device: str) -> dict[str, Any]:
    """Train one cell with a trainer of TRL's kind."""
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        trainer, losses = make_trainer(kind, config, size, steps, device, folder)
        trainer.add_callback(Clock())
        with quiet():
            trainer.train()
    return {"seconds": float(np.median(np.diff(ends))), "peak": peak_memory(device), "mean_loss": losses[-1]}


def make_trainer(kind: Any, config: Any, size: Size, steps: int, device: str, folder: str) -> tuple[Any, list[float]]:
    """A trainer of TRL's kind on the same model and pairs, and the list into which it puts a run's mean loss."""
    from datasets import Dataset, disable_progress_bars
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from transformers.utils import logging

    disable_progress_bars()
    logging.disable_progress_bar()
    pairs = make_pairs(size)
    words = ["<pad>", "<eos>", *(f"w{i}" for i in range(2, size.vocabulary))]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")

    def text(ids: list[int]) -> str:
        return " ".join(words[i] for i in ids if i > 1)

    rows = [
        {"prompt": text(x), "chosen": " " + text(a), "rejected": " " + text(b)}
        for x, a, b in zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True)
    ]
    losses: list[float] = []

    class Losses(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **named: Any) -> None:
            if "loss" in logs:
                losses.append(logs["loss"])

    args = config(
        output_dir=folder, per_device_train_batch_size=size.pairs, max_steps=steps, learning_rate=RATE,
        lr_scheduler_type="constant", max_grad_norm=0.0, adam_epsilon=EPSILON, weight_decay=0.0, beta=BETA,
        precompute_ref_log_probs=True, precompute_ref_batch_size=size.pairs, gradient_checkpointing=False,
        bf16=False, use_cpu=device == "cpu", logging_steps=steps, save_strategy="no", report_to=[],
        disable_tqdm=True, max_length=None, optim="adamw_torch", logging_strategy="steps", tf32=None,
    )  # fmt: skip
    trainer = kind(
        make_model(size, device), args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
        callbacks=[Losses()],
    )  # fmt: skip
    return trainer, losses


def run_phases(size: Size, cells: int, steps: int, device: str) -> dict[str, Any]:
    """Median seconds of the parts of a stack's step."""
    model, pairs = make_model(size, device), make_pairs(size)
    config, chosen = config_of(size, steps), cells_of(cells)
    stack, objective = make_stack(model, cells), StackedObjective(chosen)
    optimizer = make_optimizer(stack, config)
    reference = torch.from_numpy(reference_logprobs(model, pairs)).to(device)
    rates = torch.full((cells,), RATE, device=device)
    alive = torch.ones(cells, dtype=torch.bool, device=device)
    lengths, p = torch.from_numpy(pairs.lengths).to(device), torch.ones(len(pairs), device=device)
    names = ("pack the batch", "forward", "loss", "backward", "norms and optimiser")
    marks = []
    for _ in range(steps):
        times = [time.perf_counter()]

        def mark(times: list[float] = times) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter())

        batch = pack(pairs).to(device)
        mark()
        logprobs = pair_logprobs(stack, batch)
        mark()
        loss = objective(logprobs, reference, lengths, p).loss.sum() / len(pairs)
        mark()
        loss.backward()
        mark()
        gradients = {name: value.grad for name, value in stack.parameters.items() if value.grad is not None}
        gradient_norms(gradients)
        optimizer.step(gradients, rates, alive)
        for parameter in stack.parameters.values():
            parameter.grad = None
        mark()
        marks.append(np.diff(times))
    return dict(zip(names, np.median(marks[1:], axis=0).tolist(), strict=True))


RUNS = {"stack": run_stack, "trl": run_trl, "gpo": run_gpo, "phases": run_phases}


@contextlib.contextmanager
def quiet() -> Any:
    """Keep a trainer's own log lines out of the table."""
    with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def peak_memory(device: str) -> int:
    """Peak of this process in bytes: resident, or allocated on the GPU."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found.group(1)) if found else 0


def reset_peak(device: str) -> int:
    """Start counting anew; what is taken already, in bytes."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return 0
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory(device)


def measure(kind: str, size: Size, cells: int, steps: int, device: str, pipe: Any) -> None:
    """Run one measurement, in its own process."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if device == "cpu":
        time.perf_counter = time.process_time
    RUNS[kind](WARM, min(cells, 2), 3, device)
    before = reset_peak(device)
    found = RUNS[kind](size, cells, steps, device)
    if "peak" in found:
        found["bytes"] = found.pop("peak") - before
    pipe.send(found)


def measured(kind: str, size: Size, cells: int, steps: int, device: str) -> dict[str, Any]:
    """Run one measurement in a fresh process."""
    context = multiprocessing.get_context("spawn" if device == "cuda" else "fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(kind, size, cells, steps, device, theirs))  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    try:
        found: dict[str, Any] = mine.recv()
    except EOFError:
        raise RuntimeError(f"the measurement {kind} of {size} with {cells} cells failed") from None
    finally:
        process.join()
    return found


def main() -> None:
    """Measure and print the tables; write them where asked."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", choices=[*SIZES], help="may be repeated; default: tiny and small")
    parser.add_argument("--cells", type=int, nargs="+", default=[1, 2, 5, 10], help="cells a stack (default: 1 2 5 10)")
    parser.add_argument("--steps", type=int, default=12, help="steps of each measurement (default: 12)")
    parser.add_argument("--rounds", type=int, default=3, help="times that the kinds take turns (default: 3)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", metavar="FILE", help="also write the numbers there as JSON")
    given = parser.parse_args()
    if given.steps < 3 or min(given.cells) < 1 or given.rounds < 1:
        parser.error("--steps takes 3 or more, --cells and --rounds 1 or more")
    import trl  # once, before processes are forked

    start, rows = time.perf_counter(), []
    for name in given.size or ["tiny", "small"]:
        size = SIZES[name]
        parameters = sum(p.numel() for p in make_model(size, "cpu").parameters())
        kinds = [("trl", 1), ("gpo", 1), *(("stack", cells) for cells in given.cells)]
        found: dict[tuple[str, int], list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for _ in range(given.rounds):
            for kind in kinds:
                found[kind].append(measured(*kind[:1], size, kind[1], given.steps, given.device))
        print(f"\n{name}: {parameters / 1e6:.2f} M parameters, {size.pairs} pairs a step, {given.device}, "
              f"{os.environ['OMP_NUM_THREADS']} thread(s)")  # fmt: skip
        print(f"{'':16}{'ms/cell/step':>14}{'TRL / ours':>12}{'MiB/cell':>10}{'TRL / ours':>12}")
        for (trainer, cells), rounds in found.items():
            title = {"trl": "TRL DPOTrainer", "gpo": "GPOTrainer"}.get(trainer, f"stack of {cells}")
            middle = {what: float(np.median([one[what] for one in rounds])) / cells for what in ("seconds", "bytes")}
            over = {
                what: float(
                    np.median([a[what] / (b[what] / cells) for a, b in zip(found["trl", 1], rounds, strict=True)])
                )
                for what in middle
            }
            print(f"{title:16}{1e3 * middle['seconds']:14.1f}{over['seconds']:12.2f}"
                  f"{middle['bytes'] / 2**20:10.1f}{over['bytes']:12.2f}", flush=True)  # fmt: skip
            told = {"size": name, "trainer": trainer, "cells": cells, "parameters": parameters, **asdict(size)}
            rows += [{**told, **one} for one in rounds]
        losses = {kind: rounds[-1]["mean_loss"] for kind, rounds in found.items()}
        shown = ", ".join(f"{kind[0]} of {kind[1]} {loss:.6f}" for kind, loss in losses.items())
        print(f"mean loss over {given.steps} steps: {shown}")
        parts = measured("phases", size, max(given.cells), given.steps, given.device)
        whole = sum(parts.values())
        told = ", ".join(f"{part} {100 * value / whole:.0f} %" for part, value in parts.items())
        print(f"where a step of {max(given.cells)} cells goes: {told}")
        rows.append({"size": name, "trainer": "phases", "cells": max(given.cells), **parts})
    print(f"\n{time.perf_counter() - start:.0f} s in all; load of the machine {os.getloadavg()[0]:.1f}")
    if given.out:
        told = {"torch": torch.__version__, "trl": trl.__version__, "device": given.device, "rows": rows}
        Path(given.out).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
