"""The reading of the study of a real model: what was put in comes out, verdicts, what is not there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import llm_real_model as experiment
from experiments.framework import NotRun
from experiments.llm_real_model.claims import CLAIMS
from fuzz.small_real import make_real

CONFIG = dataclasses.replace(experiment.PRESETS["paper"], resamples=20)
OFF = {"tangent": 0.01, "parameters": -0.8, "scalar": 0.1}


def read(folder: Path, monkeypatch: pytest.MonkeyPatch, off: dict[str, float], domains: list[str]) -> pd.DataFrame:
    monkeypatch.setenv("GPO_LLM", str(folder))
    for domain in domains:
        make_real(folder / f"real-{domain}-small", off, people=domain == "hh")
    return pd.concat([experiment.run(CONFIG, **cell) for cell in experiment.cells(CONFIG)], ignore_index=True)


def test_what_was_put_in_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, monkeypatch, OFF, ["titles", "hh"])
    value = table[table["kind"] == "claim"].set_index("number")["value"]
    assert value[[1, 2, 4, 21, 22, 24]].to_numpy() == pytest.approx(0.01)
    assert value[[3, 23]].to_numpy() == pytest.approx(-0.8)
    assert value[[5, 6, 25, 26]].to_numpy() == pytest.approx(0.1)
    assert value[[7, 27]].to_numpy() == pytest.approx(1.0)
    assert value[9] == pytest.approx(0.0)
    assert value[29] == pytest.approx(3.0, abs=0.1)  # of other draws
    assert value[10] < 0.002  # one line for all
    assert value[11] == pytest.approx(0.5 + 0.1 * 0.2 - 0.7, abs=0.002)
    assert value[12] == pytest.approx(0.45, rel=0.05)
    assert {check.verdict for check in experiment.check(CONFIG, table)} == {"holds"}


def test_verdicts_go_by_the_interval_and_a_domain_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read(tmp_path, monkeypatch, {**OFF, "tangent": 0.3}, ["titles"])
    checks = experiment.check(CONFIG, table)
    verdicts = {int(check.claim.partition(".")[0]): check.verdict for check in checks}
    assert list(verdicts) == [one.number for one in CLAIMS]
    assert verdicts[1] == verdicts[2] == "contradicted"
    assert {verdict for number, verdict in verdicts.items() if number > 20} == {"not run"}
    assert np.isfinite(table[table["kind"] == "best"]["win_rate"]).all()
    assert experiment.provenance(table)["git"]["commit"] == "abc"
    assert "27 runs of 3 seeds" in experiment.summary(CONFIG, table)


def test_a_study_that_is_not_there_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    with pytest.raises(NotRun, match="python -m llm real --preset titles-small"):
        experiment.cells(CONFIG)
