"""Checksums of what goes into a stage: texts and models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from gpo_analysis.records import canonical_json

#: Of a configuration: where the model lies and what wrote it, which change no number; its dtypes are those of values.
_NO_NUMBER = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


def checksum_texts(rows: Iterable[Any]) -> str:
    """Return a SHA-256 over plain values or dataclasses, their order included, in hexadecimal digits.

    Parameters
    ----------
    rows : iterable
        Texts, numbers, dataclasses, anything `gpo_analysis.records.plain` takes.

    Examples
    --------
    >>> checksum_texts(["a", "b"]) == checksum_texts(["b", "a"])
    False
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(canonical_json(row).encode() + b"\n")
    return digest.hexdigest()


def checksum_model(model: Any) -> str:
    """Return a SHA-256 over what a model computes with, in hexadecimal digits; the folder it lies in does not enter.

    Parameters
    ----------
    model : torch.nn.Module
        Names, shapes, dtypes and values of its parameters and buffers are hashed, and its configuration where it is a
        model of `transformers`: two models of the same weights may differ in, say, their rotary base.
    """
    import torch

    config = getattr(model, "config", None)
    settings = {} if config is None else config.to_dict()
    kept = {name: value for name, value in settings.items() if name not in _NO_NUMBER}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
