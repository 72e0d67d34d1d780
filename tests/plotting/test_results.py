"""Results drawn by their type show the numbers that they hold."""

from __future__ import annotations

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.plotting import plot_result


def test_a_solution_and_an_analysis() -> None:
    problem = gpo.PreferenceProblem(gpo.bradley_terry([1.0, 0.0]), reference=[0.5, 0.5])
    found = problem.solve("dpo", 1.0)
    assert [bar.get_height() for bar in plot_result(found).patches] == pytest.approx(list(found.policy))
    lines = {line.get_label(): line for line in plot_result(gpo.analyze("dpo")).lines}
    z, series = lines["Taylor, order 2"].get_data()
    assert np.asarray(series) == pytest.approx(np.log(2) - np.asarray(z) / 2 + np.asarray(z) ** 2 / 8)


def test_a_diagnosis_by_step() -> None:
    steps = np.arange(4.0)
    flat = np.full(4, -90.0)
    found = gpo.diagnose(gpo.TrainingLog(flat + steps, flat - steps, flat, flat, step=steps), "dpo", 0.1)
    assert list(plot_result(found).lines[0].get_ydata()) == [0.0, 2.0, 4.0, 6.0]


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(ValueError, match="a int cannot be drawn; accepted are results"):
        plot_result(3)
