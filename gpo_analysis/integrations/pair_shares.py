"""What each pair counts in the mean of a step: alike, however pairs fall into parts of a batch and into processes.

Trainers average over the parts of a step (gradient accumulation) and over processes, as if all had equally many pairs.
Where the data do not divide they have not, and accelerate fills up the last batch with pairs of the first, so that
every process has equally many rows. Shares undo both.
"""

from __future__ import annotations

import os
from typing import Any

import torch

SHARE = "pair_share"


def with_shares(batches: list[Any], accelerator: Any) -> list[Any]:
    """The parts of one step with each pair's share of the mean, times what the trainer divides by; 0 if it is none.

    Parameters
    ----------
    batches : list of dict
        This process's, of ``input_ids`` (2b, t): chosen responses, then rejected ones.
    accelerator : Accelerator
        Every process calls this for each step.
    """
    if not batches or any("input_ids" not in batch for batch in batches):
        return batches
    # the parts are read ahead: only the last of them can be the data's last batch
    real = [torch.ones(len(batch["input_ids"]) // 2, dtype=torch.bool) for batch in batches[:-1]]
    real.append(is_real(batches[-1]["input_ids"], accelerator).cpu())
    own = torch.tensor([float(sum(int(part.sum()) for part in real))], device=accelerator.device)
    total = float(accelerator.gather(own).sum())
    factor = len(batches) * accelerator.num_processes / total
    for batch, part in zip(batches, real, strict=True):
        batch[SHARE] = (part * factor).to(batch["input_ids"].device, torch.float32)
    return batches


def is_real(rows: torch.Tensor, accelerator: Any) -> torch.Tensor:
    """(b,) which pairs of this process's latest batch are of the data, and do not fill it up.

    Parameters
    ----------
    rows : tensor, shape (2b, …)
        The batch.
    accelerator : Accelerator
        Which knows whether a data loader has just given its last batch, and how many rows of all processes count in it.
    """
    count = len(rows) // 2
    numbers = torch.arange(count, device=rows.device) + accelerator.process_index * count
    state = accelerator.gradient_state
    if accelerator.num_processes == 1 or not (state.in_dataloader and state.end_of_dataloader):
        return torch.ones_like(numbers, dtype=torch.bool)
    left = _left_over(state, count * accelerator.num_processes)
    return numbers < left if left > 0 else torch.ones_like(numbers, dtype=torch.bool)


def _left_over(state: Any, together: int) -> int:
    """Rows of the data in its last batch; 0 or less for a full one, and where they are not known."""
    try:  # accelerate's own number forgets the processes where a run goes on in the middle of an epoch
        return int(state.active_dataloader.total_dataset_length) % together
    except (AttributeError, TypeError):
        return int(state.remainder)


def of_both_sides(real: torch.Tensor) -> torch.Tensor:
    """(2b,) the same for chosen and rejected responses."""
    return torch.cat([real, real])


def refuse_unsharded(trainer: Any) -> None:
    """Raise ValueError where a launcher was told to shard (FSDP) and accelerate does not do it."""
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if asked and trainer.accelerator.num_processes > 1 and not trainer.is_fsdp_enabled:
        raise ValueError(
            f"FSDP was asked for, and accelerate does not shard on {trainer.accelerator.device}: every process would "
            "hold the whole model; accepted are GPUs, or a launch without FSDP"
        )
