"""The experiment at a small size: its predictions, what makes them fail, and its words."""

from __future__ import annotations

import numpy as np

from experiments import statistical_efficiency as experiment
from tests.experiments.small import computed


def test_cells_cover_the_settings() -> None:
    cells = experiment.cells(experiment.PRESETS["quick"])
    assert {cell["setting"] for cell in cells} == {"bradley-terry", "two groups", "noise"}
    assert {cell["kind"] for cell in cells if cell["setting"] == "noise"} == {"plain", "smoothed", "robust"}
    assert sum(cell["loss"] == "savage" for cell in cells) == 1


def test_logistic_variance_is_that_of_the_information() -> None:
    _, config, table = computed("statistical-efficiency")
    rows = table[(table["setting"] == "bradley-terry") & (table["loss"] == "logistic") & (table["size"] == 400)]
    r = np.array(config.rewards)
    information = np.zeros((3, 3))
    for i in range(3):
        for j in range(i):
            eta = 1 / (1 + np.exp(r[j] - r[i]))
            e = np.eye(3)[i] - np.eye(3)[j]
            information += eta * (1 - eta) / 3 * np.outer(e, e)  # μ uniform: each of the three pairs a third
    expected = np.sqrt(np.diag(np.linalg.pinv(information)) / 400)
    np.testing.assert_allclose(rows["predicted_std"], expected, rtol=1e-6)
