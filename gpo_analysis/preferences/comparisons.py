"""Observed comparisons: who won against whom, how often. Pairs that were never compared take no room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.preferences.contests import FIRST, Contests, PairCounts, as_counts, as_index
from gpo_analysis.preferences.item_names import checked_items
from gpo_analysis.preferences.labels import common_items
from gpo_analysis.preferences.merging import merged
from gpo_analysis.preferences.options import ReadOptions
from gpo_analysis.preferences.reading import ReadContests, read_contests
from gpo_analysis.preferences.validation import check_counts
from gpo_analysis.reading import ReadReport
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, intervals

if TYPE_CHECKING:
    from scipy import sparse


Label = tuple[str, str, float]


@dataclass(frozen=True, eq=False)
class Comparisons(Shown):
    """Labelled pairs of items, each with a count.

    Parameters
    ----------
    winner, loser : array of int, shape (k,)
        Indices into `items`; no item is compared with itself. The same pair may occur more than once.
    count : array, shape (k,), optional
        How often, or how many votes: finite, at least 0, fractions allowed, at least one above 0. Ones by default.
    items : sequence of str, optional
        The items' names, no two alike; ``"0", "1", …`` by default.

    Attributes
    ----------
    report : ReadReport or None
        How the file was read, where they come from one.
    prompts : tuple of str
        Names of prompts, where each item is a response to one: `prompt_of_item` says to which. Empty elsewhere.
    contests : Contests
        The rows themselves: ties of both kinds, who stood first, covariates, prompts, clusters.

    Raises
    ------
    ValueError
        Naming the first bad entry and what is accepted.

    Examples
    --------
    >>> games = Comparisons.from_pairs([("a", "b"), ("b", "c"), ("a", "c")])
    >>> games.items, games.winner, games.loser
    (('a', 'b', 'c'), array([0, 1, 0]), array([1, 2, 2]))
    >>> games
    Comparisons(3 items, 3 compared pairs, total count 3)
    """

    winner: NDArray[np.int64]
    loser: NDArray[np.int64]
    count: NDArray[np.float64]
    items: tuple[str, ...]
    report: ReadReport | None = None
    prompts: tuple[str, ...] = ()

    def __init__(
        self,
        winner: ArrayLike,
        loser: ArrayLike,
        count: ArrayLike | None = None,
        items: Sequence[str] | None = None,
    ) -> None:
        size = None if items is None else len(items)
        won, lost = as_index(winner, "winner", size), as_index(loser, "loser", size)
        if won.size == 0:
            raise ValueError("no comparisons: winner and loser are empty; at least one pair is needed")
        if lost.shape != won.shape:
            raise ValueError(f"winner and loser must have one shape (k,), got {won.shape} and {lost.shape}")
        names = checked_items(items, int(max(won.max(), lost.max())) + 1 if size is None else size)
        if np.any(won == lost):
            k = int(np.argmax(won == lost))
            raise ValueError(f"comparison {k} sets {names[won[k]]!r} against itself; winner and loser must differ")
        self._take(won, lost, as_counts(count, len(won)), names)

    def _take(
        self, won: NDArray[np.int64], lost: NDArray[np.int64], times: NDArray[np.float64], names: tuple[str, ...]
    ) -> None:
        for array in (won, lost, times):
            array.flags.writeable = False
        for name, value in (("winner", won), ("loser", lost), ("count", times), ("items", names)):
            object.__setattr__(self, name, value)

    @classmethod
    def of_contests(
        cls,
        contests: Contests,
        items: Sequence[str] | None = None,
        *,
        prompts: Sequence[str] = (),
        report: ReadReport | None = None,
        merged: bool = False,
    ) -> Comparisons:
        """From contests: a tie is half a win each in winner, loser, count, and stays a tie in `contests`.

        Parameters
        ----------
        contests : Contests
        items : sequence of str, optional
            n names, no two alike; ``"0", "1", …`` by default.
        prompts : sequence of str
            The prompts' names, where every item belongs to one prompt (`Contests.prompt` says which).
        report : ReadReport, optional
        merged : bool
            Whether each winner and loser stand once, with their counts added up, rather than as the rows have them.

        Raises
        ------
        ValueError
            For names that are not n different ones, or an item that is compared under two prompts.

        Examples
        --------
        >>> held = Contests(2, [0, 1], [1, 0], [0, 2])
        >>> games = Comparisons.of_contests(held, ["a", "b"])
        >>> games.winner, games.count, games.contests.ties
        (array([0, 1, 0]), array([1. , 0.5, 0.5]), 1.0)
        """
        if not len(contests):
            raise ValueError("no comparisons: the contests are empty; at least one pair is needed")
        names = checked_items(items, contests.n)
        found = object.__new__(cls)
        found._take(*(contests.merged() if merged else contests.directed()), names)
        object.__setattr__(found, "report", report)
        object.__setattr__(found, "prompts", tuple(prompts))
        found.__dict__["contests"] = contests
        if prompts:
            found._check_prompts()
        return found

    @cached_property
    def contests(self) -> Contests:
        """What is compared, a row each, with ties, positions, covariates, prompts and clusters where they are known.

        Comparisons that were not read from such rows are contests whose winner stands first, without ties.
        """
        outcome = np.full(len(self.winner), FIRST)
        return Contests(self.n, self.winner, self.loser, outcome, self.count)

    @property
    def ties(self) -> float:
        """Sum of the counts of ties of either kind; they are half a win each in `count`."""
        return self.contests.ties

    def pair_counts(self, *, by_position: bool = False) -> PairCounts:
        """Wins, losses and ties of each pair: see `Contests.pairs`."""
        return self.contests.pairs(by_position=by_position)

    @cached_property
    def prompt_of_item(self) -> NDArray[np.int64] | None:
        """Index into `prompts` of every item, shape (n,); None where items are compared across prompts."""
        if not self.prompts or self.contests.prompt is None:
            return None
        owner = np.full(self.n, -1)
        for side in (self.contests.first, self.contests.second):
            owner[side] = self.contests.prompt
        return owner

    def _check_prompts(self) -> None:
        owner, asked = self.prompt_of_item, self.contests.prompt
        if owner is None or asked is None:
            raise ValueError("prompts are named, but the contests do not say which prompt they belong to")
        if asked.max() >= len(self.prompts):
            raise ValueError(f"prompts has {len(self.prompts)} names, but a contest belongs to prompt {asked.max()}")
        for side in (self.contests.first, self.contests.second):
            if np.any(owner[side] != asked):
                item = self.items[side[int(np.argmax(owner[side] != asked))]]
                raise ValueError(f"{item!r:.60} is compared under two prompts; items are of one prompt each")

    @classmethod
    def from_pairs(
        cls, pairs: Iterable[tuple[str, str] | tuple[str, str, float]], items: Sequence[str] | None = None
    ) -> Comparisons:
        """From (winner, loser) or (winner, loser, count) by name; items in order of appearance unless given.

        Raises
        ------
        ValueError
            For a name not in `items`, or what the constructor refuses.
        """
        index = {name: i for i, name in enumerate(items)} if items is not None else {}
        won: list[int] = []
        lost: list[int] = []
        times: list[float] = []
        for pair in pairs:
            for name in pair[:2]:
                if name not in index:
                    if items is not None:
                        raise ValueError(f"{name!r} is not among the items {tuple(items)!r:.200}")
                    index[name] = len(index)
            won.append(index[pair[0]])
            lost.append(index[pair[1]])
            times.append(float(pair[2]) if len(pair) > 2 else 1.0)
        return cls(won, lost, times, items=tuple(index))

    @classmethod
    def from_counts(cls, counts: ArrayLike, items: Sequence[str] | None = None) -> Comparisons:
        """From a table, ``counts[i, j]`` = how often i beat j; the diagonal is ignored.

        Parameters
        ----------
        counts : array, shape (n, n)
            Finite, at least 0 off the diagonal.
        items : sequence of str, optional
            By default the labels of a DataFrame, whose rows and columns name the same.

        Examples
        --------
        >>> Comparisons.from_counts([[0, 3], [1, 0]]).count
        array([3., 1.])
        """
        items = common_items(items, counts)
        table = check_counts(counts, items, least=2)
        won, lost = np.nonzero(table)
        return cls(won, lost, table[won, lost], items=checked_items(items, len(table)))

    @classmethod
    def read(cls, path: str | Path, **options: Unpack[ReadOptions]) -> Comparisons:
        """Read CSV, TSV, JSON or Parquet, plain or gzip-compressed: see `read_comparisons`, also for the options."""
        return cls._of(read_contests(path, options))

    @classmethod
    def from_frame(cls, frame: Any, **options: Unpack[ReadOptions]) -> Comparisons:
        """From a DataFrame, in any of the layouts that files have: see `read_comparisons`, also for the options.

        Parameters
        ----------
        frame : pandas.DataFrame
            Or whatever has a method ``to_pandas`` (polars, Arrow, data sets of Hugging Face).

        Raises
        ------
        ValueError
            Naming the row (from 0) and what is accepted.

        Examples
        --------
        >>> import pandas as pd
        >>> votes = pd.DataFrame({"model_a": ["x", "y"], "model_b": ["y", "x"], "winner": ["model_a", "tie"]})
        >>> games = Comparisons.from_frame(votes)
        >>> games, games.ties
        (Comparisons(2 items, 1 compared pair, total count 2), 1.0)
        """
        return cls._of(read_contests(frame, options))

    @classmethod
    def _of(cls, found: ReadContests) -> Comparisons:
        try:
            games = cls.of_contests(
                found.contests, found.items, prompts=found.prompts, report=found.report, merged=found.is_counted
            )
        except ValueError as error:
            raise ValueError(f"{found.report.file}: {error}") from None
        games.__dict__["texts"] = found.texts
        return games

    @classmethod
    def of_labels(cls, pairs: Iterable[Label], report: ReadReport) -> Comparisons:
        """From what a file says, with the report of it; errors name the file."""
        try:
            return cls.from_pairs(pairs)._with(report)
        except ValueError as error:
            raise ValueError(f"{report.file}: {error}") from None

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The items' names without their prompts; two prompts may have the same."""
        return self.items

    def by_prompt(self) -> dict[str, Comparisons]:
        """One set of comparisons a prompt, items by their own names; a single one, of name ``""``, without prompts.

        Raises
        ------
        ValueError
            Where every count of a prompt is 0.
        """
        asked = self.contests.prompt
        if not self.prompts or asked is None:
            return {"": self}
        file = "" if self.report is None else f"{self.report.file}: "
        rows = np.argsort(asked, kind="stable")
        ends = np.cumsum(np.bincount(asked, minlength=len(self.prompts)))
        found = {}
        for prompt, start, end in zip(self.prompts, [0, *ends[:-1]], ends, strict=True):
            if start == end:
                continue
            mine = rows[start:end]
            both = np.stack([self.contests.first[mine], self.contests.second[mine]], axis=1).ravel()
            items, first, codes = np.unique(both, return_index=True, return_inverse=True)
            place = np.argsort(np.argsort(first))[codes.ravel()].reshape(-1, 2)  # in the order of appearance
            names = [self.texts[items[i]] for i in np.argsort(first)]
            if not self.contests.count[mine].any():
                raise ValueError(f"{file}every count of the prompt {prompt!r:.60} is 0; take its rows out")
            part = self.contests.chosen(mine).between(len(items), place[:, 0], place[:, 1])
            found[prompt] = Comparisons.of_contests(part, names, report=self.report)
        return found

    def _with(self, report: ReadReport | None) -> Comparisons:
        object.__setattr__(self, "report", report)
        return self

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def total(self) -> float:
        """Sum of the counts."""
        return float(self.count.sum())

    def aggregated(self) -> Comparisons:
        """Each ordered pair once, with its counts added up; pairs of count 0 are left out.

        A tie stays half a win each, and no more: which contests were ties, positions, covariates and clusters are in
        `contests` of what was aggregated.
        """
        found = object.__new__(Comparisons)
        found._take(*merged(self.n, self.winner, self.loser, self.count), self.items)
        return found._with(self.report)

    def matrix(self) -> sparse.csr_array:
        """Sparse table of counts, shape (n, n): entry [i, j] says how often i beat j."""
        from scipy import sparse

        table = sparse.coo_array((self.count, (self.winner, self.loser)), shape=(self.n, self.n)).tocsr()
        table.sum_duplicates()
        table.eliminate_zeros()
        return table

    def __repr__(self) -> str:
        seen = self.count > 0
        low, high = np.minimum(self.winner, self.loser)[seen], np.maximum(self.winner, self.loser)[seen]
        pairs = len(np.unique(low * self.n + high))
        words = f"{pairs} compared pair{'s' * (pairs != 1)}"
        return f"Comparisons({self.n} items, {words}, total count {self.total:g})"

    def _facts(self) -> list[tuple[str, Any]]:
        prompts = [("prompts", len(self.prompts))] if self.prompts else []
        ties = [("ties", f"{self.ties:g}, half a win each: a row in either direction")] if self.ties else []
        return [
            ("items", self.n),
            ("winner and loser rows", len(self.winner)),
            ("total count", self.total),
            *ties,
            *prompts,
        ]

    def _columns(self) -> Mapping[str, Any]:
        names = np.array(self.items, dtype=object)
        return {"winner": names[self.winner], "loser": names[self.loser], "count": self.count}

    def _notes(self) -> list[str]:
        return [] if self.report is None else self.report.lines()

    def _panel(self) -> Panel:
        won, lost = (np.bincount(who, self.count, self.n) for who in (self.winner, self.loser))
        share = np.divide(won, won + lost, out=np.full(self.n, np.nan), where=won + lost > 0)
        order = np.argsort(-np.nan_to_num(share, nan=-1.0), kind="stable")
        names = [self.items[i] for i in order]
        return intervals("who wins how often", "share of its comparisons won", names, share[order], level=0.5)
