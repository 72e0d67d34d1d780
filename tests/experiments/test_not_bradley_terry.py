"""The experiment at a small size, and the parts that its conclusions rest on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_expit

from experiments import not_bradley_terry as experiment
from experiments.not_bradley_terry import votes
from fuzz.small import computed
from gpo_analysis.preferences import diagnostics


def test_without_data_the_votes_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPO_DATA", raising=False)
    _, config, table = computed("not-bradley-terry")
    *_, told = experiment.cells(config)
    rows = [table[table["part"] != "votes"], experiment.run(config, **told)]
    without = pd.concat(rows, ignore_index=True)
    (claim,) = [check for check in experiment.check(config, without) if check.claim.startswith("real votes")]
    assert claim.holds is None
    assert "GPO_DATA" in claim.note
    assert "Real votes were not run" in experiment.summary(config, without)


def test_hinge_is_no_ground_for_a_changed_winner() -> None:
    _, _, table = computed("not-bradley-terry")
    wrong = table.copy()
    wrong.loc[wrong["loss"] == "hinge", "winner"] += 1
    pd.testing.assert_frame_equal(experiment.changed(wrong), experiment.changed(table))


def test_structures_are_what_they_say() -> None:
    def matrix(structure: str, level: float) -> np.ndarray:
        return experiment.preference_of(experiment.Config(), structure, level, 3)[0]

    for structure, level in (("cycle", 0.5), ("annotators", 4.0), ("noise", 0.2)):
        found = matrix(structure, level)
        np.testing.assert_allclose(found + found.T, 1.0, atol=1e-12)
    plain = matrix("cycle", 0.0)
    assert diagnostics(plain, flow="log_odds").hodge.cyclic_share == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(matrix("annotators", 1.0), plain, atol=1e-15)
    np.testing.assert_allclose(matrix("noise", 0.2) - 0.5, 0.6 * (plain - 0.5), atol=1e-12)
    assert diagnostics(matrix("cycle", 1.0)).hodge.cyclic_share == pytest.approx(1.0, abs=1e-9)


def test_links_mean_the_probabilities_of_their_losses() -> None:
    eta = np.array([[0.5, 0.8], [0.2, 0.5]])
    for name, margin in (
        ("logistic", np.log(4.0)), ("savage", np.log(4.0)), ("squared", 0.6), ("exponential", np.log(4.0) / 2),
    ):  # fmt: skip
        np.testing.assert_allclose(np.exp(votes.own_link(name, np.array([margin, 0.0]))), eta, atol=1e-12)
    assert np.exp(votes.own_link("squared", np.array([5.0, 0.0]))).max() == pytest.approx(0.99)


def test_the_fitted_scale_is_the_logistic_slope() -> None:
    scores, labels = np.array([1.0, 0.0]), np.array([[0.0, 30.0], [10.0, 0.0]])  # 3 : 1, so a = log 3
    assert votes.scale_of(scores, labels) == pytest.approx(np.log(3.0), abs=1e-3)
    assert votes.scale_of(np.zeros(2), labels) == 0.0
    expected = 0.75 * np.log(expit(1.0)) + 0.25 * np.log(expit(-1.0))
    gaps = scores[:, None] - scores[None, :]
    assert votes.likelihood(log_expit(gaps), labels) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(votes.likelihood(log_expit(gaps), np.zeros((2, 2))))
