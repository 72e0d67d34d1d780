"""The runner, as a user meets it: in processes of its own, on a small project with experiments made for the purpose."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from gpo_analysis.records import find_records, read_record
from tests.experiments.project import GOOD, add, append, run, table_of


def test_list_for_people_and_for_programs(project: Path) -> None:
    assert "slow" in run(project, "list").stdout
    listed = json.loads(run(project, "list", "--json").stdout)
    claim = "Cells can be done in any order."
    assert listed == [{"name": "slow", "claim": claim, "figure": "slow", "fields": ["cells", "seconds", "seed"]}]


def test_a_run_writes_a_record_with_everything_about_it(project: Path) -> None:
    done = run(project, "run", "slow", "--out", "out")
    assert (done.returncode, "1 of 1 claims hold" in done.stdout, "8/8" in done.stderr) == (0, True, True)
    (folder,) = find_records(project / "out", "slow")
    record = read_record(folder)
    assert record.config == {"cells": 8, "seconds": 0.0, "seed": 5}
    assert record.meta["seed"] == 5
    assert record.meta["preset"] == "quick"
    assert record.meta["wall_seconds"] > 0
    assert record.meta["versions"]["python"] == sys.version.split()[0]
    assert record.meta["git"] == {"commit": None, "dirty": None}
    assert record.meta["device"]["cores"] >= 1
    assert record.meta["checks"][0]["holds"] is True
    assert record.table["index"].tolist() == [i for i in range(8) for _ in range(3)]
    assert [path.name for path in (project / "out").iterdir() if not path.name.startswith(".")] == ["slow"]


def test_the_number_of_processes_does_not_change_the_table(project: Path) -> None:
    for jobs in (1, 2):
        assert run(project, "run", "slow", "--out", f"out{jobs}", "--jobs", jobs).returncode == 0
    pd.testing.assert_frame_equal(table_of(project / "out1"), table_of(project / "out2"))


def test_what_is_there_is_not_computed_again_until_the_code_or_the_configuration_changes(project: Path) -> None:
    def folders() -> list[str]:
        assert run(project, "all", "--out", "out", "--quiet").returncode == 0
        return [folder.name for folder in find_records(project / "out", "slow")]

    first = folders()
    stamp = (project / "out" / "slow" / first[0] / "record.json").stat().st_mtime_ns
    assert folders() == first
    assert (project / "out" / "slow" / first[0] / "record.json").stat().st_mtime_ns == stamp
    add(project, "another", GOOD.replace("slow", "another"))
    assert folders() == first
    add(project, "slow", GOOD.replace("seed: int = 5", "seed: int = 6"))
    assert len(folders()) == 2
    append(project, "framework/checks.py", "# something it imports\n")
    assert len(folders()) == 3
    assert run(project, "all", "--out", "out", "--preset", "paper").returncode == 0
    assert len(find_records(project / "out", "slow")) == 4


def test_the_paragraph_on_what_was_found_is_kept_with_the_checks(project: Path) -> None:
    add(project, "slow", GOOD + "\ndef summary(config, table):\n    return f'Of {len(table)} rows\\n  none.\\n'\n")
    assert run(project, "run", "slow", "--out", "out").returncode == 0
    (folder,) = find_records(project / "out", "slow")
    assert read_record(folder).meta["summary"] == "Of 24 rows none."


def test_a_record_says_what_made_the_study_that_it_reads(project: Path) -> None:
    made = "{'git': {'commit': 'abc'}, 'rows': len(table)}"
    add(project, "slow", GOOD + f"\ndef provenance(table):\n    return {made}\n")
    assert run(project, "run", "slow", "--out", "out").returncode == 0
    (folder,) = find_records(project / "out", "slow")
    assert read_record(folder).meta["study"] == {"git": {"commit": "abc"}, "rows": 24}


@pytest.mark.parametrize(("body", "words"), [("1 / 0", "ZeroDivisionError"), ("''", "summary returned ''"), ("3", "3")])
def test_a_summary_that_fails_is_a_failure_of_the_experiment(project: Path, body: str, words: str) -> None:
    add(project, "slow", GOOD + f"\ndef summary(config, table):\n    return {body}\n")
    done = run(project, "run", "slow", "--out", "out")
    assert (done.returncode, words in done.stdout) == (1, True)
    assert find_records(project / "out") == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "slwo"), "no experiment 'slwo'; did you mean 'slow'?"),
        (("run", "slow", "zzz"), "no experiment 'zzz'; accepted are slow"),
        (("run", "slow", "--jobs", "0"), "'0' is no whole number that is accepted (1 and more)"),
        (("run", "slow", "--jobs", "two"), "'two' is no whole number"),
        (("run", "slow", "--preset", "huge"), "invalid choice"),
        (("run",), "NAME"),
        ((), "command"),
    ],
)
def test_bad_arguments_are_told_in_a_line(project: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run(project, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_that_fails_does_not_stop_the_others(project: Path, jobs: int) -> None:
    add(
        project,
        "broken",
        GOOD.replace("time.sleep(", "raise RuntimeError('no such\\nluck') if True else (").replace("slow", "b"),
    )
    add(project, "unloadable", "CLAIM = 'x'\nimport nonsense_module")
    add(project, "partial", "CLAIM = 'x'\nFIGURE = 'y'")
    add(project, "no_check", GOOD.replace("return [Check", "raise KeyError('column')\n    return [Check"))
    add(project, "no_frame", GOOD.replace("return pd.DataFrame(", "return dict("))
    add(project, "twice", GOOD.replace('"index": i}', '"index": 0}'))
    add(project, "nan_cell", GOOD.replace('"index": i}', '"index": i * float("nan")}'))
    add(project, "absent", GOOD.replace("return [{", "raise NotRun('needs data that is not here')\n    return [{"))
    done = run(project, "all", "--out", "out", "--jobs", jobs)
    assert done.returncode == 1
    told = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "claims hold" in told["slow"]
    assert "RuntimeError: no such luck (cell" in told["broken"]
    assert "nonsense_module" in told["unloadable"]
    assert "lacks PRESETS, cells, run, check" in told["partial"]
    assert "KeyError" in told["no-check"]
    assert "run returned a dict" in told["no-frame"]
    assert "8 cells, 1 of them distinct" in told["twice"]
    assert "is nan" in told["nan-cell"]
    assert "not run: needs data" in told["absent"]
    assert "7 failed (broken, nan-cell, no-check, no-frame, partial, twice, unloadable)" in done.stderr
    status = json.loads((project / "out" / ".status" / "broken.json").read_text())
    assert "RuntimeError" in status["traceback"]
    assert [folder.parent.name for folder in find_records(project / "out")] == ["slow"]


def test_one_that_cannot_be_read_does_not_hide_the_others(project: Path) -> None:
    for name, text in (("unloadable", "import nonsense_module"), ("half", "CLAIM = 'x\n"), ("zero", "1 / 0")):
        add(project, name, text)
    listed = run(project, "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    told = {line.split()[0]: line for line in listed.stdout.splitlines() if line.strip()}
    assert "Cells can be done in any order." in told["slow"]
    assert "cannot be loaded: No module named 'nonsense_module'" in told["unloadable"]
    assert "cannot be loaded: unterminated string literal" in told["half"]
    assert "cannot be loaded: division by zero" in told["zero"]
    for name, words in (("half", "SyntaxError"), ("zero", "ZeroDivisionError")):
        done = run(project, "describe", name)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"experiments: {name}: cannot be loaded: {words}: ")


def test_only_not_run_is_no_failure(project: Path) -> None:
    add(project, "slow", GOOD.replace("return [{", "raise NotRun('no GPU')\n    return [{"))
    assert run(project, "all", "--out", "out").returncode == 0


def test_a_folder_that_cannot_be_written_is_told_in_a_line(project: Path) -> None:
    (project / "file").write_text("")
    done = run(project, "all", "--out", "file/out", "--quiet")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "file/out" in done.stderr


def test_data_folder_reaches_the_experiment(project: Path) -> None:
    add(project, "slow", GOOD.replace("index):\n", "index):\n    import os; assert os.environ['GPO_DATA']\n"))
    assert run(project, "all", "--out", "out", "--data", ".").returncode == 0
