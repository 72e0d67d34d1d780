"""A bounded part of ``python -m fuzz.same_bits``: one experiment in every way; and that it sees a bit that differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import same_bits
from gpo_analysis.records import Record, find_records, read_record, write_record


def test_an_experiment_is_the_same_bits_in_every_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Some 12 s of processor time: each way starts programs of its own, one of them several times as it is killed."""
    assert same_bits.main(["--only", "losses"]) == 0, capsys.readouterr()
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{way}: 1 of 1 experiments bit for bit" for way in same_bits.WAYS]


def test_a_last_bit_and_a_failure_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def planted(names: list[str], out: Path, data: Path, how: str, **more: str) -> list[str]:
        failed = same_bits.run_small(names, out)
        if how == "two":
            (folder,) = find_records(out, "losses")
            record = read_record(folder)
            value = record.table["value"] if "value" in record.table else record.table.select_dtypes("float").iloc[:, 0]
            table = record.table.assign(**{str(value.name): value.where(value.index != 3, value + 2**-40)})
            write_record(Record("losses", record.config, table, record.meta), tmp_path / "changed")
            (folder / "table.parquet").unlink()
            for file in (tmp_path / "changed" / "losses" / record.key).iterdir():
                file.replace(folder / file.name)
        return failed if how != "killed" else ["losses: failed: planted"]

    monkeypatch.setattr(same_bits, "elsewhere", planted)
    assert same_bits.main(["--only", "losses"]) == 1
    said = capsys.readouterr()
    assert "two processes: 0 of 1 experiments bit for bit" in said.out
    assert "another folder: 1 of 1" in said.out
    assert "failed: killed: losses: failed: planted" in said.err


def test_a_run_that_made_nothing_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(same_bits, "elsewhere", lambda *_, **__: ["losses: killed"])
    assert same_bits.main(["--only", "losses", "--way", "killed"]) == 1
    said = capsys.readouterr()
    assert "killed: 0 of 0 experiments bit for bit" in said.out
    assert "failed: losses: killed" in said.err
