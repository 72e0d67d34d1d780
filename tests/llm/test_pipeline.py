"""A tiny study: what it leaves, that it resumes, and that errors are one line."""

from __future__ import annotations

import dataclasses
import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llm.__main__ import main, what_next  # noqa: E402
from llm.data.splits import read_examples_of, read_splits  # noqa: E402
from llm.data.types import read_pairs  # noqa: E402
from llm.study.pipeline import STAGES, Study, run_study  # noqa: E402
from llm.study.presets import PRESETS, preset  # noqa: E402
from llm.study.tables import COLUMNS, sweep_table  # noqa: E402
from llm.sweep.plan import GridConfig, grid_cells, plan_stacks  # noqa: E402
from llm.training.config import TrainConfig  # noqa: E402

TINY = dataclasses.replace(
    preset("tiny"),
    grid=GridConfig(losses=("logistic", "hinge"), strengths=(0.3, 3.0), reused_losses=("logistic",), reused_epochs=4),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run_study(TINY, tmp_path_factory.mktemp("study"), say=lambda line: None)


def test_the_sweep_s_table_has_the_promised_columns(study: Study) -> None:
    table = pd.read_parquet(study.folder / "sweep.parquet")
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    assert set(table["step"]) == {3, 6}
    assert len(table) == (4 + 2) * 2
    assert table["status"].eq("ok").all()
    assert table["kl"].gt(0).all()
    assert table[["win_rate", "ties", "beyond_taylor"]].stack().between(0, 1).all()
    assert (table["win_rate_low"] <= table["win_rate"]).all()
    assert (table["win_rate"] <= table["win_rate_high"]).all()
    # κ of the logistic loss is ½, of hinge 0: βκ, and β itself
    fresh = table[table["arm"] == "fresh"].drop_duplicates(["loss", "beta"]).set_index("loss")["beta"]
    assert sorted(fresh["logistic"]) == [0.6, 6.0]
    assert sorted(fresh["hinge"]) == [0.3, 3.0]


def test_pairs_and_run_json(study: Study) -> None:
    pairs = read_pairs(study.folder / "pairs.jsonl")
    first = json.loads((study.folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert {"prompt", "chosen", "rejected", "reward_chosen", "reward_rejected"} <= set(first)
    rewards = np.array([[pair.reward_chosen, pair.reward_rejected] for pair in pairs], dtype=float)
    assert np.mean(rewards[:, 0] >= rewards[:, 1]) > 0.6, "labels follow the reward, with noise"
    document = json.loads((study.folder / "run.json").read_text(encoding="utf-8"))
    assert {"config", "seeds", "versions", "device", "git", "seconds"} <= set(document)
    assert set(document["seconds"]) == set(STAGES) - {"tables"}, "the last stage writes it"
    assert (
        document["reports"]["sft"]["before"]["nats_per_token"] > document["reports"]["sft"]["after"]["nats_per_token"]
    )


def test_samples_agree_with_the_sweep(study: Study) -> None:
    samples = pd.read_parquet(study.folder / "samples.parquet")
    table = pd.read_parquet(study.folder / "sweep.parquet")
    last = table[table["step"] == 6]
    for row in last.itertuples():
        name = f"{row.loss}-{row.strength:g}-s0-{row.arm}"
        part = samples[samples["name"] == name]
        assert len(part) == TINY.counts.evaluation
        assert part["reward"].mean() == pytest.approx(row.reward_mean, abs=1e-6)


def test_no_prompt_is_in_two_parts(study: Study) -> None:
    splits = study.records
    assert splits is not None
    assert study.pairs is not None
    parts = [splits.fine_tuning, splits.pairs, splits.held_out, splits.evaluation]
    prompts = [example.prompt for part in parts for example in part]
    assert len(set(prompts)) == len(prompts)
    assert {pair.prompt for pair in study.pairs.held_out} <= {example.prompt for example in splits.held_out}


@pytest.mark.parametrize("name", [*PRESETS])
def test_a_seed_moves_every_seed_in_a_study_and_no_two_meet(name: str) -> None:
    drawn = [dataclasses.replace(preset(name), seed=seed).seeded().seeds for seed in range(4)]
    assert drawn[0] == preset(name).seeds, "seed 0 leaves the parts' seeds as they are"
    assert {"seed", "sft.seed", "pairs.seed", "reward.seed", "reward.judge.seed", "grid.seeds"} <= set(drawn[0])
    for where, value in drawn[0].items():
        found = [{*one[where]} if isinstance(value, tuple) else {one[where]} for one in drawn]
        assert sum(map(len, found)) == len(set.union(*found)), where


def test_studies_of_two_seeds_share_nothing_that_is_drawn(study: Study, tmp_path: Path) -> None:
    other = run_study(TINY, tmp_path, until="sweep", seed=1, say=lambda line: None)
    first, second = study.records, other.records
    assert first is not None
    assert second is not None
    for part in ("fine_tuning", "pairs", "held_out", "evaluation"):
        prompts = [{example.prompt for example in getattr(records, part)} for records in (first, second)]
        assert len(prompts[0] & prompts[1]) <= 0.1 * len(prompts[0]), part
    weights = [next(iter(one.reference.model.parameters())) for one in (study, other)]  # type: ignore[union-attr]
    assert weights[0].shape != weights[1].shape or not torch.equal(*weights)
    assert study.sweep is not None
    assert other.sweep is not None
    seeds = [{cell.seed for cell in one.sweep.cells} for one in (study, other)]  # type: ignore[union-attr]
    assert seeds == [{0}, {1000}]
    assert study.config.seed == 0
    assert other.config.seed == 1, "what was asked for"


def test_checkpoints_are_written_at_the_steps_asked_for() -> None:
    """And not at every common divisor of them, which for (30, 99, 300) is 3: a hundred checkpoints."""
    asked = TrainConfig(300, evaluate_at=(30, 99, 300))
    assert [step for step in range(1, 301) if asked.saves(step)] == [30, 99, 300]
    resumable = dataclasses.replace(asked, checkpoint_every=100)
    assert [step for step in range(1, 301) if resumable.saves(step)] == [30, 99, 100, 200, 300]
    assert [step for step in range(1, 301) if resumable.evaluates(step)] == [30, 99, 300]


def test_running_again_does_nothing_and_a_missing_part_is_made_again(study: Study) -> None:
    before = pd.read_parquet(study.folder / "sweep.parquet")
    files = sorted((study.folder / "evaluations").glob("*.json"))
    policies = sorted(study.folder.glob("sweep/stacks/*/policy-*"))
    assert len(files) == len(policies) == 12
    assert not [*study.folder.glob("sweep/stacks/*/step-*")], "checkpoints go when policies are exported"
    stamps = {file: file.stat().st_mtime_ns for file in [*files, *policies]}
    files[0].unlink()
    policies[-1].unlink()  # its stack is trained again
    time.sleep(0.01)
    said: list[str] = []
    again = run_study(TINY, study.folder, say=said.append)
    assert again.sweep is not None
    assert again.sweep.trained == 1
    assert "1 stacks were missing" in "".join(said)
    pd.testing.assert_frame_equal(before, pd.read_parquet(study.folder / "sweep.parquet"), rtol=1e-5)
    changed = {file for file, stamp in stamps.items() if file.stat().st_mtime_ns != stamp}
    assert {file.parent for file in changed if "policy-" in file.name} == {policies[-1].parent}
    assert changed & set(files) == {files[0]}
    third = run_study(TINY, study.folder, say=lambda line: None)
    assert third.sweep is not None
    assert third.sweep.trained == 0


def test_what_an_evaluation_needs_does_not_key_training(study: Study) -> None:
    other = dataclasses.replace(TINY, evaluation=dataclasses.replace(TINY.evaluation, gradient_pairs=4))
    again = run_study(other, study.folder, say=lambda line: None)
    assert again.sweep is not None
    assert again.sweep.trained == 0
    table = pd.read_parquet(study.folder / "sweep.parquet")
    back = run_study(TINY, study.folder, say=lambda line: None)
    assert back.sweep is not None
    assert back.sweep.trained == 0
    before = pd.read_parquet(study.folder / "sweep.parquet")
    assert table["win_rate"].tolist() == before["win_rate"].tolist()
    assert table["gradient_norm"].tolist() != before["gradient_norm"].tolist()


def test_the_judge_is_in_the_key_of_evaluations(study: Study) -> None:
    from llm.study.stages import Setting, comparison_key

    class Judge:
        name = "judge"

        def __init__(self, fingerprint: str) -> None:
            self.fingerprint = fingerprint

    assert study.records is not None
    assert study.reference is not None
    assert study.gold is not None
    assert study.pairs is not None
    keys = {
        comparison_key(
            Setting(study.config, study.folder), study.records, study.reference, gold, study.pairs.held_out
        )
        for gold in (study.gold, study.gold._replace(judge=Judge("a")), study.gold._replace(judge=Judge("b")))
    }  # fmt: skip
    assert len(keys) == 3


def test_a_policy_without_an_evaluation_is_no_row(study: Study) -> None:
    assert study.sweep is not None
    assert study.evaluations is not None
    with pytest.raises(ValueError, match="has no evaluation after step 3"):
        sweep_table(study.sweep, study.evaluations[1:], (3, 6))


def test_stages_are_commands_and_stop_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["base", "--preset", "tiny", "--out", str(tmp_path / "s")]) == 0
    told = capsys.readouterr().out
    assert "base:" in told
    assert "sft:" not in told
    assert not (tmp_path / "s" / "sft").exists()
    assert "tables in" not in told


def test_a_finished_study_says_where_its_tables_are_and_what_is_next(study: Study) -> None:
    first, after, *_ = what_next(study.folder).splitlines()
    assert first.startswith(f"tables in {study.folder}: ")
    named = [word.strip(",") for word in first.split() if word.strip(",").endswith((".parquet", ".jsonl", ".json"))]
    assert len(named) == 4
    assert all((study.folder / name).is_file() for name in named)
    assert f"GPO_LLM={study.folder.parent} " in after
    assert after.endswith(f"--set study={study.folder.name}")
    assert "GPO_LLM" not in what_next(Path("out/llm/cpu"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--preset", "tiny", "--data", "/nowhere/at/all"], "does not exist"),
        (["run", "--preset", "tiny", "--device", "cuda"], "GPU"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main([*arguments, "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().err.strip()
    assert message in told
    assert "\n" not in told


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="tiny, cpu"):
        preset("huge")
    with pytest.raises(ValueError, match="dppo"):
        GridConfig(losses=("dppo",))
    with pytest.raises(ValueError, match="strengths above 0"):
        GridConfig(strengths=(0.0,))
    with pytest.raises(ValueError, match="last step must be"):
        dataclasses.replace(TINY, training=TrainConfig(6, evaluate_at=(3,)))
    with pytest.raises(ValueError, match="seed is -1"):
        run_study("tiny", "unused", seed=-1)
    with pytest.raises(ValueError, match="workers is 0"):
        run_study("tiny", "unused", workers=0)
    with pytest.raises(ValueError, match="accepted are data, base"):
        run_study("tiny", "unused", until="nothing")


@pytest.mark.parametrize("name", [*PRESETS])
def test_presets_are_sound(name: str) -> None:
    config = preset(name)
    cells = grid_cells(config.grid)
    assert len({cell.name for cell in cells}) == len(cells)
    assert (
        config.counts.pairs * config.pairs.pairs_per_prompt >= 0.7 * config.training.steps * config.training.batch_size
    )
    stacks = plan_stacks(cells, config.stack or 4)
    assert sorted(cell.name for stack in stacks for cell in stack) == sorted(cell.name for cell in cells)
    assert all(len({(cell.seed, cell.arm) for cell in stack}) == 1 for stack in stacks)
    if name == "cpu":
        assert len(cells) == 30
    if name == "small":
        assert len({cell.strength for cell in cells}) >= 6
        assert {cell.seed for cell in cells} == {0, 1, 2}
        assert {cell.arm for cell in cells} == {"fresh", "reused"}


def test_stack_sizes_are_measured_once_a_study(tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY, stack=None, grid=dataclasses.replace(TINY.grid, losses=("squared", "logistic")),
        training=TrainConfig(2, batch_size=4, evaluate_at=(2,)),
    )  # fmt: skip
    study = run_study(config, tmp_path, until="sweep", say=lambda line: None)
    measured = study.folder / "sweep" / "plan.json"
    found = json.loads(measured.read_text())
    sizes = [timing["size"] for timing in found["timings"]]
    assert sizes == [1, 2, 3, 4][: len(sizes)]
    assert found["stack_size"] == min(found["timings"], key=lambda timing: timing["seconds"])["size"]
    assert study.sweep is not None
    # of 4 fresh cells and of 2 that reuse their pairs, grouped apart and evenly
    groups = -(-4 // found["stack_size"])
    assert max(len(stack.cells) for stack in study.sweep.stacks) == -(-4 // groups)
    before = measured.stat().st_mtime_ns
    again = run_study(config, tmp_path, until="sweep", say=lambda line: None)
    assert measured.stat().st_mtime_ns == before, "whatever the machine does later"
    assert again.sweep is not None
    assert [stack.cells for stack in again.sweep.stacks] == [stack.cells for stack in study.sweep.stacks]
    assert again.sweep.trained == 0


def test_adapters_over_a_model_from_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from llm.policy.models import LoraSettings

    made = run_study(TINY, tmp_path / "first", until="base", say=lambda line: None)
    policy = dataclasses.replace(
        TINY.policy, source=str(made.folder / "base"), lora=LoraSettings(rank=2, targets=("q_proj", "v_proj"))
    )
    config = dataclasses.replace(
        TINY, policy=policy, grid=GridConfig(losses=("squared", "logistic"), strengths=(0.3,), learning_rate=0.01),
        training=TrainConfig(steps=4, batch_size=8, warmup=10), stack=2, workers=1,
    )  # fmt: skip
    study = run_study(config, tmp_path / "second", say=lambda line: None)
    table = pd.read_parquet(study.folder / "sweep.parquet")
    assert table["status"].eq("ok").all()
    assert table["kl"].between(1e-6, 10).all()


def test_a_cell_that_breaks_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY, grid=GridConfig(losses=("exponential", "logistic"), strengths=(300.0,), learning_rate=0.3),
        training=TrainConfig(6, batch_size=8, max_grad_norm=1e9, evaluate_at=(6,)), stack=2, workers=1,
    )  # fmt: skip
    said: list[str] = []
    study = run_study(config, tmp_path, say=said.append)
    table = pd.read_parquet(study.folder / "sweep.parquet").set_index("loss")
    assert table.loc["exponential", "status"].startswith("nan at step")
    assert pd.isna(table.loc["exponential", "kl"])
    assert table.loc["logistic", "status"] == "ok"
    assert any("stopped: exponential-300-s0-fresh: nan at step" in line for line in said)


def _write(path: Path, rows: list[dict[str, Any]], *, packed: bool = False) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if packed:
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


KINDS = {
    "summaries": lambda i: {"source": f"text {i} speaks of boat {i}", "summary": f"boat {i}", "category": "c"},
    "pairs": lambda i: {"prompt": f"question {i} ?", "chosen": f"yes {i}", "rejected": f"no {i} no"},
    "labelled": lambda i: {
        "text": f"word{i} was a very {'good' if i % 2 else 'bad'} day {i}",
        "label": "positive" if i % 2 else "negative",
    },
}


@pytest.mark.parametrize("kind", [*KINDS])
def test_records_of_every_kind_are_dealt_out(tmp_path: Path, kind: str) -> None:
    for number, split in enumerate(("train", "validation", "test")):
        rows = [KINDS[kind](1000 * number + i) for i in range(120)]
        _write(tmp_path / f"{split}.jsonl{'.gz' if number else ''}", rows, packed=bool(number))
    counts = dataclasses.replace(TINY.counts, fine_tuning=40, reward=30, pairs=30, held_out=20, evaluation=10)
    splits = read_splits(tmp_path, counts, max_prompt=TINY.max_prompt)
    assert splits.kind == kind
    sizes = [
        len(part) for part in (splits.fine_tuning, splits.reward, splits.pairs, splits.held_out, splits.evaluation)
    ]
    assert sizes == [40, 30, 30, 20, 10]
    prompts = [e.prompt for part in (splits.fine_tuning, splits.reward, splits.pairs) for e in part]
    assert len(set(prompts)) == 100
    assert "kept" in splits.report
    again, other = (read_splits(tmp_path, counts, max_prompt=TINY.max_prompt, seed=seed) for seed in (1, 2))
    assert [e.prompt for e in again.pairs] != [e.prompt for e in splits.pairs]
    assert {e.prompt for e in again.pairs} != {e.prompt for e in other.pairs}
    assert [len(part) for part in (again.fine_tuning, again.pairs, again.evaluation)] == [40, 30, 10]


def test_a_missing_split_and_a_mixture_of_kinds_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", [KINDS["pairs"](i) for i in range(9)])
    with pytest.raises(FileNotFoundError, match="validation"):
        read_splits(tmp_path, TINY.counts, max_prompt=200)
    _write(tmp_path / "validation.jsonl", [KINDS["pairs"](i) for i in range(9)])
    _write(tmp_path / "test.jsonl", [KINDS["summaries"](i) for i in range(9)])
    with pytest.raises(ValueError, match="pairs and summaries"):
        read_splits(tmp_path, TINY.counts, max_prompt=200)
    examples, report = read_examples_of(tmp_path / "train.jsonl", words=2)
    assert examples == []
    assert "over-long" in report


def test_a_study_of_labelled_texts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    for split, number in (("train", 260), ("validation", 60), ("test", 60)):
        rows = []
        for i in range(number):
            good = bool(rng.random() < 0.5)
            words = rng.choice(["fine", "lovely", "great"] if good else ["awful", "sad", "poor"], 3)
            rows.append(
                {"text": f"{split} note {i} says {' '.join(words)}", "label": "positive" if good else "negative"}
            )
        _write(data / f"{split}.jsonl", rows)
    counts = dataclasses.replace(TINY.counts, fine_tuning=120, reward=80, pairs=60, held_out=40, evaluation=24)
    grid = GridConfig(losses=("logistic",), strengths=(0.3,))
    study = run_study(
        dataclasses.replace(TINY, counts=counts, grid=grid), tmp_path / "out", data=data, say=lambda line: None
    )
    document = json.loads((study.folder / "run.json").read_text(encoding="utf-8"))
    assert document["reports"]["reward"]["gold"]["accuracy"] > 0.9
    table = pd.read_parquet(study.folder / "sweep.parquet")
    assert "judge_win_rate" in table, "a judge trained on other texts stands beside the gold reward"
    assert table["judge_win_rate"].between(0, 1).all()
