"""The bounded part of ``python -m fuzz.options``, what it found before, and that it finds a fault that is put in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fuzz.options import Call, End, _processor_seconds, faults_of
from fuzz.parsers import verbs

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import argparse, contextlib, io, json, random, sys, tempfile
from pathlib import Path
from fuzz import options
from fuzz.parsers import verbs
from gpo_analysis.cli.arguments import Parser
import gpo_analysis.cli.losses as losses

def campaign(*words):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as errors:
        code = options.main(["--json", *words])
    return code, json.loads(out.getvalue()), errors.getvalue()

def once(program, *words):
    verb = next(one for one in verbs(program) if list(one.words) == list(words[: len(one.words)]))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "a" / "b"
        place.mkdir(parents=True)
        options.laid(place, random.Random(0))
        call = options.Call(verb, list(words), [("", words[-1])])
        end = options.ended(call, place)
        (place / "sealed").chmod(0o700)
    return end.code, options.faults_of(call, end), end.errors

programs = [word for one in ("gpo", "experiments", "figures") for word in ("--program", one)]
found = {"whole": campaign("--count", "16", "--seed", "3", *programs)}
found["once"] = [once(*words) for words in json.loads(sys.argv[1])]
plain = Parser.error

def leaving(self, message):
    Path("half").touch()
    plain(self, message)

Parser.error = leaving
found["written"] = campaign("--count", "6", "--program", "experiments")
Parser.error = argparse.ArgumentParser.error
found["lines"] = campaign("--count", "6", "--program", "experiments")
losses.losses.callback = lambda **_: {}["x"]
found["traceback"] = once("gpo", "losses")
print(json.dumps(found))
"""
ONCE_FAULTY = (
    ("figures", "all", "--records", "nonsense"),  # a line for each of 36 figures
    ("experiments", "run", "losses", "--jobs", "%s"),  # argparse's usage before the line; "invalid _positive value"
    ("experiments", "compare", "records", "records", "--atol", "-1"),
    ("gpo", "solve", "votes.csv", "--out", "sealed/x.csv"),
    ("gpo", "gaussians", "--figure", "missing/x.png"),
)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """All of it in one process, which may fork and need not import everything several times.

    Some 13 s of processor time: some twenty command lines, each of a program that loads what it needs.
    """
    command = [sys.executable, "-c", SCRIPT, json.dumps(ONCE_FAULTY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_command_lines_end_in_a_line(found: dict[str, Any]) -> None:
    code, counts, said = found["whole"]
    assert code == 0, said
    total = {end: sum(one.get(end, 0) for one in counts.values()) for end in ("calls", "code 0", "code 2")}
    assert total["calls"] == 16
    assert min(total.values()) > 1  # some are accepted, some are not


def test_what_was_found_before_is_a_line_now(found: dict[str, Any]) -> None:
    for words, (code, faults, said) in zip(ONCE_FAULTY, found["once"], strict=True):
        assert (code in (1, 2), faults) == (True, []), (words, said)


def test_a_fault_that_is_put_in_is_counted(found: dict[str, Any]) -> None:
    for fault in ("written", "lines"):
        code, counts, _ = found[fault]
        assert code == 1
        assert counts["experiments"].get(fault, 0) > 0
    assert found["traceback"][:2] == [3, ["traceback"]]


def test_verdicts() -> None:
    verb = verbs("gpo")[0]
    call = Call(verb, [*verb.words, "--kl", "x\x1b[31m"], [("--kl", "x\x1b[31m")])
    assert faults_of(call, End(2, "", "gpo: --kl is no number\n", (), 0.1)) == []
    assert faults_of(call, End(2, "", "gpo: that is wrong\n", (), 0.1)) == ["nameless"]
    assert faults_of(call, End(2, "", "gpo: is\ngpo: --kl\n", ("half",), 0.1)) == ["lines", "written"]
    assert faults_of(call, End(0, "\x1b[31m", "", (), 0.1)) == ["unseen"]
    assert faults_of(call, End(7, "", "gpo: --kl\n", (), 0.1)) == ["code"]
    assert faults_of(call, End(1, "", "Traceback (most recent call last):\n", (), 0.1)) == ["traceback"]
    assert faults_of(call, End(None, "", "", (), 3.0)) == []  # still at work: not a fault
    assert faults_of(call, End(None, "", "", (), 60.0, idle=True)) == ["hang"]
    assert (
        faults_of(Call(verb, ["explore", "votes.csv"], []), End(None, "", "", (), 60.0, idle=True)) == []
    )  # it serves


def test_what_a_group_of_processes_has_used_is_counted() -> None:
    work = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'sum(range(10**7))']); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", work], start_new_session=True) as process:
        idle = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
        while _processor_seconds(process.pid) < 0.1:
            assert process.poll() is None
            time.sleep(0.05)
        assert _processor_seconds(idle.pid) < 1.0
        idle.communicate(b"\n")
        process.kill()


def test_every_verb_of_every_program_has_its_options() -> None:
    known = {"gpo": "solve", "experiments": "compare", "figures": "report", "llm": "run"}
    for program, name in known.items():
        assert name in [one.words[-1] for one in verbs(program)]
    (train,) = verbs("llm train")
    assert {"--loss", "--beta", "--max-length"} <= {name for one in train.options for name in one.names}
