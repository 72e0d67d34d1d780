"""The experiments on language models, on a made-up study whose answers are known."""

from __future__ import annotations

import dataclasses
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo
from experiments._llm import Study
from experiments.framework import NotRun
from fuzz.small import computed, make_study
from gpo_analysis.records import Record

NAMES = ("frontier", "kl_and_mu_square", "side_by_side", "taylor", "domains")


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    make_study(tmp_path / "one")
    return tmp_path


def _ran(name: str, **change: Any) -> tuple[Any, Any, pd.DataFrame]:
    module = importlib.import_module(f"experiments.llm_{name}")
    config = module.Config()
    fields = {field.name for field in dataclasses.fields(config)}
    wanted = {"study": "one", "prompts": 4, "resamples": 50, "studies": ("one", "two", "three"), **change}
    config = dataclasses.replace(config, **{key: value for key, value in wanted.items() if key in fields})
    table = pd.concat([module.run(config, **cell) for cell in module.cells(config)], ignore_index=True)
    kept = io.BytesIO()
    table.to_parquet(kept, index=False)  # as the record does: texts come back as another type
    return module, config, pd.read_parquet(kept)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "domains"])
def test_without_a_study_nothing_is_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    module = importlib.import_module(f"experiments.llm_{name}")
    with pytest.raises(NotRun, match="python -m llm run --preset nothing"):
        module.cells(dataclasses.replace(module.Config(), study="nothing"))


def _verdict(checks: list[Any], words: str) -> Any:
    found = [check for check in checks if words in check.claim]
    assert len(found) == 1, [check.claim for check in checks]
    return found[0]


def test_a_loss_that_wins_is_told_apart(studies: Path) -> None:
    make_study(studies / "apart", gain={"squared": 0.1}, seed=3)
    for study, equal in (("one", True), ("apart", False)):
        module, config, table = _ran("side_by_side", study=study)
        found = dict(_verdict(module.check(config, table), "no loss at its best").parts)
        assert (found["exponential over squared"].verdict == "contradicted") is not equal
        assert found["exponential over logistic"].verdict != "contradicted"
        frontier, config, table = _ran("frontier", study=study)
        assert (_verdict(frontier.check(config, table), "best win rates").verdict == "contradicted") is not equal


def test_the_square_far_from_the_reference_parts(studies: Path) -> None:
    module, config, table = _ran("kl_and_mu_square", near=0.8)
    rows = table[table["kind"] == "measured"]
    assert rows["offline"].to_numpy() == pytest.approx(0.95 * rows["mu_squared_loss"].to_numpy())
    ratios = dict(_verdict(module.check(config, table), "½E[ρ²] over 2KL").parts)
    assert ratios["on-policy"].computed == pytest.approx(1.0)
    assert _verdict(module.check(config, table), "share of pairs").holds is None, "one is a function of the other here"


def test_taylor_reads_what_is_there(studies: Path) -> None:
    module, config, table = _ran("taylor")
    checks = module.check(config, table)
    assert dict(_verdict(checks, "rank correlation").parts)["logistic"].computed == pytest.approx(1.0, abs=0.02)
    measured = dict(_verdict(checks, "measured over predicted").parts)["logistic"].computed
    assert measured == pytest.approx(-np.log(1.1))
    half = module.progress(table)["half"]
    assert half.between(5, 9).all(), "1 − e^(−t/10) is half of its last value at t = 6.8"


def test_the_population_optimum_is_that_of_the_whole_set_of_samples(studies: Path) -> None:
    """Merging responses of equal reward changes nothing: against the problem with every sample by itself."""
    study = Study.find("one")
    rewards = np.array(study.baseline["reference_rewards"])[:1]
    asked = pd.DataFrame({"loss": ["logistic", "squared", "hinge"], "strength": 0.7})
    found = study.optimum(1, asked).set_index("loss")
    n = rewards.shape[1]
    uniform = np.full(n, 1 / n)
    for name in ("logistic", "squared"):
        beta = float(found.loc[name, "beta"])
        solution = gpo.PreferenceProblem(gpo.bradley_terry(rewards[0]), uniform, uniform).solve(name, beta)
        assert found.loc[name, "kl"] == pytest.approx(solution.kl, rel=1e-4)
        assert found.loc[name, "mu_squared_loss"] == pytest.approx(solution.mu_squared_loss, rel=1e-4)
        beats = (rewards < rewards.T) + 0.5 * (rewards == rewards.T)
        assert found.loc[name, "win_rate"] == pytest.approx(float(solution.policy @ beats @ uniform), rel=1e-5)


def test_domains_need_two(studies: Path) -> None:
    with pytest.raises(NotRun, match="found one"):
        _ran("domains")
    make_study(studies / "two", best=0.3, seed=1)
    module, config, table = _ran("domains")
    assert _verdict(module.check(config, table), "largest over smallest domain").holds
    one = table[~(table["seed"] > 0)]
    assert {check.verdict for check in module.check(config, one)} == {"undecided"}, "one seed decides nothing"
    assert "Not run: three" in module.summary(config, table)


def test_a_study_that_changed_is_not_read_for_another(studies: Path) -> None:
    module = importlib.import_module("experiments.llm_side_by_side")
    config = module.Config(study="one")
    (axes,) = module.cells(config)
    with (studies / "one" / "samples.parquet").open("ab") as stream:
        stream.write(b"\0")
    assert module.cells(config) != [axes]
    with pytest.raises(ValueError, match="'one' has changed since the run was planned"):
        module.run(config, **axes)


@pytest.mark.parametrize("name", NAMES)
def test_captions_say_whose_the_settings_are(name: str) -> None:
    full = f"llm-{name.replace('_', '-')}"
    _, config, table = computed(full)
    figure = importlib.import_module(f"figures.llm_{name}")
    caption = " ".join(figure.caption({full: Record(full, dataclasses.asdict(config), table)}).split())
    assert "settings ours" in caption
