"""The experiment at a small size, and the parts that its conclusions rest on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

import gpo_analysis as gpo
from experiments import not_bradley_terry as experiment

SMALL = dataclasses.replace(
    experiment.PRESETS["quick"], seeds=5, cycle=(0.0, 4.0), minority=(0.0, 0.45), noise=(0.0, 0.3), responses=5
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.concat([experiment.run(cell) for cell in experiment.cells(SMALL)], ignore_index=True)


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPO_DATA", raising=False)


def test_closed_forms_and_self_play_hold(table: pd.DataFrame) -> None:
    checks = {check.claim: check for check in experiment.check(SMALL, table)}
    for beginning in ("squared's policy", "squared's population", "logistic chooses", "squared chooses", "online IPO"):
        (claim,) = [claim for claim in checks if claim.startswith(beginning)]
        assert checks[claim].holds, claim
    (votes,) = [check for claim, check in checks.items() if claim.startswith("real votes")]
    assert votes.holds is None
    assert "GPO_DATA" in votes.note


def test_a_wrong_winner_is_noticed(table: pd.DataFrame) -> None:
    wrong = table.assign(borda=(table["borda"] + 1) % 5)
    failed = [check.claim for check in experiment.check(SMALL, wrong) if check.holds is False]
    assert any("Borda" in claim for claim in failed)


def test_preferences_are_what_they_say() -> None:
    rng = np.random.default_rng
    for structure in experiment.STRUCTURES:
        P = experiment.preference_of(structure, 0.3, 6, rng(0))
        np.testing.assert_allclose(P + P.T, 1.0, atol=1e-12)
    fair = experiment.preference_of("cycle", 0.0, 6, rng(0))
    assert gpo.diagnostics(fair, flow="log_odds").hodge.cyclic_share == pytest.approx(0, abs=1e-12)
    turned = experiment.preference_of("cycle", 9.0, 6, rng(0))
    assert gpo.diagnostics(turned).hodge.cyclic_share > 0.3


def test_policies_at_a_kl() -> None:
    policy = experiment._at_kl(np.array([0.0, 1.0, 3.0]), 0.4)
    assert gpo.kl_divergence(policy, np.full(3, 1 / 3)) == pytest.approx(0.4, abs=1e-9)
    np.testing.assert_allclose(experiment._at_kl(np.array([1.0, 1.0, 0.0]), 0.9), [0.5, 0.5, 0.0], atol=1e-9)
    nash = experiment._nash_at_kl(gpo.bradley_terry([0.0, 1.0, 2.0]), 0.2)
    assert gpo.kl_divergence(nash, np.full(3, 1 / 3)) == pytest.approx(0.2, abs=1e-5)


def test_ties_for_the_first_place_are_no_difference() -> None:
    rows = pd.DataFrame({"structure": "cycle", "level": 1.0, "seed": [0, 0, 1, 1], "first": [1.0, 3.0, 1.0, 2.0]})
    assert experiment.differing(rows).tolist() == [False, True]


def test_summary_has_its_numbers(table: pd.DataFrame) -> None:
    words = experiment.summary(SMALL, table)
    assert "Real votes were not at hand" in words
    assert "To remember" in words
