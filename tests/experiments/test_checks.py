"""Checks: the verdict of every kind, at and beyond its edge."""

from __future__ import annotations

import doctest
import importlib
import json
import math
import pkgutil

import pytest

import experiments
from experiments.framework import Check
from gpo_analysis.statistics import Interval

MODULES = [info.name for info in pkgutil.walk_packages(experiments.__path__, "experiments.")]  # __main__, too


def test_doctests() -> None:
    done = {name: doctest.testmod(importlib.import_module(name)) for name in MODULES}
    assert [name for name, results in done.items() if results.failed] == []
    assert sum(results.attempted for results in done.values()) >= 10


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        (Check.equal("c", 1.0, 1.25, 0.25), True),
        (Check.equal("c", 1.0, 1.2501, 0.25), False),
        (Check.equal("c", 100.0, 101.0, 0.01, relative=True), True),
        (Check.equal("c", 100.0, 101.1, 0.01, relative=True), False),
        (Check.equal("c", -100.0, -101.0, 0.01, relative=True), True),
        (Check.equal("c", 0.0, 1e-30, 0.01, relative=True), False),
        (Check.equal("c", math.inf, math.inf, 0.0), True),
        (Check.equal("c", math.inf, -math.inf, 1.0), False),
        (Check.equal("c", 1.0, math.nan, 1.0), False),
        (Check.at_most("c", 1.0, 1.0), True),
        (Check.at_most("c", 1.0, 1.1, 0.05), False),
        (Check.at_most("c", 1.0, math.nan), False),
        (Check.at_least("c", 1.0, 1.0), True),
        (Check.at_least("c", 1.0, 0.9, 0.05), False),
        (Check.at_least("c", 1.0, math.nan), False),
        (Check.between("c", 0.0, 1.0, 1.0), True),
        (Check.between("c", 0.0, 1.0, 1.0 + 1e-9), False),
        (Check.between("c", 0.0, 1.0, math.nan), False),
        (Check.text("c", "a", "a"), True),
        (Check.text("c", "a", "b"), False),
        (Check.not_run("c", 1.0, "no GPU"), None),
        (Check.within("c", 1.0, Interval(1.0, 0.9, 1.1), 0.11, "seeds"), True),
        (Check.within("c", 1.0, Interval(1.0, 0.9, 1.2), 0.11, "seeds"), None),
        (Check.within("c", 1.0, Interval(1.3, 1.2, 1.4), 0.11, "seeds"), False),
        (Check.within("c", 1.0, Interval(0.7, 0.6, 0.8), 0.11, "seeds"), False),
        (Check.within("c", 1.0, Interval(1.0, math.nan, math.nan), 0.11, "seeds"), None),
        (Check.within("c", 0.0, Interval(0.12, 0.13, 0.25), 0.1, "seeds"), None),
        (Check.below("c", 1.0, Interval(0.12, 0.13, 0.25), "seeds"), None),
        (Check.above("c", 0.0, Interval(1.0, 0.1, 2.0), "seeds"), True),
        (Check.above("c", 0.0, Interval(1.0, -0.1, 2.0), "seeds"), None),
        (Check.above("c", 0.0, Interval(-1.0, -2.0, -0.1), "seeds"), False),
        (Check.below("c", 0.0, Interval(-1.0, -2.0, -0.1), "seeds"), True),
        (Check.below("c", 0.0, Interval(1.0, math.nan, math.nan), "seeds"), None),
    ],
)
def test_verdicts(check: Check, holds: bool | None) -> None:
    assert check.holds is holds
    assert json.loads(json.dumps(check.to_json(), allow_nan=False))["holds"] is holds


def test_undecided_is_not_the_same_as_not_run() -> None:
    wide = Check.above("c", 0.0, Interval(1.0, -1.0, 2.0), "seeds")
    told = [
        check.to_json()["verdict"] for check in (wide, Check.not_run("c", 1.0, "no GPU"), Check.text("c", "a", "b"))
    ]
    assert told == ["undecided", "not run", "contradicted"]
    with pytest.raises(ValueError, match="holds=True and is called undecided"):
        Check("c", 1.0, 1.0, None, True, undecided=True)
    with pytest.raises(ValueError, match="nature 'law'; accepted are theorem, measurement"):
        Check("c", 1.0, 1.0, None, True, nature="law")


