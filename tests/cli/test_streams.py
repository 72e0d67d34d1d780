"""What a terminal gets: any encoding, closed and full outputs, names that would steer it; and no traceback, ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from gpo_analysis.cli import main
from gpo_analysis.cli.streams import guarded

ALL = """
import sys
import warnings
from gpo_analysis.cli.main import _run
from gpo_analysis.cli.streams import guarded
verbs = ["losses", "analyze", "beta", "solve", "recommend-beta", "diagnose", "gaussians"]
calls = [[], ["--help"], *([verb, "--help"] for verb in verbs), ["losses"], ["analyze", "savage"], ["beta", "--list"],
    ["beta", "0.1", "--from", "trl:dpo", "--to", "trl:ipo"], ["solve", sys.argv[1], "--loss", "dpo"],
    ["solve", sys.argv[1], "--loss", "dpo", "--json"], ["recommend-beta", sys.argv[1], "--kl", "0.1", "--loss", "dpo"],
    ["diagnose", sys.argv[2], "--beta", "0.1"], ["gaussians"], ["analyze", "log(ζ)"], ["nonsense"]]
codes = [guarded("gpo", lambda: _run(call)) for call in calls]
sys.stdout.flush()
print("codes", *codes)
"""


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, timeout=3600, check=False)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    games, log = tmp_path / "games.csv", tmp_path / "log.csv"
    games.write_text("winner,loser,count\nJosé,日本,7\n日本,José,3\n", encoding="utf-8")
    log.write_text("policy_chosen,policy_rejected,ref_chosen,ref_rejected\n" + "-3,-4,-3.5,-4\n" * 5)
    return str(games), str(log)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "gbk", "utf-8"])
def test_every_verb_in_every_encoding(files: tuple[str, str], encoding: str) -> None:
    done = run(ALL, *files, PYTHONIOENCODING=encoding)
    assert b"Traceback" not in done.stderr
    said = done.stdout.decode(encoding)
    assert said.splitlines()[-1] == f"codes 2 {'0 ' * 17}2 2"
    document = said[said.index('{\n  "items"') : said.index("\n}\n", said.index('{\n  "items"')) + 2]
    assert json.loads(document)["items"] == ["José", "日本"]
    assert ("kappa" if encoding in ("ascii", "cp1252", "latin-1") else "κ") in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_full_and_closed_outputs_end_in_one_line() -> None:
    start = "import sys, os; from gpo_analysis.cli import main; "
    for call in ("['--help']", "['beta', '--list']", "['losses', '--json']"):
        done = run(start + f"os.dup2(os.open('/dev/full', os.O_WRONLY), 1); main({call})")
        assert (done.returncode, done.stderr) == (1, b"gpo: No space left on device\n")
        gone = run(start + f"r, w = os.pipe(); os.close(r); os.dup2(w, 1); main({call})")
        assert (gone.returncode, gone.stderr) == (0, b"")
    closed = run(start + "sys.stdout = None; main(['beta', '--list'])")
    assert (closed.returncode, closed.stderr) == (0, b"")


def ends(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    """Exit code and what was said; a failure is one line."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr()
    if left.value.code:
        assert said.err.count("\n") == 1
        assert said.err.startswith("gpo: ")
    return left.value.code, said.out, said.err


STEERS = "\x1b[2J\x1b]0;owned\x07"


def test_names_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "games.csv"
    path.write_text(f'winner,loser,count\n"a{STEERS}",b\u202eevil,3\nb\u202eevil,"a{STEERS}",1\nb\u202eevil,"two\nlines",2\n'
                    f'"two\nlines",b\u202eevil,1\n', encoding="utf-8")  # fmt: skip
    code, out, _ = ends(capsys, "solve", str(path), "--loss", "dpo", "--bootstrap", "3")
    assert code == 0
    assert not set(out) & {"\x1b", "\x07", "\u202e"}
    assert "\\x1b[2J" in out
    rows = [line for line in out.splitlines() if "two" in line]
    assert rows
    assert all("two\\nlines" in line for line in rows)
    code, out, _ = ends(capsys, "solve", str(path), "--loss", "dpo", "--json")
    assert not set(out) & {"\x1b", "\x07", "\u202e"}
    assert json.loads(out)["items"] == [f"a{STEERS}".strip(), "b\u202eevil", "two\nlines"]
    code, _, err = ends(capsys, "solve", str(tmp_path / f"{STEERS}.csv"))
    assert code == 1
    assert "\x1b" not in err


