"""Observed comparisons: construction, counting, validation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gpo_analysis.preferences import Comparisons


def test_from_pairs_counts_and_matrix():
    games = Comparisons.from_pairs([("a", "b"), ("b", "c", 2.5), ("a", "b", 3), ("c", "b", 0)])
    assert games.items == ("a", "b", "c")
    assert games.n == 3
    assert games.total == 6.5
    together = games.aggregated()
    assert list(zip(together.winner.tolist(), together.loser.tolist(), together.count.tolist(), strict=True)) == [
        (0, 1, 4.0),
        (1, 2, 2.5),
    ]
    np.testing.assert_array_equal(games.matrix().toarray(), [[0, 4, 0], [0, 0, 2.5], [0, 0, 0]])
    assert games.matrix().nnz == 2
    assert repr(games) == "Comparisons(3 items, 2 compared pairs, total count 6.5)"
    frame = games.to_frame()
    assert frame.columns.tolist() == ["winner", "loser", "count"]
    assert frame.iloc[1].tolist() == ["b", "c", 2.5]


def test_given_items_keep_their_order():
    games = Comparisons.from_pairs([("a", "b")], items=["z", "b", "a"])
    assert games.winner.tolist() == [2]
    assert games.items == ("z", "b", "a")
    with pytest.raises(ValueError, match="'c' is not among the items"):
        Comparisons.from_pairs([("a", "c")], items=["a", "b"])


def test_from_counts_ignores_the_diagonal():
    games = Comparisons.from_counts([[7, 2], [1, 9]], items=["a", "b"])
    assert games.total == 3
    assert games.items == ("a", "b")


def test_arrays_are_copied_and_read_only():
    winner = np.array([0])
    games = Comparisons(winner, [1])
    winner[0] = 5
    assert games.winner.tolist() == [0]
    assert not games.winner.flags.writeable
    assert not games.count.flags.writeable
    assert games.items == ("0", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "no comparisons"),
        (([0, 1], [1]), r"one shape \(k,\), got \(2,\) and \(1,\)"),
        (([[0]], [[1]]), r"winner must have shape \(k,\)"),
        (([0.0], [1]), "winner must hold integer indices"),
        (([0], [0]), "sets '0' against itself"),
        (([0, 2], [1, 1], None, ["a", "b"]), r"winner\[1\] is 2; accepted are indices 0 to 1"),
        (([0], [-1]), r"loser\[0\] is -1"),
        (([0], [1], [1.0, 2.0]), "count must have the shape of winner"),
        (([0], [1], [-1.0]), r"count\[0\] is -1.0; accepted are finite numbers of at least 0"),
        (([0], [1], [float("nan")]), r"count\[0\] is nan"),
        (([0], [1], [float("inf")]), r"count\[0\] is inf"),
        (([0], [1], [0.0]), "every count is 0"),
        (([0], [1], None, ["a", ""]), r"items\[1\] is ''"),
        (([0], [1], None, ["a", "a"]), "'a' occurs more than once"),
        (([0], [1], None, ["a", 3]), r"items\[1\] is 3"),
    ],
)
def test_bad_comparisons_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Comparisons(*arguments)


@pytest.mark.parametrize(
    ("counts", "items", "message"),
    [
        ([[0, 1]], None, "square with at least two rows"),
        ([[0]], None, "square with at least two rows"),
        ([[0, -1], [1, 0]], None, r"counts\[0, 1\] is -1.0"),
        ([[0, float("nan")], [1, 0]], None, r"counts\[0, 1\] is nan"),
        ([[0, 1], [1, 0]], ["a"], "items must be 2 distinct names, got 1"),
    ],
)
def test_bad_tables_are_refused(counts, items, message):
    with pytest.raises(ValueError, match=message):
        Comparisons.from_counts(counts, items)


@pytest.mark.parametrize("ones", [True, False])
def test_aggregation_agrees_with_a_dictionary(ones):
    rng = np.random.default_rng(0)
    i = rng.integers(9, size=500)
    j = (i + rng.integers(1, 9, size=500)) % 9
    count = np.ones(500) if ones else rng.integers(0, 3, size=500).astype(float)
    wanted = Counter()
    for a, b, c in zip(i.tolist(), j.tolist(), count.tolist(), strict=True):
        wanted[a, b] += c
    found = Comparisons(i, j, count).aggregated()
    pairs = list(zip(found.winner.tolist(), found.loser.tolist(), strict=True))
    assert pairs == sorted(pair for pair, times in wanted.items() if times)
    assert found.count.tolist() == [wanted[pair] for pair in pairs]
    assert found.aggregated().count.tolist() == found.count.tolist()
