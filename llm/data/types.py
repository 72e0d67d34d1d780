"""What the stages hand to each other: examples, labelled pairs, rewards; and how they lie on disk.

Conventions. A *prompt* is the whole text the model is given; a *response* is what follows it, without outer white
space and without the end token. Texts, not token ids, are stored, so that another tokenizer can read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gpo_analysis.arrays import FloatArray
from gpo_analysis.files import write_whole
from gpo_analysis.reading import is_finite


@dataclass(frozen=True)
class Example:
    """A prompt with the response people (or the world) gave to it.

    Parameters
    ----------
    prompt : str
        The whole text the model is given.
    target : str
        The response to it: a title, a summary.
    meta : dict
        Plain JSON values that rewards and reports need: the facts of a record, a category, an identifier.

    Raises
    ------
    ValueError
        Where the prompt or the target is not a text, or nothing but white space.

    Examples
    --------
    >>> Example("Paris is in France.\\nSummary:", "Paris").target
    'Paris'
    """

    prompt: str
    target: str
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("prompt", "target"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} is {value!r}; accepted is a text that is not empty")


@dataclass(frozen=True)
class Pair:
    """Two responses to a prompt with a label.

    Parameters
    ----------
    prompt, chosen, rejected : str
        The prompt, the response the label prefers and the other one.
    reward_chosen, reward_rejected : float, optional
        Gold rewards of the two, where they are known. After noise the chosen one need not have the larger.
    p : float
        Soft label in [0, 1], the probability that ``chosen`` is the better: the loss is p f(z) + (1 − p) f(−z).

    Raises
    ------
    ValueError
        For texts that are not texts, an empty prompt, an empty response, a p outside [0, 1], a reward that is not
        finite.

    Examples
    --------
    >>> Pair("p", "good", "bad", 1.0, 0.0).p
    1.0
    """

    prompt: str
    chosen: str
    rejected: str
    reward_chosen: float | None = None
    reward_rejected: float | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        for name in ("prompt", "chosen", "rejected"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} is {value!r}; accepted is a text that is not empty")
        for name in ("reward_chosen", "reward_rejected"):
            value = getattr(self, name)
            if value is not None and not is_finite(value):
                raise ValueError(f"{name} is {value}; accepted is a finite number or None")
        if not 0.0 <= self.p <= 1.0:
            raise ValueError(f"p is {self.p}; accepted is a probability from 0 to 1")


@runtime_checkable
class Reward(Protocol):
    """Scores responses, each by itself.

    ``name`` is a short identifier for tables. ``__call__`` takes n prompts and n responses and returns (n,) float64,
    the greater the better.
    """

    name: str

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> FloatArray:
        """Return (n,) rewards."""
        ...


@runtime_checkable
class Preference(Protocol):
    """Compares two responses.

    ``prefer`` takes n prompts, n first and n second responses and returns (n,) probabilities that the first is the
    better; ``prefer(x, a, b) + prefer(x, b, a) = 1``.
    """

    name: str

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> FloatArray:
        """Return (n,) probabilities that the first response is the better."""
        ...


def write_lines(rows: Iterable[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write dictionaries as JSON lines, UTF-8, the whole file or nothing.

    Raises
    ------
    OSError
        Where the disk is full or the folder cannot be written; an older file is then left as it was.
    """
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    write_whole(path, text.encode(), Path(path).parent)


def write_examples(examples: Iterable[Example], path: str | os.PathLike[str]) -> None:
    """Write examples as JSON lines with the keys prompt, target and meta."""
    write_lines((asdict(example) for example in examples), path)


def read_examples(path: str | os.PathLike[str]) -> list[Example]:
    """Read what `write_examples` wrote; a ValueError names the line that is no example."""
    return [_made(Example, row, path, number) for number, row in _lines(path)]


def write_pairs(pairs: Iterable[Pair], path: str | os.PathLike[str]) -> None:
    """Write pairs as JSON lines: prompt, chosen, rejected, reward_chosen, reward_rejected, p."""
    write_lines((asdict(pair) for pair in pairs), path)


def read_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    """Read what `write_pairs` wrote; a ValueError names the line that is no pair."""
    return [_made(Pair, row, path, number) for number, row in _lines(path)]


def _lines(path: str | os.PathLike[str]) -> list[tuple[int, dict[str, Any]]]:
    found = []
    with Path(path).open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}, line {number}: not JSON ({getattr(error, 'msg', error)})") from None
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: {type(row).__name__} instead of an object")
            found.append((number, row))
    return found


def _made(kind: type[Any], row: dict[str, Any], path: str | os.PathLike[str], number: int) -> Any:
    try:
        return kind(**row)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}, line {number}: {' '.join(str(error).split())}") from None
