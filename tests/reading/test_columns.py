"""Columns: the quick way of plain CSV against the strict one, frames, Parquet, standard input, named columns."""

from __future__ import annotations

import io
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpo_analysis.reading import columns as module
from gpo_analysis.reading.column import Column
from gpo_analysis.reading.columns import read_columns


def keep(columns):
    return set(columns) if {"a", "b"} <= set(columns) else None


def table_of(source, **options):
    return read_columns(source, keep, "columns a and b", **options)


def shown(table):
    cells = {name: [column[i] for i in range(len(table))] for name, column in table.columns.items()}
    return table.format, table.lines.tolist(), cells, table.names, table.blank


cells = st.text(st.sampled_from("ab 1.-e\t;é日\u200bN/"), max_size=4)


@given(st.lists(st.lists(cells, min_size=1, max_size=4), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_the_quick_way_is_the_strict_one(tmp_path_factory, rows, ends, is_last):
    path = tmp_path_factory.getbasetemp() / "quick.csv"
    text = ends.join(["\n", "a,b,c"[: 3 + 2 * (len(rows) % 2)], *(",".join(row) for row in rows)]) + ends * is_last
    path.write_text(text, encoding="utf-8", newline="")
    found = []
    quick = module._quick
    for way in (quick, lambda *_: None):
        module._quick = way
        try:
            found.append(shown(table_of(path)))
        except ValueError as error:
            found.append(str(error))
        finally:
            module._quick = quick
    assert found[0] == found[1]


def test_plain_csv_goes_the_quick_way(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text("sep=;\na;b\n1;2\n;\n 3;nan\n1;2")
    monkeypatch.setattr(module, "_slow", lambda *_: pytest.fail("the strict reader was asked"))
    table = table_of(path)
    assert shown(table) == (
        "CSV (semicolons)", [3, 5, 6], {"a": ["1", " 3", "1"], "b": ["2", "nan", "2"]}, {"a": 2, "b": 2}, (4,),
    )  # fmt: skip


def test_numbers_stay_as_they_are_written(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1.0,-0\n1e-400,1_0\ntrue,NaN\n")
    assert table_of(path).columns["a"].values == ("1.0", "1e-400", "true")
    assert table_of(path).columns["b"].values == ("-0", "1_0", "NaN")


FRAMES = {
    "text": pd.DataFrame({"a": ["x", "y", "x"], "b": ["y", None, "z"]}),
    "object": pd.DataFrame({"a": ["x", 1, True], "b": [np.nan, pd.NA, pd.NaT]}, dtype=object),
    "category": pd.DataFrame({"a": pd.Categorical(["x", "y", "x"]), "b": pd.Categorical(["y", None, "z"])}),
    "gaps": pd.DataFrame({"a": [1.0, 2.0, 1.0], "b": [1.0, np.nan, 2.0]}),
    "nullable": pd.DataFrame({"a": pd.array([1, 2, 1], dtype="Int64"), "b": pd.array([1, None, 2], dtype="Int64")}),
}
EXPECTED = {
    "text": (["x", "y", "x"], ["y", None, "z"]), "object": (["x", 1, True], [None] * 3),
    "category": (["x", "y", "x"], ["y", None, "z"]), "gaps": ([1, 2, 1], [1, None, 2]),
    "nullable": ([1, 2, 1], [1, None, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_frames(name):
    table = table_of(FRAMES[name])
    assert (table.unit, table.lines.tolist(), table.path) == ("row", [0, 1, 2], "the frame")
    for column, cells in zip("ab", EXPECTED[name], strict=True):
        found = [table.columns[column][i] for i in range(3)]
        assert (found, [type(x) for x in found]) == (cells, [type(x) for x in cells])


def test_parquet_and_what_becomes_a_frame(tmp_path):
    pytest.importorskip("pyarrow")
    nested = pd.DataFrame({" A": ["x", "y"], "B ": [[{"role": "user", "content": "q"}], []], "other": [1, 2]})
    nested.to_parquet(tmp_path / "x.parquet")
    table = table_of(tmp_path / "x.parquet")
    assert [table.columns["b"][i] for i in range(2)] == [[{"role": "user", "content": "q"}], []]
    assert table.where(1).endswith("x.parquet, row 1")

    class Other:
        def to_pandas(self):
            return nested

    assert shown(table_of(Other()))[2] == shown(table)[2]
    (tmp_path / "y.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"y\.parquet is not a whole Parquet file"):
        table_of(tmp_path / "y.parquet")


@pytest.mark.parametrize(("source", "message"), [(3, "int is no table"), (pd.DataFrame({"a": [1], "A": [2]}), "twice")])
def test_what_is_no_table_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        table_of(source)


def test_standard_input(monkeypatch):
    class Pipe:
        buffer = io.BytesIO(b"a\tb\n1\t2\n")

    monkeypatch.setattr(sys, "stdin", Pipe())
    table = table_of("-")
    assert (table.path, table.format, table.columns["b"].values) == ("standard input", "CSV (tabs)", ("2",))


def test_named_separator_and_columns(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("first~B~a\n1~2~3\n")
    table = table_of(path, separator="~", rename={"a": "First"})
    assert shown(table)[2] == {"a": ["1"], "b": ["2"], "(a)": ["3"]}
    with pytest.raises(ValueError, match=r"x\.csv has no column 'none', which was named as a; it has 'first, b, a'"):
        table_of(path, separator="~", rename={"a": "none"})


def test_values_are_told_apart_by_type():
    column = Column.of([1, True, 1.0, "1", None, float("nan"), float("nan"), [1], [1]])
    assert len(column.values) == 7
    assert column.first.tolist() == [0, 1, 2, 3, 4, 5, 7]
    some = column.chosen(np.array([3, 7, 3]))
    assert (some.values, some.codes.tolist()) == (("1", [1]), [0, 1, 0])


def test_a_column_without_rows_has_no_blank_ones():
    assert Column.of([]).blank.dtype == np.dtype(bool)
    assert Column.of([]).blank.shape == (0,)
    assert Column.of(["", "a", None, ""]).blank.tolist() == [True, False, True, True]
