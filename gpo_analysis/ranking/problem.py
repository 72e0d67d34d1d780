"""Comparisons as people have them: wins, losses and ties of pairs, with covariates, a position, clusters of votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.preferences.checks import check_comparisons
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.contests import FIRST, SECOND
from gpo_analysis.preferences.item_names import checked_items
from gpo_analysis.showing import Panel, Shown
from gpo_analysis.showing.charts import intervals
from gpo_analysis.solvers.faces import components

#: The rows of every table of outcomes, in this order.
OUTCOMES = ("win", "loss", "tie")
POSITION = "position"  #: The name of the covariate that a position makes.


@dataclass(frozen=True, eq=False)
class Rows:
    """Merged rows: every pair with its covariates once, the item of the lower number first.

    Attributes
    ----------
    first, second : array of int, shape (k,)
    features : array, shape (k, d)
        Added to the margin of the first over the second.
    counts : array, shape (3, k)
        Wins of the first, of the second, ties.
    source : array of int, shape (m,)
        Into which of these rows each given row went.
    turned : array of bool, shape (m,)
        Whether its items were exchanged.
    """

    first: IntArray
    second: IntArray
    features: FloatArray
    counts: FloatArray
    source: IntArray
    turned: BoolArray

    def margins(self, scores: FloatArray, coefficients: FloatArray) -> FloatArray:
        """``g_first − g_second + x·γ``, shape (k,)."""
        z = scores[self.first] - scores[self.second]
        return np.asarray(z + self.features @ coefficients if self.features.shape[1] else z)


@dataclass(frozen=True, eq=False)
class ComparisonProblem(Shown):
    """Rows of outcomes between two items.

    Parameters
    ----------
    first, second : array of int, shape (m,)
        Indices into `items`; no item against itself.
    wins : array, shape (m,), optional
        How often the first won (a vote or many): finite, at least 0. Ones by default.
    losses, ties : array, shape (m,), optional
        How often the second won, how often neither. Zeros by default.
    features : array, shape (m, d), optional
        Covariates, first less second (a difference of lengths, of styles): they are added to the margin.
    feature_names : sequence of str, optional
        ``"x1", "x2", …`` by default.
    position : array, shape (m,), optional
        1 where the first was shown first (or at home), −1 where the second was, 0 on neutral ground: one more
        covariate, of the name "position".
    cluster : array, shape (m,), optional
        What votes that belong together share: a prompt, a judge, a battle. Intervals then count clusters, not votes.
    prompt : array, shape (m,), optional
        For :meth:`by_prompt`.
    items : sequence of str, optional

    Raises
    ------
    ValueError
        Naming the first bad entry and what is accepted.

    Examples
    --------
    >>> problem = ComparisonProblem([0, 0, 1], [1, 2, 2], wins=[3, 4, 2], losses=[1, 1, 2], ties=[0, 1, 0])
    >>> problem
    ComparisonProblem(3 items, 3 rows, 13 decided, 1 ties)
    """

    first: IntArray
    second: IntArray
    counts: FloatArray
    features: FloatArray
    feature_names: tuple[str, ...]
    cluster: IntArray | None
    prompt: IntArray | None
    prompt_names: tuple[str, ...]
    items: tuple[str, ...]

    def __init__(
        self,
        first: ArrayLike,
        second: ArrayLike,
        wins: ArrayLike | None = None,
        losses: ArrayLike | None = None,
        ties: ArrayLike | None = None,
        *,
        features: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
        position: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
        prompt: ArrayLike | None = None,
        items: Sequence[str] | None = None,
    ) -> None:
        one, two = _indices(first, "first"), _indices(second, "second")
        m = len(one)
        if m == 0 or two.shape != one.shape:
            raise ValueError(
                f"first and second must have one shape (m,), m at least 1; got {one.shape} and {two.shape}"
            )
        n = int(max(one.max(), two.max())) + 1 if items is None else len(items)
        names = checked_items(items, n)
        for name, index in (("first", one), ("second", two)):
            outside = (index < 0) | (index >= n)
            if outside.any():
                k = int(np.argmax(outside))
                raise ValueError(f"{name}[{k}] is {index[k]}; accepted are indices 0 to {n - 1} into items")
        if (one == two).any():
            k = int(np.argmax(one == two))
            raise ValueError(f"row {k} sets {names[one[k]]!r} against itself; first and second must differ")
        counts = np.stack(
            [_counts(wins, "wins", m, 1.0), _counts(losses, "losses", m, 0.0), _counts(ties, "ties", m, 0.0)]
        )
        if not counts.any():
            raise ValueError("every count is 0; at least one comparison must have a count above 0")
        table, labels = _features(features, feature_names, position, m)
        groups = None if cluster is None else _labels(cluster, "cluster", m)[0]
        prompts, prompt_names = (None, ()) if prompt is None else _labels(prompt, "prompt", m)
        values = (one, two, counts, table, labels, groups, prompts, prompt_names, names)
        for field, value in zip(self.__dataclass_fields__, values, strict=True):
            object.__setattr__(self, field, value)

    @classmethod
    def of(cls, given: ComparisonProblem | Comparisons) -> ComparisonProblem:
        """The problem itself, or that of the comparisons."""
        return given if isinstance(given, cls) else cls.from_comparisons(check_comparisons(given, "problem"))

    @classmethod
    def from_comparisons(cls, comparisons: Comparisons, *, position: bool = False) -> ComparisonProblem:
        """From what was read: the contests with their ties of either kind, covariates, clusters and prompts.

        Parameters
        ----------
        comparisons : Comparisons
        position : bool
            Whether to fit an advantage of who was shown first.

        Raises
        ------
        ValueError
            For a position where the contests do not say who was shown first.

        Examples
        --------
        >>> from gpo_analysis.datasets import load_journals
        >>> ComparisonProblem.from_comparisons(load_journals())
        ComparisonProblem(4 items, 12 rows, 3727 decided, 0 ties)
        """
        held = check_comparisons(comparisons).contests
        if position and not held.ordered:
            raise ValueError(
                "an advantage of the position takes contests that say who was shown first (model_a, model_b); here the "
                "winner stands first"
            )
        won, lost, tied = (
            np.where(which, held.count, 0.0) for which in (held.outcome == FIRST, held.outcome == SECOND, held.is_tie)
        )
        return cls(
            held.first, held.second, won, lost, tied, items=comparisons.items,
            features=held.covariates, feature_names=held.covariate_names if held.covariates is not None else None,
            position=np.ones(len(held)) if position else None, cluster=held.cluster, prompt=held.prompt,
        )  # fmt: skip

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def total(self) -> float:
        """Number of votes, ties included."""
        return float(self.counts.sum())

    @property
    def freedom(self) -> float:
        """Degrees of Student's law that noise is taken to have: clusters less one, without clusters ∞ (normal)."""
        return np.inf if self.cluster is None else float(self.cluster.max())

    @cached_property
    def parts(self) -> IntArray:
        """Labels (n,) of the items that comparisons connect; scores of two parts cannot be compared."""
        seen = self.counts.any(axis=0)
        return components(self.n, self.first[seen], self.second[seen], strong=False)

    @cached_property
    def rows(self) -> Rows:
        """The merged rows, those without a vote left out of sight by their counts of 0."""
        turned = self.first > self.second
        one, two = np.where(turned, self.second, self.first), np.where(turned, self.first, self.second)
        x = np.where(turned[:, None], -self.features, self.features) + 0.0
        key = one * self.n + two
        for column in x.T:
            levels, code = np.unique(column, return_inverse=True)
            _, key = np.unique(key, return_inverse=True)
            key = key * len(levels) + code
        _, where, source = np.unique(key, return_index=True, return_inverse=True)
        k = len(where)
        won = np.where(turned, self.counts[1], self.counts[0])
        lost = np.where(turned, self.counts[0], self.counts[1])
        counts = np.array([np.bincount(source, part, k) for part in (won, lost, self.counts[2])], dtype=np.float64)
        return Rows(one[where], two[where], x[where], counts, source, turned)

    def without_covariates(self) -> ComparisonProblem:
        """The pairs alone, merged."""
        plain = ComparisonProblem(self.first, self.second, *self.counts, items=self.items).rows
        return ComparisonProblem(plain.first, plain.second, *plain.counts, items=self.items)

    def selected(self, keep: BoolArray, counts: FloatArray | None = None) -> ComparisonProblem:
        """Some of the rows, all of the items; with other counts (3, m) if given.

        Parameters
        ----------
        keep : array of bool, shape (m,)
        counts : array, shape (3, m), optional
        """
        given = self.counts if counts is None else counts
        return self._new(self.first[keep], self.second[keep], given[:, keep], keep, self.items)

    def by_prompt(self) -> dict[str, ComparisonProblem]:
        """A problem of its own for each prompt, with the items that occur in it.

        Raises
        ------
        ValueError
            Where there are no prompts.
        """
        if self.prompt is None:
            raise ValueError("by_prompt needs prompts: give prompt= to the problem")
        found = {}
        for number, name in enumerate(self.prompt_names):
            keep = self.prompt == number
            used, index = np.unique(np.concatenate([self.first[keep], self.second[keep]]), return_inverse=True)
            one, two = index[: keep.sum()], index[keep.sum() :]
            found[name] = self._new(one, two, self.counts[:, keep], keep, tuple(self.items[i] for i in used))
        return found

    def _new(
        self, one: IntArray, two: IntArray, counts: FloatArray, keep: BoolArray, items: tuple[str, ...]
    ) -> ComparisonProblem:
        position = POSITION in self.feature_names
        d = len(self.feature_names) - position
        return ComparisonProblem(
            one, two, *counts, items=items, features=self.features[keep, :d] if d else None,
            feature_names=self.feature_names[:d] if d else None, position=self.features[keep, d] if position else None,
            cluster=None if self.cluster is None else self.cluster[keep],
        )  # fmt: skip

    def _facts(self) -> list[tuple[str, Any]]:
        decided, tied = float(self.counts[:2].sum()), float(self.counts[2].sum())
        facts: list[tuple[str, Any]] = [("items", self.n), ("rows", len(self.first)), ("decided", decided)]
        facts.append(("ties", tied))
        facts += [("covariates", ", ".join(self.feature_names))] if self.feature_names else []
        facts += [("clusters", len(np.unique(self.cluster)))] if self.cluster is not None else []
        return [*facts, ("parts that nothing connects", int(self.parts.max()) + 1)]

    def _columns(self) -> dict[str, Any]:
        names, merged = np.array(self.items, dtype=object), self.rows
        counts = dict(zip(("wins", "losses", "ties"), merged.counts, strict=True))
        covariates = dict(zip(self.feature_names, merged.features.T, strict=True))
        return {"first": names[merged.first], "second": names[merged.second], **counts, **covariates}

    def _panel(self) -> Panel:
        won, lost, tied = self.counts
        scored = np.bincount(self.first, won + tied / 2, self.n) + np.bincount(self.second, lost + tied / 2, self.n)
        total = sum(np.bincount(end, self.counts.sum(axis=0), self.n) for end in (self.first, self.second))
        share = np.divide(scored, total, out=np.full(self.n, np.nan), where=total > 0)
        order = np.argsort(-np.nan_to_num(share, nan=-1.0), kind="stable")
        names = [self.items[k] for k in order]
        return intervals("who wins how often", "share of its votes won, a tie as half", names, share[order], level=0.5)

    def __repr__(self) -> str:
        more = f", covariates {', '.join(self.feature_names)}" if self.feature_names else ""
        more += "" if self.cluster is None else f", {len(np.unique(self.cluster))} clusters"
        decided, tied = self.counts[:2].sum(), self.counts[2].sum()
        return f"ComparisonProblem({self.n} items, {len(self.first)} rows, {decided:g} decided, {tied:g} ties{more})"


