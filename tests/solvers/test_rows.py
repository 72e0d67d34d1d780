"""Newton's method on rows where the first attempt does not end: f is blurred less and less, and then not at all."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.solvers import rows
from gpo_analysis.solvers.functions import Blurred
from gpo_analysis.solvers.minimum import Minimum, ended
from gpo_analysis.solvers.rows import WeightedRows


def test_each_attempt_is_sharper_than_the_last_and_starts_where_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[float] = []
    starts: list[float] = []

    def run(self: rows._Newton, start: FloatArray, most: int) -> Minimum:
        widths.append(self.loss.width if isinstance(self.loss, Blurred) else 0.0)
        starts.append(float(start[0]))
        return ended(start + 1, 1.0, 0.0, False, 1)

    monkeypatch.setattr(rows._Newton, "run", run)
    rows.newton(WeightedRows(np.eye(1), np.ones(1)), get_margin_loss("logistic"))
    assert widths[0] == widths[-1] == 0
    between = np.array(widths[1:-1])
    assert (between > 0).all()
    assert (np.diff(between) < 0).all()
    assert between[0] >= 1
    assert between[-1] < 1e-6
    assert starts == [float(k) for k in range(len(starts))]
