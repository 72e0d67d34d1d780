"""Faults put into a small library, beginning to end: what its tests notice, what they do not, what never ends."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mutation.areas import areas
from mutation.campaign import Campaign, added
from mutation.contexts import carried, record_of
from mutation.faults import mutated_source
from mutation.guard import guarded
from mutation.mutants import mutants_of
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


def idle(a):
    b = a * 2
    return a
"""
TESTS = """
import os
import pytest
from gpo_analysis.statistics.one import down, grade, idle


@pytest.fixture(scope="module")
def graded():
    return grade(20)


def test_down():
    assert down(3) == 0


def test_graded(graded):
    assert graded == 1


def test_grade():
    assert grade(0) == 0


def test_idle():
    assert idle(1) == 1
"""


NEW_TEST = """

def test_the_boundary():
    assert (grade(10), grade(11)) == (0, 1)


def test_that_fails_elsewhere():
    assert idle(0) == 0
    assert "ELSEWHERE" not in os.environ
"""
#: Both campaigns in one process, so that modules are loaded once: all of it, then again with two tests more, one of
#: which fails where the faults are tried; and what was noticed there is joined to a copy of the first.
SCRIPT = """
import os, shutil, sys
from pathlib import Path
from mutation.__main__ import main
first, again, more = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
begun = ["--out", str(first)]
code = main([*begun, "trace"]) + main([*begun, "plan"]) + main([*begun, "run", "--limit", "0"])
assert not (first / "results.jsonl").exists()
code += main([*begun, "run", "--start", "2"])
shutil.copytree(first, again)
with (again / "tree/tests/statistics/test_one.py").open("a") as test:
    test.write(more)
code += main(["--out", str(again), "trace"])
os.environ["ELSEWHERE"] = "1"
code += main(["--out", str(again), "run", "--again", "--start", "2"]) - 1
joined = again.with_name("joined")
shutil.copytree(first, joined)
code += main(["--out", str(joined), "join", str(again)])
sys.exit(code + main([*begun, "report"]))  # at last, for it uses the library of this tree
"""


