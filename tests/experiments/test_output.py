"""What the commands say: disks and devices that are full, readers that leave, narrow terminals, missing packages."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.framework import runner
from gpo_analysis.records import find_records
from gpo_analysis.runs import latest_record, read_status

ROOT = Path(__file__).resolve().parents[2]


COMMANDS = (["experiments", "describe", "losses"], ["figures", "list"], ["benchmarks", "list"], ["llm", "--help"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_survives_ascii_and_a_reader_that_leaves(command: list[str]) -> None:
    call = [sys.executable, "-m", *command]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    read = subprocess.run(call, capture_output=True, cwd=ROOT, env=environment, timeout=3600, check=False)
    assert (read.returncode, read.stderr) == (0, b"")
    assert len(read.stdout.decode("ascii").splitlines()) > 3
    reader, writer = os.pipe()
    os.close(reader)
    try:
        gone = subprocess.run(call, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, timeout=3600, check=False)
    finally:
        os.close(writer)
    assert (gone.returncode, gone.stderr) == (0, b"")


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_record_that_cannot_be_written_is_a_failure_and_hides_no_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "losses", "--out", str(tmp_path), "--quiet"]
    assert main(command) == 0
    older = latest_record(tmp_path, "losses")
    monkeypatch.setattr(runner, "code_hash", lambda module: "0" * 16)
    monkeypatch.setattr(runner, "write_record", full)
    capsys.readouterr()
    assert main(command) == 1
    out, err = capsys.readouterr()
    assert "claims hold" not in out
    assert "failed: OSError: [Errno 28] No space left on device" in out
    assert "1 failed (losses)" in err
    status = read_status(tmp_path, "losses")
    assert status is not None
    assert (status.status, status.key) == ("failed", None)
    assert latest_record(tmp_path, "losses").key == older.key
    monkeypatch.undo()
    assert main(command) == 0  # and nothing is in the way of the next run
    assert len(find_records(tmp_path, "losses")) == 1


def test_a_status_that_cannot_be_noted_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "write_status", full)
    assert main(["run", "losses", "--out", str(tmp_path), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert "2 of 2 claims hold" in out  # it is there, and the report finds it
    assert "what became of losses could not be noted" in err
    assert "No space left on device" in err
    assert len(find_records(tmp_path, "losses")) == 1


def command(*arguments: str, **environment: str) -> tuple[list[str], dict[str, object]]:
    settings = {"PYTHONPATH": str(ROOT), **environment}
    return [sys.executable, "-m", *arguments], {"cwd": ROOT, "env": {**os.environ, **settings}}


@pytest.mark.parametrize("module", ["experiments", "figures"])
def test_a_reader_that_leaves_ends_the_command_quietly(module: str) -> None:
    line, settings = command(module, "list", PYTHONUNBUFFERED="1")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings) as running:  # type: ignore[call-overload]
        running.stdout.close()
        errors = running.stderr.read()
    assert errors == ""
    assert running.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("module", ["experiments", "figures"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_device_is_said_in_a_line(module: str, unbuffered: str) -> None:
    line, settings = command(module, "list", PYTHONUNBUFFERED=unbuffered)
    with Path("/dev/full").open("w") as device:
        done = subprocess.run(line, stdout=device, stderr=subprocess.PIPE, text=True, check=False, **settings)  # type: ignore[call-overload]
    assert done.returncode == 1
    (words,) = done.stderr.splitlines()
    assert words.startswith(f"{module}: ")
    assert words.endswith("No space left on device")


ONE_AFTER_ANOTHER = """
import json, sys
from experiments.__main__ import main
from gpo_analysis.cli.streams import guarded
for words in json.loads(sys.argv[1]):
    code = guarded("experiments", lambda: main(words))
    print(f"code {code}", end="\\f")
"""
"""Several commands by one process: what loads them is loaded once."""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "gbk", "utf-8"])
def test_output_survives_terminals_with_few_characters(encoding: str, tmp_path: Path) -> None:
    commands = [["list"], ["--help"], ["run", "losses", "--out", str(tmp_path)], ["list", "--json"]]
    line, settings = command("experiments", PYTHONIOENCODING=encoding)
    line[1:] = ["-c", ONE_AFTER_ANOTHER, json.dumps(commands)]
    done = subprocess.run(line, capture_output=True, check=False, **settings)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    *said, rest = done.stdout.decode(encoding).split("code 0\f")
    assert (len(said), rest) == (4, "")
    assert all(said)
    claims = {item["name"]: item["claim"] for item in json.loads(said[-1])}
    assert "κ" in claims["arguments"]


@pytest.mark.parametrize(
    ("module", "missing", "words"),
    [
        ("experiments", "tqdm", ("run", "losses")), ("experiments", "pyarrow", ("run", "losses")),
        ("figures", "markdown_it", ("list",)),
    ],
)  # fmt: skip
def test_without_an_extra_one_line_names_it(module: str, missing: str, words: tuple[str, ...]) -> None:
    code = f"import sys, runpy; sys.modules[{missing!r}] = None; runpy.run_module({module!r}, run_name='__main__')"
    _, settings = command(module)
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        **settings,  # type: ignore[call-overload]
    )
    assert done.returncode == 1
    assert (
        done.stderr == f"{module}: {missing} is not installed; it comes with: pip install 'gpo-analysis[experiments]'\n"
    )


def test_what_is_missing_of_this_project_is_no_matter_of_extras() -> None:
    from gpo_analysis.cli.extras import needs_extra

    with pytest.raises(ModuleNotFoundError, match="gpo_analysis"), needs_extra("experiments", "x"):
        raise ModuleNotFoundError("No module named 'gpo_analysis.nothing'", name="gpo_analysis.nothing")
