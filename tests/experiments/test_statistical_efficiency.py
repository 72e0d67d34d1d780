"""The experiment at a small size: its predictions, what makes them fail, and its words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from experiments import statistical_efficiency as experiment

SMALL = dataclasses.replace(
    experiment.PRESETS["quick"], sizes=(40, 400), noisy_sizes=(40, 2000), replications=60, rewards=(0.0, 1.0, 2.0)
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.concat([experiment.run(cell) for cell in experiment.cells(SMALL)], ignore_index=True)


def test_cells_cover_the_settings() -> None:
    cells = experiment.cells(SMALL)
    assert {cell["setting"] for cell in cells} == {"bradley-terry", "two groups", "noise"}
    assert {cell["kind"] for cell in cells if cell["setting"] == "noise"} == {"plain", "smoothed", "robust"}
    assert sum(cell["loss"] == "savage" for cell in cells) == 1


def test_claims_hold_at_a_small_size(table: pd.DataFrame) -> None:
    checks = experiment.check(SMALL, table)
    assert len(checks) > 20
    assert [check.claim for check in checks if not check.holds] == []


def test_a_wrong_variance_is_noticed(table: pd.DataFrame) -> None:
    wrong = table.assign(predicted_trace=2 * table["predicted_trace"])
    failed = [check.claim for check in experiment.check(SMALL, wrong) if not check.holds]
    assert any("total variance" in claim for claim in failed)


def test_logistic_variance_is_that_of_the_information(table: pd.DataFrame) -> None:
    rows = table[(table["setting"] == "bradley-terry") & (table["loss"] == "logistic") & (table["size"] == 400)]
    r = np.array(SMALL.rewards)
    information = np.zeros((3, 3))
    for i in range(3):
        for j in range(i):
            eta = 1 / (1 + np.exp(r[j] - r[i]))
            e = np.eye(3)[i] - np.eye(3)[j]
            information += eta * (1 - eta) / 3 * np.outer(e, e)  # μ uniform: each of the three pairs a third
    expected = np.sqrt(np.diag(np.linalg.pinv(information)) / 400)
    np.testing.assert_allclose(rows["predicted_std"], expected, rtol=1e-6)


def test_summary_names_the_numbers(table: pd.DataFrame) -> None:
    words = experiment.summary(SMALL, table)
    assert "60 refits with 400 labelled" in words
    assert "nan" not in words
    assert "To\n    remember" in words or "To remember" in words
