"""Checkpoints of transformers' Trainer, sealed: one that a killed process left half-written is not gone on from."""

from __future__ import annotations

import shutil
import signal
import threading
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


class SaveWhenStopped(TrainerCallback):
    """Ctrl-C ends the step under way and saves it: the same command goes on from there; a second one ends at once.

    For a run of one process: several would have to agree on the step.

    Attributes
    ----------
    asked : bool
        Whether Ctrl-C came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._holds = False

    def _stop(self, *_: object) -> None:
        self.asked = True
        self._release()

    def _release(self) -> None:
        if self._holds:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._holds = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the signal, where it is Python's to take."""
        here = threading.current_thread() is threading.main_thread()
        if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._stop)
            self._holds = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop where it was asked for."""
        if self.asked:
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Give the signal back."""
        self._release()


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
