"""One run a folder: who holds it is named, and it goes with its process, however that ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpo_analysis.locks import FolderBusy, lock_of, run_lock

ROOT = Path(__file__).resolve().parents[1]
HOLD = """
    import os, sys, time
    from gpo_analysis.locks import run_lock
    with run_lock(sys.argv[1], "python -m demo"):
        {inside}
        print(os.getpid(), flush=True)
        sys.stdin.read()
"""
FORK = """
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, b"1")
            time.sleep(600)
            os._exit(0)
        os.read(read, 1)  # it runs
        print(child, flush=True)
"""


@contextmanager
def holder(folder: Path, inside: str = "") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", textwrap.dedent(HOLD.format(inside=inside)), str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def test_a_second_run_is_refused_and_told_who_is_at_work(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        pid = process.stdout.readline().strip()  # type: ignore[union-attr]
        message = rf"process {pid} on {socket.gethostname()} \(python -m demo\) is at work in .*; wait for it"
        with pytest.raises(FolderBusy, match=message), run_lock(tmp_path, "another"):
            pass
        assert process.communicate("")[0] == ""
    assert list(tmp_path.iterdir()) == []
    with run_lock(tmp_path, "another"):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_holds_nothing_even_where_its_child_lives_on(tmp_path: Path) -> None:
    with holder(tmp_path, FORK) as process:
        child = int(process.stdout.readline())  # type: ignore[union-attr]
        process.stdout.readline()  # type: ignore[union-attr]
        process.kill()
        process.wait()
        try:
            with run_lock(tmp_path, "the rerun"):
                os.kill(child, 0)  # it lives
        finally:
            os.kill(child, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_given_back_when_the_run_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), run_lock(tmp_path, "one"):
        raise KeyError
    with (
        run_lock(tmp_path, "two"),
        pytest.raises(FolderBusy, match=rf"process {os.getpid()} "),
        run_lock(tmp_path, "three"),
    ):
        pass


def test_cleaning_waits_for_no_writer_and_writers_share(tmp_path: Path) -> None:
    with (
        lock_of(tmp_path, exclusive=False) as first,
        lock_of(tmp_path, exclusive=False) as second,
        lock_of(tmp_path, exclusive=True) as cleaning,
    ):
        assert (first, second, cleaning) == (True, True, False)
    with lock_of(tmp_path, exclusive=True) as cleaning:
        assert cleaning
