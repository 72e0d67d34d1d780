"""The records of a study, dealt out to its parts: from files, or from the generated world.

Files are of three kinds, recognised by their keys: {source, summary}, {prompt, chosen, rejected}, {text, label}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

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
    """The study's records; no prompt is in two parts.

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
        JSON lines, as they are or gzip.
    words : int
        Longest prompt in words.
    limit : int, optional
        Most records kept.
    """
    kind, config = kind_of(path), FilterConfig(max_prompt_words=words, max_response_words=words, limit=limit)
    if kind == "summaries":
        found, report = read_summaries(path, config)
        return found, str(report)
    if kind == "pairs":
        pairs, report = read_pairs_file(path, config)
        return [Example(p.prompt, p.chosen, {"rejected": p.rejected, "p": p.p}) for p in pairs], str(report)
    texts, report = read_labelled_file(path, config)
    found = continuations(texts)
    short = len(texts) - len(found)
    return found, str(report) + (f"; {short} too short to be a prompt and its continuation" if short else "")


def read_splits(folder: Path, counts: Counts, *, max_prompt: int, seed: int = 0) -> Splits:
    """Parts of a study from a folder's train, validation and test files.

    Fine-tuning, reward and pairs are taken from train, held-out pairs from validation, evaluation from test. Records of
    one prompt are in one part: a prompt that several files have is kept in one of them, with all its records. A file
    that is too short gives fewer. The report says what was read, left out and used.

    Parameters
    ----------
    folder : Path
        With the three files.
    counts : Counts
        How many examples each part gets.
    max_prompt : int
        Longest text in words.
    seed : int
        0 deals the first records out in the files' order; others deal out, in an order of their own, the first records
        of each file that are some twice as many as are needed.

    Raises
    ------
    FileNotFoundError
        Where a split's file is missing.
    ValueError
        Where a part would be empty, or files differ in kind, or ``counts`` asks for an empty one.
    """
    paths = {name: find_split(folder, name) for name in NAMES}
    kinds = {kind_of(path) for path in paths.values()}
    if len(kinds) != 1:
        raise ValueError(f"{folder}: files of {' and '.join(sorted(kinds))}; accepted is one kind")
    none = [name for name in PARTS if not getattr(counts, name)]
    if none:
        raise ValueError(
            f"the counts of {', '.join(none)} are 0, and files need some: their reward is learnt; accepted are 1 or "
            "more, as in the preset files"
        )
    needed = {
        "train": counts.fine_tuning + counts.reward + counts.pairs,
        "validation": counts.held_out,
        "test": counts.evaluation,
    }
    read: dict[str, list[Example]] = {}
    said = []
    for name in ("test", "validation", "train"):
        read[name], report = read_examples_of(paths[name], words=max_prompt, limit=2 * needed[name] + 64)
        said.append(report)
        if seed:
            order = np.random.default_rng([seed, NAMES.index(name)]).permutation(len(read[name]))
            read[name] = [read[name][place] for place in order]
    files, shared = _apart(read)
    if shared:
        said.append(f"{shared} prompts are in several files: each is kept in one, with all its records")
    train = _dealt(files["train"], (counts.fine_tuning, counts.reward, counts.pairs))
    held_out, evaluation = _dealt(files["validation"], (counts.held_out,))[0], _one_each(files["test"])
    made = Splits(train[0], train[2], held_out, evaluation[: counts.evaluation], train[1], kind=kinds.pop())
    empty = [name for name in PARTS if not getattr(made, name)]
    if empty:
        raise ValueError(f"{folder} has no record left for {', '.join(empty)}; give smaller counts or more data")
    used = [example for name in PARTS for example in getattr(made, name)]
    whole = sum(map(len, read.values()))
    again = len(files["test"]) - len({example.prompt for example in files["test"]})
    said.append(
        f"{len(used)} of {whole} used, of {len({example.prompt for example in used})} prompts"
        + (f" (evaluation takes a prompt once: {again} are of a prompt it has)" if again else "")
    )
    return replace(made, report="; ".join(said))


def _apart(read: Mapping[str, list[Example]]) -> tuple[dict[str, list[Example]], int]:
    """Records of each file, with those of a prompt that several have in one of them; and how many such prompts.

    Where a file has records enough of prompts of its own, it gives the shared ones up, to test before validation before
    train; where most prompts are shared, they are dealt out in the proportion of the files' records.
    """
    owners: dict[str, list[str]] = {}
    for name, rows in read.items():
        for prompt in dict.fromkeys(example.prompt for example in rows):
            owners.setdefault(prompt, []).append(name)
    shared = [prompt for prompt, names in owners.items() if len(names) > 1]
    chosen = {prompt: names[0] for prompt, names in owners.items()}
    if len(shared) > len(owners) // 2:
        parts = _shares(len(shared), [len(rows) for rows in read.values()])
        names = [name for name, part in zip(read, parts, strict=True) for _ in range(part)]
        chosen |= dict(zip(shared, names, strict=True))
    rows = [example for name in read for example in read[name]]
    return {name: [e for e in rows if chosen[e.prompt] == name] for name in read}, len(shared)


def _shares(whole: int, sizes: Sequence[int]) -> list[int]:
    """``whole`` in parts in the proportion of ``sizes``, at least one for each while they last.

    Examples
    --------
    >>> _shares(7, [60, 60, 400]), _shares(2, [1, 1, 1])
    ([1, 1, 5], [1, 1, 0])
    """
    parts = [min(1, max(0, whole - index)) if size else 0 for index, size in enumerate(sizes)]
    while sum(parts) < whole:
        behind = [size * whole / sum(sizes) - part for size, part in zip(sizes, parts, strict=True)]
        parts[max(range(len(parts)), key=behind.__getitem__)] += 1
    return parts


def _dealt(rows: list[Example], sizes: Sequence[int]) -> list[list[Example]]:
    """Rows dealt out to parts of these sizes, or in their proportion where there are not enough; a prompt to one part.

    Examples
    --------
    >>> rows = [Example(prompt, "y") for prompt in "aabbbcd"]
    >>> [[example.prompt for example in part] for part in _dealt(rows, (2, 3))]
    [['a', 'a'], ['b', 'b', 'b']]
    """
    groups: dict[str, list[Example]] = {}
    for row in rows:
        groups.setdefault(row.prompt, []).append(row)
    enough = len(rows) >= sum(sizes)
    wanted = list(sizes) if enough else _shares(len(rows), sizes)
    parts: list[list[Example]] = [[] for _ in sizes]
    at = 0
    for left, group in zip(range(len(groups), 0, -1), groups.values(), strict=True):
        # the next part begins where this one is full, or where the prompts that are left are needed one a part
        while at + 1 < len(parts) and parts[at] and (len(parts[at]) >= wanted[at] or left < len(parts) - at):
            at += 1
        parts[at] += group
    return [part[:want] if enough else part for part, want in zip(parts, wanted, strict=True)]


def _one_each(rows: list[Example]) -> list[Example]:
    """The first record of each prompt: intervals of win rates are over prompts."""
    return list({row.prompt: row for row in reversed(rows)}.values())[::-1]


def as_pairs(examples: Sequence[Example]) -> list[Pair]:
    """Return the labelled pairs that examples of the kind "pairs" were made of."""
    return [Pair(e.prompt, e.target, e.meta["rejected"], p=e.meta["p"]) for e in examples]


def as_labelled(examples: Sequence[Example]) -> list[Labelled]:
    """Return the labelled texts that examples of the kind "labelled" were made of."""
    return [Labelled(f"{e.prompt} {e.target}", e.meta["label"]) for e in examples]
