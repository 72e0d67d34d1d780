"""Records: the round trip, what is refused, and that no moment of dying leaves half of one."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpo_analysis.files import seal_json
from gpo_analysis.records import (
    NoRecord,
    Record,
    RecordError,
    canonical_json,
    find_records,
    plain,
    read_record,
    record_key,
    write_record,
)

pytest.importorskip("pyarrow", reason="tables of records are Parquet; a wheel alone has no pyarrow")
ROOT = Path(__file__).resolve().parents[1]


def make(beta: float = 0.1, rows: int = 4, **meta: object) -> Record:
    table = pd.DataFrame({"loss": ["dpo"] * rows, "beta": beta, "kl": np.linspace(0.0, 1.0, rows), "n": range(rows)})
    return Record("demo", {"beta": beta, "seed": 3}, table, {"seed": 3, **meta})


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_reads_back_and_does_not_depend_on_the_order_of_keys(value: object) -> None:
    text = canonical_json({"x": value, "a": 1})
    assert json.loads(text) == {"x": value, "a": 1}
    assert text == canonical_json({"a": 1, "x": value})


def test_plain_takes_what_configurations_are_made_of() -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        betas: tuple[float, ...] = (0.1, 1.0)
        seed: int = 0

    value = plain({"config": Config(), "count": np.int64(3), "x": np.array([1.5]), "flag": np.bool_(True)})
    assert value == {"config": {"betas": [0.1, 1.0], "seed": 0}, "count": 3, "x": [1.5], "flag": True}
    assert type(value["count"]) is int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"beta": float("nan")}, r"value\['beta'\] is nan"),
        ([1.0, float("inf")], r"value\[1\] is inf"),
        ({1: 2}, "key 1"),
        ({"f": {1, 2}}, r"value\['f'\] is a set"),
        (b"x", "bytes"),
    ],
)
def test_plain_names_what_json_cannot_hold(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plain(value)


def test_the_key_depends_on_every_value_and_on_the_code() -> None:
    keys = [
        record_key(config, code)
        for config in ({"beta": 0.1}, {"beta": 0.2}, {"beta": 0.1, "seed": 0}, {"gamma": 0.1})
        for code in ("", "a", "b")
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 for key in keys)
    assert make(code_hash="a").key != make(code_hash="b").key
    assert make(wall_seconds=1.0).key == make(wall_seconds=2.0).key


def test_round_trip(tmp_path: Path) -> None:
    record = make(versions={"python": "3"}, checks=[{"holds": None}])
    folder = write_record(record, tmp_path)
    assert folder == tmp_path / "demo" / record.key
    assert sorted(path.name for path in folder.iterdir()) == ["record.json", "table.parquet"]
    back = read_record(folder)
    pd.testing.assert_frame_equal(back.table, record.table)
    assert (back.name, back.config, back.meta, back.key) == (record.name, record.config, record.meta, record.key)
    assert pd.read_parquet(folder / "table.parquet").shape == (4, 4)
    assert folder.stat().st_mode & 0o777 == 0o755


def test_tables_with_awkward_values_come_back(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"x": [np.inf, -np.inf, np.nan], "s": ["β·κ", "", "|"], "b": [True, False, True], "l": [[1.0], [], [2.0, 3.0]]}
    )
    back = read_record(write_record(Record("odd", {}, table), tmp_path)).table
    np.testing.assert_array_equal(back["x"], table["x"])
    assert back["s"].tolist() == table["s"].tolist()
    assert [list(item) for item in back["l"]] == [[1.0], [], [2.0, 3.0]]
    empty = read_record(write_record(Record("empty", {}, pd.DataFrame({"x": np.array([], dtype=float)})), tmp_path))
    assert empty.table.shape == (0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../up"}, "record name"),
        ({"name": ".hidden"}, "record name"),
        ({"name": ""}, "record name"),
        ({"config": {"x": float("inf")}}, r"config\['x'\] is inf"),
        ({"config": [1]}, "config is a list"),
        ({"meta": {"x": object()}}, r"meta\['x'\] is a object"),
        ({"table": [[1]]}, "table is a list"),
        ({"table": pd.DataFrame([[1, 2]], columns=["a", "a"])}, "distinct strings"),
        ({"table": pd.DataFrame([[1, 2]])}, "distinct strings"),
        ({"table": pd.DataFrame({"a": [1]}, index=[5])}, "index of its own"),
    ],
)
def test_what_cannot_be_a_record_is_refused_at_construction(change: dict[str, object], message: str) -> None:
    parts: dict[str, object] = {"name": "demo", "config": {}, "table": pd.DataFrame({"a": [1]}), "meta": {}}
    with pytest.raises(ValueError, match=message):
        Record(**{**parts, **change})  # type: ignore[arg-type]


def test_a_whole_record_is_kept(tmp_path: Path) -> None:
    folder = write_record(make(run=1), tmp_path)
    write_record(make(run=2), tmp_path)
    assert read_record(folder).meta["run"] == 1


def test_a_damaged_record_is_replaced(tmp_path: Path) -> None:
    folder = write_record(make(run=1), tmp_path)
    (folder / "table.parquet").write_bytes(b"PAR1")
    write_record(make(run=2), tmp_path)
    assert read_record(folder).meta["run"] == 2
    assert list((tmp_path / ".tmp").iterdir()) == [tmp_path / ".tmp" / "lock"]


def damage(folder: Path, what: str) -> None:
    table, document = folder / "table.parquet", folder / "record.json"
    if what == "truncated table":
        table.write_bytes(table.read_bytes()[:-20])
    elif what == "flipped bit":
        data = bytearray(table.read_bytes())
        data[len(data) // 2] ^= 1
        table.write_bytes(bytes(data))
    elif what == "no table":
        table.unlink()
    elif what == "no json":
        document.unlink()
    elif what == "half json":
        document.write_bytes(document.read_bytes()[:40])
    elif what == "binary json":
        document.write_bytes(b"\xff\xfe\x00")
    elif what == "json of something else":
        document.write_text("[1, 2]")
    elif what == "other format":
        document.write_text(document.read_text().replace('"format": 2', '"format": 99'))
    elif what == "changed configuration":
        document.write_text(document.read_text().replace('"beta": 0.1', '"beta": 0.2'))
    elif what == "changed verdict":
        document.write_text(document.read_text().replace('"holds": false', '"holds": true'))
    elif what == "no digest":
        text = document.read_text()
        document.write_text(text.replace('"sha256"', '"sha255"', 1))
    else:
        document.write_text(document.read_text().replace('"name": "demo"', '"name": ".."'))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("truncated table", "table.parquet is damaged"),
        ("flipped bit", "table.parquet is damaged"),
        ("no table", r"no record in .*table\.parquet"),
        ("no json", r"no record in .*record\.json"),
        ("half json", "record.json is damaged"),
        ("binary json", "record.json is damaged"),
        ("json of something else", "record.json is damaged"),
        ("other format", "format 99"),
        ("changed configuration", "record.json is damaged"),
        ("changed verdict", "record.json is damaged"),
        ("no digest", "record.json is damaged"),
        ("bad name", "record.json is damaged"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path: Path, what: str, message: str) -> None:
    record = make(checks=[{"holds": False}])
    folder = write_record(record, tmp_path)
    damage(folder, what)
    with pytest.raises(RecordError, match=message) as caught:
        read_record(folder)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    write_record(record, tmp_path)  # no dead end: writing it again replaces it
    assert read_record(folder).meta == record.meta


def test_no_bit_of_a_record_can_change(tmp_path: Path) -> None:
    folder = write_record(make(checks=[{"holds": False, "claim": "β\u2029 ≤ 1"}], x=1e-5), tmp_path)
    chance = random.Random(0)
    for file, flips in ((folder / "record.json", 1_000), (folder / "table.parquet", 200)):
        sound = file.read_bytes()
        for _ in range(flips):
            data = bytearray(sound)
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            file.write_bytes(bytes(data))
            with pytest.raises(RecordError):
                read_record(folder)
        file.write_bytes(sound.replace(b"\n", b"\r\n") if file.suffix == ".json" else sound)
        read_record(folder)  # as Windows' git may write the text


@pytest.mark.parametrize("other", [("other", None), (None, "0123456789abcdef")])
def test_a_copy_in_anothers_place_is_refused_by_name(tmp_path: Path, other: tuple[str | None, str | None]) -> None:
    folder = write_record(make(), tmp_path)
    copy = tmp_path / (other[0] or folder.parent.name) / (other[1] or folder.name)
    shutil.copytree(folder, copy)
    with pytest.raises(RecordError, match=f"holds the record demo/{folder.name}, a copy"):
        read_record(copy)


def test_a_record_of_the_format_without_a_digest_is_read_and_known_by_it(tmp_path: Path) -> None:
    folder = write_record(make(), tmp_path)
    sealed = json.loads((folder / "record.json").read_text())
    assert read_record(folder).seal == sealed.pop("sha256")
    (folder / "record.json").write_text(json.dumps({**sealed, "format": 1}))
    old = read_record(folder)
    assert (old.seal, old.config) == (None, make().config)
    (folder / "record.json").write_text(json.dumps({**sealed, "format": 1, "config": {"beta": 0.2}}))
    with pytest.raises(RecordError, match="was changed: key"):
        read_record(folder)


def test_a_disk_that_fails_while_reading_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    folder = write_record(make(), tmp_path)
    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(RecordError, match="Input/output error"):
        read_record(folder)


def test_a_table_that_pyarrow_cannot_read_is_told_though_its_checksum_is_right(tmp_path: Path) -> None:
    folder = write_record(make(), tmp_path)
    document = json.loads((folder / "record.json").read_text())
    (folder / "table.parquet").write_bytes(b"nonsense")
    document["table"]["sha256"] = hashlib.sha256(b"nonsense").hexdigest()
    document.pop("sha256")
    (folder / "record.json").write_bytes(seal_json(document))
    with pytest.raises(RecordError, match="does not hold a record") as caught:
        read_record(folder)
    assert "\n" not in str(caught.value)


def test_find_records(tmp_path: Path) -> None:
    assert find_records(tmp_path / "nowhere") == ()
    with pytest.raises(NoRecord, match="no record in"):
        read_record(tmp_path / "nowhere")
    first, second = write_record(make(0.1), tmp_path), write_record(make(0.2), tmp_path)
    other = write_record(Record("other", {}, pd.DataFrame({"a": [1]})), tmp_path)
    for age, folder in enumerate((second, first, other)):
        os.utime(folder / "record.json", (age, age))
    (tmp_path / "demo" / "not-a-record").mkdir()
    assert find_records(tmp_path, "demo") == (second, first)
    assert find_records(tmp_path) == (second, first, other)
