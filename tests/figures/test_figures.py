"""The figure runner and the report: from records alone, whole or not at all, every verdict as the record has it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import figures
from figures.__main__ import _has_results, main
from figures.framework.drawing import FigureModule, find_figures
from figures.framework.report import collect, to_markdown
from gpo_analysis.records import Record, find_records, write_record
from gpo_analysis.runs import RunStatus, write_catalogue, write_status

ROOT = Path(__file__).resolve().parents[2]

CHECKS = [
    {"claim": "equal |z*(η)|", "predicted": 1.0, "computed": 1.25, "tolerance": 0.1, "holds": False, "kind": "equal"},
    {"claim": "at most_one", "predicted": 2.0, "computed": 1 / 3, "tolerance": 0.0, "holds": True, "kind": "at_most"},
    {"claim": "words", "predicted": "a < b", "computed": "a < b", "tolerance": None, "holds": True, "kind": "text"},
    {"claim": "untested", "predicted": 0.0, "computed": "not run", "tolerance": None, "holds": None, "note": "no GPU"},
]


def losses_record(checks: list[dict[str, object]] | None = None, code: str = "") -> Record:
    rho = np.linspace(-1.0, 2.0, 31)
    frames = [
        pd.DataFrame({"loss": name, "rho": rho, "value": rho**2, "scaled": rho**2, "slope": -1.0, "curvature": 2.0})
        for name in ("logistic", "squared", "hinge")
    ]
    meta = {
        "claim": "A claim with a | bar and *stars*.",
        "figure": "losses",
        "summary": "What was *found*: 3 < 4.",
        "preset": "quick",
        "checks": CHECKS if checks is None else checks,
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "device": {"processor": "An Abacus"},
        "wall_seconds": 1.25,
        "finished": "2030-01-01T00:00:00+00:00",
        "code_hash": code,
    }
    return Record("losses", {"points": 31}, pd.concat(frames, ignore_index=True), meta)


@pytest.fixture(autouse=True)
def _without_committed_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run elsewhere: ``results`` of the current folder, which the report takes in, is not this repository's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    out = tmp_path / "records"
    write_record(losses_record(), out)
    listed = [
        {"name": "losses", "claim": "A claim with a | bar and *stars*.", "figure": "losses"},
        {"name": "arguments", "claim": "Needs data.", "figure": "arguments"},
        {"name": "never", "claim": "Nobody ran it.", "figure": "never"},
    ]
    write_catalogue(listed, out)
    write_status(RunStatus("arguments", "quick", "not run", "no data folder given"), out)
    return out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = {item["name"]: item["experiments"] for item in json.loads(capsys.readouterr().out)}
    assert listed["losses"] == ["losses"]
    assert main(["list"]) == 0
    said = capsys.readouterr().out.splitlines()
    lines = {name: text for name, _, text in (line.partition(" ") for line in said)}
    assert set(listed) <= set(lines)
    assert lines["arena"].strip() == "What f changes in an arena, the rule it is near, and cycles against noise"
    assert lines["losses"].endswith("[its first figure, in panel a]")
    numbers = {name: text.partition("[claim")[2] for name, text in lines.items()}
    assert numbers["beta-or-f"] == " 2]"
    assert numbers["llm-equal-when-tuned"] == "s 1, 2, 3]"
    assert all(len(text.strip()) > 20 for text in lines.values() if text)
    assert "arXiv 2402.05749" in said[-1]


def test_a_broken_figure_does_not_hide_the_others(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three files beside the figures: one that cannot be parsed, one that cannot be loaded, one without its parts."""
    for name, text in (("zz_half", "def draw(:"), ("zz_import", "import nonsense_module"), ("zz_empty", "draw = 3")):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(tmp_path)])
    assert main(["list"]) == 1
    said = capsys.readouterr()
    assert "losses" in said.out
    assert "zz" not in said.out
    words = {line.split(": ")[1]: line for line in said.err.splitlines()}
    assert set(words) == {"zz-half", "zz-import", "zz-empty"}
    assert "SyntaxError" in words["zz-half"]
    assert "No module named 'nonsense_module'" in words["zz-import"]
    assert "lacks EXPERIMENTS, CAPTION" in words["zz-empty"]
    assert main(["list", "--json"]) == 1
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert listed["losses"]["experiments"] == ["losses"]
    assert listed["losses"]["about"].startswith("The paper's plot of the losses")
    assert "SyntaxError" in listed["zz-half"]["error"]
    out = tmp_path / "figures"
    assert main(["draw", "zz-half", "losses", "--records", str(records), "--out", str(out)]) == 1
    assert (out / "losses.png").is_file()
    assert not _has_results(FigureModule("zz-half", "figures.zz_half"), tmp_path)


