"""Every policy of a study is written as a model that from_pretrained loads, with the numbers that the sweep has."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from llm.__main__ import main
from llm.policy.models import LoraSettings
from llm.study.export import load_study_policy, study_cells
from llm.study.pipeline import run_study
from llm.study.presets import preset
from llm.sweep.plan import GridConfig
from llm.training.config import TrainConfig

SMALL = dataclasses.replace(
    preset("tiny"), grid=GridConfig(losses=("logistic", "hinge"), strengths=(0.5,)),
    training=TrainConfig(4, batch_size=8, evaluate_at=(2, 4)),
)  # fmt: skip


@pytest.mark.parametrize("lora", [False, True])
def test_every_policy_is_loaded_and_exported(tmp_path: Path, lora: bool, capsys: pytest.CaptureFixture[str]) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    policy = dataclasses.replace(SMALL.policy, lora=LoraSettings(rank=2) if lora else None)
    made = run_study(dataclasses.replace(SMALL, policy=policy), tmp_path / "study", say=lambda _: None)
    assert made.sweep is not None
    cells = study_cells(tmp_path / "study")
    assert {cell.name for cell in cells} == {"logistic-0.5-s0-fresh", "hinge-0.5-s0-fresh"}
    ids = torch.tensor([[5, 6, 7, 8]])
    seen: list[Any] = []
    for file in made.sweep.policies():
        out = tmp_path / f"{file.cell.name}-{file.step}"
        arguments = ["export", str(tmp_path / "study"), file.cell.name, "--step", str(file.step), "--out", str(out)]
        assert main(arguments) == 0
        written = {path: path.stat().st_mtime_ns for path in out.iterdir()}
        (left := tmp_path / ".tmp" / "left").mkdir()  # killed when the policy was in its place already
        assert main(arguments) == 0  # done already: left as it is
        assert not left.exists()
        assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == written
        model = (AutoPeftModelForCausalLM if lora else AutoModelForCausalLM).from_pretrained(out).eval()
        expected, _ = load_study_policy(tmp_path / "study", file.cell.name, step=file.step)
        with torch.no_grad():
            torch.testing.assert_close(model(ids).logits, expected(ids).logits)
            seen.append(model(ids).logits)
        from llm.storage.checkpoints import load_tensors

        tensors, _meta = load_tensors(file.path)
        own = {name.replace(".default", ""): value for name, value in model.named_parameters()}
        for name, value in tensors.items():
            torch.testing.assert_close(own[name.replace(".default", "")], value)
    assert len(seen) == 4
    assert all(float((a - b).abs().max()) > 1e-6 for i, a in enumerate(seen) for b in seen[:i])
    capsys.readouterr()
    assert main(["export", str(tmp_path / "study")]) == 0
    assert "logistic-0.5-s0-fresh" in capsys.readouterr().out
    study, out = str(tmp_path / "study"), str(tmp_path / "x")
    for more, words in (
        ([study, "logistic-0.5", "--out", out], "nearest are logistic-0.5"),
        ([str(tmp_path), "a", "--out", out], "holds no sweep"),
        ([study, "hinge-0.5-s0-fresh"], "--out DIR is missing"),
        ([study, "hinge-0.5-s0-fresh", "--out", study], "is not empty"),
        ([study, "hinge-0.5-s0-fresh", "--out", str(tmp_path / "logistic-0.5-s0-fresh-4")], "it holds another policy"),
        ([study, "hinge-0.5-s0-fresh", "--out", out, "--step", "3"], "after step 3; accepted are 2, 4"),
    ):
        assert main(["export", *more]) == 1
        assert words in capsys.readouterr().err
