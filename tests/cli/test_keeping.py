"""Files beside what is printed: every verb that prints a table has --out, every one that could draw --figure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.shell_completion import get_completion_class

from gpo_analysis.cli.keeping import FIGURES, TABLES, keep, save_table
from gpo_analysis.cli.main import gpo, main
from gpo_analysis.showing.charts import intervals
from gpo_analysis.showing.draw import figure_of

#: What has no chart, and why.
NO_FIGURE = {
    "beta": "one number", "conventions": "formulas", "audit-log": "a name", "explore": "it serves a page of them",
}  # fmt: skip


def options_of(verb: str) -> set[str]:
    return {option for parameter in gpo.commands[verb].params for option in parameter.opts}


@pytest.mark.parametrize("verb", gpo.commands)
def test_verbs_have_the_options(verb: str) -> None:
    options = options_of(verb)
    assert ("--out" in options) == (verb != "explore")
    assert ("--json" in options) == (verb != "explore")
    assert ("--figure" in options) == (verb not in NO_FIGURE)


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main([str(part) for part in arguments])
    return left.value.code


@pytest.mark.parametrize("ending", TABLES)
def test_a_table_by_its_ending(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"found{ending.upper()}"
    assert run("beta", "0.1", "--from", "trl:ipo", "--to", "gpo:ipo", "--out", path) == 0
    told = capsys.readouterr()
    assert f"wrote {path}" in told.err
    assert "gpo:squared 0.2" in told.out
    read = {
        ".csv": pd.read_csv, ".json": lambda p: pd.DataFrame(json.loads(p.read_text())), ".parquet": pd.read_parquet,
        ".md": lambda p: pd.read_table(p, sep=r"\s*\|\s*", engine="python", skiprows=[1]),
    }[ending](path)  # fmt: skip
    assert float(read["value"].iloc[0]) == pytest.approx(0.2)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == [path.name]


@pytest.mark.parametrize("ending", FIGURES)
def test_a_figure_by_its_ending(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"found{ending}"
    assert run("analyze", "dpo", "--figure", path) == 0
    head = path.read_bytes()[:400]
    assert {".png": b"PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[ending] in head


@pytest.mark.parametrize(
    ("option", "name", "accepted"),
    [
        ("--out", "t.xlsx", ".csv, .json, .parquet or .md"),
        ("--out", "t", ".csv"),
        ("--figure", "t.gif", ".png, .pdf or .svg"),
    ],
)
def test_another_ending_is_refused_at_once(
    option: str, name: str, accepted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("solve", "no-such-file.csv", option, tmp_path / name) == 2
    told = capsys.readouterr().err
    assert "accepted are files ending in " + accepted in told
    assert told.count("\n") == 1


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("beta", "0.1", "--from", "trl:ipo", "--to", "gpo:ipo", "--out", tmp_path / "none" / "t.csv") == 1
    assert capsys.readouterr().err == f"gpo: {tmp_path / 'none'}: no such folder\n"


def test_a_file_is_replaced_whole_or_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("before")
    table = pd.DataFrame({"x": [1.0]})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpo_analysis.files.os.fsync", full)
    with pytest.raises(OSError, match="nothing half-written"):
        save_table(table, path)
    assert path.read_text() == "before"
    monkeypatch.undo()
    save_table(table, path)
    assert path.read_text() == "x\n1.0\n"


def test_not_a_number_is_null_in_json(tmp_path: Path) -> None:
    save_table(pd.DataFrame({"x": [1.0, np.nan, np.inf]}), tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == [{"x": 1.0}, {"x": None}, {"x": None}]


def test_a_figure_is_as_high_as_its_rows() -> None:
    few, many = (figure_of(intervals("t", "x", [str(k) for k in range(n)], np.arange(float(n)))) for n in (3, 60))
    assert many.get_figheight() > 2 * few.get_figheight()
    assert keep.__doc__


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_verbs_and_options(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = get_completion_class(shell)
    assert kind is not None
    completion = kind(gpo, {}, "gpo", "_GPO_COMPLETE")
    if shell != "bash":  # which asks an installed bash for its version
        assert "_GPO_COMPLETE" in completion.source()
    found = {item.value for item in completion.get_completions([], "con")}
    assert found == {"conventions"}
    found = {item.value for item in completion.get_completions(["solve"], "--fi")}
    assert found == {"--figure"}
    found = {item.value for item in completion.get_completions(["solve", "--ties"], "")}
    assert found == {"half", "davidson", "rao-kupper"}
    assert isinstance(gpo, click.Group)
    assert f"_GPO_COMPLETE={'bash'}_source" in str(gpo.epilog)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash is installed")
def test_a_running_bash_completes_verbs_options_losses_and_conventions(tmp_path: Path) -> None:
    called = tmp_path / "gpo"
    called.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gpo_analysis.cli "$@"\n')
    called.chmod(0o755)
    script = """
    eval "$(_GPO_COMPLETE=bash_source gpo)" && complete -p gpo
    ask() {
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
      _gpo_completion gpo "${COMP_WORDS[$COMP_CWORD]}"; echo "${COMPREPLY[*]}"
    }
    ask gpo dia; ask gpo solve --f; ask gpo analyze sav; ask gpo beta 0.1 --to trl:ip; ask gpo solve f.csv --loss s
    """
    settings = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", script], env=settings, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "-F _gpo_completion gpo" in lines[0]
    assert lines[1:5] == ["diagnose", "--figure", "savage", "trl:ipo"]
    assert set(lines[5].split()) >= {"squared", "savage", "slic", "sft", "sppo_hard"}
    assert all(name.startswith("s") for name in lines[5].split())
