"""Work spread over processes and stopped by Ctrl-C: one line's worth of noise, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, pathlib, signal, sys, time
from llm.devices import spread

def work(folder, job):
    held = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    pathlib.Path(folder, f"{os.getpid()}").write_text(str(held))
    time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        spread(work, range(4), sys.argv[1], processes=2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_workers_at_once_and_without_a_word(tmp_path: Path) -> None:
    script, pids = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(SCRIPT)
    pids.mkdir()
    with subprocess.Popen(
        [sys.executable, str(script), str(pids)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as running:
        while running.poll() is None and sum(bool(path.read_text()) for path in pids.iterdir()) < 2:
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate()
    assert running.returncode == 130
    assert errors == ""
    assert [path.read_text() for path in pids.iterdir()] == ["True", "True"]
    for path in pids.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)
