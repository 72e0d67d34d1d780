"""What ``python -m llm train`` says: what is missing, which stage it is at, that nothing moved, and of errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

from llm.__main__ import main
from llm.commands import ended
from llm.own.needed import trackers
from llm.own.table import if_still
from tests.integrations.stand_ins import OF_LIBRARIES
from tests.llm.own_runs import train

pytestmark = OF_LIBRARIES
ROOT = Path(__file__).parents[2]
WITHOUT = """
import os, sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from llm.__main__ import main
code = main(sys.argv[1:])
loaded = [name for name in ("torch", "transformers", "trl") if sys.modules.get(name)]
print("loaded:", *loaded, os.environ["OMP_WAIT_POLICY"])
sys.exit(code)
"""


def test_all_that_is_missing_for_these_options_is_said_at_once(model: Path, pairs: Path, tmp_path: Path) -> None:
    arguments = ["train", "--model", str(model), "--pairs", str(pairs), "--out", str(tmp_path / "run"), "--lora", "3"]
    barred = "peft,tensorboard,trl,wandb"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, barred, *arguments, "--report-to", "wandb", "tensorboard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.split() == ["loaded:", "PASSIVE"]
    (line,) = done.stderr.splitlines()
    assert line == (
        "llm train: not installed: trl, peft (for --lora 3), wandb (for --report-to wandb), tensorboard (for "
        "--report-to tensorboard); pip install 'gpo-analysis[llm]' brings trl, peft, tensorboard; pip install wandb; "
        "or leave --report-to out (no tracker is needed)"
    )


def test_what_these_options_do_not_need_is_not_asked_for(
    model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("peft", "tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("llm.own.cell.trackers", lambda config: _checked(trackers(config), []))
    train(model, pairs, tmp_path / "run", "--lr", "1e-9", "--loss", "log(1+exp(z))")
    assert not (tmp_path / "run" / "tensorboard").exists()
    shown = capsys.readouterr().out
    assert "sampling responses of up to 5 tokens to 4 prompts" in shown
    assert "warning: log(1+exp(z)) has f′(0) = 0.5, not below 0" in shown
    assert "the policy hardly moved: the largest |βρ| is" in shown
    assert "raise --lr, which was 1e-09" in shown


def _checked(found: list[str], expected: list[str]) -> list[str]:
    assert found == expected
    return found


@pytest.mark.parametrize(
    ("largest", "rate", "words"),
    [(0.3, 1e-6, ""), (0.02, 1e-6, ""), (3e-3, 1e-6, "proportion 0.0001 for"), (0.0, 1e-6, "1e-06, or"), (None, 1, "")],
)
def test_a_policy_that_hardly_moved_is_said(largest: float | None, rate: float, words: str) -> None:
    line = if_still({"measures": {} if largest is None else {"train": {"largest_margin": largest}}}, rate)
    assert words in line
    assert bool(line) == bool(words)


def test_errors_are_said_as_gpo_says_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--model", str(tmp_path), "--pairs", "nowhere", "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.startswith("llm train: pairs: nowhere is no file; accepted is a file of preference")
    found = [ended(lambda error=error: _raise(error), False, "llm train") for error in ERRORS]
    assert found == [1, 1, 1, 130]
    assert capsys.readouterr().err.splitlines() == [
        "llm train: beta is -1",
        "llm train: x.csv: No such file or directory",
        "llm train: RuntimeError: out of memory (--traceback shows where)",
        "stopped; the same command goes on from here",
    ]


ERRORS = (
    ValueError("beta is -1"), FileNotFoundError(2, "No such file or directory", "x.csv"), RuntimeError("out of memory"),
    KeyboardInterrupt(),
)  # fmt: skip


def _raise(error: BaseException) -> None:
    raise error
