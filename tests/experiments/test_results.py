"""Committed results: one small whole record an experiment, and never a large one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.framework import results
from experiments.framework.discovery import get_experiments
from experiments.framework.results import NotClean, TooLarge, keep_result, recheck_result
from fuzz.small import computed
from gpo_analysis.records import Record, RecordError, find_records, read_record, write_record


def made(out: Path, value: float, rows: int = 3, name: str = "demo") -> Record:
    table = pd.DataFrame({"x": np.random.default_rng(0).normal(size=rows) + value})
    record = Record(name, {"value": value}, table, {"preset": "paper"})
    write_record(record, out)
    return record


def test_the_latest_record_takes_the_place_of_the_one_kept_before(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        record = made(tmp_path / f"records{value}", value)
        kept, folder = keep_result("demo", tmp_path / f"records{value}", tmp_path / "results")
        assert kept.key == record.key
        assert find_records(tmp_path / "results", "demo") == (folder,)
        pd.testing.assert_frame_equal(read_record(folder).table, record.table)
    keep_result("demo", tmp_path / "records2.0", tmp_path / "results")
    assert len(find_records(tmp_path / "results")) == 1


def test_a_record_too_large_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    made(tmp_path / "small", 1.0)
    _, folder = keep_result("demo", tmp_path / "small", tmp_path / "results")
    made(tmp_path / "large", 2.0, rows=200_000)
    with pytest.raises(TooLarge, match="at most 1,000,000 are committed"):
        keep_result("demo", tmp_path / "large", tmp_path / "results")
    assert find_records(tmp_path / "results") == (folder,)


def test_all_together_have_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "records", 1.0, name="one")
    made(tmp_path / "records", 1.0, name="two")
    keep_result("one", tmp_path / "records", tmp_path / "results")
    (folder,) = find_records(tmp_path / "results")
    monkeypatch.setattr(results, "MOST_BYTES_IN_ALL", sum(f.stat().st_size for f in folder.iterdir()) + 10)
    with pytest.raises(TooLarge, match="would hold"):
        keep_result("two", tmp_path / "records", tmp_path / "results")
    keep_result("one", tmp_path / "records", tmp_path / "results")


def test_a_record_of_uncommitted_changes_is_refused(tmp_path: Path) -> None:
    git = {"commit": "0123456789abcdef", "dirty": True}
    write_record(Record("demo", {"value": 1.0}, pd.DataFrame({"x": [1.0]}), {"preset": "paper", "git": git}), tmp_path)
    with pytest.raises(NotClean, match="uncommitted changes over 0123456789"):
        keep_result("demo", tmp_path, tmp_path / "results")
    assert not find_records(tmp_path / "results")


def test_nothing_to_keep_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no record of experiment 'demo'"):
        keep_result("demo", tmp_path, tmp_path / "results")


def test_what_is_committed_in_this_project_is_whole_and_small() -> None:
    root = Path(__file__).resolve().parents[2] / "results"
    folders = find_records(root)
    assert len({folder.parent.name for folder in folders}) == len(folders)
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in folders if read_record(folder)]
    assert max(sizes, default=0) <= results.MOST_BYTES
    assert sum(sizes) <= results.MOST_BYTES_IN_ALL


CLEAN = {"commit": "fedcba9876543210", "dirty": False}


def kept_losses(out: Path, **meta: object) -> Record:
    """A committed result of a short experiment, with a verdict that its table does not give."""
    _, config, table = computed("losses")
    made_by = {
        "preset": "paper",
        "git": {"commit": "0123", "dirty": False},
        "code_hash": "of the run",
        "summary": "old",
    }
    wrong = [{"claim": "an older claim", "holds": False}]
    record = Record("losses", dataclasses.asdict(config), table, {**made_by, "checks": wrong, **meta})
    write_record(record, out)
    return record


def test_claims_are_decided_anew_from_the_table_and_the_run_stays_what_it_was(tmp_path: Path) -> None:
    old = kept_losses(tmp_path)
    (experiment,) = get_experiments(["losses"])
    new, folder = recheck_result(experiment, tmp_path, CLEAN)
    assert find_records(tmp_path, "losses") == (folder,)
    pd.testing.assert_frame_equal(read_record(folder).table, old.table)
    module, config, table = computed("losses")
    assert new.meta["checks"] == [check.to_json() for check in module.check(config, table)]
    assert new.meta["git"] == old.meta["git"]
    assert (new.meta["checked"]["git"], new.meta["code_hash_of_run"]) == (CLEAN, "of the run")
    assert new.meta["summary"] == " ".join(module.summary(config, table).split())
    again, _ = recheck_result(experiment, tmp_path, {"commit": "another", "dirty": False})
    assert again.meta == new.meta  # the same code gives the same verdicts


def test_checks_that_no_commit_holds_and_tables_that_lack_something_are_refused(tmp_path: Path) -> None:
    (experiment,) = get_experiments(["losses"])
    with pytest.raises(RecordError, match="no record"):
        recheck_result(experiment, tmp_path, CLEAN)
    record = kept_losses(tmp_path)
    with pytest.raises(NotClean, match="uncommitted changes over fedcba9876"):
        recheck_result(experiment, tmp_path, {**CLEAN, "dirty": True})
    for config, table, match in (
        ({**record.config, "width": 3}, record.table, "has the fields width"),
        (record.config, record.table.drop(columns="slope"), "lacks what its checks need"),
    ):
        write_record(Record("losses", config, table, record.meta), tmp_path / match)
        with pytest.raises(ValueError, match=match):
            recheck_result(experiment, tmp_path / match, CLEAN)


def test_a_record_whose_claims_come_out_the_same_is_left_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_losses(tmp_path)
    (experiment,) = get_experiments(["losses"])
    new, folder = recheck_result(experiment, tmp_path, CLEAN)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr(results, "code_hash", lambda name: "of other code")
    again, same = recheck_result(experiment, tmp_path, {"commit": "another", "dirty": False})
    assert (again.key, same, find_records(tmp_path, "losses")) == (new.key, folder, (folder,))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_field_that_is_new_and_empty_changes_no_record(tmp_path: Path) -> None:
    kept_losses(tmp_path)
    (experiment,) = get_experiments(["losses"])
    new, _ = recheck_result(experiment, tmp_path, CLEAN)
    older = [{k: v for k, v in check.items() if k != "mechanism"} for check in new.meta["checks"]]
    write_record(dataclasses.replace(new, meta={**new.meta, "checks": older}), tmp_path / "older")
    again, _ = recheck_result(experiment, tmp_path / "older", CLEAN)
    assert again.meta["checks"] == older
    held = [{**check, "holds": not check["holds"]} for check in older]
    write_record(dataclasses.replace(new, meta={**new.meta, "checks": held}), tmp_path / "held")
    again, _ = recheck_result(experiment, tmp_path / "held", CLEAN)
    assert again.meta["checks"] == new.meta["checks"]
