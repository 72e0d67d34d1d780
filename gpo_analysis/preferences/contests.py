"""Contests as they were held: who stood first and who second, how each ended, and what is known of it besides.

`Comparisons` is what a loss sums over: winner, loser, count, a tie as half a win each. Models of ties, of an advantage
of the first position and of covariates, and intervals that are clustered, need what that leaves out; it stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.showing import Shown

#: How a contest ends, in the order of the codes 0 to 3.
OUTCOMES = ("first", "second", "tie", "tie (bothbad)")
FIRST, SECOND, TIE, BOTH_BAD = range(4)
MOST = 1e300  #: Sum of counts, so that products with small numbers and sums of sums stay within a float.


@dataclass(frozen=True, eq=False)
class PairCounts(Shown):
    """How the contests of each pair of items ended; arrays of shape (e,), each pair once.

    Attributes
    ----------
    first, second : array of int
        Items. Without positions first < second; with them (i, j) and (j, i) are two rows.
    won, lost : array
        Counts of wins of the first and of the second.
    tied, both_bad : array
        Counts of ties, and of ties that were called bad on both sides.
    """

    first: IntArray
    second: IntArray
    won: FloatArray
    lost: FloatArray
    tied: FloatArray
    both_bad: FloatArray

    def __len__(self) -> int:
        return len(self.first)

    @property
    def ties(self) -> FloatArray:
        """Ties of either kind, shape (e,)."""
        return self.tied + self.both_bad

    @property
    def total(self) -> FloatArray:
        """Contests, shape (e,)."""
        return self.won + self.lost + self.ties

    _no_plot = "it is the rows that others count; diagnostics draws them"


@dataclass(frozen=True, eq=False)
class Contests(Shown):
    """Contests, a row each, of k rows between n items.

    Parameters
    ----------
    n : int
        Number of items.
    first, second : array of int, shape (k,)
        Who stood first (``model_a``, left, at home) and who second; where nothing tells, the winner stands first.
    outcome : array of int, shape (k,)
        0 the first won, 1 the second, 2 a tie, 3 a tie that was called bad on both sides: see `OUTCOMES`.
    count : array, shape (k,), optional
        How often, or how much it weighs: finite, at least 0; ones by default.
    ordered : bool
        Whether first and second are positions: False where the winner was merely written first.
    covariates : array, shape (k, p), optional
        Of the first less those of the second, finite: the margin of a contest is
        ``score[first] − score[second] + covariates @ coefficients``.
    covariate_names : sequence of str
        p names.
    prompt : array of int, shape (k,), optional
        Which prompt a contest belongs to, 0, 1, ….
    cluster : array of int, shape (k,), optional
        Which judge, battle or prompt a contest belongs to, 0, 1, …: contests of one cluster depend on each other.
    cluster_name : str
        Of what the clusters are, such as ``"judge"``.

    Raises
    ------
    ValueError
        Naming the first bad entry and what is accepted.

    Examples
    --------
    >>> held = Contests(3, [0, 1, 0], [1, 2, 2], [0, 2, 1], ordered=True)
    >>> pairs = held.pairs()
    >>> pairs.won, pairs.lost, pairs.tied
    (array([1., 0., 0.]), array([0., 1., 0.]), array([0., 0., 1.]))
    """

    n: int
    first: IntArray
    second: IntArray
    outcome: NDArray[np.int8]
    count: FloatArray
    ordered: bool
    covariates: FloatArray | None
    covariate_names: tuple[str, ...]
    prompt: IntArray | None
    cluster: IntArray | None
    cluster_name: str

    def __init__(
        self,
        n: int,
        first: ArrayLike,
        second: ArrayLike,
        outcome: ArrayLike,
        count: ArrayLike | None = None,
        *,
        ordered: bool = False,
        covariates: ArrayLike | None = None,
        covariate_names: Sequence[str] = (),
        prompt: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
        cluster_name: str = "",
    ) -> None:
        a, b = as_index(first, "first", n), as_index(second, "second", n)
        k = len(a)
        if b.shape != a.shape:
            raise ValueError(f"first and second must have one shape (k,), got {a.shape} and {b.shape}")
        if np.any(a == b):
            raise ValueError(f"contest {int(np.argmax(a == b))} sets an item against itself; the two must differ")
        ends = as_index(outcome, "outcome", len(OUTCOMES)).astype(np.int8)
        times = as_counts(count, k)
        if ends.shape != a.shape:
            raise ValueError(f"outcome must have the shape of first, {a.shape}, got {ends.shape}")
        values = None if covariates is None else np.array(covariates, dtype=np.float64)
        names = tuple(covariate_names)
        if values is not None:
            if values.ndim != 2 or values.shape != (k, len(names)):
                raise ValueError(f"covariates must have shape ({k}, {len(names)}), got {values.shape}")
            if not np.isfinite(values).all():
                row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
                raise ValueError(f"covariates[{row}, {column}] is {values[row, column]}; accepted are finite numbers")
        asked = None if prompt is None else as_index(prompt, "prompt")
        held = None if cluster is None else as_index(cluster, "cluster")
        for ids, name in ((asked, "prompt"), (held, "cluster")):
            if ids is not None and ids.shape != a.shape:
                raise ValueError(f"{name} must have the shape of first, {a.shape}, got {ids.shape}")
        for array in (a, b, ends, times, values, asked, held):
            if array is not None:
                array.flags.writeable = False
        given = (n, a, b, ends, times, bool(ordered), values, names, asked, held, cluster_name)
        for name, value in zip(self.__dataclass_fields__, given, strict=True):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.first)

    @property
    def is_tie(self) -> NDArray[np.bool_]:
        """Ties of either kind, shape (k,)."""
        return np.asarray(self.outcome >= TIE)

    @property
    def ties(self) -> float:
        """Sum of the counts of ties of either kind."""
        return float(self.count[self.is_tie].sum())

    def recounted(self, count: ArrayLike) -> Contests:
        """The same contests with other counts, shape (k,): those of a resample, say."""
        return self._changed(count=as_counts(count, len(self)))

    def chosen(self, rows: ArrayLike) -> Contests:
        """Some of the contests: a mask or indices, with all that is known of them.

        Parameters
        ----------
        rows : array of bool, shape (k,), or of int
        """
        index = np.asarray(rows)
        every = ("first", "second", "outcome", "count", "covariates", "prompt", "cluster")
        return self._changed(
            **{name: None if getattr(self, name) is None else getattr(self, name)[index] for name in every}
        )

    def between(self, n: int, first: ArrayLike, second: ArrayLike) -> Contests:
        """The same contests between n items under other indices, shape (k,) each."""
        a, b = as_index(first, "first", n), as_index(second, "second", n)
        if a.shape != self.first.shape or b.shape != a.shape:
            raise ValueError(f"first and second must have shape {self.first.shape}, got {a.shape} and {b.shape}")
        return self._changed(n=n, first=a, second=b)

    def _changed(self, **changes: object) -> Contests:
        found = object.__new__(Contests)
        for name in self.__dataclass_fields__:
            object.__setattr__(found, name, changes.get(name, getattr(self, name)))
        return found

    def pairs(self, *, by_position: bool = False) -> PairCounts:
        """Counts of each pair of items, in the order of (first, second).

        Parameters
        ----------
        by_position : bool
            Whether (i, j) and (j, i) are kept apart: only where the contests are `ordered`.

        Raises
        ------
        ValueError
            Where positions are asked for and not known.
        """
        if by_position and not self.ordered:
            raise ValueError(
                "who stood first is not known of these contests; accepted are columns such as model_a, model_b, winner"
            )
        turned = np.zeros(len(self), dtype=bool) if by_position else self.first > self.second
        a, b = np.where(turned, self.second, self.first), np.where(turned, self.first, self.second)
        key, where = np.unique(a * self.n + b, return_inverse=True)
        outcome = np.where(turned & (self.outcome < TIE), 1 - self.outcome, self.outcome)
        table = np.bincount(where * 4 + outcome, self.count, 4 * len(key)).reshape(-1, 4)
        keep = table.sum(axis=1) > 0
        key, table = key[keep], table[keep]
        return PairCounts(key // self.n, key % self.n, *(np.ascontiguousarray(column) for column in table.T))

    def merged(self) -> tuple[IntArray, IntArray, FloatArray]:
        """As `directed`, but each winner and loser once, in the order of their first row."""
        winner, loser, count = self.directed()
        key, first, where = np.unique(winner * self.n + loser, return_index=True, return_inverse=True)
        order = np.argsort(first)
        total: FloatArray = np.bincount(where.ravel(), count, len(key)).astype(np.float64)[order]
        keep = (total > 0) if np.any(total > 0) else np.ones(len(total), dtype=bool)
        return winner[first[order]][keep], loser[first[order]][keep], total[keep]

    def directed(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Winner, loser and count, a tie as two rows of half its count; shape (k + ties,) each, in order."""
        tie = self.is_tie
        if not tie.any():
            second = self.outcome == SECOND
            return np.where(second, self.second, self.first), np.where(second, self.first, self.second), self.count
        row = np.repeat(np.arange(len(self)), 1 + tie)
        again = np.zeros(len(row), dtype=bool)
        again[1:] = row[1:] == row[:-1]
        turned = np.where(tie[row], again, self.outcome[row] == SECOND)
        winner = np.where(turned, self.second[row], self.first[row])
        loser = np.where(turned, self.first[row], self.second[row])
        return winner, loser, self.count[row] * np.where(tie[row], 0.5, 1.0)

    _no_plot = "its Comparisons draw who wins how often"

    def _facts(self) -> list[tuple[str, Any]]:
        more: list[tuple[str, Any]] = [("covariates", ", ".join(self.covariate_names))] if self.covariate_names else []
        more += [("clusters", len(np.unique(self.cluster)))] if self.cluster is not None else []
        total: tuple[str, Any] = ("total count", float(self.count.sum()))
        return [("items", self.n), ("rows", len(self)), total, ("ties", self.ties), *more]

    def _columns(self) -> dict[str, Any]:
        outcome = [OUTCOMES[k] for k in self.outcome]
        return {"first": self.first, "second": self.second, "outcome": outcome, "count": self.count}

    def __repr__(self) -> str:
        return f"Contests({self.n} items, {len(self)} rows, total count {self.count.sum():g}, {self.ties:g} ties)"


