"""A lone file beside its place: whole or not at all, nothing left, many writers at once, what a killed one left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpo_analysis.files import write_beside

WRITER = """
import sys
from gpo_analysis.files import write_beside
for k in range(30):
    write_beside(sys.argv[1], sys.argv[2].encode() * 20_000)
"""


def test_it_is_written_and_nothing_else_is_there(tmp_path: Path) -> None:
    write_beside(tmp_path / "a.csv", b"1")
    write_beside(tmp_path / "a.csv", b"2")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.csv", b"2")]


@pytest.mark.skipif(sys.platform == "win32", reason="locks")
def test_four_writers_leave_one_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    command = [sys.executable, "-c", WRITER, str(target)]
    running = [subprocess.Popen([*command, letter], stderr=subprocess.PIPE, text=True) for letter in "abcd"]
    for process in running:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
    data = target.read_bytes()
    assert data in [letter.encode() * 20_000 for letter in "abcd"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_a_killed_writer_left_is_removed_by_the_next_and_other_files_are_not(tmp_path: Path) -> None:
    killed = "import os, sys; from pathlib import Path; from gpo_analysis.files import write_beside\n"
    killed += "Path.replace = lambda *_: os.kill(os.getpid(), 9)\nwrite_beside(sys.argv[1], b'half')"
    done = subprocess.run([sys.executable, "-c", killed, str(tmp_path / "a.csv")], check=False)
    assert done.returncode == -signal.SIGKILL
    (part,) = tmp_path.iterdir()
    assert part.name.startswith(".a.csv.")
    others = tmp_path / ".a.csv.mine", tmp_path / ".ab.csv.0123.part"
    for other in others:
        other.write_text("x")
    write_beside(tmp_path / "a.csv", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", *(other.name for other in others)}


@pytest.mark.parametrize("name", ["none/a.csv", "file/a.csv", "folder"])
def test_where_it_cannot_be_written_that_is_said_and_what_was_there_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="was not written"):
        write_beside(tmp_path / name, b"1")
    assert sorted(tmp_path.iterdir()) == before
