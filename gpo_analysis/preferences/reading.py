"""Who beat whom, from files: CSV or JSON, plain or gzip-compressed, every error with file and line.

One comparison a row, in one of these layouts (columns by name, without regard to case; `COUNTS` beside each):

- ``winner, loser``, and optionally ``tie`` (1 where neither won) and ``prompt``;
- ``prompt, chosen, rejected``, or without the prompt;
- ``model_a, model_b, winner`` (or ``left, right`` or ``item_a, item_b``), the winner being ``model_a``, ``model_b``,
  ``tie`` or ``tie (bothbad)``;
- ``model_a, model_b, model_a_wins, model_b_wins`` and optionally ``ties, ties_both_bad``: a row a pair, with counts.

A tie is half a win for each. Columns that look as if they counted (weights, ties, probabilities, prompts under another
name) are used or refused by name; others are named in the report as not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpo_analysis.reading import (
    Joined,
    LeftOut,
    Names,
    ReadReport,
    Row,
    Table,
    in_words,
    is_blank,
    number_in,
    read_table,
    shown,
)

COLUMNS = (
    "columns winner, loser and optionally count or votes, tie, prompt "
    "(or model_a, model_b, winner; or chosen, rejected)"
)
COUNTS = ("count", "counts", "votes", "weight", "weights", "n")
TIES = ("tie", "is_tie", "tied", "draw")
SIDES = (("model_a", "model_b"), ("left", "right"), ("item_a", "item_b"))
_TABLE = ("model_a", "model_b", "model_a_wins", "model_b_wins")
_TABLE_TIES = ("ties", "ties_both_bad")
_TRUE, _FALSE = {"1", "true", "yes", "y", "t", "1.0"}, {"0", "false", "no", "n", "f", "0.0", ""}
_LOOKS_LIKE = (
    (re.compile(r"(^|_)(n|num|number|nb|cnt|counts?|weights?|weighting|weighted|wt|w|freq|frequency|votes?|times|many|qty|"
                r"quantity|amount|total|games?|matches|occurrences?|tally|importance|multiplicity|repeats?|wins?)(_|$)|"
                r"(?<!ac)(?<!dis)(count|weight|vote)s?$|^(num|vote|weight)|^#$"),
     "as if it counted; call it count to have it used"),
    (re.compile(r"(^|_)(is)?(ties?|tied|draws?|drawn|equal|outcome|result)(_|$)"),
     "as if it told of ties; give a column tie with 1 where neither won"),
    (re.compile(r"(^|_)(prob|probability|p|soft_label|preference)(_|$)"),
     "as if it said how likely a win is; give two rows a pair with counts p and 1 − p"),
    (re.compile(r"^(prompt_id|prompts|question|instruction|context|query|input)$"),
     "as if it said which items are compared with each other; call it prompt to have it used"),
)  # fmt: skip
_OF_TEXTS = re.compile(r"token|turn|word|char|length|sentence")  # numbers of these count no labels
_RESPONSES = (("winner", "loser"), ("chosen", "rejected"))  # what is compared under one prompt

Label = tuple[str, str, float]
Contest = tuple[Any, Any, float, float]  # first, second, wins of the first, wins of the second


@dataclass(frozen=True)
class Labels:
    """What a file of comparisons says.

    Attributes
    ----------
    pairs : tuple of (str, str, float)
        Winner, loser, count; a tie is two of them.
    prompts : tuple of str, or None
        The prompt of each pair, where the file has such a column: then a name is an item of its own under each.
    report : ReadReport
    """

    pairs: tuple[Label, ...]
    prompts: tuple[str, ...] | None
    report: ReadReport

    def by_item(self) -> tuple[Label, ...]:
        """The pairs under names that differ between prompts: "prompt: name", the prompt cut where it is long."""
        if self.prompts is None:
            return self.pairs
        named: dict[tuple[str, str], str] = {}
        taken: set[str] = set()
        for prompt, pair in zip(self.prompts, self.pairs, strict=True):
            for item in pair[:2]:
                if (prompt, item) not in named:
                    short = prompt if len(prompt) <= 40 else f"{prompt[:30]}…{prompt[-9:]}"
                    name = unique = f"{short}: {item}"
                    times = 1
                    while unique in taken:
                        times += 1
                        unique = f"{name} #{times}"
                    named[prompt, item] = unique
                    taken.add(unique)
        return tuple(
            (named[prompt, winner], named[prompt, loser], count)
            for prompt, (winner, loser, count) in zip(self.prompts, self.pairs, strict=True)
        )

    def by_prompt(self) -> dict[str, list[Label]]:
        """The pairs of each prompt, in the order of the file; ``""`` where it has no such column."""
        found: dict[str, list[Label]] = {}
        for k, pair in enumerate(self.pairs):
            found.setdefault("" if self.prompts is None else self.prompts[k], []).append(pair)
        return found


def read_labels(path: str | Path) -> Labels:
    """Who beat whom by name, how often: the rows of a CSV or JSON file.

    Parameters
    ----------
    path : str or Path
        See :func:`gpo_analysis.preferences.read_comparisons`, which also says what is raised.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "games.csv")
    ...     _ = file.write_text("winner,loser,count\\nrock,scissors,3\\nscissors,paper,2\\n")
    ...     read_labels(file).pairs
    (('rock', 'scissors', 3.0), ('scissors', 'paper', 2.0))
    """
    table = read_table(path, lambda columns: _layout(columns) is not None, COLUMNS)
    if not table.rows:
        raise ValueError(f"{path} holds no comparisons; accepted are {COLUMNS}, one comparison a line")
    layout = _layout(list(table.columns))
    if layout is None:
        raise ValueError(_missing(table))
    for name, line in table.columns.items():
        hint = None if name in layout.used else _looks_like(table, name, layout)
        if hint is not None:
            raise ValueError(
                f"{table.where(line)}: column {shown(name)} looks {hint}, or take it out; accepted are {COLUMNS}"
            )
    return _Reading(table, layout).labels()


@dataclass(frozen=True)
class _Layout:
    """Which columns say who won, and how a row is read."""

    needed: tuple[str, ...]
    used: tuple[str, ...]
    contest: Callable[[Row, str], Contest]
    has_prompts: bool
    leaves_equal_out: bool = False


def _layout(columns: Sequence[str]) -> _Layout | None:
    have = set(columns)
    extra = tuple(name for name in (*COUNTS, *TIES) if name in have)
    prompt = ("prompt",) if "prompt" in have else ()
    for first, second in _RESPONSES:
        if {first, second} <= have:
            return _Layout(
                (first, second), (first, second, *extra, *prompt), _won(first, second), bool(prompt),
                leaves_equal_out=first == "chosen",
            )  # fmt: skip
    for first, second in SIDES:
        if {first, second, "winner"} <= have:
            needed = (first, second, "winner")
            return _Layout(needed, (*needed, *extra, "prompt"), _sided(first, second), False)
    if set(_TABLE) <= have:
        return _Layout(_TABLE, (*_TABLE, *_TABLE_TIES, "prompt"), _counted, False)
    return None


def _won(first: str, second: str) -> Callable[[Row, str], Contest]:
    def contest(row: Row, where: str) -> Contest:
        return row.values[first], row.values[second], 1.0, 0.0

    return contest


def _sided(first: str, second: str) -> Callable[[Row, str], Contest]:
    firsts, seconds = {first, first[-1], "1"}, {second, second[-1], "2"}
    if first == "left":
        firsts, seconds = {"left"}, {"right"}

    def contest(row: Row, where: str) -> Contest:
        a, b, won = row.values[first], row.values[second], row.values["winner"]
        word = won.strip() if isinstance(won, str) else won
        if word in (a, b) and a != b:
            return a, b, float(word == a), float(word == b)
        said = str(word).casefold()
        if said in firsts or said in seconds:
            return a, b, float(said in firsts), float(said in seconds)
        if said in ("tie", "draw", "tie (bothbad)", "bothbad", "both bad"):
            return a, b, 0.5, 0.5
        raise ValueError(
            f"{where}: winner is {won!r:.60}; accepted are {first}, {second}, tie, tie (bothbad), or one "
            "of the two names"
        )

    return contest


def _counted(row: Row, where: str) -> Contest:
    a, b, won, lost = (row.values[name] for name in _TABLE)
    ties = sum(
        number_in(row.values[name], name, where, least=0) for name in _TABLE_TIES if not is_blank(row.values.get(name))
    )
    won, lost = number_in(won, _TABLE[2], where, least=0), number_in(lost, _TABLE[3], where, least=0)
    return a, b, won + ties / 2, lost + ties / 2


class _Reading:
    """One file being read: names, counts, ties and what has to be told."""

    def __init__(self, table: Table, layout: _Layout) -> None:
        self.table, self.layout = table, layout
        self.counts = [name for name in COUNTS if name in table.columns and name in layout.used]
        self.ties = [name for name in TIES if name in table.columns and name in layout.used]
        self.items, self.prompts = Names(), Names(items=False)
        self.equal: list[int] = []
        self.tied: list[int] = []

    def labels(self) -> Labels:
        pairs: list[Label] = []
        prompts: list[str] = []
        for row in self.table.rows:
            found = list(self._row(row))
            pairs += found
            if self.layout.has_prompts and found:
                prompts += [self.prompts.take(row.values["prompt"], "prompt", self.table.path, row.line)] * len(found)
        if not pairs:
            raise ValueError(f"{self.table.path} holds no comparisons of two different items; accepted are {COLUMNS}")
        return Labels(tuple(pairs), tuple(prompts) if self.layout.has_prompts else None, self._report(prompts))

    def _row(self, row: Row) -> Iterator[Label]:
        where = self.table.where(row.line)
        needed = (*self.layout.needed, *(("prompt",) if self.layout.has_prompts else ()))
        missing = next((name for name in needed if name not in row.values), None)
        if missing is not None:
            raise ValueError(f"{where}: missing {missing!r}; the keys are {', '.join(map(repr, row.values)):.200}")
        first, second, won, lost = self.layout.contest(row, where)
        one, two = self.layout.needed[:2]
        a = self.items.take(first, one, self.table.path, row.line)
        b = self.items.take(second, two, self.table.path, row.line)
        if a == b:
            if self.layout.leaves_equal_out:
                self.equal.append(row.line)
                return
            raise ValueError(f"{where}: {one} and {two} are both {a!r:.60}; they must differ")
        times = self._times(row, where)
        if self._is_tie(row, where):
            won, lost = 0.5, 0.5
        if won and lost and len(self.layout.needed) < 4:
            self.tied.append(row.line)
        if won or not lost:
            yield a, b, won * times
        if lost:
            yield b, a, lost * times

    def _times(self, row: Row, where: str) -> float:
        given = [name for name in self.counts if not is_blank(row.values.get(name))]
        if len(given) > 1:
            raise ValueError(f"{where}: both {given[0]} and {given[1]} are given; accepted is one of them")
        if given:
            return number_in(row.values[given[0]], given[0], where, least=0)
        if self.counts:
            return number_in(row.values.get(self.counts[0]), self.counts[0], where, least=0)  # refuses the empty cell
        return 1.0

    def _is_tie(self, row: Row, where: str) -> bool:
        said = [(name, str(row.values.get(name, "")).strip().casefold()) for name in self.ties]
        wrong = next((pair for pair in said if pair[1] not in _TRUE | _FALSE | {"none"}), None)
        if wrong is not None:
            raise ValueError(f"{where}: {wrong[0]} is {wrong[1]!r:.60}; accepted are 1 (neither won) and 0")
        return any(text in _TRUE for _, text in said)

    def _report(self, prompts: list[str]) -> ReadReport:
        table = self.table
        unused = [name for name in table.columns if name not in self.layout.used or name == "prompt"]
        if self.layout.has_prompts:
            unused.remove("prompt")
        notes = []
        if self.layout.needed[:2] != ("winner", "loser"):
            notes.append(f"read as {', '.join(self.layout.needed)}")
        if self.counts and self.counts[0] not in ("count", "votes"):
            notes.append(f"counts are those of the column {self.counts[0]}")
        ties = "none"
        if self.tied:
            ties = "half a win each"
            notes.append(f"{len(self.tied)} {'tie' if len(self.tied) == 1 else 'ties'}, taken as half a win each")
        elif any(not is_blank(row.values.get(name)) for row in table.rows for name in _TABLE_TIES[:1]):
            ties = "half a win each"
            notes.append("ties are taken as half a win each")
        if self.layout.has_prompts:
            count = len(set(prompts))
            notes.append(f"{count} prompt{'s' * (count != 1)}: items are compared within a prompt")
        left = [LeftOut(tuple(self.equal), "both texts are the same")] if self.equal else []
        left += [LeftOut(table.blank, "nothing but separators")] if table.blank else []
        joined: tuple[Joined, ...] = (*self.items.joined, *self.prompts.joined)
        rows = len(table.rows) + len(table.blank)
        return ReadReport(
            table.path, table.format, rows, len(table.rows) - len(self.equal), tuple(left), joined, tuple(unused),
            (*notes, *self.items.alike()), ties, len(set(prompts)),
        )  # fmt: skip


def _looks_like(table: Table, name: str, layout: _Layout) -> str | None:
    """What a column that is not used looks like, unless every cell of it is empty."""
    if _OF_TEXTS.search(name):
        return None
    known = _LOOKS_LIKE if layout.needed[:2] in _RESPONSES else _LOOKS_LIKE[:-1]
    hint = next((words for pattern, words in known if pattern.search(in_words(name))), None)
    empty = hint is None or all(is_blank(row.values.get(name)) for row in table.rows)
    return None if empty else hint


def _missing(table: Table) -> str:
    names = [name for name in ("winner", "loser") if name not in table.columns]
    line = table.rows[0].line if table.format.startswith("JSON") else next(iter(table.columns.values()))
    got = ", ".join(table.columns)
    if table.format.startswith("JSON"):
        keys = " and ".join(map(repr, names))
        return f"{table.where(line)}: missing {keys}; the keys are {got!r:.200}; accepted are {COLUMNS}"
    return (
        f"{table.where(line)}: missing column {' and '.join(names)} in the header {got!r:.200}; accepted are {COLUMNS}"
    )
