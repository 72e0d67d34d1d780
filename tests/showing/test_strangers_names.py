"""Names that strangers gave to items: whatever they hold, a terminal and a notebook show them and obey none of them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

import gpo_analysis as gpo
from gpo_analysis.losses import MarginLoss, parse_loss
from tests.showing.results import EXAMPLES, example

ODD = "\x1b[31m\r\x07\x9b\u202e\u200b\u2028"
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\ud800-\udfff]")


def renamed(held: Any) -> Any:
    """The same with odd names of items, also of what it holds; None where there are none."""
    if not dataclasses.is_dataclass(held) or isinstance(held, type):
        return None
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(held):
        value = getattr(held, field.name)
        if field.name in ("items", "feature_names") and value and isinstance(value, tuple):
            changed[field.name] = tuple(f"{name}{ODD}" for name in value)
        elif (inner := renamed(value)) is not None:
            changed[field.name] = inner
    if not changed:
        return None
    copy = object.__new__(type(held))
    copy.__dict__.update({field.name: getattr(held, field.name) for field in dataclasses.fields(held)} | changed)
    return copy


#: Results that hold names of items; written down, so that to collect the tests makes no example.
NAMED = (
    "tabular.PreferenceProblem", "ranking.ComparisonProblem", "preferences.Diagnostics", "preferences.Comparisons",
    "tabular.Solution", "tabular.SelfConsistentKTO", "tabular.Fit", "estimation.ComparisonFits",
    "estimation.ScoreIntervals", "ranking.Ranking",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_odd_names_of_items_are_written_out(name: str) -> None:
    result = renamed(example(name))
    for text in (result.summary(), str(result), repr(result), result._repr_html_()):
        assert not UNSEEN.search(text)
    assert "\\x1b[31m\\r" in result.summary() + result._repr_html_() or "item" not in result.to_frame().columns


def test_no_result_that_holds_names_is_missing() -> None:
    assert set(NAMED) == {name for name in EXAMPLES if renamed(example(name)) is not None}


def test_a_solution_writes_names_out_and_cuts_them() -> None:
    problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]], items=["\x1b[2J", "a" * 30 + "b" * 30])
    rows = problem.solve("dpo", 0.5).summary().splitlines()[-2:]
    assert rows[0].split()[0] == "\\x1b[2J"
    assert rows[1].split()[0] == "a" * 20 + "…" + "b" * 19


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nb", " a", "a\u202e", "", "  ", 3, None])
def test_the_name_of_a_loss_is_one_line_that_can_be_seen(name: Any) -> None:
    with pytest.raises(ValueError, match="name must be"):
        MarginLoss(name, gpo.get_loss("dpo").expression)
    with pytest.raises(ValueError, match="name must be"):
        dataclasses.replace(gpo.get_loss("bco_pair"), name=name)


@pytest.mark.parametrize("text", ["log(1 +\n  exp(-z))", " log(1 + exp(-z))\t", "log(1 +\u200b exp(-z))"])
def test_a_typed_loss_is_named_by_its_text_on_one_line(text: str) -> None:
    assert parse_loss(text).name == "log(1 + exp(-z))"
