"""The gpo command within this process, which spares its start: exit code, output, errors."""

from __future__ import annotations

import json
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
