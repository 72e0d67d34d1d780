"""Results over steps or time show their last rows beside the first; numbers of hidden rows are true."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.showing import Shown
from gpo_analysis.tabular import link_flow
from gpo_analysis.training import self_play

PROBLEM = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])


@dataclass(frozen=True, eq=False)
class Made(Shown):
    step: np.ndarray
    value: np.ndarray


COURSES = {
    "training": lambda: gpo.train(PROBLEM, "dpo", 1.0, steps=50, learning_rate=1.0),
    "self-play": lambda: self_play(np.array(PROBLEM.preference), [0.5, 0.5], 0.5, rate=0.1, steps=40),
    "flow": lambda: link_flow(PROBLEM, "dpo", 1.0, duration=50.0),
}


@pytest.mark.parametrize("name", ["training", "self-play", "flow"])
def test_a_course_shows_its_first_and_last_ten_rows(name: str) -> None:
    found = COURSES[name]()
    table = found.to_frame()
    lines = found.summary().split("\n\n")[1].splitlines()
    assert lines[11] == f"… {len(table) - 20} more rows: to_frame() has all"
    shown = [float(line.split()[0]) for line in (*lines[1:11], *lines[12:])]
    over = table["step" if "step" in table else "time"].to_numpy()
    assert shown == pytest.approx([*over[:10], *over[-10:]], rel=1e-5)
    last = [float(cell) for cell in lines[-1].split()]
    assert last == pytest.approx(table.iloc[-1].astype(float).tolist(), rel=1e-5, abs=1e-12)


def test_in_a_notebook_the_hidden_rows_stand_in_their_place() -> None:
    page = Made(np.arange(25), np.arange(25.0) ** 2)._repr_html_()
    body = page.split("<tbody>")[-1]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in body.split("<tr>")[1:]]
    assert cells[10] == ["… 5 more rows: to_frame() has all"]
    assert [row[0] for row in (*cells[:10], *cells[11:])] == [str(k) for k in (*range(10), *range(15, 25))]
    assert 'colspan="2"' in body
    assert body.count("<tr>") == body.count("</tr>") == 21


@pytest.mark.parametrize("steps", [np.zeros(25, dtype=int), np.arange(25) % 7])
def test_what_does_not_rise_is_no_course(steps: np.ndarray) -> None:
    lines = Made(steps, np.arange(25.0)).summary().splitlines()
    assert lines[-1] == "… 5 more rows: to_frame() has all"
    assert lines[-2].split() == [str(steps[19]), "19"]


def test_a_text_that_is_cut_twice_says_both() -> None:
    n = 50
    games = gpo.Comparisons.from_pairs([(f"m{i}", f"m{(i + 1) % n}", 2 + i % 3) for i in range(n)])
    fits = gpo.fit_comparisons(games, ["squared"])
    whole, short = str(fits).splitlines(), repr(fits).splitlines()
    assert "… 20 more rows: to_frame() has all" in whole
    assert short[-1] == f"… {len(whole) - 23} more lines: print() shows them, to_frame() all rows"
    assert len(fits.to_frame()) == n
