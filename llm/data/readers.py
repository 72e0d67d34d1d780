"""Readers of JSON lines, as they are or gzip: {source, summary}, {prompt, chosen, rejected} or {text, label}.

Other keys of a record are kept as its ``meta``. A file is recognised as gzip by its first bytes, not by its name, and a
byte-order mark at its beginning is passed over. Of pairs without a prompt, as Anthropic's HH has them, the prompt is
the common beginning of the two texts up to the last "Assistant:"; labels 1 and 0 are read as positive and negative.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gpo_analysis.reading import json_decoder
from llm.data.filters import FilterConfig, ReadReport, RecordFilter
from llm.data.types import Example, Pair

TITLE_TEMPLATE = "{source}\nTitle:"
KINDS = {"summaries": ("source", "summary"), "pairs": ("prompt", "chosen", "rejected"), "labelled": ("text", "label")}
TURN = "Assistant:"
LABELS = {0: "negative", 1: "positive"}
VOTES = ("votes_chosen", "votes_rejected", "votes_equal")
Kept = TypeVar("Kept")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
Record = tuple[int, dict[str, Any] | str]


@dataclass(frozen=True)
class Labelled:
    """A text with a label, such as a sentiment."""

    text: str
    label: str


def read_summaries(
    path: str | os.PathLike[str], config: FilterConfig | None = None, *, template: str = TITLE_TEMPLATE
) -> tuple[list[Example], ReadReport]:
    """Read a file of {source, summary}; the prompt is the template with the source put in.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        For a record that is refused (`FilterConfig.refuse`), a gzip file cut short, or a template without
        ``{source}``.
    """
    return examples_of(_records(path), str(path), config, template=template)


def read_pairs_file(
    path: str | os.PathLike[str], config: FilterConfig | None = None, *, soft: bool = False
) -> tuple[list[Pair], ReadReport]:
    """Read a file of {prompt, chosen, rejected}.

    With ``soft``, records that have votes_chosen, votes_rejected and votes_equal get p = the share of votes for the
    chosen one, undecided votes counted half.
    """
    return pairs_of(_records(path), str(path), config, soft=soft)


def read_labelled_file(
    path: str | os.PathLike[str], config: FilterConfig | None = None
) -> tuple[list[Labelled], ReadReport]:
    """Read a file of {text, label}."""
    return labelled_of(_records(path), str(path), config)


def examples_of(
    records: Iterable[Record], source: str, config: FilterConfig | None = None, *, template: str = TITLE_TEMPLATE
) -> tuple[list[Example], ReadReport]:
    """Turn numbered records {source, summary} into examples; a record given as a text says why it is malformed."""
    if "{source}" not in template:
        raise ValueError(f"template is {template!r}; accepted is a text with {{source}} in it")

    def make(row: dict[str, Any]) -> Example:
        meta = {key: value for key, value in row.items() if key not in ("source", "summary")}
        return Example(template.replace("{source}", row["source"].strip()), row["summary"].strip(), meta)

    return _kept(records, source, config, "summaries", make)


def pairs_of(
    records: Iterable[Record], source: str, config: FilterConfig | None = None, *, soft: bool = False
) -> tuple[list[Pair], ReadReport]:
    """Turn numbered records {prompt, chosen, rejected}, or {chosen, rejected} with their prompt inside, into pairs."""

    def make(row: dict[str, Any]) -> Pair:
        p = _share(row) if soft else 1.0
        return Pair(row["prompt"], row["chosen"].strip(), row["rejected"].strip(), p=p)

    return _kept(map(_with_prompt, records), source, config, "pairs", make)


def labelled_of(
    records: Iterable[Record], source: str, config: FilterConfig | None = None
) -> tuple[list[Labelled], ReadReport]:
    """Turn numbered records {text, label} into labelled texts."""
    return _kept(
        map(_with_label, records), source, config, "labelled",
        lambda row: Labelled(row["text"].strip(), row["label"].strip()),
    )  # fmt: skip


def _with_prompt(record: Record) -> Record:
    """A record of two whole dialogues, with its prompt apart; any other as it is, or what is wrong with it."""
    number, row = record
    if isinstance(row, str) or "prompt" in row or not {"chosen", "rejected"} <= set(row):
        return record
    chosen, rejected = row["chosen"], row["rejected"]
    if not (isinstance(chosen, str) and isinstance(rejected, str)):
        return number, {"prompt": None if None in (chosen, rejected) else chosen, **row}
    try:
        prompt, chosen, rejected = split_dialogues(chosen, rejected)
    except ValueError as error:
        return number, str(error)
    return number, {**row, "prompt": prompt, "chosen": chosen, "rejected": rejected}


def split_dialogues(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Two whole dialogues as a prompt and two responses: the prompt is their common beginning up to an "Assistant:".

    Raises
    ------
    ValueError
        Where they share no such beginning.

    Examples
    --------
    >>> split_dialogues("Human: Hi\\n\\nAssistant: Hello", "Human: Hi\\n\\nAssistant: No")
    ('Human: Hi\\n\\nAssistant:', ' Hello', ' No')
    """
    apart = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), len(chosen))
    end = chosen[:apart].rfind(TURN) + len(TURN)
    if end < len(TURN):
        raise ValueError(f"no prompt, and chosen and rejected share no beginning up to {TURN!r}")
    return chosen[:end], chosen[end:], rejected[end:]