def test_what_json_cannot_hold_becomes_words() -> None:
    told = Check.equal("c", math.inf, math.nan, 0.0).to_json()
    assert (told["predicted"], told["computed"]) == ("inf", "nan")


def test_a_claim_without_a_verdict_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="no verdict and no note"):
        Check("c", 1.0, 1.0, None, None)
    with pytest.raises(ValueError, match="kind 'near'; accepted are equal"):
        Check("c", 1.0, 1.0, None, True, kind="near")


def test_a_claim_of_each_is_decided_by_its_parts_and_shows_the_one_that_decides() -> None:
    near, wide = Check.at_most("c", 1.0, 0.5), Check.above("c", 0.0, Interval(1.0, -1.0, 2.0), "seeds")
    far, further = Check.at_most("c", 1.0, 2.0), Check.at_most("c", 1.0, 3.0)
    none = Check.not_run("c", 1.0, "no GPU")
    for parts, verdict, computed in (
        ({"a": near, "b": near}, "holds", 0.5),
        ({"a": near, "b": none}, "holds", 0.5),
        ({"a": near, "b": wide, "c": none}, "undecided", 1.0),
        ({"a": wide, "b": far, "c": further}, "contradicted", 3.0),
        ({"a": none}, "not run", "not run"),
    ):
        told = Check.each("all of them", parts).to_json()
        assert (told["verdict"], told["computed"], told["claim"]) == (verdict, computed, "all of them")
        assert [row["of"] for row in told["parts"]] == list(parts)
        assert [row["verdict"] for row in told["parts"]] == [part.verdict for part in parts.values()]
    with pytest.raises(ValueError, match="has no parts"):
        Check.each("all of them", {})


def test_of_what_is_at_least_the_smallest_is_shown_and_of_what_is_equal_the_farthest() -> None:
    assert Check.each("c", {"a": Check.at_least("c", 1.0, 2.0), "b": Check.at_least("c", 1.0, 5.0)}).computed == 2.0
    assert Check.each("c", {"a": Check.equal("c", 1.0, 0.8, 0.5), "b": Check.equal("c", 1.0, 1.1, 0.5)}).computed == 0.8


def test_an_overall_verdict_keeps_its_own_numbers_beside_a_table() -> None:
    whole = Check.within("c", 1.0, Interval(1.0, 0.9, 1.1), 0.2, "seeds")
    told = whole.with_parts({"a": Check.at_most("c", 1.0, 2.0)}).to_json()
    assert (told["verdict"], told["computed"], len(told["parts"])) == ("holds", 1.0, 1)


def test_one_seed_gives_no_interval_and_decides_nothing() -> None:
    told = Check.within("c", 1.0, Interval(1.0, math.nan, math.nan), 0.2, "1 seed").to_json()
    assert (told["verdict"], told["low"], told["note"]) == ("undecided", None, "no interval over 1 seed")


def test_nature_and_restatement_are_marked_on_a_copy() -> None:
    first = Check.at_most("c", 1.0, 0.5)
    told = first.as_theorem().as_restated("November 2026: the first bound was of another quantity").to_json()
    assert (told["nature"], told["restated"][:13]) == ("theorem", "November 2026")
    assert (first.nature, first.restated) == ("measurement", "")


def test_what_holds_by_its_tolerance_alone_is_said() -> None:
    """An interval of equivalence may exclude the very value that was predicted."""
    inside, above, below = (
        Check.within("c", 0.3, Interval(value, value - 0.01, value + 0.01), 0.05, "worlds")
        for value in (0.3, 0.32, 0.28)
    )
    assert [check.by_tolerance for check in (inside, above, below)] == [False, True, True]
    assert "by the tolerance alone" not in inside.note
    assert all(check.note.endswith("without 0.3 itself: by the tolerance alone") for check in (above, below))
    whole = Check.each("all", {"a": inside, "b": above, "c": below})
    assert (whole.verdict, "3 of 3 hold, 2 by the tolerance alone" in whole.note) == ("holds", True)
    beyond = Check.within("c", 0.3, Interval(0.4, 0.39, 0.41), 0.05, "worlds")
    constant = Check.within("c", 0.3, Interval(0.3 + 1e-15, 0.3 + 1e-15, 0.3 + 1e-15), 0.05, "worlds")
    assert [check.by_tolerance for check in (beyond, constant, Check.equal("c", 1.0, 1.0, 0.1))] == [False] * 3