def as_index(values: ArrayLike, name: str, size: int | None = None) -> IntArray:
    """A fresh array of indices below `size`, shape (k,).

    Raises
    ------
    ValueError
        Naming the first entry that is none.
    """
    array = np.array(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (k,), got {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold integer indices, got {array.dtype}")
    index: IntArray = array.astype(np.int64)
    outside = (index < 0) | (index >= (2**62 if size is None else size))
    if outside.any():
        k = int(np.argmax(outside))
        most = "at least 0" if size is None else f"0 to {size - 1}"
        raise ValueError(f"{name}[{k}] is {index[k]}; accepted are indices {most}")
    return index


def as_counts(count: ArrayLike | None, size: int) -> FloatArray:
    """A fresh array of counts, shape (k,): finite, at least 0, one above 0, at most `MOST` together; ones by default.

    Raises
    ------
    ValueError
        Naming the first entry that is none.
    """
    times = np.ones(size) if count is None else np.array(count, dtype=np.float64)
    if times.shape != (size,):
        raise ValueError(f"count must have the shape of winner, {(size,)}, got {times.shape}")
    bad = ~np.isfinite(times) | (times < 0)
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(f"count[{k}] is {times[k]}; accepted are finite numbers of at least 0")
    with np.errstate(over="ignore"):
        total = float(times.sum())
    if total > MOST:
        raise ValueError(f"the counts add up to {total:g}; accepted are counts of at most {MOST:g} together")
    if not np.any(times > 0):
        raise ValueError("every count is 0; at least one comparison must have a count above 0")
    return times
