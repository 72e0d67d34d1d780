"""Folders of studies on sampled prompts: what is kept, sealed under the study's key, and whose a folder is.

``study.json`` says whose; ``seed-N/reference.safetensors`` and ``seed-N/samples`` hold a seed's problem. What a study
goes on from is sealed: a file that is not what was written is made again; a seed whose πref or samples are damaged
begins anew.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from gpo_analysis.files import DamagedFile, read_sealed, seal_json, unseal_json, write_sealed, write_whole
from gpo_analysis.provenance import device, git_state, versions
from gpo_analysis.records import plain, record_key
from llm.budget import Stop
from llm.forests.config import SampledConfig
from llm.forests.problem import Problem, Tensors, make_problem, make_references, problem_from, problem_to_json
from llm.storage.checkpoints import CheckpointError, load_tensors, save_tensors

Say = Callable[[str], None]


@dataclass(frozen=True)
class Store:
    """What a study keeps, each file sealed under the study's key and its own place."""

    folder: Path
    key: str
    say: Say

    def write(self, file: str, data: bytes) -> None:
        """Seal and write a file, whole or not at all."""
        write_sealed(self.folder / file, data, f"{self.key} {file}", self.folder)

    def read(self, file: str) -> bytes:
        """Read what was sealed; a DamagedFile says where it is not what was written."""
        return read_sealed(self.folder / file, f"{self.key} {file}")

    def problem(self, seed: int, weights: Tensors | None = None) -> Problem:
        """A seed's problem; without πref's parameters, which no table needs, where none are given."""
        return problem_from(json.loads(self.read(f"seed-{seed}/samples")), {} if weights is None else weights)

    def check(self, seed: int, pieces: Sequence[str]) -> None:
        """Remove, with a word, what is not what was written: a piece, or all of a seed whose πref or samples are."""
        reference, samples = self.folder / f"seed-{seed}" / "reference.safetensors", f"seed-{seed}/samples"
        files = [file for file in pieces if (self.folder / file).is_file()]
        try:
            if reference.is_file():
                load_tensors(reference)
            if (self.folder / samples).is_file():
                self.read(samples)
            elif files:
                raise DamagedFile(f"{self.folder / samples} is missing")
        except (CheckpointError, DamagedFile) as error:
            self.say(f"{error}: seed {seed} begins anew")
            for path in (reference, *(self.folder / file for file in (samples, *files))):
                path.unlink(missing_ok=True)
            return
        for file in files:
            try:
                self.read(file)
            except DamagedFile as error:
                self.say(f"{error}: it is trained again")
                (self.folder / file).unlink()


def claim(folder: Path, described: dict[str, Any], say: Say = print) -> str:
    """Say whose folder this is and return the study's key.

    Parameters
    ----------
    folder : Path
    described : dict
        The configuration as JSON values; its device is no part of what must agree: tables can be made elsewhere. Nor
        is how long its budget is.
    say : Say
        Is told where ``study.json`` is damaged, and written again as the files beside it are this study's.

    Raises
    ------
    ValueError
        Where the folder holds a study of another configuration, or its ``study.json`` is damaged and the files beside
        it are not this configuration's.
    """
    described = plain({**described, "device": "any"})
    if described.pop("budget_seconds", None) is not None:
        described["budget_seconds"] = "its own"  # it orders the pieces, however long it is
    key, file = record_key(described), folder / "study.json"
    if file.is_file():
        try:
            if unseal_json(file.read_bytes(), file, ("key", "config"))["key"] != key:
                raise ValueError(f"{folder} holds a study of another configuration; give this one a folder of its own")
            return key
        except DamagedFile as error:
            if not _sealed_under(folder, key):
                raise ValueError(
                    f"{error}, and the files beside it are not of this configuration; give it a folder of its own"
                ) from None
            say(f"{error}: it is written again")
    write_whole(file, seal_json({"key": key, "config": described}), folder)
    return key


def _sealed_under(folder: Path, key: str) -> bool:
    """Whether some file is sealed under this key, or none is there."""
    store = Store(folder, key, print)
    files = [path for path in folder.glob("seed-*/*") if path.name == "samples" or path.suffix == ".sealed"]
    for path in files:
        with contextlib.suppress(DamagedFile):
            store.read(path.relative_to(folder).as_posix())
            return True
    return not files


def seed_problem(
    config: SampledConfig,
    store: Store,
    seed: int,
    waiting: Sequence[int],
    *,
    progress: bool = False,
    stop: Stop | None = None,
) -> Problem:
    """The seed's problem, read or made; on a GPU πref of all the seeds that wait is fine-tuned in one go.

    A TimeIsUp where ``stop`` says so before πref is fine-tuned.
    """
    folder = store.folder
    reference = folder / f"seed-{seed}" / "reference.safetensors"
    if not reference.is_file():
        together = [one for one in waiting if not (folder / f"seed-{one}" / "reference.safetensors").is_file()]
        together = together if config.device == "cuda" else [seed]
        made_of_all = make_references(config, together, progress=progress, stop=stop)
        for one, parameters in zip(together, made_of_all, strict=True):
            save_tensors(parameters, folder / f"seed-{one}" / "reference.safetensors", {})
    weights: Tensors = load_tensors(reference)[0]
    if not (folder / f"seed-{seed}" / "samples").is_file():
        made = make_problem(config, seed, weights)
        store.write(f"seed-{seed}/samples", json.dumps(problem_to_json(made)).encode())
    return store.problem(seed, weights)


def provenance(on: str, commit: str | None) -> dict[str, Any]:
    """Where, when and from what a piece was made.

    Parameters
    ----------
    on : str
        Torch's device.
    commit : str or None
        The commit that runs; None asks git.
    """
    on_gpu = on == "cuda" and torch.cuda.is_available()
    return {
        "git": git_state(Path(__file__).parent) if commit is None else {"commit": commit, "dirty": None},
        "versions": versions(),
        "device": {**device(), "torch": on, "accelerator": torch.cuda.get_device_name() if on_gpu else None},
        "threads": torch.get_num_threads(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
