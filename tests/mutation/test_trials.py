"""Faults put into a small library, beginning to end: what its tests notice, what they do not, what never ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mutation.guard import guarded
from mutation.report import equivalents
from mutation.selection import COLLECTING, Chosen, parts
from mutation.server import forked

ROOT = Path(__file__).parents[2]
LIBRARY = """
def down(n):
    while n > 0:
        n = n - 1
    return n


def grade(a):
    return 1 if a > 10 else 0


def nobody(a):
    return a + 1
"""
TESTS = """
import pytest
from gpo_analysis.statistics.one import down, grade


@pytest.fixture(scope="module")
def graded():
    return grade(20)


def test_down():
    assert down(3) == 0


def test_graded(graded):
    assert graded == 1


def test_grade():
    assert grade(0) == 0
"""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A campaign on a library of one module, and what its report says."""
    out = tmp_path_factory.mktemp("campaign")
    files = {
        "gpo_analysis/__init__.py": "",
        "gpo_analysis/statistics/__init__.py": "",
        "gpo_analysis/statistics/one.py": LIBRARY,
        "tests/statistics/test_one.py": TESTS,
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"]\n',
    }
    for name, text in files.items():
        (out / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "tree" / name).write_text(text)
    (out / "commit").write_text("0" * 40)
    for command in (["all"], ["report"]):  # the second knows all from files
        done = subprocess.run(
            [sys.executable, "-m", "mutation", "--out", str(out), *command],
            cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_faults_are_noticed_unnoticed_or_without_end(campaign: tuple[Path, str]) -> None:
    lines = [json.loads(line) for line in (campaign[0] / "results.jsonl").read_text().splitlines()]
    found = {one["mutant"].split("::", 1)[1]: one for one in lines}
    assert len(found) == len(lines) == 13
    assert found["down::swap_op::1"]["verdict"] == "killed"  # >= 0 ends at -1
    assert found["down::swap_op::2"]["verdict"] == "timeout"  # n + 1 has no end
    assert found["grade::number::1"]["verdict"] == "killed"
    assert found["grade::number::2"]["verdict"] == "survived"  # > 11: no test stands at the boundary
    assert found["grade::swap_op::1"]["verdict"] == "survived"
    assert found["nobody::swap_op::1"]["verdict"] == "no test"
    assert found["grade::if_exp::1"]["by"].endswith("test_graded")  # of a fixture that the whole module shares


def test_the_report_counts_and_shows_them(campaign: tuple[Path, str]) -> None:
    out, text = campaign
    verdicts = [json.loads(line)["verdict"] for line in (out / "results.jsonl").read_text().splitlines()]
    row = next(line for line in text.splitlines() if line.startswith("| statistics |"))
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    assert [int(cell) for cell in cells[2:7]] == [
        len(verdicts), *(verdicts.count(kind) for kind in ("killed", "timeout", "survived", "no test")),
    ]  # fmt: skip
    share = (verdicts.count("killed") + verdicts.count("timeout")) / len(verdicts)
    assert float(cells[-1].split()[0]) == pytest.approx(share, abs=0.02)
    assert re.search(r"^-    return 1 if a > 10 else 0\n\+    return 1 if a > 11 else 0$", text, re.MULTILINE)
    assert (out / "tree" / "gpo_analysis" / "statistics" / "one.py").read_text() == LIBRARY


def test_limits_of_a_child(tmp_path: Path) -> None:
    def turning() -> int:
        while True:
            pass

    assert forked(lambda: 3, tmp_path / "log", 5.0).code == 3
    assert forked(turning, tmp_path / "log", 0.2).how == "processor time"
    assert forked(lambda: time.sleep(600) or 0, tmp_path / "log", 5.0, stalled=1.0).how == "stalled"
    assert forked(lambda: time.sleep(60) or len([b"x" * 2**28]), tmp_path / "log", 5.0, memory=0).how == "memory"


def test_the_guard_keeps_to_its_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "kept").write_text("kept")

    def attempts() -> int:
        guarded(inside)
        (inside / "new").write_text("new")
        (inside / "new").unlink()
        refused = 0
        for harm in (
            lambda: (outside / "new").write_text("new"),
            lambda: (outside / "kept").unlink(),
            lambda: (outside / "kept").rename(inside / "kept"),
            lambda: (inside / "new").symlink_to(outside / "kept") or (inside / "new").write_text("lost"),
            lambda: os.kill(os.getppid(), signal.SIGCONT),
        ):
            try:
                harm()
            except PermissionError:
                refused += 1
        os.kill(os.getpid(), 0)
        return refused

    assert forked(attempts, tmp_path / "log", 5.0).code == 5
    assert (outside / "kept").read_text() == "kept"
    assert [path.name for path in outside.iterdir()] == ["kept"]


def test_tests_are_tried_in_growing_parts_within_their_seconds() -> None:
    tests = [Chosen(f"t{n}", "file", 1.0) for n in range(20)]
    made, left = parts(tests, 9.0)
    sizes = [len(part) for part in made]
    assert sizes[0] == 1  # two seconds, one of a second beside collecting
    assert sizes[1] > sizes[0]
    assert sum(sizes) + left == 20
    assert sum(sizes) * 1.0 + len(made) * COLLECTING <= 9.0
    assert [test.test for part in made for test in part] == [f"t{n}" for n in range(sum(sizes))]
    assert parts([Chosen("dear", "file", 100.0)], 9.0) == ([[Chosen("dear", "file", 100.0)]], 0)
    assert parts([], 9.0) == ([], 0)


def test_equivalents_have_reasons() -> None:
    for name, reason in equivalents().items():
        assert (ROOT / name.split("::")[0]).is_file(), name
        assert len(reason.split()) >= 4, name
