"""Names of items are checked in one way, wherever they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.preferences import Contests, diagnostics
from gpo_analysis.ranking import ComparisonProblem

MATRIX = np.array([[0.5, 0.8], [0.2, 0.5]])
TAKERS: dict[str, Callable[[Any], Any]] = {
    "problem": lambda items: gpo.PreferenceProblem(MATRIX, items=items),
    "comparisons": lambda items: gpo.Comparisons([0, 1], [1, 0], items=items),
    "counts": lambda items: gpo.Comparisons.from_counts([[0, 1], [2, 0]], items=items),
    "ranking": lambda items: ComparisonProblem([0], [1], items=items),
    "diagnostics": lambda items: diagnostics(MATRIX, items=items),
}
"""Each takes the names of two items."""


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["a", "a"], "items must be 2 distinct names, 'a' occurs more than once"),
        (["a", ""], r"items\[1\] is ''; accepted are non-empty names"),
        (["a", " "], r"items\[1\] is ' '; accepted are non-empty names"),
        ([3, "a"], r"items\[0\] is 3; accepted are non-empty names"),
        ([None, "a"], r"items\[0\] is None; accepted are non-empty names"),
        (["a", "b\ud800"], r"items\[1\] is 'b\\ud800', which holds half a character"),
        ("ab", "items must be 2 distinct names, got the text 'ab'"),
    ],
)
def test_names_that_are_none_are_refused(taker: str, items: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TAKERS[taker](items)


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("items", [["a", "b"], ("a", "b"), np.array(["a", "b"]), None])
def test_two_names_are_taken(taker: str, items: Any) -> None:
    assert TAKERS[taker](items).items == (("0", "1") if items is None else ("a", "b"))


@pytest.mark.parametrize("taker", ["problem", "counts", "diagnostics"])
@pytest.mark.parametrize("items", [["a"], ["a", "b", "c"]])
def test_their_number_is_that_of_the_items(taker: str, items: Any) -> None:
    with pytest.raises(ValueError, match=rf"items must be 2 distinct names, got {len(items)}: \('a'"):
        TAKERS[taker](items)


def test_contests_have_names_too() -> None:
    held = Contests(2, [0], [1], [0])
    with pytest.raises(ValueError, match="items must be 2 distinct names, got 1"):
        gpo.Comparisons.of_contests(held, ["a"])
