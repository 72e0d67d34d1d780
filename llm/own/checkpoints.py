"""Checkpoints of transformers' Trainer, sealed: one that a killed process left half-written is not gone on from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState  # type: ignore[import-untyped]
from transformers import TrainerCallback

from gpo_analysis.files import DamagedFile, check_folder, seal_folder

_NAME = "checkpoint {} of {}"


class SealCheckpoints(TrainerCallback):
    """Seals each checkpoint as soon as it is written.

    Parameters
    ----------
    key : str
        Of the run; a checkpoint of another run is not gone on from.
    """

    def __init__(self, key: str) -> None:
        self.key = key

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seal the newest, when every process has written its part."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            seal_folder(
                Path(args.output_dir, f"checkpoint-{state.global_step}"), _NAME.format(state.global_step, self.key)
            )


def newest_checkpoint(folder: Path, key: str) -> Path | None:
    """Return the newest whole checkpoint of a run, and remove those that are not.

    Parameters
    ----------
    folder : Path
        The Trainer's output folder.
    key : str
        Of the run.
    """
    steps = sorted((int(path.name.rpartition("-")[2]), path) for path in folder.glob("checkpoint-*"))
    for step, path in reversed(steps):
        try:
            check_folder(path, _NAME.format(step, key))
        except DamagedFile:
            shutil.rmtree(path)
        else:
            return path
    return None