def test_long_names_leave_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "games.csv"
    path.write_text(f"winner,loser,count\n{'x' * 200_000},b,3\nb,{'x' * 200_000},1\n")
    code, out, _ = ends(capsys, "solve", str(path), "--loss", "dpo")
    assert code == 0
    assert max(map(len, out.splitlines())) < 160


@pytest.mark.parametrize(
    ("rows", "arguments", "word"),
    [
        ("a,b,1e9\nb,a,1e9\n", ("solve", "--held-out", "3"), "at most 20,000,000, got 2e+09"),
        ("a,b,1e299\nb,a,1e299\n", ("solve", "--bootstrap", "3"), "at most 4.6e+18, got 2e+299"),
        ("a,b,1e299\nb,a,1e299\n", ("recommend-beta", "--kl", "0.1"), "at most 4.6e+18, got 2e+299"),
        ("a,b,1e308\nb,a,1e308\n", ("solve",), "accepted are counts of at most 1e+300 together"),
        ("a,b,3\nb,a,1\n", ("solve", "--bootstrap", "9" * 20), "at most 100,000"),
        ("a,b,3\nb,a,1\n", ("recommend-beta", "--kl", "0.1", "--resamples", "9" * 20), "at most 100,000"),
        ("a,b,3\nb,a,1\n", ("recommend-beta", "--kl", "nan"), "kl"),
        ("a,b,3\nb,a,1\n", ("solve", "--beta", "1e999"), "beta"),
        ("a,b,3\nb,a,1\n", ("solve", "--held-out", "9" * 20), "folds"),
    ],
)
def test_what_is_too_large_is_refused_with_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: str, arguments: tuple[str, ...], word: str
) -> None:
    path = tmp_path / "games.csv"
    path.write_text("winner,loser,count\n" + rows)
    code, _, err = ends(capsys, arguments[0], str(path), "--loss", "dpo", *arguments[1:])
    assert code == 2
    assert word in err


def test_the_smallest_budget_that_was_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "canned.csv"
    path.write_text("prompt,winner,loser,count\np1,Yes.,No.,9\np1,No.,Yes.,1\np2,No.,Yes.,9\np2,Yes.,No.,1\n")
    for kl, beta in (("0.1", 2.329), ("1e-20", 7.768e9)):
        code, out, _ = ends(capsys, "recommend-beta", str(path), "--kl", kl, "--loss", "dpo", "--json")
        found = json.loads(out)
        assert code == 0
        assert found["recommendations"][0]["beta"] == pytest.approx(beta, rel=2e-4)
        assert found["prompts"] == 2
        assert "2 prompts: items are compared within a prompt" in found["report"]["notes"]


def test_prompts_are_fitted_apart_or_pooled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "canned.csv"
    path.write_text("prompt,winner,loser,count\np1,Yes.,No.,9\np1,No.,Yes.,1\np2,No.,Yes.,3\np2,Yes.,No.,1\n")
    found = json.loads(ends(capsys, "solve", str(path), "--loss", "dpo", "--json")[1])
    assert list(found["prompts"]) == ["p1", "p2"]
    scores = {name: part["fits"]["logistic"]["scores"][0] for name, part in found["prompts"].items()}
    assert scores == pytest.approx({"p1": 1.0986123, "p2": 0.5493061})
    pooled = json.loads(ends(capsys, "solve", str(path), "--loss", "dpo", "--json", "--across-prompts")[1])
    assert pooled["fits"]["logistic"]["scores"][0] == pytest.approx(0.4581454)  # ½ log 10/4
    assert pooled["report"]["rows"] == 4
    assert pooled["ties"] == "none"
    out = ends(capsys, "solve", str(path), "--loss", "dpo")[1]
    assert "=== p1" in out
    assert "2 prompts" in out


