"""People's own pairs: every form that is read, and every bad one refused with its file and line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from llm.data.preferences import PreferencePair, read_preferences, split_by_prompt, turns_of

USER = {"role": "user", "content": "Why?"}
SYSTEM = {"role": "system", "content": "Be short."}


def reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write(path: Path, rows: list[Any]) -> Path:
    data = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "Q: ", "chosen": "a", "rejected": "b"}, [("Q: ", "a", "b", 1.0)]),
        (
            {"chosen": "Human: Hi\n\nAssistant: Yes", "rejected": "Human: Hi\n\nAssistant: No"},
            [("Human: Hi\n\nAssistant:", " Yes", " No", 1.0)],
        ),
        ({"prompt": "Q:", "chosen": "Q: a", "rejected": "Q: b"}, [("Q:", " a", " b", 1.0)]),
        ({"prompt": [USER], "chosen": [reply("a")], "rejected": [reply("b")]}, [((USER,), "a", "b", 1.0)]),
        ({"prompt": [USER], "chosen": "a", "rejected": "b"}, [((USER,), "a", "b", 1.0)]),
        ({"prompt": "Why?", "chosen": [USER, reply("a")], "rejected": [USER, reply("b")]}, [((USER,), "a", "b", 1.0)]),
        ({"chosen": [USER, reply("a")], "rejected": [USER, reply("b")]}, [((USER,), "a", "b", 1.0)]),
        ({"prompt": "Why?", "chosen": [reply("a")], "rejected": [reply("b")]}, [((USER,), "a", "b", 1.0)]),
        (
            {"prompt": [USER], "chosen": [USER, reply("a")], "rejected": [USER, reply("b")], "system": "Be short."},
            [((SYSTEM, USER), "a", "b", 1.0)],
        ),
        ({"prompt": "Q", "chosen": ["a", "c"], "rejected": "b"}, [("Q", "a", "b", 1.0), ("Q", "c", "b", 1.0)]),
        ({"prompt": "Q", "chosen": "a", "rejected": "b", "p": 0.8}, [("Q", "a", "b", 0.8)]),
        ({"prompt": "Q", "chosen": "a", "rejected": "b", "label": 0}, [("Q", "a", "b", 0.0)]),
        (
            {"prompt": "Q", "chosen": "a", "rejected": "b", "votes_chosen": 3, "votes_rejected": 0, "votes_equal": 2},
            [("Q", "a", "b", 0.8)],
        ),
    ],
)
def test_forms(tmp_path: Path, row: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    for name in ("pairs.jsonl", "pairs.jsonl.gz"):
        pairs, report = read_preferences(write(tmp_path / name, [row]))
        assert [(pair.prompt, pair.chosen, pair.rejected, pair.p) for pair in pairs] == expected
        assert (report.rows, report.used) == (1, 1)


def test_csv_and_arrays(tmp_path: Path) -> None:
    rows = [{"prompt": "Q", "chosen": f"a{i}", "rejected": "b, c", "p": "0.75"} for i in range(3)]
    with (tmp_path / "pairs.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["prompt", "chosen", "rejected", "p"])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "pairs.json").write_text(json.dumps([{**row, "p": 0.75} for row in rows]))
    found = [read_preferences(tmp_path / name) for name in ("pairs.csv", "pairs.json")]
    for pairs, report in found:
        assert [(pair.chosen, pair.rejected, pair.p) for pair in pairs] == [(f"a{i}", "b, c", 0.75) for i in range(3)]
        assert report.prompts == 1


GOOD = {"prompt": "Q", "chosen": "a", "rejected": "b"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "Q", "chosen": "a"}, "no rejected"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "prompt is 3"),
        ({"prompt": "Q", "chosen": 4, "rejected": "b"}, "chosen is 4"),
        ({"chosen": "a", "rejected": "b"}, "no prompt"),
        ({**GOOD, "p": 1.5}, r"p is 1\.5"),
        ({**GOOD, "p": "often"}, "p is 'often'"),
        ({**GOOD, "p": 0.5, "votes_chosen": 1}, "say the label twice"),
        ({**GOOD, "votes_chosen": 0, "votes_rejected": 0}, "no votes"),
        ({**GOOD, "votes_chosen": -1}, "votes_chosen is -1"),
        ({**GOOD, "weight": 2.0}, "column weight would change what is trained"),
        ({**GOOD, "tie": 1}, "column tie would change"),
        ({"prompt": [USER], "chosen": [{"role": "assistant"}], "rejected": "b"}, "no message with the texts"),
        ({"prompt": [reply("x")], "chosen": "a", "rejected": "b"}, "ends with a message of the assistant"),
        ({"prompt": [USER], "chosen": [reply("a"), USER], "rejected": "b"}, "one message of the assistant is accepted"),
        ({**GOOD, "system": "Be short."}, "system goes with messages"),
        ("{", "malformed JSON"),
        ("[1]", "is not an object"),
    ],
)
def test_bad_records_are_refused_with_their_line(tmp_path: Path, row: Any, words: str) -> None:
    path = write(tmp_path / "pairs.jsonl", [GOOD, row])
    with pytest.raises(ValueError, match=f"pairs.jsonl, line 2: .*{words}"):
        read_preferences(path)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "rejected": " a "}, {**GOOD, "chosen": " "}, {**GOOD, "topic": "x"}, GOOD]
    pairs, report = read_preferences(write(tmp_path / "pairs.jsonl", rows))
    assert [pair.line for pair in pairs] == [1, 4, 5]  # a pair that was compared twice counts twice
    text = str(report)
    assert "3 of 5 rows used" in text
    assert "chosen and rejected are the same (line 2)" in text
    assert "a response is empty (line 3)" in text
    assert "column not used: topic" in text
    with pytest.raises(ValueError, match="no pair is left"):
        read_preferences(write(tmp_path / "none.jsonl", [rows[1]]))
    with pytest.raises(FileNotFoundError, match=r"away\.jsonl is no file"):
        read_preferences(tmp_path / "away.jsonl")


def test_dialogues_as_turns() -> None:
    text = "Human: Hi\n\nthere\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:"
    assert turns_of(text) == (
        {"role": "user", "content": "Hi\n\nthere"}, reply("Hello"), {"role": "user", "content": "Bye"},
    )  # fmt: skip
    for plain in ("Write a poem.", "Assistant: odd", "Human:"):
        assert turns_of(plain) == ({"role": "user", "content": plain},)


def test_held_out_prompts_are_not_trained_on() -> None:
    pairs = [PreferencePair(i, f"Q{i % 10}", "a", f"b{i}") for i in range(40)]
    train, held_out = split_by_prompt(pairs, 0.3, seed=1)
    assert (len(train), len(held_out)) == (28, 12)
    assert not {pair.prompt for pair in train} & {pair.prompt for pair in held_out}
    assert split_by_prompt(pairs, 0.0, seed=1) == (pairs, [])
    with pytest.raises(ValueError, match=r"held_out is 0\.01 of 10 prompts"):
        split_by_prompt(pairs, 0.01, seed=1)
