"""recommend-beta, diagnose and solve's intervals, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpo_analysis.estimation.trained_with import recorded_objective
from tests.cli.inside import as_json, gpo


@pytest.fixture
def labels(tmp_path: Path) -> str:
    path = tmp_path / "labels.csv"
    path.write_text("winner,loser,count\na,b,70\nb,a,30\nb,c,60\nc,b,40\n")
    return str(path)


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "log.csv"
    rows = "\n".join(f"{-10 - k},{-14 - k},-9,-9" for k in range(20))
    path.write_text(f"policy_chosen,policy_rejected,reference_chosen,reference_rejected\n{rows}\n")
    return str(path)


def test_recommend_beta(labels: str) -> None:
    found = as_json("recommend-beta", labels, "--kl", "0.1", "--resamples", "20", "--loss", "dpo", "--loss", "ipo")
    rows = {row["loss"]: row for row in found["recommendations"]}
    assert rows["logistic"]["kl"] == pytest.approx(0.1)
    assert rows["squared"]["low"] < rows["squared"]["beta"] < rows["squared"]["high"]


def test_diagnose(log: str) -> None:
    found = as_json("diagnose", log, "--beta", "0.1", "--loss", "dpo")
    assert found["rho_quantiles"]["0.5"] == pytest.approx(4.0)
    assert found["chosen_falling"]["value"] == 1.0
    assert "less likely" in gpo("diagnose", log, "--beta", "0.1").stdout


def test_solve_only_adds_keys(labels: str) -> None:
    plain = as_json("solve", labels, "--loss", "dpo")
    more = as_json("solve", labels, "--loss", "dpo", "--bootstrap", "30", "--held-out", "3")
    intervals = more["fits"]["logistic"].pop("bootstrap")
    assert intervals["low"][0] < plain["fits"]["logistic"]["scores"][0] < intervals["high"][0]
    assert more.pop("held_out")["chosen"] == "logistic"
    assert more == plain


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("recommend-beta", "{labels}"), 2, "--kl or --margin"),
        (("recommend-beta", "{labels}", "--kl", "-1"), 2, "-1"),
        (("recommend-beta", "missing.csv", "--kl", "1"), 1, "missing.csv"),
        (("diagnose", "{log}"), 2, "needs what the run was trained with, --beta and --loss"),
        (("diagnose", ".", "--beta", "1"), 2, "folder without a log"),
        (("audit-log", "."), 2, "folder without a log"),
        (("recommend-beta", "--log", ".", "--beta", "1", "--loss", "dpo", "--drop", "1"), 2, "folder without a log"),
        (("audit-log", "{log}", "--try-loss", "dppo"), 2, "dppo"),
        (("audit-log", "{log}"), 2, "no loss of the pairs"),
        (("diagnose", "{labels}", "--beta", "1"), 2, "missing policy_chosen"),
        (("diagnose", "{log}", "--beta", "0"), 2, "beta"),
        (("solve", "{labels}", "--held-out", "1"), 2, "folds"),
        (("solve", "{labels}", "--bootstrap", "-1"), 2, "--bootstrap"),
    ],
)
def test_errors_are_one_line(arguments: tuple[str, ...], code: int, words: str, labels: str, log: str) -> None:
    done = gpo(*(argument.format(labels=labels, log=log) for argument in arguments))
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("verb", ["recommend-beta", "diagnose"])
def test_help_has_examples(verb: str) -> None:
    assert "Examples:" in gpo(verb, "--help").stdout


def test_the_shell_completes_what_the_help_says() -> None:
    import os
    import subprocess
    import sys

    asked = {**os.environ, "COMP_WORDS": "gpo dia", "COMP_CWORD": "1", "_GPO_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "gpo_analysis.cli"], env=asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "plain,diagnose"
    assert "_GPO_COMPLETE=bash_source gpo" in gpo("--help").stdout


def test_a_run_s_folder_says_what_it_was_trained_with(tmp_path: Path) -> None:
    rows = [
        {"policy_chosen": -10.0 - k, "policy_rejected": -14.0 - k, "reference_chosen": -9.0, "reference_rejected": -9.0,
         "chosen_length": 2, "rejected_length": 2 + k, "step": 4}
        for k in range(9)
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = {"loss": "log(cosh(1-z))", "beta": 0.25, "reduction": "mean", "link": "reverse_kl"}
    (tmp_path / "run.json").write_text(json.dumps({"run": run}))
    found = as_json("diagnose", str(tmp_path), "--resamples", "5")
    assert (found["loss"], found["beta"]) == ("log(cosh(1-z))", 0.25)
    asked = as_json("diagnose", str(tmp_path / "log.jsonl"), "--loss", run["loss"], "--beta", "0.25", "--reduction",
                    "mean", "--resamples", "5")  # fmt: skip
    assert found == asked
    for alone in (("--loss", "dpo"), ("--beta", "0.3"), ("--reduction", "sum")):
        other = gpo("diagnose", str(tmp_path), *alone)
        assert other.returncode == 2
        assert "run.json says --loss 'log(cosh(1-z))' --beta 0.25 --reduction mean; accepted are none" in other.stderr
    assert as_json("diagnose", str(tmp_path), "--beta", "0.25", "--resamples", "5") == found
    for broken in ("", "[]", '{"run": {"loss": 3}}', json.dumps({"run": {**run, "link": "chi_po"}})):
        (tmp_path / "run.json").write_text(broken)
        assert recorded_objective(tmp_path) is None


def test_a_beta_for_the_next_run_reads_what_the_run_was_trained_with(tmp_path: Path) -> None:
    rows = [
        {"policy_chosen": -8.9 - k / 20, "policy_rejected": -9.4 - k / 30, "reference_chosen": -9.0,
         "reference_rejected": -9.0, "step": 4}
        for k in range(9)
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ("recommend-beta", "--log", str(tmp_path), "--margin", "0.3", "--resamples", "5")
    without = gpo(*asked, "--loss", "dpo")
    assert without.returncode == 2
    assert "--beta is missing: recommend-beta --log needs what the run was trained with" in without.stderr
    run = {"loss": "log(cosh(1-z))", "beta": 0.25, "reduction": "sum", "link": "reverse_kl"}
    (tmp_path / "run.json").write_text(json.dumps({"run": run}))
    told = as_json(*asked)
    assert (told["loss"], told["run_beta"]) == ("log(cosh(1-z))", 0.25)
    assert told == as_json(*asked, "--loss", "log(cosh(1-z))", "--beta", "0.25")
    other = gpo(*asked, "--loss", "dpo")
    assert other.returncode == 2
    assert "accepted are none of these, or both a loss and a beta" in other.stderr


def test_a_folder_of_runs_names_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text("{}\n")
    for verb in ("diagnose", "audit-log"):
        done = gpo(verb, str(tmp_path))
        assert done.returncode == 2
        assert f"holds the runs one, two; accepted is the folder of one, such as {tmp_path / 'one'}" in done.stderr
