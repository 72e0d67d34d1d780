"""Readers of JSON lines, plain or gzip: {source, summary}, {prompt, chosen, rejected} or {text, label}.

Other keys of a record are kept as its ``meta``. A file is recognised as gzip by its first bytes, not by its name.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llm.data.filters import FilterConfig, ReadReport, RecordFilter
from llm.data.types import Example, Pair

__all__ = [
    "TITLE_TEMPLATE",
    "Labelled",
    "continuations",
    "examples_of",
    "find_split",
    "kind_of",
    "labelled_of",
    "pairs_of",
    "read_labelled_file",
    "read_pairs_file",
    "read_summaries",
]

TITLE_TEMPLATE = "{source}\nTitle:"
KINDS = {"summaries": ("source", "summary"), "pairs": ("prompt", "chosen", "rejected"), "labelled": ("text", "label")}
VOTES = ("votes_chosen", "votes_rejected", "votes_equal")
Kept = TypeVar("Kept")
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
    """Turn numbered records {prompt, chosen, rejected} into pairs; those of two equal responses are malformed."""

    def make(row: dict[str, Any]) -> Pair:
        p = _share(row) if soft else 1.0
        return Pair(row["prompt"], row["chosen"].strip(), row["rejected"].strip(), p=p)

    return _kept(records, source, config, "pairs", make)


def labelled_of(
    records: Iterable[Record], source: str, config: FilterConfig | None = None
) -> tuple[list[Labelled], ReadReport]:
    """Turn numbered records {text, label} into labelled texts."""
    return _kept(records, source, config, "labelled", lambda row: Labelled(row["text"].strip(), row["label"].strip()))


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
            if set(keys) <= set(row):
                return kind
        told = "; ".join("{" + ", ".join(keys) + "}" for keys in KINDS.values())
        raise ValueError(f"{path}, line {number}: has the keys {', '.join(row)}; accepted are {told}")
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
    judge = RecordFilter(source, config or FilterConfig())
    keys = KINDS[kind]
    kept: list[Kept] = []
    for number, row in records:
        if judge.full:
            break
        fault = row if isinstance(row, str) else _fault(row, kind)
        if fault:
            judge.malformed(number, fault)
        elif isinstance(row, dict) and judge.accepts(number, row[keys[0]], [row[key] for key in keys[1:]]):
            kept.append(make(row))
    return kept, judge.report


def _fault(row: dict[str, Any], kind: str) -> str:
    """Return why a record is malformed, or nothing."""
    missing = [key for key in KINDS[kind] if key not in row]
    if missing:
        return f"no {', '.join(missing)} (it has {', '.join(map(str, row)) or 'no keys'})"
    if kind == "pairs" and row["chosen"] == row["rejected"] and str(row["chosen"]).strip():
        return "chosen and rejected are the same"
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
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"{place} is no file")
    with place.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    number = 0
    try:
        with gzip.open(place, "rb") if packed else place.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, _parsed(line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{place}: the gzip data end badly after line {number} ({error})") from None


def _parsed(line: bytes) -> dict[str, Any] | str:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start})"
    except (json.JSONDecodeError, RecursionError) as error:
        return f"not JSON ({error})"
    return row if isinstance(row, dict) else f"a {type(row).__name__} instead of an object"
