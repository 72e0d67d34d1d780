"""Tensors on disk: safetensors, the whole checkpoint or nothing, in files of bounded size.

A checkpoint is a folder ``step-00000120`` with ``part-000.safetensors``, … and ``index.json``. It is written under
another name, flushed, and renamed once, so that a process killed at any moment, or a full disk, leaves the checkpoint
before it; older ones are removed only afterwards.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gpo_analysis.records import write_whole

__all__ = [
    "SHARD_BYTES",
    "CheckpointError",
    "latest_checkpoint",
    "load_checkpoint",
    "load_tensors",
    "save_checkpoint",
    "save_tensors",
]

#: Largest file of a checkpoint, in bytes.
SHARD_BYTES = 15 << 20
INDEX = "index.json"
_UNFINISHED = ".writing-"


class CheckpointError(ValueError):
    """A file that is no whole checkpoint; the message says which and why."""


def save_tensors(tensors: Mapping[str, torch.Tensor], path: str | os.PathLike[str], meta: Mapping[str, str]) -> None:
    """Write tensors to one safetensors file, whole or not at all.

    Raises
    ------
    OSError
        Where the disk is full or the folder cannot be written; an older file is then left as it was.
    """
    write_whole(path, _bytes(tensors, meta), Path(path).parent)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote: tensors and meta; CheckpointError where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def save_checkpoint(
    tensors: Mapping[str, torch.Tensor],
    folder: str | os.PathLike[str],
    step: int,
    meta: Mapping[str, Any],
    *,
    shard_bytes: int = SHARD_BYTES,
    keep: int = 1,
) -> Path:
    """Write a checkpoint of a step, then remove those older than the last ``keep``.

    Parameters
    ----------
    tensors
        By name. A tensor larger than ``shard_bytes`` is cut into pieces.
    folder
        Holds the checkpoints of one run.
    step
        Steps done.
    meta
        JSON values.
    shard_bytes
        Largest file.
    keep
        How many checkpoints stay.

    Raises
    ------
    OSError
        Where the disk is full or the folder cannot be written, naming the checkpoint that is still there.
    """
    root = Path(folder)
    target, fresh = root / f"step-{step:08d}", root / f"{_UNFINISHED}{step:08d}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for stale in root.glob(f"{_UNFINISHED}*"):  # of a process that was killed
            shutil.rmtree(stale, ignore_errors=True)
        fresh.mkdir()
        _write_parts(tensors, fresh, {"step": step, "meta": dict(meta)}, shard_bytes)
        if target.exists():  # the same step again
            shutil.rmtree(target)
        fresh.rename(target)
        _flush(root)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        before = latest_checkpoint(root)
        stays = "no checkpoint is there yet" if before is None else f"{before} is intact"
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"checkpoint of step {step} not written ({reason}); {stays}") from error
    for old in _checkpoints(root)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], int, dict[str, Any]]:
    """Read a checkpoint: tensors, step, meta.

    Raises
    ------
    CheckpointError
        For a folder that is no whole checkpoint.
    """
    folder = Path(path)
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        pieces: dict[str, torch.Tensor] = {}
        for name in index["files"]:
            pieces |= load_tensors(folder / name)[0]
        parts: dict[str, list[torch.Tensor]] = {}
        for key in sorted(pieces):
            parts.setdefault(key.rpartition("@")[0], []).append(pieces[key])
        tensors = {name: torch.cat(parts[name]).view(shape) for name, shape in index["shapes"].items()}
        return tensors, int(index["step"]), index["meta"]
    except (OSError, KeyError, json.JSONDecodeError, RuntimeError) as error:
        raise CheckpointError(f"{folder} is no whole checkpoint: {error}") from None


def latest_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """Return the newest whole checkpoint of a folder, or None."""
    found = _checkpoints(Path(folder))
    return found[-1] if found else None


def _checkpoints(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("step-*") if (path / INDEX).is_file())


def _write_parts(tensors: Mapping[str, torch.Tensor], folder: Path, index: dict[str, Any], shard_bytes: int) -> None:
    files: list[str] = []
    shard: dict[str, torch.Tensor] = {}
    size = 0

    def close() -> None:
        nonlocal shard, size
        if shard:
            name = f"part-{len(files):03d}.safetensors"
            _write(folder / name, _bytes(shard, {}))
            files.append(name)
            shard, size = {}, 0

    for name, tensor in tensors.items():
        flat = tensor.detach().reshape(-1).cpu()
        step = max(1, shard_bytes // flat.element_size())
        for number, start in enumerate(range(0, max(1, flat.numel()), step)):
            piece = flat[start : start + step]
            if size + piece.nbytes > shard_bytes:
                close()
            shard[f"{name}@{number:06d}"] = piece
            size += piece.nbytes
    close()
    index |= {"files": files, "shapes": {name: list(tensor.shape) for name, tensor in tensors.items()}}
    _write(folder / INDEX, json.dumps(index).encode())


def _bytes(tensors: Mapping[str, torch.Tensor], meta: Mapping[str, str]) -> bytes:
    from safetensors.torch import save

    # a piece shares its storage with the others of its tensor, which safetensors refuses
    return save({name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, dict(meta))


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _flush(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
