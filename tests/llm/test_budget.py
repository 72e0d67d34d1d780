"""Studies within a budget: the gpu presets at a reduced size, what is dropped, where a stopped run goes on."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llm.budget import Budget, TimeIsUp, coarse_to_fine  # noqa: E402
from llm.evaluation.evaluate import evaluate  # noqa: E402
from llm.policy.batches import TokenizedPairs  # noqa: E402
from llm.policy.logprobs import logprobs_of, pair_logprobs, precision, reference_logprobs  # noqa: E402
from llm.policy.models import LlamaSize, count_parameters, small_llama  # noqa: E402
from llm.policy.packing import unpacked  # noqa: E402
from llm.policy.tokenizers import TokenizerConfig, train_tokenizer  # noqa: E402
from llm.study.budgeted import Speed  # noqa: E402
from llm.study.config import StudyConfig  # noqa: E402
from llm.study.pipeline import Study, run_study  # noqa: E402
from llm.study.presets import preset  # noqa: E402
from llm.study.tables import DROPPED  # noqa: E402
from llm.sweep.plan import GridConfig, conditions, grid_cells  # noqa: E402
from llm.training.cells import SweepCell  # noqa: E402
from llm.training.config import TrainConfig  # noqa: E402
from llm.training.trainer import train_stack  # noqa: E402

FULL = preset("gpu")
SPEED = Speed(1.0, 1.0, {"kl": 0.0, "mean_rho": 0.0, "win_rate": 0.5})


def small() -> StudyConfig:
    """The gpu preset, every setting as it is but sizes and counts; on a processor."""
    tiny = preset("tiny")
    return dataclasses.replace(
        FULL, counts=tiny.counts, device="cpu",
        policy=dataclasses.replace(
            FULL.policy, size=LlamaSize(hidden=16, layers=1, heads=2), tokenizer=TokenizerConfig("bpe", 300)
        ),
        sft=dataclasses.replace(FULL.sft, steps=8, warmup=2, batch_size=8),
        pairs=dataclasses.replace(FULL.pairs, max_new_tokens=8, keep_unfinished=True),
        grid=dataclasses.replace(
            FULL.grid, losses=("squared", "logistic"), strengths=(0.3, 1.0, 3.0), seeds=(0, 1),
            reused_losses=("squared",),
        ),
        training=dataclasses.replace(FULL.training, steps=3, warmup=1, batch_size=4, evaluate_at=(3,)),
        evaluation=dataclasses.replace(FULL.evaluation, samples=2, second_samples=4, gradient_pairs=4, best_of_pool=4),
        stack=2, budget_seconds=1e9,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[str]]:
    said: list[str] = []
    return run_study(small(), tmp_path_factory.mktemp("gpu"), say=said.append), said


def test_the_gpu_preset_is_what_was_asked_for() -> None:
    tokenizer = train_tokenizer(["a b"], FULL.policy.tokenizer)
    few = count_parameters(small_llama(FULL.policy.size, tokenizer, seed=0))
    most = few + 2 * FULL.policy.size.hidden * (FULL.policy.tokenizer.vocab_size - len(tokenizer))
    assert 3e6 < few < most < 5e6
    training = FULL.training
    assert training.evaluated_steps == (training.steps,), "one evaluation a cell"
    assert [s for s in range(1, training.steps + 1) if training.saves(s)] == [training.steps], "one checkpoint a stack"
    assert training.dtype == FULL.evaluation.dtype == FULL.sft.dtype == "bfloat16"
    assert not training.packed, "no dense mask"
    assert training.bucket > 1
    assert FULL.budget_seconds is not None
    assert FULL.budget_seconds <= 15 * 60
    assert len(FULL.grid.seeds) >= 3


def test_the_gpu_preset_at_a_reduced_size(whole: tuple[Study, list[str]]) -> None:
    study, _ = whole
    table = pd.read_parquet(study.folder / "sweep.parquet")
    assert table["status"].eq("ok").all()
    assert len(table) == len(grid_cells(study.config.grid)) == 3 * 2 * 2 + 3
    assert table["kl"].notna().all()
    assert study.sweep is not None
    assert {stack.cells[0].seed for stack in study.sweep.stacks} == {0, 1}
    assert not [*study.folder.glob("sweep/stacks/*/step-*")], "its one checkpoint went when policies were exported"
    run = json.loads((study.folder / "run.json").read_text(encoding="utf-8"))
    said = run["reports"]["budget"]
    assert said["dropped"] == []
    assert len(said["conditions"]) == 6
    assert said["measured"]["step"] > 0
    # πref as a policy, in bfloat16 on both sides: nothing is left of its rounding
    assert said["measured"]["reference"]["kl"] == 0.0
    assert abs(said["measured"]["reference"]["mean_rho"]) < 1e-6


def test_conditions_and_never_seeds_are_dropped_and_made_up_later(
    whole: tuple[Study, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by one at each question: of a condition it asks at each of 3 steps of 2 stacks."""
    config = small()
    monkeypatch.setattr("llm.study.budgeted.measure_speed", lambda *_: SPEED)
    ticks, said = itertools.count(), list[str]()
    limited = dataclasses.replace(config, budget_seconds=44.0)
    run_study(limited, tmp_path, say=said.append, clock=ticks.__next__)
    table = pd.read_parquet(tmp_path / "sweep.parquet")
    made, dropped = table[table["status"] == "ok"], table[table["status"] == DROPPED]
    assert len(made) + len(dropped) == len(grid_cells(config.grid))
    assert 0 < len(dropped) < len(table)
    assert dropped["kl"].isna().all()
    fresh = made[made["arm"] == "fresh"]
    assert (fresh.groupby(["loss", "strength"])["seed"].nunique() == 2).all(), "conditions are whole"
    assert {0.3} <= set(fresh["strength"]) <= {0.3, 3.0}, "from both ends on"
    report = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["reports"]["budget"]
    assert len(report["conditions"]) + len(report["dropped"]) == 6
    assert report["spent"] <= 44
    assert f"dropped for time: {report['dropped'][0]}" in said[-1]
    # the same command goes on, with what it has
    again = run_study(config, tmp_path, say=lambda line: None)
    assert again.sweep is not None
    later = pd.read_parquet(tmp_path / "sweep.parquet")
    assert later["status"].eq("ok").all()
    expected = pd.read_parquet(whole[0].folder / "sweep.parquet")
    pd.testing.assert_frame_equal(later, expected, rtol=1e-3, atol=1e-5)


