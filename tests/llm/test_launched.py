"""``python -m llm`` and `GPOTrainer` in two launched processes: as one process does it, by one writer, to an end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("trl")

from safetensors.torch import load_file

from llm.__main__ import main
from llm.policy.models import LlamaSize, save_model, small_llama
from llm.policy.tokenizers import train_tokenizer
from tests.integrations.stand_ins import OF_LIBRARIES
from tests.llm.launched import trained
from tests.llm.tiny_stacks import assert_spread

ROOT = Path(__file__).parents[2]
LAUNCH = (
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
)  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
SWEEP = ("--loss", "squared", "hinge", "--epochs", "2", "--reduction", "mean")
ADAPTERS = ("--lora", "2", "--accumulation", "2", "--held-out", "0.34", "--sft-steps", "2", "--sft-lr", "0.01")
#: Whether this torch shards on processors, as tests have it do (llm refuses it there): since the versions after 2.6.
SHARDS = hasattr(torch.cpu.Stream, "record_event")
SHARED = pytest.param("sharded", marks=pytest.mark.skipif(not SHARDS, reason="this torch shards on GPUs alone"))
pytestmark = OF_LIBRARIES


def write_inputs(folder: Path) -> None:
    tokenizer = train_tokenizer(["why how when yes no maybe never always done red blue"])
    size = LlamaSize(hidden=16, layers=2, heads=2, positions=64)
    save_model(small_llama(size, tokenizer, seed=0), tokenizer, folder / "model")
    words = ["yes", "no", "maybe", "never", "always", "red blue"]
    rows = [
        {"prompt": ["why", "how", "when"][i % 3], "chosen": words[i % 6], "rejected": words[(i + 1 + i // 6) % 6],
         "p": 0.9}
        for i in range(18)
    ]  # fmt: skip
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def words(inputs: Path, out: Path, *more: str) -> list[str]:
    given = ["--model", str(inputs / "model"), "--pairs", str(inputs / "pairs.jsonl"), "--out", str(out)]
    short = ["--batch", "4", "--lr", "0.01", "--kl-prompts", "5", "--kl-max-new-tokens", "5", "--device", "cpu"]
    return ["train", *given, *short, "--no-progress", *more]


def tasks(inputs: Path, out: Path, *, study: bool) -> list[list[str]]:
    """A sweep and adapters, a trainer, and a study."""
    found = [words(inputs, out / "sweep", *SWEEP), words(inputs, out / "adapters", *ADAPTERS)]
    more = [["run", "--preset", "tiny", "--device", "cpu", "--out", str(out / "study")]] if study else []
    return [*found, ["trainer", str(out / "trainer")], *more]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same tasks by one process ("one"), by two ("two"), and by two that share the model ("sharded").

    Some 35 s of processor time: the launcher and what it launches are what is tested, so that each loads torch,
    transformers and TRL; all that two processes do is one launch.
    """
    folder = tmp_path_factory.mktemp("launched")
    write_inputs(folder)
    for name in ("one", "two", "sharded"):
        (folder / name / "trainer").mkdir(parents=True)
    for task in tasks(folder, folder / "one", study=True):
        assert task[0] == "trainer" or main(task) == 0
    trained(folder / "one" / "trainer")
    sharded = [["FSDP", *task] for task in tasks(folder, folder / "sharded", study=False)]
    sharded = [sharded[0], *(task[1:] for task in sharded[1:])] if SHARDS else []
    commands = [["spread", str(folder / "spread")], *tasks(folder, folder / "two", study=True), *sharded]
    (folder / "commands.json").write_text(json.dumps(commands))
    done = subprocess.run(
        [*LAUNCH, str(ROOT / "tests/llm/launched.py"), str(folder / "commands.json")], env=ENVIRONMENT, cwd=ROOT,
        capture_output=True, text=True, timeout=3600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "said").write_text(done.stdout)
    return folder


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def assert_alike(here: Any, there: Any) -> None:
    """Equal to what floats of another order of sums allow."""
    if isinstance(here, dict):
        assert set(here) == set(there)
        for name in here:
            assert_alike(here[name], there[name])
    elif isinstance(here, float) or isinstance(there, float):
        assert there == pytest.approx(here, rel=2e-3, abs=2e-5)
    else:
        assert here == there


