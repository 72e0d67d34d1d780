"""Two records side by side: what is the same bits, what is near, what is another, and what is said of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from experiments.__main__ import main
from experiments.framework import compare as module
from experiments.framework.compare import column_of, compare
from gpo_analysis.records import Record, RecordError, write_record

TABLE = pd.DataFrame({"loss": ["dpo", "ipo", None], "n": [1, 2, 3], "kl": [0.1, np.nan, 1e-300], "ok": [True] * 3})


def kept(folder: Path, table: pd.DataFrame = TABLE, name: str = "demo", **meta: Any) -> Path:
    return write_record(Record(name, {"seed": 0}, table, {"code_hash": "a", **meta}), folder)


def test_the_same_tables_are_the_same_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = kept(tmp_path / "a"), kept(tmp_path / "b", finished="later", versions={"numpy": "9"})
    assert main(["compare", str(a), str(b)]) == 0
    said = capsys.readouterr().out
    assert "demo: identical; 4 of 4 columns bit for bit" in said
    assert 'versions: nothing → {"numpy": "9"}' in said
    assert "finished" not in said


@pytest.mark.parametrize(
    ("column", "row", "value", "code"),
    [
        ("kl", 0, np.nextafter(0.1, 1), 0), ("kl", 0, 0.1 + 1e-6, 1), ("kl", 1, 0.0, 1), ("kl", 0, np.nan, 1),
        ("kl", 2, -0.0, 0), ("kl", 0, np.inf, 1), ("n", 0, 2, 1), ("loss", 0, "slic", 1), ("loss", 2, "slic", 1),
        ("ok", 1, False, 1),
    ],
)  # fmt: skip
def test_one_changed_value_is_found(
    column: str, row: int, value: object, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = TABLE.copy()
    table.loc[row, column] = value
    kept(tmp_path / "a"), kept(tmp_path / "b", table)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == code
    (found,) = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in found["columns"] if c["differing"]] == [column]
    assert found["within"] is (code == 0)
    assert not found["identical"]


def test_tolerances_decide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path / "a"), kept(tmp_path / "b", TABLE.assign(kl=[0.1001, np.nan, 1e-300]))
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["compare", *folders]) == 1
    assert "kl: BEYOND, 1 of 3 rows: absolute 1.0e-04, relative 1.0e-03" in capsys.readouterr().out
    assert main(["compare", *folders, "--rtol", "0.002"]) == 0
    assert main(["compare", *folders, "--atol", "0.002"]) == 0
    for wrong in ("-1", "nan", "inf", "x"):
        with pytest.raises(SystemExit):
            main(["compare", *folders, "--rtol", wrong])


def test_what_is_no_second_run_of_the_same_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path / "a")
    kept(tmp_path / "a", name="lone")
    write_record(Record("demo", {"seed": 1}, TABLE[:2].assign(more=1.0), {}), tmp_path / "b")
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["compare", *folders]) == 1
    said = capsys.readouterr().out
    for words in ("seed: 0 → 1", "3 rows and 2", "columns only in the second: more", "lone: DIFFERS", "only in "):
        assert words in said
    assert "lone" not in (main(["compare", *folders, "--common"]), capsys.readouterr().out)[1]


def test_of_several_records_those_of_one_configuration_are_compared(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_record(Record("demo", {"seed": seed}, TABLE.assign(n=seed), {}), tmp_path / "a")
    write_record(Record("demo", {"seed": 0}, TABLE.assign(n=0), {}), tmp_path / "b")
    (found,) = compare(tmp_path / "a", tmp_path / "b")
    assert found.identical


def test_damage_and_absence_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = kept(tmp_path / "a")
    data = bytearray((a / "table.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (a / "table.parquet").write_bytes(bytes(data))
    kept(tmp_path / "b")
    kept(tmp_path / "c", name="other")
    for first, second, words in (("a", "b", "damaged"), ("b", "none", "no record"), ("b", "c", "nothing of the same")):
        assert main(["compare", str(tmp_path / first), str(tmp_path / second)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    with pytest.raises(RecordError):
        compare(tmp_path / "b", tmp_path / "none")
    with pytest.raises(ValueError, match="atol is -1"):
        compare(tmp_path / "b", tmp_path / "b", atol=-1)


def test_tables_of_a_study_are_compared_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        TABLE.to_parquet(tmp_path / name / "sweep.parquet")
    (found,) = compare(tmp_path / "a", tmp_path / "b")
    assert (found.name, found.identical) == ("sweep.parquet", True)
    (tmp_path / "b" / "sweep.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordError, match="is no table"):
        compare(tmp_path / "a", tmp_path / "b")


def test_a_column_known_to_differ_between_machines_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "machines.json"
    file.write_text('{"columns": {"demo": {"kl": [3e-6, 1e-5]}}}')
    monkeypatch.setattr(module, "MACHINES", file)
    module._measured.cache_clear()
    try:
        assert "by 3e-06 (relative 1e-05)" in module.known("demo", "kl")
        assert module.known("demo", "n").startswith("the same between processors")
        assert module.known("else", "kl") == "not measured between processors"
        kept(tmp_path / "a"), kept(tmp_path / "b", TABLE.assign(kl=[0.1 + 2e-5, np.nan, 1e-300]))
        kept(tmp_path / "c", TABLE.assign(kl=[0.1 + 2e-4, np.nan, 1e-300]))
        assert compare(tmp_path / "a", tmp_path / "b")[0].within  # less than ten times what was measured
        assert not compare(tmp_path / "a", tmp_path / "c")[0].within
    finally:
        module._measured.cache_clear()


def test_lists_of_numbers_are_numbers() -> None:
    for make in (list, json.dumps, np.array):
        a = pd.Series([make([0.3, 1.0]), make([2.0])])
        b = pd.Series([make([0.1 + 0.2, 1.0]), make([2.0])])
        found = column_of(a, b)
        assert (found.differing, found.ulps, found.within) == (1, 1.0, True)
        assert not column_of(a, pd.Series([make([0.4, 1.0]), make([2.0])])).within
        assert not column_of(a, pd.Series([make([0.3]), make([1.0, 2.0])])).within
    assert column_of(pd.Series([[0.3], None]), pd.Series([[0.3 + 1e-12], None])).within
    assert not column_of(pd.Series([[0.3], None]), pd.Series([[0.3], [1.0]])).within
    assert not column_of(pd.Series(["x", None]), pd.Series(["y", None])).within
    assert not column_of(pd.Series(["[a"]), pd.Series(["[b"])).within


FLOATS = arrays.arrays(np.float64, 5, elements=st.floats(width=64))


@given(FLOATS, FLOATS)
@example(np.full(5, np.finfo(np.float64).max), np.full(5, -1e292))
def test_differences_are_symmetric_and_zero_only_for_the_same_bits(x: Any, y: Any) -> None:
    there, back = column_of(pd.Series(x), pd.Series(y)), column_of(pd.Series(y), pd.Series(x))
    assert there == back
    bits = [(math.isnan(a) and math.isnan(b)) or a.tobytes() == b.tobytes() for a, b in zip(x, y, strict=True)]
    assert there.differing == bits.count(False)
    assert not column_of(pd.Series(x), pd.Series(x)).differing
    assert there.within or there.absolute > 1e-12


@given(st.floats(min_value=-1e300, max_value=1e300), st.integers(1, 50))
def test_units_of_the_last_place_are_counted(x: float, steps: int) -> None:
    y = x
    for _ in range(steps):
        y = math.nextafter(y, math.inf)
    told = column_of(pd.Series([x]), pd.Series([y])).ulps
    assert steps / 2 <= told <= 2 * steps  # the unit doubles at powers of two
