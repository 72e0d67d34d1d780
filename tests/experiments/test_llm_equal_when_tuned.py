"""The reading of study B: choice and judgement apart, verdicts, best strengths, shares of variance, figure."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments import llm_equal_when_tuned as experiment
from experiments.framework import Check, NotRun
from experiments.llm_equal_when_tuned.analysis import clock_shift, omega_rows, peaks, tuned_rates
from figures import llm_equal_when_tuned as figure
from fuzz.small import TUNED_LOSSES, make_tuned
from gpo_analysis.records import Record
from gpo_analysis.statistics import anova

CONFIG = dataclasses.replace(experiment.PRESETS["quick"], resamples=200)


def read(folder: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> pd.DataFrame:
    monkeypatch.setenv("GPO_LLM", str(folder))
    make_tuned(folder / "tuned-cpu", **more)
    (cell,) = experiment.cells(CONFIG)
    return experiment.run(CONFIG, **cell)


def said(checks: list[Check], words: str) -> Check:
    (found,) = [check for check in checks if words in check.claim]
    return found


def test_equal_losses_are_equal_and_one_that_wins_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same = experiment.check(CONFIG, read(tmp_path / "same", monkeypatch))
    for words in ("by the tilt: difference", "by their own samples: difference"):
        assert said(same, words).verdict == "holds"
        assert len(said(same, words).parts) == 12
    other = experiment.check(CONFIG, read(tmp_path / "other", monkeypatch, gain={"squared": 0.06}))
    claim = said(other, "by the tilt: difference")
    assert claim.verdict == "contradicted"
    apart = {name for name, part in claim.parts if part.verdict == "contradicted"}
    assert all("squared" in name for name in apart)
    assert len(apart) == 6
    near = experiment.check(CONFIG, read(tmp_path / "near", monkeypatch, gain={"squared": 0.03}, noise=0.03))
    assert said(near, "by the tilt: difference").verdict == "undecided"


def test_choice_and_judgement_are_apart() -> None:
    """Noise alone: the best of many on its own half is above one half, on the other it is not."""
    rng = np.random.default_rng(0)
    wins = 0.5 + 0.05 * rng.normal(size=(400, 2, 1, 20))
    counts = np.stack([wins, 1 - wins], -1)
    chosen = tuned_rates(counts)
    assert abs(chosen.mean() - 0.5) < 4 * chosen.std() / 20
    assert wins.max(-1).mean() > 0.55
    counts[:, :, :, 3] = np.nan  # a runaway is never chosen
    assert np.isfinite(tuned_rates(counts)).all()


def test_best_strengths_are_those_that_were_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, monkeypatch, shift={"squared": -0.5, "exponential": 2.0}, noise=0.0)
    best = table[(table["kind"] == "best") & (table["measure"] == "tilt") & (table["trained"] == 8)].set_index("loss")
    assert best.loc["logistic", "value"] == pytest.approx(0.1, rel=0.05)
    assert best.loc["squared", "shift"] == pytest.approx(-0.5, abs=0.1)
    assert best.loc["exponential", "shift"] == pytest.approx(2.0, abs=0.15)
    checks = experiment.check(CONFIG, table)
    assert said(checks, "by the tilt, is what κ alone").verdict == "contradicted"
    rows = table[(table["kind"] == "number") & (table["measure"] == "tilt")]
    numbers = rows.set_index(["name", "trained"])["value"]
    assert numbers["few over many", 8] == pytest.approx(np.log2(0.1 / 0.03), abs=0.1)
    assert numbers["own over tilt", 8] == pytest.approx(np.log2(3.0), abs=0.1)
    assert numbers["limit margin", 8] == pytest.approx(20.0)
    assert said(checks, "falls with the number").verdict == "holds"
    assert said(checks, "need more regularization").verdict == "holds"


def test_a_best_strength_at_the_edge_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, monkeypatch, shift=dict.fromkeys(TUNED_LOSSES, 6.0), noise=0.0)
    rows = table[(table["kind"] == "best") & (table["measure"] == "tilt")]
    assert rows["at_edge"].astype(bool).any()
    checks = experiment.check(CONFIG, table)
    assert said(checks, "by the tilt, is what κ alone").verdict == "undecided"
    x = np.array([1.0, 2.0, 4.0, 8.0])
    rates = np.array([[0.5, 0.6, np.nan, 0.4], [np.nan] * 4])
    at, edge = peaks(x, rates)
    assert at[0] == pytest.approx(np.log(2.0))
    assert np.isnan(at[1])
    assert edge.all()  # beside a runaway nobody knows


def test_runaways_are_counted_and_enter_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, monkeypatch, away=(("hinge", 0.1),))
    policies = table[table["kind"] == "policy"]
    away = policies["status"] == "runaway"
    assert away.sum() == 8
    omega = table[(table["kind"] == "omega") & (table["measure"] == "tilt")]
    assert omega.groupby("runaways")["points"].max().to_dict() == {False: 6, True: 7}  # of seven strengths
    checks = experiment.check(CONFIG, table)
    assert said(checks, "share of runaways").verdict in ("undecided", "contradicted")
    record = Record("llm-equal-when-tuned", dataclasses.asdict(CONFIG), table)
    caption = " ".join(figure.caption({"llm-equal-when-tuned": record}).split())
    assert f"8 of {len(policies)} policies ran away" in caption
    drawn = figure.draw({"llm-equal-when-tuned": record})
    crosses = [
        line for ax in drawn.axes for line in ax.lines if line.get_marker() == "x" and len(line.get_xdata()) == 1
    ]
    assert len(crosses) == 2
    assert "8 ran away" in experiment.summary(CONFIG, table)


def test_variance_is_decomposed_by_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(tmp_path, monkeypatch)
    rows = table[(table["kind"] == "omega") & (table["measure"] == "tilt") & (table["trained"] == 8)]
    assert rows.groupby("runaways")["value"].sum().nunique() == 1  # nobody ran away
    rows = rows[~rows["runaways"].astype(bool)]
    assert sorted(set(rows["points"])) == [2, 3, 4, 5, 6, 7]
    widest = rows[rows["points"] == 7].set_index("effect")
    assert widest.loc["strength", "value"] > 0.8
    assert abs(widest.loc["loss", "value"]) < 0.05
    assert widest.loc["gap", "value"] == pytest.approx(widest.loc["strength", "value"] - widest.loc["loss", "value"])
    checks = experiment.check(CONFIG, table)
    assert said(checks, "a policy ran away, ω² of β").verdict == "holds"
    kl = table[(table["kind"] == "omega") & (table["measure"] == "log KL") & (table["points"] == 7)].set_index("effect")
    assert kl.loc["strength", "value"].to_numpy() == pytest.approx(1.0, abs=1e-6)


def test_a_window_is_the_analysis_of_its_part() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(4, 3, 5))
    values[:, :, 2] += 9.0
    rows = pd.DataFrame(omega_rows(values, np.geomspace(0.01, 1.0, 5), values))
    found = rows[(rows["points"] == 3) & (rows["effect"] == "loss")].iloc[0]
    whole = anova(values.transpose(1, 2, 0)[:, 1:4], ["loss", "strength"], blocks="seed")["loss"]
    assert (found["value"], found["f"]) == pytest.approx((whole.omega, whole.f))
    assert found["decades"] == pytest.approx(1.0)
    again = [
        anova(np.delete(values, k, 0).transpose(1, 2, 0)[:, 1:4], ["loss", "strength"], blocks="seed")["loss"].omega
        for k in range(4)
    ]
    pseudo = 4 * whole.omega - 3 * np.array(again)
    half = 3.182446 * pseudo.std(ddof=1) / 2  # Student's for three degrees of freedom
    assert found["high"] - found["value"] == pytest.approx(half, rel=1e-5)


def test_the_clock_by_closed_forms() -> None:
    """φ of squared, exponential and hinge are known; logistic's x solves x/2 + (e^2x − 1)/4 = y."""
    from scipy.optimize import brentq

    for y in (0.5, 2.0, 6.0):
        x = brentq(lambda x, y=y: x / 2 + np.expm1(2 * x) / 4 - y, 0.0, 10.0)
        for loss, gain in (
            ("squared", lambda z: -np.expm1(-z) / z),
            ("exponential", lambda z: np.log1p(z) / z),
        ):
            wanted = brentq(lambda z, g=gain, x=x, y=y: g(z) - x / y, 1e-6, 1e3)
            assert clock_shift(loss, y) == pytest.approx(np.log2(wanted / y), abs=0.02)
        assert clock_shift("hinge", y) == pytest.approx(np.log2(1 / x), abs=0.05)
        assert clock_shift("logistic", y) == pytest.approx(0.0, abs=1e-6)


def test_without_a_study_it_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    with pytest.raises(NotRun, match="python -m llm tuned --preset cpu"):
        experiment.cells(CONFIG)
    table = read(tmp_path, monkeypatch)
    assert experiment.provenance(table)["git"] == {"commit": "abc"}
