"""A stage is done when its report of the same key is there, whole."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from llm.storage.checksums import checksum_model, checksum_texts
from llm.storage.reports import FILE, finished_report, mark_done, stage_key
from llm.training.sft import SftConfig


def test_only_the_same_key_is_done(tmp_path: Path) -> None:
    key = stage_key(SftConfig(), data="a")
    assert finished_report(tmp_path / "nowhere", key) is None
    mark_done(tmp_path, key, {"loss": 0.1, "counts": (1, 2)})
    assert finished_report(tmp_path, key) == {"loss": 0.1, "counts": [1, 2]}
    assert finished_report(tmp_path, stage_key(SftConfig(), data="b")) is None
    assert finished_report(tmp_path, stage_key(SftConfig(seed=1), data="a")) is None
    (tmp_path / FILE).write_text('{"key": "' + key)  # cut short by another program
    assert finished_report(tmp_path, key) is None


def test_checksums_see_every_value(tiny_model: Any) -> None:
    assert checksum_texts(["a", "b"]) != checksum_texts(["b", "a"])
    assert checksum_texts(["a", "b"]) != checksum_texts(["a\nb"]) != checksum_texts(["ab"])
    before = checksum_model(tiny_model)
    assert checksum_model(copy.deepcopy(tiny_model)) == before
    with torch.no_grad():
        tiny_model.model.norm.weight[3] += 1e-6
    assert checksum_model(tiny_model) != before
    assert checksum_model(tiny_model.to(torch.bfloat16)) != before
