"""The experiment at a small size: what its checks notice, and its words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

import gpo_analysis as gpo
from experiments import own_data as experiment
from fuzz.small import computed


def test_intervals_cover_most_of_the_time() -> None:
    _, _, table = computed("own-data")
    for part in ("beta", "diagnosis"):
        rows = table[(table["part"] == part) & (table["what"] != "hinge")]
        assert experiment.covered(rows).value >= 0.7


def test_intervals_elsewhere_cover_nothing() -> None:
    _, config, table = computed("own-data")
    wrong = table.assign(low=table["low"] * 3, high=table["high"] * 3)
    failed = {check.claim: check for check in experiment.check(config, wrong) if check.verdict == "contradicted"}
    assert any("intervals of β" in claim for claim in failed)
    (planted,) = (check for claim, check in failed.items() if "planted" in claim)
    assert dict(planted.parts)["length_slope"].verdict == "contradicted"


def test_truth_by_a_solve_at_that_beta() -> None:
    true, _ = experiment._truth("squared", 5, 2.0, 0.2)
    policy = experiment.problem_of("bradley-terry", 5, 2.0).solve("squared", true).policy
    assert entropy(policy, np.full(5, 0.2)) == pytest.approx(0.2, abs=1e-6)
    assert experiment.problem_of("linear", 3, 2.0).preference[2, 0] == pytest.approx(0.95)
    assert gpo.get_loss("squared").name == experiment.MATCHING["linear"]
