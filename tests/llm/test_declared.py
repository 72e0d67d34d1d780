"""Studies from files: what is declared is what is configured; what is not understood is refused by name."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llm.__main__ import main
from llm.policy.models import LoraSettings
from llm.study.declared import read_study
from llm.study.names import PRESETS, STAGES
from llm.study.presets import PRESETS as CONFIGURATIONS
from llm.study.presets import preset

ROOT = Path(__file__).parents[2]
YAML = """
preset: tiny
data: some/records
seed: 3
grid: {losses: [savage, "log(1+exp(-z))"], strengths: [0.1, 1], seeds: [0, 1], learning_rate: 1e-3}
training: {steps: 8, evaluate_at: [4, 8], max_grad_norm: null}
policy: {lora: {rank: 4}}
"""
TOML = """
preset = "tiny"
data = "some/records"
seed = 3
[grid]
losses = ["savage", "log(1+exp(-z))"]
strengths = [0.1, 1.0]
seeds = [0, 1]
learning_rate = 1e-3
[training]
steps = 8
evaluate_at = [4, 8]
[policy.lora]
rank = 4
"""


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    tiny = preset("tiny")
    (tmp_path / "mine.yaml").write_text(YAML)
    (tmp_path / "mine.toml").write_text(TOML)
    config, data = read_study(tmp_path / "mine.yaml")
    assert data == "some/records"
    grid = dataclasses.replace(
        tiny.grid, losses=("savage", "log(1+exp(-z))"), strengths=(0.1, 1.0), seeds=(0, 1), learning_rate=1e-3
    )
    training = dataclasses.replace(tiny.training, steps=8, evaluate_at=(4, 8), max_grad_norm=None)
    policy = dataclasses.replace(tiny.policy, lora=LoraSettings(rank=4))
    assert config == dataclasses.replace(tiny, name="mine", seed=3, grid=grid, training=training, policy=policy)
    other, _ = read_study(tmp_path / "mine.toml")
    assert other == dataclasses.replace(config, training=dataclasses.replace(training, max_grad_norm=1.0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preset: huge\n", "preset 'huge'; accepted are"),
        ("sed: 1\n", "unknown field 'sed'; did you mean 'seed'?"),
        ("grid: {loses: [hinge]}\n", "grid: unknown field 'loses'; did you mean 'losses'?"),
        ("grid: {losses: [dppo]}\n", "dppo"),
        ("grid: 3\n", "grid is 3; accepted are fields"),
        ("training: {steps: many}\n", "steps is 'many'; accepted is a whole number"),
        ("training: {steps: 2.5}\n", "steps is 2.5; accepted is a whole number"),
        ("device: 1\n", "device is 1; accepted is a text"),
        ("evaluation: {samples: 0}\n", "evaluation.samples is 0; accepted is more than 0"),
        ("reward: {judge: {seed: -1}}\n", "reward.judge.seed is -1; accepted is 0 or more"),
        ("grid: {seeds: [0, -2]}\n", "grid.seeds is -2; accepted is 0 or more"),
        ("sft: {betas: [0.9]}\n", "betas is [0.9]; accepted are 2 values"),
        ("- a\n", "holds list"),
        ("a: [\n", "malformed YAML"),
    ],
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    assert main(["run", "--config", str(tmp_path / "bad.yaml"), "--out", str(tmp_path / "out")]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_declared_study_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(YAML.replace("data: some/records\n", ""))
    arguments = ["pairs", "--config", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "pairs:" in capsys.readouterr().out
    assert main([*arguments, "--preset", "tiny"]) == 1
    assert "the file names its preset" in capsys.readouterr().err


def test_help_and_mistakes_load_nothing_large() -> None:
    """What the parser knows are names; those of the presets are the presets'."""
    assert tuple(CONFIGURATIONS) == tuple(PRESETS)
    words = {1: "one", 3: "three", 6: "six"}
    for name in ("tiny", "cpu", "files", "small"):
        grid = CONFIGURATIONS[name].grid
        assert f"{words[len(grid.losses)]} losses" in PRESETS[name]
        if "seed" in PRESETS[name]:
            assert f"{words[len(grid.seeds)]} seed" in PRESETS[name]
    code = (
        "import sys; from llm.__main__ import main\n"
        "for words in (['--help'], ['run', '--help'], ['run', '--preset', 'x'], ['runn'], []):\n"
        "    try:\n        main(words)\n"
        "    except SystemExit as end:\n        print('code', end.code, file=sys.stderr)\n"
        "large = ('torch', 'transformers', 'scipy', 'sympy', 'pandas')\n"
        "print(*[name for name in large if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"code (\d)", done.stderr) == ["0", "0", "2", "2", "2"]
    assert done.stderr.splitlines()[-1] == ""
    assert all(name in done.stdout for name in (*PRESETS, *STAGES))
    assert all(done.stdout.count(what) == 2 for what in PRESETS.values())
    assert done.stdout.count("begin with: python -m llm run --preset tiny") == 2
