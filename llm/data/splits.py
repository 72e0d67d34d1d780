"""A study's records from files, and the gold reward that fits their kind.

Three kinds, told apart by their keys: {source, summary} (the reward is trained on true titles against other papers'
and against samples of πref), {prompt, chosen, rejected} (trained on those pairs), {text, label} (a sentiment
classifier; the first words of a text are the prompt).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm.data.filters import FilterConfig
from llm.data.readers import continuations, find_split, kind_of, read_labelled_file, read_pairs_file, read_summaries
from llm.data.types import Example, Pair
from llm.study.config import StudyConfig

if TYPE_CHECKING:
    from llm.rewards.gold import Learned
    from llm.study.stages import Splits, Study

__all__ = ["learn_gold", "read_examples_of", "read_splits"]

NAMES = ("train", "validation", "test")


def read_examples_of(path: Path, *, words: int, limit: int | None = None) -> tuple[list[Example], str]:
    """Examples of a file of any of the three kinds, and what was left out, in words.

    Parameters
    ----------
    path
        JSON lines, plain or gzip.
    words
        Longest prompt in words.
    limit
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


def read_splits(folder: Path, config: StudyConfig) -> Splits:
    """Parts of a study from a folder's train, validation and test files.

    Fine-tuning, reward and pairs are taken from train, held-out pairs from validation, evaluation from test. A file
    that is too short gives fewer; the report says so.

    Raises
    ------
    FileNotFoundError
        Where a split's file is missing.
    ValueError
        Where a part would be empty, or files differ in kind.
    """
    from llm.study.stages import Splits

    counts = config.counts
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
    told = []
    for name in ("test", "validation", "train"):
        found, report = read_examples_of(paths[name], words=config.max_prompt, limit=2 * needed[name] + 64)
        parts[name] = [e for e in found if e.prompt not in taken][: needed[name]]
        taken |= {e.prompt for e in parts[name]}
        told.append(report)
    train = _shared(parts["train"], counts.fine_tuning, counts.reward, counts.pairs)
    made = Splits(
        train[0], train[2], parts["validation"], parts["test"], train[1], kind=kinds.pop(), report="; ".join(told)
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


def learn_gold(study: Study) -> Learned:
    """The gold reward, its judges and their held-out accuracies, for the study's kind of records."""
    from llm.rewards.gold import learn_preferences, learn_sentiment, learn_titles, learn_world

    config, splits = study.config.reward, study.splits
    place: dict[str, Any] = {"folder": study.folder / "reward"}
    shown = {**place, "device": study.config.device, "progress": study.progress}
    if splits.kind == "world":
        cut = max(1, len(splits.reward) // 8)
        return learn_world(splits.reward[cut:], splits.reward[:cut], config, world=study.config.world, **shown)
    if splits.kind == "summaries":
        return learn_titles(
            splits.reward, splits.held_out, config, model=study.reference, tokenizer=study.tokenizer, **shown
        )
    if splits.kind == "pairs":
        return learn_preferences(_pairs(splits.reward), _pairs(splits.held_out), config, **shown)
    return learn_sentiment(_labelled(splits.reward), _labelled(splits.held_out), config, **place)


def _pairs(examples: list[Example]) -> list[Pair]:
    return [Pair(e.prompt, e.target, e.meta["rejected"], p=e.meta["p"]) for e in examples]


def _labelled(examples: list[Example]) -> list[Any]:
    from llm.data.readers import Labelled

    return [Labelled(f"{e.prompt} {e.target}", e.meta["label"]) for e in examples]
