"""Which spellings name nobody, which name the same one, and how a report words what was done."""

from __future__ import annotations

import math
import string

import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo
from gpo_analysis.reading import Names, is_finite, number_in, read_table
from gpo_analysis.reading.columns import read_columns
from gpo_analysis.reading.report import LeftOut, ReadReport
from gpo_analysis.reading.values import MOST_DIGITS, number_of

#: What pandas reads as missing, what a spreadsheet writes where a formula fails, and what Python and Java print.
OF_PANDAS = set(pd.io.parsers.readers.STR_NA_VALUES) - {""}
OF_SHEETS = {"#N/A", "#NA", "#NULL!", "#REF!", "#VALUE!", "#NAME?"}
OF_PROGRAMS = {"nil", "undefined", "<nan>", "<none>", "<null>", "NaT", "None", "none", "NONE"}


@pytest.mark.parametrize("word", sorted(OF_PANDAS | OF_SHEETS | OF_PROGRAMS))
def test_marks_of_missing_values_name_nobody(word: str) -> None:
    with pytest.raises(ValueError, match=r"f\.csv, line 3: winner is .* which marks a missing value"):
        Names().take(f" {word} ", "winner", "f.csv", 3)
    assert Names(missing=False).take(word, "answer", "f.csv", 3) == word, "an answer may read so"


@pytest.mark.parametrize("word", ["tie", "Draw", "bothbad", "both bad", "both_bad", "Tie (bothbad)"])
def test_words_for_a_tie_name_nobody_but_a_column_of_other_names(word: str) -> None:
    with pytest.raises(ValueError, match="a tie is given by columns"):
        Names().take(word, "winner", "f.csv", 3)
    assert Names(items=False).take(word, "an argument", "f.csv", 3) == word


def test_a_name_is_found_again_by_any_spelling_and_none_is_invented() -> None:
    names = Names()
    first = [names.take(value, "item", "f.csv", k) for k, value in enumerate((7, "José", "a  b", 2.5))]
    assert first == ["7", "José", "a  b", "2.5"]
    assert [names.find(value) for value in (7, 7.0, "7", "7.00", " 7 ")] == ["7"] * 5
    assert [names.find(value) for value in ("Jose\u0301", "a b", "a\u200b b", 2.5)] == ["José", "a  b", "a  b", "2.5"]
    assert [names.find(value) for value in (8, 7.5, "", None, True, ["7"], math.nan)] == [None] * 7


def test_names_that_look_alike_are_told() -> None:
    names = Names()
    for k, name in enumerate(("Gpt", "gpt", "ＧＰＴ", "other")):
        names.take(name, "item", "f.csv", k)
    assert names.alike() == [f"kept apart: 'Gpt' and 'gpt' and {'ＧＰＴ'!a}"]
    for k, letter in enumerate(string.ascii_lowercase[:7]):
        names.take(letter, "item", "f.csv", k)
        names.take(letter.upper(), "item", "f.csv", k)
    assert names.alike()[5:] == ["3 more groups of names that look alike, kept apart"]


@pytest.mark.parametrize(
    ("count", "words"),
    [(1, "1 row left out: empty (line 0)"), (2, "2 rows left out: empty (lines 0, 1)"),
     (5, "5 rows left out: empty (lines 0, 1, 2, 3, 4)"), (6, "6 rows left out: empty (lines 0, 1, 2, 3, 4, …)")],
)  # fmt: skip
def test_rows_left_out_in_words(count: int, words: str) -> None:
    left = (LeftOut(tuple(range(count)), "empty"),)
    assert ReadReport("f", "CSV", 9, 9 - count, left).lines() == [words]


@pytest.mark.parametrize(("count", "more"), [(19, ""), (20, ""), (21, " and 1 more"), (25, " and 5 more")])
def test_columns_not_used_in_words(count: int, more: str) -> None:
    names = tuple(f"c{k}" for k in range(count))
    said = ReadReport("f", "CSV", 1, 1, not_used=names).lines()[0]
    assert said == f"columns not used: {', '.join(names[:20])}{more}"
    assert ReadReport("f", "CSV", 1, 1, not_used=("c",)).lines() == ["column not used: c"]


def test_the_longest_number_and_one_longer() -> None:
    assert MOST_DIGITS == 400
    most = "0." + "1" * (MOST_DIGITS - 2)
    assert number_of(most) == pytest.approx(1 / 9)
    with pytest.raises(ValueError, match="401 characters; a number has at most 400"):
        number_of(most + "1")


def test_what_is_accepted_of_a_number() -> None:
    with pytest.raises(ValueError, match=r"f, line 2: n is 'x'; accepted are finite numbers$"):
        number_in("x", "n", "f, line 2")
    with pytest.raises(ValueError, match=r"f, line 2: n is 'x'; accepted are finite numbers of at least 0$"):
        number_in("x", "n", "f, line 2", least=0)


def test_a_column_of_row_numbers_without_a_name_is_dropped_and_one_with_values_is_not(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A trailing comma makes an empty column; the index that pandas writes is one with values."""
    trailing, index = tmp_path / "t.csv", tmp_path / "i.csv"
    trailing.write_text("a,b,\n1,2,\n3,4,\n", encoding="utf-8")
    index.write_text(",a,b\n0,1,2\n1,3,4\n", encoding="utf-8")
    for path, columns in ((trailing, ["a", "b"]), (index, ["(unnamed 1)", "a", "b"])):
        assert list(read_table(path, lambda names: {"a", "b"} <= set(names), "a, b").columns) == columns
        found = read_columns(path, lambda names: ["a", "b"], "a, b")
        assert list(found.names) == columns
        assert set(found.columns) == set(columns)


def test_a_parquet_file_says_that_it_is_one(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("pyarrow")
    pd.DataFrame({"a": np.arange(3), "b": [0.5, 1.5, 2.5]}).to_parquet(tmp_path / "x.parquet")
    assert read_columns(tmp_path / "x.parquet", lambda names: names, "a").format == "Parquet"


def test_whole_numbers_beyond_floats_are_refused_like_others() -> None:
    """10⁴⁰⁰ is finite and no float holds it: no caller sees an OverflowError of it."""
    huge = 10**400
    problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    for call in (
        lambda: problem.solve("dpo", huge),
        lambda: gpo.optimal_margin("dpo", huge),
        lambda: gpo.train(problem, "dpo", 0.1, steps=2, learning_rate=huge),
        lambda: gpo.GaussianMixture([1.0], [huge], [1.0]),
        lambda: gpo.PreferenceProblem([[0.5, huge], [0.2, 0.5]]),
        lambda: gpo.get_loss("kto", reference_point=huge),
        lambda: gpo.convert_beta(huge, "trl:ipo", "gpo:ipo"),
    ):
        with pytest.raises(ValueError, match="1000"):
            call()
    assert not is_finite(huge)
    assert is_finite(10**300)
