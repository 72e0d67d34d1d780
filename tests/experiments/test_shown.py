"""What is shown of a record at a terminal, and what a recheck says that it wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from experiments.__main__ import main
from experiments.framework import Check
from experiments.framework.checks import verdict_of
from experiments.framework.shown import shown
from gpo_analysis.records import Record, find_records, write_record
from gpo_analysis.runs import latest_record
from gpo_analysis.statistics import Interval

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


def record(*checks: Check, **meta: object) -> Record:
    told = {"claim": "Something holds.", "checks": [check.to_json() for check in checks], **meta}
    return Record("losses", {"points": 5}, pd.DataFrame({"x": [1.0]}), told)


WITHIN = Check.within("a ratio is one", 1.0, Interval(1.02, 0.96, 1.08), 0.1, "seeds")
BEYOND = Check.at_most("it falls", 0.1, 0.3).because("the rate rose by 3")
UNKNOWN = Check.not_run("of real data", "as predicted", "no data")


def test_each_prediction_stands_beside_its_measurement() -> None:
    each = Check.each(
        "of losses", {"logistic": WITHIN, "hinge": Check.above("c", 0.0, Interval(0.1, -0.1, 0.3), "seeds")}
    )
    text = shown(record(WITHIN, BEYOND.as_restated("2026: before"), UNKNOWN, each), 120)
    lines = text.splitlines()
    assert lines[0] == "losses: Something holds."
    assert re.search(r"^holds +1 ± 0\.1 +1\.02 \[0\.96, 1\.08\] +a ratio is one$", text, re.MULTILINE)
    assert re.search(r"^contradicted +≤ 0\.1 +0\.3 +it falls \(restated: 2026: before\)$", text, re.MULTILINE)
    assert re.search(r"^not run +as predicted +not run +of real data$", text, re.MULTILINE)
    assert "why: the rate rose by 3" in text
    assert lines[-1] == "4 claims: 1 holds, 1 contradicted, 1 undecided, 1 not run"
    assert "· hinge" not in text
    parted = shown(record(each), 120, parts=True)
    assert re.search(r"^undecided +above 0 +0\.1 \[-0\.1, 0\.3\] +· hinge$", parted, re.MULTILINE)


@pytest.mark.parametrize("width", [40, 80, 160])
def test_lines_fit_a_terminal_and_nothing_is_cut(width: int) -> None:
    long = Check.equal("a claim of " + "many words and " * 20 + "an end", 1.0, 1.0, 0.1, note="a note " * 30)
    text = shown(record(long), width)
    columns = text.splitlines()[2].index("claim")
    assert max(map(len, text.splitlines())) <= max(width, columns + 30)
    assert " ".join(text.split()).count("many words and") == 20


def test_every_committed_result_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted({folder.parent.name for folder in find_records(RESULTS)})
    assert main(["show", *names, "--records", str(RESULTS)]) == 0
    text = capsys.readouterr().out
    for name in names:
        checks = latest_record(RESULTS, name).meta["checks"]
        own = text[text.index(f"{name}: ") :].partition(" claims: ")[0]
        for verdict in ("holds", "contradicted", "undecided"):
            count = sum(verdict_of(check) == verdict for check in checks)
            assert len(re.findall(rf"^{verdict} ", own, re.MULTILINE)) == count, (name, verdict)
    assert main(["show", "beta-or-f", "--records", str(RESULTS), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told == {"experiment": "beta-or-f", "checks": latest_record(RESULTS, "beta-or-f").meta["checks"]}


def test_where_there_is_no_record_it_says_where_to_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(record(WITHIN), tmp_path)
    assert main(["show", "losses", "taylor", "--records", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "1 claim: 1 holds" in out
    assert f"no record of taylor in {tmp_path}; --records names another folder" in err
    assert main(["show", "lossess"]) == 2


def test_a_recheck_says_what_it_wrote_and_which_claims_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", "losses", "--out", str(tmp_path), "--quiet"]) == 0
    made = latest_record(tmp_path, "losses")
    wrong = {**made.meta, "checks": [{**made.meta["checks"][0], "claim": "an older claim"}]}
    old = Record(made.name, made.config, made.table, wrong)
    results = tmp_path / "results"
    write_record(old, results)
    capsys.readouterr()
    monkeypatch.setattr("experiments.__main__.git_state", lambda folder: {"commit": "0" * 40, "dirty": False})
    assert main(["recheck", "losses", "--out", str(results)]) == 0
    first = capsys.readouterr().out
    assert main(["recheck", "losses", "--out", str(results)]) == 0
    second = capsys.readouterr().out
    assert f"written anew in place of {old.key}" in first
    assert "left as it was" in second
    held = first.partition("  holds:\n")[2]
    for check in made.meta["checks"]:
        assert (" ".join(check["claim"].split()) in " ".join(held.split())) == (verdict_of(check) == "holds")