def test_a_run_that_stops_within_a_condition_goes_on_from_its_checkpoint(
    whole: tuple[Study, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm.study.budgeted.measure_speed", lambda *_: SPEED)
    config = small()
    for seconds, expected in ((6.0, "fine-tuning stopped after step"), (14.0, "no condition is whole")):
        ticks, said = itertools.count(), list[str]()
        limited = dataclasses.replace(config, budget_seconds=seconds)
        run_study(limited, tmp_path, say=said.append, clock=ticks.__next__)
        assert expected in said[-1]
        assert said[-1].endswith("the same command goes on from here")
        assert not (tmp_path / "sweep.parquet").exists()
    assert [*tmp_path.glob("sweep/stacks/*/step-*")], "the stack in training left a checkpoint"
    assert run_study(config, tmp_path, say=lambda line: None).sweep is not None
    expected_table = pd.read_parquet(whole[0].folder / "sweep.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "sweep.parquet"), expected_table, rtol=1e-3, atol=1e-5)


def test_a_budget_is_of_one_process() -> None:
    with pytest.raises(ValueError, match="one worker"):
        dataclasses.replace(preset("tiny"), budget_seconds=5.0, workers=2)
    with pytest.raises(ValueError, match="above 0"):
        dataclasses.replace(preset("tiny"), budget_seconds=0.0)
    with pytest.raises(ValueError, match="above 0"):
        Budget(-1.0)
    with pytest.raises(TimeIsUp, match="of a budget of 10 s"):
        Budget(10.0, itertools.count(0, 20).__next__).check()


@pytest.mark.parametrize("count", range(1, 12))
def test_every_beginning_spans_the_strengths(count: int) -> None:
    order = coarse_to_fine(range(count))
    assert sorted(order) == [*range(count)]
    for stop in range(2, count + 1):
        kept = sorted(order[:stop])
        gaps = np.diff(kept)
        assert (kept[0], kept[-1]) == (0, count - 1)
        assert gaps.max() <= 2 * gaps.min() + 1, "about even"
    groups = conditions(GridConfig(seeds=(0, 1), reused_losses=("squared",)))
    cells = grid_cells(GridConfig(seeds=(0, 1), reused_losses=("squared",)))
    assert sorted(cell.key for group in groups for cell in group) == sorted(cell.key for cell in cells)
    assert all(len({(cell.strength, cell.arm) for cell in group}) == 1 for group in groups)


def pairs_of_any_width(count: int = 24) -> TokenizedPairs:
    rng = np.random.default_rng(3)

    def ids(low: int, high: int) -> list[int]:
        return rng.integers(3, 20, rng.integers(low, high)).tolist()

    rows = [(ids(2, 30), [*ids(0, 20), 1], [*ids(0, 20), 1]) for _ in range(count)]
    return TokenizedPairs([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], rng.uniform(size=count))


@pytest.fixture(scope="module")
def model() -> Any:
    tokenizer = train_tokenizer([" ".join(f"w{i}" for i in range(40))])
    return small_llama(LlamaSize(hidden=16, layers=2, heads=2), tokenizer, seed=0)


def test_buckets_of_width_change_nothing(model: Any, tmp_path: Path) -> None:
    pairs, cells = pairs_of_any_width(), [SweepCell("logistic", 0.5, 0, 1e-3), SweepCell("squared", 0.5, 0, 1e-3)]
    traces = []
    for bucket, packed, accumulation in ((0, False, 1), (16, False, 1), (16, True, 1), (8, False, 2)):
        config = TrainConfig(4, batch_size=8, bucket=bucket, packed=packed, accumulation=accumulation)
        folder = tmp_path / f"{bucket}-{packed}-{accumulation}"
        reference = reference_logprobs(model, pairs, packed=packed)
        traces.append(train_stack(model, cells, pairs, reference, config, folder=folder).trace)
    for trace in traces[1:]:
        np.testing.assert_allclose(trace, traces[0], rtol=2e-4, atol=2e-5)


def test_rows_of_one_response_carry_no_mask_and_a_padded_width(model: Any) -> None:
    pairs = pairs_of_any_width(6)
    batch = unpacked(pairs, multiple=16)
    assert batch.visible is None
    assert batch.input_ids.shape[1] % 16 == 0
    masked = dataclasses.replace(batch, visible=batch.mask())
    torch.testing.assert_close(pair_logprobs(model, batch), pair_logprobs(model, masked), rtol=1e-5, atol=1e-5)


def test_a_policy_in_half_precision_is_compared_with_its_reference_in_the_same(model: Any) -> None:
    """At π = πref the table's log-probabilities and the policy's are the same; across dtypes they are not."""
    pairs = pairs_of_any_width()
    with precision("cpu", "bfloat16"):
        first = logprobs_of(model, pairs.prompt, pairs.chosen)
        second = logprobs_of(model, pairs.prompt, pairs.chosen)
    assert (first == second).all()
    assert np.abs(first - logprobs_of(model, pairs.prompt, pairs.chosen)).max() > 1e-4
    halves = [reference_logprobs(model, pairs, dtype="bfloat16", packed=False, batch_size=size) for size in (4, 24)]
    whole = reference_logprobs(model, pairs, packed=False)
    # what is left is in which order a product's sums are taken: of how many rows it is of
    assert np.median(np.abs(halves[0] - halves[1])) < 1e-5
    assert np.median(np.abs(halves[0] - whole)) > 1e-3


def test_samples_in_half_precision_are_of_the_policy_whose_kl_is_measured(whole: tuple[Study, list[str]]) -> None:
    """An exact KL along samples agrees with the mean of their log-ratios, in bfloat16 as well."""
    import gpo_analysis as gpo
    from llm.study.pipeline import configure
    from llm.study.stages import Setting, comparison_set

    study = whole[0]
    assert study.records is not None
    assert study.reference is not None
    assert study.gold is not None
    assert study.pairs is not None
    config = configure(study.config)
    against = comparison_set(
        Setting(config, study.folder), study.records, study.reference, study.gold, study.pairs.held_out
    )
    assert against.dtype == "bfloat16"
    torch.manual_seed(0)
    import copy

    other = copy.deepcopy(study.reference.model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    row = evaluate(other, against, gpo.get_loss("squared"), 0.5).row
    assert row["kl"] > 0
    assert abs(row["kl"] - row["kl_sampled"]) < 5 * row["kl_sampled_stderr"]


@pytest.mark.parametrize("name", ["optimum", "tuned", "predicted"])
def test_every_gpu_preset_states_its_budget_and_its_first_pieces_span_the_strengths(name: str) -> None:
    from importlib import import_module

    config = import_module(f"llm.{name}.config").preset("gpu")
    assert 0 < config.budget_seconds <= 15 * 60
    assert len(config.seeds) == 5
    pieces = import_module(f"llm.{name}.study").plan_pieces(config, [0])
    assert [piece.number for piece in pieces] == [*range(len(pieces))]
    cells = [cell for piece in pieces for cell in piece.cells]
    assert len(cells) == len(set(cells))
    first = {cell.strength for cell in pieces[0].cells}
    assert {min(config.strengths), max(config.strengths)} <= first
    assert {cell.loss for cell in pieces[0].cells} == set(config.losses)


def test_pieces_share_a_budget_among_the_seeds(tmp_path: Path) -> None:
    """By a clock that goes on by one at each question: a piece asks at each of its 20 steps, πref at 30."""
    from llm.optimum.config import preset as optimum
    from llm.optimum.study import plan_pieces
    from llm.optimum.study import run_study as run_optimum

    config = dataclasses.replace(optimum("tiny"), strengths=(0.2, 0.4, 0.8), stack=3, budget_seconds=250.0)
    assert [piece.cells[0].strength for piece in plan_pieces(config, [0])] == [0.2, 0.8, 0.4]
    ticks, said = itertools.count(), list[str]()
    limited = dataclasses.replace(config, budget_seconds=190.0)
    assert not run_optimum(limited, tmp_path, say=said.append, clock=ticks.__next__)
    table = pd.read_parquet(tmp_path / "policies.parquet")
    assert set(table["seed"]) == {0, 1}, "no seed is dropped"
    assert set(table[table["seed"] == 0]["strength"]) == set(table[table["seed"] == 1]["strength"]) == {0.2, 0.8}
    assert next(ticks) < 190
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    run = run.get("content", run)
    assert [*run["missing"]] == ["seed-0/piece-2.sealed", "seed-1/piece-2.sealed"]
    assert {cell["strength"] for cells in run["missing"].values() for cell in cells} == {0.4}
    assert any(line.startswith("dropped for time after") and "seed-1/piece-2" in line for line in said)
    # a longer budget is the same study, and makes what was left out
    assert run_optimum(config, tmp_path, say=said.append, clock=itertools.count().__next__)
    assert len(pd.read_parquet(tmp_path / "policies.parquet")) == 2 * 9
    # a piece that would not end is stopped within, and kept no part of
    other = tmp_path / "other"
    slow = itertools.count()
    assert not run_optimum(
        dataclasses.replace(config, budget_seconds=80.0), other, say=said.append, clock=slow.__next__
    )
    assert next(slow) < 90
    assert not [*other.glob("seed-*/*.sealed")]


def test_one_command_runs_all_studies_within_one_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from llm.gpu import run_all, studies
    from llm.optimum.config import OptimumConfig

    assert set(studies("gpu")) == {"optimum-gpu", "predicted-gpu", "tuned-gpu", "gpu"}
    tiny = studies("tiny")
    some = {
        "optimum-tiny": dataclasses.replace(tiny["optimum-tiny"], seeds=(0,), steps=10, strengths=(0.4,)),
        "tiny": dataclasses.replace(small(), grid=GridConfig(losses=("squared",), strengths=(0.3,))),
    }
    assert isinstance(some["optimum-tiny"], OptimumConfig)
    said: list[str] = []
    run_all(tmp_path, some, 600.0, say=said.append)
    assert (tmp_path / "optimum-tiny" / "policies.parquet").is_file()
    assert (tmp_path / "tiny" / "sweep.parquet").is_file()
    assert said[0] == "optimum-tiny: 300 s"
    second = next(line for line in said if line.startswith("tiny: "))
    assert 300 < float(second.split()[1]) <= 600, "what the first did not need"
    said.clear()
    run_all(tmp_path, some, 1.0, say=said.append, clock=itertools.count(0, 10).__next__)
    assert said == [f"{name}: no time is left; the same command goes on from here" for name in some]
    from llm.__main__ import main

    with pytest.raises(SystemExit, match="2"):
        main(["gpu", "--budget-seconds", "0"])
    assert "'0' is no finite number that is accepted (above 0)" in capsys.readouterr().err
