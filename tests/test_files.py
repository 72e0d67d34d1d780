"""Files: whole or not at all, and nothing that was changed or is another's passes when it is read back."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpo_analysis.files import (
    DamagedFile,
    check_folder,
    file_digest,
    read_sealed,
    remove_stale,
    seal_folder,
    seal_json,
    temporary_folder,
    unseal_json,
    write_sealed,
    write_whole,
)
from gpo_analysis.records import read_record

ROOT = Path(__file__).resolve().parents[1]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=200), st.text(max_size=20), st.randoms(use_true_random=False))
def test_sealed_bytes_come_back_and_no_changed_byte_does(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str, chance: random.Random
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "file"
    write_sealed(path, data, name)
    assert read_sealed(path, name) == data
    whole = path.read_bytes()
    at, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
    changed = whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
    for broken in (changed, whole[:at], whole + b"\n", b""):
        path.write_bytes(broken)
        with pytest.raises(DamagedFile, match="is damaged"):
            read_sealed(path, name)


def test_a_sealed_file_is_not_taken_for_another(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a", b"1", "cell a")
    with pytest.raises(DamagedFile, match="a holds cell a, not cell b"):
        read_sealed(tmp_path / "a", "cell b")
    with pytest.raises(FileNotFoundError):
        read_sealed(tmp_path / "b", "cell b")


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.randoms(use_true_random=False))
def test_sealed_json_comes_back_and_no_changed_byte_does(document: dict[str, object], chance: random.Random) -> None:
    document.pop("sha256", None)
    text = seal_json(document)
    assert unseal_json(text, "f") == document
    assert unseal_json(text.replace(b"\n", b"\r\n"), "f") == document
    at = chance.randrange(len(text))
    for broken in (text[:at] + bytes([text[at] ^ 1 << chance.randrange(8)]) + text[at + 1 :], text[:at], b"[]", b""):
        with pytest.raises(DamagedFile, match="f is damaged"):
            unseal_json(broken, "f")


def test_the_seal_keeps_its_key_and_json_its_numbers() -> None:
    with pytest.raises(ValueError, match="key 'sha256'"):
        seal_json({"sha256": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        seal_json({"x": float("nan")})


def test_a_sealed_folder_is_checked_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "below").mkdir(parents=True)
    (folder / "weights").write_bytes(b"0123")
    (folder / "below" / "config").write_text("{}")
    with pytest.raises(DamagedFile, match="has no seal"):
        check_folder(folder, "model 1")
    seal_folder(folder, "model 1", {"loss": 0.5})
    assert check_folder(folder, "model 1") == {"loss": 0.5}
    assert not (folder / ".tmp" / "weights").exists()
    with pytest.raises(DamagedFile, match="holds model 1, not model 2"):
        check_folder(folder, "model 2")
    whole = (folder / "seal.json").read_bytes()
    (folder / "seal.json").write_bytes(seal_json({"key": "1"}))  # sound, and of another file
    with pytest.raises(DamagedFile, match=r"seal\.json is another document \(it has no 'name'\)"):
        check_folder(folder, "model 1")
    (folder / "seal.json").write_bytes(whole)
    (folder / "below" / "config").write_text("{ }")
    with pytest.raises(DamagedFile, match=r"below/config is damaged"):
        check_folder(folder, "model 1")
    (folder / "below" / "config").unlink()
    with pytest.raises(DamagedFile, match=r"below/config is missing"):
        check_folder(folder, "model 1")
    (folder / "below" / "config").write_text("{}")
    (folder / "modeling.py").write_text("")
    with pytest.raises(DamagedFile, match=r"modeling.py is not of this folder"):
        check_folder(folder, "model 1")
    assert len(file_digest(folder / "weights")) == 64


def test_what_was_there_stays_when_a_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_sealed(tmp_path / "a", b"old", "a")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"a was not written: No space left on device"):
        write_sealed(tmp_path / "a", b"new", "a")
    assert read_sealed(tmp_path / "a", "a") == b"old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".tmp", "a", "lock"]


def test_stale_temporaries_go_and_those_being_written_stay(tmp_path: Path) -> None:
    assert remove_stale(tmp_path) == 0
    left = tmp_path / ".tmp" / "left-by-a-killed-process"
    with temporary_folder(tmp_path) as mine:
        left.mkdir()
        (left / "table.parquet").write_bytes(b"half")
        assert remove_stale(tmp_path) == 0
        assert left.exists()
        assert mine.exists()
    assert remove_stale(tmp_path) == 1
    assert not left.exists()


def test_the_next_writer_clears_away_what_a_killed_one_left(tmp_path: Path) -> None:
    left = tmp_path / ".tmp" / "left"
    left.mkdir(parents=True)
    (left / "model").write_bytes(b"half")
    write_whole(tmp_path / "x", b"1")
    assert not left.exists()


def test_a_writer_killed_at_random_moments_leaves_whole_records_only(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables of records are Parquet")
    script = """
        import itertools, sys, pandas as pd
        from gpo_analysis.records import Record, write_record
        for i in itertools.count():
            write_record(Record("demo", {"i": i, "run": sys.argv[2]}, pd.DataFrame({"i": [i] * 1000})), sys.argv[1])
            if not i:
                print("ready", flush=True)
    """
    chance = random.Random(0)
    for run in range(4):
        command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), str(run)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(chance.uniform(0.02, 0.3))
            writer.send_signal(signal.SIGKILL)
    for folder in (tmp_path / "demo").iterdir():
        record = read_record(folder)
        assert (record.table["i"] == record.config["i"]).all()
    remove_stale(tmp_path)
    assert [path.name for path in (tmp_path / ".tmp").iterdir()] == ["lock"]
