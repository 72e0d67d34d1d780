"""The experiment at a small size: its predictions, what makes them fail, and its words."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import statistical_efficiency as experiment
from fuzz.small import computed
from gpo_analysis.estimation import sampled_fits


def test_cells_cover_the_settings() -> None:
    cells = experiment.cells(experiment.PRESETS["quick"])
    assert {cell["setting"] for cell in cells} == {"bradley-terry", "two groups", "noise", "paired"}
    assert {cell["kind"] for cell in cells if cell["setting"] == "noise"} == {"plain", "smoothed", "robust"}
    assert sorted(cell["setting"] for cell in cells if cell["loss"] == "savage") == ["bradley-terry", "paired"]


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


@pytest.mark.parametrize(
    ("words", "columns", "predicted"),
    [
        ("total variance", ("trace", "trace_low", "trace_high"), "predicted_trace"),
        ("relative to logistic", ("ratio", "ratio_low", "ratio_high"), "predicted_ratio"),
    ],
)
def test_a_claim_with_an_interval_holds_where_it_is_narrow_and_right(
    words: str, columns: tuple[str, str, str], predicted: str
) -> None:
    _, config, table = computed("statistical-efficiency")
    for factor, verdict in ((1.0, "holds"), (1.2, "contradicted")):
        ends = zip(columns, (1.0, 0.9999, 1.0001), strict=True)
        narrow = table.assign(**{column: factor * end * table[predicted] for column, end in ends})
        found = {check.verdict for check in experiment.check(config, narrow) if words in check.claim}
        assert found == {verdict}


def test_efficiency_on_the_same_samples_is_that_of_the_fits() -> None:
    _, config, table = computed("statistical-efficiency")
    row = table[(table["setting"] == "paired") & (table["loss"] == "exponential")].iloc[0]
    problem = experiment.problem_of(config, "bradley-terry")
    traces = []
    for loss, scale in (("logistic", 1.0), ("exponential", 2.0)):  # 2κ
        fits = scale * sampled_fits(problem, loss, 400, 60, seed=1_000_000).g
        traces.append(float(np.trace(np.cov(fits.T))))
    assert row["ratio"] == pytest.approx(traces[0] / traces[1], rel=1e-9)
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
