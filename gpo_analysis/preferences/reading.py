"""Who beat whom, from files and frames: CSV, TSV, JSON, Parquet, plain or gzip-compressed, errors with file and line.

One comparison a row, in one of these layouts (columns by name, without regard to case; `COUNTS` beside each):

- ``winner, loser``, and optionally ``tie`` (1 where neither won) and ``prompt``;
- ``prompt, chosen, rejected``, texts or lists of messages; or without the prompt, which whole dialogues share;
- ``model_a, model_b, winner`` (or ``left, right``, ``item_a, item_b``, ``home, away``, …), the winner being
  ``model_a``, ``model_b``, ``tie``, ``tie (bothbad)`` or one of the two names; or ``winner_model_a``, … as marks;
- ``model_a, model_b, model_a_wins, model_b_wins`` and optionally ``ties, ties_both_bad``: a row a pair, with counts;
- ``prompt, chosen, rejected, votes_chosen, votes_rejected`` and optionally ``votes_equal``: votes on a pair.

Columns that look as if they counted (weights, ties, probabilities, prompts under another name) are used or refused by
name; others are named in the report as not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.preferences.contests import BOTH_BAD, FIRST, SECOND, TIE, Contests, as_counts
from gpo_analysis.preferences.ends import counted, marked, sided, tied_rows
from gpo_analysis.preferences.layouts import Layout, layout_of, looks_like, side_name
from gpo_analysis.preferences.missing import missing
from gpo_analysis.preferences.options import COLUMNS, Asked, ReadOptions, sides_of
from gpo_analysis.preferences.rows import cells_of, numbers, take_names, texts_of
from gpo_analysis.reading import LeftOut, Names, ReadReport, shown
from gpo_analysis.reading.column import Column, ColumnTable
from gpo_analysis.reading.columns import read_columns


@dataclass(frozen=True, eq=False)
class ReadContests:
    """What a table says.

    Attributes
    ----------
    contests : Contests
    items : tuple of str
        Names, no two alike; "prompt: name" where items are compared within prompts.
    texts : tuple of str
        Names without their prompts.
    prompts : tuple of str
        Names of the prompts, where items are compared within them.
    report : ReadReport
    is_counted : bool
        Whether a row of the table holds counts of several ends.
    """

    contests: Contests
    items: tuple[str, ...]
    texts: tuple[str, ...]
    prompts: tuple[str, ...]
    report: ReadReport
    is_counted: bool = False


def read_contests(source: str | Path | Any, options: ReadOptions) -> ReadContests:
    """Read a table: see :func:`gpo_analysis.preferences.read_comparisons`, which also says what is raised."""
    asked = Asked(options)
    table = read_columns(source, asked.kept, COLUMNS, separator=options.get("separator"), rename=options.get("columns"))
    if not len(table):
        raise ValueError(f"{table.path} holds no comparisons; accepted are {COLUMNS}, one comparison a line")
    layout = layout_of(list(table.names))
    if layout is None:
        raise ValueError(missing(table))
    for name in table.names:
        column = table.columns.get(name)
        if name in asked.read(layout) or column is None or name.startswith("("):
            continue
        hint = None if name in asked.ignored else looks_like(name, layout)
        if hint is not None and not column.blank.all():
            raise ValueError(
                f"{table.where()}: column {shown(name)} looks {hint}, take it out, or ignore it by name; accepted are "
                f"{COLUMNS}"
            )
    return _Reading(table, layout, asked).done()


@dataclass
class _Reading:
    """One table being read: names, counts, ties and what has to be told."""

    table: ColumnTable
    layout: Layout
    asked: Asked
    left: dict[str, BoolArray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def done(self) -> ReadContests:
        table, layout, asked = self.table, self.layout, self.asked
        first, second = cells_of(table, layout.first), cells_of(table, layout.second)
        prompt = cells_of(table, "prompt") if layout.prompt and self._needs_prompt() else None
        if layout.is_text:
            prompt, first, second = texts_of(table, layout, prompt, first, second, asked.implicit, self)
        unit = table.unit
        in_text = layout.is_text and not table.format.startswith("CSV")  # there null is null, and "None" an answer
        book = Names(items=not layout.is_text, missing=not in_text, unit=unit)
        left_out = self._left_out(first, second)
        rows = np.flatnonzero(~left_out)
        if not len(rows):
            raise ValueError(f"{table.path} holds no comparisons of two different items; accepted are {COLUMNS}")
        first, second = first.chosen(rows), second.chosen(rows)
        (a, b), names = take_names(book, table, rows, [(layout.first, first), (layout.second, second)])
        prompts = Names(items=False, missing=not in_text, unit=unit)
        of_prompt: IntArray | None = None
        prompt_names: tuple[str, ...] = ()
        if prompt is not None:
            (of_prompt,), prompt_names = take_names(prompts, table, rows, [("prompt", prompt.chosen(rows))])
        rows, a, b, of_prompt = self._without_equal(rows, a, b, of_prompt, names)
        if of_prompt is not None:
            seen, of_prompt = np.unique(of_prompt, return_inverse=True)
            prompt_names = tuple(prompt_names[i] for i in seen)
        made = self._contests(rows, a, b, of_prompt, book)
        within = of_prompt is not None and asked.within(layout)
        items, texts, made = _items(made, names, prompt_names if within else ())
        report = self._report(made, (*book.joined, *prompts.joined), len(prompt_names) if within else 0)
        alike = () if layout.is_text else tuple(book.alike())
        report = ReadReport(**{**vars(report), "notes": (*report.notes, *alike)})
        return ReadContests(made, items, texts, prompt_names if within else (), report, layout.kind == "counted")

    def _needs_prompt(self) -> bool:
        return self.asked.within(self.layout) or self.asked.cluster == "prompt"

    def leave_out(self, rows: BoolArray, why: str) -> None:
        """Count rows that are not used."""
        if rows.any():
            self.left[why] = rows & ~self._left_already()

    def _left_already(self) -> BoolArray:
        gone: BoolArray = np.logical_or.reduce([np.zeros(len(self.table), dtype=bool), *self.left.values()])
        return gone

    def _left_out(self, first: Column, second: Column) -> BoolArray:
        if self.layout.is_text:
            empty = [
                np.array([isinstance(v, str) and not v.strip() for v in c.values])[c.codes] for c in (first, second)
            ]
            self.leave_out(empty[0] | empty[1], "a response is empty")
        return self._left_already()

    def _without_equal(
        self, rows: IntArray, a: IntArray, b: IntArray, prompt: IntArray | None, names: tuple[str, ...]
    ) -> tuple[IntArray, IntArray, IntArray, IntArray | None]:
        equal = a == b
        if not equal.any():
            return rows, a, b, prompt
        layout, table = self.layout, self.table
        if not layout.is_text:
            at = int(np.argmax(equal))
            raise ValueError(
                f"{table.where(int(rows[at]))}: {layout.first} and {layout.second} are both {names[a[at]]!r:.60}; "
                "they must differ"
            )
        whole = np.zeros(len(table), dtype=bool)
        whole[rows[equal]] = True
        self.leave_out(whole, "both texts are the same")
        if equal.all():
            raise ValueError(f"{table.path} holds no comparisons of two different items; accepted are {COLUMNS}")
        keep = ~equal
        return rows[keep], a[keep], b[keep], None if prompt is None else prompt[keep]

    def _contests(self, rows: IntArray, a: IntArray, b: IntArray, prompt: IntArray | None, book: Names) -> Contests:
        """The rows as contests between names; a row with counts of ends is several."""
        table, layout = self.table, self.layout
        row = np.arange(len(rows))
        if layout.kind == "counted":
            row, outcome, times = counted(table, layout, rows)
        else:
            times = self._times(rows)
            outcome = np.zeros(len(rows), dtype=np.int8)
            if layout.kind == "sided":
                outcome = sided(table, layout, rows, a, b, book, self.asked.own, self.notes)
            elif layout.kind == "marked":
                outcome = marked(table, layout, rows)
            if layout.ties:
                outcome = tied_rows(table, layout, rows, outcome, self.notes)
        a, b, turned = self._by_position(rows, a, b, book)
        if turned is not None:
            swap = turned[row] & (outcome < TIE)
            outcome = np.where(swap, SECOND - outcome + FIRST, outcome)
        ordered = turned is not None or (layout.kind != "won" and not _is_sorted(a, b, book, layout))
        x, names = self._covariates(rows, turned)
        cluster = self._cluster(rows, prompt)
        try:
            as_counts(times, len(row))
        except ValueError as error:
            raise ValueError(f"{table.path}: {error}") from None
        return Contests(
            int(max(a.max(), b.max())) + 1, a[row], b[row], outcome, times, ordered=ordered,
            covariates=None if x is None else x[row], covariate_names=names,
            prompt=None if prompt is None else prompt[row],
            cluster=None if cluster is None else cluster[row], cluster_name=self.asked.cluster,
        )  # fmt: skip

    def _times(self, rows: IntArray) -> FloatArray:
        """How often each row counts: by the one column of counts that is filled in."""
        table, names = self.table, self.layout.counts
        if not names:
            return np.ones(len(rows))
        given = np.stack([numbers(table, name, rows, least=0) for name in names])
        filled = ~np.isnan(given)
        twice = filled.sum(axis=0) > 1
        if twice.any():
            at = int(np.argmax(twice))
            one, two = np.flatnonzero(filled[:, at])[:2]
            raise ValueError(
                f"{table.where(int(rows[at]))}: both {names[one]} and {names[two]} are given; accepted is one of them"
            )
        none = ~filled.any(axis=0)
        if none.any():
            numbers(table, names[0], rows[none], least=0, blank=False)  # refuses the empty cell
        zero = np.nansum(given, axis=0)
        if np.any(zero == 0) and not np.all(zero == 0):
            where = table.lines_of(rows[zero == 0])
            what = "row" if len(where) == 1 else "rows"
            self.notes.append(f"{len(where)} {what} with a count of 0 (first: {table.unit} {where[0]})")
        total: FloatArray = zero
        return total

    def _by_position(
        self, rows: IntArray, a: IntArray, b: IntArray, book: Names
    ) -> tuple[IntArray, IntArray, BoolArray | None]:
        """First and second as shown, and which rows were turned for it; None where no column says who was first."""
        name, layout, table = self.asked.position, self.layout, self.table
        if not name:
            return a, b, None
        if name not in table.columns:
            raise ValueError(f"{table.path} has no column {name!r:.60}; it has {', '.join(table.names)!r:.200}")
        column = table.columns[name].chosen(rows)
        words = {layout.first: 0, layout.second: 1}
        turned = np.zeros(len(rows), dtype=bool)
        known = {text: i for i, text in enumerate(book.order)}
        for i, value in enumerate(column.values):
            at = column.codes == i
            side = words.get(str(value).strip().casefold())
            item = known.get(book.find(value) or "", -1)
            is_first = np.full(len(rows), side == 0) if side is not None else a == item
            is_second = np.full(len(rows), side == 1) if side is not None else b == item
            wrong = at & ~is_first & ~is_second
            if wrong.any():
                raise ValueError(
                    f"{table.where(int(rows[np.argmax(wrong)]))}: {name} is {value!r:.60}; accepted are {layout.first} "
                    f"and {layout.second}, or the name of the item that was shown first"
                )
            turned |= at & is_second
        return np.where(turned, b, a), np.where(turned, a, b), turned

    def _covariates(self, rows: IntArray, turned: BoolArray | None) -> tuple[FloatArray | None, tuple[str, ...]]:
        """Covariates of the first less those of the second, shape (rows, p)."""
        asked, table = self.asked.covariates, self.table
        if not asked:
            return None, ()
        found = []
        for covariate in asked:
            sides = sides_of(covariate, self.layout, list(table.names))
            if sides is None:
                one = side_name(self.layout.first), side_name(self.layout.second)
                raise ValueError(
                    f"{table.path} has no covariate {covariate!r:.60}: accepted are a column of the first less the "
                    f"second, or two, such as {covariate}_{one[0]} and {covariate}_{one[1]}; it has "
                    f"{', '.join(table.names)!r:.200}"
                )
            values = [numbers(table, name, rows, blank=False) for name in sides]
            found.append(values[0] if len(values) == 1 else values[0] - values[1])
            self.notes.append(
                f"covariate {covariate}: " + (f"column {sides[0]}" if len(sides) == 1 else f"{sides[0]} − {sides[1]}")
            )
        x = np.stack(found, axis=1)
        return (x if turned is None else np.where(turned[:, None], -x, x)), asked

    def _cluster(self, rows: IntArray, prompt: IntArray | None) -> IntArray | None:
        name, table = self.asked.cluster, self.table
        if not name:
            return None
        if name == "row":
            return np.arange(len(rows))
        if name == "prompt" and prompt is not None:
            return prompt
        if name not in table.columns:
            raise ValueError(
                f"{table.path} has no column {name!r:.60} to cluster by; accepted are row, and "
                f"{', '.join(table.names)!r:.200}"
            )
        column = table.columns[name].chosen(rows)
        if column.blank.any():
            at = int(rows[int(np.argmax(column.blank))])
            raise ValueError(f"{table.where(at)}: {name} is empty; fill it in or take the row out")
        book = Names(items=False, unit=table.unit)
        (found,), _ = take_names(book, table, rows, [(name, column)])
        return found

    def _report(self, made: Contests, joined: tuple[Any, ...], prompts: int) -> ReadReport:
        table, layout = self.table, self.layout
        sides = {s for name in self.asked.covariates for s in sides_of(name, layout, list(table.names)) or ()}
        used = self.asked.read(layout) | sides
        unused = tuple(name for name in table.names if name not in used)
        notes = list(self.notes)
        if (layout.first, layout.second) != ("winner", "loser"):
            notes.append(f"read as {'prompt, ' * (prompts > 0)}{layout.told}")
        if layout.counts and layout.counts[0] not in ("count", "votes"):
            notes.append(f"counts are those of the column {layout.counts[0]}")
        ties, bad = made.ties, float(made.count[made.outcome == BOTH_BAD].sum())
        if ties:
            both = f" ({bad:g} of them bad on both sides)" if bad else ""
            notes.append(f"{ties:g} {'tie' if ties == 1 else 'ties'}{both}, half a win each but in models of ties")
        if prompts:
            notes.append(f"{prompts} prompt{'s' * (prompts != 1)}: items are compared within a prompt")
        elif layout.prompt and "prompt" not in used:
            notes.append(f"{layout.first} and {layout.second} are compared across prompts")
        left = [LeftOut(table.lines_of(rows), why) for why, rows in self.left.items() if rows.any()]
        left += [LeftOut(table.blank, "nothing but separators")] if table.blank else []
        rows = len(table) + len(table.blank)
        dropped = int(self._left_already().sum())
        return ReadReport(
            table.path, table.format, rows, len(table) - dropped, tuple(left), joined, unused, tuple(notes),
            "half a win each" if ties else "none", prompts, table.unit,
        )  # fmt: skip


def _is_empty(column: Column) -> BoolArray:
    return np.array([isinstance(value, str) and not value.strip() for value in column.values], dtype=bool)[column.codes]


def _is_sorted(a: IntArray, b: IntArray, book: Names, layout: Layout) -> bool:
    """Whether the first is always the earlier by name, as in a table of pairs: then the order was no position."""
    if (layout.first, layout.second) == ("home", "away"):
        return False
    rank = np.argsort(np.argsort(np.array(book.order, dtype=object), kind="stable"), kind="stable")
    return bool(np.all(rank[a] < rank[b])) or bool(np.all(rank[a] > rank[b]))


def _items(
    made: Contests, names: tuple[str, ...], prompts: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...], Contests]:
    """Items in the order in which they appear, with their names, and the contests between them."""
    import pandas as pd

    both = np.stack([made.first, made.second], axis=1).ravel()
    if prompts and made.prompt is not None:
        both = np.repeat(made.prompt, 2) * len(names) + both
    codes, keys = pd.factorize(both)
    ends = np.asarray(codes, dtype=np.int64).reshape(-1, 2)
    texts = tuple(names[key % len(names)] for key in keys.tolist())
    items = texts
    if prompts:
        items = _unique(tuple(prompts[key // len(names)] for key in keys.tolist()), texts)
    return items, texts, made.between(len(keys), ends[:, 0], ends[:, 1])


def _unique(prompts: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """Names that differ between prompts: "prompt: name", the prompt cut where it is long."""
    taken: dict[str, int] = {}
    found = []
    for prompt, text in zip(prompts, texts, strict=True):
        short = prompt if len(prompt) <= 40 else f"{prompt[:30]}…{prompt[-9:]}"
        name = unique = f"{short}: {text}"
        times = taken.get(name, 0)
        while times and unique in taken:
            times += 1
            unique = f"{name} #{times}"
        taken[name] = max(times, 1)
        taken.setdefault(unique, 1)
        found.append(unique)
    return tuple(found)
