"""Supervised fine-tuning: from a base model to the reference policy πref.

The loss is the mean negative log-likelihood of a response's tokens, end token included (and, where asked, of the
prompt's at a smaller weight). The order of the examples is a function of seed and epoch, and a checkpoint holds model,
optimiser and step: a run killed at any moment goes on from the last one, and on a CPU ends with the same parameters.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpo_analysis.arrays import IntArray
from gpo_analysis.files import DamagedFile, check_folder, seal_folder
from llm.budget import Stop, TimeIsUp
from llm.data.types import Example
from llm.policy.models import save_model
from llm.policy.tokenizers import fingerprint
from llm.storage.checksums import checksum_model, checksum_texts
from llm.storage.folders import new_folder
from llm.storage.reports import finished_report, mark_done, stage_key
from llm.training.likelihood import negative_log_likelihood, token_rows
from llm.training.quality import held_out_loss

_SEAL = "checkpoint of the fine-tuning {}"
_CHUNK = 16  # batches sorted by length together, so that little is padded


@dataclass(frozen=True)
class SftConfig:
    """How the base model is fine-tuned.

    Parameters
    ----------
    steps, batch_size : int
        Number of updates, and examples in each.
    learning_rate, warmup, decay : float, int
        AdamW's rate: it rises over ``warmup`` steps and falls linearly over the last ``decay`` share of the steps.
    betas, weight_decay, max_grad_norm : pair of floats, float
        AdamW's averages and decay; the norm gradients are clipped to.
    prompt_weight : float
        Weight of a token of the prompt in the loss; a response's is 1.
    max_length : int
        Longest prompt and response together, in tokens; longer examples are left out and counted.
    checkpoint_every : int
        Steps between checkpoints.
    dtype : str
        "float32", or "bfloat16" for autocast with float32 parameters.
    seed : int
        Seed of the order.
    """

    steps: int = 1000
    batch_size: int = 32
    learning_rate: float = 5e-3
    warmup: int = 50
    decay: float = 0.3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    prompt_weight: float = 0.0
    max_length: int = 256
    checkpoint_every: int = 250
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "max_length", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")
        for name in ("decay", "prompt_weight"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 0 to 1")
        for name in ("weight_decay", "max_grad_norm"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is a finite number, 0 or more")
        if not 0.0 < self.learning_rate < math.inf or self.warmup < 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, warmup {self.warmup}; accepted is > 0 and ≥ 0")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype is {self.dtype!r}; accepted are float32 and bfloat16")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0.

        Examples
        --------
        >>> config = SftConfig(steps=100, warmup=10, decay=0.5, learning_rate=1.0)
        >>> config.rate(0), config.rate(9), config.rate(50), config.rate(99)
        (0.1, 1.0, 1.0, 0.02)
        """
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        falling = self.decay * self.steps
        return self.learning_rate * min(rising, (self.steps - step) / falling if falling else 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class SftResult:
    """The reference policy, its folder and the report: losses, quality before and after, counts, seconds."""

    model: Any
    folder: Path
    report: dict[str, Any]


def fine_tune(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    config: SftConfig,
    *,
    folder: str | os.PathLike[str],
    held_out: Sequence[Example] = (),
    quality: Callable[[Any], dict[str, float]] | None = None,
    device: str = "cpu",
    progress: bool = False,
    stop: Stop | None = None,
) -> SftResult:
    """Fine-tune the model on the examples' targets and save it to ``folder/model``.

    Parameters
    ----------
    model, tokenizer : model, tokenizer
        The base model, changed in place, and its tokenizer.
    examples : sequence of Example
        Prompts and targets.
    config : SftConfig
        See `SftConfig`.
    folder : path
        Where checkpoints, the model and the report go. Finished with the same configuration, base model and data, it
        is read; unfinished, it goes on.
    held_out : sequence of Example
        Examples for the loss before and after.
    quality : callable, optional
        Called on the model before and after; what it returns is reported (`llm.training.quality`).
    device : str
        A torch device.
    progress : bool
        Whether to show a bar.
    stop : callable, optional
        Asked before each step whether to stop there.

    Raises
    ------
    TimeIsUp
        Where ``stop`` said so, once a checkpoint is written.
    ValueError
        Where no example is short enough.
    FloatingPointError
        Where the loss is not finite; the last checkpoint stays.
    """
    return _fine_tune(
        model, tokenizer, lambda: token_rows(tokenizer, examples, config.max_length), len(examples),
        checksum_texts(examples), config, Path(folder), held_out, quality, device, progress, stop,
    )  # fmt: skip


def fine_tune_rows(
    model: Any,
    tokenizer: Any,
    rows: Sequence[tuple[list[int], list[int]]],
    config: SftConfig,
    *,
    folder: str | os.PathLike[str],
    device: str = "cpu",
    progress: bool = False,
) -> SftResult:
    """`fine_tune` on rows that are tokenised already: ids of prompts, and of responses with their end token.

    Parameters
    ----------
    model, tokenizer, config, folder, device, progress : as of `fine_tune`
    rows : sequence of pairs of lists of ids
    """
    return _fine_tune(
        model, tokenizer, lambda: list(rows), len(rows), checksum_texts(rows), config, Path(folder), (), None, device,
        progress, None,
    )  # fmt: skip


def _fine_tune(
    model: Any,
    tokenizer: Any,
    rows_of: Callable[[], list[tuple[list[int], list[int]]]],
    count: int,
    data: str,
    config: SftConfig,
    root: Path,
    held_out: Sequence[Example],
    quality: Callable[[Any], dict[str, float]] | None,
    device: str,
    progress: bool,
    stop: Stop | None,
) -> SftResult:
    key = stage_key(config, base=checksum_model(model), tokenizer=fingerprint(tokenizer), data=data)
    report = finished_report(root, key)
    if report is not None:
        shutil.rmtree(root / "checkpoint", ignore_errors=True)  # of a run that was killed after its report
        return SftResult(_read(root / "model", model, device), root / "model", report)
    rows = rows_of()
    if not rows:
        raise ValueError(f"no example of {count} has at most {config.max_length} tokens")
    model.to(device)
    started = time.perf_counter()
    before = _measured(model, tokenizer, held_out, quality, config)
    losses = _train(model, tokenizer.pad_token_id, rows, config, root, key, progress, stop)
    report = {
        "examples": len(rows),
        "too_long": count - len(rows),
        "epochs": config.steps * config.batch_size / len(rows),
        "losses": losses,
        "before": before,
        "after": _measured(model, tokenizer, held_out, quality, config),
        "seconds": time.perf_counter() - started,
    }
    save_model(model, tokenizer, root / "model")
    mark_done(root, key, report, ["model"])
    shutil.rmtree(root / "checkpoint", ignore_errors=True)
    return SftResult(model.eval(), root / "model", report)


def epoch_batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[IntArray]:
    """Return the batches of an epoch: every example once (but those that fill no batch), like lengths together.

    Where there are fewer examples than a batch takes, some come up twice in it.

    Examples
    --------
    >>> batches = epoch_batches([3, 1, 2, 5], 2, seed=0, epoch=0)
    >>> sorted(int(index) for batch in batches for index in batch)
    [0, 1, 2, 3]
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    if len(order) < batch_size:
        return [np.resize(order, batch_size)]
    order = order[: len(order) // batch_size * batch_size]
    known = np.asarray(lengths)
    batches: list[IntArray] = []
    for start in range(0, len(order), batch_size * _CHUNK):
        part = order[start : start + batch_size * _CHUNK]
        part = part[np.argsort(known[part], kind="stable")]
        batches += [part[at : at + batch_size] for at in range(0, len(part), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def _train(
    model: Any,
    pad: int,
    rows: list[tuple[list[int], list[int]]],
    config: SftConfig,
    root: Path,
    key: str,
    progress: bool,
    stop: Stop | None,
) -> list[float]:
    """Train to the last step, from the last checkpoint of this key if there is one; return the loss of each step."""
    import torch
    from tqdm import tqdm

    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
    )
    losses = _resume(root / "checkpoint", key, model, optimizer)
    lengths = [len(x) + len(y) for x, y in rows]
    per_epoch = max(1, len(rows) // config.batch_size)
    batches: list[IntArray] = []
    model.train()
    with tqdm(total=config.steps, initial=len(losses), desc="fine-tuning", disable=not progress) as bar:
        for step in range(len(losses), config.steps):
            if stop is not None and stop():
                _checkpoint(root / "checkpoint", key, model, optimizer, losses)
                raise TimeIsUp(f"fine-tuning stopped after step {step} of {config.steps}")
            epoch, at = divmod(step, per_epoch)
            if at == 0 or not batches:
                batches = epoch_batches(lengths, config.batch_size, seed=config.seed, epoch=epoch)
            losses.append(_step(model, pad, [rows[i] for i in batches[at]], optimizer, parameters, config, step))
            bar.set_postfix_str(f"loss {losses[-1]:.3f}", refresh=False)
            bar.update()
            if (step + 1) % config.checkpoint_every == 0 and step + 1 < config.steps:
                _checkpoint(root / "checkpoint", key, model, optimizer, losses)
    model.eval()
    return losses


def _step(
    model: Any,
    pad: int,
    batch: list[tuple[list[int], list[int]]],
    optimizer: Any,
    parameters: list[Any],
    config: SftConfig,
    step: int,
) -> float:
    import torch

    for group in optimizer.param_groups:
        group["lr"] = config.rate(step)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=config.dtype == "bfloat16"):
        total, weight = negative_log_likelihood(model, pad, batch, config.prompt_weight)
    loss = total / weight
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss of fine-tuning is {value} at step {step}; a smaller learning rate may help")
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
    optimizer.step()
    return value


def _checkpoint(root: Path, key: str, model: Any, optimizer: Any, losses: list[float]) -> None:
    import torch
    from safetensors.torch import save_model as save_tensors

    with new_folder(root) as fresh:
        save_tensors(model, str(fresh / "model.safetensors"))
        torch.save({"optimizer": optimizer.state_dict(), "losses": losses}, fresh / "state.pt")
        seal_folder(fresh, _SEAL.format(key))


def _resume(root: Path, key: str, model: Any, optimizer: Any) -> list[float]:
    import torch
    from safetensors.torch import load_model as load_tensors

    if not root.is_dir():
        return []
    try:
        check_folder(root, _SEAL.format(key))
    except DamagedFile as error:
        print(f"{error}; fine-tuning starts anew", file=sys.stderr)
        return []
    state = torch.load(root / "state.pt", weights_only=True, map_location=model.device)
    load_tensors(model, str(root / "model.safetensors"))
    optimizer.load_state_dict(state["optimizer"])
    return list(state["losses"])


def _measured(
    model: Any,
    tokenizer: Any,
    held_out: Sequence[Example],
    quality: Callable[[Any], dict[str, float]] | None,
    config: SftConfig,
) -> dict[str, float]:
    found: dict[str, float] = {}
    if held_out:
        found |= held_out_loss(model, tokenizer, held_out, max_length=config.max_length)
    return found | (quality(model) if quality is not None else {})


def _read(folder: Path, model: Any, device: str) -> Any:
    """Put the saved weights into the model: adapters where it has them, else all."""
    from safetensors.torch import load_file
    from safetensors.torch import load_model as load_tensors

    if hasattr(model, "peft_config"):
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, load_file(str(folder / "adapter_model.safetensors")))
    else:
        load_tensors(model, str(folder / "model.safetensors"), strict=False)
    return model.to(device).eval()
