"""People's own pairs: every form that is read, and every bad one refused with its file and line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm.data.preferences import PreferencePair, read_preferences, split_by_prompt, turns_of

USER = {"role": "user", "content": "Why?"}
SYSTEM = {"role": "system", "content": "Be short."}
WORDS = ("why", "how", "when", "yes", "no", "maybe", "red", "blue")
TEMPLATE = (
    "{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] }}{% if m['role'] == 'assistant' %}"
    "{{ eos_token + ' done' }}{% endif %}{{ ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)


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


def _generated(kind: str, rng: np.random.Generator) -> dict[str, Any]:
    """A record of one of TRL's preference formats."""

    def text(least: int = 1) -> str:
        return " ".join(rng.choice(WORDS, int(rng.integers(least, 5))))

    one, other = f"one {text()}", f"other {text()}"
    turns = [
        part for _ in range(int(rng.integers(0, 3))) for part in ({"role": "user", "content": text()}, reply(text()))
    ]
    prompt = [*([SYSTEM] if rng.integers(2) else []), *turns, {"role": "user", "content": text()}]
    before, space = text(2), " " if rng.integers(2) else "\n"
    return {
        "standard, explicit": {"prompt": before, "chosen": space + one, "rejected": space + other},
        "standard, implicit": {"chosen": before + " " + one, "rejected": before + " " + other},
        "conversational, explicit": {"prompt": prompt, "chosen": [reply(one)], "rejected": [reply(other)]},
        "conversational, implicit": {"chosen": [*prompt, reply(one)], "rejected": [*prompt, reply(other)]},
    }[kind]


@pytest.mark.parametrize("layout", ["standard", "conversational"])
@pytest.mark.parametrize("given", ["explicit", "implicit"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tokens_are_those_that_trl_trains_on(tmp_path: Path, layout: str, given: str) -> None:
    pytest.importorskip("trl")
    from datasets import Dataset
    from trl import DPOTrainer  # type: ignore[attr-defined]

    from llm.own.tokens import PairTokenizer
    from llm.policy.models import LlamaSize, small_llama
    from llm.policy.tokenizers import train_tokenizer
    from tests.integrations.tiny_trl import make_trainer

    rng = np.random.default_rng(5)
    rows = [_generated(f"{layout}, {given}", rng) for _ in range(25)]
    tokenizer = train_tokenizer([" ".join(WORDS), "[user] [assistant] [system] Be short. one other\n"])
    tokenizer.chat_template = TEMPLATE
    size = LlamaSize(hidden=8, layers=1, heads=1, positions=256)
    models = [small_llama(size, tokenizer, seed=seed) for seed in (0, 1)]
    trainer = make_trainer(
        DPOTrainer, tmp_path, model=models[0], ref_model=models[1], train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer, settings={"max_length": None, "precompute_ref_log_probs": False},
    )  # fmt: skip
    pairs, report = read_preferences(write(tmp_path / "pairs.jsonl", rows))
    assert report.used == len(rows)
    words = (layout, given) == ("standard", "implicit")
    assert (f"no prompt in {len(rows)} rows: taken are the words" in str(report)) == words
    found = PairTokenizer(tokenizer, []).rows(pairs, "here")
    end = tokenizer.eos_token_id
    for mine, theirs in zip(found, trainer.train_dataset, strict=True):
        assert mine["prompt_ids"] == theirs["prompt_ids"]
        for side in ("chosen_ids", "rejected_ids"):
            whole = list(theirs[side])
            last = len(whole) - whole[::-1].index(end)  # the template's words after the end token are never sampled
            assert mine[side] == whole[:last]
    assert len({len(row["chosen_ids"]) for row in found}) > 2


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
        ({**GOOD, "tools": [{"name": "search"}]}, "column tools would be in what the model reads"),
        ({**GOOD, "images": ["a.png"]}, "column images would be in what the model reads"),
        ({"prompt": [USER], "chosen": [{**reply("a"), "tool_calls": [1]}], "rejected": "b"}, "message with tool_calls"),
        ({"prompt": [{**USER, "name": "Ann"}], "chosen": "a", "rejected": "b"}, "message with name"),
        ({"prompt": [USER], "chosen": [{**USER, "content": [{"type": "image"}]}], "rejected": "b"}, "no message"),
        ({"chosen": "Yes, of course", "rejected": "No, of course"}, "no prompt"),
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
