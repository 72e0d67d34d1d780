"""Readers: every kind of fault is counted with its line or refused, plain and gzip alike."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm.data.filters import FilterConfig
from llm.data.hub import hub_examples, hub_pairs
from llm.data.readers import find_split, kind_of, read_labelled_file, read_pairs_file, read_summaries
from llm.data.splits import PARTS, Counts, as_labelled, read_splits
from llm.data.types import Example, Pair, Reward, read_examples, read_pairs, write_examples, write_pairs
from llm.policy.lengths import within_tokens
from llm.rewards.world import WorldReward

SKIP = FilterConfig(max_prompt_words=4, max_response_words=2, refuse=())
LINES = [
    {"source": "one two three", "summary": "a b", "category": "m"},  # 1 kept
    "",  # 2 nothing: passed over
    {"source": "one two three", "summary": "a b"},  # 3 duplicate
    {"source": "one two three four five", "summary": "a"},  # 4 over-long
    {"source": "one", "summary": "a b c"},  # 5 over-long
    {"source": "one", "summary": "   "},  # 6 empty
    {"source": "one"},  # 7 malformed: no summary
    {"source": 3, "summary": "a"},  # 8 malformed: not a text
    ["source"],  # 9 malformed: not an object
    '{"source": ',  # 10 malformed: not JSON
    b"\xff{}",  # 11 malformed: not UTF-8
    {"source": "ünï", "summary": "b"},  # 12 kept
]


def write(path: Path, lines: list[Any], *, packed: bool = False) -> Path:
    data = b"\n".join(
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    )
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_every_fault_is_counted(tmp_path: Path, packed: bool) -> None:
    path = write(tmp_path / "data.jsonl", LINES, packed=packed)  # gzip is told by content, not by name
    examples, report = read_summaries(path, SKIP, template="{source} =>")
    assert examples == [Example("one two three =>", "a b", {"category": "m"}), Example("ünï =>", "b")]
    assert (report.read, report.kept) == (11, 2)
    assert report.faults == {"malformed": 5, "empty": 1, "identical": 0, "over_long": 2, "duplicate": 1}
    assert report.lines == {
        "malformed": [7, 8, 9, 10, 11],
        "empty": [6],
        "identical": [],
        "over_long": [4, 5],
        "duplicate": [3],
    }
    assert "2 of 11 records kept; 5 malformed (line 7, 8, 9, 10, 11)" in str(report)
    assert report.read == report.kept + sum(report.faults.values())


@pytest.mark.parametrize(
    ("fault", "line", "words"),
    [
        ("duplicate", 3, "came before"),
        ("over_long", 4, "more than 4 words"),
        ("empty", 6, "empty"),
        ("malformed", 7, "no summary"),
    ],
)
def test_a_fault_can_be_refused_with_its_line(tmp_path: Path, fault: str, line: int, words: str) -> None:
    path = write(tmp_path / "data.jsonl", LINES)
    config = FilterConfig(max_prompt_words=4, max_response_words=2, refuse=(fault,))
    with pytest.raises(ValueError, match=f"line {line}: .*{words}"):
        read_summaries(path, config)


@pytest.mark.parametrize(
    ("line", "words"), [("{", "not JSON"), (b"\xfe\xfe", "not UTF-8"), ("[1]", "a list instead"), ("{}", "no source")]
)
def test_malformed_lines_are_refused_unless_told_otherwise(tmp_path: Path, line: Any, words: str) -> None:
    path = write(tmp_path / "data.jsonl", [LINES[0], line])
    with pytest.raises(ValueError, match=f"data.jsonl, line 2: malformed: .*{words}"):
        read_summaries(path)


def test_missing_file_cut_gzip_and_unknown_keys(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jsonl is no file"):
        read_summaries(tmp_path / "nowhere.jsonl")
    whole = write(
        tmp_path / "whole.gz", [{"source": f"text {i} {i * i}", "summary": "a"} for i in range(5000)], packed=True
    )
    (tmp_path / "cut.gz").write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"cut\.gz: the gzip data end badly after line \d+"):
        read_summaries(tmp_path / "cut.gz")
    strange = write(tmp_path / "strange.jsonl", [{"question": "a", "answer": "b"}])
    with pytest.raises(ValueError, match=r"line 1: has the keys question, answer; accepted are \{source, summary\}"):
        kind_of(strange)
    with pytest.raises(ValueError, match="has no record"):
        kind_of(write(tmp_path / "empty.jsonl", ["", " "]))
    with pytest.raises(ValueError, match="template is 'x'"):
        read_summaries(whole, template="x")
    with pytest.raises(FileNotFoundError, match=r"neither test\.jsonl nor test\.jsonl\.gz"):
        find_split(tmp_path, "test")


def test_limit_ends_the_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", [{"source": f"s{i}", "summary": "a"} for i in range(9)] + ["{"])
    examples, report = read_summaries(find_split(tmp_path, "train"), FilterConfig(limit=4))
    assert [e.prompt.split("\n")[0] for e in examples] == ["s0", "s1", "s2", "s3"]
    assert report.read == 4
    assert kind_of(path) == "summaries"


def test_pairs_with_votes_become_soft_labels(tmp_path: Path) -> None:
    votes = {"votes_chosen": 3, "votes_rejected": 1, "votes_equal": 1}
    rows = [
        {"prompt": "p", "chosen": "a", "rejected": "b", **votes},
        {"prompt": "p", "chosen": "a", "rejected": "c"},
        {"prompt": "p", "chosen": "d", "rejected": "d"},
    ]
    path = write(tmp_path / "pairs.jsonl", rows)
    assert kind_of(path) == "pairs"
    pairs, report = read_pairs_file(path, FilterConfig(refuse=()), soft=True)
    assert pairs == [Pair("p", "a", "b", p=0.7), Pair("p", "a", "c")]
    assert report.faults["identical"] == 1
    odd = write(tmp_path / "odd.jsonl", [{**rows[0], "votes_chosen": bad} for bad in ("3", -1, None, float("nan"))])
    assert read_pairs_file(odd, FilterConfig(refuse=()), soft=True)[1].lines["malformed"] == [1, 2, 3, 4]
    hard, _ = read_pairs_file(path, FilterConfig(refuse=()))
    assert [pair.p for pair in hard] == [1.0, 1.0]


def test_labelled_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "texts.jsonl", [{"text": " good ", "label": "positive"}, {"text": "x", "label": None}])
    assert kind_of(path) == "labelled"
    texts, report = read_labelled_file(path, FilterConfig(refuse=()))
    assert [(text.text, text.label) for text in texts] == [("good", "positive")]
    assert report.lines["empty"] == [2]


def three_files(folder: Path, rows: Callable[[str, int], dict[str, Any] | None], sizes: Sequence[int]) -> Path:
    for split, size in zip(("train", "validation", "test"), sizes, strict=True):
        write(folder / f"{split}.jsonl", [row for i in range(size) if (row := rows(split, i)) is not None])
    return folder


COUNTS = Counts(fine_tuning=12000, reward=6000, pairs=4800, held_out=256, evaluation=512)


def test_equal_texts_and_nulls_are_counted_and_left_out(tmp_path: Path) -> None:
    """One such record among many neither ends the run nor is kept; outer white space makes no difference."""
    odd = {
        3: {"chosen": "Same.", "rejected": "Same."},
        5: {"chosen": "Same.", "rejected": " Same.\n"},
        7: {"rejected": None},
        8: {"prompt": None},
        9: {"chosen": ""},
    }

    def rows(split: str, i: int) -> dict[str, Any]:
        return {"prompt": f"{split} {i}?", "chosen": "Yes.", "rejected": "No."} | odd.get(i, {})

    splits = read_splits(three_files(tmp_path, rows, (40, 20, 20)), COUNTS, max_prompt=100)
    assert (len(splits.held_out), len(splits.evaluation)) == (15, 15)
    assert len(splits.fine_tuning) + len(splits.pairs) + len(splits.reward) == 35
    assert "train.jsonl: 35 of 40 records kept; 3 empty (line 8, 9, 10); 2 identical (line 4, 6)" in splits.report
    assert "65 of 65 used, of 65 prompts" in splits.report


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    row = json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"}).encode()
    path.write_bytes(b"\xef\xbb\xbf" + row + b"\n" + row.replace(b'"a"', b'"c"') + b"\n")
    assert kind_of(path) == "pairs"
    assert read_pairs_file(path)[0] == [Pair("p", "a", "b"), Pair("p", "c", "b")]
    path.write_bytes(row + b"\n\xef\xbb\xbf" + row)  # in the middle it is no mark
    with pytest.raises(ValueError, match="line 2: malformed: not JSON"):
        read_pairs_file(path)


def test_many_pairs_of_a_prompt_are_used_and_prompts_kept_apart(tmp_path: Path) -> None:
    def rows(split: str, i: int) -> dict[str, Any]:
        return {"prompt": f"Question {i % 7}?", "chosen": f"{split} {i}.", "rejected": "No."}

    splits = read_splits(three_files(tmp_path, rows, (400, 60, 60)), COUNTS, max_prompt=100)
    parts = {name: getattr(splits, name) for name in PARTS}
    prompts = {name: {example.prompt for example in part} for name, part in parts.items()}
    assert sum(map(len, prompts.values())) == len(set().union(*prompts.values())) == 7
    assert sum(len(part) for name, part in parts.items() if name != "evaluation") == 520 - len(
        [1 for size in (400, 60, 60) for i in range(size) if f"Question {i % 7}?" in prompts["evaluation"]]
    )
    assert len(parts["evaluation"]) == len(prompts["evaluation"]) == 1
    assert "7 prompts are in several files" in splits.report
    assert f"{sum(map(len, parts.values()))} of 520 used, of 7 prompts" in splits.report


def test_prompts_of_several_files_stay_in_the_first_where_each_file_has_its_own(tmp_path: Path) -> None:
    def rows(split: str, i: int) -> dict[str, Any]:
        return {"prompt": "shared?" if i == 0 else f"{split} {i}?", "chosen": f"{split}.", "rejected": "No."}

    splits = read_splits(three_files(tmp_path, rows, (40, 20, 20)), COUNTS, max_prompt=100)
    assert [e.prompt for e in splits.evaluation].count("shared?") == 1
    assert len(splits.held_out) == 19
    assert len(splits.fine_tuning) + len(splits.pairs) + len(splits.reward) == 39


def test_a_prompt_inside_of_two_dialogues_is_found(tmp_path: Path) -> None:
    start = "\n\nHuman: Hello.\n\nAssistant: Hi.\n\nHuman: More of it.\n\nAssistant:"
    row = {"chosen": f"{start} This is so.", "rejected": f"{start} This is not."}
    path = write(tmp_path / "train.jsonl", [row])
    assert kind_of(path) == "pairs"
    assert read_pairs_file(path)[0] == [Pair(start, "This is so.", "This is not.")]
    write(path, [row, {"chosen": "Yes.", "rejected": "No."}])
    with pytest.raises(ValueError, match=r"line 2: malformed: no prompt.*share no beginning up to 'Assistant:'"):
        read_pairs_file(path)
    write(path, [{"chosen": None, "rejected": "No."}, {"chosen": [{"role": "user"}], "rejected": "No."}])
    with pytest.raises(ValueError, match=r"line 2: malformed: \[\{'role': 'user'\}\] is not a text"):
        read_pairs_file(path)
    write(path, [{"question": "a", "answer": "b"}])
    with pytest.raises(ValueError, match=r"has the keys question, answer; accepted are .*\{chosen, rejected\}"):
        kind_of(path)


def test_counts_that_leave_files_without_a_reward_are_refused(tmp_path: Path) -> None:
    for name in ("train", "validation", "test"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "a b c d e f", "label": 1}\n')
    with pytest.raises(ValueError, match=r"the counts of reward are 0.*preset files"):
        read_splits(tmp_path, replace(COUNTS, reward=0), max_prompt=10)


def test_labels_may_be_one_and_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "texts.jsonl", [{"text": "good", "label": 1}, {"text": "bad", "label": 0}])
    assert [text.label for text in read_labelled_file(path)[0]] == ["positive", "negative"]
    write(path, [{"text": "good", "label": 5}])
    with pytest.raises(ValueError, match="label is 5; accepted are texts, or 1 for positive and 0 for negative"):
        read_labelled_file(path)

    def rows(split: str, i: int) -> dict[str, Any]:
        return {"text": f"{split} {i} was a day of rain", "label": i % 2}

    splits = read_splits(three_files(tmp_path, rows, (60, 20, 20)), COUNTS, max_prompt=100)
    assert {text.label for text in as_labelled(splits.reward)} == {"positive", "negative"}
    assert "100 of 100 used" in splits.report


def test_data_sets_go_through_the_same_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", [{"article": "long text", "highlights": "short"}, {"article": "x", "highlights": ""}])
    columns = {"source": "article", "summary": "highlights"}
    examples, report = hub_examples(str(folder), columns=columns)
    assert examples == [Example("long text\nTitle:", "short")]
    assert report.lines["empty"] == [2]
    with pytest.raises(ValueError, match="has no column source, summary; it has article, highlights"):
        hub_examples(str(folder))
    with pytest.raises(ValueError, match="has no column prompt, chosen, rejected"):
        hub_pairs(str(folder))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt":"p","chosen":"a","rejected":"b","n":%s}' % ("9" * 5000), "5,000 digits; a number has at most 400"),
        ('{"prompt":"p","chosen":"a","chosen":"c","rejected":"b"}', "key 'chosen' occurs twice"),
        ('{"prompt":"p","chosen":"a \\ud83d","rejected":"b"}', "lone surrogate"),
        ('{"prompt":"p","chosen":"a","rejected":"b","meta":{"k":["\\udE00"]}}', "lone surrogate"),
    ],
)
def test_json_that_would_be_misread_is_malformed(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "pairs.jsonl"
    whole = '{"prompt":"p","chosen":"a \\ud83d\\ude00","rejected":"b"}'
    path.write_text(f"{whole}\n{line}\n")
    with pytest.raises(ValueError, match=f"line 2: .*{words}"):
        read_pairs_file(path)
    path.write_text(f"{whole}\n")
    assert read_pairs_file(path)[0][0].chosen == "a \U0001f600"


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="refuse has 'long'"):
        FilterConfig(refuse=("long",))
    with pytest.raises(ValueError, match="limit is 0"):
        FilterConfig(limit=0)


def test_examples_and_pairs_survive_the_disk(tmp_path: Path) -> None:
    examples = [Example("p\nq", "täglich\u2028x", {"facts": {"a": "b"}, "n": [1, None]})]
    write_examples(examples, tmp_path / "examples.jsonl")
    assert read_examples(tmp_path / "examples.jsonl") == examples
    pairs = [Pair("p", "a", "b", 0.1 + 0.2, -1e-300, 0.25), Pair("p", "a", "b")]
    write_pairs(pairs, tmp_path / "pairs.jsonl")
    assert read_pairs(tmp_path / "pairs.jsonl") == pairs
    keys = {"prompt", "chosen", "rejected", "reward_chosen", "reward_rejected"}
    assert keys <= set(json.loads((tmp_path / "pairs.jsonl").read_text().splitlines()[0]))
    write(tmp_path / "bad.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b", "p": 2.0}])
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 1: p is 2\.0"):
        read_pairs(tmp_path / "bad.jsonl")
    write(tmp_path / "other.jsonl", [{"prompt": "p"}, "{"])
    with pytest.raises(ValueError, match="line 2: not JSON"):
        read_pairs(tmp_path / "other.jsonl")


@pytest.mark.parametrize(
    "bad", [{"prompt": " "}, {"chosen": ""}, {"rejected": None}, {"p": -0.1}, {"reward_chosen": float("nan")}]
)
def test_pairs_refuse_what_the_loss_must_not_see(bad: dict[str, Any]) -> None:
    good: dict[str, Any] = {"prompt": "p", "chosen": "a", "rejected": "b"}
    assert Pair(**good).p == 1.0
    with pytest.raises(ValueError, match=f"{next(iter(bad))} is"):
        Pair(**(good | bad))
    assert isinstance(WorldReward([]), Reward)


def test_long_in_tokens(records: list[Example], word_tokenizer: Any) -> None:
    lengths = [len(e.prompt.split()) for e in records]
    most = sorted(lengths)[20]
    kept, left = within_tokens(records, word_tokenizer, max_prompt=most, max_response=10)
    assert kept == [e for e, n in zip(records, lengths, strict=True) if n <= most]
    assert left == len(records) - len(kept) > 0
    assert within_tokens(records, word_tokenizer, max_prompt=most, max_response=9) == ([], len(records))  # 9 + the end


def test_a_reward_that_no_float_holds_is_refused_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    row = '{"prompt": "p", "chosen": "a", "rejected": "b", "reward_chosen": 1' + "0" * 400 + "}\n"
    file.write_text(row, encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs\.jsonl, line 1: reward_chosen is 1000"):
        read_pairs(file)
