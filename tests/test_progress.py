"""Bars of progress: on a terminal alone, the caller's function anywhere; the answer is the same with and without."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo
from gpo_analysis import ranking
from gpo_analysis.datasets import load_journals
from gpo_analysis.progress import followed, progress_bar, reporting

ENDED = "\x1b[?25h\n"  # the cursor is shown again, what follows stands on a line of its own


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(followed(["logistic", "squared"], True, "losses")) == ["logistic", "squared"]
    said = screen.getvalue()
    assert re.search(r"losses  \[#+-+\] +50%[^\r]*  squared", said)
    assert said.endswith(ENDED)
    assert said.count("\n") == 1


def test_nothing_is_said_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.StringIO()
    for stream in (plain, None):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(followed("ab", True, "letters")) == ["a", "b"]
        with progress_bar("letters") as show:
            assert show is None
    assert plain.getvalue() == ""
    with reporting(False, "letters") as show:
        assert show is None


def test_the_bar_is_ended_where_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with pytest.raises(ZeroDivisionError), reporting(True, "numbers"):
        raise ZeroDivisionError
    assert screen.getvalue().endswith(ENDED)


PROBLEM = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]))
RANKED = ranking.rank(ranking.ComparisonProblem.from_comparisons(load_journals()))
CALLS: dict[str, Callable[..., Any]] = {
    "solve_grid": lambda **more: gpo.solve_grid([PROBLEM] * 3, ["dpo", "ipo"], [0.5, 1.0], **more),
    "train_many": lambda **more: gpo.train_many(PROBLEM, "dpo", [0.5, 1.0], steps=20, learning_rate=0.1, **more),
    "flows": lambda **more: gpo.train_many(
        PROBLEM, "dpo", [0.5, 1.0], steps=3, learning_rate=0.1, optimizer="flow", **more
    ),
    "bootstrap_scores": lambda **more: gpo.bootstrap_scores(load_journals(), "dpo", resamples=20, **more),
    "choose_loss": lambda **more: gpo.choose_loss(load_journals(), ["dpo", "ipo"], resamples=20, folds=2, **more),
    "recommend_beta": lambda **more: gpo.recommend_beta(
        load_journals(), kl=0.3, losses=["dpo", "ipo"], resamples=5, **more
    ),
    "bootstrap": lambda **more: ranking.bootstrap([RANKED], resamples=20, **more)[0],
    "counterexample_family": lambda **more: gpo.counterexample_family([0.5, 3.0], [0.0], points=201, **more),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_takes_time_says_how_far_it_is(name: str) -> None:
    told: list[float] = []
    with_it = CALLS[name](progress=lambda done, what: told.append(done))
    without = CALLS[name]()
    assert told
    assert told == sorted(told)
    assert 0.0 <= told[0] <= told[-1] <= 1.0
    for one, other in zip(frames(with_it), frames(without), strict=True):
        pd.testing.assert_frame_equal(one, other)


def frames(found: Any) -> list[pd.DataFrame]:
    if isinstance(found, pd.DataFrame):
        return [found]
    return [one.to_frame() for one in (found if isinstance(found, list) else [found])]


def test_the_caller_of_a_generator_may_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    walk = followed(np.arange(3), True, "numbers", named=False)
    assert next(walk) == 0
    walk.close()
    assert screen.getvalue().endswith(ENDED)
