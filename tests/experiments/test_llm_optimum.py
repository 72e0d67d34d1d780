"""The reading of study A: intervals, verdicts and figure, on tables whose answer is known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from experiments import llm_optimum
from experiments.framework import NotRun
from figures import llm_optimum as figure
from fuzz.small import OPTIMUM_SEEDS, OPTIMUM_STRENGTHS, make_optimum
from gpo_analysis.records import Record


def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: dict[str, float], **more: float) -> pd.DataFrame:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    make_optimum(tmp_path / "optimum-cpu", off, **more)
    (cell,) = llm_optimum.cells(CONFIG)
    return llm_optimum.run(CONFIG, **cell)


CONFIG = dataclasses.replace(llm_optimum.PRESETS["quick"], resamples=200)


def test_near_is_held_far_is_contradicted_and_wide_is_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = {"logistic": 0.0, "squared": 0.3, "exponential": 0.01}
    table = read(tmp_path, monkeypatch, off)
    whole = llm_optimum.check(CONFIG, table)[0]
    verdicts = {name.partition(",")[0]: part.verdict for name, part in whole.parts}
    assert verdicts == {"logistic": "holds", "squared": "contradicted", "exponential": "holds"}
    assert whole.verdict == "contradicted"
    wide = read(tmp_path / "wide", monkeypatch, {"logistic": 0.09}, spread=0.5)
    check = llm_optimum.check(CONFIG, wide)[0]
    assert [name for name, _ in check.parts] == ["logistic, βκ ≥ 0.2"]
    assert check.verdict == "undecided"


def test_provenance_is_that_of_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, monkeypatch, {"logistic": 0.0})
    pieces = json.loads((tmp_path / "optimum-cpu" / "run.json").read_text())["pieces"]
    made = llm_optimum.provenance(table)
    assert made["git"]["commit"] == pieces[0]["git"]["commit"]
    assert (made["threads"], made["finished"]) == (pieces[-1]["threads"], pieces[-1]["finished"])


def test_ratios_to_logistic_are_those_that_were_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, monkeypatch, {"logistic": 0.05, "squared": 0.25}, spread=0.0)
    rows = table[(table["kind"] == "summary") & (table["quantity"] == "ratio_excess")]
    assert rows["value"].to_numpy() == pytest.approx(0.2, abs=1e-12)
    assert (rows["low"] <= rows["value"] + 1e-12).all()


def test_runaways_are_counted_and_enter_no_median(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, monkeypatch, {"logistic": 0.01, "savage": 0.02}, runaway=True)
    rows = table[(table["kind"] == "summary") & (table["loss"] == "savage") & (table["quantity"] == "kl")]
    assert (rows["seeds"] == OPTIMUM_SEEDS - 1).all()
    assert (rows["value"] < 0.05).all()
    counted = [one for one in llm_optimum.check(CONFIG, table) if "runaway" in one.claim]
    assert counted[0].computed == len(OPTIMUM_STRENGTHS)
    assert counted[0].holds is False
    record = Record("llm-optimum", dataclasses.asdict(CONFIG), table)
    assert "3 ran away" in figure.caption({"llm-optimum": record}).replace("\n", " ")
    drawn = figure.draw({"llm-optimum": record})
    assert any("ran away" in text.get_text() for ax in drawn.axes for text in ax.texts)
    assert "a GPU" in llm_optimum.summary(CONFIG, table)


def test_a_study_that_is_not_there_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    with pytest.raises(NotRun, match="python -m llm optimum --preset cpu"):
        llm_optimum.cells(CONFIG)


def test_savage_arrives_last_is_decided_by_the_ratio_of_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for off, verdict, value in ((0.08, "holds", 4.0), (0.005, "contradicted", 0.25)):
        table = read(tmp_path / verdict, monkeypatch, {"logistic": 0.02, "savage": off}, spread=0.0)
        (check,) = [one for one in llm_optimum.check(CONFIG, table) if "arrives last" in one.claim]
        assert (check.verdict, check.computed) == (verdict, pytest.approx(value, rel=1e-6))
