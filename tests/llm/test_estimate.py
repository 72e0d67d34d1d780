"""``python -m llm plan`` against the study itself, in what does not depend on how busy the machine is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from llm.__main__ import main
from llm.policy.models import LoraSettings, count_parameters
from llm.study.estimate import Plan, plan_study
from llm.study.pipeline import STAGES, run_study
from llm.study.presets import preset
from llm.training.lora_stacks import make_stack
from llm.training.trainer import make_optimizer

TINY = preset("tiny")


def test_the_plan_is_what_the_run_takes(tmp_path: Path) -> None:
    plan = plan_study(TINY)
    study = run_study(TINY, tmp_path / "study", say=lambda _: None)
    assert study.reference is not None
    assert study.sweep is not None
    model = study.reference.model
    assert plan.parameters == plan.trained == count_parameters(model)
    assert (plan.cells, plan.stacks) == (len(study.sweep.cells), len(study.sweep.stacks))
    assert plan.stack == max(len(stack.cells) for stack in study.sweep.stacks)
    stack = make_stack(model, 3)
    optimizer = make_optimizer(stack, TINY.training)
    optimizer.step({name: p.detach().clone() for name, p in stack.parameters.items()}, *_rates(3))
    held = [*stack.parameters.values(), *optimizer.state().values()]
    bytes_ = sum(value.numel() * value.element_size() for value in held)
    gradient = sum(value.numel() * value.element_size() for value in stack.parameters.values())
    assert 3 * plan.cell_bytes == pytest.approx(bytes_ + gradient, rel=0.01)
    files = [path for path in (tmp_path / "study").rglob("*.safetensors") if path.name.startswith(("policy", "model"))]
    assert plan.disk_bytes == pytest.approx(sum(path.stat().st_size for path in files), rel=0.3)
    assert set(plan.minutes) == set(STAGES)
    assert all(value >= 0 for value in plan.minutes.values())
    assert plan.minutes["sweep"] > 0
    assert study.pairs is not None
    tokenizer = study.reference.tokenizer
    pairs = study.pairs.train
    tokens = sum(len(tokenizer(t).input_ids) + 1 for p in pairs for t in (p.prompt, p.chosen, p.rejected)) / len(pairs)
    seen = tokens * TINY.training.batch_size * TINY.training.steps * len(study.sweep.cells)
    assert plan.tokens["sweep"] == pytest.approx(seen, rel=0.3)
    assert plan.flop["sweep"] == pytest.approx(6 * plan.parameters * plan.tokens["sweep"])


def _rates(runs: int) -> tuple[object, object]:
    import torch

    return torch.full((runs,), 1e-3, dtype=torch.float64), torch.ones(runs, dtype=torch.bool)


def test_adapters_and_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    policy = dataclasses.replace(TINY.policy, lora=LoraSettings(rank=2))
    seen: list[Plan] = []

    def planned(config: object, **named: object) -> Plan:
        seen.append(plan_study(dataclasses.replace(TINY, policy=policy)))
        return seen[-1]

    monkeypatch.setattr("llm.study.estimate.plan_study", planned)
    assert main(["plan", "--preset", "tiny"]) == 0
    shown = capsys.readouterr().out
    assert 0 < seen[0].trained < seen[0].parameters
    assert f"{seen[0].trained:,} train" in shown
    for words in ("memory a cell", "disk", "FLOP", "minutes, sweep", "minutes, in all"):
        assert words in shown
