"""What a reader says of the values that it takes for a winner, and of columns that are missing."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from gpo_analysis.preferences import Comparisons


def read(folder: Path, text: str, **columns: str) -> Comparisons:
    path = folder / "t.csv"
    path.write_text(text)
    return Comparisons.read(path, columns=columns)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("model_a,model_b,winner\nx,y,1\nx,y,2\nx,y,tie\n", "in winner, '1' is model_a, '2' is model_b"),
        ("model_a,model_b,winner\nx,y,A\nx,y,b\nx,y,draw\n", "in winner, 'A' is model_a, 'b' is model_b"),
        ("player1,player2,winner\nx,y,1\nx,y,2\nx,y,tie\n", "in winner, '1' is player1, '2' is player2"),
        ("model_a,model_b,winner\nx,y,Model A\nx,y,MODEL_B\nx,y,tie\n", None),
        ("model_a,model_b,winner\nx,y,x\nx,y,y\nx,y,tie\n", None),
        ("a,b,winner\nx,y,a\nx,y,b\nx,y,tie\n", None),
    ],
)
def test_words_for_sides_are_told_where_they_are_not_the_columns_own(
    tmp_path: Path, text: str, note: str | None
) -> None:
    games = read(tmp_path, text)
    assert games.matrix().toarray().tolist() == [[0, 1.5], [1.5, 0]]
    assert games.report is not None
    assert [line for line in games.report.notes if line.startswith("in winner")] == ([note] if note else [])


def test_a_letter_that_is_another_items_name_is_told(tmp_path: Path) -> None:
    games = read(tmp_path, "model_a,model_b,winner\nA,B,B\nA,C,b\n")
    assert games.report is not None
    assert "in winner, 'b' is model_b" in games.report.notes


def test_ties_are_told_beside_the_rows_that_they_make(tmp_path: Path) -> None:
    said = str(read(tmp_path, "model_a,model_b,winner\nx,y,x\nx,y,tie\nx,z,tie\n"))
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in said.splitlines()[1:5])
    assert facts == {
        "items": "3", "winner and loser rows": "5", "total count": "3",
        "ties": "2, half a win each: a row in either direction",
    }  # fmt: skip
    assert "ties" not in str(read(tmp_path, "winner,loser\nx,y\n"))


@pytest.mark.parametrize("value", ["0", "-1", "False"])
def test_what_does_not_say_which_side(tmp_path: Path, value: str) -> None:
    told = rf"line 3: winner is '{value}'; accepted are model_a \(also a, 1\), .*; {value} does not say .* 1 and 2"
    with pytest.raises(ValueError, match=told):
        read(tmp_path, f"model_a,model_b,winner\nx,y,1\nx,y,{value}\n")
    with pytest.raises(ValueError, match=rf"winner is '{value}'; accepted are home, away, .*: write home and away"):
        read(tmp_path, f"home,away,winner\nx,y,home\nx,y,{value}\n")


def test_a_header_is_quoted_as_written_and_data_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"in the header 'Ann, Bea'; the first line is taken .* such as winner,loser;"):
        read(tmp_path, "Ann,Bea\nBea,Cy\n")
    with pytest.raises(ValueError, match=r"in the header 'A, B, 3'; the first line is taken .* model_a,model_b,winner"):
        read(tmp_path, "A,B,3\nB,C,2\n")
    with pytest.raises(ValueError, match=r"in the header 'Winner, LOSSER'; accepted are columns"):
        read(tmp_path, "Winner,LOSSER\na,b\n")
    with pytest.raises(ValueError, match=r"in the header 'First, Second'; accepted are columns"):
        Comparisons.from_frame(pd.DataFrame({"First": ["a"], "Second": ["b"]}))


def test_sides_without_a_winner_name_the_column_that_may_say_it(tmp_path: Path) -> None:
    text = "prompt,response_a,response_b,Preference\nq,x,y,a\nq,x,z,B\n"
    with pytest.raises(ValueError, match=r"but not who won, response_a \(or a, 1\), .* --columns winner=Preference"):
        read(tmp_path, text)
    games = read(tmp_path, text, winner="Preference")
    wins = games.matrix().toarray()
    assert [games.texts[i] for i in wins.sum(axis=1).argsort()] == ["y", "x", "z"]
    with pytest.raises(ValueError, match="counts of wins are model_a_wins, model_b_wins and ties"):
        read(tmp_path, "model_a,model_b,score_a,score_b\nA,B,3,1\n")
