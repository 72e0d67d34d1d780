"""Studies that are killed, damaged, moved, run twice at once: never another table, an orphan or litter."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from gpo_analysis.locks import FolderBusy, run_lock
from llm.__main__ import main
from llm.study.pipeline import Study, run_study
from llm.study.presets import preset
from llm.sweep.plan import GridConfig
from llm.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
SMALL = dataclasses.replace(
    preset("tiny"),
    grid=GridConfig(losses=("logistic", "squared"), strengths=(0.3,)),
    training=TrainConfig(4, batch_size=8, evaluate_at=(2, 4)),
    stack=1,
)


def run(folder: Path) -> Study:
    return run_study(SMALL, folder, say=lambda line: None)


def tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    names = ("sweep.parquet", "samples.parquet")
    sweep, samples = (pd.read_parquet(folder / name) for name in names)
    return sweep, samples, (folder / "pairs.jsonl").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("whole") / "study").folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "study"))


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def flip(path: Path) -> None:
    """Turn a bit in the middle of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def same(mine: bytes, theirs: bytes) -> bool:
    """Whether two files hold the same; the notes in a file of tensors stand in any order."""
    from safetensors.torch import load

    if mine == theirs or not mine[8:].startswith(b"{"):
        return mine == theirs
    a, b = load(mine), load(theirs)
    return set(a) == set(b) and all(a[name].numpy().tobytes() == b[name].numpy().tobytes() for name in a)


FILES = (
    "base/model.safetensors", "base/tokenizer.json", "base/stage.json", "sft/model/model.safetensors",
    "sft/stage.json", "pairs/pairs.jsonl", "held_out/pairs.jsonl", "baseline/stage.json", "reference/*.safetensors",
    "sweep/plan.json", "sweep/stacks/*/policy-*", "sweep/stacks/*/trace.safetensors", "sweep/stacks/*/stage.json",
    "evaluations/*.json",
)  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [*((name, flip) for name in FILES), *((name, cut) for name in FILES if name.startswith(("sweep", "evaluations")))],
)
def test_a_damaged_file_is_made_again(whole: Path, copy: Path, pattern: str, damage: Callable[[Path], None]) -> None:
    path = one(copy, pattern)
    before = path.read_bytes()
    damage(path)
    assert path.read_bytes() != before
    run(copy)
    for mine, theirs in zip(tables(copy)[:2], tables(whole)[:2], strict=True):
        pd.testing.assert_frame_equal(mine, theirs, rtol=1e-6)
    assert tables(copy)[2] == tables(whole)[2]
    if "stage.json" not in pattern and "evaluations" not in pattern:  # these hold times
        assert same(one(copy, pattern).read_bytes(), before)


@pytest.mark.parametrize("pattern", ["sweep/stacks/*/policy-*", "evaluations/*.json", "sweep/stacks/*/trace.*"])
def test_files_that_stand_in_each_other_s_place_are_made_again(whole: Path, copy: Path, pattern: str) -> None:
    first, *_, last = sorted(copy.glob(pattern))
    first.rename(copy / "aside")
    last.rename(first)
    (copy / "aside").rename(last)
    run(copy)
    for mine, theirs in zip(tables(copy)[:2], tables(whole)[:2], strict=True):
        pd.testing.assert_frame_equal(mine, theirs, rtol=1e-6)
    pd.testing.assert_frame_equal(
        pd.read_parquet(copy / "trace.parquet"), pd.read_parquet(whole / "trace.parquet"), rtol=1e-6
    )


def test_pairs_in_the_place_of_others_are_made_again(whole: Path, copy: Path) -> None:
    shutil.copy(copy / "held_out" / "pairs.jsonl", copy / "pairs" / "pairs.jsonl")
    run(copy)
    assert tables(copy)[2] == tables(whole)[2]


def test_a_study_moved_to_another_folder_goes_on(copy: Path, tmp_path: Path) -> None:
    moved = tmp_path / "somewhere" / "else"
    moved.parent.mkdir()
    copy.rename(moved)
    models = {path: path.stat().st_mtime_ns for path in moved.rglob("*.safetensors")}
    assert len(models) > 6
    (moved / "evaluations").rename(tmp_path / "evaluations")  # something is left to do
    study = run(moved)
    assert study.sweep is not None
    assert study.sweep.trained == 0
    assert {path: path.stat().st_mtime_ns for path in moved.rglob("*.safetensors")} == models


