"""The experiments on language models, on a made-up study whose answers are known."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo
from experiments import _llm
from experiments.framework import NotRun

NAMES = ("frontier", "equal_strength", "kl_and_mu_square", "side_by_side", "variance", "taylor", "domains")
LOSSES = ("logistic", "squared", "hinge", "exponential")
STRENGTHS = (0.1, 0.3, 1.0)


def make_study(folder: Path, *, best: float = 0.3, seed: int = 0, gain: dict[str, float] | None = None) -> None:
    """A study whose win rate peaks at one strength, alike for all losses unless ``gain`` says otherwise."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows, samples, traces = [], [], []
    for cell_seed in (0, 1):
        for name in LOSSES:
            kappa = float(gpo.analyze(name).curvature_ratio)
            for strength in STRENGTHS:
                beta = strength / kappa if kappa else strength
                for step in (10, 40):
                    kl = 0.02 * step / strength * np.exp(0.02 * rng.normal())
                    rate = 0.65 - 0.05 * np.log(strength / best) ** 2 + (gain or {}).get(name, 0.0)
                    z = 0.3 * strength * np.sqrt(kl) / (kappa or 1.0)
                    row = {
                        "loss": name, "beta": beta, "seed": cell_seed, "step": step, "strength": strength,
                        "arm": "fresh", "status": "ok", "win_rate": rate, "win_rate_low": rate - 0.02,
                        "win_rate_high": rate + 0.02, "ties": 0.1, "kl": kl, "kl_stderr": 0.01 * kl,
                        "mu_squared_loss": 2 * kl * (1 + kl), "mu_squared_loss_on_policy": 2 * kl,
                        "mu_squared_loss_on_policy_stderr": 0.01, "mean_rho": 0.1, "human_win_rate": 0.2,
                        "human_win_rate_low": 0.1, "human_win_rate_high": 0.3, "length": 9.0,
                        "length_controlled_win_rate": rate, "reward_mean": 2.0, "signature": "none",
                        "margin_q50": z, "margin_q90": 2 * z, "margin_q99": 3 * z, "beyond_taylor": 0.0,
                        "gradient_norm": 1.0, "held_out_loss": 0.6, "loss_at_zero": 0.7,
                    }  # fmt: skip
                    exact = name in ("squared", "hinge")
                    for order in (1, 2, 4):
                        error = 0.0 if exact and order > 1 else z**order
                        row |= {f"relative_error_{order}": error, f"weight_error_{order}": 1.1 * error}
                        row[f"cosine_{order}"] = 1 - error**2 / 2
                    rows.append(row)
                for i, noise in enumerate(rng.normal(size=400)):
                    samples.append(
                        {
                            "name": f"{name}-{strength:g}-s{cell_seed}-fresh", "step": 40, "prompt_index": i,
                            "reward": noise + 10 * (gain or {}).get(name, 0.0), "text": None,
                        }
                    )  # fmt: skip
                for step in range(1, 41):
                    traces.append(
                        {
                            "loss": name, "strength": strength, "beta": beta, "seed": cell_seed, "arm": "fresh",
                            "step": step, "loss_value": 0.6, "mean_rho": 1 - np.exp(-step / 10), "mu_squared_loss": 0.1,
                        }
                    )  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "sweep.parquet")
    pd.DataFrame(samples).to_parquet(folder / "samples.parquet")
    pd.DataFrame(traces).to_parquet(folder / "trace.parquet")
    (folder / "baseline").mkdir()
    best_of = [
        {
            "n": n, "kl_bound": np.log(n) - (n - 1) / n, "mean_reward": 1.0, "win_rate": 1 - 1 / (n + 1),
            "win_rate_low": 1 - 1 / (n + 1) - 0.02, "win_rate_high": 1 - 1 / (n + 1) + 0.02, "ties": 0.1,
        }
        for n in (1, 2, 4, 8)
    ]  # fmt: skip
    report = {"best_of_n": best_of, "reference_rewards": rng.integers(0, 5, (6, 16)).astype(float).tolist()}
    (folder / "baseline" / "stage.json").write_text(json.dumps({"key": "k", "report": report}))
    run = {
        "config": {"pairs": {"labels": {"temperature": 1.0}}},
        "reports": {"pairs": {"pairs": 95, "identical": 5}},
    }
    (folder / "run.json").write_text(json.dumps(run))


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    make_study(tmp_path / "one")
    _llm._problems.cache_clear()
    return tmp_path


