"""The one reader: opening, decoding, separators, JSON in its forms, lines, values, names."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import json
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpo_analysis.reading import Names, OneDocument, number_in, read_table, shown, text_in, text_of, visible
from gpo_analysis.reading.names import _INVISIBLE
from gpo_analysis.reading.tables import holds_json

NEEDED = {"a", "b"}


def table_of(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, lambda columns: set(columns) >= NEEDED, "columns a and b")


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "packed-without-its-ending"])
def test_encodings_and_compression_give_the_same_text(tmp_path, mark, encoding, name):
    text = "a,b\r\nJosé,日本\r\n"
    data = mark + text.encode(encoding)
    path = tmp_path / name
    path.write_bytes(data if name == "x.csv" else gzip.compress(data))
    assert text_of(path) == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\nok,\xff\n", r"x\.csv, line 2: is not UTF-8 text \(bytes ff 0a: invalid start byte\)"),
        ("a,b\nc,ü\n".encode("latin-1"), r"x\.csv, line 2: is not UTF-8 text"),
        ("a,b\n".encode("utf-16-le"), r"x\.csv, line 1: holds zero bytes, as UTF-16 without its mark"),
        (b"PK\x03\x04rest", r"x\.csv is a zip archive"),
        (b"PAR1rest", r"x\.csv is a Parquet file"),
        (bz2.compress(b"a,b\n"), r"x\.csv is a bzip2 file"),
        (gzip.compress(b"a,b\n" * 99, mtime=0)[:-9], r"x\.csv is not a whole gzip file"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        table_of(tmp_path / "x.csv", content)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("a,b\n1,2\n", "CSV (commas)"),
        ("a;b\n1;2\n", "CSV (semicolons)"),
        ("a\tb\n1\t2\n", "CSV (tabs)"),
        ("a|b\n1|2\n", "CSV (bars)"),
        ("sep=;\na;b\n1;2\n", "CSV (semicolons)"),
        ("\n\n  A , B \r\n\r\n1,2\r\n", "CSV (commas)"),
        ("a,b\r1,2\r", "CSV (commas)"),
    ],
)
def test_separators_and_line_ends(tmp_path, text, form):
    table = table_of(tmp_path / "x.csv", text)
    assert (table.format, [row.values for row in table.rows]) == (form, [{"a": "1", "b": "2"}])


def test_lines_are_those_where_rows_begin(tmp_path):
    text = 'a,b\n"one\ntwo",x\n\n,\nlast,y\n'
    table = table_of(tmp_path / "x.csv", text)
    assert [(row.line, row.values["a"]) for row in table.rows] == [(2, "one\ntwo"), (6, "last")]
    assert table.blank == (5,)
    with pytest.raises(ValueError, match=r"line 2: 3 fields, but the header has 2"):
        table_of(tmp_path / "x.csv", 'a,b\n"one\ntwo",x,y\n')
    array = table_of(tmp_path / "x.json", '[\n {"a": 1,\n  "b": 2},\n\n {"a": 3, "b": "x\\ny"}\n]\n')
    assert [row.line for row in array.rows] == [2, 5]


def test_fields_of_any_length_and_the_process_is_left_as_it_was(tmp_path):
    before = csv.field_size_limit()
    long = "x" * 200_000
    assert table_of(tmp_path / "x.csv", f'a,b\n"{long}",2\n').rows[0].values["a"] == long
    with pytest.raises(ValueError, match="malformed CSV"):
        table_of(tmp_path / "x.csv", 'a,b\n"x,2\n')
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "a,b,A \n1,2,3\n", r"line 1: column a occurs twice"),
        ("x.csv", "", r"x\.csv is empty"),
        ("x.csv", 'a,b\n1,2\n3,"4\n', r"line 3: malformed CSV"),
        ("x.jsonl", '{"a": 1, "b": 2}\n{"a": 1, "b": 2,}\n', r"line 2: malformed JSON .*column"),
        ("x.jsonl", '{"a": 1, "a": 2}\n', r"line 1: malformed JSON \(key 'a' occurs twice\)"),
        ("x.jsonl", '{"a": 1, "A": 2}\n', r"line 1: key 'a' occurs twice"),
        ("x.jsonl", '{"a": 1} {"a": 2}\n', r"line 1: malformed JSON \(Extra data"),
        ("x.jsonl", '{"a": ' + "9" * 5000 + "}\n", r"line 1: malformed JSON"),
        ("x.json", '[{"a": 1, "b": 2}\n {"a": 1}]', r"line 2: malformed JSON \(a comma or \] is missing\)"),
        ("x.json", '[{"a": 1, "b": 2},\n]', r"line 2: malformed JSON"),
        ("x.json", '[{"a": 1, "b": 2}]\n{"a": 3}', r"line 1: malformed JSON \(text after the array\)"),
        ("x.json", '[{"a": 1, "b": 2},\n 3]', r"line 2: 3 is not an object"),
        ("x.json", '[{"a": 1', r"line 1: malformed JSON"),
        ("x.json", "[" * 100_000, r"line 1: malformed JSON"),
    ],
)
def test_malformed_tables_name_the_line(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        table_of(tmp_path / name, text)


def test_one_document_is_no_table(tmp_path):
    with pytest.raises(OneDocument, match="one JSON object, with the keys 'log_history, epoch'") as caught:
        table_of(tmp_path / "x.json", json.dumps({"log_history": [], "epoch": 1}, indent=1))
    assert caught.value.keys == ("log_history", "epoch")


def test_json_keys_are_those_of_any_row(tmp_path):
    table = table_of(tmp_path / "x.jsonl", '{"A": 1}\n{"a": 2, " B ": 3}\n')
    assert table.columns == {"a": 1, "b": 2}
    assert [row.values for row in table.rows] == [{"a": 1}, {"a": 2, "b": 3}]


@pytest.mark.parametrize(("value", "number"), [("5", 5), (" 2.5e1 ", 25), (".5", 0.5), ("1.", 1), (3, 3), (0.25, 0.25)])
def test_numbers(value, number):
    assert number_in(value, "count", "here") == number


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("1_000", "'1_000'"),
        ("١٢", "is '١٢'"),
        ("infinity", "'infinity'"),
        ("nan", "'nan'"),
        ("1e999", "'1e999'"),
        ("1,5", "a decimal comma"),
        ("", "is empty"),
        ("0x10", "'0x10'"),
        (True, "True"),
        (None, "None"),
        (math.inf, "inf"),
        (10**400, "is 1000"),
        pytest.param(10**5000, "an integer of thousands of digits", id="digits"),
        ([1], r"\[1\]"),
        (-1, "at least 0"),
        ("9" * 1000, "is '999"),
    ],
)
def test_what_is_no_number_is_refused(value, word):
    with pytest.raises(ValueError, match=word):
        number_in(value, "count", "x.csv, line 7", least=0)


@pytest.mark.parametrize("value", ["", "  ", None, True, [], {}, "ok \ud83d", pytest.param(10**5000, id="digits")])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(ValueError, match=r"^x\.csv, line 7: winner is "):
        text_in(value, "winner", "x.csv, line 7")


@pytest.mark.parametrize(
    ("first", "other", "why"),
    [
        ("José", "Jose\u0301", "another Unicode form"),
        ("a b", "a\u00a0b", "white space"),
        ("a b", "a  b", "white space"),
        ("ab", "a\u200bb", "invisible"),
        ("ab", "\ufeffab", "invisible"),
        ("a\u00adb", "ab", "invisible"),
        ("1", "1.0", "same number"),
        (1, 1.0, "same number"),
        (2.0, 2, "same number"),
        (1e20, 10**20, "same number"),
    ],
)
def test_spellings_of_one_name_are_joined_and_told(first, other, why):
    names = Names()
    taken = names.take(first, "winner", "x.csv", 2)
    assert names.take(other, "loser", "x.csv", 5) == taken
    assert names.take(other, "loser", "x.csv", 9) == taken
    assert [(j.line, j.first_line) for j in names.joined] == [(5, 2)]
    assert why in names.joined[0].why


@pytest.mark.parametrize(("first", "other"), [("Kim", "kim"), ("x2", "x²"), ("A", "Ａ")])
def test_names_that_only_look_alike_are_kept_apart_and_told(first, other):
    names = Names()
    assert names.take(first, "winner", "x.csv", 2) != names.take(other, "loser", "x.csv", 2)
    assert len(names.alike()) == 1
    assert not names.joined
    assert Names().alike() == []


@pytest.mark.parametrize("text", ["nan", "NaN", "None", "null", "NULL", "N/A", "NA", "<NA>", "#N/A", math.nan, "NaT"])
def test_marks_of_missing_values_are_no_names(text):
    with pytest.raises(ValueError, match=r"x\.csv, line 3: loser is .* marks a missing value"):
        Names().take(text, "loser", "x.csv", 3)


@pytest.mark.parametrize("text", ["\u200b", "\ufeff\u200d", "\u00ad"])
def test_invisible_names_are_no_names(text):
    with pytest.raises(ValueError, match="invisible characters alone"):
        Names().take(text, "loser", "x.csv", 3)


def test_invisible_characters_are_those_of_unicode():
    own = {c for c in map(chr, range(0x110000)) if unicodedata.category(c) == "Cf"}
    assert {c for c in own if _INVISIBLE.fullmatch(c) is None} == set()
    assert all(not c.isspace() for c in own)


@given(st.text())
def test_visible_text_moves_no_cursor(text):
    seen = visible(text)
    assert all(c.isprintable() or c.isspace() or ord(c) > 0x2FFF or c in "\u061c" or ord(c) > 0xFF for c in seen)
    assert not set(seen) & {chr(c) for c in (*range(32), *range(0x7F, 0xA0), 0x202E, 0x2028, 0x200B)}
    seen.encode()
    assert len(shown(text, 20)) <= 20
    assert text.isascii() is False or not text.isprintable() or seen == text


@pytest.mark.parametrize(
    ("name", "text", "is_json"),
    [
        *[(f"votes{suffix}", '"a"', True) for suffix in (".json", ".jsonl", ".ndjson", ".JSONL", ".jsonl.gz")],
        *[(f"votes{suffix}", ' \n{"a": 1}', True) for suffix in (".csv", ".tsv", ".txt", "", ".gz")],
        *[(f"votes{suffix}", "[a],b\n", False) for suffix in (".csv", ".tsv", ".CSV", ".tsv.gz")],
        *[(f"votes{suffix}", '[{"a": 1}]', True) for suffix in (".txt", "", ".gz")],
        *[(f"votes{suffix}", "a,b\n", False) for suffix in (".csv", ".tsv", ".txt", "")],
    ],
)
def test_json_is_known_by_name_or_first_character(name, text, is_json):
    """A column may be called [a]; nothing else that is read as CSV begins with a bracket."""
    assert holds_json(name, text) is is_json


@pytest.mark.parametrize(("separator", "word"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_a_table_says_what_separates_its_cells(tmp_path, separator, word):
    table = table_of(tmp_path / "x.txt", f"a{separator}b\n1{separator}2\n")
    assert table.format == f"CSV ({word})"
    assert table.rows[0].values == {"a": "1", "b": "2"}


@pytest.mark.parametrize("value", [None, True, False, [], {}, b"a", float("nan"), "", " "])
def test_what_is_no_name_is_found_nowhere(value):
    names = Names(missing=False)
    for text in ("a", "None", "True", "[]", "XX", "XXXX", "0"):
        names.take(text, "winner", "x.csv", 2)
    assert names.find(value) is None
    assert names.find(" a ") == "a"
    assert names.find(0) == names.find(0.0) == "0"


@given(st.text("ab", min_size=1, max_size=200), st.integers(3, 60))
def test_long_text_keeps_its_beginning_and_end(text, width):
    cut = shown(text, width)
    if len(text) <= width:
        assert cut == text
    else:
        assert len(cut) == width
        begin, end = cut.split("…")
        assert text.startswith(begin)
        assert text.endswith(end)
        assert 0 <= len(begin) - len(end) <= 1