def test_what_a_killed_writer_left_goes_though_nothing_is_left_to_do(copy: Path) -> None:
    left = copy / "evaluations" / ".tmp" / "tmpabc"
    left.mkdir(parents=True)
    (left / "half.json").write_text("{")
    after_reports = [copy / "sft" / "checkpoint", copy / "pairs" / "parts" / "key"]
    after_reports.append(one(copy, "sweep/stacks/*") / "step-00000004")
    for folder in after_reports:  # killed between a stage's report and the removal of what it no longer needs
        folder.mkdir(parents=True)
    run(copy)
    assert not [folder for folder in (left, *after_reports) if folder.exists()]


def test_one_run_a_folder(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_lock(copy, "another run"):
        with pytest.raises(FolderBusy, match=rf"process {os.getpid()} on .* \(another run\)"):
            run(copy)
        assert main(["run", "--preset", "tiny", "--out", str(copy)]) == 1
    said = capsys.readouterr().err
    assert f"process {os.getpid()}" in said
    assert said.count("\n") == 1
    run(copy)


def test_launched_processes_share_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two ranks, with a preset's two workers: the table is that of one process.

    Some 13 s of processor time: a launcher and two processes that load torch.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = ["run", "--preset", "tiny"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "llm"]
    done = subprocess.run(
        [sys.executable, *launch, *words, "--workers", "2", "--out", "two"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    for said in (done.stdout, capsys.readouterr().out):
        assert said.count("sweep: 6 cells in 3 stacks, 3 stacks were missing") == 1
    for mine, theirs in zip(tables(tmp_path / "two")[:2], tables(tmp_path / "one")[:2], strict=True):
        pd.testing.assert_frame_equal(mine, theirs, rtol=1e-4, atol=1e-6)


SCRIPT = """
import pickle, sys
from llm.study.pipeline import run_study

if __name__ == "__main__":
    with open(sys.argv[2], "rb") as file:
        run_study(pickle.load(file), sys.argv[1])
"""


def descendants(process: int) -> list[int]:
    """Processes that a process or one of its own started, and that are alive."""
    try:
        children = [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [found for child in children for found in (child, *descendants(child))]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are found in /proc")
def test_workers_end_with_the_run_that_started_them(whole: Path, copy: Path, tmp_path: Path) -> None:
    """SIGKILL while two workers train: they are gone soon, the same command goes on and leaves no litter.

    Some 12 s of processor time: a study, and the server that its workers are forked from, load torch.
    """
    script, study = tmp_path / "script.py", tmp_path / "study.pickle"
    script.write_text(SCRIPT, encoding="utf-8")
    grid = GridConfig(losses=("logistic", "squared"), strengths=(0.1, 0.3, 1.0, 3.0))
    config = dataclasses.replace(SMALL, grid=grid, workers=2)
    study.write_bytes(pickle.dumps(config))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(copy), str(study)]
    started = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    while started.poll() is None and not [*copy.glob("sweep/stacks/*/.tmp")][2:]:  # a stack of the new ones has begun
        time.sleep(0.01)
    workers = descendants(started.pid)
    assert started.poll() is None, "it was killed in the middle"
    assert len(workers) >= 3  # two, and what they were forked from
    started.send_signal(signal.SIGKILL)
    started.wait()
    while any(map(alive, workers)):  # each ends by itself, however long this machine takes to let it
        time.sleep(0.01)
    run_study(config, copy, say=lambda line: None)
    assert len(pd.read_parquet(copy / "sweep.parquet")) == 16
    assert not [path for path in copy.rglob("*") if path.parent.name == ".tmp" and path.is_dir()]
    assert not [*copy.glob("sweep/stacks/*/step-*"), *copy.glob("sweep/stacks/*/.writing-*")]


def test_without_an_extra_one_line_names_it(tmp_path: Path) -> None:
    start = (
        "import sys; sys.modules[sys.argv.pop()] = None; from llm.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    for missing in ("torch", "tokenizers"):
        done = subprocess.run(
            [sys.executable, "-c", start, "run", "--preset", "tiny", "--out", str(tmp_path), missing],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        said = f"llm run: {missing} is not installed; it comes with: pip install 'gpo-analysis[llm]'"
        assert done.stderr.strip() == said


def test_documents_hold_their_digest(whole: Path) -> None:
    documents: list[Any] = [json.loads(path.read_text()) for path in whole.rglob("stage.json")]
    assert len(documents) > 5
    assert all(len(document["sha256"]) == 64 for document in documents)
