"""Run a study: `run_study`, what ``python -m llm run`` calls."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from llm.study.config import StudyConfig, preset
from llm.study.stages import STAGES, Study

__all__ = ["open_study", "run_study"]


def open_study(
    config: StudyConfig | str,
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    progress: bool = False,
    workers: int | None = None,
    **overrides: object,
) -> Study:
    """Return a study in a folder, without running it.

    Parameters
    ----------
    config
        A configuration, or a preset's name.
    out
        The study's folder.
    data
        Folder of JSON lines; None for the generated world.
    workers
        Processes of the sweep; None for the configuration's.
    overrides
        Fields of `StudyConfig` to replace: device, seed, …

    Raises
    ------
    ValueError
        For an unknown preset.
    FileNotFoundError
        Where ``data`` is no folder.
    """
    chosen = preset(config) if isinstance(config, str) else config
    kept = {name: value for name, value in overrides.items() if value is not None}
    if kept:
        chosen = dataclasses.replace(chosen, **kept)  # type: ignore[arg-type]
    if workers is not None:
        chosen = dataclasses.replace(chosen, training=dataclasses.replace(chosen.training, workers=workers))
    place = None if data is None else Path(data)
    if place is not None and not place.exists():
        raise FileNotFoundError(f"data {place} does not exist; give a folder with train.jsonl or train.jsonl.gz")
    return Study(chosen, Path(out), place, progress)


def run_study(
    config: StudyConfig | str,
    out: str | os.PathLike[str],
    *,
    until: str = STAGES[-1],
    data: str | os.PathLike[str] | None = None,
    progress: bool = False,
    say: Callable[[str], None] = print,
    **overrides: object,
) -> Study:
    """Run a study up to a stage and return it; what an earlier run left in the folder is not done again."""
    study = open_study(config, out, data=data, progress=progress, **overrides)
    study.run(until, say)
    return study