def test_a_figure_is_written_as_png_and_pdf_with_its_caption(records: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures"
    assert main(["draw", "losses", "--records", str(records), "--out", str(out)]) == 0
    assert (out / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "losses.pdf").read_bytes().startswith(b"%PDF")
    told = json.loads((out / "losses.json").read_text())
    (folder,) = find_records(records, "losses")
    assert told["sources"] == {"losses": folder.name}
    assert (out / "losses.txt").read_text().strip() == told["caption"]
    assert "\n" not in told["caption"]
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == [
        f"losses.{kind}" for kind in ("json", "pdf", "png", "txt")
    ]


def test_the_same_record_gives_the_same_files(records: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert main(["draw", "losses", "--records", str(records), "--out", str(tmp_path / name)]) == 0
    for kind in ("png", "pdf", "txt", "json"):
        assert (tmp_path / "one" / f"losses.{kind}").read_bytes() == (tmp_path / "two" / f"losses.{kind}").read_bytes()


def test_a_missing_record_says_which_experiment_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "losses", "--records", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert "python -m experiments run losses" in errors
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.glob("*.png"))


def test_what_cannot_run_here_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_status(RunStatus("losses", "quick", "not run", "no data"), tmp_path)
    assert main(["draw", "losses", "--records", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert "skipped" in capsys.readouterr().out


def test_a_damaged_record_is_told(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = find_records(records, "losses")
    (folder / "table.parquet").write_bytes(b"")
    assert main(["draw", "losses", "--records", str(records), "--out", str(tmp_path)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_an_unknown_figure_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "lossses"]) == 2
    assert "did you mean 'losses'?" in capsys.readouterr().err
    assert main(["draw", "qqqq"]) == 2
    assert "accepted are" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["draw", "losses", "--records", str(records), "--out", str(tmp_path / "file")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def report(records: Path, tmp_path: Path, *more: str) -> tuple[int, Path]:
    out = tmp_path / "report"
    figures = out / "figures"
    assert main(["draw", "losses", "--records", str(records), "--out", str(figures)]) == 0
    return main(["report", "--records", str(records), "--out", str(out), *more]), out


def test_report_json_has_every_claim_and_every_reason(records: Path, tmp_path: Path) -> None:
    code, out = report(records, tmp_path)
    assert code == 0
    rows = json.loads((out / "report.json").read_text())
    assert [(row["experiment"], row["claim"], row["holds"]) for row in rows] == [
        *(("losses", check["claim"], check["holds"]) for check in CHECKS),
        ("arguments", "Needs data.", None),
        ("never", "Nobody ran it.", None),
    ]
    for row in rows:
        assert {"experiment", "claim", "predicted", "computed", "tolerance", "holds"} <= set(row)
        assert (row["holds"] is None) == ("why" in row)
    assert rows[0]["computed"] == 1.25
    assert rows[3]["why"] == "no GPU"
    assert rows[4]["why"] == "no data folder given"
    assert "python -m experiments run never" in rows[5]["why"]


class Page(HTMLParser):
    """Collects the cells of the tables, the images and the ids of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.ids: list[str | None] = []
        self.links: list[str | None] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("td", "th"):
            self.cells.append("")
            self._open = True
        if tag == "img":
            self.images.append(found)
        if tag == "a":
            self.links.append(found.get("href"))
        if "id" in found:
            self.ids.append(found["id"])

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[-1] += data


def test_report_html_shows_its_own_copies_and_says_the_same(records: Path, tmp_path: Path) -> None:
    _, out = report(records, tmp_path)
    page = Page()
    text = (out / "report.html").read_text()
    page.feed(text)
    (image,) = page.images
    caption = json.loads((out / "figures" / "losses.json").read_text())["caption"]
    assert image["alt"] == caption
    assert (out / str(image["src"])).read_bytes() == (out / "figures" / "losses.png").read_bytes()
    assert text.count("<details>") == text.count("</details>") >= 1
    at = len(page.cells) - 1 - page.cells[::-1].index("equal |z*(η)|")  # after the first page, which has it too
    assert page.cells[at : at + 5] == ["equal |z*(η)|", "1", "1.25", "0.1", "contradicted"]
    at = page.cells.index("at most_one")
    assert page.cells[at : at + 5] == ["at most_one", "≤ 2", "0.333333", "0", "holds"]
    assert "a < b" in page.cells
    assert "A claim with a | bar and *stars*." in page.cells
    assert {link.removeprefix("#") for link in page.links if link} <= set(page.ids)
    assert not re.search(r'(src|href)="(?!report_pictures/[a-z0-9-]+[.]png"|#)', text)


def test_report_has_what_was_found_under_the_claim(records: Path, tmp_path: Path) -> None:
    _, out = report(records, tmp_path)
    assert "What was \\*found\\*: 3 \\< 4." in (out / "report.md").read_text()
    page = (out / "report.html").read_text()
    figure = page.rindex("<img")
    claim, found = (page.rindex(words, 0, figure) for words in ("A claim with", "What was *found*: 3 &lt; 4."))
    assert claim < found < figure


def test_report_says_where_each_record_comes_from(records: Path, tmp_path: Path) -> None:
    _, out = report(records, tmp_path)
    text = (out / "report.md").read_text()
    for words in ("preset quick", "commit 0123456789 with uncommitted changes", "An Abacus", "1.2 s", "2030-01-01"):
        assert words in text
    assert "6 claims: 2 hold, 1 is contradicted, 3 were not run" in text
    assert "](<figures/losses.png>)" in text


def test_report_says_when_the_figure_is_of_another_record(records: Path, tmp_path: Path) -> None:
    _, out = report(records, tmp_path)
    assert "another record" not in (out / "report.md").read_text()
    newer = losses_record(code="newer")
    write_record(newer, records)
    write_status(RunStatus("losses", "quick", "complete", key=newer.key), records)
    assert main(["report", "--records", str(records), "--out", str(out)]) == 0
    assert "shows another record than the table" in (out / "report.md").read_text()


def test_report_says_when_the_last_run_failed(records: Path, tmp_path: Path) -> None:
    write_status(RunStatus("losses", "quick", "failed", "KeyError: x"), records)
    _, out = report(records, tmp_path)
    text = (out / "report.md").read_text()
    assert "The last run gave no record (failed: KeyError: x); this one is older" in text


def test_a_figure_that_is_not_drawn_is_said(records: Path, tmp_path: Path) -> None:
    text = to_markdown(collect(records, tmp_path / "nothing"), "figures")
    assert "python -m figures draw losses" in text


def test_a_damaged_list_of_experiments_is_named(records: Path, tmp_path: Path) -> None:
    (note,) = (records / ".status").glob(".*.json")
    note.write_bytes(note.read_bytes()[:-9])
    _, out = report(records, tmp_path)
    text = (out / "report.md").read_text()
    assert "Experiments without a record are missing here" in text
    assert "run an experiment again" in text


def test_strict_fails_where_a_claim_does_not_hold(records: Path, tmp_path: Path) -> None:
    assert report(records, tmp_path, "--strict")[0] == 1
    good = losses_record([check for check in CHECKS if check["holds"] is not False], "good")
    write_record(good, records)
    write_status(RunStatus("losses", "quick", "complete", key=good.key), records)
    assert report(records, tmp_path, "--strict")[0] == 0


def test_a_report_of_nothing_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--records", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert "python -m experiments all" in capsys.readouterr().err


@pytest.mark.parametrize("figure", find_figures(), ids=lambda figure: figure.name)
def test_every_figure_has_its_parts_and_reads_records_only(figure: object) -> None:
    module = figure.load()  # type: ignore[attr-defined]
    assert module.EXPERIMENTS
    source = Path(str(module.__file__)).read_text()
    imported = set(re.findall(r"^\s*(?:from|import) (gpo_analysis[\w.]*|experiments[\w.]*|llm[\w.]*)", source, re.M))
    allowed = ("gpo_analysis.records", "gpo_analysis.runs", "gpo_analysis.plotting", "gpo_analysis.tables")
    assert all(name.startswith(allowed) for name in imported), imported


def test_the_command_as_a_user_calls_it(records: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "figures",
        "draw",
        "losses",
        "--records",
        str(records),
        "--out",
        str(tmp_path / "f"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ})
    assert (done.returncode, done.stderr) == (0, "")
    assert "losses.png" in done.stdout


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Committed results of the experiment ``losses``."""
    kept = losses_record(code="long run")
    meta = {**kept.meta, "preset": "paper", "git": {"commit": "fedcba9876543210", "dirty": False}}
    write_record(Record("losses", {"points": 31}, kept.table, meta), tmp_path / "results")
    return tmp_path / "results"


def test_committed_results_stand_apart_and_say_so(records: Path, results: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    main(["all", "--records", str(records), "--results", str(results), "--out", str(out / "figures")])
    assert main(["report", "--records", str(records), "--results", str(results), "--out", str(out)]) == 0
    fresh, kept = (json.loads((out / "figures" / at / "losses.json").read_text()) for at in ("", "committed"))
    assert (fresh["committed"], kept["committed"]) == (False, True)
    assert all(told["caption"].startswith("What was *found*: 3 < 4. Losses f over") for told in (fresh, kept))
    assert kept["caption"].endswith("finished 2030-01-01T00:00:00+00:00.")
    assert "Committed result: preset paper, commit fedcba9876, An Abacus" in kept["caption"]
    assert "Committed" not in fresh["caption"]
    assert fresh["sources"] != kept["sources"]
    images = [(out / "figures" / at / "losses.png").read_bytes() for at in ("", "committed")]
    assert images[0] != images[1]  # the same numbers: the stamp is the difference
    # as a command: what `python -m` runs as __main__ cannot be found again by a spawned process
    words = ["all", "--jobs", "2", "--records", records, "--results", results, "--out", tmp_path / "two"]
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "figures", *map(str, words)], capture_output=True, text=True, cwd=root)
    assert "fault of the program" not in done.stderr
    for image in (out / "figures").rglob("losses.p*"):
        assert (tmp_path / "two" / image.relative_to(out / "figures")).read_bytes() == image.read_bytes()
    text = (out / "report.md").read_text()
    first, second = text.split("### losses: committed result")
    assert "preset quick" in first
    assert "Committed result" not in first
    assert "Committed result: preset paper, commit fedcba9876, An Abacus" in second
    assert "](<figures/committed/losses.png>)" in second
    assert "4 claims of committed results" in first
    rows = json.loads((out / "report.json").read_text())
    assert [row.get("source") for row in rows if row["experiment"] == "losses"] == [None] * 4 + ["committed"] * 4
    page = Page()
    page.feed((out / "report.html").read_text())
    assert len(page.images) == 2


def test_a_figure_can_be_drawn_from_committed_results_alone(results: Path, tmp_path: Path) -> None:
    more = ["--results", str(results), "--records", str(tmp_path / "none"), "--out", str(tmp_path / "f")]
    assert main(["draw", "losses", *more]) == 1
    assert main(["draw", "losses", "--committed", *more]) == 0
    assert (tmp_path / "f" / "losses.txt").read_text().count("Committed result: ") == 1


def test_a_damaged_committed_result_is_told_in_the_report(records: Path, results: Path, tmp_path: Path) -> None:
    (folder,) = find_records(results, "losses")
    (folder / "table.parquet").write_bytes(b"")
    out = tmp_path / "report"
    assert main(["report", "--records", str(records), "--results", str(results), "--out", str(out)]) == 0
    assert "the committed result is damaged" in (out / "report.md").read_text()