def _with_label(record: Record) -> Record:
    """A record whose label is 0 or 1, with its name; any other as it is, or what is wrong with it."""
    number, row = record
    label = None if isinstance(row, str) else row.get("label")
    if isinstance(row, str) or label is None or isinstance(label, str):
        return record
    if isinstance(label, bool) or label not in LABELS:
        return number, f"label is {label!r:.40}; accepted are texts, or 1 for positive and 0 for negative"
    return number, {**row, "label": LABELS[label]}


def continuations(texts: Sequence[Labelled], *, words: int = 4) -> list[Example]:
    """Return comments as examples: the first words are the prompt, the rest the target; shorter ones are left out.

    Examples
    --------
    >>> continuations([Labelled("What a very fine day it is", "positive"), Labelled("Too short", "negative")])
    [Example(prompt='What a very fine', target='day it is', meta={'label': 'positive'})]
    """
    if words < 1:
        raise ValueError(f"words is {words}; accepted is 1 or more")
    split = ((text, text.text.split()) for text in texts)
    return [
        Example(" ".join(parts[:words]), " ".join(parts[words:]), {"label": text.label})
        for text, parts in split
        if len(parts) > words
    ]


def kind_of(path: str | os.PathLike[str]) -> str:
    """Return "summaries", "pairs" or "labelled" by the keys of the first record."""
    for number, row in _records(path):
        if isinstance(row, str):
            raise ValueError(f"{path}, line {number}: {row}")
        for kind, keys in KINDS.items():
            if set(keys) - {"prompt"} <= set(row):
                return kind
        accepted = "; ".join("{" + ", ".join(keys) + "}" for keys in KINDS.values()) + "; {chosen, rejected}"
        raise ValueError(f"{path}, line {number}: has the keys {', '.join(row)}; accepted are {accepted}")
    raise ValueError(f"{path} has no record")


def find_split(folder: str | os.PathLike[str], split: str) -> Path:
    """Return the file of a split: SPLIT.jsonl or SPLIT.jsonl.gz in the folder."""
    for name in (f"{split}.jsonl", f"{split}.jsonl.gz"):
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise FileNotFoundError(f"{folder} has neither {split}.jsonl nor {split}.jsonl.gz")


def _kept(
    records: Iterable[Record],
    source: str,
    config: FilterConfig | None,
    kind: str,
    make: Callable[[dict[str, Any]], Kept],
) -> tuple[list[Kept], ReadReport]:
    rules = RecordFilter(source, config or FilterConfig())
    keys = KINDS[kind]
    kept: list[Kept] = []
    for number, row in records:
        if rules.full:
            break
        fault = row if isinstance(row, str) else _fault(row, kind)
        if fault:
            rules.malformed(number, fault)
        elif isinstance(row, dict) and rules.accepts(number, row[keys[0]], [row[key] for key in keys[1:]]):
            kept.append(make(row))
    return kept, rules.report


def _fault(row: dict[str, Any], kind: str) -> str:
    """Return why a record is malformed, or nothing."""
    missing = [key for key in KINDS[kind] if key not in row]
    if missing:
        return f"no {', '.join(missing)} (it has {', '.join(map(str, row)) or 'no keys'})"
    for key in VOTES if kind == "pairs" else ():
        if not isinstance(row.get(key, 0), (int, float)) or not row.get(key, 0) >= 0:
            return f"{key} is {row[key]!r:.40}, not a number of votes"
    return ""


def _share(row: dict[str, Any]) -> float:
    if not {"votes_chosen", "votes_rejected"} <= set(row):
        return 1.0
    ties = 0.5 * row.get("votes_equal", 0)
    total = row["votes_chosen"] + row["votes_rejected"] + 2.0 * ties
    return (row["votes_chosen"] + ties) / total if total else 0.5


def _records(path: str | os.PathLike[str]) -> Iterator[Record]:
    """Yield (line number, record or what is wrong with it); lines of nothing but white space are passed over."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file")
    with file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    number = 0
    try:
        with gzip.open(file, "rb") if packed else file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if text.strip():
                    yield number, _parsed(text)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{file}: the gzip data end badly after line {number} ({error})") from None


def _parsed(line: bytes) -> dict[str, Any] | str:
    try:
        row = json_decoder().decode(line.decode("utf-8").strip())
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start})"
    except RecursionError:
        return "not JSON (nested too deeply)"
    except ValueError as error:
        return f"not JSON ({error})"
    if _HALF.search(line) is not None and _halves(row):
        return "holds a lone surrogate, half of a character"
    return row if isinstance(row, dict) else f"a {type(row).__name__} instead of an object"


def _halves(value: Any) -> bool:
    """Whether a text within holds a lone surrogate, which no tokenizer can encode."""
    if isinstance(value, str):
        return any("\ud800" <= c <= "\udfff" for c in value)
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_halves, parts))