@dataclass(frozen=True)
class Made:
    """Two campaigns on a library of one module, the second with a test more, and the report of the first."""

    first: Path
    again: Path
    text: str
    said: str

    def verdicts(self, folder: Path) -> list[dict[str, Any]]:
        """Every line of results."""
        return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Both campaigns, made.

    Some 11 s of processor time: 32 faults, each tried by tests of its own and by a clock where it has no end.
    """
    folder = tmp_path_factory.mktemp("campaign")
    out = folder / "first"
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
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out), str(folder / "again"), NEW_TEST],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Made(out, folder / "again", done.stdout, done.stderr)


def test_faults_are_noticed_unnoticed_or_without_end(campaign: Made) -> None:
    lines = campaign.verdicts(campaign.first)
    found = {one["mutant"].split("::", 1)[1]: one for one in lines}
    assert len(found) == len(lines) == 16
    assert found["down::swap_op::1"]["verdict"] == "killed"  # >= 0 ends at -1
    assert found["down::swap_op::2"]["verdict"] == "timeout"  # n + 1 has no end
    assert found["grade::number::1"]["verdict"] == "killed"
    assert found["grade::number::2"]["verdict"] == "survived"  # > 11: no test stands at the boundary
    assert found["grade::swap_op::1"]["verdict"] == "survived"
    assert found["nobody::swap_op::1"]["verdict"] == "no test"
    assert found["grade::if_exp::1"]["by"].endswith("test_graded")  # of a fixture that the whole module shares
    assert (campaign.first / "tree" / "gpo_analysis" / "statistics" / "one.py").read_text() == LIBRARY


def test_the_report_counts_and_shows_them(campaign: Made) -> None:
    verdicts = [one["verdict"] for one in campaign.verdicts(campaign.first)]
    row = next(line for line in campaign.text.splitlines() if line.startswith("| statistics |"))
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    assert [int(cell) for cell in cells[2:7]] == [
        len(verdicts), *(verdicts.count(kind) for kind in ("killed", "timeout", "survived", "no test")),
    ]  # fmt: skip
    share = (verdicts.count("killed") + verdicts.count("timeout")) / len(verdicts)
    assert float(cells[-1].split()[0]) == pytest.approx(share, abs=0.02)
    shown = r"^-    return 1 if a > 10 else 0\n\+    return 1 if a > 11 else 0$"
    assert re.search(shown, campaign.text, re.MULTILINE)


def test_new_tests_alone_are_traced_and_survivors_meet_them(campaign: Made) -> None:
    test = "tests/statistics/test_one.py"
    before, after = record_of(test, campaign.first), record_of(test, campaign.again)
    assert before is not None
    assert after is not None
    old = f"{test}::test_down"
    assert after["seconds"].keys() - before["seconds"].keys() == {
        f"{test}::test_the_boundary", f"{test}::test_that_fails_elsewhere",
    }  # fmt: skip
    assert after["seconds"][old] == before["seconds"][old]
    assert after["lines"][old] == before["lines"][old]
    lines = campaign.verdicts(campaign.again)
    found = {one["mutant"].split("::", 1)[1]: one["verdict"] for one in lines}
    assert found["grade::swap_op::1"] == found["grade::number::2"] == "killed"
    assert len(lines) < 2 * 16


def test_a_test_that_fails_without_a_fault_notices_none(campaign: Made) -> None:
    found = campaign.verdicts(campaign.again)[16:]
    assert not [one for one in found if "elsewhere" in one["by"]]
    idle = [one for one in found if "::idle::" in one["mutant"]]
    assert {(one["verdict"], one["tests"]) for one in idle} == {("survived", 5)}  # all of the file but that one
    assert len(idle) == 3
    assert "without any fault fails tests/statistics/test_one.py::test_that_fails_elsewhere" in campaign.said


def test_verdicts_name_the_run_that_reached_them_and_those_of_two_machines_join(campaign: Made) -> None:
    joined = campaign.verdicts(campaign.first.with_name("joined"))
    last = {one["mutant"]: one for one in joined}
    again = {one["mutant"]: one for one in campaign.verdicts(campaign.again)}
    assert {name: one["verdict"] for name, one in last.items()} == {n: one["verdict"] for n, one in again.items()}
    runs = [json.loads(line) for line in (campaign.first.with_name("joined") / "runs.jsonl").read_text().splitlines()]
    known = {one["run"]: one for one in runs}
    assert len(known) == len(runs) == 3  # of which the one with no time tried nothing
    assert {one["run"] for one in joined} <= set(known)
    boundary = known[last["gpo_analysis/statistics/one.py::grade::number::2"]["run"]]
    assert boundary["versions"]["python"] == platform.python_version()
    assert boundary["tests"] != known[last["gpo_analysis/statistics/one.py::down::swap_op::1"]["run"]]["tests"]
    assert re.search(rf"^- run {runs[1]['run']}, .* 16 verdicts by 1 processes", campaign.text, re.MULTILINE)


def test_verdicts_on_other_code_do_not_join(campaign: Made, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(campaign.again, other)
    (other / "commit").write_text("1" * 40)
    with pytest.raises(ValueError, match="no results of these faults"):
        Campaign(campaign.first).join(Campaign(other))


def test_a_fault_of_a_file_that_has_changed_is_not_put_in(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def f(a):\n    return a + 1\n")
    (mutant,) = [one for one in mutants_of("one.py", tmp_path) if one.operator == "number"]
    assert mutated_source(mutant, tmp_path) == "def f(a):\n    return a + 2\n"
    (tmp_path / "one.py").write_text("def f(abc):\n    return abc + 1\n")
    with pytest.raises(LookupError, match="has changed"):
        mutated_source(mutant, tmp_path)


def test_what_is_known_of_unchanged_tests_moves_with_the_lines(tmp_path: Path) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    for folder, text in ((before, "a\nb\nc\nd\ne\n"), (now, "new\na\nb\nB\nX\nY\nd\n")):
        folder.mkdir()
        (folder / "one.py").write_text(text)
    (before / "gone.py").write_text("a\n")
    record = {"seconds": {"t": 1.0}, "lines": {"t": {"one.py": [1, 2, 3, 4, 5], "gone.py": [1]}, "u": {"one.py": [4]}}}
    found = carried(record, before, now)
    assert found["lines"] == {"t": {"one.py": [2, 3, 4, 5, 6, 7]}, "u": {"one.py": [7]}}
    assert found["seconds"] == record["seconds"]


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


def test_who_survives_some_tests_alone_keeps_the_earlier_ones() -> None:
    old = {"mutant": "m", "verdict": "survived", "by": "", "tests": 7, "left": 3, "seconds": 2.0}
    new = {"mutant": "m", "verdict": "survived", "by": "", "tests": 2, "left": 0, "seconds": 0.5}
    assert added(old, new) == {**old, "tests": 9, "seconds": 2.5}
    nothing = {**new, "verdict": "no test", "tests": 0, "seconds": 0.0}
    assert added(old, nothing) == old
    assert added({**nothing, "left": 0}, new) == {**new, "seconds": 0.5}
    killed = {**new, "verdict": "killed", "by": "test"}
    assert added(old, killed) == killed
    assert added(None, new) == new
    assert added({**old, "run": "a"}, {**new, "run": "b"})["run"] == "a+b"


def test_every_file_of_the_library_is_of_one_package_that_is_measured() -> None:
    sources = [source for area in areas() for source in area.sources if source.startswith("gpo_analysis/")]
    assert sorted(sources) == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "gpo_analysis").rglob("*.py"))


def test_equivalents_have_reasons() -> None:
    for name, reason in equivalents().items():
        assert (ROOT / name.split("::")[0]).is_file(), name
        assert len(reason.split()) >= 4, name
