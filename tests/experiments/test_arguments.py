"""The experiment on real votes, on votes made up for the purpose; and what it says where there are none."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import gpo_analysis as gpo
from experiments import arguments
from experiments._debates import votes
from experiments.framework import NotRun
from fuzz.small import computed, make_votes

CONFIG = arguments.Config(strengths=(0.5, 1.0))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPO_DATA", str(tmp_path))
    return make_votes(tmp_path)


def test_without_data_it_says_how_to_give_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPO_DATA", raising=False)
    with pytest.raises(NotRun, match="--data or GPO_DATA"):
        arguments.cells(CONFIG)
    monkeypatch.setenv("GPO_DATA", str(tmp_path))
    with pytest.raises(NotRun, match=r"train\.jsonl\.gz, .* not found in ukp_arguments/"):
        arguments.cells(CONFIG)


def test_cells_follow_the_data(data: Path) -> None:
    before = arguments.cells(CONFIG)
    assert len(before) == 6
    assert not any(str(data) in json.dumps(cell) for cell in before)  # the place of the data is no part of the result
    with gzip.open(data / "test.jsonl.gz", "at", encoding="utf-8") as stream:
        stream.write("\n")
    changed = {cell["sha256"] for cell in arguments.cells(CONFIG)} - {cell["sha256"] for cell in before}
    assert changed == {hashlib.sha256((data / "test.jsonl.gz").read_bytes()).hexdigest()}
    with pytest.raises(ValueError, match=r"test\.jsonl\.gz has changed since the run was planned"):
        arguments.run(CONFIG, **next(cell for cell in before if cell["file"] == "test"))


def test_a_run_ranks_by_quality() -> None:
    _, _, table = computed("arguments")
    assert set(table["loss"]) == set(gpo.PAPER_LOSSES)
    one = table[(table["strength"] == 1.0) & table["right"].notna()]
    assert (one["right"] <= one["tested"]).all()
    logistic = one[one["loss"] == "logistic"]
    assert logistic["right"].sum() / logistic["tested"].sum() > 0.75
    quality = [np.corrcoef(scores, range(8))[0, 1] for scores in logistic["scores"]]
    assert min(quality) > 0.8
    kl = table[table["loss"] == "squared"].pivot_table(index="prompt", columns="strength", values="kl")
    assert (kl[0.5] > kl[1.0]).all()


def test_cyclic_triples_are_counted() -> None:
    cycle = np.array([[0, 2, 0], [0, 0, 2], [2, 0, 0]], dtype=float)
    assert arguments.cyclic_triples(cycle) == (1, 1)
    assert arguments.cyclic_triples(cycle.T) == (1, 1)
    assert arguments.cyclic_triples(np.triu(np.ones((4, 4)), 1)) == (4, 0)
    assert arguments.cyclic_triples(np.ones((3, 3))) == (0, 0)


def test_equal_scores_are_half_right() -> None:
    table = np.array([[0, 3, 3], [2, 0, 5], [2, 0, 0]], dtype=float)
    assert arguments.right_on(np.array([2.0, 1.0, 0.0]), table) == 3.0
    assert arguments.right_on(np.array([0.0, 1.0, 2.0]), table) == 0.0
    assert arguments.right_on(np.array([1.0, 1.0, 0.0]), table) == 2.5


def test_undecided_votes_count_half() -> None:
    row = {"chosen_id": "a", "rejected_id": "b", "votes_chosen": 3, "votes_rejected": 1, "votes_equal": 1}
    np.testing.assert_array_equal(votes([row], {"a": 0, "b": 1}), [[0.0, 3.5], [1.5, 0.0]])