def test_gpo_beta_has_the_options_that_its_advice_names(capsys: pytest.CaptureFixture[str]) -> None:
    marked = ends(capsys, "beta", "0.1", "--from", "trl:dpo", "--to", "trl:ipo")[1]
    assert "0.025 × T   (for responses of T tokens" in marked  # 0.1 κ(dpo)/(2 κ(ipo)), times the length
    assert "--tokens T" in marked
    call = ("beta", "0.1", "--from", "trl:dpo", "--to", "trl:ipo", "--json", "--tokens", "200")
    assert json.loads(ends(capsys, *call)[1])["value"] == pytest.approx(5.0)
    robust = ("beta", "0.1", "--from", "trl:robust", "--to", "gpo:dpo", "--json")
    assert json.loads(ends(capsys, *robust)[1])["exact"] is False
    assert json.loads(ends(capsys, *robust, "--label-smoothing", "0.1")[1])["value"] == pytest.approx(0.08)
    hinge = ("beta", "0.1", "--from", "trl:hinge", "--to", "gpo:dpo", "--json")
    assert "eta" in ends(capsys, *hinge)[2]
    assert json.loads(ends(capsys, *hinge, "--eta", "0.8")[1])["value"] == pytest.approx(0.138629436)
    for value in ("1e-160", "1e200", "1e308"):
        code, _, err = ends(capsys, "beta", value, "--from", "trl:ipo", "--to", "gpo:ipo")
        assert code == 2
        assert "no float holds" in err


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (TypeError("odd"), 3, "a fault of the program: TypeError: odd"),
        (RecursionError("deep"), 3, "RecursionError"),
        (OverflowError("large"), 3, "OverflowError"),
        (MemoryError("7 GiB"), 1, "not enough memory: 7 GiB"),
        (ValueError("bad\nvalue \x1b[1m"), 2, "gpo: bad value \\x1b[1m\n"),
        (FileNotFoundError(2, "No such file", "x.csv"), 1, "x.csv: No such file"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_whatever_is_raised_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, word: str
) -> None:
    def run() -> None:
        raise error

    assert guarded("gpo", run) == code
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1


def test_warnings_are_a_line_each_and_none_beside_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def warn(error: Exception | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            for _ in range(3):
                warnings.warn("overflow", RuntimeWarning, stacklevel=1)
        if error is not None:
            raise error

    assert guarded("gpo", warn) == 0
    assert capsys.readouterr().err == "gpo: warning: overflow\n"
    assert guarded("gpo", lambda: warn(ValueError("bad"))) == 2
    assert capsys.readouterr().err == "gpo: bad\n"


@pytest.mark.parametrize("arguments", [("--scale", "1e-320"), ("--modes", "1e90"), ("--width", "1e50")])
def test_landscapes_that_the_grid_does_not_resolve_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, str]
) -> None:
    with np.errstate(all="ignore"):
        code, _, err = ends(capsys, "gaussians", *arguments)
    assert code == 2
    assert "does not resolve this example" in err


def test_a_fault_of_the_program_shows_where_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPO_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        guarded("gpo", lambda: 1 // 0)


@pytest.mark.parametrize("module", ["gpo_analysis", "gpo_analysis.cli"])
def test_the_package_runs_as_a_module(module: str) -> None:
    command = [sys.executable, "-m", module, "beta", "0.1", "--from", "trl:ipo", "--to", "gpo:ipo"]
    found = subprocess.run(command, capture_output=True, timeout=3600, check=False)
    assert found.returncode == 0, found.stderr
    assert b"0.2 " in found.stdout, "(ρ − 1/(2·0.1))² and (βρ − 1)² have their minimum at the same ρ for β = 0.2"


def test_ctrl_c_in_a_finalizer_is_not_lost() -> None:
    script = """
import time
from gpo_analysis.cli.streams import guarded

class Freed:
    def __del__(self):
        raise KeyboardInterrupt  # what a signal does that comes while this runs

def work():
    Freed()
    time.sleep(60)

raise SystemExit(guarded("gpo", work))
"""
    found = run(script)
    assert (found.returncode, found.stderr) == (130, b"gpo: interrupted\n")