def _indices(values: ArrayLike, name: str) -> IntArray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name} must hold integer indices, of shape (m,); got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def _counts(values: ArrayLike | None, name: str, m: int, default: float) -> FloatArray:
    array = np.full(m, default) if values is None else np.array(values, dtype=np.float64)
    if array.shape != (m,):
        raise ValueError(f"{name} must have shape ({m},), got {array.shape}")
    bad = ~np.isfinite(array) | (array < 0)
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(f"{name}[{k}] is {array[k]}; accepted are finite numbers of at least 0")
    return array


def _features(
    features: ArrayLike | None, names: Sequence[str] | None, position: ArrayLike | None, m: int
) -> tuple[FloatArray, tuple[str, ...]]:
    table = np.zeros((m, 0)) if features is None else np.array(features, dtype=np.float64).reshape(m, -1)
    labels = tuple(f"x{k + 1}" for k in range(table.shape[1])) if names is None else tuple(names)
    if len(labels) != table.shape[1]:
        raise ValueError(f"feature_names are {len(labels)} for {table.shape[1]} covariates")
    if position is not None:
        side = np.array(position, dtype=np.float64)
        if side.shape != (m,):
            raise ValueError(f"position must have shape ({m},), got {side.shape}")
        strange = ~np.isin(side, (-1.0, 0.0, 1.0))
        if strange.any():
            k = int(np.argmax(strange))
            raise ValueError(f"position[{k}] is {side[k]:g}; accepted are 1 (the first), -1 (the second) and 0")
        table, labels = np.column_stack([table, side]), (*labels, POSITION)
    if len(set(labels)) < len(labels):
        raise ValueError(f"covariates must have distinct names, got {labels}")
    bad = ~np.isfinite(table)
    if bad.any():
        k, j = (int(x) for x in np.argwhere(bad)[0])
        raise ValueError(f"covariate {labels[j]!r} is {table[k, j]} in row {k}; accepted are finite numbers")
    return table, labels


def _labels(values: ArrayLike, name: str, m: int) -> tuple[IntArray, tuple[str, ...]]:
    array = np.asarray(values)
    if array.shape != (m,):
        raise ValueError(f"{name} must have shape ({m},), got {array.shape}")
    levels, code = np.unique(array, return_inverse=True)
    return code.astype(np.int64), tuple(map(str, levels))
