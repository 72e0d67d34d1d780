"""The report's first page: what answers the paper's claims, what does not hold and why, and records of before."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments.framework import UNKNOWN, Check
from figures.__main__ import main
from figures.framework.front import front_page, not_run
from figures.framework.paper import PAPER_CLAIMS, answers_of, paper_claims, readme_table, verdict_on
from figures.framework.words import counted, escaped, shown_of, verdict_of
from fuzz.small import NAMES, computed
from gpo_analysis.runs import latest_record
from gpo_analysis.statistics import Interval

RESULTS = Path(__file__).parents[2] / "results"
KEPT = [
    latest_record(RESULTS, folder.name)
    for folder in sorted(RESULTS.iterdir())
    if any(folder.glob("*/record.json"))  # and not tables of other kinds, as of benchmarks
]


def row(experiment: str, check: Check, **more: Any) -> dict[str, Any]:
    return {"experiment": experiment, **shown_of(json.loads(json.dumps(check.to_json()))), **more}


PARTED = Check.above("offline over on-policy: they part", 0.25, Interval(0.98, 0.54, 1.42), "3 seeds")


def test_a_claim_of_the_paper_has_verdict_number_interval_and_figure() -> None:
    lines = paper_claims([row("llm-kl-and-mu-square", PARTED)])
    (line,) = [line for line in lines if "(5)" in line]
    for words in ("holds", "98 \\[0.54, 1.42\\]", "(<#llm-kl-and-mu-square>)"):
        assert words in line
    others = [line for line in lines[2:] if "(5)" not in line]
    assert len(others) == 4
    assert all("**not run**" in line for line in others)


def test_a_committed_long_run_answers_before_a_fresh_one() -> None:
    fresh = Check.above(PARTED.claim, 0.25, Interval(0.1, 0.0, 0.2), "1 seed")
    rows = [row("llm-kl-and-mu-square", fresh), row("llm-kl-and-mu-square", PARTED, source="committed")]
    assert "contradicted" in "".join(paper_claims(rows[:1]))
    assert "contradicted" not in "".join(paper_claims(rows))


def test_the_worst_answer_decides_a_claim_of_the_paper() -> None:
    apart = Check.above("e: they part", 0.25, Interval(0.98, 0.54, 1.42), "3 seeds")
    near = Check.within("½E[ρ²] over 2KL", 1.0, Interval(1.2, 1.1, 1.3), 0.2, "3 seeds")
    rows = [row("llm-kl-and-mu-square", apart), row("llm-kl-and-mu-square", near)]
    (claim,) = [claim for claim in PAPER_CLAIMS if claim.number == 5]
    assert verdict_on(answers_of(claim, rows)) == "undecided"
    assert verdict_on(answers_of(claim, rows[:1])) == "holds"
    first, second = [line for line in paper_claims(rows) if "<#llm-kl-and-mu-square>" in line]
    assert first.startswith("| (5) The μ-weighted square loss and KL are related but distinct. **undecided** |")
    assert (second.startswith("|  | holds |"), "above 0.25" in second) == (True, True)


def test_the_readme_and_the_report_say_one_thing() -> None:
    """Of the committed results: the README's table is what is printed, and every number of it is in the report's."""
    printed = readme_table(RESULTS)
    readme = (RESULTS.parent / "README.md").read_text(encoding="utf-8").splitlines()
    start = readme.index(printed[0])
    assert readme[start : start + len(printed)] == printed, "python -m figures claims prints the table"
    assert readme[start + len(printed)] == ""
    rows = [
        {"experiment": kept.name, **shown_of(check), "source": "committed"}
        for kept in KEPT
        for check in kept.meta["checks"]
    ]
    report = paper_claims(rows)
    verdicts = [line.split(" | ")[1].strip("*") for line in printed[2:]]
    assert [verdict_on(answers_of(claim, rows)) for claim in PAPER_CLAIMS] == verdicts
    for claim, line in zip(PAPER_CLAIMS, printed[2:], strict=True):
        found = answers_of(claim, rows)
        assert [answer for answer, _ in found] == list(claim.answers), "every answer has a committed result"
        for _, one in found:
            value, low, high = (f"{one[name]:.3g}".replace("-", "−") for name in ("computed", "low", "high"))
            assert f"{value} [{low}, {high}]" in line
            shown = escaped(f"{one['computed']:.3g} [{one['low']:.3g}, {one['high']:.3g}]")
            assert any(shown in told for told in report), shown


def test_the_command_prints_the_table_and_says_what_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", "--results", str(RESULTS)]) == 0
    assert capsys.readouterr().out.splitlines() == readme_table(RESULTS)
    shutil.copytree(RESULTS / "llm-frontier", tmp_path / "llm-frontier")
    (document,) = tmp_path.glob("llm-frontier/*/record.json")
    document.write_text(document.read_text(encoding="utf-8").replace("holds", "HOLDS"), encoding="utf-8")
    assert main(["claims", "--results", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.startswith("figures: ")) == ("", True)
    assert "llm-frontier" in err


def test_a_result_that_is_not_there_is_not_run(tmp_path: Path) -> None:
    lines = readme_table(tmp_path)
    assert len(lines) == 7
    assert all(line.endswith("| – |") and "| **not run** |" in line for line in lines[2:])


def test_what_does_not_hold_is_shown_with_why_and_restatements_are_marked() -> None:
    wide = Check.within("a | claim", 1.0, Interval(1.0, 0.0, 2.0), 0.1, "2 seeds").as_restated("2026: a first run")
    wrong = Check.equal("of theory", 1.0, 2.0, 0.0).as_theorem()
    right = Check.equal("right", 1.0, 1.0, 0.0).as_theorem()
    page = "\n".join(front_page([row("e", wide), row("e", wrong), row("e", right)], []))
    below = page.split("## Contradicted and undecided")[1]
    first, theorems = below.split("## Theorem checks")
    assert first.index("of theory") < first.index("a \\| claim"), "contradicted before undecided"
    assert "95 % interval over 2 seeds" in first
    assert "*(restated: 2026: a first run)*" in first
    assert "1 of 2 hold; **not: of theory**" in theorems
    assert "1 of these claims were stated anew" in page
    assert "2 theorem checks (can fail only by a bug): 1 holds, 1 is contradicted." in page


def test_findings_settings_and_what_was_not_run_are_on_the_page() -> None:
    lacking = {"experiment": "e", "claim": "c", "verdict": "not run", "why": "no data given"}
    claim = Check.equal("right", 1.0, 1.0, 0.0).as_theorem()
    page = "\n".join(front_page([lacking, row("f", claim)], [], {"beta-or-f": "0.9. To remember: β is a scale."}))
    assert "- β is a scale. ([beta-or-f](<#beta-or-f>))" in page
    assert "All settings are ours" in page
    assert "- [e](<#e>): 1 claim (no data given)" in page
    assert "[f](<#f>): 1 claim" not in page


def test_experiments_without_a_record_are_one_line() -> None:
    rows = [
        {
            "experiment": name,
            "claim": "c",
            "verdict": "not run",
            "why": f"no record of experiment {name!r} in out; make",
        }
        for name in ("a", "b")
    ]
    lines = not_run(rows)
    assert lines == ["- without a record (`python -m experiments run NAME` makes it): [a](<#a>), [b](<#b>)"]


def test_older_records_are_read_with_defaults() -> None:
    old = {"claim": "c", "predicted": 1.0, "computed": 2.0, "tolerance": 0.0, "holds": False}
    told = shown_of(old)
    assert (told["verdict"], told["nature"], told["restated"], told["parts"]) == ("contradicted", "measurement", "", [])
    assert shown_of({**old, "holds": None, "note": "no GPU"})["why"] == "no GPU"
    assert counted([told, shown_of({**old, "holds": True})]) == "1 holds, 1 is contradicted"


def test_there_are_five_claims_each_answered_by_some_experiment() -> None:
    assert [claim.number for claim in PAPER_CLAIMS] == [1, 2, 3, 4, 5]
    assert all(claim.answers for claim in PAPER_CLAIMS)


ANSWERS = [
    (answer.experiment, answer.words)
    for answer in dict.fromkeys(answer for claim in PAPER_CLAIMS for answer in claim.answers)
    if answer.experiment in NAMES
]


@pytest.mark.parametrize(("experiment", "words"), ANSWERS)
def test_words_that_answer_are_in_the_checks(experiment: str, words: str) -> None:
    module, config, table = computed(experiment)
    assert any(words in check.claim for check in module.check(config, table))


def test_a_contradicted_claim_names_its_mechanism() -> None:
    wrong = Check.at_most("the KL falls", 0.1, 0.3)
    told = [row("e", wrong.because("the rate rose by 3")), row("e", wrong), row("e", PARTED.because("not asked"))]
    below = "\n".join(front_page(told, [])).split("## Contradicted and undecided")[1]
    assert "| the rate rose by 3 |" in below
    assert "| not stated in this record |" in below
    assert "not asked" not in below, "a claim that holds needs none"


CONTRADICTED = [(kept.name, c) for kept in KEPT for c in kept.meta["checks"] if verdict_of(c) == "contradicted"]


@pytest.mark.parametrize(
    ("name", "check"), CONTRADICTED,
    ids=lambda value: value if isinstance(value, str) else str(value["claim"])[:40],
)  # fmt: skip
def test_every_contradicted_claim_of_a_committed_result_names_its_mechanism(name: str, check: dict[str, Any]) -> None:
    mechanism = check.get("mechanism", "")
    assert re.search(r"\d", mechanism) or UNKNOWN in mechanism, name
