"""Readers: every format, and every way in which a file can be wrong, with its line."""

from __future__ import annotations

import gzip
import json

import pytest

from gpo_analysis.preferences import Comparisons, read_argument_votes

ROWS = [("rock", "scissors", 3.0), ("scissors", "paper", 2.0), ("paper", "rock", 1.5)]


def triples(games):
    return [
        (games.items[w], games.items[x], c)
        for w, x, c in zip(games.winner, games.loser, games.count.tolist(), strict=True)
    ]


def csv_text(column="count"):
    return f"winner,loser,{column}\n" + "".join(f"{w},{x},{c}\n" for w, x, c in ROWS)


def json_text(column="count"):
    return "".join(json.dumps({"winner": w, "loser": x, column: c}) + "\n" for w, x, c in ROWS)


@pytest.mark.parametrize("column", ["count", "votes"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.ndjson", "a.json", "plain", "j.txt"])
def test_every_format_gives_the_same(tmp_path, name, column):
    text = json_text(column) if ".json" in name or "ndjson" in name or name[0] == "j" else csv_text(column)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert triples(Comparisons.read(path)) == ROWS
    assert triples(Comparisons.read(str(path))) == ROWS


def test_csv_with_quotes_blank_lines_bom_case_and_other_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('\ufeffjudge, Winner ,LOSER\r\n\r\nx,"Müller, A.",  b \r\ny,b,"Müller, A."\r\n', encoding="utf-8")
    assert triples(Comparisons.read(path)) == [("Müller, A.", "b", 1.0), ("b", "Müller, A.", 1.0)]


def test_numbers_are_names(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("winner,loser,count\n1,2,1\n2,1,4\n")
    assert triples(Comparisons.read(path)) == [("1", "2", 1.0), ("2", "1", 4.0)]
    path = tmp_path / "a.jsonl"
    path.write_text('{"winner": 1, "loser": "2"}\n')
    assert triples(Comparisons.read(path)) == [("1", "2", 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"bad\.csv is empty"),
        ("winner,loser\n", r"bad\.csv holds no comparisons"),
        ("a,b\n1,2\n", r"bad\.csv, line 1: missing column winner and loser .* accepted are columns winner, loser"),
        ("winner,count\na,2\n", r"line 1: missing column loser"),
        ("winner,winner,loser\na,b,c\n", r"line 1: column winner occurs twice"),
        ("winner,loser\na,b\na\n", r"line 3: 1 fields, but the header has 2"),
        ("winner,loser\na,b,c\n", r"line 2: 3 fields"),
        ("winner,loser\n,b\n", r"line 2: winner is ''; accepted are non-empty names"),
        ("winner,loser\na,  \n", r"line 2: loser is"),
        ("winner,loser\na,a\n", r"line 2: winner and loser are both 'a'"),
        ("winner,loser,count\na,b,-1\n", r"line 2: count is '-1'; accepted are finite numbers of at least 0"),
        ("winner,loser,count\na,b,nan\n", r"line 2: count is 'nan'"),
        ("winner,loser,count\na,b,inf\n", r"line 2: count is 'inf'"),
        ("winner,loser,votes\na,b,many\n", r"line 2: votes is 'many'"),
        ("winner,loser,count,votes\na,b,1,2\n", r"line 2: both count and votes"),
        ("winner,loser,count\na,b,0\n", r"bad\.csv: every count is 0"),
        ('winner,loser\n"a,b\n', r"line 2: malformed CSV"),
    ],
)
def test_bad_csv_names_file_and_line(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Comparisons.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"bad\.jsonl holds no comparisons"),
        ('{"winner": "a", "loser": "b"}\n{oops}\n', r"bad\.jsonl, line 2: malformed JSON"),
        ("[1, 2]\n", r"line 1: .* is not an object"),
        ('{"winner": "a"}\n', r"line 1: missing 'loser'"),
        ('{"winner": null, "loser": "b"}\n', r"line 1: winner is None"),
        ('{"winner": ["a"], "loser": "b"}\n', r"line 1: winner is \['a'\]"),
        ('{"winner": true, "loser": "b"}\n', r"line 1: winner is True"),
        ('{"winner": "a", "loser": "b", "count": true}\n', r"line 1: count is True"),
        ('{"winner": "a", "loser": "b", "count": NaN}\n', r"line 1: count is nan"),
        ('{"winner": "a", "loser": "b", "count": 1e999}\n', r"line 1: count is inf"),
        ('{"winner": "a", "loser": "b", "count": {}}\n', r"line 1: count is \{\}"),
        ("[" * 100_000 + "\n", r"line 1: malformed JSON"),
    ],
)
def test_bad_json_names_file_and_line(tmp_path, text, message):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Comparisons.read(path)