CELLS = {"squared-beta0.1-seed0": "sweep", "hinge-beta0.1-seed0": "sweep", ".": "adapters"}


@pytest.mark.parametrize("name", ["two", SHARED])
@pytest.mark.parametrize("cell", CELLS)
def test_training_is_that_of_one_process(ran: Path, name: str, cell: str) -> None:
    one, many = (ran / which / CELLS[cell] / cell for which in ("one", name))
    first, second = result_of(one), result_of(many)
    assert (second["processes"], second["sharded"]) == (2, name == "sharded")
    assert_alike(
        {k: first[k] for k in ("status", "steps", "measures")}, {k: second[k] for k in ("status", "steps", "measures")}
    )
    assert abs(first["measures"]["train"]["mean_rho"]) > 0.05, "nothing was trained"
    file = "adapter_model.safetensors" if cell == "." else "model.safetensors"
    weights, others = (load_file(str(folder / "policy" / file)) for folder in (one, many))
    assert set(weights) == set(others)
    for key, value in weights.items():
        torch.testing.assert_close(others[key], value, rtol=1e-3, atol=2e-4)
    rows, logged = ([json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in (one, many))
    assert len(rows) == len(logged)
    for row, other in zip(rows, logged, strict=True):
        assert_alike(row, other)
    events = list((many / "tensorboard").rglob("events*"))
    assert len(events) == 1, "one process writes"


def test_one_process_speaks(ran: Path) -> None:
    said = (ran / "said").read_text()
    assert said.count(f"written to {ran / 'two' / 'sweep'}") == 1
    assert said.count("18 pairs to train on") == 1 + SHARDS  # the sweep, and once more sharded


@pytest.mark.parametrize("name", ["two", SHARED])
def test_a_trainer_s_means_are_over_pairs(ran: Path, name: str) -> None:
    one, many = (json.loads((ran / which / "trainer" / "logs.json").read_text()) for which in ("one", name))
    assert any(key.endswith("eval_kl") for key in one)
    assert_alike(one, many)
    rows, logged = (
        [json.loads(line) for line in (ran / which / "trainer" / "log.jsonl").read_text().splitlines()]
        for which in ("one", name)
    )
    for row, other in zip(rows, logged, strict=True):
        assert_alike(row, other)


def test_cells_are_spread_over_launched_processes(ran: Path, tmp_path: Path) -> None:
    assert (ran / "spread" / "plan.json").is_file()
    assert_spread(ran / "spread", tmp_path)


def test_a_study_is_that_of_one_process(ran: Path) -> None:
    import pandas as pd

    one, two = (pd.read_parquet(ran / which / "study" / "sweep.parquet") for which in ("one", "two"))
    assert list(one.columns) == list(two.columns)
    assert len(one) == len(two) == 12
    for column in one.columns:
        if column.endswith(("seconds", "path", "folder")):
            continue
        if one[column].dtype.kind == "f":
            np.testing.assert_allclose(two[column], one[column], rtol=2e-3, atol=2e-4, err_msg=column)
        else:
            assert list(one[column]) == list(two[column]), column


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_interrupted_launch_leaves_nobody_and_is_gone_on_from(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    more = ("--steps", "30", "--save-steps", "5", "--record-steps", "10", "--kl-prompts", "0")
    out = tmp_path / "two"
    process = subprocess.Popen(
        [*LAUNCH, "-m", "llm", *words(tmp_path, out, *more)], env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not list((out / "checkpoints").glob("checkpoint-*/seal.json")):
        time.sleep(0.02)
    ranks = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.send_signal(signal.SIGKILL)  # the hardest way: the launcher has no time to end its processes
    process.wait()
    assert len(ranks) == 2
    while any(_alive(pid) for pid in ranks):
        time.sleep(0.05)
    assert not (out / "result.json").exists(), "it had ended before"
    assert main(words(tmp_path, out, *more)) == 0  # by one process, from where two were
    assert main(words(tmp_path, tmp_path / "one", *more)) == 0
    first, second = (load_file(str(tmp_path / name / "policy" / "model.safetensors")) for name in ("one", "two"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=2e-4)


def _alive(pid: int) -> bool:
    """Whether a thread of it is, were its first one a zombie already."""
    states = []
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.append(path.read_text().rpartition(")")[2].split()[0])
    return any(state not in "ZX" for state in states)
