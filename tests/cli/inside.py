"""The gpo command within this process, which spares its start: exit code, output, errors."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from gpo_analysis.cli import main


class Gpo:
    """Runs the command and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        captured = self.capsys.readouterr()
        code = left.value.code
        return code if isinstance(code, int) else 0, captured.out, captured.err

    def document(self, *arguments: str) -> Any:
        """The JSON that is printed."""
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def gpo(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What a process of its own would have printed and returned (`tests.cli.test_cli` compares some with one)."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(streams[0]))
        stack.enter_context(contextlib.redirect_stderr(streams[1]))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default")  # said, and no errors as in tests
        for silent in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):  # Python's own
            warnings.simplefilter("ignore", silent)
        if cwd is not None:
            stack.enter_context(contextlib.chdir(cwd))
        left = stack.enter_context(pytest.raises(SystemExit))
        main(list(arguments))
    out, err = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(["gpo", *arguments], left.value.code or 0, out, err)  # type: ignore[arg-type]


def as_json(*arguments: str) -> Any:
    """The JSON that is printed."""
    done = gpo(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
