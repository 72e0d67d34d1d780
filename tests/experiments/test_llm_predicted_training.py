"""The reading of study C: intervals, verdicts and figure, on tables whose answer is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import llm_predicted_training as experiment
from experiments.framework import NotRun
from figures import llm_predicted_training as figure
from fuzz.small import PREDICTED_SEEDS, make_predicted
from gpo_analysis.records import Record

CONFIG = dataclasses.replace(experiment.PRESETS["quick"], resamples=20)
OFF = {"tangent": 0.02, "scalar": -0.03, "direction": -0.2, "kappa": 0.6}


def read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    off: dict[str, float],
    spread: float = 0.0,
    *,
    runaway: bool = False,
) -> pd.DataFrame:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    make_predicted(tmp_path / "predicted-cpu", off, spread=spread, runaway=runaway)
    (cell,) = experiment.cells(CONFIG)
    return experiment.run(CONFIG, **cell)


def test_errors_are_those_that_were_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, monkeypatch, OFF)
    rows = table[(table["kind"] == "summary") & table["quantity"].isin(("mean_rho", "kl", "mu_squared_loss"))]
    for method in ("tangent", "scalar", "direction"):
        assert rows[rows["method"] == method]["value"].to_numpy() == pytest.approx(abs(OFF[method]), abs=1e-9)
    claims = table[table["kind"] == "claim"].set_index("number")["value"]
    assert claims[[1, 2, 3, 6, 7, 8, 22]].to_numpy() == pytest.approx([0.02, 0.02, 0.02, 0.03, 0.03, 0.03, 0.02])
    assert claims[[10, 11, 12, 21]].to_numpy() == pytest.approx([-0.2, 0.4, 0.0, -0.03])
    assert abs(claims[5]) < 1e-12


def test_claims_of_fresh_seeds_are_what_was_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "summarise", lambda found: [])
    read(tmp_path, monkeypatch, OFF)
    fresh = dataclasses.replace(CONFIG, fresh=True)
    (cell,) = experiment.cells(fresh)
    table = experiment.run(fresh, **cell)
    claims = table[table["kind"] == "claim"].set_index("number")
    assert [*claims.index] == [*range(1, 37)]
    # E is the same in every run: no difference, and each seed's own rms is what was put in
    assert claims["value"][[25, 26, 27]].to_numpy() == pytest.approx(0.0, abs=1e-9)
    own = [0.02, 0.02, 0.02, 0.03, 0.03, 0.03, 0.02]
    assert claims["value"][[29, 30, 31, 32, 33, 34, 36]].to_numpy() == pytest.approx(own)
    assert (claims["low"][[29, 32]] <= claims["value"][[29, 32]] + 1e-12).all()
    checks = experiment.check(fresh, table)
    assert len(checks) == 36
    assert not any(check.restated for check in checks)
    assert any(check.restated for check in experiment.check(CONFIG, table))


def test_verdicts_go_by_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = {}
    for name, off, spread in (("near", 0.02, 0.0), ("far", 0.3, 0.0), ("wide", 0.1, 0.1)):
        monkeypatch.setattr(experiment, "summarise", lambda found: [])
        table = read(tmp_path / name, monkeypatch, {**OFF, "tangent": off}, spread)
        verdicts[name] = experiment.check(CONFIG, table)[0].verdict
    assert verdicts == {"near": "holds", "far": "contradicted", "wide": "undecided"}


def test_runaways_are_counted_and_enter_no_rms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "summarise", lambda found: [])
    table = read(tmp_path, monkeypatch, OFF, runaway=True)
    away = table[(table["kind"] == "step") & (table["status"] == "runaway")]
    assert set(zip(away["loss"], away["optimizer"], away["seed"], strict=True)) == {("savage", "sgd", 0.0)}
    claims = table[table["kind"] == "claim"].set_index("number")
    assert claims["value"][7] == pytest.approx(0.03)
    assert claims["value"][19] == -2.0  # Savage's two
    record = Record("llm-predicted-training", dataclasses.asdict(CONFIG), table)
    caption = figure.caption({"llm-predicted-training": record}).replace("\n", " ")
    assert f"{PREDICTED_SEEDS} seeds" in caption
    drawn = figure.draw({"llm-predicted-training": record})
    assert sum(ax.get_visible() for ax in drawn.axes) == 6
    assert "a chip" in experiment.summary(CONFIG, table)


def test_a_study_without_some_runs_leaves_claims_untested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "summarise", lambda found: [])
    read(tmp_path, monkeypatch, OFF)
    folder = tmp_path / "predicted-cpu"
    for name in ("steps.parquet", "prompts.parquet"):
        rows = pd.read_parquet(folder / name)
        rows[(rows["epsilon"] == 0) & (rows["optimizer"] == "adamw")].to_parquet(folder / name)
    (cell,) = experiment.cells(CONFIG)
    checks = experiment.check(CONFIG, experiment.run(CONFIG, **cell))
    not_run = {int(check.claim.partition(".")[0]) for check in checks if check.verdict == "not run"}
    assert not_run >= {7, 12, 13, 15, 16, 17, 18}
    assert 1 not in not_run


def test_provenance_is_that_of_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "summarise", lambda found: [])
    table = read(tmp_path, monkeypatch, OFF)
    assert experiment.provenance(table)["git"]["commit"] == "abc"
    exponent = table[(table["kind"] == "claim") & (table["number"] == 13)]["value"].item()
    assert exponent == pytest.approx(2 * np.log(0.8) / np.log(0.6), rel=0.2)  # E[s] by 0.8, E[s²] as it was


def test_a_study_that_is_not_there_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    with pytest.raises(NotRun, match="python -m llm predicted --preset cpu"):
        experiment.cells(CONFIG)


def test_a_claim_says_how_many_seeds_had_no_run_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "summarise", lambda found: [])
    read(tmp_path, monkeypatch, OFF)
    steps = tmp_path / "predicted-cpu" / "steps.parquet"
    rows = pd.read_parquet(steps)
    strong = (rows["seed"] == rows["seed"].min()) & (rows["optimizer"] == "adamw") & (rows["strength"] >= 0.2)
    rows.loc[strong, "mu_squared_loss"] = 1e3
    rows.to_parquet(steps)
    fresh = dataclasses.replace(CONFIG, fresh=True)
    (cell,) = experiment.cells(fresh)
    table = experiment.run(fresh, **cell)
    claims = table[table["kind"] == "claim"].set_index("number")["claim"]
    assert (
        claims[29] == f"mean over seeds of a seed's own rms of claim 1, 1 of {PREDICTED_SEEDS} seeds without a run left"
    )
    assert claims[33] == "mean over seeds of a seed's own rms of claim 7"
