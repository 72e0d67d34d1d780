"""The records of a study, dealt out to its parts: from files, or from the generated world.

Files are of three kinds, recognised by their keys: {source, summary}, {prompt, chosen, rejected}, {text, label}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm.data.filters import FilterConfig
from llm.data.readers import (
    Labelled,
    continuations,
    find_split,
    kind_of,
    read_labelled_file,
    read_pairs_file,
    read_summaries,
)
from llm.data.types import Example, Pair
from llm.data.world import WorldConfig, demonstration, generate

NAMES = ("train", "validation", "test")
PARTS = ("fine_tuning", "pairs", "held_out", "evaluation", "reward")
WORLD = "world"


@dataclass(frozen=True)
class Counts:
    """How many records each part of a study gets; no record is in two parts.

    Parameters
    ----------
    fine_tuning : int
        Examples of supervised fine-tuning.
    pairs : int
        Prompts whose two samples are labelled and trained on.
    held_out : int
        Prompts of the pairs that no policy is trained on.
    evaluation : int
        Prompts of win rates and KL.
    reward : int
        Examples the gold reward and its judges are trained on; the generated world's reward is a program and needs
        them for its judge alone (0: no judge).
    """

    fine_tuning: int
    pairs: int
    held_out: int
    evaluation: int
    reward: int = 0

    def __post_init__(self) -> None:
        for name in ("fine_tuning", "pairs", "held_out", "evaluation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more")


@dataclass(frozen=True, eq=False)
class Splits:
    """The study's records; no prompt is in two of them.

    Parameters
    ----------
    fine_tuning, pairs, held_out, evaluation, reward : list of Example
        Examples of each part.
    kind : str
        "world" or the kind of the files read.
    report : str
        What was read, kept and left out, in words.
    """

    fine_tuning: list[Example]
    pairs: list[Example]
    held_out: list[Example]
    evaluation: list[Example]
    reward: list[Example] = field(default_factory=list)
    kind: str = WORLD
    report: str = ""

    @property
    def sizes(self) -> str:
        """How many examples each part has, in words."""
        return ", ".join(f"{len(getattr(self, name))} for {name}" for name in PARTS[:4])


def world_splits(counts: Counts, world: WorldConfig, *, seed: int) -> Splits:
    """Generate the records of a study; those of fine-tuning have careless summaries."""
    taken: list[Example] = []

    def part(number: int, offset: int) -> list[Example]:
        made = generate(number, seed=1000 * seed + offset, config=world, exclude=taken)
        taken.extend(made)
        return made

    evaluation, held_out = part(counts.evaluation, 1), part(counts.held_out, 2)
    pairs, shown, judged = part(counts.pairs, 3), part(counts.fine_tuning, 4), part(counts.reward, 5)
    taught = [Example(e.prompt, demonstration(e, seed=seed, config=world), e.meta) for e in shown]
    return Splits(taught, pairs, held_out, evaluation, judged, report=f"{len(taken)} records generated")


def read_examples_of(path: Path, *, words: int, limit: int | None = None) -> tuple[list[Example], str]:
    """Examples of a file of any of the three kinds, and what was left out, in words.

    Parameters
    ----------
    path : Path
        JSON lines, plain or gzip.
    words : int
        Longest prompt in words.
    limit : int, optional
        Most records kept.
    """
    kind, config = kind_of(path), FilterConfig(max_prompt_words=words, max_response_words=words, limit=limit)
    found: list[Example]
    if kind == "summaries":
        found, report = read_summaries(path, config)
    elif kind == "pairs":
        pairs, report = read_pairs_file(path, config)
        found = _distinct([Example(p.prompt, p.chosen, {"rejected": p.rejected, "p": p.p}) for p in pairs])
    else:
        texts, report = read_labelled_file(path, config)
        found = _distinct(continuations(texts))
    return found, str(report)


def _distinct(examples: list[Example]) -> list[Example]:
    """The first example of each prompt: no prompt may be in two parts of a study."""
    return list({example.prompt: example for example in reversed(examples)}.values())[::-1]


def read_splits(folder: Path, counts: Counts, *, max_prompt: int) -> Splits:
    """Parts of a study from a folder's train, validation and test files.

    Fine-tuning, reward and pairs are taken from train, held-out pairs from validation, evaluation from test. A file
    that is too short gives fewer; the report says so.

    Parameters
    ----------
    folder : Path
        With the three files.
    counts : Counts
        How many examples each part gets.
    max_prompt : int
        Longest text in words.

    Raises
    ------
    FileNotFoundError
        Where a split's file is missing.
    ValueError
        Where a part would be empty, or files differ in kind.
    """
    paths = {name: find_split(folder, name) for name in NAMES}
    kinds = {kind_of(path) for path in paths.values()}
    if len(kinds) != 1:
        raise ValueError(f"{folder}: files of {' and '.join(sorted(kinds))}; accepted is one kind")
    needed = {
        "train": counts.fine_tuning + counts.reward + counts.pairs,
        "validation": counts.held_out,
        "test": counts.evaluation,
    }
    taken: set[str] = set()
    parts: dict[str, list[Example]] = {}
    said = []
    for name in ("test", "validation", "train"):
        found, report = read_examples_of(paths[name], words=max_prompt, limit=2 * needed[name] + 64)
        parts[name] = [e for e in found if e.prompt not in taken][: needed[name]]
        taken |= {e.prompt for e in parts[name]}
        said.append(report)
    train = _shared(parts["train"], counts.fine_tuning, counts.reward, counts.pairs)
    made = Splits(
        train[0], train[2], parts["validation"], parts["test"], train[1], kind=kinds.pop(), report="; ".join(said)
    )
    short = [name for name in ("fine_tuning", "pairs", "held_out", "evaluation", "reward") if not getattr(made, name)]
    if short:
        raise ValueError(f"{folder} has no record left for {', '.join(short)}; give smaller counts or more data")
    return made


def _shared(rows: list[Example], *sizes: int) -> list[list[Example]]:
    """Rows dealt out in the proportion of sizes, exactly these where there are enough."""
    total, found, start = sum(sizes), [], 0
    for size in sizes:
        number = size if len(rows) >= total else int(len(rows) * size / total)
        found.append(rows[start : start + number])
        start += number
    return found


def as_pairs(examples: Sequence[Example]) -> list[Pair]:
    """Return the labelled pairs that examples of the kind "pairs" were made of."""
    return [Pair(e.prompt, e.target, e.meta["rejected"], p=e.meta["p"]) for e in examples]


def as_labelled(examples: Sequence[Example]) -> list[Labelled]:
    """Return the labelled texts that examples of the kind "labelled" were made of."""
    return [Labelled(f"{e.prompt} {e.target}", e.meta["label"]) for e in examples]
