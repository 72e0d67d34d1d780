"""Contests and what losses see of them: ties, positions, pairs, prompts; refusals."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.preferences import Comparisons, Contests

# a–b twice to a, b–a to b (the first), a tie of each kind, c–a to a (the second)
ROWS = [(0, 1, 0, 2.0), (1, 0, 0, 1.0), (0, 1, 2, 3.0), (2, 1, 3, 0.5), (2, 0, 1, 4.0), (1, 2, 2, 0.0)]


def held(**more) -> Contests:
    first, second, outcome, count = map(list, zip(*ROWS, strict=True))
    return Contests(3, first, second, outcome, count, **more)


def test_pairs_and_halves_against_sums_by_hand() -> None:
    contests = held(ordered=True)
    table = np.zeros((3, 3, 4))  # [low, high]: low won, high won, ties, both bad
    wins = np.zeros((3, 3))
    for a, b, outcome, count in ROWS:
        low, high = sorted((a, b))
        place = outcome if outcome > 1 or a == low else 1 - outcome
        table[low, high, place] += count
        for winner, loser, share in ((a, b, (1, 0, 0.5, 0.5)[outcome]), (b, a, (0, 1, 0.5, 0.5)[outcome])):
            wins[winner, loser] += share * count
    pairs = contests.pairs()
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2)]
    found = np.stack([pairs.won, pairs.lost, pairs.tied, pairs.both_bad], axis=1)
    np.testing.assert_array_equal(found, [table[0, 1], table[0, 2], table[1, 2]])
    assert pairs.total.sum() == 10.5
    games = Comparisons.of_contests(contests, ["a", "b", "c"])
    np.testing.assert_array_equal(games.matrix().toarray(), wins)
    assert (games.total, games.ties) == (10.5, 3.5)
    ordered = games.pair_counts(by_position=True)
    assert [(int(i), int(j)) for i, j in zip(ordered.first, ordered.second, strict=True)] == [
        (0, 1), (1, 0), (2, 0), (2, 1),
    ]  # fmt: skip
    assert ordered.won.tolist() == [2, 1, 0, 0]
    assert ordered.lost.tolist() == [0, 0, 4, 0]


def test_comparisons_without_contests_are_won_by_the_first() -> None:
    games = Comparisons([0, 1], [1, 2], [3, 1])
    assert games.ties == 0
    assert games.contests.outcome.tolist() == [0, 0]
    assert not games.contests.ordered
    with pytest.raises(ValueError, match="who stood first is not known"):
        games.pair_counts(by_position=True)
    pairs = games.pair_counts()
    assert (pairs.won.tolist(), pairs.lost.tolist()) == ([3, 1], [0, 0])


def test_rows_are_chosen_and_recounted_with_all_that_is_known() -> None:
    contests = held(
        covariates=np.arange(6.0)[:, None], covariate_names=["length"], cluster=[0, 0, 1, 1, 2, 2], cluster_name="judge"
    )
    some = contests.chosen(contests.is_tie)
    assert some.covariates.ravel().tolist() == [2, 3, 5]
    assert some.cluster.tolist() == [1, 1, 2]
    assert contests.recounted(np.ones(6)).ties == 3
    assert contests.ties == 3.5


def test_items_of_prompts() -> None:
    rows = {"first": [0, 2], "second": [1, 3], "outcome": [0, 1]}
    games = Comparisons.of_contests(Contests(4, **rows, prompt=[0, 1]), prompts=["p", "q"])
    assert games.prompt_of_item.tolist() == [0, 0, 1, 1]
    assert Comparisons.of_contests(Contests(4, **rows)).prompt_of_item is None
    for contests, message in (
        (Contests(4, **rows), "do not say which"),
        (Contests(4, **rows, prompt=[0, 2]), "belongs to prompt 2"),
        (Contests(4, [0, 0], [1, 3], [0, 1], prompt=[0, 1]), "'0' is compared under two prompts"),
    ):
        with pytest.raises(ValueError, match=message):
            Comparisons.of_contests(contests, prompts=["p", "q"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcome": [4]}, r"outcome\[0\] is 4; accepted are indices 0 to 3"),
        ({"second": [3]}, r"second\[0\] is 3; accepted are indices 0 to 2"),
        ({"second": [0]}, "contest 0 sets an item against itself"),
        ({"second": [1, 2]}, "one shape"),
        ({"outcome": [0, 0]}, "outcome must have the shape"),
        ({"count": [-1.0]}, r"count\[0\] is -1"),
        ({"count": [0.0]}, "every count is 0"),
        ({"covariates": [[1.0]]}, r"covariates must have shape \(1, 0\)"),
        ({"covariates": [[np.nan]], "covariate_names": ["x"]}, r"covariates\[0, 0\] is nan"),
        ({"cluster": [0, 1]}, "cluster must have the shape"),
        ({"prompt": [-1]}, r"prompt\[0\] is -1"),
        ({"prompt": [0.5]}, "prompt must hold integer"),
    ],
)
def test_bad_contests_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Contests(**{"n": 3, "first": [0], "second": [1], "outcome": [0], **change})


def test_names_of_contests_are_checked() -> None:
    one = Contests(2, [0], [1], [2])
    with pytest.raises(ValueError, match="items must be 2 distinct names, got"):
        Comparisons.of_contests(one, ["a"])
    with pytest.raises(ValueError, match="occurs more than once"):
        Comparisons.of_contests(one, ["a", "a"])
