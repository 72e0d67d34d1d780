"""The log of pairs: what is recorded when, what a run that goes on keeps, and how processes share the rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from gpo_analysis import get_loss  # noqa: E402
from gpo_analysis.integrations import pair_log  # noqa: E402
from tests.integrations.stand_ins import OLD_CALLS, holder  # noqa: E402

pytestmark = OLD_CALLS


def pair_trainer(**named: Any) -> Any:
    columns = [(-5.0, -6.0, -5.5, -5.0, 3, 4), (-1.0, -2.0, -2.0, -2.5, 1, 2)]
    given = {
        "pair_logps": lambda rows: columns[: len(rows)], "is_world_process_zero": lambda: True,
        "from_first": lambda value: value, "objective": get_loss("squared"), "beta": 0.5, "reduction": "sum",
        "link": "reverse_kl", "ld_alpha": None, "use_weighting": False,
    }  # fmt: skip
    return holder(**(given | named))


def state(step: int) -> Any:
    return holder(global_step=step, is_world_process_zero=True)


def test_rows_are_recorded_when_they_are_due_and_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"p": 0.75}, {}]
    log = pair_log.PairLog(pair_trainer(), path, rows, 2)
    log.on_train_begin(None, state(0), None)
    for step in (1, 2, 3, 4, 5):
        log.on_step_end(None, state(step), None)
    log.on_train_end(None, state(5), None)
    log.on_train_end(None, state(5), None)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in found] == [0, 0, 2, 2, 4, 4, 5, 5]
    z = np.array([0.5 * (0.5 - -1.0), 0.5 * (1.0 - 0.5)])
    own = 0.75 * (1 - z[0]) ** 2 + 0.25 * (1 + z[0]) ** 2
    assert found[0] == {
        "step": 0, "policy_chosen": -5.0, "policy_rejected": -6.0, "reference_chosen": -5.5, "reference_rejected": -5.0,
        "chosen_length": 3, "rejected_length": 4, "loss": pytest.approx(own), "soft_label": 0.75,
    }  # fmt: skip
    assert found[1]["loss"] == pytest.approx((1 - z[1]) ** 2)
    assert "soft_label" not in found[1]
    none = pair_log.PairLog(pair_trainer(), path, rows, 0)
    none.steps = {0, 2, 4, 5}
    none.on_step_end(None, state(6), None)
    assert len(path.read_text().splitlines()) == 8, "0 is start and end alone"
    other = pair_log.PairLog(pair_trainer(is_world_process_zero=lambda: False), path, rows, 1)
    other.record(7)
    assert len(path.read_text().splitlines()) == 8, "the first process writes"


def test_a_training_that_goes_on_keeps_whole_steps_up_to_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    row = dict.fromkeys(pair_log.COLUMNS, -1.0)
    steps = [0, 0, 2, 2, 3, 4, 4, 6, 6]
    lines = [json.dumps(row | {"step": step, "loss": 0.5}) for step in steps]
    path.write_text("\n".join([*lines[:2], "[1, 2]", '{"step": 2}', "no json", *lines[2:]]) + "\n" + lines[0][:20])
    log = pair_log.PairLog(pair_trainer(), path, [{}, {}], 2)
    log.on_train_begin(None, state(4), None)
    kept = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert kept == [0, 0, 2, 2, 4, 4]
    assert log.steps == {0, 2, 4}
    assert pair_log.read_rows(tmp_path / "none.jsonl") == []


def test_pairs_that_are_not_finite_are_left_out_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    columns = [(-5.0, -math.inf, -5.5, -5.0, 3, 4), (-1.0, -2.0, -2.0, -2.5, 1, 2)]
    log = pair_log.PairLog(pair_trainer(pair_logps=lambda rows: columns), path, [{}, {}], 1)
    with pytest.warns(UserWarning, match="step 3: 1 of 2 pairs have log-probabilities that are not finite"):
        log.record(3)
    assert [json.loads(line)["chosen_length"] for line in path.read_text().splitlines()] == [1]
    far = [(-1000.0, -2.0, -2.0, -2.5, 1, 2)]
    log = pair_log.PairLog(
        pair_trainer(pair_logps=lambda rows: far, objective=get_loss("exponential"), beta=5.0), path, [{}], 1
    )
    log.record(4)
    assert "loss" not in json.loads(path.read_text().splitlines()[-1]), "an infinite loss is no number of JSON"


def test_losses_of_batches_and_of_tokens_are_none_of_a_pair() -> None:
    from gpo_analysis.losses import get_batch_loss

    columns, labels = [(-5.0, -6.0, -5.5, -5.0, 3, 4)], [1.0]
    for changes in ({"objective": get_batch_loss("aot")}, {"ld_alpha": 0.5}, {"use_weighting": True}):
        assert np.isnan(pair_log.losses_of(pair_trainer(**changes), columns, labels)).all()
    mean = pair_log.losses_of(pair_trainer(reduction="mean"), columns, labels)
    assert mean == pytest.approx([(1 - 0.5 * (0.5 / 3 + 1.0 / 4)) ** 2])
    chi = pair_log.losses_of(pair_trainer(link="chi_po"), columns, labels)
    assert chi == pytest.approx([(1 - 0.5 * (math.exp(0.5) + 0.5 - math.exp(-1) + 1)) ** 2])


@pytest.mark.parametrize(("count", "size", "world"), [(5, 2, 1), (5, 2, 2), (4, 3, 2), (1, 2, 3), (0, 2, 2)])
def test_processes_share_rows_in_equally_many_batches(count: int, size: int, world: int) -> None:
    parts = [
        list(pair_log._own_batches(holder(num_processes=world, process_index=me), count, size)) for me in range(world)
    ]
    assert {tuple(map(len, part)) for part in parts} == {tuple(map(len, parts[0]))}
    assert {row for part in parts for batch in part for row in batch} == set(range(count))
    assert all(len(batch) <= size for part in parts for batch in part)
    assert sum(map(len, parts[0])) == -(-count // world)


@pytest.mark.parametrize("has_reference", [True, False])
def test_references_are_those_of_the_reference_model_or_of_the_policy_before_training(has_reference: bool) -> None:
    from datasets import Dataset

    asked: list[Any] = []

    def logps(model: Any, inputs: list[int]) -> tuple[Any, Any]:
        asked.append(model)
        return torch.tensor([-1.0 - k for k in inputs]), torch.tensor([-2.0 - k for k in inputs])

    trainer = holder(
        model="policy", ref_model="reference" if has_reference else None, compute_ref_log_probs=logps,
        accelerator=holder(num_processes=1, process_index=0), _prepare_inputs=lambda batch: batch,
        data_collator=lambda rows: [row["k"] for row in rows],
    )  # fmt: skip
    found = pair_log.with_reference_columns(trainer, Dataset.from_dict({"k": [0, 1, 2]}), 2)
    assert asked == ["reference" if has_reference else "policy"] * 2
    assert found["ref_chosen_logps"][:] == [-1.0, -2.0, -3.0]
    assert found["ref_rejected_logps"][:] == [-2.0, -3.0, -4.0]
