"""The chart of a run by its steps, which both diagnoses draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpo_analysis.showing.charts import Panel, lines

_MEANS = {
    "mean_rho": "E[ρ]",
    "chosen_change": "log π/πref, chosen",
    "rejected_change": "log π/πref, rejected",
}


def course_of(steps: Sequence[Mapping[str, Any]]) -> Panel:
    """Means over the step, those that were recorded.

    Parameters
    ----------
    steps : sequence of mapping
        A row a step.
    """
    columns = {label: np.array([row[name] for row in steps], dtype=np.float64) for name, label in _MEANS.items()}
    known = {label: column for label, column in columns.items() if np.isfinite(column).any()}
    return lines("where the run went", "step", "mean  [nats]", [row["step"] for row in steps], known or columns)
