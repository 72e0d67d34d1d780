"""What is noted of runs, and how a reader of records copes where nothing is."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from gpo_analysis.files import seal_json
from gpo_analysis.records import Record, RecordError, find_records, read_record, write_record
from gpo_analysis.runs import (
    RunStatus,
    damage_of_catalogue,
    latest_record,
    read_catalogue,
    read_status,
    replace_record,
    write_catalogue,
    write_status,
)


def record(seed: int, **meta: object) -> Record:
    return Record("demo", {"seed": seed}, pd.DataFrame({"x": [seed]}), meta)


def test_status_round_trip_and_its_absence(tmp_path: Path) -> None:
    assert read_status(tmp_path, "demo") is None
    status = RunStatus("demo", "quick", "failed", "KeyError: 'x'", "Traceback …")
    write_status(status, tmp_path)
    assert read_status(tmp_path, "demo") == status
    note = tmp_path / ".status" / "demo.json"
    for damaged in (b'{"name": "demo"', note.read_bytes().replace(b"failed", b"complete"), seal_json({"name": "demo"})):
        note.write_bytes(damaged)
        found = read_status(tmp_path, "demo")
        assert found is not None
        assert (found.status, found.key) == ("unknown", None)
        assert "the note of the last run" in found.why
        assert "is damaged" in found.why
    write_status(RunStatus("other", "quick", "complete"), tmp_path)
    note.write_bytes((tmp_path / ".status" / "other.json").read_bytes())
    assert "is the note of 'other'" in getattr(read_status(tmp_path, "demo"), "why", "")


def test_a_name_leads_nowhere_else(tmp_path: Path) -> None:
    write_status(RunStatus("demo", "quick", "complete"), tmp_path / "a")
    assert read_status(tmp_path / "b", "../../a/.status/demo") is None
    with pytest.raises(RecordError, match="no experiment can be called"):
        latest_record(tmp_path / "b", "../a/demo")


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(ValueError, match="status 'done'; accepted are complete"):
        RunStatus("demo", "quick", "done")


def test_the_latest_record_is_that_of_the_last_run_not_the_last_written(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables of records are Parquet")
    quick, paper = record(1), record(2)
    for age, item in enumerate((quick, paper)):
        folder = write_record(item, tmp_path)
        os.utime(folder / "record.json", (age, age))
    assert latest_record(tmp_path, "demo").config == {"seed": 2}
    write_status(RunStatus("demo", "quick", "complete", key=quick.key), tmp_path)
    assert latest_record(tmp_path, "demo").config == {"seed": 1}
    write_status(RunStatus("demo", "quick", "interrupted", "stopped"), tmp_path)
    assert latest_record(tmp_path, "demo").config == {"seed": 2}


def test_a_missing_record_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no record of experiment 'demo'.*python -m experiments run demo --out"):
        latest_record(tmp_path, "demo")
    write_status(RunStatus("demo", "quick", "not run", "no data given"), tmp_path)
    with pytest.raises(RecordError, match="not run: no data given"):
        latest_record(tmp_path, "demo")


def test_the_catalogue_is_what_was_noted_or_else_what_lies_there(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables of records are Parquet")
    assert read_catalogue(tmp_path) == []
    write_record(record(1, claim="c", figure="f"), tmp_path)
    assert read_catalogue(tmp_path) == [{"name": "demo", "claim": "c", "figure": "f"}]
    listed = [{"name": "other", "claim": "x", "figure": "y"}]
    write_catalogue(listed, tmp_path)
    assert read_catalogue(tmp_path) == listed
    assert damage_of_catalogue(tmp_path) == damage_of_catalogue(tmp_path / "nothing") == ""
    (note,) = (tmp_path / ".status").glob(".*.json")
    note.write_bytes(note.read_bytes().replace(b"other", b"othex"))
    assert read_catalogue(tmp_path) == [{"name": "demo", "claim": "c", "figure": "f"}]
    assert "is damaged" in damage_of_catalogue(tmp_path)
    note.write_bytes(seal_json({"experiments": 1}))
    assert "is no list of experiments" in damage_of_catalogue(tmp_path)


def test_a_record_takes_the_place_of_all_of_its_name(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables of records are Parquet")
    for seed, load in ((0, 1.0), (1, 1.0), (1, 2.0)):  # another key, and the same key with other numbers beside it
        folder = replace_record(record(seed, load=load), tmp_path)
        assert list(find_records(tmp_path, "demo")) == [folder]
        assert read_record(folder).meta["load"] == load
    kept = read_record(folder)
    with pytest.raises(ValueError, match="object"):
        replace_record(record(2, load=object()), tmp_path)
    assert read_record(folder).key == kept.key