def _ran(name: str, **change: Any) -> tuple[Any, Any, pd.DataFrame]:
    module = importlib.import_module(f"experiments.llm_{name}")
    config = module.Config()
    fields = {field.name for field in dataclasses.fields(config)}
    wanted = {"study": "one", "prompts": 4, "resamples": 50, "studies": ("one", "two", "three"), **change}
    config = dataclasses.replace(config, **{key: value for key, value in wanted.items() if key in fields})
    table = pd.concat([module.run(cell) for cell in module.cells(config)], ignore_index=True)
    kept = io.BytesIO()
    table.to_parquet(kept, index=False)  # as the record does: texts come back as another type
    return module, config, pd.read_parquet(kept)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "domains"])
def test_without_a_study_nothing_is_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPO_LLM", str(tmp_path))
    module = importlib.import_module(f"experiments.llm_{name}")
    with pytest.raises(NotRun, match="python -m llm run --preset nothing"):
        module.cells(dataclasses.replace(module.Config(), study="nothing"))


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_checks_and_tells(name: str, studies: Path) -> None:
    make_study(studies / "two", best=0.9, seed=1)
    _, config, table = _ran(name)
    module = importlib.import_module(f"experiments.llm_{name}")
    checks = module.check(config, table)
    assert checks
    assert all(check.holds is not None or check.note for check in checks)
    told = module.summary(config, table)
    assert "nan" not in told
    assert told.endswith(".")
    assert set(module.PRESETS) == {"quick", "paper"}


def _verdict(checks: list[Any], words: str) -> Any:
    found = [check for check in checks if words in check.claim]
    assert len(found) == 1, [check.claim for check in checks]
    return found[0]


def test_a_loss_that_wins_is_told_apart(studies: Path) -> None:
    make_study(studies / "apart", gain={"squared": 0.1}, seed=3)
    for study, equal in (("one", True), ("apart", False)):
        module, config, table = _ran("side_by_side", study=study)
        assert _verdict(module.check(config, table), "largest distance").holds is equal
        frontier, config, table = _ran("frontier", study=study)
        assert _verdict(frontier.check(config, table), "best win rates").holds is equal
        _, config, table = _ran("variance", study=study)
        beta = table[(table["quantity"] == "win_rate")].set_index("source")["measured"]
        assert bool(beta["loss"] < 0.01) is equal
        assert bool(beta["loss"] > 0.1) is not equal


def test_the_best_strength_is_found_between_grid_points(studies: Path) -> None:
    module, config, table = _ran("equal_strength")
    best = table[table["kind"] == "best"].set_index("loss")
    assert best["strength"].to_numpy() == pytest.approx(0.3, rel=1e-6)
    assert best.loc["logistic", "beta"] == pytest.approx(0.6, rel=1e-6)
    assert all(check.holds for check in module.check(config, table) if check.claim.startswith("best β"))


def test_the_square_far_from_the_reference_parts(studies: Path) -> None:
    module, config, table = _ran("kl_and_mu_square", near=0.8)
    rows = table[table["kind"] == "measured"]
    assert rows["offline"].to_numpy() == pytest.approx(0.95 * rows["mu_squared_loss"].to_numpy())
    assert _verdict(module.check(config, table), "on-policy ½E[ρ²] over 2KL").computed == pytest.approx(1.0)
    assert _verdict(module.check(config, table), "share of pairs").holds is False, "one is a function of the other here"


def test_taylor_reads_what_is_there(studies: Path) -> None:
    module, config, table = _ran("taylor")
    checks = module.check(config, table)
    assert _verdict(checks, "logistic: rank correlation").computed == pytest.approx(1.0, abs=0.02)
    assert _verdict(checks, "logistic: median").computed == pytest.approx(1 / 1.1)
    half = module.progress(table)["half"]
    assert half.between(5, 9).all(), "1 − e^(−t/10) is half of its last value at t = 6.8"


def test_the_population_optimum_is_that_of_the_whole_set_of_samples(studies: Path) -> None:
    """Merging responses of equal reward changes nothing: against the problem with every sample by itself."""
    rewards = np.array(_llm.read_baseline("one")["reference_rewards"])[:1]
    found = _llm.population_optimum("one", ["logistic", "squared", "hinge"], [0.7], prompts=1).set_index("loss")
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
    assert "Not run: three" in module.summary(config, table)


@pytest.mark.parametrize("name", NAMES)
def test_figures_draw_from_the_record(name: str, studies: Path) -> None:
    from gpo_analysis.records import Record

    make_study(studies / "two", seed=1)
    _, config, table = _ran(name)
    figure = importlib.import_module(f"figures.llm_{name}")
    records = {
        f"llm-{name.replace('_', '-')}": Record(f"llm-{name.replace('_', '-')}", dataclasses.asdict(config), table)
    }
    assert set(figure.EXPERIMENTS) == set(records)
    drawn = figure.draw(records)
    assert len(drawn.axes) >= 1
    assert all(ax.has_data() for ax in drawn.axes)
    assert "settings ours" in " ".join(figure.caption(records).split())