def test_files_that_are_no_text(tmp_path):
    binary = tmp_path / "a.csv"
    binary.write_bytes(b"winner,loser\n\xff\xfe,b\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 2: is not UTF-8 text"):
        Comparisons.read(binary)
    whole = gzip.compress(csv_text().encode() * 50)
    for broken in (b"not gzip", whole[:-20], whole[:40] + b"\x00" * 20 + whole[60:]):
        path = tmp_path / "a.csv.gz"
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"a\.csv\.gz is not a whole gzip file"):
            Comparisons.read(path)
    with pytest.raises(FileNotFoundError):
        Comparisons.read(tmp_path / "missing.csv")


def vote(debate, side, a, b, votes_a, votes_b, **more):
    prompt = f"Debate: {debate}\nSide: {side}\nArgument:"
    return {
        "debate": debate,
        "prompt": prompt,
        "chosen_id": a,
        "rejected_id": b,
        "votes_chosen": votes_a,
        "votes_rejected": votes_b,
        "votes_equal": 0,
        **more,
    }


def write_votes(path, rows):
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_argument_votes_by_debate_and_side(tmp_path):
    rows = [
        vote("tea", "Yes", "a1", "a2", 4, 1),
        vote("tea", "No", "b1", "b2", 5, 0),
        vote("cats", "Yes", "c1", "c2", 3, 2),
    ]
    rows.append(vote("tea", "Yes", "a2", "a1", 2, 1))
    write_votes(tmp_path / "train.jsonl.gz", rows)
    found = read_argument_votes(tmp_path / "train.jsonl.gz")
    assert list(found) == ["cats (Yes)", "tea (No)", "tea (Yes)"]
    assert sorted(triples(found["tea (Yes)"])) == [("a1", "a2", 5.0), ("a2", "a1", 3.0)]
    assert triples(found["tea (No)"]) == [("b1", "b2", 5.0)], "no votes, no comparison"
    whole = read_argument_votes(tmp_path / "train.jsonl.gz", by_side=False)
    assert list(whole) == ["cats", "tea"]
    assert whole["tea"].n == 4


def test_argument_votes_of_a_folder_with_ties(tmp_path):
    write_votes(tmp_path / "train.jsonl.gz", [vote("tea", "Yes", "a1", "a2", 4, 1)])
    tie = {
        "debate": "tea",
        "prompt": "Debate: tea\nSide: Yes\nArgument:",
        "a_id": "a1",
        "b_id": "a3",
        "votes_a": 2,
        "votes_b": 1,
        "votes_equal": 2,
    }
    nobody = tie | {"debate": "dogs", "votes_a": 0, "votes_b": 0}
    write_votes(tmp_path / "ties.jsonl", [tie, nobody])
    found = read_argument_votes(tmp_path)
    assert list(found) == ["tea (Yes)"]
    assert found["tea (Yes)"].total == 8
    assert found["tea (Yes)"].n == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"debate": "tea"}, r"line 1: prompt has no line 'Side"),
        (vote("tea", "Yes", "a", "a", 1, 1), r"line 1: chosen_id and rejected_id are both 'a'"),
        (vote("tea", "Yes", "a", "b", -1, 1), r"line 1: votes_chosen is -1"),
        (vote("tea", "Yes", "a", "b", 1, None), r"line 1: votes_rejected is None"),
        (vote("", "Yes", "a", "b", 1, 1), r"line 1: debate is ''"),
    ],
)
def test_bad_votes_name_file_and_line(tmp_path, row, message):
    write_votes(tmp_path / "votes.jsonl", [row])
    with pytest.raises(ValueError, match=message):
        read_argument_votes(tmp_path / "votes.jsonl")


def test_empty_votes(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.jsonl"):
        read_argument_votes(tmp_path)
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no comparisons"):
        read_argument_votes(tmp_path)
