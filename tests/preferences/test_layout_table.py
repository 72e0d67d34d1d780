"""Every layout, column and word by itself: what a file may call its sides, its ends and its ties."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from gpo_analysis.preferences import Comparisons, read_argument_votes
from gpo_analysis.preferences.layouts import NO, TIE_WORDS, YES, Layout, layout_of, words_of_sides

SIDES = [
    ("model_a", "model_b"), ("left", "right"), ("item_a", "item_b"), ("response_a", "response_b"),
    ("player_a", "player_b"), ("player1", "player2"), ("home", "away"), ("a", "b"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), SIDES)
def test_sides_and_a_winner(first: str, second: str) -> None:
    found = layout_of([first, second, "winner", "prompt", "count", "tie"])
    text = first.startswith("response")
    assert found == Layout("sided", first, second, ("winner",), ("count",), ("tie",), "prompt", text, text)
    assert found.used == (first, second, "winner", "count", "tie")
    assert found.told == f"{first}, {second}, winner"
    words = words_of_sides(found, {})
    one, two = {"player1": ("1", "2"), "home": ("home", "away"), "left": ("left", "right")}.get(first, ("a", "b"))
    assert {words[first], words[one]} == {0}
    assert {words[second], words[two]} == {1}
    assert (words.get("1"), words.get("2")) == ((0, 1) if one in ("a", "1") else (None, None))


@pytest.mark.parametrize(("first", "second"), SIDES)
@pytest.mark.parametrize("bad", ["winner_tie_bothbad", "winner_bothbad", ""])
def test_sides_and_a_mark_for_each_end(first: str, second: str, bad: str) -> None:
    marks = [f"winner_{first}", f"winner_{second}", "winner_tie"]
    found = layout_of([first, second, *marks, *([bad] if bad else [])])
    assert found is not None
    assert (found.kind, found.ends) == ("marked", (*marks, bad))
    without = layout_of([first, second, *marks[:2]])
    assert without is not None
    assert without.ends == (*marks[:2], "", "")


@pytest.mark.parametrize(
    ("first", "second", "wins"),
    [
        ("model_a", "model_b", ("model_a_wins", "model_b_wins")), ("model_a", "model_b", ("a_wins", "b_wins")),
        ("item_a", "item_b", ("wins_a", "wins_b")), ("player1", "player2", ("win1", "win2")),
        ("home", "away", ("wins", "losses")), ("a", "b", ("win", "loss")),
        ("left", "right", ("wins_left", "wins_right")),
    ],
)  # fmt: skip
def test_sides_and_counts_of_ends(first: str, second: str, wins: tuple[str, str]) -> None:
    for tie in ("ties", "tie", "draws", "n_ties", ""):
        for bad in ("ties_both_bad", "ties_bothbad", "both_bad", "bothbad", ""):
            found = layout_of([first, second, *wins, *filter(None, (tie, bad))])
            assert found is not None
            assert (found.kind, found.ends) == ("counted", (*wins, tie, bad))
    assert layout_of([first, second, wins[0]]) is None


@pytest.mark.parametrize(("first", "second"), [("winner", "loser"), ("chosen", "rejected")])
def test_a_winner_and_a_loser(first: str, second: str) -> None:
    for counts in ("count", "counts", "votes", "weight", "weights", "n"):
        for ties in ("tie", "is_tie", "tied", "draw"):
            found = layout_of([first, second, counts, ties])
            text = first == "chosen"
            assert found == Layout("won", first, second, (), (counts,), (ties,), "", text, within_prompts=True)


def test_words_for_ties_and_for_yes() -> None:
    assert {word for word, code in TIE_WORDS.items() if code == 2} == {"tie", "tied", "draw", "drawn"}
    bad = {"tie_bothbad", "bothbad", "both_bad", "tie_both_bad", "ties_both_bad", "tie_bad"}
    assert {word for word, code in TIE_WORDS.items() if code == 3} == bad
    assert {"1", "1.0", "y", "yes", "t", "true"} == YES
    assert {"0", "0.0", "n", "no", "f", "false"} == NO


@pytest.mark.parametrize("word", ["tie", "Tied", "DRAW", "drawn", "both bad", "tie (bothbad)"])
def test_ties_are_half_a_win_either_way(tmp_path: Path, word: str) -> None:
    file = tmp_path / "votes.csv"
    file.write_text(f"model_a,model_b,winner\nx,y,model_a\nx,y,{word}\n", encoding="utf-8")
    found = Comparisons.read(file)
    assert found.count.sum() == 2.0
    first = np.array([found.items[i] for i in found.winner]) == "x"
    assert found.count[first].sum() == 1.5


@pytest.mark.parametrize(
    "keys", [("chosen_id", "rejected_id", "votes_chosen", "votes_rejected"), ("a_id", "b_id", "votes_a", "votes_b")]
)
def test_votes_on_arguments(tmp_path: Path, keys: tuple[str, ...]) -> None:
    """A folder of two files, of two debates with two sides: rows, notes and votes of all of them."""

    def row(debate: str, side: str, one: str, two: str, votes: tuple[int, int], equal: int) -> str:
        values = dict(zip(keys, (one, two, *votes), strict=True)) | {"votes_equal": equal}
        return json.dumps({"debate": debate, "prompt": f"Debate: {debate}\nSide: {side}", **values})

    first = [row("tea", "for", "p", "q", (3, 2), 0), row("tea", "against", "r", "s", (1, 0), 2)]
    second = [row("tea", "for", "q", "p", (4, 1), 1), row("coffee", "for", "u", "v", (0, 5), 0)]
    (tmp_path / "one.jsonl").write_text("\n".join(first) + "\n", encoding="utf-8")
    with gzip.open(tmp_path / "two.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(second) + "\n")
    found = read_argument_votes(tmp_path)
    assert list(found) == ["coffee (for)", "tea (against)", "tea (for)"]
    tea = found["tea (for)"]

    def votes(problem: Comparisons, one: str, two: str) -> float:
        named = [(problem.items[i], problem.items[j]) for i, j in zip(problem.winner, problem.loser, strict=True)]
        return float(sum(c for pair, c in zip(named, problem.count, strict=True) if pair == (one, two)))

    assert (votes(tea, "p", "q"), votes(tea, "q", "p")) == (4.0, 6.0)
    assert votes(found["coffee (for)"], "v", "u") == 5.0
    report = tea.report
    assert report is not None
    assert (report.rows, report.used) == (4, 4)
    assert [note for note in report.notes if "equally" in note] == [
        '2 votes for "equally convincing" left out', '1 votes for "equally convincing" left out',
    ]  # fmt: skip
    whole = read_argument_votes(tmp_path, by_side=False)
    assert list(whole) == ["coffee", "tea"]
    (tmp_path / "one.jsonl").write_text(json.dumps({"debate": 3, "prompt": "Side: x"}) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="debate"):
        read_argument_votes(tmp_path / "one.jsonl")
