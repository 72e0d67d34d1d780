"""Tensors on disk: safetensors, the whole checkpoint or nothing, in files of limited size.

A checkpoint is a folder ``step-00000120`` with ``part-000.safetensors``, … and ``index.json``. It is written under
another name, flushed, and renamed once, so that a process killed at any moment, or a full disk, leaves the checkpoint
before it; older ones are removed only afterwards.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gpo_analysis.files import write_whole

#: Largest file of a checkpoint, in bytes.
SHARD_BYTES = 15 << 20
INDEX = "index.json"
_UNFINISHED = ".writing-"
_SUM = "sha256"


class CheckpointError(ValueError):
    """A file that is no whole checkpoint; the message says which and why."""


def save_tensors(tensors: Mapping[str, torch.Tensor], path: str | os.PathLike[str], meta: Mapping[str, str]) -> None:
    """Write tensors to one safetensors file, whole or not at all.

    Raises
    ------
    OSError
        Where the disk is full or the folder cannot be written; an older file is then left as it was.
    """
    write_whole(path, _bytes(tensors, {**meta, _SUM: _checksum(tensors, meta)}), Path(path).parent)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote: tensors and meta; CheckpointError where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            meta = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if meta.pop(_SUM, None) != _checksum(tensors, meta):
        raise CheckpointError(f"{path} is not what was written: its checksum differs")
    return tensors, meta


def _checksum(tensors: Mapping[str, torch.Tensor], meta: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(meta), sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
    tensors : mapping
        By name. A tensor larger than ``shard_bytes`` is cut into pieces.
    folder : path
        Holds the checkpoints of one run.
    step : int
        Steps done.
    meta : mapping
        JSON values.
    shard_bytes : int
        Largest file.
    keep : int
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
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = Path(path)
    try:
        outer = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if hashlib.sha256(outer["index"].encode()).hexdigest() != outer["sha256"]:
            raise CheckpointError(f"{folder / INDEX} is not what was written: its checksum differs")
        index = json.loads(outer["index"])
        pieces: dict[str, torch.Tensor] = {}
        for name, checksum in index["files"].items():
            data = (folder / name).read_bytes()
            if hashlib.sha256(data).hexdigest() != checksum:
                raise CheckpointError(f"{folder / name} is not what was written: its checksum differs")
            pieces |= load(data)
        parts: dict[str, list[torch.Tensor]] = {}
        for key in sorted(pieces):
            parts.setdefault(key.rpartition("@")[0], []).append(pieces[key])
        tensors = {name: torch.cat(parts[name]).view(shape) for name, shape in index["shapes"].items()}
        return tensors, int(index["step"]), index["meta"]
    except CheckpointError:
        raise
    except (OSError, KeyError, TypeError, AttributeError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} is no whole checkpoint: {error}") from None


def latest_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """Return the newest whole checkpoint of a folder, or None."""
    found = _checkpoints(Path(folder))
    return found[-1] if found else None


def remove_checkpoints(folder: str | os.PathLike[str]) -> None:
    """Remove every checkpoint of a folder, and what a killed process left of one."""
    for path in (*Path(folder).glob("step-*"), *Path(folder).glob(f"{_UNFINISHED}*")):
        shutil.rmtree(path, ignore_errors=True)


def _checkpoints(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("step-*") if (path / INDEX).is_file())


def _write_parts(tensors: Mapping[str, torch.Tensor], folder: Path, index: dict[str, Any], shard_bytes: int) -> None:
    files: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    size = 0

    def close() -> None:
        nonlocal shard, size
        if shard:
            name = f"part-{len(files):03d}.safetensors"
            data = _bytes(shard, {})
            _write(folder / name, data)
            files[name] = hashlib.sha256(data).hexdigest()
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
    text = json.dumps(index, sort_keys=True)
    _write(folder / INDEX, json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "index": text}).encode())


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
